use super::*;

const T0: Timestamp = Timestamp::UNIX_EPOCH;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn metric(name: &str, judge: &str) -> Metric {
    let judge = serde_json::from_str(judge).unwrap();
    Metric { name: name.to_owned(), every: Span::seconds(1), judge, weight: 1.0, dry_run: false }
}

fn sequential(name: &str) -> Metric {
    metric(name, r#"{"sequential":{"rollBack":{"worseThan":"1x"},"warmUp":"0s"}}"#)
}

fn threshold(name: &str) -> Metric {
    metric(name, r#"{"threshold":{"pass":"result >= 0.99","failureLimit":1}}"#)
}

fn gate(metrics: Vec<Metric>) -> Spec {
    let window = Window::Gate { min: Duration::from_secs(60), max: Duration::from_secs(600), may_fail: true };
    Spec { metrics, window, delay: Duration::ZERO }
}

fn guard(metrics: Vec<Metric>) -> Spec {
    Spec { metrics, window: Window::Guard { planned: Duration::from_secs(3600) }, delay: Duration::ZERO }
}

fn poll(seconds: i64, measured: Measured) -> Poll {
    Poll { at: at(seconds), weight: Some(0.1), measured }
}

fn counts(seconds: i64, canary_bad: u64, baseline_bad: u64) -> Poll {
    let baseline = Some(Counts::new(4500, baseline_bad));
    poll(seconds, Measured::Counts { canary: Counts::new(500, canary_bad), baseline })
}

/// Too few requests to show anything, and none of them bad.
fn few(seconds: i64) -> Poll {
    poll(seconds, Measured::Counts { canary: Counts::new(1, 0), baseline: Some(Counts::new(9, 0)) })
}

fn value(seconds: i64, value: f64) -> Poll {
    poll(seconds, Measured::Values { canary: vec![value], baseline: vec![] })
}

/// Feeds `each` to every metric once a second until the run ends.
fn play(spec: Spec, seconds: i64, each: impl Fn(i64, usize) -> Poll) -> Run {
    let metrics = spec.metrics.len();
    let mut run = Run::begin(spec, T0, T0);
    for second in 1..=seconds {
        for metric in 0..metrics {
            run.record(metric, &each(second, metric));
        }
        run.tick(at(second));
    }
    run
}

#[track_caller]
fn ended(run: &Run, verdict: Verdict, between: std::ops::RangeInclusive<i64>) {
    let ended = run.ended().unwrap_or_else(|| panic!("still running: {:?}", run.report()));
    assert_eq!(ended.verdict, verdict, "{}", ended.because);
    assert!(between.contains(&ended.at.as_second()), "ended at {}: {}", ended.at, ended.because);
}

#[test]
fn a_healthy_canary_passes_its_gate_at_the_earliest_end() {
    ended(&play(gate(vec![sequential("errors")]), 600, |t, _| counts(t, 5, 45)), Verdict::Pass, 60..=60);
}

#[test]
fn a_bad_canary_fails_gate_and_guard_within_seconds() {
    ended(&play(gate(vec![sequential("errors")]), 600, |t, _| counts(t, 50, 45)), Verdict::Fail, 1..=3);
    ended(&play(guard(vec![sequential("errors")]), 600, |t, _| counts(t, 50, 45)), Verdict::Fail, 1..=3);
}

#[test]
fn a_guard_never_passes() {
    let run = play(guard(vec![sequential("errors"), threshold("rate")]), 7200, |t, metric| {
        if metric == 0 { counts(t, 5, 45) } else { value(t, 1.0) }
    });
    assert_eq!(run.ended(), None);
    assert_eq!(run.report().metrics[0].finding.verdict, Verdict::Pass);
}

#[test]
fn no_evidence_is_inconclusive_at_the_deadline() {
    ended(&play(gate(vec![sequential("errors")]), 900, |t, _| few(t)), Verdict::Inconclusive, 600..=600);
}

#[test]
fn an_outage_is_an_error_and_neither_a_pass_nor_a_failure() {
    let down = |t, _| poll(t, Measured::Missing(Missing::Error));
    ended(&play(gate(vec![sequential("errors")]), 900, down), Verdict::Error, 600..=600);
    assert_eq!(play(guard(vec![sequential("errors")]), 900, down).ended(), None);
    ended(&play(gate(vec![threshold("rate")]), 900, down), Verdict::Error, 5..=5);
}

#[test]
fn a_metric_that_is_never_measured_ends_the_gate_inconclusive() {
    let mut run = Run::begin(gate(vec![sequential("errors")]), T0, T0);
    run.tick(at(599));
    assert_eq!(run.ended(), None);
    run.tick(at(600));
    ended(&run, Verdict::Inconclusive, 600..=600);
}

#[test]
fn all_metrics_must_pass_and_one_failure_fails() {
    let spec = || gate(vec![sequential("errors"), threshold("rate")]);
    let bad_rate = |t, metric| if metric == 0 { counts(t, 5, 45) } else { value(t, 0.5) };
    ended(&play(spec(), 600, bad_rate), Verdict::Fail, 2..=2);
    let one_open = |t, metric| if metric == 0 { few(t) } else { value(t, 1.0) };
    ended(&play(spec(), 600, one_open), Verdict::Inconclusive, 600..=600);
}

#[test]
fn a_dry_run_decides_nothing() {
    let mut rate = threshold("rate");
    rate.dry_run = true;
    let run = play(gate(vec![sequential("errors"), rate]), 600, |t, metric| {
        if metric == 0 { counts(t, 5, 45) } else { value(t, 0.0) }
    });
    ended(&run, Verdict::Pass, 60..=60);
    assert_eq!(run.report().metrics[1].finding.verdict, Verdict::Fail);
}

#[test]
fn only_dry_runs_are_refused_and_never_pass() {
    let mut rate = threshold("rate");
    rate.dry_run = true;
    let spec = gate(vec![rate]);
    assert_eq!(spec.check(true).len(), 1);
    ended(&play(spec, 900, |t, _| value(t, 1.0)), Verdict::Inconclusive, 600..=600);
}

#[test]
fn a_gate_beside_a_guard_leaves_failing_to_it() {
    let mut spec = gate(vec![sequential("errors")]);
    spec.window =
        Window::Gate { min: Duration::from_secs(60), max: Duration::from_secs(600), may_fail: false };
    ended(&play(spec, 900, |t, _| counts(t, 50, 45)), Verdict::Inconclusive, 600..=600);
}

#[test]
fn weak_evidence_of_many_metrics_adds_up() {
    let names = ["a", "b", "c", "d"];
    let run = play(guard(names.iter().map(|it| sequential(it)).collect()), 600, |t, _| counts(t, 9, 45));
    let alone = play(guard(vec![sequential("a")]), 600, |t, _| counts(t, 9, 45));
    let (together, alone) = (run.ended().unwrap().at, alone.ended().unwrap().at);
    assert_eq!(together, alone, "four equal metrics are as much evidence as one of them");
}

#[test]
fn a_window_without_a_least_length_waits_until_each_metric_concludes() {
    let open = |metric: Metric| {
        let window = Window::Gate { min: Duration::ZERO, max: Duration::from_secs(60), may_fail: true };
        Spec { window, ..gate(vec![metric]) }
    };
    let counted = metric("rate", r#"{"threshold":{"pass":"result >= 0.99","count":3}}"#);
    ended(&play(open(counted), 90, |t, _| value(t, 1.0)), Verdict::Pass, 3..=3);
    ended(&play(open(sequential("errors")), 90, |t, _| counts(t, 5, 45)), Verdict::Pass, 1..=20);
    // Its pass is that of its last measurement, so it is told at the end.
    ended(&play(open(threshold("rate")), 90, |t, _| value(t, 1.0)), Verdict::Pass, 60..=60);
    let turns_bad = |t, _| value(t, if t < 30 { 1.0 } else { 0.0 });
    ended(&play(open(threshold("rate")), 90, turns_bad), Verdict::Fail, 31..=31);
}

#[test]
fn only_a_pass_that_nothing_changes_can_be_concluded_early() {
    let concluded = |metric: Metric, each: fn(i64) -> Poll| {
        let mut run = Run::begin(gate(vec![metric]), T0, T0);
        for second in 1..=50 {
            run.record(0, &each(second));
            run.conclude(at(second));
        }
        run.ended().map(|it| (it.verdict, it.at.as_second()))
    };
    let counted = metric("rate", r#"{"threshold":{"pass":"result >= 0.99","count":3}}"#);
    assert_eq!(concluded(counted, |t| value(t, 1.0)), Some((Verdict::Pass, 3)));
    assert_eq!(concluded(threshold("rate"), |t| value(t, 1.0)), None);
    assert_eq!(concluded(sequential("errors"), |t| counts(t, 5, 45)), None);
}

#[test]
fn a_checkpoint_from_before_measured_sides_were_kept_is_taken_up() {
    let mut run = Run::begin(guard(vec![sequential("errors")]), T0, T0);
    run.record(0, &counts(2, 5, 45));
    let mut stored = serde_json::to_value(run.checkpoint()).unwrap();
    let state = stored["metrics"][0][2].as_object_mut().unwrap();
    assert!(state.remove("seen").is_some() && state.contains_key("sequential"));
    let mut resumed =
        Run::resume(guard(vec![sequential("errors")]), serde_json::from_value(stored).unwrap()).unwrap();
    for it in [&mut run, &mut resumed] {
        it.record(0, &counts(3, 5, 45));
    }
    assert_eq!(resumed.checkpoint(), run.checkpoint());
}

#[test]
fn stopping_an_undecided_run_is_never_a_pass() {
    let mut run = Run::begin(gate(vec![threshold("rate")]), T0, T0);
    run.record(0, &value(1, 1.0));
    run.stop(at(2));
    ended(&run, Verdict::Inconclusive, 2..=2);
    assert_eq!(run.record(0, &value(3, 1.0)), Recorded::Over);
    assert_eq!(run.wake(at(3)), None);
}

#[test]
fn the_grid_survives_gaps_and_each_metric_has_its_own() {
    let mut slow = threshold("rate");
    slow.every = Span::seconds(60);
    let mut spec = gate(vec![sequential("errors"), slow]);
    spec.delay = Duration::from_secs(5);
    let mut run = Run::begin(spec, T0, T0);
    assert_eq!(run.wake(T0), Some(at(6)));
    assert_eq!(run.due(at(5)).count(), 0);
    assert_eq!(run.due(at(6)).collect::<Vec<_>>(), [Due { metric: 0, from: at(5), since: at(6) }]);
    run.record(0, &counts(6, 0, 1));
    assert_eq!(run.wake(at(6)), Some(at(7)));
    // The engine was away for half a minute: one poll covers the gap, then the grid goes on.
    assert_eq!(run.due(at(40)).collect::<Vec<_>>(), [Due { metric: 0, from: at(6), since: at(7) }]);
    run.record(0, &counts(40, 0, 1));
    assert_eq!(run.due(at(41)).collect::<Vec<_>>(), [Due { metric: 0, from: at(40), since: at(41) }]);
    assert_eq!(run.due(at(65)).last(), Some(Due { metric: 1, from: at(5), since: at(65) }));
}

#[test]
fn repeated_and_late_polls_are_left_out() {
    let mut run = Run::begin(guard(vec![sequential("errors")]), T0, T0);
    assert_eq!(run.record(0, &counts(2, 5, 45)), Recorded::Taken);
    let before = run.checkpoint();
    assert_eq!(run.record(0, &counts(2, 5, 45)), Recorded::TooOld);
    assert_eq!(run.record(0, &counts(1, 50, 0)), Recorded::TooOld);
    assert_eq!(run.checkpoint(), before);
}

#[test]
fn a_checkpoint_goes_on_as_if_never_interrupted() {
    let spec = || guard(vec![sequential("errors"), threshold("rate"), metric("pods", r#"{"pods":{}}"#)]);
    let each = |t: i64, metric: usize| match metric {
        0 => counts(t, (t as u64 * 7) % 9, 45),
        1 => value(t, 1.0),
        _ => {
            let pods = crate::PodsSeen { desired: 2, ready: 2, ..Default::default() };
            poll(t, Measured::Pods { canary: pods, baseline: pods })
        }
    };
    let whole = play(spec(), 300, each);
    let mut resumed = Run::begin(spec(), T0, T0);
    for second in 1..=300 {
        for metric in 0..3 {
            resumed.record(metric, &each(second, metric));
        }
        let stored = serde_json::to_string(&resumed.checkpoint()).unwrap();
        resumed = Run::resume(spec(), serde_json::from_str(&stored).unwrap()).unwrap();
    }
    assert_eq!(resumed.checkpoint(), whole.checkpoint());
    assert_eq!(resumed.report(), whole.report());
}

#[test]
fn a_checkpoint_of_another_analysis_is_refused() {
    let run = Run::begin(guard(vec![sequential("errors")]), T0, T0);
    let other_name = Run::resume(guard(vec![sequential("latency")]), run.checkpoint()).unwrap_err();
    assert!(other_name.to_string().contains("start a new window"), "{other_name}");
    let other_judge = Run::resume(guard(vec![threshold("errors")]), run.checkpoint()).unwrap_err();
    assert_eq!(other_judge, ResumeError::OtherJudge("errors".to_owned()));
}

#[test]
fn without_a_baseline_a_comparison_needs_an_objective() {
    let spec = guard(vec![sequential("errors"), threshold("rate"), metric("pods", r#"{"pods":{}}"#)]);
    assert_eq!(spec.check(true), []);
    let problems = spec.check(false);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].1.message.contains("give an `objective`"));
    let mut with = guard(vec![metric("errors", r#"{"sequential":{"objective":"99.5%"}}"#)]);
    assert_eq!(with.check(false), []);
    with.metrics.push(with.metrics[0].clone());
    assert_eq!(with.check(false)[0].1.path, ["name"]);
}
