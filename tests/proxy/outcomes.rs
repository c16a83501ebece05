//! What an answer meant and how long it took, as counted.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serinus::local::proxy::{LATENCY_BOUNDS_US, Outcomes};
use tokio::{net::TcpListener, sync::mpsc};

use crate::rig::{Backend, Http1, PATIENCE, Rig, only};

/// A gRPC server that ends each call as its path says: `/trailers/13`, `/head/14`, or without a word.
async fn grpc() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async move {
                let mut parts = request.uri().path().trim_start_matches('/').split('/');
                let (place, code) = (parts.next().unwrap(), parts.next());
                let mut response = Response::builder().header("content-type", "application/grpc");
                let mut frames = vec![Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"\0\0\0\0\0")))];
                match (place, code) {
                    ("head", Some(code)) => {
                        response = response.header("grpc-status", code);
                        frames.clear();
                    }
                    ("trailers", Some(code)) => {
                        let code = HeaderValue::from_str(code).unwrap();
                        let name = HeaderName::from_static("grpc-status");
                        frames.push(Ok(Frame::trailers(HeaderMap::from_iter([(name, code)]))));
                    }
                    _ => {}
                }
                Ok::<_, Infallible>(response.body(StreamBody::new(stream::iter(frames))).unwrap())
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn a_grpc_call_is_counted_by_its_code_wherever_it_stands() {
    let mut rig = Rig::start(only(grpc().await)).await;
    let mut sender = crate::http2::connect(rig.address).await;
    let calls = ["trailers/0", "head/0", "trailers/13", "head/14", "trailers/5", "head/3", "silent"];
    for call in calls {
        let request = Request::builder()
            .method("POST")
            .uri(format!("http://shop/{call}"))
            .header("content-type", "application/grpc")
            .body(Full::<Bytes>::default())
            .unwrap();
        let answer =
            async { sender.send_request(request).await.unwrap().into_body().collect().await.unwrap() };
        tokio::time::timeout(PATIENCE, answer).await.unwrap();
    }
    let counted = rig.until("ended", |s| s.series[0].completed == 7).await.series[0].clone();
    assert_eq!(counted.errors.status, 3, "13, 14 and no code at all: {counted:?}");
    assert_eq!(counted.errors.total(), 3);
    let expected =
        Outcomes { success: 2, not_found: 1, client_error: 1, server_error: 3, ..Outcomes::default() };
    assert_eq!(counted.outcomes, expected);
    let codes: Vec<usize> =
        counted.grpc.iter().enumerate().filter(|(_, n)| **n > 0).map(|(c, _)| c).collect();
    assert_eq!((codes, counted.grpc[0]), (vec![0, 2, 3, 5, 13, 14], 2));
}

#[tokio::test]
async fn every_answer_is_counted_by_what_it_meant() {
    let backend = Backend::with(|request: Request<Incoming>| async move {
        let status: u16 = request.uri().path().trim_start_matches('/').parse().unwrap();
        Response::builder().status(status).body(Full::<Bytes>::default()).unwrap()
    })
    .await;
    let mut rig = Rig::start(only(backend.address)).await;
    let mut client = Http1::connect(rig.address).await;
    for status in [200, 204, 301, 304, 404, 404, 400, 403, 500, 503] {
        client.get(&format!("/{status}")).await;
    }
    let counted = rig.until("ended", |s| s.series[0].completed == 10).await.series[0].clone();
    let expected =
        Outcomes { success: 2, redirect: 2, not_found: 2, client_error: 2, server_error: 2, unanswered: 0 };
    assert_eq!(counted.outcomes, expected);
    assert!(counted.grpc.is_empty());
}

#[tokio::test]
async fn a_request_that_got_no_answer_is_counted_as_such() {
    let mut rig = Rig::start(only(crate::rig::nobody())).await;
    let mut client = Http1::connect(rig.address).await;
    assert_eq!(client.get("/").await.head.status, 503);
    let counted = rig.until("ended", |s| s.series[0].completed == 1).await.series[0].clone();
    assert_eq!(counted.outcomes, Outcomes { unanswered: 1, ..Outcomes::default() });
    assert_eq!(counted.latency.iter().sum::<u64>(), 1, "how long it took to know is its latency");
}

#[tokio::test]
async fn latency_ends_at_the_head_and_the_life_of_a_stream_is_told_apart() {
    let (tick, ticks) = mpsc::channel::<Bytes>(1);
    let ticks = std::sync::Arc::new(tokio::sync::Mutex::new(Some(ticks)));
    let backend = Backend::with(move |_| {
        let ticks = std::sync::Arc::clone(&ticks);
        async move {
            let mut ticks = ticks.lock().await.take().unwrap();
            let events = stream::poll_fn(move |cx| ticks.poll_recv(cx));
            let events = events.map(|event| Ok::<_, Infallible>(Frame::data(event)));
            Response::builder()
                .header("content-type", "text/event-stream")
                .body(StreamBody::new(events))
                .unwrap()
        }
    })
    .await;
    let mut rig = Rig::start(only(backend.address)).await;
    let address = rig.address;
    let reading = tokio::spawn(async move { Http1::connect(address).await.get("/").await });
    let counted = rig.until("the head", |s| s.series[0].responses[1] == 1).await.series[0].clone();
    assert_eq!(counted.latency.iter().sum::<u64>(), 1, "known while the stream goes on");
    assert_eq!((counted.completed, counted.life.iter().sum::<u64>()), (0, 0));
    tick.send("data: 1\n\n".into()).await.unwrap();
    let lasts = std::time::Duration::from_millis(300);
    tokio::time::sleep(lasts).await;
    drop(tick);
    assert_eq!(reading.await.unwrap().body, "data: 1\n\n");
    let ended = rig.until("the end", |s| s.series[0].completed == 1).await;
    let (series, endpoint) = (&ended.series[0], &ended.endpoints[0]);
    assert_eq!(series.latency, counted.latency);
    assert_eq!(endpoint.latency, counted.latency);
    let longer = |counts: &[u64]| {
        let at = LATENCY_BOUNDS_US.partition_point(|&us| u128::from(us) < lasts.as_micros());
        counts[at..].iter().sum::<u64>()
    };
    assert_eq!((longer(&series.life), series.life.iter().sum::<u64>()), (1, 1), "{series:?}");
    assert!(u128::from(series.life_sum_us) >= lasts.as_micros());
}
