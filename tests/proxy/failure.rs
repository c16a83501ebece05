//! What happens when backends fail: what is tried again, what counts, who is left out.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serinus::local::proxy::{Routed, WHOLE};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::rig::{Backend, Http1, PATIENCE, Rig, arm, nobody, only, split};

/// A backend that reads one request and breaks the connection; counts the requests.
async fn breaking() -> (std::net::SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, read) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&read);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if stream.read(&mut [0; 4096]).await.is_ok_and(|n| n > 0) {
                count.fetch_add(1, SeqCst);
            }
        }
    });
    (address, read)
}

async fn hanging() -> Backend {
    Backend::with(|_| std::future::pending::<Response<Full<Bytes>>>()).await
}

#[tokio::test]
async fn a_connect_failure_on_the_canary_is_served_by_stable_and_counts_against_the_canary() {
    let stable = Backend::saying("v1").await;
    let mut rig = Rig::start(split(stable.address, nobody(), 500_000)).await;
    let mut client = Http1::connect(rig.address).await;
    for _ in 0..100 {
        let post = Request::builder().method("POST").uri("/").header("host", "shop");
        let got = client.send(post, "body").await;
        assert_eq!((got.head.status.as_u16(), got.text()), (200, "v1"));
    }
    assert_eq!(stable.served(), 100);
    let canary = rig.series("v2", Routed::Weight).await;
    assert_eq!((canary.requests, canary.completed, canary.errors.connect), (50, 50, 50));
    let stable = rig.series("v1", Routed::Weight).await;
    assert_eq!((stable.requests, stable.errors.total()), (50, 0), "its comparable population is not changed");
    assert_eq!(rig.series("v1", Routed::Retry).await.requests, 50);
}

#[tokio::test]
async fn what_may_have_been_sent_is_never_sent_again() {
    let stable = Backend::saying("v1").await;
    let (address, read) = breaking().await;
    let mut rig = Rig::start(split(stable.address, address, WHOLE)).await;
    for n in 1..=5 {
        let got = Http1::connect(rig.address).await.get("/").await;
        assert_eq!(
            (got.head.status.as_u16(), got.header("serinus-proxy")),
            (502, Some("backend broke the connection"))
        );
        assert_eq!(read.load(SeqCst), n, "sent exactly once");
    }
    assert_eq!(stable.served(), 0);
    assert_eq!(rig.series("v2", Routed::Weight).await.errors.reset, 5);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                // Promises to stay and leaves.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            });
        }
    });
    let mut rig = Rig::start(only(address)).await;
    let mut client = Http1::connect(rig.address).await;
    for _ in 0..200 {
        assert_eq!(client.get("/").await.text(), "ok");
        // Until the backend's end is known here, a request may still be lost to the race that HTTP/1.1 has.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(rig.series("v1", Routed::Weight).await.errors.total(), 0);
}

#[tokio::test]
async fn a_dead_process_is_left_out_and_taken_back_when_it_lives() {
    let alive = Backend::saying("alive").await;
    let dead = nobody();
    let mut config = only(alive.address);
    config.arms.insert("stable".to_owned(), arm("v1", &[alive.address, dead]));
    let mut rig = Rig::start(config).await;
    let mut client = Http1::connect(rig.address).await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.text(), "alive");
    }
    let snapshot = rig.counts().await;
    let series = &snapshot.series[0];
    assert_eq!(series.errors.total(), 0, "another process of the revision served them");
    assert!((1..30).contains(&series.reconnects), "left out after the first failure: {}", series.reconnects);
    assert!(snapshot.endpoints.iter().find(|e| e.address == dead).unwrap().ejected);
    let listener = TcpListener::bind(dead).await.unwrap();
    let back = Backend::on(listener, |_| async { Response::new(Full::<Bytes>::from("back")) });
    let again = async {
        while client.get("/").await.text() != "back" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("taken back");
    for _ in 0..20 {
        client.get("/").await;
    }
    assert!(back.served() >= 8, "takes its part again: {}", back.served());
    let snapshot = rig.counts().await;
    assert_eq!(snapshot.endpoints.iter().map(|e| e.completed).sum::<u64>(), snapshot.series[0].completed);
}

#[tokio::test]
async fn with_every_process_left_out_the_next_request_still_tries() {
    let dead = nobody();
    let rig = Rig::start(only(dead)).await;
    let mut client = Http1::connect(rig.address).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.head.status, 503);
    }
    let listener = TcpListener::bind(dead).await.unwrap();
    let _back = Backend::on(listener, |_| async { Response::new(Full::<Bytes>::from("back")) });
    assert_eq!(client.get("/").await.text(), "back", "no request is refused once somebody listens");
}

#[tokio::test]
async fn a_backend_that_never_answers_is_a_marked_timeout() {
    let hangs = hanging().await;
    let mut config = only(hangs.address);
    config.timeouts.response_head_ms = 200;
    let mut rig = Rig::start(config).await;
    let got = Http1::connect(rig.address).await.get("/").await;
    assert_eq!((got.head.status.as_u16(), got.header("serinus-proxy")), (504, Some("backend timed out")));
    assert_eq!(rig.series("v1", Routed::Weight).await.errors.timeout, 1);
}

#[tokio::test]
async fn a_slow_upload_is_not_the_backends_fault() {
    let echo = Backend::with(|request: Request<hyper::body::Incoming>| async move {
        use http_body_util::BodyExt;
        Response::new(Full::from(request.into_body().collect().await.unwrap().to_bytes()))
    })
    .await;
    let mut config = only(echo.address);
    config.timeouts.response_head_ms = 200;
    let rig = Rig::start(config).await;
    let mut stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for byte in b"hello" {
        tokio::time::sleep(Duration::from_millis(150)).await;
        stream.write_all(&[*byte]).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn a_body_that_falls_silent_ends_and_counts_as_timeout() {
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    let silent = Backend::with(|_| async {
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from("first")))]);
        Response::new(StreamBody::new(futures_util::StreamExt::chain(first, futures_util::stream::pending())))
    })
    .await;
    let mut config = only(silent.address);
    config.timeouts.stream_idle_ms = 200;
    let mut rig = Rig::start(config).await;
    let request = Request::builder().uri("/").header("host", "shop");
    assert!(Http1::connect(rig.address).await.try_send(request, "").await.is_err());
    assert_eq!(rig.series("v1", Routed::Weight).await.errors.timeout, 1);
}

#[tokio::test]
async fn a_head_that_trickles_and_a_connection_that_rests_are_closed() {
    let backend = Backend::saying("v1").await;
    let mut config = only(backend.address);
    config.timeouts.header_read_ms = 300;
    config.timeouts.client_idle_ms = 300;
    let rig = Rig::start(config).await;
    let mut silent = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    let mut trickles = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    let mut rests = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    rests.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let closed = async |stream: &mut tokio::net::TcpStream| {
        let mut got = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut got)).await.expect("closed in time");
        String::from_utf8_lossy(&got).into_owned()
    };
    let trickling = async {
        for byte in b"GET / HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
            if trickles.write_all(&[*byte]).await.is_err() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    };
    assert!(trickling.await, "a byte now and then must not hold a connection");
    assert_eq!(closed(&mut silent).await, "");
    assert!(closed(&mut rests).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_hanging_mirror_neither_delays_nor_fails_users() {
    let stable = Backend::saying("v1").await;
    let hangs = hanging().await;
    let mut config = split(stable.address, hangs.address, 0);
    config.mirrors = BTreeMap::from([("canary".to_owned(), WHOLE)]);
    config.limits.mirrors = 10;
    config.timeouts.response_head_ms = 60_000;
    let mut rig = Rig::start(config).await;
    let mut client = Http1::connect(rig.address).await;
    let all = async {
        for _ in 0..500 {
            let post = Request::builder().method("POST").uri("/").header("host", "shop");
            assert_eq!(client.send(post, "body").await.text(), "v1");
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("nobody waits for a mirror");
    let snapshot = rig.counts().await;
    assert_eq!(snapshot.listeners["web"].mirrors_skipped, 490);
    let users = snapshot.series.iter().find(|s| s.revision == "v1" && s.routed == Routed::Weight).unwrap();
    assert_eq!((users.requests, users.errors.total()), (500, 0));
    let mirrored = snapshot.series.iter().find(|s| s.routed == Routed::Mirror).unwrap();
    assert_eq!(mirrored.requests, 10);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_and_are_served_later() {
    let backend = Backend::saying("v1").await;
    let mut config = only(backend.address);
    config.limits.connections = 2;
    let mut rig = Rig::start(config).await;
    let (mut one, mut two) = (Http1::connect(rig.address).await, Http1::connect(rig.address).await);
    assert_eq!((one.get("/").await.text(), two.get("/").await.text()), ("v1", "v1"));
    let mut three = Http1::connect(rig.address).await;
    let waiting = tokio::spawn(async move { three.get("/").await });
    one.get("/").await;
    assert_eq!(rig.counts().await.listeners["web"].accepted, 2);
    assert!(!waiting.is_finished());
    drop(one);
    assert_eq!(tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().text(), "v1");
}
