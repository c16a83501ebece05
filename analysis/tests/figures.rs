//! Seeded simulations of the figures that a user is promised. The full tables are made by `benches/simulate.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::time::Duration;

use analysis::{
    Counts, Measured, Poll, Verdict,
    run::{Metric, Run, Spec, Window},
    written::Span,
};
use jiff::Timestamp;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Requests as Poisson processes, counted every second.
struct Traffic {
    rng: ChaCha8Rng,
    per_s: f64,
    bad_rate: f64,
}

impl Traffic {
    fn new(seed: u64, per_s: f64, bad_rate: f64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), per_s, bad_rate }
    }

    /// One second in which the canary gets `share` and is `psi` times as bad.
    fn second(&mut self, share: f64, psi: f64) -> (Counts, Counts) {
        let canary = self.arm(share, self.bad_rate * psi);
        (canary, self.arm(1.0 - share, self.bad_rate))
    }

    fn arm(&mut self, share: f64, bad_rate: f64) -> Counts {
        let bad = poisson(&mut self.rng, self.per_s * share * bad_rate);
        Counts::new(bad + poisson(&mut self.rng, self.per_s * share * (1.0 - bad_rate)), bad)
    }
}

/// A Poisson variate: the number of exponential waits that fit.
fn poisson(rng: &mut ChaCha8Rng, mean: f64) -> u64 {
    let mut waited = 0.0;
    let mut events = 0;
    loop {
        waited -= (1.0 - rng.random::<f64>()).ln();
        if mean < waited {
            return events;
        }
        events += 1;
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn errors(judge: &str, window: Window) -> Spec {
    let judge = serde_json::from_str(judge).unwrap();
    let metric =
        Metric { name: "errors".to_owned(), every: Span::seconds(1), judge, weight: 1.0, dry_run: false };
    Spec { metrics: vec![metric], window, delay: Duration::ZERO }
}

fn poll(second: i64, share: f64, (canary, baseline): (Counts, Counts)) -> Poll {
    let measured = Measured::Counts { canary, baseline: Some(baseline) };
    Poll { at: at(second), weight: Some(share), measured }
}

const HOUR: Window = Window::Guard { planned: Duration::from_secs(3600) };

/// Failed canary requests until roll back, and the second it came.
fn rolled_back(seed: u64, judge: &str, bad_rate: f64, psi: f64) -> Option<(u64, i64)> {
    let mut traffic = Traffic::new(seed, 500.0, bad_rate);
    let mut run = Run::begin(errors(judge, HOUR), at(0), at(0));
    let mut failed = 0;
    for second in 1..=3600 {
        let counts = traffic.second(0.1, psi);
        failed += counts.0.bad;
        run.record(0, &poll(second, 0.1, counts));
        if run.ended().is_some() {
            assert_eq!(run.ended().unwrap().verdict, Verdict::Fail);
            return Some((failed, second));
        }
    }
    None
}

#[track_caller]
fn mean_damage(judge: &str, psi: f64, at_most: f64) {
    let runs: Vec<_> =
        (0..100).map(|seed| rolled_back(seed, judge, 0.001, psi).expect("rolled back")).collect();
    let mean = runs.iter().map(|it| it.0 as f64).sum::<f64>() / runs.len() as f64;
    println!("{psi}x, {judge}: {mean} failed canary requests on average");
    assert!(mean <= at_most, "{mean} failed canary requests on average, {at_most} promised");
}

#[test]
fn a_fivefold_regression_hurts_at_most_eleven_requests() {
    mean_damage(r#"{"sequential":{"rollBack":{"worseThan":"1x"}}}"#, 5.0, 11.0);
}

#[test]
fn the_default_tolerance_costs_a_fivefold_regression_little() {
    mean_damage(r#"{"sequential":{}}"#, 5.0, 12.5);
}

#[test]
fn a_doubling_hurts_at_most_as_many_as_the_damage_law_says() {
    mean_damage(r#"{"sequential":{"rollBack":{"worseThan":"1x"}}}"#, 2.0, 42.0);
}

#[test]
fn a_canary_dead_on_arrival_is_rolled_back_at_the_first_look() {
    for seed in 0..20 {
        let (_, second) = rolled_back(seed, r#"{"sequential":{}}"#, 0.001, 1000.0).unwrap();
        assert_eq!(second, 1);
    }
}

#[test]
fn an_equal_canary_is_rolled_back_at_most_as_often_as_promised() {
    let judge = r#"{"sequential":{"rollBack":{"worseThan":"1x","alpha":"5%"}}}"#;
    let runs = 300;
    let false_alarms = (0..runs).filter(|seed| rolled_back(*seed, judge, 0.01, 1.0).is_some()).count();
    // Three standard errors above five per cent.
    let limit = f64::from(runs as u32) * 0.05 + 3.0 * (f64::from(runs as u32) * 0.05 * 0.95).sqrt();
    println!("{false_alarms} of {runs} at 5 %");
    assert!((false_alarms as f64) <= limit, "{false_alarms} of {runs}");
}

#[test]
fn a_healthy_canary_is_through_four_evidence_gated_steps_in_five_minutes() {
    for seed in 0..20 {
        let mut traffic = Traffic::new(seed, 500.0, 0.01);
        let judge = r#"{"sequential":{}}"#;
        let mut guard = Run::begin(errors(judge, HOUR), at(0), at(0));
        let mut now = 0;
        for share in [0.05, 0.10, 0.25, 0.50] {
            let window = Window::Gate {
                min: Duration::from_secs(60),
                max: Duration::from_secs(1800),
                may_fail: false,
            };
            let mut gate = Run::begin(errors(judge, window), at(now), at(0));
            while gate.ended().is_none() {
                now += 1;
                let poll = poll(now, share, traffic.second(share, 1.0));
                gate.record(0, &poll);
                guard.record(0, &poll);
            }
            assert_eq!(gate.ended().unwrap().verdict, Verdict::Pass);
        }
        assert_eq!(guard.ended(), None);
        assert!(now <= 300, "seed {seed}: {now} s");
    }
}
