//! The load generator and the sample service tell the truth about each other.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use clap::Parser;
use http::{Request, Response};
use http_body_util::Full;
use serinus::local::{
    load::{Arrivals, LoadPlan, LoadReport, Outcome, generate},
    sample::{CRASH_STATUS, SampleArgs, SampleError, run_sample},
};
use tokio_util::sync::CancellationToken;

use crate::rig::{Backend, PATIENCE, Rig, nobody, only, split};

const SAMPLE: &str = "SERINUS_TEST_SAMPLE";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    sample: SampleArgs,
}

/// Not a test: what the child process runs.
#[test]
#[ignore = "the other tests of this file run it as a process"]
fn sample_process() {
    let Ok(args) = std::env::var(SAMPLE) else { return };
    println!();
    let cli = Cli::parse_from(std::iter::once("sample").chain(args.split_whitespace()));
    match run_sample(cli.sample) {
        Ok(()) => {}
        Err(SampleError::Crashed) => std::process::exit(CRASH_STATUS),
        Err(error) => panic!("{error}"),
    }
}

struct Sample(Child);

impl Sample {
    /// Starts the service; `None` as address when it ended before it listened.
    fn start(args: &str) -> (Self, Option<SocketAddr>) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "demo::sample_process", "--ignored", "--nocapture"]);
        let mut child = command.env(SAMPLE, args).env_remove("PORT").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
        std::thread::spawn(move || lines.for_each(drop));
        (Self(child), address)
    }

    async fn ended(&mut self) -> ExitStatus {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(tokio::time::Instant::now() < deadline, "never ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn load(target: SocketAddr, requests: u64, change: impl FnOnce(&mut LoadPlan)) -> LoadReport {
    let mut plan = LoadPlan::new(target, 1_000.0);
    plan.arrivals = Arrivals::Even;
    plan.duration = Some(Duration::from_micros(requests * 1_000 + 500));
    change(&mut plan);
    tokio::time::timeout(PATIENCE, generate(plan, CancellationToken::new(), |_| {})).await.unwrap()
}

async fn answering(status: u16, body: &'static str) -> Backend {
    Backend::with(move |_: Request<hyper::body::Incoming>| async move {
        Response::builder().status(status).body(Full::<Bytes>::from(body)).unwrap()
    })
    .await
}

#[tokio::test]
async fn every_kind_of_end_is_told_apart() {
    let cases = [
        (answering(200, "serinus-sample v1\n").await, Outcome::Ok),
        (answering(404, "serinus-sample v1\n").await, Outcome::Ok),
        (answering(500, "serinus-sample v1\n").await, Outcome::AppError),
        (answering(200, "something else").await, Outcome::WrongBody),
        (answering(502, "").await, Outcome::ForeignStatus),
    ];
    for (backend, expected) in &cases {
        let report = load(backend.address, 20, |_| {}).await;
        assert_eq!((report.requests, report.count(*expected)), (20, 20), "{:?}", report.outcomes);
        assert_eq!(report.failed() > 0, expected.is_failed());
    }
    let report = load(nobody(), 5, |_| {}).await;
    assert_eq!(report.count(Outcome::Refused), 5);
    let rig = Rig::start(only(nobody())).await;
    let report = load(rig.address, 5, |_| {}).await;
    assert_eq!(report.count(Outcome::ForeignStatus), 5, "the proxy's own status is not the application's");
    let hangs = Backend::with(|_| std::future::pending::<Response<Full<Bytes>>>()).await;
    let report = load(hangs.address, 5, |plan| plan.give_up_after = Duration::from_millis(100)).await;
    assert_eq!(report.count(Outcome::GivenUp), 5);
    let report = load(cases[0].0.address, 5, |plan| plan.late_after = Duration::ZERO).await;
    assert_eq!(report.count(Outcome::Late), 5);
}

#[tokio::test]
async fn a_stall_is_seen_by_every_request_that_was_due_in_it() {
    let first = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let stalls = Backend::with(move |_| {
        let stall = first.swap(false, std::sync::atomic::Ordering::SeqCst);
        async move {
            if stall {
                // The whole server stands still, as in a garbage collection.
                std::thread::sleep(Duration::from_millis(200));
            }
            Response::new(Full::<Bytes>::from("serinus-sample v1"))
        }
    });
    // Of its own, so that only the server stands still.
    let address = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let backend = runtime.block_on(stalls);
        let address = backend.address;
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let _backend = backend;
                std::future::pending::<()>().await
            })
        });
        address
    })
    .join()
    .unwrap();
    let report = load(address, 300, |_| {}).await;
    let slow = report.latency_us.len() - report.latency_us.count_between(0, 50_000);
    assert!(slow >= 100, "a closed loop would have seen one slow request, this one saw {slow}");
}

#[tokio::test]
async fn the_service_fails_as_often_as_told_and_the_proxy_counts_the_same() {
    let (_stable, stable) = Sample::start("--version v1 --seed 1");
    let (_canary, canary) = Sample::start("--version v2 --seed 2 --error-rate 30% --latency 2ms");
    let mut rig = Rig::start(split(stable.unwrap(), canary.unwrap(), 500_000)).await;
    let report = load(rig.address, 1_000, |_| {}).await;
    assert_eq!(report.failed() - report.count(Outcome::Late), 0, "{:?}", report.outcomes);
    let of = |version: &str, outcome| report.versions[version].get(&outcome).copied().unwrap_or(0);
    assert_eq!(of("v1", Outcome::AppError), 0);
    let errors = of("v2", Outcome::AppError);
    assert!((100..200).contains(&errors), "{errors} of about 500");
    let snapshot =
        rig.until("all ended", |s| s.series.iter().map(|s| s.completed).sum::<u64>() == 1_000).await;
    let canary = snapshot.series.iter().find(|s| s.revision == "v2").unwrap();
    assert_eq!((canary.requests, canary.errors.status, canary.errors.total()), (500, errors, errors));
    let text = serinus::local::proxy::render_prometheus(&[snapshot]).unwrap();
    let line = format!(
        "serinus_proxy_errors_total{{worker=\"0\",listener=\"web\",revision=\"v2\",routed=\"weight\",cause=\"status\"}} {errors}"
    );
    assert!(text.contains(&line), "{text}");
    let all = "serinus_proxy_latency_seconds_bucket{le=\"+Inf\",worker=\"0\",listener=\"web\",revision=\"v2\",routed=\"weight\"} 500";
    assert!(text.contains(all), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_service_crashes_as_told() {
    let (mut at_start, address) = Sample::start("--crash-at-start");
    assert_eq!((address, at_start.ended().await.code()), (None, Some(CRASH_STATUS)));
    let (mut at_third, address) = Sample::start("--crash-at-request 3");
    let report = load(address.unwrap(), 6, |_| {}).await;
    assert_eq!(report.count(Outcome::Ok), 2, "{:?}", report.outcomes);
    assert_eq!(at_third.ended().await.code(), Some(CRASH_STATUS));
    let (mut later, address) = Sample::start("--crash-after 100ms");
    assert!(address.is_some());
    assert_eq!(later.ended().await.code(), Some(CRASH_STATUS));
}

#[tokio::test]
async fn the_service_is_ready_when_told_and_stops_gracefully() {
    let (mut sample, address) = Sample::start("--ready-after 200ms --latency 300ms");
    let address = address.unwrap();
    let mut client = crate::rig::Http1::connect(address).await;
    assert_eq!(client.get("/healthz").await.head.status, 503);
    let ready = async {
        while client.get("/healthz").await.head.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("ready");
    let in_flight = tokio::spawn(async move { client.get("/").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let pid = rustix::process::Pid::from_child(&sample.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(in_flight.await.unwrap().text(), "serinus-sample v1\n");
    assert_eq!(sample.ended().await.code(), Some(0));
}
