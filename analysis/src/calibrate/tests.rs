use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::stats::dispersion::PodCounts;

const SEQUENTIAL: &str = r#"{"sequential":{}}"#;

fn judge(text: &str) -> AnyJudge {
    serde_json::from_str(text).unwrap()
}

fn trial(judge: &AnyJudge) -> Trial<'_> {
    Trial { judge, part: 1.0, weight: 0.25, length: Duration::from_mins(10) }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Minutes of four pods, each with 600 requests of which one in a hundred fails, errors coming in clumps.
fn minutes(count: i64, clump: u64, seed: u64) -> Vec<PodsWindow> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut pod = || {
        let clumps = (0..600).filter(|_| rng.random_bool(0.01 / clump as f64)).count() as u64;
        PodCounts { total: 600, bad: (clump * clumps).min(600) }
    };
    let mut window = |it: i64| PodsWindow {
        at: at(60 * it),
        seconds: 60.0,
        pods: OfPods::Counts((0..4).map(|_| pod()).collect()),
    };
    (1..=count).map(&mut window).collect()
}

#[test]
fn stable_beside_itself_is_promoted_and_rolled_back_no_more_often_than_promised() {
    let judge = judge(SEQUENTIAL);
    let tried = aa(&minutes(4000, 1, 1), &trial(&judge)).unwrap();
    assert_eq!((tried.canary_pods, tried.pods, tried.runs.len()), (1, 4, 394));
    assert_eq!(tried.calibrating, 3600.0);
    let (low, _) = tried.interval();
    assert!(low <= 0.01, "{} of {}", tried.rolled_back(), tried.runs.len());
    assert!(300 < tried.promoted(), "{}", tried.promoted());
    let phi = tried.phi.unwrap();
    assert!((0.9..1.1).contains(&phi), "{phi}");
    for run in &tried.runs {
        assert!((0.2..0.3).contains(&run.weight), "{run:?}");
    }
}

#[test]
fn how_much_errors_clump_is_found_and_the_promise_is_kept_for_it() {
    let judge = judge(SEQUENTIAL);
    let tried = aa(&minutes(4000, 5, 2), &trial(&judge)).unwrap();
    let phi = tried.phi.unwrap();
    assert!((4.5..5.5).contains(&phi), "{phi}");
    let (low, _) = tried.interval();
    assert!(low <= 0.01, "{} of {}", tried.rolled_back(), tried.runs.len());
}

#[test]
fn a_judge_that_keeps_no_promise_is_found_out() {
    // One in a hundred fails on both sides: a limit below that rolls everybody back.
    let judge = judge(r#"{"sequential":{"rollBack":{"worseThan":"0.5x"},"warmUp":"0s"}}"#);
    let tried = aa(&minutes(1000, 1, 3), &trial(&judge)).unwrap();
    let (low, _) = tried.interval();
    assert!(0.5 < low, "{} of {}", tried.rolled_back(), tried.runs.len());
}

#[test]
fn every_pod_has_its_turn_and_a_bad_hour_of_one_is_held_against_it_only_then() {
    let judge = judge(SEQUENTIAL);
    let mut history = minutes(400, 1, 4);
    // The run in which the third pod plays the canary for the second time.
    for it in &mut history[60 + 60..60 + 70] {
        let OfPods::Counts(pods) = &mut it.pods else { panic!() };
        pods[2].bad = 60;
    }
    let tried = aa(&history, &trial(&judge)).unwrap();
    for (number, run) in tried.runs.iter().enumerate() {
        assert_eq!(run.first_pod, number % 4);
        assert_eq!(run.rolled_back.is_some(), number == 6, "{run:?}");
    }
}

#[test]
fn latencies_are_tried_like_errors() {
    let judge = judge(SEQUENTIAL);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut pod = || {
        let fast = (0..600).filter(|_| rng.random_bool(0.7)).count() as u64;
        let slow = (0..600 - fast).filter(|_| rng.random_bool(0.05)).count() as u64;
        vec![fast, 600 - slow, 600]
    };
    let mut window = |it: i64| PodsWindow {
        at: at(60 * it),
        seconds: 60.0,
        pods: OfPods::Histograms { bounds: vec![0.1, 1.0], each: (0..3).map(|_| pod()).collect() },
    };
    let history: Vec<PodsWindow> = (1..=1000).map(&mut window).collect();
    let tried = aa(&history, &Trial { weight: 0.5, ..trial(&judge) }).unwrap();
    assert_eq!((tried.canary_pods, tried.pods), (2, 3));
    let phi = tried.phi.unwrap();
    assert!((0.8..1.2).contains(&phi), "{phi}");
    let (low, _) = tried.interval();
    assert!(low <= 0.01, "{} of {}", tried.rolled_back(), tried.runs.len());
}

#[test]
fn a_run_knows_nothing_of_what_comes_after_it() {
    let judge = judge(SEQUENTIAL);
    let (short, long) = (minutes(130, 3, 6), minutes(400, 3, 6));
    assert_eq!(short[..], long[..130]);
    let (short, long) = (aa(&short, &trial(&judge)).unwrap(), aa(&long, &trial(&judge)).unwrap());
    assert_eq!(short.runs[..], long.runs[..short.runs.len()]);
}

#[test]
fn too_little_is_said_and_not_tried() {
    let judge = judge(SEQUENTIAL);
    let trial = trial(&judge);
    assert_eq!(aa(&[], &trial), Err(CannotTry::Nothing));
    assert_eq!(aa(&minutes(15, 1, 7), &trial), Err(CannotTry::TooShort { has: 900.0, needed: 1200.0 }));
    assert!(aa(&minutes(20, 1, 7), &trial).is_ok());
    let mut changing = minutes(100, 1, 7);
    changing[50].pods = OfPods::Counts(vec![PodCounts::default(); 3]);
    assert_eq!(aa(&changing, &trial), Err(CannotTry::PodsChange));
}

#[test]
fn runs_needed_are_those_whose_interval_ends_at_alpha() {
    for alpha in [0.05, 0.01, 0.001] {
        let runs = runs_needed(alpha);
        assert!(clopper_pearson(0, runs, 0.05).1 <= alpha && alpha < clopper_pearson(0, runs - 1, 0.05).1);
    }
}
