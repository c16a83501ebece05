//! Requests that two parsers could read differently, sent byte by byte.

use serinus::local::proxy::PROXY_HEADER;

use crate::rig::{Backend, Http1, Rig, impatient, only, raw};

async fn rig() -> (Backend, Rig) {
    let backend = Backend::with(|request: http::Request<hyper::body::Incoming>| async move {
        use http_body_util::{BodyExt, Full};
        let path = request.uri().to_string();
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        http::Response::new(Full::from(format!("[{path}|{}]", String::from_utf8_lossy(&body))))
    })
    .await;
    let rig = Rig::start(impatient(only(backend.address))).await;
    (backend, rig)
}

/// Sends the bytes; returns the statuses of all answers and how many requests reached the backend.
async fn sent(backend: &Backend, rig: &Rig, bytes: &[u8]) -> (Vec<u16>, u64, String) {
    let before = backend.served();
    let (address, bytes) = (rig.address, bytes.to_vec());
    let answer = tokio::task::spawn_blocking(move || raw(address, &bytes)).await.unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let heads =
        text.match_indices("HTTP/1.1 ").map(|(at, _)| text[at + 9..at + 12].parse().unwrap()).collect();
    (heads, backend.served() - before, text)
}

#[track_caller]
fn is_refused(name: &str, (statuses, served, text): (Vec<u16>, u64, String)) {
    assert_eq!(served, 0, "{name} reached the backend: {text}");
    assert_eq!(statuses.len(), 1, "{name}: {text}");
    assert!((400..500).contains(&statuses[0]), "{name}: {text}");
    assert!(text.to_lowercase().contains(PROXY_HEADER.as_str()), "{name}: not marked as the proxy's: {text}");
}

#[tokio::test]
async fn ambiguous_requests_are_refused_marked_and_never_reach_the_backend() {
    let (backend, rig) = rig().await;
    let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}");
    let cases = [
        ("two lengths", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd")),
        ("a list of lengths", post("Content-Length: 3, 4\r\n", "abcd")),
        ("a signed length", post("Content-Length: +3\r\n", "abc")),
        ("a negative length", post("Content-Length: -1\r\n", "abc")),
        ("a hexadecimal length", post("Content-Length: 0x3\r\n", "abc")),
        ("an empty length", post("Content-Length:\r\n", "abc")),
        ("a length beyond 64 bits", post("Content-Length: 99999999999999999999\r\n", "abc")),
        ("a coding that is not chunked", post("Transfer-Encoding: gzip\r\n", "abc")),
        ("two codings", post("Transfer-Encoding: gzip, chunked\r\n", "3\r\nabc\r\n0\r\n\r\n")),
        ("chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        (
            "chunked then identity",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
        ),
        ("an obscured coding", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        ("a coding with a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")),
        ("a space before the colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")),
        ("a folded header", post("X-A: b\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("a folded coding", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n")),
        ("a null in a header", post("X-A: a\0b\r\n", "")),
        ("a bare carriage return in a header", post("X-A: a\rX-B: b\r\n", "")),
        (
            "chunked over 1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ),
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned()),
        ("a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned()),
        ("a host with user information", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".to_owned()),
        ("a target with user information", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("a target that is not http", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("connect", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned()),
        ("another expectation", post("Expect: a miracle\r\n", "")),
        ("no method", " / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("another version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned()),
        ("no version", "GET /\r\nHost: a\r\n\r\n".to_owned()),
        ("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("a null in the target", "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("TLS to a plain port", "\x16\x03\x01\x02\0\x01\0\x01".to_owned()),
    ];
    for (name, bytes) in cases {
        is_refused(name, sent(&backend, &rig, bytes.as_bytes()).await);
    }
    let mut client = Http1::connect(rig.address).await;
    assert_eq!(client.get("/still").await.text(), "[/still|]");
}

#[tokio::test]
async fn with_both_framings_the_chunks_count_and_the_connection_ends() {
    let (backend, rig) = rig().await;
    for headers in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ] {
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        let bytes = format!("POST /p HTTP/1.1\r\nHost: a\r\n{headers}\r\n0\r\n\r\n{smuggled}");
        let (_, served, text) = sent(&backend, &rig, bytes.as_bytes()).await;
        assert!(served <= 1, "{text}");
        assert!(!text.contains("/smuggled"), "what follows an ambiguous request is not a request: {text}");
        let head = backend.last_head();
        assert!(
            !(head.headers.contains_key("content-length") && head.headers.contains_key("transfer-encoding"))
        );
    }
}

#[tokio::test]
async fn a_body_is_framed_anew_and_cannot_become_a_request() {
    let (backend, rig) = rig().await;
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = format!("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}", inner.len());
    let chunks = format!(
        "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x};ext=1\r\n{inner}\r\n0\r\n\r\n",
        inner.len()
    );
    for bytes in [length, chunks] {
        let (statuses, served, text) = sent(&backend, &rig, bytes.as_bytes()).await;
        assert_eq!((statuses, served), (vec![200], 1), "{text}");
        assert!(text.contains(&format!("[/p|{inner}]")), "{text}");
    }
    let broken = "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nGET /smuggled HTTP/1.1\r\n\r\n";
    let (_, _, text) = sent(&backend, &rig, broken.as_bytes()).await;
    assert!(!text.contains("/smuggled"), "{text}");
}

#[tokio::test]
async fn what_a_client_sends_wrong_is_its_own_fault() {
    let (backend, mut rig) = rig().await;
    let bodies = [
        ("a size that is none", "zz\r\nabc\r\n0\r\n\r\n"),
        ("a chunk longer than it says", "3\r\nabcXX0\r\n\r\n"),
        ("bare line feeds", "3\nabc\n0\n\n"),
        ("a trailer that is none", "3\r\nabc\r\n0\r\nX T: 1\r\n\r\n"),
        ("a body that never ends", "3\r\nab"),
    ];
    for (name, body) in bodies {
        let bytes = format!("POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let (statuses, _, text) = sent(&backend, &rig, bytes.as_bytes()).await;
        assert!(matches!(statuses[..], [400 | 408]), "{name}: {text}");
    }
    let snapshot = rig.until("ended", |s| s.series[0].completed == 5).await;
    assert_eq!((snapshot.series[0].errors.total(), snapshot.series[0].cancelled), (0, 5));
    assert_eq!(snapshot.listeners["web"].refused, 5);
}

#[tokio::test]
async fn no_request_is_lost_behind_trailers() {
    let (backend, rig) = rig().await;
    let next = "GET /two HTTP/1.1\r\nHost: a\r\n\r\nGET /three HTTP/1.1\r\nHost: a\r\n\r\n";
    for trailers in ["\n", "X: 1\n\n", "X: 1\r\n\n"] {
        let post = "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n";
        let (_, _, text) = sent(&backend, &rig, format!("{post}{trailers}{next}").as_bytes()).await;
        assert!(text.contains("/two") || !text.contains("/three"), "{trailers:?}: {text}");
    }
}

#[tokio::test]
async fn an_old_client_that_names_no_host_is_served() {
    let (backend, rig) = rig().await;
    let (_, served, text) = sent(&backend, &rig, b"GET /old HTTP/1.0\r\n\r\n").await;
    assert_eq!(served, 1);
    assert!(text.contains("[/old|]"), "{text}");
    assert_eq!(backend.last_head().headers["host"], "");
}

#[tokio::test]
async fn a_get_with_a_body_keeps_it() {
    let (backend, rig) = rig().await;
    let bytes = "GET /g HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let (_, served, text) = sent(&backend, &rig, bytes.as_bytes()).await;
    assert_eq!(served, 1);
    assert!(text.contains("[/g|abc]"), "{text}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (backend, rig) = rig().await;
    let bytes: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    let (statuses, served, text) = sent(&backend, &rig, bytes.as_bytes()).await;
    assert_eq!((statuses, served), (vec![200; 20], 20));
    let bodies: Vec<_> = (0..20).map(|n| text.find(&format!("[/{n}|]")).unwrap()).collect();
    assert!(bodies.is_sorted(), "{text}");
}

#[tokio::test]
async fn hop_by_hop_headers_end_here_in_both_directions() {
    let backend = Backend::with(|_| async {
        http::Response::builder()
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=1")
            .header("proxy-connection", "keep-alive")
            .header("x-end", "1")
            .body(http_body_util::Full::from("ok"))
            .unwrap()
    })
    .await;
    let rig = Rig::start(only(backend.address)).await;
    let request = http::Request::builder()
        .uri("/")
        .header("host", "shop")
        .header("connection", "x-private, x-forwarded-for")
        .header("x-private", "1")
        .header("keep-alive", "1")
        .header("te", "trailers")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-end", "1");
    let got = Http1::connect(rig.address).await.send(request, "").await;
    for name in ["connection", "x-hop", "keep-alive", "proxy-connection"] {
        assert_eq!(got.header(name), None, "{name}");
    }
    assert_eq!(got.header("x-end"), Some("1"));
    let head = backend.last_head();
    for name in ["connection", "x-private", "keep-alive", "te"] {
        assert!(!head.headers.contains_key(name), "{name}");
    }
    assert_eq!(head.headers["x-end"], "1");
    assert_eq!(head.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(head.headers["x-forwarded-host"], "shop");
    assert_eq!(head.headers["x-forwarded-proto"], "http");
    assert_eq!(head.headers["host"], "shop");
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused() {
    let backend = Backend::saying("v1").await;
    let mut config = impatient(only(backend.address));
    config.limits.header_bytes = 16 * 1024;
    config.limits.headers = 50;
    let rig = Rig::start(config).await;
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n", "x".repeat(20_000));
    let many: String = (0..60).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000));
    for (name, bytes) in
        [("large", large), ("many", format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")), ("long", long)]
    {
        is_refused(name, sent(&backend, &rig, bytes.as_bytes()).await);
    }
    let fits: String = (0..45).map(|n| format!("X-{n}: 1\r\n")).collect();
    let fits = format!("GET / HTTP/1.1\r\nHost: a\r\n{fits}\r\n");
    assert_eq!(sent(&backend, &rig, fits.as_bytes()).await.0, [200]);
}

/// A backend whose answers are these bytes.
async fn saying_bytes(bytes: &'static [u8]) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(bytes).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_backend_that_talks_nonsense_is_a_marked_bad_gateway() {
    let (broke, malformed) = ("backend broke the connection", "malformed answer of the backend");
    let gzip = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let nonsense: [(&[u8], &str); 8] = [
        (b"", broke),
        (b"nonsense\r\n\r\n", malformed),
        (b"HTTP/1.1 99999 x\r\n\r\n", malformed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", malformed),
        (b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", malformed),
        (gzip, malformed),
        (upgrade, broke),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", malformed),
    ];
    for (bytes, reason) in nonsense {
        let mut rig = Rig::start(only(saying_bytes(bytes).await)).await;
        let got = Http1::connect(rig.address).await.get("/").await;
        assert_eq!(got.head.status, 502, "{}", String::from_utf8_lossy(bytes));
        assert_eq!(got.header("serinus-proxy"), Some(reason), "{}", String::from_utf8_lossy(bytes));
        let counted = rig.series("v1", serinus::local::proxy::Routed::Weight).await;
        assert_eq!((counted.errors.reset, counted.completed), (1, 1));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_breaks_off_for_the_client_too() {
    let torn = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    let mut rig = Rig::start(only(saying_bytes(torn).await)).await;
    let request = http::Request::builder().uri("/").header("host", "shop");
    let got = Http1::connect(rig.address).await.try_send(request, "").await;
    assert!(got.is_err(), "a torn body must not look whole: {got:?}");
    let counted = rig.series("v1", serinus::local::proxy::Routed::Weight).await;
    assert_eq!((counted.errors.reset, counted.responses[1]), (1, 1));
}

#[tokio::test]
async fn head_and_bodiless_statuses_keep_their_connection() {
    let backend = Backend::with(|request: http::Request<hyper::body::Incoming>| async move {
        use http_body_util::Full;
        match request.uri().path() {
            "/none" => http::Response::builder().status(204).body(Full::default()).unwrap(),
            "/same" => {
                http::Response::builder().status(304).header("etag", "x").body(Full::default()).unwrap()
            }
            _ => http::Response::new(Full::from("twelve bytes")),
        }
    })
    .await;
    let rig = Rig::start(only(backend.address)).await;
    let mut client = Http1::connect(rig.address).await;
    for _ in 0..3 {
        let head = http::Request::builder().method("HEAD").uri("/").header("host", "shop");
        let got = client.send(head, "").await;
        assert_eq!((got.header("content-length"), got.body.len()), (Some("12"), 0));
        assert_eq!(client.get("/none").await.head.status, 204);
        assert_eq!(client.get("/same").await.head.status, 304);
        assert_eq!(client.get("/").await.text(), "twelve bytes");
    }
    assert_eq!(backend.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}
