//! Real servers as children of the test, each with a folder and a port of its own.

use std::{
    ffi::OsStr,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use crate::http;

/// A server that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    children: Vec<Child>,
    folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether `program` can be started. Where everything must be tested, it has to be.
fn is_there(program: &OsStr) -> bool {
    let there =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let all = std::env::var_os("SERINUS_TESTS").is_some_and(|it| it == "all");
    assert!(there || !all, "{program:?} is missing: tests/lab/metrics installs it");
    if !there {
        eprintln!("left out: {program:?} is not installed (tests/lab/metrics installs it)");
    }
    there
}

/// A port that is free and that nobody else is given: below those that the kernel gives to connections.
fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(21_000);
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], NEXT.fetch_add(1, Ordering::Relaxed)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Starts a program whose arguments and environment are its own affair.
fn spawn(folder: &Path, program: impl AsRef<OsStr>, set_up: impl FnOnce(&mut Command)) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new(program);
    command.stdout(log.try_clone().unwrap()).stderr(log);
    set_up(&mut command);
    command.spawn().unwrap()
}

/// Waits until a server answers well at `path`.
fn once_ready(address: SocketAddr, path: &str, children: Vec<Child>, folder: tempfile::TempDir) -> Running {
    let mut running = Running { address, children, folder };
    running.until(|| http::ask(address, "GET", path, "", "").is_some_and(|it| http::is_good(&it)));
    running
}

impl Running {
    /// Waits for something, or for the end of a child, which must not come.
    fn until(&mut self, is: impl Fn() -> bool) {
        while !is() {
            for child in &mut self.children {
                if child.try_wait().unwrap().is_some() {
                    let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
                    panic!("it ended at its start: {log}");
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn start(program: &str, arguments: impl Fn(&Path, SocketAddr) -> Vec<String>) -> Option<Running> {
    if !is_there(program.as_ref()) {
        return None;
    }
    let (folder, address) = (tempfile::tempdir().unwrap(), free());
    let child = spawn(folder.path(), program, |it| {
        it.args(arguments(folder.path(), address));
    });
    Some(once_ready(address, "/-/ready", vec![child], folder))
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

pub(crate) fn influxdb() -> Option<Running> {
    if !is_there("influxd".as_ref()) {
        return None;
    }
    let (folder, address) = (tempfile::tempdir().unwrap(), free());
    let path = folder.path().display();
    let config = format!(
        "reporting-disabled = true\nbind-address = \"{}\"\n[meta]\ndir = \"{path}/meta\"\n[data]\ndir = \"{path}/data\"\n\
         wal-dir = \"{path}/wal\"\n[http]\nbind-address = \"{address}\"\n[monitor]\nstore-enabled = false\n",
        free()
    );
    std::fs::write(folder.path().join("influxdb.conf"), config).unwrap();
    let child = spawn(folder.path(), "influxd", |it| {
        it.arg("run").arg("-config").arg(folder.path().join("influxdb.conf"));
    });
    Some(once_ready(address, "/ping", vec![child], folder))
}

/// A Graphite that keeps points every ten seconds, and where they are written to.
pub(crate) fn graphite() -> Option<(Running, SocketAddr)> {
    if !is_there("carbon-cache".as_ref()) || !is_there("graphite-manage".as_ref()) {
        return None;
    }
    let (folder, address, lines, queries) = (tempfile::tempdir().unwrap(), free(), free(), free());
    let path = folder.path();
    std::fs::create_dir(path.join("whisper")).unwrap();
    let write = |name: &str, text: String| std::fs::write(path.join(name), text).unwrap();
    let at = path.display();
    write(
        "carbon.conf",
        format!(
            "[cache]\nSTORAGE_DIR = {at}\nCONF_DIR = {at}\nLOCAL_DATA_DIR = {at}/whisper\nLOG_DIR = {at}\nPID_DIR = {at}\nUSER =\n\
             LINE_RECEIVER_INTERFACE = 127.0.0.1\nLINE_RECEIVER_PORT = {}\nPICKLE_RECEIVER_INTERFACE = 127.0.0.1\n\
             PICKLE_RECEIVER_PORT = {}\nCACHE_QUERY_INTERFACE = 127.0.0.1\nCACHE_QUERY_PORT = {}\n\
             MAX_CREATES_PER_MINUTE = inf\nENABLE_LOGROTATION = False\nCARBON_METRIC_INTERVAL = 0\n",
            lines.port(),
            free().port(),
            queries.port()
        ),
    );
    write("storage-schemas.conf", "[all]\npattern = .*\nretentions = 10s:6h\n".to_owned());
    write(
        "storage-aggregation.conf",
        "[all]\npattern = .*\nxFilesFactor = 0\naggregationMethod = sum\n".to_owned(),
    );
    write(
        "lab_settings.py",
        format!(
            "SECRET_KEY = 'lab'\nSTORAGE_DIR = CONF_DIR = LOG_DIR = '{at}'\nWHISPER_DIR = '{at}/whisper'\n\
             STANDARD_DIRS = [WHISPER_DIR]\nINDEX_FILE = '{at}/index'\nCARBONLINK_HOSTS = ['{queries}:a']\nTIME_ZONE = 'UTC'\n\
             ALLOWED_HOSTS = ['*']\nLOG_ROTATION = False\n\
             DATABASES = {{'default': {{'NAME': '{at}/graphite.db', 'ENGINE': 'django.db.backends.sqlite3'}}}}\n"
        ),
    );
    let set_up = |it: &mut Command| {
        it.env("PYTHONPATH", path).env("GRAPHITE_SETTINGS_MODULE", "lab_settings");
        it.env("DJANGO_SETTINGS_MODULE", "graphite.settings");
    };
    let tables = spawn(path, "graphite-manage", |it| {
        set_up(it);
        it.args(["migrate", "--run-syncdb", "-v", "0"]);
    });
    assert!({ tables }.wait().unwrap().success(), "graphite-manage migrate");
    let carbon = spawn(path, "carbon-cache", |it| {
        it.arg(format!("--config={at}/carbon.conf")).args(["--nodaemon", "start"]);
    });
    let web = spawn(path, "graphite-manage", |it| {
        set_up(it);
        it.args(["runserver", "--noreload", "--insecure", &address.to_string()]);
    });
    let mut running = once_ready(address, "/version/", vec![carbon, web], folder);
    running.until(|| TcpStream::connect(lines).is_ok());
    running.until(|| TcpStream::connect(queries).is_ok());
    Some((running, lines))
}

/// A moto: what it answers to CloudWatch's JSON protocol lacks the content type that the protocol prescribes, so it is
/// given to it here.
pub(crate) fn moto() -> Option<Running> {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto-5.2.5/bin/python");
    if !is_there(python.as_ref()) {
        return None;
    }
    const PROGRAM: &str = "import sys\nfrom moto.core import serialize\n\
        serialize.JSONSerializer.CONTENT_TYPE = 'application/x-amz-json-1.0'\n\
        from moto.server import main\nmain(sys.argv[1:])\n";
    let (folder, address) = (tempfile::tempdir().unwrap(), free());
    let child = spawn(folder.path(), python, |it| {
        it.args(["-c", PROGRAM, "-H", "127.0.0.1", "-p", &address.port().to_string()]);
    });
    Some(once_ready(address, "/moto-api/", vec![child], folder))
}
