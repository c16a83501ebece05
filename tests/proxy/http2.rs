//! HTTP/2: prior knowledge, gRPC with trailers, and both sides mixed.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::http2::SendRequest,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serinus::local::proxy::{Routed, Upstream};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Backend, PATIENCE, Rig, only};

pub async fn connect<B>(address: std::net::SocketAddr) -> SendRequest<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Echoes every message as it comes, then the status in trailers, as a gRPC server does.
async fn grpc_echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async move {
                assert_eq!(request.version(), Version::HTTP_2);
                assert_eq!(request.headers()["te"], "trailers");
                let messages = http_body_util::BodyStream::new(request.into_body());
                let messages = futures_util::StreamExt::map(messages, |frame| {
                    Ok::<_, Infallible>(Frame::data(frame.unwrap().into_data().unwrap_or_default()))
                });
                let trailers =
                    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
                let end = futures_util::stream::iter([Ok(Frame::trailers(trailers))]);
                let body = StreamBody::new(futures_util::StreamExt::chain(messages, end));
                let response =
                    Response::builder().header("content-type", "application/grpc").body(body).unwrap();
                Ok::<_, Infallible>(response)
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn grpc_streams_both_ways_and_ends_with_its_trailers() {
    let mut rig = Rig::start(only(grpc_echo().await)).await;
    let mut sender = connect(rig.address).await;
    let call = async {
        for round in 0..3 {
            let (messages, mut sent) = tokio::sync::mpsc::channel::<Bytes>(1);
            let body = StreamBody::new(futures_util::stream::poll_fn(move |cx| {
                sent.poll_recv(cx)
                    .map(|message| message.map(|message| Ok::<_, Infallible>(Frame::data(message))))
            }));
            let request = Request::builder()
                .method("POST")
                .uri("http://shop/package.Service/Method")
                .header("content-type", "application/grpc+proto")
                .header("te", "trailers")
                .body(Box::pin(body))
                .unwrap();
            let answer = sender.send_request(request);
            messages.send("one".into()).await.unwrap();
            let mut body = answer.await.unwrap().into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
            messages.send("two".into()).await.unwrap();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
            drop(messages);
            let trailers = loop {
                match body.frame().await.unwrap().unwrap().into_trailers() {
                    Ok(trailers) => break trailers,
                    Err(frame) => assert!(frame.into_data().unwrap().is_empty(), "round {round}"),
                }
            };
            assert_eq!(trailers["grpc-status"], "0");
        }
    };
    tokio::time::timeout(PATIENCE, call).await.unwrap();
    let counted = rig.until("ended", |s| s.series[0].completed == 3).await.series[0].clone();
    assert_eq!((counted.requests, counted.errors.total(), counted.bytes_in), (3, 0, 18));
}

#[tokio::test]
async fn prior_knowledge_and_http1_share_a_socket_and_a_backend() {
    let backend = Backend::saying("v1").await;
    let mut rig = Rig::start(only(backend.address)).await;
    let mut sender = connect::<Full<Bytes>>(rig.address).await;
    let mut calls = Vec::new();
    for n in 0..50 {
        let request = Request::builder().uri(format!("http://shop/{n}")).body(Full::from("x")).unwrap();
        calls.push(sender.send_request(request));
    }
    for call in calls {
        let response = tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "v1");
    }
    assert_eq!(crate::rig::Http1::connect(rig.address).await.get("/").await.text(), "v1");
    let head = backend.heads.lock().unwrap()[0].clone();
    assert_eq!((head.version, head.headers["host"].to_str().unwrap()), (Version::HTTP_11, "shop"));
    assert_eq!(rig.series("v1", Routed::Weight).await.requests, 51);
}

#[tokio::test]
async fn an_http1_client_reaches_a_backend_that_speaks_http2_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = only(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async move {
                let said =
                    format!("{:?} {} {:?}", request.version(), request.uri(), request.headers().get("host"));
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(
                    [said.as_bytes(), b" ", &body].concat(),
                )))
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    config.arms.get_mut("stable").unwrap().upstream = Upstream::Http2;
    let rig = Rig::start(config).await;
    let mut client = crate::rig::Http1::connect(rig.address).await;
    let post = Request::builder().method("POST").uri("/a?b").header("host", "shop");
    assert_eq!(client.send(post, "hi").await.text(), "HTTP/2.0 http://shop/a?b None hi");
    let upgrade = Request::builder().uri("/").header("host", "a").header("connection", "upgrade");
    let got = client.send(upgrade.header("upgrade", "websocket"), "").await;
    assert_eq!((got.head.status.as_u16(), got.header("serinus-proxy")), (501, Some("upgrade not possible")));
}

#[tokio::test]
async fn a_stream_that_is_reset_cancels_only_itself() {
    let backend = Backend::with(|request: Request<Incoming>| async move {
        if request.uri().path() == "/hang" {
            std::future::pending::<()>().await;
        }
        Response::new(Full::<Bytes>::from("v1"))
    })
    .await;
    let mut rig = Rig::start(only(backend.address)).await;
    let mut sender = connect::<Full<Bytes>>(rig.address).await;
    let hanging = sender.send_request(Request::builder().uri("http://a/hang").body(Full::default()).unwrap());
    rig.until("in flight", |s| s.series[0].in_flight == 1).await;
    drop(hanging);
    let snapshot = rig.until("ended", |s| s.series[0].completed == 1).await;
    assert_eq!((snapshot.series[0].cancelled, snapshot.series[0].errors.total()), (1, 0));
    let request = Request::builder().uri("http://a/").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
}

/// A backend that floods the first stream of a connection with small frames and answers the others.
async fn floods_the_first() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut first = true;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    if !std::mem::replace(&mut first, false) {
                        body.send_data(Bytes::from_static(b"v1"), true).unwrap();
                        continue;
                    }
                    tokio::spawn(async move {
                        for _ in 0..20_000 {
                            body.reserve_capacity(10);
                            let ready = std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
                            if !matches!(ready, Some(Ok(_)))
                                || body.send_data(Bytes::from_static(b"0123456789"), false).is_err()
                            {
                                return;
                            }
                        }
                    });
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn one_slow_reader_of_small_messages_breaks_nobody_elses_calls() {
    let mut config = only(floods_the_first().await);
    config.arms.get_mut("stable").unwrap().upstream = Upstream::Http2;
    let mut rig = Rig::start(config).await;
    let stream = TcpStream::connect(rig.address).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let handshake = builder.initial_stream_window_size(100).handshake(TokioIo::new(stream));
    let (mut slow, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = || Request::builder().uri("http://shop/").body(Full::default()).unwrap();
    let unread = slow.send_request(request()).await.unwrap();
    let mut others = connect::<Full<Bytes>>(rig.address).await;
    for _ in 0..50 {
        let answer = tokio::time::timeout(PATIENCE, others.send_request(request())).await.unwrap().unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "v1");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let counted = rig.series("v1", Routed::Weight).await;
    assert_eq!((counted.in_flight, counted.errors.total()), (1, 0), "{counted:?}");
    drop(unread);
}
