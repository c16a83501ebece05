//! Bodies and tunnels are passed on as they come.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serinus::local::proxy::{Routed, WHOLE};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;

use crate::rig::{Backend, PATIENCE, Rig, only, split};

type Chunks = mpsc::Receiver<Bytes>;

fn body(mut chunks: Chunks) -> impl hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> {
    StreamBody::new(futures_util::stream::poll_fn(move |cx| {
        chunks.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }))
}

#[tokio::test]
async fn the_first_chunk_arrives_before_the_last_is_sent_in_both_directions() {
    let echo =
        Backend::with(|request: Request<Incoming>| async move { Response::new(request.into_body()) }).await;
    let rig = Rig::start(only(echo.address)).await;
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (chunks, sent) = mpsc::channel(1);
    let request =
        Request::builder().method("POST").uri("/").header("host", "shop").body(Box::pin(body(sent))).unwrap();
    let first = async {
        chunks.send("first".into()).await.unwrap();
        let mut answer = sender.send_request(request).await.unwrap().into_body();
        for expected in ["first", "second", "third"] {
            let mut got = Vec::new();
            while got.len() < expected.len() {
                got.extend_from_slice(&answer.frame().await.unwrap().unwrap().into_data().unwrap());
            }
            assert_eq!(got, expected.as_bytes());
            if expected == "first" {
                chunks.send("second".into()).await.unwrap();
            } else if expected == "second" {
                chunks.send("third".into()).await.unwrap();
            }
        }
        drop(chunks);
        assert!(answer.frame().await.is_none());
    };
    tokio::time::timeout(PATIENCE, first).await.unwrap();
}

#[tokio::test]
async fn a_large_body_passes_whole_and_is_counted() {
    let echo =
        Backend::with(|request: Request<Incoming>| async move { Response::new(request.into_body()) }).await;
    let mut rig = Rig::start(only(echo.address)).await;
    let large: Vec<u8> = (0..20_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut client = crate::rig::Http1::connect(rig.address).await;
    let post = Request::builder().method("POST").uri("/").header("host", "shop");
    assert!(client.send(post, large.clone()).await.body == large);
    let snapshot = rig.until("ended", |s| s.series.iter().any(|s| s.completed == 1)).await;
    assert_eq!((snapshot.series[0].bytes_in, snapshot.series[0].bytes_out), (20_000_000, 20_000_000));
}

#[tokio::test]
async fn a_client_that_asks_to_continue_is_told_to() {
    let echo =
        Backend::with(|request: Request<Incoming>| async move { Response::new(request.into_body()) }).await;
    let rig = Rig::start(only(echo.address)).await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut told = [0; 25];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut told)).await.unwrap().unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200") && rest.ends_with("abc"), "{rest}");
    assert!(!echo.last_head().headers.contains_key("expect"));
}

/// A backend that answers a WebSocket message with itself, prefixed.
async fn websocket_echo(prefix: &'static str) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if let Message::Text(text) = message {
                        socket.send(Message::text(format!("{prefix}{text}"))).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_websocket_passes_and_outlives_a_change_of_the_split() {
    let (stable, canary) = (websocket_echo("one ").await, websocket_echo("two ").await);
    let mut rig = Rig::start(split(stable, canary, 0)).await;
    let url = format!("ws://{}/chat", rig.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    let ask = async |socket: &mut tokio_tungstenite::WebSocketStream<_>, text: &str| {
        socket.send(Message::text(text)).await.unwrap();
        tokio::time::timeout(PATIENCE, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .into_text()
            .unwrap()
            .to_string()
    };
    assert_eq!(ask(&mut socket, "a").await, "one a");
    let mut moved = split(stable, canary, WHOLE);
    moved.arms.remove("stable");
    moved.fallback = None;
    moved.split = BTreeMap::from([("canary".to_owned(), WHOLE)]);
    rig.apply(moved).await;
    assert_eq!(ask(&mut socket, "b").await, "one b", "the tunnel stays where it was");
    let snapshot = rig.counts().await;
    let left = snapshot.endpoints.iter().find(|endpoint| endpoint.address == stable).unwrap();
    assert_eq!((left.in_flight, left.configured), (1, false), "shown until it can be stopped");
    let (mut other, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    assert_eq!(ask(&mut other, "c").await, "two c");
    let upgraded = rig.series("v1", Routed::Weight).await;
    assert_eq!((upgraded.responses[0], upgraded.in_flight), (1, 1));
    socket.close(None).await.unwrap();
    rig.until("the tunnel ended", |s| s.endpoints.iter().all(|endpoint| endpoint.address != stable)).await;
}

#[tokio::test]
async fn a_silent_tunnel_ends() {
    let backend = websocket_echo("").await;
    let mut config = only(backend);
    config.timeouts.stream_idle_ms = 300;
    let rig = Rig::start(config).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/", rig.address)).await.unwrap();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        socket.send(Message::text("x")).await.unwrap();
        assert!(tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().is_ok());
    }
    let ended = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
    assert!(!matches!(ended, Some(Ok(Message::Text(_)))), "{ended:?}");
}

#[tokio::test]
async fn a_client_that_leaves_is_no_error_and_its_backend_is_told() {
    let (tell, mut told) = mpsc::unbounded_channel();
    struct Asked(mpsc::UnboundedSender<&'static str>);
    impl Drop for Asked {
        fn drop(&mut self) {
            let _ = self.0.send("given up");
        }
    }
    let hangs = Backend::with(move |_| {
        let _ = tell.send("asked");
        let asked = Asked(tell.clone());
        async move {
            let _asked = asked;
            std::future::pending::<Response<http_body_util::Full<Bytes>>>().await
        }
    })
    .await;
    let mut rig = Rig::start(only(hangs.address)).await;
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, told.recv()).await.unwrap(), Some("asked"));
    drop(stream);
    let snapshot = rig.until("ended", |s| s.series[0].completed == 1).await;
    assert_eq!((snapshot.series[0].cancelled, snapshot.series[0].errors.total()), (1, 0));
    assert_eq!(tokio::time::timeout(PATIENCE, told.recv()).await.unwrap(), Some("given up"));
}
