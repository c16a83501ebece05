//! The worker as a process of its own: signals, and running out of file descriptors.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::net::UnixListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serinus::local::proxy::{ListenerConfig, ProxyConfig, WorkerBoot, run_worker};

use crate::rig::{Backend, Http1, PATIENCE, only};

const WEB: &str = "SERINUS_TEST_WEB";
const FILES: &str = "SERINUS_TEST_FILES";

/// Not a test: what the child process runs.
#[test]
#[ignore = "the other tests of this file run it as a process"]
fn worker_process() {
    let Ok(web) = std::env::var(WEB) else { return };
    if let Some(files) = std::env::var(FILES).ok().and_then(|files| files.parse().ok()) {
        let limit = rustix::process::Rlimit { current: Some(files), maximum: Some(files) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    }
    let web: ListenerConfig = serde_json::from_str(&web).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let control = UnixListener::bind(dir.path().join("control.sock")).unwrap();
    println!("\naddress {}", listener.local_addr().unwrap());
    let config = ProxyConfig { generation: 1, listeners: [("web".to_owned(), web)].into() };
    let boot = WorkerBoot { config: Some(config), drain_ms: Some(5_000), ..WorkerBoot::default() };
    run_worker(boot, vec![("web".to_owned(), listener)], control).unwrap();
}

struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(web: &ListenerConfig, files: Option<u64>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "process::worker_process", "--ignored", "--nocapture"]);
        command.env(WEB, serde_json::to_string(web).unwrap()).stdout(Stdio::piped());
        if let Some(files) = files {
            command.env(FILES, files.to_string());
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| line.unwrap().strip_prefix("address ")?.parse().ok()).unwrap();
        // Keeps reading, so that the child can always print.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    async fn ended(mut self) -> bool {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight_and_ends_the_process() {
    let slow = Backend::with(|_| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        http::Response::new(http_body_util::Full::<bytes::Bytes>::from("done"))
    })
    .await;
    let process = Process::start(&only(slow.address), None);
    let mut client = Http1::connect(process.address).await;
    let in_flight = tokio::spawn(async move { client.get("/").await });
    while slow.served() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    process.terminate();
    let got = in_flight.await.unwrap();
    assert_eq!((got.text(), got.header("connection")), ("done", Some("close")));
    assert!(process.ended().await);
}

#[tokio::test]
async fn out_of_file_descriptors_it_waits_and_serves_again() {
    let backend = Backend::saying("v1").await;
    let process = Process::start(&only(backend.address), Some(40));
    let mut held = Vec::new();
    for _ in 0..80 {
        held.push(tokio::net::TcpStream::connect(process.address).await.unwrap());
    }
    // Long enough to have met the limit several times.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(held);
    let served = async {
        loop {
            let request = http::Request::builder().uri("/").header("host", "a");
            match Http1::connect(process.address).await.try_send(request, "").await {
                Ok(got) if got.text() == "v1" => return,
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("served again");
}
