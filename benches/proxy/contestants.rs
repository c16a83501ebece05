//! The proxies that are compared, each configured for the same work, and the backends behind them.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serinus::local::proxy::{
    ArmConfig, Condition, ListenerConfig, MatchConfig, Named, ProxyConfig, StickyConfig, Text, WHOLE,
    WorkerBoot, run_worker,
};

/// A proxy under test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Serinus,
    SerinusEverything,
    Nginx,
    HaProxy,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Serinus, Self::SerinusEverything, Self::Nginx, Self::HaProxy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serinus => "serinus",
            Self::SerinusEverything => "serinus, everything on",
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
        }
    }
}

/// A running proxy.
pub(crate) struct Contestant {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    process: Child,
    _backends: Vec<Running>,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Contestant {
    /// Nanoseconds on a CPU since the process started, all threads.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let of = |task: std::fs::DirEntry| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0)
        };
        tasks.flatten().map(of).sum()
    }

    /// Resident memory, KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// The programs that are needed and not there, by the name of their package.
pub(crate) fn missing() -> Vec<&'static str> {
    let there = |program: &str| {
        let found = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    };
    ["nginx", "haproxy"].into_iter().filter(|program| !there(program)).collect()
}

/// Starts every proxy before the same two backends.
pub(crate) fn start(dir: &Path) -> Vec<Contestant> {
    let (stable, stable_process) = start_backend("v1");
    let (canary, canary_process) = start_backend("v2");
    let mut backends = vec![stable_process, canary_process];
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = match kind {
            Kind::Serinus => start_worker(address, plain(stable, canary)),
            Kind::SerinusEverything => start_worker(address, everything(stable, canary)),
            Kind::Nginx => start_nginx(dir, address, stable, canary),
            Kind::HaProxy => start_haproxy(dir, address, stable, canary),
        };
        all.push(Contestant { kind, address, process, _backends: std::mem::take(&mut backends) });
        wait_for(address);
    }
    all
}

fn wait_for(address: SocketAddr) {
    for _ in 0..200 {
        if std::net::TcpStream::connect(address).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("nobody listens on {address}");
}

fn start_backend(version: &str) -> (SocketAddr, Running) {
    let exe = std::env::current_exe().unwrap();
    let mut child = Command::new(exe).args(["role-backend", version]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (line.trim().parse().unwrap(), Running(child))
}

/// A backend process: answers with the sample service's token and a kilobyte.
pub(crate) fn backend(version: &str) {
    let body = Bytes::from(format!("serinus-sample {version}\n{}", "x".repeat(1_000)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let body = body.clone();
            let service = service_fn(move |_: Request<Incoming>| {
                let response = Response::new(Full::new(body.clone()));
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
}

fn start_worker(address: SocketAddr, web: ListenerConfig) -> Child {
    let exe = std::env::current_exe().unwrap();
    let mut child = Command::new(exe).arg("role-worker").stdin(Stdio::piped()).spawn().unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), &(address, web)).unwrap();
    child
}

/// A worker process; address and configuration come on standard input.
pub(crate) fn worker() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let (address, web): (SocketAddr, ListenerConfig) = serde_json::from_str(&text).unwrap();
    let listener = TcpListener::bind(address).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let control = UnixListener::bind(dir.path().join("control")).unwrap();
    let config = ProxyConfig { generation: 1, listeners: BTreeMap::from([("web".to_owned(), web)]) };
    let boot = WorkerBoot { config: Some(config), seed: 1, ..WorkerBoot::default() };
    run_worker(boot, vec![("web".to_owned(), listener)], control).unwrap();
}

fn plain(stable: SocketAddr, canary: SocketAddr) -> ListenerConfig {
    let arm = |revision: &str, endpoint| ArmConfig {
        revision: revision.to_owned(),
        endpoints: vec![endpoint],
        ..ArmConfig::default()
    };
    ListenerConfig {
        arms: BTreeMap::from([
            ("stable".to_owned(), arm("v1", stable)),
            ("canary".to_owned(), arm("v2", canary)),
        ]),
        split: BTreeMap::from([("stable".to_owned(), WHOLE / 10 * 9), ("canary".to_owned(), WHOLE / 10)]),
        fallback: Some("stable".to_owned()),
        ..ListenerConfig::default()
    }
}

/// Matches of every kind that are looked at and do not fit, a cookie signed for every request, 1 % mirrored.
fn everything(stable: SocketAddr, canary: SocketAddr) -> ListenerConfig {
    let named = |name: &str| Named { name: name.to_owned(), value: Text::Exact("1".to_owned()) };
    let any_of = vec![
        vec![Condition::Header(named("x-canary")), Condition::Path(Text::Prefix("/".to_owned()))],
        vec![Condition::Cookie(named("canary"))],
        vec![Condition::Query(named("canary"))],
        vec![Condition::Path(Text::Regex("/beta/[a-z]+/.*".to_owned()))],
    ];
    ListenerConfig {
        matches: vec![MatchConfig { id: "staff".to_owned(), any_of, to: "canary".to_owned() }],
        sticky: Some(StickyConfig {
            cookie: "shop".to_owned(),
            ttl_s: 3_600,
            key: "a key of enough bytes".to_owned(),
            attempt: 1,
        }),
        mirrors: BTreeMap::from([("canary".to_owned(), WHOLE / 100)]),
        ..plain(stable, canary)
    }
}

fn start_nginx(dir: &Path, address: SocketAddr, stable: SocketAddr, canary: SocketAddr) -> Child {
    let root = dir.display();
    let config = format!(
        "daemon off; master_process off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/nginx.log crit;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_requests 1000000; server_tokens off;
    client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c;
    uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;
    split_clients $request_id $arm {{ 10% canary; * stable; }}
    upstream stable {{ server {stable}; keepalive 64; keepalive_requests 1000000; }}
    upstream canary {{ server {canary}; keepalive 64; keepalive_requests 1000000; }}
    server {{
        listen {address};
        location / {{
            proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_pass http://$arm;
        }}
    }}
}}
"
    );
    let path = dir.join("nginx.conf");
    std::fs::write(&path, config).unwrap();
    Command::new("nginx")
        .args(["-p", dir.to_str().unwrap(), "-c"])
        .arg(path)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn start_haproxy(dir: &Path, address: SocketAddr, stable: SocketAddr, canary: SocketAddr) -> Child {
    let config = format!(
        "global
    nbthread 1
    maxconn 8192
defaults
    mode http
    timeout connect 1s
    timeout client 75s
    timeout server 60s
    http-reuse always
frontend web
    bind {address}
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    default_backend shop
backend shop
    balance roundrobin
    server stable {stable} weight 90
    server canary {canary} weight 10
"
    );
    let path = dir.join("haproxy.cfg");
    std::fs::write(&path, config).unwrap();
    Command::new("haproxy")
        .args(["-db", "-f"])
        .arg(path)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}
