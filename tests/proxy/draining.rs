//! Ending well: nobody's request is lost when a worker is replaced, told to end, or its backends are exchanged.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serinus::local::load::{LoadPlan, LoadReport, Outcome, generate};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::rig::{Backend, Http1, PATIENCE, Rig, only, split};

/// Answers as the sample service does, after `delay`.
async fn sample(version: &'static str, delay: Duration) -> Backend {
    Backend::with(move |_| async move {
        tokio::time::sleep(delay).await;
        Response::new(Full::<Bytes>::from(format!("serinus-sample {version}\n")))
    })
    .await
}

/// Answers once `release` lets it: what is asked before that is in flight for as long as the test wants.
async fn held(release: &Arc<Semaphore>) -> Backend {
    let release = Arc::clone(release);
    Backend::with(move |_| {
        let release = Arc::clone(&release);
        async move {
            release.acquire().await.unwrap().forget();
            Response::new(Full::<Bytes>::from("held"))
        }
    })
    .await
}

fn load(target: std::net::SocketAddr) -> (CancellationToken, tokio::task::JoinHandle<LoadReport>) {
    let stop = CancellationToken::new();
    let plan = LoadPlan { fresh_connections: 0.2, ..LoadPlan::new(target, 400.0) };
    (stop.clone(), tokio::spawn(generate(plan, stop, |_| {})))
}

#[track_caller]
fn none_failed(report: &LoadReport, least: u64) {
    // How late an answer is depends on the machine that runs the tests; the bench measures that.
    let failed = report.failed() - report.count(Outcome::Late);
    assert_eq!(failed, 0, "{:?} {:#?}", report.outcomes, report.bad);
    assert!(report.requests >= least, "{}", report.requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_a_worker_under_load_fails_no_request() {
    let backend = sample("v1", Duration::from_millis(5)).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut rig = Rig::start_on(listener.try_clone().unwrap(), only(backend.address), 0).await;
    let (stop, report) = load(rig.address);
    for worker in 1..4 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let next = Rig::start_on(listener.try_clone().unwrap(), only(backend.address), worker).await;
        let mut old = std::mem::replace(&mut rig, next);
        assert!(rig.control.health().await.unwrap().generation.is_some(), "the new one serves first");
        old.control.drain(Duration::from_secs(10)).await.unwrap();
        tokio::task::spawn_blocking(move || old.ended()).await.unwrap();
    }
    stop.cancel();
    none_failed(&report.await.unwrap(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moving_the_split_and_exchanging_processes_under_load_fails_no_request() {
    let mut rig = Rig::start(only(sample("v0", Duration::ZERO).await.address)).await;
    let first = sample("v1", Duration::from_millis(3)).await;
    rig.apply(only(first.address)).await;
    let (stop, report) = load(rig.address);
    let mut kept = vec![first];
    for round in 0..20 {
        let next = sample("v2", Duration::from_millis(3)).await;
        let last = kept.last().unwrap().address;
        rig.apply(split(last, next.address, round * 50_000)).await;
        tokio::time::sleep(Duration::from_millis(40)).await;
        rig.apply(only(next.address)).await;
        kept.push(next);
        if kept.len() > 2 {
            // Once nothing is in flight on it, a process that is no longer configured can be stopped.
            let old = kept.remove(0);
            rig.until("drained", |s| s.endpoints.iter().all(|e| e.address != old.address)).await;
        }
    }
    stop.cancel();
    none_failed(&report.await.unwrap(), 200);
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_its_connection_closed() {
    let release = Arc::new(Semaphore::new(0));
    let backend = held(&release).await;
    let mut rig = Rig::start(only(backend.address)).await;
    let mut client = Http1::connect(rig.address).await;
    let in_flight = tokio::spawn(async move { (client.get("/").await, client) });
    rig.until("in flight", |s| s.series[0].in_flight == 1).await;
    rig.control.drain(Duration::from_secs(10)).await.unwrap();
    release.add_permits(1);
    let (got, mut client) = in_flight.await.unwrap();
    assert_eq!((got.text(), got.header("connection")), ("held", Some("close")));
    let request = Request::builder().uri("/").header("host", "a");
    assert!(client.try_send(request, "").await.is_err(), "the connection is closed");
    tokio::task::spawn_blocking(move || rig.ended()).await.unwrap();
}

#[tokio::test]
async fn an_http2_client_is_told_and_finishes_its_streams() {
    let release = Arc::new(Semaphore::new(0));
    let backend = held(&release).await;
    let mut rig = Rig::start(only(backend.address)).await;
    let mut sender = crate::http2::connect::<Full<Bytes>>(rig.address).await;
    let request = || Request::builder().uri("http://a/").body(Full::default()).unwrap();
    let in_flight = sender.send_request(request());
    rig.until("in flight", |s| s.series[0].in_flight == 1).await;
    rig.control.drain(Duration::from_secs(10)).await.unwrap();
    release.add_permits(1);
    assert_eq!(tokio::time::timeout(PATIENCE, in_flight).await.unwrap().unwrap().status(), 200);
    let closed = async {
        while sender.ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("GOAWAY");
    tokio::task::spawn_blocking(move || rig.ended()).await.unwrap();
}

#[tokio::test]
async fn the_deadline_cuts_what_would_never_end() {
    let hangs = Backend::with(|_| std::future::pending::<Response<Full<Bytes>>>()).await;
    let mut rig = Rig::start(only(hangs.address)).await;
    let mut client = Http1::connect(rig.address).await;
    let hanging = tokio::spawn(async move {
        client.try_send(Request::builder().uri("/").header("host", "a"), "").await.is_err()
    });
    rig.until("in flight", |s| s.series[0].in_flight == 1).await;
    let begun = serinus::clock::instant();
    rig.control.drain(Duration::from_millis(500)).await.unwrap();
    tokio::task::spawn_blocking(move || rig.ended()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(hanging.await.unwrap());
}
