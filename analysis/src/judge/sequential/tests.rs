use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{
    finding::Warning,
    judge::{AnyJudge, Judging},
    poll::{Counts, Histogram, Measured, Missing, OfPods},
    stats::dispersion::PodCounts,
};

fn judging(config: &str) -> Judging {
    let judge: Sequential = serde_json::from_str(config).unwrap();
    assert_eq!(judge.check(), []);
    AnyJudge::Sequential(judge).begin(Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(3600)))
}

const PLAIN: &str = r#"{"rollBack":{"worseThan":"1x"},"warmUp":"0s"}"#;

fn poll(ms: i64, measured: Measured) -> Poll {
    Poll { at: Timestamp::from_millisecond(ms).unwrap(), weight: Some(0.1), measured }
}

fn counts(second: i64, canary: (u64, u64), baseline: (u64, u64)) -> Poll {
    let arm = |it: (u64, u64)| Counts::new(it.0, it.1);
    poll(1000 * second, Measured::Counts { canary: arm(canary), baseline: Some(arm(baseline)) })
}

fn alone(second: i64, total: u64, bad: u64) -> Poll {
    poll(1000 * second, Measured::Counts { canary: Counts::new(total, bad), baseline: None })
}

fn play(config: &str, polls: impl IntoIterator<Item = Poll>) -> Judging {
    let mut it = judging(config);
    polls.into_iter().for_each(|poll| it.observe(&poll));
    it
}

#[test]
fn the_document_of_the_manual_is_read() {
    let written = r#"{ "rollBack": { "worseThan": "1.1x", "alpha": "1%" },
        "promote": { "notWorseThan": "2x", "alpha": "5%" }, "objective": "99.5%", "warmUp": "1m", "baseline": "stable" }"#;
    let read: Sequential = serde_json::from_str(written).unwrap();
    assert_eq!(read, Sequential { objective: Some(Fraction::new(0.995).unwrap()), ..Sequential::default() });
    assert_eq!(serde_json::from_str::<Sequential>("{}").unwrap(), Sequential::default());
    let tiny: Sequential = serde_json::from_str(r#"{"rollBack":{"alpha":1e-300}}"#).unwrap();
    assert_eq!(tiny.roll_back.alpha.get(), 1e-300);
    assert!(serde_json::from_str::<Sequential>(r#"{"rollback":{}}"#).unwrap_err().to_string().contains("rollBack"));
}

#[test]
fn contradictions_are_found() {
    let check = |text: &str| serde_json::from_str::<Sequential>(text).unwrap().check();
    assert_eq!(check(r#"{"rollBack":{"worseThan":"0.9x"}}"#)[0].path, ["rollBack", "worseThan"]);
    assert_eq!(check(r#"{"promote":{"notWorseThan":"1.1x"}}"#)[0].path, ["promote", "notWorseThan"]);
    assert_eq!(check(r#"{"objective":"1%"}"#)[0].path, ["objective"]);
}

#[test]
fn a_canary_dead_on_arrival_fails_at_the_first_poll() {
    let it = play(PLAIN, [counts(1, (50, 50), (450, 0))]);
    assert_eq!(it.verdict(), Verdict::Fail);
    // Warm-up protects from promotion, never from roll back.
    let warming = play(r#"{"warmUp":"10m"}"#, [counts(1, (50, 50), (450, 0))]);
    assert_eq!(warming.verdict(), Verdict::Fail);
}

#[test]
fn warm_up_withholds_promotion() {
    let polls = |seconds: i64| (1..=seconds).map(|t| counts(t, (500, 5), (4500, 45)));
    assert_eq!(play(r#"{"warmUp":"1m"}"#, polls(59)).verdict(), Verdict::Pending);
    assert_eq!(play(r#"{"warmUp":"1m"}"#, polls(60)).verdict(), Verdict::Pass);
}

#[test]
fn a_decision_is_sticky() {
    let bad = (1..=3).map(|t| counts(t, (500, 50), (4500, 45)));
    let good = (4..=3000).map(|t| counts(t, (500, 0), (4500, 45)));
    let it = play(PLAIN, bad.chain(good));
    assert_eq!(it.verdict(), Verdict::Fail);
    assert!(it.evidence().unwrap().ln_e_bad < 1.0);
}

#[test]
fn a_shared_incident_blames_nobody() {
    let it = play(PLAIN, (1..=600).map(|t| counts(t, (500, 50), (4500, 450))));
    assert!(it.evidence().unwrap().ln_e_bad < 0.0);
    assert_eq!(it.verdict(), Verdict::Pass);
}

#[test]
fn what_cannot_be_judged_never_moves_the_evidence() {
    let before = play(PLAIN, (1..=20).map(|t| counts(t, (500, 1), (4500, 9))));
    let mut after = before.clone();
    let values = |canary: f64| Measured::Values { canary: vec![canary], baseline: vec![1.0] };
    let broken = Histogram { bounds: vec![1.0, 0.5], canary: vec![1, 2, 3], baseline: vec![1, 2, 3] };
    let odd = [
        Measured::Missing(Missing::NoData),
        Measured::Missing(Missing::Error),
        values(f64::NAN),
        values(f64::INFINITY),
        values(1.0),
        Measured::Histogram(broken),
        Measured::Counts { canary: Counts::new(1, 2), baseline: Some(Counts::new(9, 0)) },
    ];
    for measured in odd {
        after.observe(&poll(21_000, measured));
    }
    let (a, b) = (before.evidence().unwrap(), after.evidence().unwrap());
    assert_eq!((a.ln_e_bad, a.ln_e_good), (b.ln_e_bad, b.ln_e_good));
    assert!(after.finding().warnings.iter().any(|it| matches!(it, Warning::Missing { .. })));
}

#[test]
fn nan_alone_never_passes() {
    let nan = |t: i64| poll(1000 * t, Measured::Values { canary: vec![f64::NAN], baseline: vec![f64::NAN] });
    assert_eq!(play(PLAIN, (1..=3600).map(nan)).verdict(), Verdict::Pending);
}

#[test]
fn without_history_the_dispersion_is_unknown_and_clumps_divide_the_evidence() {
    let polls = || (1..=20).map(|t| counts(t, (500, 3), (4500, 9)));
    let plain = play(PLAIN, polls());
    assert!(plain.finding().warnings.contains(&Warning::DispersionUnknown));
    let before = |bad: [u64; 4]| {
        let pods = bad.map(|bad| PodCounts { total: 1000, bad }).to_vec();
        (0..60).map(move |_| poll(0, Measured::Before { seconds: 60.0, pods: pods.clone().into() }))
    };
    let even = play(PLAIN, before([9, 11, 12, 8]).chain(polls()));
    assert_eq!(even.evidence(), plain.evidence());
    assert_eq!(even.finding().warnings, []);
    let clumped = play(PLAIN, before([5, 15, 10, 18]).chain(polls()));
    let phi = clumped.evidence().unwrap().phi;
    assert!((2.0..10.0).contains(&phi), "{phi}");
    assert!(clumped.evidence().unwrap().ln_e_bad < plain.evidence().unwrap().ln_e_bad);
    let storm = play(PLAIN, before([0, 100, 0, 0]).chain(polls()));
    assert!(matches!(storm.finding().warnings[0], Warning::TooClumped { .. }));
}

fn slow_of(bad: [u64; 2]) -> OfPods {
    let each = bad.map(|bad| vec![1000 - bad, 1000 - bad, 1000 - bad / 2, 1000]).to_vec();
    OfPods::Histograms { bounds: vec![0.1, 0.25, 0.5], each }
}

fn slow_before(bad: [u64; 2], windows: usize) -> impl Iterator<Item = Poll> {
    (0..windows).map(move |_| poll(0, Measured::Before { seconds: 60.0, pods: slow_of(bad) }))
}

fn slow_beside(second: i64, bad: [u64; 2]) -> Poll {
    poll(1000 * second, Measured::Beside { seconds: 10.0, pods: slow_of(bad) })
}

fn ln_e(it: &Judging) -> f64 {
    it.evidence().unwrap().ln_e_bad
}

#[test]
fn slow_requests_that_clump_divide_the_evidence_bound_by_bound() {
    let polls = || (1..=9).map(|t| histogram(10 * t, [30, 44, 44, 50], [270, 396, 441, 450]));
    let plain = play(PLAIN, polls());
    assert!(plain.finding().warnings.contains(&Warning::DispersionUnknown));
    let clumped = play(PLAIN, slow_before([400, 200], 60).chain(polls()));
    let (warnings, evidence) = (clumped.finding().warnings, clumped.evidence().unwrap());
    assert!(matches!(warnings[..], [Warning::SlowOnesClump { bound: 0.25, phi }] if 90.0 < phi), "{warnings:?}");
    // 200 and 100 of 1,000 requests slower than 0.5: 2 * 50^2 / (150 * 0.85).
    let phi = 2.0 * 50.0_f64.powi(2) / (150.0 * 0.85);
    assert!((evidence.phi - phi).abs() < 1e-9 && evidence.bound == Some(0.5), "{evidence:?}");
    assert!(0.0 < ln_e(&clumped) && ln_e(&clumped) < ln_e(&plain) / 10.0);
    let even = play(PLAIN, slow_before([300, 310], 60).chain(polls()));
    assert_eq!((ln_e(&even), even.finding().warnings), (ln_e(&plain), vec![]));
}

#[test]
fn what_pods_show_beside_the_canary_counts_for_later_requests_only() {
    let slow = |t: i64| histogram(10 * t, [30, 44, 44, 50], [270, 396, 441, 450]);
    let plain = play(PLAIN, [slow(1), slow(2)]);
    // The poll that ends in the middle of the window is one of those that the window saw.
    let during = play(PLAIN, [slow(1), slow_beside(15, [400, 200]), slow(2)]);
    assert_eq!(ln_e(&during), ln_e(&plain));
    let after = play(PLAIN, [slow(1), slow_beside(10, [400, 200]), slow(2)]);
    assert!(ln_e(&after) < ln_e(&plain) - 1.0);
    let mut third = (plain, during);
    third.0.observe(&slow(3));
    third.1.observe(&slow(3));
    assert!(ln_e(&third.1) < ln_e(&third.0) - 1.0);
}

#[test]
fn even_pods_beside_the_canary_cost_nothing_and_end_the_doubt() {
    let slow = |t: i64| histogram(10 * t, [30, 44, 45, 50], [270, 396, 441, 450]);
    let plain = play(PLAIN, (1..=5).map(slow));
    let known = play(PLAIN, (1..=5).flat_map(|t| [slow(t), slow_beside(10 * t, [300, 310])]));
    assert_eq!((ln_e(&known), known.finding().warnings), (ln_e(&plain), vec![]));
}

#[test]
fn errors_that_clump_on_stable_beside_the_canary_divide_the_evidence() {
    let bad = |t: i64| counts(10 * t, (500, 12), (4500, 40));
    let beside = |t: i64, bad: [u64; 2]| {
        let pods = bad.map(|bad| PodCounts { total: 2250, bad }).to_vec().into();
        poll(10_000 * t, Measured::Beside { seconds: 10.0, pods })
    };
    let all = |pods: [u64; 2]| play(PLAIN, (1..=3).flat_map(|t| [bad(t), beside(t, pods)]));
    let plain = play(PLAIN, (1..=3).map(bad));
    let (even, clumped) = (all([18, 22]), all([40, 0]));
    assert_eq!(ln_e(&even), ln_e(&plain));
    assert!(ln_e(&clumped) < ln_e(&plain) - 1.0);
    assert!(even.finding().warnings.is_empty());
    assert!(matches!(clumped.finding().warnings[..], [Warning::Dispersed { .. }]));
}

#[test]
fn a_router_that_ignores_the_weight_withholds_promotion() {
    let it = play(PLAIN, (1..=600).map(|t| counts(t, (2500, 25), (2500, 25))));
    assert_eq!(it.verdict(), Verdict::Pending);
    assert!(matches!(it.finding().warnings.last(), Some(Warning::SampleRatioMismatch { .. })));
}

#[test]
fn the_objective_judges_without_a_baseline() {
    let objective = r#"{"objective":"99.5%","warmUp":"0s"}"#;
    assert_eq!(play(objective, (1..=60).map(|t| alone(t, 500, 10))).verdict(), Verdict::Fail);
    assert_eq!(play(objective, (1..=60).map(|t| alone(t, 500, 0))).verdict(), Verdict::Pass);
    assert_eq!(play(PLAIN, (1..=60).map(|t| alone(t, 500, 0))).verdict(), Verdict::Pending);
}

#[test]
fn an_objective_that_stable_violates_too_holds_instead_of_rolling_back() {
    let objective = r#"{"objective":"99.5%","warmUp":"0s"}"#;
    let it = play(objective, (1..=600).map(|t| counts(t, (500, 10), (4500, 90))));
    assert_eq!(it.verdict(), Verdict::Pending);
    assert!(it.finding().warnings.iter().any(|it| matches!(it, Warning::StableViolatesObjective { .. })));
}

fn histogram(second: i64, canary: [u64; 4], baseline: [u64; 4]) -> Poll {
    let bounds = vec![0.1, 0.25, 0.5];
    let measured = Histogram { bounds, canary: canary.to_vec(), baseline: baseline.to_vec() };
    poll(1000 * second, Measured::Histogram(measured))
}

#[test]
fn a_slower_tail_fails_and_an_equal_one_passes() {
    let equal = (1..=300).map(|t| histogram(t, [30, 44, 49, 50], [270, 396, 441, 450]));
    assert_eq!(play(PLAIN, equal).verdict(), Verdict::Pass);
    let slower = (1..=300).map(|t| histogram(t, [30, 44, 46, 50], [270, 396, 441, 450]));
    let it = play(PLAIN, slower);
    assert_eq!(it.verdict(), Verdict::Fail);
    assert_eq!(it.evidence().unwrap().bound, Some(0.5));
}

#[test]
fn latency_is_not_judged_while_warming_up() {
    let slow = |t| histogram(t, [0, 0, 0, 50], [270, 396, 441, 450]);
    let warming = r#"{"warmUp":"1m"}"#;
    assert_eq!(play(warming, (1..60).map(slow)).verdict(), Verdict::Pending);
    assert_eq!(play(warming, (1..70).map(slow)).verdict(), Verdict::Fail);
}

#[test]
fn gauges_are_compared_in_batches() {
    let gauge = |factor: f64| {
        (1..=120i64).map(move |i| {
            let wave = 1.0 + 0.05 * (i as f64 * 1.7).sin();
            let measured = Measured::Values { canary: vec![factor * wave], baseline: vec![1.0 + 0.05 * (i as f64).sin()] };
            poll(10_000 * i, measured)
        })
    };
    assert_eq!(play(PLAIN, gauge(1.5)).verdict(), Verdict::Fail);
    assert_eq!(play(PLAIN, gauge(1.0)).verdict(), Verdict::Pass);
}

#[test]
fn gauges_of_known_range_are_judged_by_betting() {
    let gauge = |factor: f64| {
        (1..=360i64).map(move |i| {
            let value = |phase: f64| 0.3 + 0.05 * (i as f64 * phase).sin();
            let measured = Measured::Values { canary: vec![factor * value(1.7)], baseline: vec![value(1.0)] };
            poll(10_000 * i, measured)
        })
    };
    let judge = r#"{"rollBack":{"worseThan":"1x"},"warmUp":"0s","range":{"from":0,"to":1}}"#;
    assert_eq!(play(judge, gauge(2.5)).verdict(), Verdict::Fail);
    assert_eq!(play(judge, gauge(1.0)).verdict(), Verdict::Pass);
    assert!(play(judge, gauge(1.0)).evidence().unwrap().ln_e_bad < 0.5);
}

#[test]
fn the_reason_has_the_numbers() {
    let because = play(PLAIN, [counts(1, (50, 50), (450, 0))]).finding().because;
    assert!(because.contains("canary 50 of 50 (100.000 %), baseline 0 of 450 (0.000 %)"), "{because}");
    assert!(because.contains("4.6 needed"), "{because}");
}

#[test]
fn the_forecast_points_to_the_verdict_it_is_on_course_for() {
    let bad = play(PLAIN, (1..=10).map(|t| counts(t, (50, u64::from(t % 2 == 0)), (450, u64::from(t % 2 == 1)))));
    let evidence = bad.evidence().unwrap();
    assert!(evidence.seconds_to_fail.is_some_and(|it| 0.0 < it && it < 120.0), "{evidence:?}");
    assert_eq!(evidence.seconds_to_pass, None);
    let good = play(PLAIN, (1..=20).map(|t| counts(t, (500, 1), (4500, 9)))).evidence().unwrap();
    assert!(good.seconds_to_pass.is_some() && good.seconds_to_fail.is_none(), "{good:?}");
}

#[test]
fn a_prior_gives_the_probability_that_it_is_bad() {
    let it = play(r#"{"prior":"5%","rollBack":{"worseThan":"1x"}}"#, [counts(1, (50, 3), (450, 0))]);
    let evidence = it.evidence().unwrap();
    let odds = (0.05f64 / 0.95) * evidence.ln_e_bad.exp();
    assert!((evidence.probability_bad.unwrap() - odds / (1.0 + odds)).abs() < 1e-12);
}

fn any_poll() -> impl Strategy<Value = (u64, u64, u64, u64)> {
    (0u64..600, 0u64..6000, 0.0f64..1.0, 0.0f64..1.0).prop_map(|(canary, baseline, a, b)| {
        let bad = |total: u64, part: f64| (total as f64 * part.powi(8)) as u64;
        (canary, bad(canary, a), baseline, bad(baseline, b))
    })
}

fn polls_of(all: &[(u64, u64, u64, u64)]) -> Vec<Poll> {
    let poll = |(i, it): (usize, &(u64, u64, u64, u64))| counts(i as i64 + 1, (it.0, it.1), (it.2, it.3));
    all.iter().enumerate().map(poll).collect()
}

proptest! {
    #[test]
    fn a_prefix_judges_as_it_did_and_a_checkpoint_changes_nothing(all in prop::collection::vec(any_poll(), 1..60)) {
        let judge = AnyJudge::Sequential(serde_json::from_str(r#"{"objective":"99%"}"#).unwrap());
        let setting = Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(600));
        let (mut straight, mut resumed) = (judge.begin(setting), judge.begin(setting));
        for poll in polls_of(&all) {
            straight.observe(&poll);
            resumed.observe(&poll);
            let stored = serde_json::to_string(&resumed.checkpoint()).unwrap();
            resumed = judge.resume(setting, serde_json::from_str(&stored).unwrap()).unwrap();
            prop_assert_eq!(straight.checkpoint(), resumed.checkpoint());
            prop_assert_eq!(straight.finding(), resumed.finding());
            prop_assert!(straight.evidence().unwrap().ln_e_bad.is_finite());
        }
    }

    #[test]
    fn one_more_bad_canary_request_is_never_less_evidence(all in prop::collection::vec(any_poll(), 1..20), which in 0usize..20) {
        let which = which % all.len();
        let mut worse = all.clone();
        prop_assume!(worse[which].1 < worse[which].0);
        worse[which].1 += 1;
        let before = play(PLAIN, polls_of(&all)).evidence().unwrap();
        let after = play(PLAIN, polls_of(&worse)).evidence().unwrap();
        prop_assert!(before.ln_e_bad <= after.ln_e_bad + 1e-9, "{} {}", before.ln_e_bad, after.ln_e_bad);
    }
}

#[test]
fn a_canary_without_errors_beside_a_stable_without_errors_passes_once_enough_requests_have_shown_it() {
    let clean = |seconds: i64| play(PLAIN, (1..=seconds).map(|t| counts(t, (10, 0), (90, 0))));
    assert_eq!(clean(100).verdict(), Verdict::Pending, "1,000 requests of the canary are too few");
    assert_eq!(clean(200).verdict(), Verdict::Pass, "2,000 are enough");
    let few = play(PLAIN, (1..=400).map(|t| counts(t, (10, 0), (10, 0))));
    assert_eq!(few.verdict(), Verdict::Pending, "4,000 requests of stable do not show that it has no errors");
    let strict = r#"{"rollBack":{"worseThan":"1x"},"promote":{"negligible":"0.01%"},"warmUp":"0s"}"#;
    let strictly = play(strict, (1..=200).map(|t| counts(t, (10, 0), (90, 0))));
    assert_eq!(strictly.verdict(), Verdict::Pending, "what is negligible is the user's to say");
}

#[test]
fn one_error_of_stable_ends_the_proof_by_none() {
    let one = |t: i64| u64::from(t == 50);
    let it = play(PLAIN, (1..=200).map(|t| counts(t, (10, 0), (90, one(t)))));
    assert_eq!(it.verdict(), Verdict::Pending);
}

#[test]
fn a_canary_at_the_negligible_rate_beside_a_flawless_stable_passes_at_most_as_often_as_allowed() {
    use rand::{Rng, SeedableRng};
    // Never rolled back, which such a canary would be long before.
    let patient = r#"{"rollBack":{"alpha":1e-300},"warmUp":"0s"}"#;
    let (runs, mut passed) = (1_000, 0);
    for seed in 0..runs {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut it = judging(patient);
        for t in 1..=600 {
            let bad = (0..10).filter(|_| rng.random_bool(0.005)).count() as u64;
            it.observe(&counts(t, (10, bad), (90, 0)));
            if it.verdict() != Verdict::Pending {
                break;
            }
        }
        passed += u64::from(it.verdict() == Verdict::Pass);
    }
    assert!(0 < passed && passed as f64 <= 0.05 * runs as f64, "{passed} of {runs}");
}
