//! A server on a real socket that answers as it is told, well or badly.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls};

/// What is sent back.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Status 200, JSON, this body.
    Json(Vec<u8>),
    /// A whole response as it stands.
    Raw(Vec<u8>),
    /// A body without end, 64 KiB at a time.
    Flood,
    /// A chunked body that is never finished.
    Unfinished,
    /// One byte of the body a second.
    Dripping(Vec<u8>),
    /// Nothing, for ever.
    Silence,
    /// The connection is reset in mid-answer.
    Reset,
    /// The TLS handshake offers a certificate that nobody vouches for.
    BadTls,
}

/// What the server saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) requests: AtomicUsize,
    pub(crate) closed: AtomicUsize,
    pub(crate) body_bytes: AtomicU64,
    pub(crate) most_at_once: AtomicUsize,
    at_once: AtomicUsize,
    /// Head and body of each request.
    pub(crate) texts: std::sync::Mutex<Vec<String>>,
}

/// Answers by the text of the request.
pub(crate) type Script = Arc<dyn Fn(&str) -> Reply + Send + Sync>;

/// A server, until its runtime ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
}

impl Server {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, seen) = (script.clone(), shared.clone());
                tokio::spawn(async move {
                    serve(stream, &script, &seen).await;
                    seen.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, seen }
    }

    /// The same by TLS, with a certificate for `localhost` that its own authority vouches for.
    pub(crate) async fn start_tls(script: Script) -> (Self, String) {
        let made =
            rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "metrics.internal".to_owned()])
                .unwrap();
        let (pem, acceptor) = (made.cert.pem(), acceptor(&made));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, seen, acceptor) = (script.clone(), shared.clone(), acceptor.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer_all(stream, &script, &seen).await;
                    }
                });
            }
        });
        (Self { address, seen }, pem)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn acceptor(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> TlsAcceptor {
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(stream: TcpStream, script: &Script, seen: &Seen) {
    // A TLS client speaks first, with a byte that begins no request.
    let mut first = [0; 1];
    if stream.peek(&mut first).await.is_ok_and(|n| n == 1) && first[0] == 0x16 {
        let made = rcgen::generate_simple_self_signed(vec!["elsewhere".to_owned()]).unwrap();
        seen.requests.fetch_add(1, Ordering::SeqCst);
        let _ = acceptor(&made).accept(stream).await;
        return;
    }
    answer_all(stream, script, seen).await;
}

async fn answer_all<S: AsyncRead + AsyncWrite + Linger + Unpin>(mut stream: S, script: &Script, seen: &Seen) {
    while let Some(text) = request(&mut stream).await {
        seen.requests.fetch_add(1, Ordering::SeqCst);
        let at_once = seen.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        let reply = script(&text);
        seen.texts.lock().unwrap().push(text);
        let goes_on = answer(&mut stream, reply, seen).await;
        seen.at_once.fetch_sub(1, Ordering::SeqCst);
        if !goes_on {
            return;
        }
    }
}

/// One request, whole.
async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut bytes = vec![];
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(head) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length =
                text.lines().find_map(|it| it.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if head + 4 + length <= bytes.len() {
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Sends; whether the connection stays.
async fn answer<S: AsyncWrite + AsyncRead + Linger + Unpin>(
    stream: &mut S,
    reply: Reply,
    seen: &Seen,
) -> bool {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    match reply {
        Reply::Json(body) => {
            let head = format!("{HEAD}content-length: {}\r\n\r\n", body.len());
            seen.body_bytes.fetch_add(body.len() as u64, Ordering::SeqCst);
            stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(&body).await.is_ok()
        }
        Reply::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            false
        }
        Reply::Flood => {
            let _ = stream.write_all(format!("{HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes()).await;
            let piece = [&b"10000\r\n"[..], &[b' '; 65536], b"\r\n"].concat();
            while stream.write_all(&piece).await.is_ok() {
                seen.body_bytes.fetch_add(65536, Ordering::SeqCst);
            }
            false
        }
        Reply::Unfinished => {
            let _ = stream
                .write_all(format!("{HEAD}transfer-encoding: chunked\r\n\r\n2\r\n{{\"\r\n").as_bytes())
                .await;
            until_closed(stream).await
        }
        Reply::Dripping(body) => {
            let _ =
                stream.write_all(format!("{HEAD}content-length: {}\r\n\r\n", body.len()).as_bytes()).await;
            for byte in body {
                if stream.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            false
        }
        Reply::Silence => until_closed(stream).await,
        Reply::Reset => {
            let _ = stream.write_all(format!("{HEAD}content-length: 100\r\n\r\n{{").as_bytes()).await;
            stream.linger_zero();
            false
        }
        Reply::BadTls => unreachable!("a TLS client is answered before its request"),
    }
}

async fn until_closed<S: AsyncRead + Unpin>(stream: &mut S) -> bool {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await.is_ok_and(|it| it != 0) {}
    false
}

/// Streams that can be reset.
pub(crate) trait Linger {
    fn linger_zero(&mut self);
}

impl Linger for TcpStream {
    fn linger_zero(&mut self) {
        self.set_zero_linger().unwrap();
    }
}

impl Linger for tokio_rustls::server::TlsStream<TcpStream> {
    fn linger_zero(&mut self) {
        self.get_ref().0.set_zero_linger().unwrap();
    }
}
