//! Real servers as children of the test, each with a folder and a port of its own.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A server that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether `program` can be started. Where everything must be tested, it has to be.
fn is_there(program: &str) -> bool {
    let there =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let all = std::env::var_os("SERINUS_TESTS").is_some_and(|it| it == "all");
    assert!(there || !all, "`{program}` is missing: tests/lab/metrics installs it");
    if !there {
        eprintln!("left out: `{program}` is not installed (tests/lab/metrics installs it)");
    }
    there
}

fn start(program: &str, arguments: impl Fn(&std::path::Path, SocketAddr) -> Vec<String>) -> Option<Running> {
    if !is_there(program) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let child = Command::new(program)
        .args(arguments(folder.path(), address))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut running = Running { address, child, _folder: folder };
    while !is_ready(address) {
        assert!(running.child.try_wait().unwrap().is_none(), "{program} ended at its start");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(running)
}

/// Whether it says that it is ready.
fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut answer = String::new();
    let asked = write!(stream, "GET /-/ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}

pub(crate) fn prometheus() -> Option<Running> {
    start("prometheus", |folder, address| {
        let config = folder.join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").unwrap();
        vec![
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address={address}"),
            "--web.enable-remote-write-receiver".to_owned(),
            "--enable-feature=native-histograms".to_owned(),
        ]
    })
}

pub(crate) fn victoria_metrics() -> Option<Running> {
    start("victoria-metrics", |folder, address| {
        vec![
            format!("-httpListenAddr={address}"),
            format!("-storageDataPath={}", folder.join("data").display()),
        ]
    })
}
