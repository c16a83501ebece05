//! Prometheus and VictoriaMetrics themselves, with a history that is known to the last request.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a test")]

mod cloud_watch;
mod graphite;
mod http;
mod influxdb;
mod remote_write;
mod scenario;
mod servers;
mod sums;

use std::net::SocketAddr;

use analysis::{
    Counts, Histogram, Measured,
    provider::{AnyQuestion, Failure, Memory, PerArm, Polled, Prometheus, Source, SourceConfig, Span},
};
use jiff::Timestamp;

use crate::{remote_write::series, scenario::Scenario, servers::Running, sums::Sums};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

/// Ten minutes and a bit ago, on a whole second.
fn start() -> i64 {
    (Timestamp::now().as_second() - 700) * 1000
}

fn source(server: SocketAddr) -> Source {
    Source::new(SourceConfig::new(format!("http://{server}"))).unwrap()
}

fn per_arm(of: impl Fn(&str) -> Prometheus) -> PerArm {
    let arm = |name: &str| AnyQuestion::Prometheus(of(name));
    PerArm { canary: arm("canary"), baseline: Some(arm("stable")) }
}

fn counts() -> PerArm {
    per_arm(|arm| Prometheus::Counts {
        bad: format!(r#"http_requests_total{{pod=~"shop-{arm}-.*",code=~"5.."}}"#),
        total: format!(r#"http_requests_total{{pod=~"shop-{arm}-.*"}}"#),
    })
}

/// VictoriaMetrics shows what it was given only after a flush.
fn flush(server: SocketAddr) {
    http::ask(server, "GET", "/internal/force_flush", "", "").unwrap();
}

/// Counts of a server that adds up by itself: whenever one looks, every complete bucket is counted once, and none that is
/// not.
async fn every_complete_bucket_counts_once(source: &Source, question: &PerArm, sums: &Sums, delay: i64) {
    let (began, end) = (sums.start + 1, sums.begins(sums.buckets - 1) + sums.bucket / 2);
    let expected = sums.between(began, end - delay);
    let (began, end) = (began * 1000, end * 1000);
    for step in [7_000, 47_000, 130_000, end - began] {
        let every = (1..).map(|n| began + n * step).take_while(|it| *it < end).chain([end]);
        assert_eq!(total(source, question, began, every).await, expected, "every {} s", step / 1000);
    }
    let gap = (1..).map(|n| began + n * 10_000).take_while(|it| *it < end).chain([end]);
    let gap = gap.filter(|it| *it < began + 60_000 || end - 60_000 < *it);
    assert_eq!(total(source, question, began, gap).await, expected, "with a gap");
}

/// Polls at `times`; what was remembered is stored and read again between them. All counts together.
async fn total(
    source: &Source,
    question: &PerArm,
    began: i64,
    times: impl Iterator<Item = i64>,
) -> [Counts; 2] {
    let mut memory = [Memory::default(), Memory::default()];
    let mut sums = [Counts::default(); 2];
    for to in times {
        memory = serde_json::from_str(&serde_json::to_string(&memory).unwrap()).unwrap();
        let span = Span { began: at(began), from: at(began), to: at(to) };
        match question.poll(Some(source), span, None, &mut memory).await {
            Polled::NothingNew => {}
            Polled::Poll(poll, None) => {
                let Measured::Counts { canary, baseline } = poll.measured else { panic!("{poll:?}") };
                sums[0].add(canary);
                sums[1].add(baseline.unwrap());
            }
            // A bucket without any event, in a source that keeps none of those.
            Polled::Poll(_, Some(Failure::NoData))
                if !matches!(question.canary, AnyQuestion::Prometheus(_)) => {}
            Polled::Poll(_, Some(failure)) => panic!("at {}: {failure}", to - began),
        }
    }
    sums
}

#[track_caller]
fn check(scenario: &Scenario, what: &str, got: [Counts; 2]) {
    let of = |arm: &str| Counts::new(scenario.expected[arm].0, scenario.expected[arm].1);
    assert_eq!(got, [of("canary"), of("stable")], "{what}");
}

/// Every way to look comes to the same counts, to the last request.
async fn counts_are_exact(server: &Running) {
    let scenario = written(server, 8, 2);
    let source = source(server.address);
    let (began, end) = (scenario.began, scenario.end);
    let every = |step: i64| (1..).map(move |n| began + n * step).take_while(move |it| *it < end).chain([end]);
    check(&scenario, "every 10 s", total(&source, &counts(), began, every(10_000)).await);
    check(&scenario, "every 47 s", total(&source, &counts(), began, every(47_000)).await);
    check(&scenario, "once, at the end", total(&source, &counts(), began, [end].into_iter()).await);
    let gap = every(10_000).filter(|it| *it < began + 60_000 || end - 60_000 < *it);
    check(&scenario, "with a gap of seven minutes", total(&source, &counts(), began, gap).await);
}

/// The same with more than 500 series in each arm.
async fn five_hundred_series_are_counted_exactly(server: &Running) {
    let scenario = written(server, 25, 10);
    let of_one_arm = scenario.written.len() / 2;
    assert!(of_one_arm >= 500, "{of_one_arm} series");
    let (began, end) = (scenario.began, scenario.end);
    let every = (1..).map(|n| began + n * 90_000).take_while(|it| *it < end).chain([end]);
    let source = source(server.address);
    check(&scenario, "every 90 s", total(&source, &counts(), began, every).await);
}

fn written(server: &Running, pods: usize, paths: usize) -> Scenario {
    let scenario = scenario::scenario(start(), pods, paths);
    remote_write::send(server.address, &scenario.written);
    flush(server.address);
    scenario
}

async fn one(server: &Running, question: &PerArm, began: i64, to: i64) -> Result<Measured, Failure> {
    one_of(&source(server.address), question, began, to).await
}

/// What one poll brings, the first one.
async fn one_of(source: &Source, question: &PerArm, began: i64, to: i64) -> Result<Measured, Failure> {
    let span = Span { began: at(began), from: at(began), to: at(to) };
    let memory = &mut [Memory::default(), Memory::default()];
    match question.poll(Some(source), span, None, memory).await {
        Polled::Poll(poll, None) => Ok(poll.measured),
        Polled::Poll(_, Some(failure)) => Err(failure),
        Polled::NothingNew => panic!("nothing new"),
    }
}

/// Samples of a counter that grows by `step` every 15 seconds, twenty times.
fn growing(start: i64, step: f64) -> Vec<(i64, f64)> {
    (0..20).map(|n| (start + n * 15_000, 100.0 + step * n as f64)).collect()
}

async fn buckets_gauges_and_queries_are_read(server: &Running) {
    let start = start();
    let (began, to) = (start + 15_000, start + 19 * 15_000);
    let mut written = vec![];
    for (arm, by) in [("canary", 1.0), ("stable", 9.0)] {
        for (le, share) in [("0.1", 8.0), ("0.5", 9.0), ("+Inf", 10.0)] {
            let labels = [("__name__", "seconds_bucket"), ("pod", arm), ("instance", arm), ("le", le)];
            written.push(series(&labels, growing(start, share * by)));
        }
        // A second pod with other bounds: only what both have is compared.
        for (le, share) in [("0.2", 1.0), ("0.5", 1.0), ("+Inf", 2.0)] {
            let pod = format!("{arm}-2");
            let labels =
                [("__name__", "seconds_bucket"), ("pod", arm), ("instance", pod.as_str()), ("le", le)];
            written.push(series(&labels, growing(start, share * by)));
        }
        for (pod, value) in [("a", 1.5), ("b", 2.5)] {
            let labels = [("__name__", "queue"), ("arm", arm), ("pod", pod), ("instance", pod), ("job", "x")];
            written.push(series(&labels, vec![(to - 5_000, value * by)]));
        }
    }
    let doubled = [("__name__", "queue"), ("arm", "canary"), ("pod", "a"), ("instance", "a"), ("job", "y")];
    written.push(series(&doubled, vec![(to - 4_000, 1.5)]));
    remote_write::send(server.address, &written);
    flush(server.address);

    let histogram = per_arm(|arm| Prometheus::Histogram(format!(r#"seconds_bucket{{pod="{arm}"}}"#)));
    let expected = Histogram { bounds: vec![0.5], canary: vec![180, 216], baseline: vec![1620, 1944] };
    assert_eq!(one(server, &histogram, began, to).await, Ok(Measured::Histogram(expected)));

    let gauge = per_arm(|arm| Prometheus::Value(format!(r#"queue{{arm="{arm}"}}"#)));
    let Ok(Measured::Values { mut canary, mut baseline }) = one(server, &gauge, began, to).await else {
        panic!()
    };
    canary.sort_by(f64::total_cmp);
    baseline.sort_by(f64::total_cmp);
    assert_eq!((canary, baseline), (vec![1.5, 2.5], vec![13.5, 22.5]));

    let query = per_arm(|arm| Prometheus::Query(format!(r#"sum(queue{{arm="{arm}"}})"#)));
    let expected = Measured::Values { canary: vec![5.5], baseline: vec![36.0] };
    assert_eq!(one(server, &query, began, to).await, Ok(expected));
    let scalar = per_arm(|_| Prometheus::Query("1 + 1".to_owned()));
    assert_eq!(
        one(server, &scalar, began, to).await,
        Ok(Measured::Values { canary: vec![2.0], baseline: vec![2.0] })
    );
}

async fn what_is_not_one_fresh_number_is_none(server: &Running) {
    let start = start();
    let to = start + 600_000;
    let named = |name: &str, pod: &str, samples| series(&[("__name__", name), ("pod", pod)], samples);
    remote_write::send(
        server.address,
        &[
            named("many", "a", vec![(to - 1_000, 1.0)]),
            named("many", "b", vec![(to - 1_000, 2.0)]),
            named("unbounded", "a", vec![(to - 1_000, f64::INFINITY)]),
            named("old", "a", vec![(to - 400_000, 5.0)]),
        ],
    );
    flush(server.address);
    for (query, expected) in [
        ("many", Failure::NotOneNumber("several series")),
        ("absent_metric", Failure::NoData),
        ("unbounded", Failure::NotFinite),
        ("old", Failure::NoData),
        ("many{pod=\"a\"} / 0", Failure::NotFinite),
    ] {
        let question = per_arm(|_| Prometheus::Query(query.to_owned()));
        assert_eq!(one(server, &question, start, to).await, Err(expected), "{query}");
    }
    let nonsense = per_arm(|_| Prometheus::Query("sum(".to_owned()));
    let failure = one(server, &nonsense, start, to).await.unwrap_err();
    assert!(matches!(failure, Failure::Status { status: 400 | 422, .. }), "{failure}");
    let aggregated =
        per_arm(|_| Prometheus::Counts { bad: "sum(many)".to_owned(), total: "sum(many)".to_owned() });
    let failure = one(server, &aggregated, start, to).await.unwrap_err();
    assert!(matches!(failure, Failure::Question(_)), "{failure}");
}

/// 60 requests of each scrape's interval up to one second, 20 up to two, 4 up to four; one restart.
async fn native_histograms_are_read(server: &Running) {
    let start = start();
    let (began, to) = (start + 15_000, start + 19 * 15_000);
    let of = |arm: &str, by: u64| {
        let labels = [("__name__", "seconds"), ("pod", arm), ("instance", arm)];
        let mut it = series(&labels, vec![]);
        it.histograms = (0..20)
            .map(|n| {
                let n_since_start = if n < 10 { n + 5 } else { n - 9 };
                (
                    start + n as i64 * 15_000,
                    vec![60 * by * n_since_start, 20 * by * n_since_start, 4 * by * n_since_start],
                )
            })
            .collect();
        it
    };
    remote_write::send(server.address, &[of("canary", 1), of("stable", 9)]);
    let question = per_arm(|arm| Prometheus::Histogram(format!(r#"seconds{{pod="{arm}"}}"#)));
    let Ok(Measured::Histogram(it)) = one(server, &question, began, to).await else { panic!() };
    let at = |bound: f64| it.bounds.iter().position(|it| *it == bound).unwrap();
    let read = |arm: &[u64]| [arm[at(1.0)], arm[at(2.0)], arm[at(4.0)], *arm.last().unwrap()];
    assert_eq!(read(&it.canary), [18 * 60, 18 * 80, 18 * 84, 18 * 84]);
    assert_eq!(read(&it.baseline), [9 * 18 * 60, 9 * 18 * 80, 9 * 18 * 84, 9 * 18 * 84]);
}

/// Runs `what` against a server; a server that is not installed is left out.
fn with(server: Option<Running>, what: impl AsyncFnOnce(&Running)) {
    if let Some(server) = server {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what(&server));
    }
}

#[test]
fn prometheus_counts_to_the_last_request() {
    with(servers::prometheus(), counts_are_exact);
}

#[test]
fn victoria_metrics_counts_to_the_last_request() {
    with(servers::victoria_metrics(), counts_are_exact);
}

#[test]
fn prometheus_counts_five_hundred_series() {
    with(servers::prometheus(), five_hundred_series_are_counted_exactly);
}

#[test]
fn victoria_metrics_counts_five_hundred_series() {
    with(servers::victoria_metrics(), five_hundred_series_are_counted_exactly);
}

#[test]
fn prometheus_gives_buckets_gauges_and_queries() {
    with(servers::prometheus(), buckets_gauges_and_queries_are_read);
}

#[test]
fn victoria_metrics_gives_buckets_gauges_and_queries() {
    with(servers::victoria_metrics(), buckets_gauges_and_queries_are_read);
}

#[test]
fn prometheus_does_not_pass_nonsense_for_a_number() {
    with(servers::prometheus(), what_is_not_one_fresh_number_is_none);
}

#[test]
fn victoria_metrics_does_not_pass_nonsense_for_a_number() {
    with(servers::victoria_metrics(), what_is_not_one_fresh_number_is_none);
}

#[test]
fn prometheus_gives_native_histograms() {
    with(servers::prometheus(), native_histograms_are_read);
}
