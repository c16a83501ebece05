//! What judging costs. Prints its figures: `cargo bench -p analysis --bench judge`.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a benchmark reads the clock, and fails loudly"
)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use analysis::{AnyJudge, Counts, Histogram, Judging, Measured, Poll, Setting, poll::OfPods};
use jiff::Timestamp;

const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

fn main() {
    let counts = |rate: f64| {
        move |i: u64| {
            let bad = |total: u64| (total as f64 * rate + (i % 7) as f64 / 7.0) as u64;
            let arm = |total: u64| Counts::new(total, bad(total));
            Measured::Counts { canary: arm(50), baseline: Some(arm(450)) }
        }
    };
    measure("errors, 500 requests, 0.1 % bad (Poisson form)", counts(0.001));
    measure("errors, 500 requests, 1 % bad (exact form for promotion)", counts(0.01));
    measure("errors, 500 requests, 20 % bad (exact form)", counts(0.2));
    measure("latency, 3,500 requests, 11 buckets", |i| {
        let arm = |by: u64| (0..=11).map(|k| by * (20 + 30 * k + (i + k) % 5)).collect::<Vec<u64>>();
        Measured::Histogram(Histogram { bounds: BOUNDS.to_vec(), canary: arm(1), baseline: arm(9) })
    });
    taught();
    crowd();
    memory();
}

/// What a signal holds in memory: the growth of this process by ten thousand of them that have read a hundred polls.
fn memory() {
    const MANY: u64 = 10_000;
    // Nothing is given back meanwhile, or what comes next would take its place unseen.
    let mut held: Vec<Vec<Judging>> = vec![];
    for buckets in [0u64, 11, 28] {
        let bounds: Vec<f64> = (1..=buckets).map(|k| k as f64 / 100.0).collect();
        let poll = |i: u64| {
            let arm = |by: u64| (0..=buckets).map(|k| by * (20 + 30 * k + (i + k) % 5)).collect::<Vec<u64>>();
            let measured = match buckets {
                0 => Measured::Counts {
                    canary: Counts::new(50, i % 2),
                    baseline: Some(Counts::new(450, 1 + i % 3)),
                },
                _ => Measured::Histogram(Histogram {
                    bounds: bounds.clone(),
                    canary: arm(1),
                    baseline: arm(9),
                }),
            };
            Poll { at: Timestamp::from_second(10 * i as i64).expect("a time"), weight: Some(0.1), measured }
        };
        let mut one = judging(r#"{"sequential":{"warmUp":"0s"}}"#);
        (1..=100).for_each(|i| one.observe(&poll(i)));
        let before = resident();
        let all: Vec<Judging> = (0..MANY).map(|_| one.clone()).collect();
        let each = (resident() - before) / MANY;
        println!("memory of one signal, {buckets} buckets: {each} bytes");
        held.push(all);
    }
}

/// Resident memory of this process in bytes (`proc_pid_statm(5)`, pages of 4 KiB).
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    statm.split_whitespace().nth(1).and_then(|it| it.parse::<u64>().ok()).expect("a number of pages") * 4096
}

/// Latency as the proxy counts it, with what stable's processes show beside the canary: what is remembered.
fn taught() {
    for (buckets, pods) in [(11, 2), (11, 8), (28, 2), (28, 8)] {
        let bounds: Vec<f64> = (1..=buckets).map(|k| f64::from(k) / 100.0).collect();
        let arm =
            |by: u64, i: u64| (0..=bounds.len() as u64).map(|k| by * (20 + 30 * k + (i + k) % 5)).collect();
        let mut it = judging(r#"{"sequential":{"warmUp":"0s"}}"#);
        let mut spent = Duration::ZERO;
        for i in 1..=600 {
            let at = Timestamp::from_second(i as i64).expect("a time");
            let canary: Vec<u64> = arm(1, i);
            let measured =
                Measured::Histogram(Histogram { bounds: bounds.clone(), canary, baseline: arm(9, i) });
            it.observe(&Poll { at, weight: Some(0.1), measured });
            let each = (0..pods).map(|pod| arm(1, i + pod)).collect();
            let pods = OfPods::Histograms { bounds: bounds.clone(), each };
            let beside = Poll { at, weight: None, measured: Measured::Beside { seconds: 1.0, pods } };
            let began = Instant::now();
            it.observe(black_box(&beside));
            spent += began.elapsed();
        }
        let bytes = serde_json::to_vec(&it.checkpoint()).map_or(0, |it| it.len());
        println!(
            "latency, {buckets} buckets, {pods} pods beside: {:?} per reading of them, checkpoint {bytes} bytes",
            spent / 600
        );
    }
}

/// Twelve signals of one analysis, and the polls of one interval of ten thousand analyses.
fn crowd() {
    let text = r#"{"sequential":{"warmUp":"0s"}}"#;
    let mut twelve: Vec<Judging> = (0..12).map(|_| judging(text)).collect();
    let mut many: Vec<Judging> = (0..10_000).map(|_| judging(text)).collect();
    let poll = |i: u64| Poll {
        at: Timestamp::from_second(i as i64).expect("a time"),
        weight: Some(0.1),
        measured: Measured::Counts {
            canary: Counts::new(50, i % 2),
            baseline: Some(Counts::new(450, 1 + i % 3)),
        },
    };
    let began = Instant::now();
    for i in 1..=1000 {
        let poll = poll(i);
        twelve.iter_mut().for_each(|it| it.observe(black_box(&poll)));
    }
    println!("one poll of twelve signals: {:?}", began.elapsed() / 1000);
    let began = Instant::now();
    for i in 1..=10 {
        let poll = poll(i);
        many.iter_mut().for_each(|it| it.observe(black_box(&poll)));
    }
    println!("one poll of each of ten thousand analyses: {:?}", began.elapsed() / 10);
    let began = Instant::now();
    let interval = twelve[0].interval();
    println!("interval {interval:?} after a thousand polls: {:?}", began.elapsed());
}

fn judging(text: &str) -> Judging {
    let judge: AnyJudge = serde_json::from_str(text).expect("a judge");
    judge.begin(Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(3600)))
}

fn measure(name: &str, reading: impl Fn(u64) -> Measured) {
    for worse_than in ["1x", "1.1x"] {
        let text = format!(r#"{{"sequential":{{"rollBack":{{"worseThan":"{worse_than}"}},"warmUp":"0s"}}}}"#);
        let mut it = judging(&text);
        let polls: Vec<Poll> = (1..=3600)
            .map(|i| Poll {
                at: Timestamp::from_second(i as i64).expect("a time"),
                weight: Some(0.1),
                measured: reading(i),
            })
            .collect();
        let began = Instant::now();
        for poll in &polls {
            it.observe(black_box(poll));
        }
        let each = began.elapsed() / polls.len() as u32;
        let bytes = serde_json::to_vec(&it.checkpoint()).map_or(0, |it| it.len());
        println!("{name}, worseThan {worse_than}: {each:?} per poll, checkpoint {bytes} bytes");
    }
}
