//! Connections that end at an awkward moment, and what comes before an answer.

use std::{net::SocketAddr, time::Duration};

use http::Request;
use serinus::local::proxy::Routed;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::rig::{Backend, Http1, PATIENCE, Rig, impatient, only};

/// Reads one head; `None` when the other side closed before it was whole.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// A backend that answers the first request of each connection and closes when the second one arrives.
async fn closes_on_the_second() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let asked = head(&mut stream).await.unwrap();
                let length: usize = asked
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                stream.read_exact(&mut vec![0; length]).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                head(&mut stream).await
            });
        }
    });
    address
}

#[tokio::test]
async fn a_request_that_may_be_repeated_meets_a_closing_connection_without_harm() {
    let mut rig = Rig::start(only(closes_on_the_second().await)).await;
    let mut client = Http1::connect(rig.address).await;
    for method in ["GET", "GET", "HEAD", "DELETE", "OPTIONS", "GET"] {
        let request = Request::builder().method(method).uri("/").header("host", "shop");
        assert_eq!(client.send(request, "").await.head.status, 200, "{method}");
    }
    let counted = rig.series("v1", Routed::Weight).await;
    assert_eq!((counted.requests, counted.errors.total()), (6, 0));
}

#[tokio::test]
async fn what_may_not_be_repeated_is_not() {
    let mut rig = Rig::start(only(closes_on_the_second().await)).await;
    let mut client = Http1::connect(rig.address).await;
    assert_eq!(client.get("/").await.head.status, 200);
    let post = Request::builder().method("POST").uri("/").header("host", "shop");
    assert_eq!(client.send(post, "").await.head.status, 502);
    assert_eq!(client.get("/").await.head.status, 200);
    let put = Request::builder().method("PUT").uri("/").header("host", "shop");
    assert_eq!(client.send(put, "a body that is gone").await.head.status, 502);
    assert_eq!(rig.series("v1", Routed::Weight).await.errors.reset, 2);
}

#[tokio::test]
async fn an_answer_that_comes_early_reaches_a_client_that_still_uploads() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                head(&mut stream).await.unwrap();
                let early = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
                stream.write_all(early).await.unwrap();
                stream.shutdown().await.unwrap();
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            });
        }
    });
    let rig = Rig::start(only(address)).await;
    for _ in 0..5 {
        let mut client = TcpStream::connect(rig.address).await.unwrap();
        let upload = async {
            client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n").await?;
            // Reads nothing before everything is written, as many programs do.
            client.write_all(&vec![b'x'; 8_000_000]).await?;
            let mut answer = String::new();
            client.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, upload).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("big"), "{answer}");
    }
}

/// A backend that says these bytes, waits until the test has seen what it waits for, and answers.
async fn says_before(interim: &'static str, seen: std::sync::Arc<tokio::sync::Notify>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = std::sync::Arc::clone(&seen);
            tokio::spawn(async move {
                while head(&mut stream).await.is_some() {
                    stream.write_all(interim.as_bytes()).await.unwrap();
                    seen.notified().await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn what_comes_before_an_answer_is_passed_on_before_it() {
    let seen = std::sync::Arc::new(tokio::sync::Notify::new());
    let hints = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n";
    let rig = Rig::start(only(says_before(hints, std::sync::Arc::clone(&seen)).await)).await;
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    for _ in 0..3 {
        let exchange = async {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            assert_eq!(
                head(&mut client).await.unwrap(),
                "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"
            );
            seen.notify_one();
            assert!(head(&mut client).await.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
            client.read_exact(&mut [0; 2]).await.unwrap();
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap();
    }
    // HTTP/1.0 knows none of it.
    seen.notify_one();
    let mut old = TcpStream::connect(rig.address).await.unwrap();
    old.write_all(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(head(&mut old).await.unwrap().contains(" 200 OK"));
}

#[tokio::test]
async fn an_answer_with_many_fields_passes_and_one_beyond_the_limit_is_named() {
    let backend = Backend::with(|request: Request<hyper::body::Incoming>| async move {
        let n: usize = request.uri().path().trim_start_matches('/').parse().unwrap();
        let mut answer = http::Response::builder();
        for n in 0..n {
            answer = answer.header("set-cookie", format!("c{n}=1"));
        }
        answer.body(http_body_util::Full::from("ok")).unwrap()
    })
    .await;
    let mut config = only(backend.address);
    let rig = Rig::start(config.clone()).await;
    let ask = async |address: SocketAddr, n: usize| {
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /{n} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, client.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    };
    let many = ask(rig.address, 200).await;
    assert!(many.starts_with("HTTP/1.1 200"), "{many}");
    assert_eq!(many.matches("set-cookie").count(), 200);
    let more = ask(rig.address, 300).await;
    assert!(more.starts_with("HTTP/1.1 502") && more.contains("answerHeaders"), "{more}");
    config.limits.answer_headers = 400;
    let raised = Rig::start(config).await;
    assert!(ask(raised.address, 300).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn one_address_has_no_more_connections_than_it_may() {
    let backend = Backend::saying("v1").await;
    let mut config = only(backend.address);
    config.limits.connections_per_address = 2;
    let mut rig = Rig::start(config).await;
    let mut first = Http1::connect(rig.address).await;
    assert_eq!(first.get("/").await.text(), "v1");
    let mut second = Http1::connect(rig.address).await;
    assert_eq!(second.get("/").await.text(), "v1");
    let mut third = TcpStream::connect(rig.address).await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, third.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    assert_eq!(rig.counts().await.listeners["web"].turned_away, 1);
    drop(second);
    rig.until("room", |s| s.listeners["web"].connections == 1).await;
    assert_eq!(Http1::connect(rig.address).await.get("/").await.text(), "v1");
    assert_eq!(first.get("/").await.text(), "v1");
}

/// The preface, and settings that say `settings`.
fn http2_client(settings: &[u8]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend_from_slice(&[0, 0, u8::try_from(settings.len()).unwrap(), 4, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(settings);
    bytes
}

#[tokio::test]
async fn an_http2_connection_that_rests_is_closed_whatever_its_client_does() {
    let backend = Backend::saying("v1").await;
    let rig = Rig::start(impatient(only(backend.address))).await;
    let preface = http2_client(&[]);
    let half_a_head = [&preface[..], &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]].concat();
    for (name, bytes) in [("preface only", preface), ("half a head", half_a_head)] {
        let mut client = TcpStream::connect(rig.address).await.unwrap();
        client.write_all(&bytes).await.unwrap();
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        let ended = async {
            let mut buffer = [0; 1024];
            loop {
                match tokio::time::timeout(Duration::from_millis(50), client.read(&mut buffer)).await {
                    Ok(Ok(0) | Err(_)) => break,
                    Ok(Ok(_)) => {}
                    // A ping is no request.
                    Err(_) if name == "preface only" => drop(client.write_all(&ping).await),
                    Err(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("{name} is still open"));
    }
}
