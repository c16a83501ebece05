use std::time::Duration;

use crate::simulated::{Ended, Service, Traffic, default_canary, errors_alone};

const HEALTHY: Traffic = Traffic { per_s: 500.0, base: 0.01, canary: 0.01, slower: 1.0 };
const AN_HOUR: Duration = Duration::from_hours(1);

fn with_default_canary(traffic: Traffic, seed: u64) -> Ended {
    let (plan, definitions) = default_canary();
    Service::new(plan, definitions, traffic, seed).release(AN_HOUR)
}

/// Errors alone, at `percent`, where any true difference counts.
fn with_errors_alone(percent: u32, traffic: Traffic, seed: u64) -> Ended {
    let (plan, definitions) = errors_alone(percent, 1.0);
    Service::new(plan, definitions, traffic, seed).release(AN_HOUR)
}

#[test]
fn a_healthy_default_canary_is_promoted_within_five_minutes() {
    let mut seconds: Vec<f64> = (0..15)
        .map(|seed| {
            let ended = with_default_canary(HEALTHY, seed);
            assert!(ended.promoted(), "{ended:?}");
            ended.seconds
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    assert!(seconds[7] <= 300.0, "{seconds:?}");
}

#[test]
fn five_times_the_errors_at_ten_per_cent_hurt_eleven_requests_at_most_on_average() {
    let traffic = Traffic { base: 0.001, canary: 0.005, ..HEALTHY };
    let runs: Vec<Ended> = (0..100).map(|seed| with_errors_alone(10, traffic, seed)).collect();
    assert!(runs.iter().all(Ended::rolled_back), "{runs:?}");
    let mean = runs.iter().map(|it| it.canary_failed).sum::<u64>() as f64 / runs.len() as f64;
    assert!(mean <= 11.0, "{mean} failed requests on average");
}

#[test]
fn a_canary_that_is_dead_on_arrival_hurts_twenty_requests_at_most_beyond_the_first_poll() {
    for percent in [1, 5, 10, 50] {
        for seed in 0..20 {
            let ended = with_errors_alone(percent, Traffic { canary: 1.0, ..HEALTHY }, seed);
            let beyond = ended.canary_failed - ended.failed_before_first_poll;
            assert!(ended.rolled_back() && beyond <= 20, "{percent} %: {ended:?}");
            assert_eq!(ended.canary_failed, ended.canary, "all it answers is an error: {ended:?}");
        }
    }
}

#[test]
fn an_equal_canary_is_rolled_back_no_more_often_than_was_promised() {
    let rolled_back = (0..300).filter(|seed| with_errors_alone(25, HEALTHY, *seed).rolled_back()).count();
    // One per cent, and three standard errors.
    assert!(rolled_back <= 8, "{rolled_back} of 300");
}

#[test]
fn errors_of_stable_alone_promote_the_canary() {
    let ended = with_default_canary(Traffic { base: 0.05, canary: 0.01, ..HEALTHY }, 1);
    assert!(ended.promoted(), "{ended:?}");
}

#[test]
fn a_canary_that_takes_twice_as_long_is_rolled_back_by_the_default_canary() {
    let ended = with_default_canary(Traffic { slower: 2.0, ..HEALTHY }, 1);
    assert!(ended.rolled_back() && ended.seconds < 120.0, "{ended:?}");
}

#[test]
fn a_rollout_whose_analyses_are_taken_up_after_every_feed_ends_the_same() {
    let traffic = Traffic { base: 0.001, canary: 0.005, ..HEALTHY };
    let run = |taken_up: bool| {
        let (plan, definitions) = errors_alone(10, 1.1);
        let mut service = Service::new(plan, definitions.clone(), traffic, 7);
        if taken_up {
            service = service.taken_up_after_every_feed(definitions);
        }
        service.idle(Duration::from_mins(10));
        service.release(AN_HOUR)
    };
    let (whole, taken_up) = (run(false), run(true));
    assert!(whole.rolled_back(), "{whole:?}");
    assert_eq!(format!("{whole:?}"), format!("{taken_up:?}"));
}
