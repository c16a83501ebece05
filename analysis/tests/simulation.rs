//! The smoke size of `benches/simulate.rs`: the same experiments with few runs, against the same promises.

#![allow(clippy::expect_used, reason = "a test")]
#![allow(dead_code, reason = "the full size uses more of it")]

#[path = "../benches/simulate/experiment.rs"]
mod experiment;
#[path = "../benches/simulate/guards.rs"]
mod guards;
#[path = "../benches/simulate/stalls.rs"]
mod stalls;
#[path = "../benches/simulate/traffic.rs"]
mod traffic;

use analysis::stats::planner::{self, Traffic};
use experiment::{
    Decider, allowed, detections, largest_evidence, largest_latency_evidence, latency_detections, mean,
    median, promotions, sequential, share_reaching, wald,
};
use guards::{Different, Holds, answers, memory};
use stalls::{Service, Told, roll_backs};
use traffic::{Cell, POLL_S, POLLS, Shares, Slower};

#[track_caller]
fn at_most(what: &str, got: f64, limit: f64) {
    println!("{what}: {got:.3}, at most {limit:.3}");
    assert!(got <= limit, "{what}: {got:.3}, at most {limit:.3} is promised");
}

#[test]
fn equal_canaries_are_rolled_back_no_more_often_than_promised() {
    for shares in [Shares::Fixed(0.1), Shares::Stepped] {
        for (per_s, rate) in [(5.0, 0.01), (50.0, 0.01), (500.0, 0.001), (5000.0, 0.01)] {
            let cell = Cell::new(per_s, rate).shares(shares).drifting();
            let largest = largest_evidence(cell, "1x", 200, false);
            for alpha in [0.05, 0.01] {
                let what = format!("{}, {}, alpha {alpha}", cell.name(), shares.name());
                at_most(&what, share_reaching(&largest, alpha), allowed(alpha, 200));
            }
        }
    }
}

#[test]
fn a_small_difference_is_flagged_at_1x_and_tolerated_at_1_1x() {
    // Five per cent more errors on a huge service: 1.1x leaves it alone.
    let cell = Cell::new(5000.0, 0.01).psi(1.05).drifting();
    at_most(
        "x1.05 rolled back at 1.1x",
        share_reaching(&largest_evidence(cell, "1.1x", 60, false), 0.01),
        0.05,
    );
    let flagged = share_reaching(&largest_evidence(cell, "1x", 20, false), 0.01);
    assert!(0.2 < flagged, "1x flags any true difference, here {flagged} of the runs");
}

#[test]
fn roll_back_needs_little_more_information_than_any_test_must() {
    for (per_s, rate, psi) in [(50.0, 0.001, 5.0), (50.0, 0.01, 2.0), (500.0, 0.001, 2.0)] {
        let cell = Cell::new(per_s, rate).psi(psi);
        let (nats, seconds) = wald(cell, 0.01);
        let all = detections(cell, &sequential("1x", 0.01), 100, POLLS);
        let used = mean(all.iter().flatten().map(|it| it.bad * nats)) / -0.01f64.ln();
        at_most(&format!("{} x{psi}: information / bound", cell.name()), used, 1.65);
        let time = median(all.iter().map(|it| it.map(|it| it.seconds))) / seconds;
        at_most(&format!("{} x{psi}: median time / bound", cell.name()), time, 1.5);
    }
}

#[test]
fn damage_stays_within_its_law() {
    // Where ten seconds between two looks are short against the time that the evidence needs.
    for (per_s, psi, limit) in [(50.0, 5.0, 11.0), (500.0, 2.0, 42.0), (500.0, 1.5, 112.0)] {
        let all = detections(Cell::new(per_s, 0.001).psi(psi), &sequential("1x", 0.01), 200, 4 * POLLS);
        at_most(
            &format!("x{psi}: failed canary requests"),
            mean(all.iter().flatten().map(|it| it.damage)),
            limit,
        );
    }
}

#[test]
fn a_late_regression_is_found_almost_as_fast_as_an_early_one() {
    for minutes in [20, 40] {
        let cell = Cell { onset: minutes * 6, ..Cell::new(500.0, 0.001).psi(5.0) };
        let all = detections(cell, &sequential("1x", 0.01), 60, POLLS);
        at_most(&format!("onset {minutes} min"), median(all.iter().map(|it| it.map(|it| it.seconds))), 100.0);
    }
}

#[test]
fn promotion_is_fast_for_the_healthy_and_rare_at_the_margin() {
    let healthy = promotions(Cell::new(500.0, 0.001).drifting(), "2x", 60);
    at_most("healthy, 500 /s, 0.1 %", median(healthy.into_iter()), 240.0);
    for (per_s, rate) in [(50.0, 0.01), (500.0, 0.01)] {
        let bad = promotions(Cell::new(per_s, rate).psi(2.0).drifting(), "2x", 200);
        let share = bad.iter().flatten().count() as f64 / 200.0;
        at_most(&format!("promoted at the margin, {per_s} /s"), share, allowed(0.05, 200));
    }
}

#[test]
fn slower_canaries_are_found_and_equal_ones_left_alone() {
    let cell = |per_s| Cell::new(per_s, 0.001).drifting();
    let time = |per_s, slower| median(latency_detections(cell(per_s), slower, 40).into_iter());
    at_most("p99 alone +100 %, 500 /s", time(500.0, Slower::Tail(2.0)), 40.0);
    at_most("all +25 %, 50 /s", time(50.0, Slower::All(1.25)), 70.0);
    let equal = share_reaching(&largest_latency_evidence(cell(50.0), 60), 0.01);
    at_most("equal latency rolled back", equal, allowed(0.01, 60));
}

#[test]
fn clumps_of_errors_do_not_roll_back_an_equal_canary() {
    for (clump, alpha) in [(2.0, 0.01), (10.0, 0.02)] {
        let cell = Cell { clump, ..Cell::new(500.0, 0.01).drifting() };
        let share = share_reaching(&largest_evidence(cell, "1x", 100, true), 0.01);
        at_most(&format!("clumps of {clump}"), share, allowed(alpha, 100));
    }
}

/// As on a busy machine: each process stalls every ten seconds.
const STALLING: Service = Service {
    per_s: 500.0,
    shares: Shares::Stepped,
    replicas: 2,
    median_s: 0.003,
    stalls_every_s: 10.0,
    slower: Slower::No,
};

fn rolled_back(service: Service, told: Told, runs: u64) -> f64 {
    let judge = serde_json::from_str(r#"{"sequential":{}}"#).expect("a judge");
    roll_backs(service, told, &judge, runs).iter().flatten().count() as f64 / runs as f64
}

#[test]
fn stalls_of_processes_do_not_roll_back_an_equal_canary() {
    let without = rolled_back(STALLING, Told::NOTHING, 20);
    println!("nothing known of stable's processes: {without} rolled back");
    assert!(0.5 < without, "the experiment shows nothing: {without} rolled back without tempering");
    at_most("a minute before, and beside", rolled_back(STALLING, Told::both(60.0), 200), 0.02);
}

/// The share of runs that came to a roll back.
fn share(runs: &[Option<f64>]) -> f64 {
    runs.iter().flatten().count() as f64 / runs.len() as f64
}

#[test]
fn answers_alike_roll_nobody_back_and_a_canary_that_finds_nothing_is_seen() {
    at_most("answers alike", share(&answers(50.0, 0.5, Different::No, 30)), allowed(0.001, 30));
    assert!(0.99 < share(&answers(50.0, 0.05, Different::NothingFound, 20)));
}

#[test]
fn a_cache_that_fills_is_no_leak_whatever_it_takes_and_a_leak_is_one() {
    let same = Holds::AS_STABLE;
    at_most("as stable", share(&memory(same, 30)), allowed(0.001, 30));
    for (level, tau_s) in [(1.0, 600.0), (2.0, 100.0), (2.0, 600.0), (3.0, 600.0)] {
        let fills = Holds { level, from: 0.3, tau_s, ..same };
        at_most(&format!("{fills:?}"), share(&memory(fills, 30)), allowed(0.001, 30));
    }
    assert!(0.99 < share(&memory(Holds { leak: 0.2, ..same }, 20)));
}

#[test]
fn even_processes_delay_no_roll_back_by_more_than_a_poll() {
    let judge = sequential("1x", 0.01);
    for slower in [Slower::All(1.25), Slower::Tail(2.0)] {
        let even = Service {
            stalls_every_s: f64::INFINITY,
            median_s: 0.080,
            shares: Shares::Fixed(0.1),
            slower,
            ..STALLING
        };
        let time = |told| median(roll_backs(even, told, &judge, 40).into_iter());
        let (without, with) = (time(Told::NOTHING), time(Told::both(60.0)));
        at_most(&format!("{slower:?}"), with, without + POLL_S);
    }
}

#[test]
fn the_planner_predicts_what_happens() {
    let mut errors = Vec::new();
    for (per_s, rate, share, psi) in [
        (50.0, 0.001, 0.1, 5.0),
        (50.0, 0.01, 0.25, 2.0),
        (500.0, 0.001, 0.05, 2.0),
        (500.0, 0.001, 0.5, 2.0),
    ] {
        let traffic = Traffic { requests_per_s: per_s, bad_rate: rate, share, poll_s: POLL_S };
        let cell = Cell::new(per_s, rate).psi(psi).shares(Shares::Fixed(share));
        let all = detections(cell, &sequential("1x", 0.01), 150, 6 * POLLS);
        let simulated = mean(all.iter().flatten().map(|it| it.seconds));
        errors.push((planner::seconds_to_detect(traffic, psi, 0.01) / simulated).ln().abs());
    }
    at_most("geometric mean error of the planner", mean(errors.iter().copied()).exp_m1(), 0.15);
}

#[test]
fn thresholds_roll_back_healthy_canaries_that_the_default_leaves_alone() {
    let cell = Cell::new(500.0, 0.01).drifting();
    let share = |decider: Decider| (0..20).filter(|seed| decider.decide(cell, *seed).is_some()).count();
    assert_eq!(share(Decider::Sequential("1x")), 0);
    assert_eq!((share(Decider::Argo), share(Decider::Flagger)), (20, 20));
}
