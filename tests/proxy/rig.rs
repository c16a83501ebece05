//! A worker in a thread, backends, and clients raw enough to send anything.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serinus::local::proxy::{
    ArmConfig, ListenerConfig, ProxyConfig, Routed, SeriesSnapshot, Snapshot, Sockets, WHOLE, WorkerBoot,
    WorkerClient, WorkerError, run_worker,
};

/// Longest time anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Name of every worker's thread.
const WORKER: &str = "worker under test";

/// Panics of workers. A panic in one of its tasks does not end a worker, so it would go unseen.
static PANICS: AtomicU64 = AtomicU64::new(0);

fn count_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() == Some(WORKER) {
                PANICS.fetch_add(1, SeqCst);
            }
            before(info);
        }));
    });
}

/// A worker with one listener, `web`.
pub struct Rig {
    pub address: SocketAddr,
    pub control: WorkerClient,
    pub socket: std::path::PathBuf,
    generation: u64,
    thread: Option<JoinHandle<Result<(), WorkerError>>>,
    _dir: tempfile::TempDir,
}

impl Rig {
    pub async fn start(web: ListenerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::start_on(listener, web, 0).await
    }

    pub async fn start_on(listener: TcpListener, web: ListenerConfig, worker: u32) -> Self {
        let config = ProxyConfig { generation: 1, listeners: BTreeMap::from([("web".to_owned(), web)]) };
        Self::start_with(vec![("web".to_owned(), listener)], config, worker).await
    }

    /// The address of the rig is that of the first socket.
    pub async fn start_with(listeners: Sockets, config: ProxyConfig, worker: u32) -> Self {
        let address = listeners[0].1.local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("worker.sock");
        let control = UnixListener::bind(&socket).unwrap();
        let boot = WorkerBoot { worker, seed: 7, config: Some(config), drain_ms: Some(5_000) };
        count_panics();
        let worker = std::thread::Builder::new().name(WORKER.to_owned());
        let thread = worker.spawn(move || run_worker(boot, listeners, control)).unwrap();
        let control = WorkerClient::connect(&socket, PATIENCE).await.unwrap();
        Self { address, control, socket, generation: 1, thread: Some(thread), _dir: dir }
    }

    pub async fn apply(&mut self, web: ListenerConfig) {
        self.generation += 1;
        let config =
            ProxyConfig { generation: self.generation, listeners: BTreeMap::from([("web".to_owned(), web)]) };
        assert_eq!(self.control.apply(config).await.unwrap(), self.generation);
    }

    pub async fn counts(&mut self) -> Snapshot {
        self.control.counts().await.unwrap()
    }

    /// Counts of one series; zeros when there is none.
    pub async fn series(&mut self, revision: &str, routed: Routed) -> SeriesSnapshot {
        let snapshot = self.counts().await;
        let found = snapshot.series.into_iter().find(|s| s.revision == revision && s.routed == routed);
        found.unwrap_or_else(|| panic!("no series {revision} {routed:?}"))
    }

    /// Asks again and again until the counts are as told; what is counted at the end of a response may come after
    /// the client has read it.
    pub async fn until(&mut self, what: &str, mut holds: impl FnMut(&Snapshot) -> bool) -> Snapshot {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let snapshot = self.counts().await;
            if holds(&snapshot) {
                return snapshot;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "never happened: {what}; last seen: {snapshot:#?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for the worker to end by itself.
    pub fn ended(mut self) {
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Ok(mut socket) = std::os::unix::net::UnixStream::connect(&self.socket) {
            let _ = socket.write_all(b"{\"drain\":{\"deadlineMs\":0}}\n");
        }
        if let Some(thread) = self.thread.take()
            && !std::thread::panicking()
        {
            thread.join().unwrap().unwrap();
            assert_eq!(PANICS.load(SeqCst), 0, "a worker panicked");
        }
    }
}

pub fn arm(revision: &str, endpoints: &[SocketAddr]) -> ArmConfig {
    ArmConfig { revision: revision.to_owned(), endpoints: endpoints.to_vec(), ..ArmConfig::default() }
}

/// One arm, `stable`, revision `v1`.
pub fn only(endpoint: SocketAddr) -> ListenerConfig {
    ListenerConfig {
        arms: BTreeMap::from([("stable".to_owned(), arm("v1", &[endpoint]))]),
        split: BTreeMap::from([("stable".to_owned(), WHOLE)]),
        ..ListenerConfig::default()
    }
}

/// Arms `stable` (`v1`) and `canary` (`v2`), the canary with `ppm`, stable as fallback.
pub fn split(stable: SocketAddr, canary: SocketAddr, ppm: u32) -> ListenerConfig {
    ListenerConfig {
        arms: BTreeMap::from([
            ("stable".to_owned(), arm("v1", &[stable])),
            ("canary".to_owned(), arm("v2", &[canary])),
        ]),
        split: BTreeMap::from([("stable".to_owned(), WHOLE - ppm), ("canary".to_owned(), ppm)]),
        fallback: Some("stable".to_owned()),
        ..ListenerConfig::default()
    }
}

/// A backend that answers with a function, HTTP/1.1.
pub struct Backend {
    pub address: SocketAddr,
    pub served: Arc<AtomicU64>,
    pub connections: Arc<AtomicU64>,
    pub heads: Arc<Mutex<Vec<http::request::Parts>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Backend {
    /// Answers every request with `text`.
    pub async fn saying(text: &'static str) -> Self {
        Self::with(move |_| async move { Response::new(Full::from(text)) }).await
    }

    pub async fn with<F, R, B>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<B>> + Send + 'static,
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, answer)
    }

    pub fn on<F, R, B>(listener: tokio::net::TcpListener, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<B>> + Send + 'static,
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let address = listener.local_addr().unwrap();
        let served = Arc::new(AtomicU64::new(0));
        let connections = Arc::new(AtomicU64::new(0));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (count, accepted, kept) = (Arc::clone(&served), Arc::clone(&connections), Arc::clone(&heads));
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, SeqCst);
                let (answer, count, kept) = (answer.clone(), Arc::clone(&count), Arc::clone(&kept));
                let service = service_fn(move |request: Request<Incoming>| {
                    count.fetch_add(1, SeqCst);
                    let (parts, body) = request.into_parts();
                    kept.lock().unwrap().push(parts.clone());
                    let answer = answer(Request::from_parts(parts, body));
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                open.spawn(async move {
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades();
                    let _ = connection.await;
                });
            }
        });
        Self { address, served, connections, heads, task }
    }

    pub fn served(&self) -> u64 {
        self.served.load(SeqCst)
    }

    /// The head of the last request.
    pub fn last_head(&self) -> http::request::Parts {
        self.heads.lock().unwrap().last().unwrap().clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address on which nobody listens.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One HTTP/1.1 client connection.
pub struct Http1 {
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

/// A whole response.
#[derive(Debug)]
pub struct Got {
    pub head: http::response::Parts,
    pub body: Bytes,
}

impl Got {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Http1 {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Self { sender }
    }

    pub async fn get(&mut self, path: &str) -> Got {
        self.send(Request::builder().uri(path).header("host", "shop"), "").await
    }

    pub async fn send(&mut self, request: http::request::Builder, body: impl Into<Bytes>) -> Got {
        self.try_send(request, body).await.unwrap()
    }

    pub async fn try_send(
        &mut self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Result<Got, hyper::Error> {
        use http_body_util::BodyExt;
        let request = request.body(Full::new(body.into())).unwrap();
        let exchange = async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            Ok(Got { head, body: body.collect().await?.to_bytes() })
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }
}

/// Closes what rests, or sends half of something, after a moment.
pub fn impatient(mut config: ListenerConfig) -> ListenerConfig {
    config.timeouts.header_read_ms = 300;
    config.timeouts.client_idle_ms = 300;
    config.timeouts.stream_idle_ms = 300;
    config
}

/// Sends bytes on a connection of their own and reads until the other side closes,
/// which needs a worker that is impatient with idle connections ([`impatient`]).
pub fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server may refuse before everything is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return answer,
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return answer,
            Err(error) => panic!("{error}: no end after {:?}", String::from_utf8_lossy(&answer)),
        }
    }
}
