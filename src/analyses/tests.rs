mod others;

use proptest::prelude::*;
use strategies::{Arm, Samples, Weight, Window};

use super::*;

const V1: &str = "v1";
const V2: &str = "v2";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn errors(judge: &str) -> Definition {
    let judge = serde_json::from_str(judge).unwrap();
    Definition { metrics: vec![MetricDefinition::plain("errors", judge, Reads::Errors)] }
}

fn latency(judge: &str) -> Definition {
    let judge = serde_json::from_str(judge).unwrap();
    Definition { metrics: vec![MetricDefinition::plain("latency", judge, Reads::Latency)] }
}

/// What somebody outside is asked for.
fn asked(judge: &str) -> Definition {
    let judge = serde_json::from_str(judge).unwrap();
    Definition { metrics: vec![MetricDefinition::plain("asked", judge, Reads::Asked { digest: 1 })] }
}

fn definitions() -> BTreeMap<Name, Definition> {
    let strict = r#"{"sequential":{"rollBack":{"worseThan":"1x"},"warmUp":"0s"}}"#;
    let rate = r#"{"threshold":{"fail":"result > 0.5","failureLimit":3}}"#;
    let kept = r#"{"sequential":{"objective":"99%","warmUp":"0s"}}"#;
    BTreeMap::from([
        ("golden".into(), Definition::golden()),
        ("errors".into(), errors(strict)),
        ("latency".into(), latency(strict)),
        ("rate".into(), errors(rate)),
        ("kept".into(), errors(kept)),
        ("asked".into(), asked(strict)),
    ])
}

fn activity(purpose: Purpose, analysis: &str, samples: Samples) -> Activity {
    let window = match purpose {
        Purpose::Guard => Window::From("one".into()),
        Purpose::Gate | Purpose::Evidence => Window::Step("one".into()),
    };
    let id = ActivityId { attempt: 1, revision: V2.into(), window, name: analysis.into(), again: 0 };
    let (min, max) = (HumanDuration::from_secs(60), Some(HumanDuration::from_mins(10)));
    Activity::Analysis { id, purpose, analyses: vec![analysis.into()], samples, min, max }
}

fn guard(analysis: &str) -> Activity {
    activity(Purpose::Guard, analysis, Samples::Count)
}

fn withheld(analysis: &str) -> Activity {
    activity(Purpose::Guard, analysis, Samples::Withheld)
}

/// Two workers, and what they count.
#[derive(Clone)]
struct Rig {
    analyses: Analyses,
    second: i64,
    arms: ArmsNow,
    workers: Vec<Worker>,
    routed: Routed,
}

#[derive(Clone)]
struct Worker {
    start: u32,
    began: i64,
    canary: (u64, u64),
    stable: (u64, u64),
}

impl Rig {
    fn new() -> Self {
        let arms = ArmsNow {
            stable: Some(V1.into()),
            canary: Some(V2.into()),
            weight: Weight::from_percent(10),
            settled: Some(at(0)),
            ..ArmsNow::default()
        };
        let worker = Worker { start: 0, began: -100, canary: (7, 5), stable: (1000, 3) };
        let analyses = Analyses::new(definitions(), Duration::from_mins(30));
        Self { analyses, second: 0, arms, workers: vec![worker; 2], routed: Routed::Weight }
    }

    fn listed(mut self, run: &[Activity]) -> Self {
        self.list(run);
        self.feed();
        self
    }

    fn list(&mut self, run: &[Activity]) {
        self.analyses.reconcile(run, at(self.second));
    }

    fn counted(&self) -> Vec<Counted> {
        let series = |revision: &str, routed, (ended, failed)| Series {
            entry: "web".into(),
            arm: Arm::main(revision.into()),
            routed,
            begun: ended,
            ended,
            failed,
            latency: vec![ended - failed, failed],
            answers: analysis::Answers {
                success: ended - failed,
                server_error: failed,
                ..analysis::Answers::default()
            },
        };
        let worker = |(number, it): (usize, &Worker)| Counted {
            source: number.to_string().into(),
            start: it.start.to_string().into(),
            up: Duration::from_secs((self.second - it.began) as u64),
            bounds: Arc::from([0.1]),
            series: vec![series(V2, self.routed, it.canary), series(V1, Routed::Weight, it.stable)],
            replicas: vec![],
        };
        self.workers.iter().enumerate().map(worker).collect()
    }

    fn feed(&mut self) {
        self.feed_with(&self.counted(), false);
    }

    fn feed_with(&mut self, counted: &[Counted], urgent: bool) {
        let arms = self.arms.clone();
        self.analyses.feed(&Feed { counted, pods: None, arms: &arms, urgent }, at(self.second));
    }

    /// Each worker serves so many requests of each arm, so many of them bad.
    fn serve(&mut self, canary: (u64, u64), stable: (u64, u64)) {
        for it in &mut self.workers {
            (it.canary.0, it.canary.1) = (it.canary.0 + canary.0, it.canary.1 + canary.1);
            (it.stable.0, it.stable.1) = (it.stable.0 + stable.0, it.stable.1 + stable.1);
        }
    }

    /// A second of such requests, then a feed.
    fn second(&mut self, canary: (u64, u64), stable: (u64, u64)) {
        self.serve(canary, stable);
        self.second += 1;
        self.feed();
    }

    fn seconds(&mut self, seconds: u64, canary: (u64, u64), stable: (u64, u64)) {
        (0..seconds).for_each(|_| self.second(canary, stable));
    }

    fn view(&self) -> RunEvidence {
        self.analyses.evidence().remove(0)
    }

    /// Requests of canary and stable that count, and the bad ones.
    fn counts(&self) -> [u64; 4] {
        let evidence = self.view().metrics[0].evidence.clone().unwrap();
        [evidence.canary.total, evidence.canary.bad, evidence.baseline.total, evidence.baseline.bad]
    }

    #[track_caller]
    fn check(&self, expected: Verdict) {
        let outcomes: Vec<Outcome> = self.analyses.outcomes().into_values().collect();
        assert_eq!(outcomes[0].verdict, expected, "{:?} {}", outcomes[0].because, self.view().because);
    }

    fn stored_and_taken_up(&mut self) {
        let stored = serde_json::to_string(&self.analyses.checkpoint()).unwrap();
        let checkpoint = serde_json::from_str(&stored).unwrap();
        let before = std::mem::replace(
            &mut self.analyses,
            Analyses::restore(definitions(), Duration::from_mins(30), checkpoint),
        );
        assert_eq!(self.analyses.checkpoint(), before.checkpoint());
    }
}

#[test]
fn only_what_was_counted_since_the_first_reading_counts() {
    let mut rig = Rig::new().listed(&[guard("errors")]);
    rig.seconds(3, (50, 1), (450, 4));
    assert_eq!(rig.counts(), [300, 6, 2700, 24]);
}

#[test]
fn a_dead_canary_fails_at_the_first_reading_after_the_base_and_says_why_in_numbers() {
    let mut rig = Rig::new().listed(&[guard("errors")]);
    rig.second((10, 10), (90, 0));
    rig.check(Verdict::Fail);
    let because = rig.view().because;
    assert!(because.contains("20 of 20") && because.contains("0 of 180"), "{because}");
}

#[test]
fn after_samples_begin_to_count_a_reading_is_wanted_at_once() {
    let mut rig = Rig::new();
    rig.list(&[guard("errors")]);
    assert_eq!(rig.analyses.wake(), Some(at(0)));
    rig.feed();
    assert_eq!(rig.analyses.wake(), Some(at(1)));
    rig.list(&[withheld("errors")]);
    assert_eq!(rig.analyses.wake(), None);
}

#[test]
fn a_world_that_is_unread_for_a_moment_costs_no_evidence() {
    let mut rig = Rig::new().listed(&[guard("errors")]);
    rig.seconds(5, (50, 0), (450, 0));
    rig.list(&[]);
    assert_eq!(rig.analyses.outcomes(), BTreeMap::new());
    rig.second((50, 50), (450, 0));
    rig.list(&[guard("errors")]);
    rig.feed();
    rig.second((50, 1), (450, 0));
    assert_eq!(rig.counts(), [600, 2, 5400, 0]);
}

#[test]
fn what_straddles_a_change_of_the_split_counts_nowhere() {
    let mut rig = Rig::new().listed(&[guard("errors")]);
    rig.second((50, 0), (450, 0));
    rig.arms.weight = Weight::from_percent(25);
    rig.second((50, 50), (450, 0));
    rig.second((125, 0), (375, 0));
    assert_eq!(rig.counts(), [350, 0, 1650, 0]);
}

#[test]
fn what_was_served_before_the_data_plane_settled_counts_nowhere() {
    let mut rig = Rig::new();
    rig.arms.settled = Some(at(2));
    rig = rig.listed(&[guard("errors")]);
    rig.seconds(2, (50, 50), (450, 0));
    rig.second((50, 1), (450, 0));
    assert_eq!(rig.counts(), [100, 2, 900, 0]);
    rig.arms.settled = None;
    rig.second((50, 50), (450, 0));
    assert_eq!(rig.counts(), [100, 2, 900, 0]);
}

#[test]
fn another_revision_or_attempt_begins_with_nothing() {
    let mut rig = Rig::new().listed(&[guard("errors")]);
    rig.seconds(5, (50, 0), (450, 0));
    let Activity::Analysis { mut id, purpose, analyses, samples, min, max } = guard("errors") else {
        panic!()
    };
    id.attempt = 2;
    rig.list(&[Activity::Analysis { id, purpose, analyses, samples, min, max }]);
    rig.feed();
    rig.second((50, 0), (450, 0));
    assert_eq!(rig.analyses.evidence().len(), 1);
    assert_eq!(rig.counts(), [100, 0, 900, 0]);
}

#[test]
fn a_canary_that_is_not_the_one_of_the_analysis_is_not_judged() {
    let mut rig = Rig::new();
    rig.arms.canary = Some("v3".into());
    rig = rig.listed(&[guard("errors")]);
    rig.second((50, 50), (450, 0));
    assert_eq!(rig.counts(), [0; 4]);
}

#[test]
fn answers_to_copies_are_compared_with_those_to_users() {
    let shadow = || {
        let mut rig = Rig::new();
        (rig.arms.weight, rig.arms.mirrored, rig.routed) = (Weight::ZERO, true, Routed::Mirror);
        rig
    };
    let mut rig = shadow().listed(&[guard("errors")]);
    rig.seconds(5, (50, 0), (450, 4));
    assert_eq!(rig.counts(), [500, 0, 4500, 40]);
    rig.check(Verdict::Pending);
    rig.second((50, 50), (450, 4));
    rig.check(Verdict::Fail);
    assert!(rig.view().notes.iter().any(|it| it.contains("only copies")), "{:?}", rig.view().notes);
    // Both sides are asked for, where somebody else counts.
    let mut asks = shadow().listed(&[guard("asked")]);
    asks.second((50, 0), (450, 4));
    assert!(asks.analyses.asks(at(asks.second)).iter().all(|it| it.compared));
    let mut slow = shadow().listed(&[guard("latency")]);
    slow.seconds(20, (50, 40), (450, 4));
    slow.check(Verdict::Fail);
}

/// A canary that answers one thing to everybody, by how its requests come.
#[test]
fn a_canary_that_answers_differently_fails_the_guard_that_needs_no_configuration() {
    let lost = |ended: u64| analysis::Answers { not_found: ended, ..analysis::Answers::default() };
    let broken = |ended: u64| analysis::Answers { server_error: ended, ..analysis::Answers::default() };
    let verdict = |routed: Routed, answer: &dyn Fn(u64) -> analysis::Answers| {
        let mut rig = Rig::new();
        rig.routed = routed;
        match routed {
            Routed::Match => (rig.arms.weight, rig.arms.matched) = (Weight::ZERO, true),
            Routed::Mirror => (rig.arms.weight, rig.arms.mirrored) = (Weight::ZERO, true),
            Routed::Weight | Routed::Sticky | Routed::Retry => {}
        }
        rig.list(&[guard(ANSWERS)]);
        for _ in 0..10 {
            let mut counted = rig.counted();
            for series in
                counted.iter_mut().flat_map(|it| &mut it.series).filter(|it| it.arm.revision.as_str() == V2)
            {
                series.answers = answer(series.ended);
            }
            rig.feed_with(&counted, false);
            rig.serve((20, 0), (180, 0));
            rig.second += 1;
        }
        rig.analyses.outcomes().into_values().next().unwrap().verdict
    };
    assert_eq!(verdict(Routed::Weight, &lost), Verdict::Fail);
    assert_eq!(verdict(Routed::Mirror, &lost), Verdict::Fail);
    // Others may well ask for what is not there; that everything they ask for fails is another matter.
    assert_eq!(verdict(Routed::Match, &lost), Verdict::Pending);
    assert_eq!(verdict(Routed::Match, &broken), Verdict::Fail);
}

#[test]
fn a_leak_fails_the_guard_that_needs_no_configuration_and_a_warm_up_does_not() {
    let verdict = |grows: &dyn Fn(f64) -> f64| {
        let mut rig = Rig::new();
        rig.list(&[guard(MEMORY)]);
        for second in (0..600).step_by(5) {
            let of = |revision: &str, mib: f64| PodHealth {
                revision: revision.into(),
                pod: "0".into(),
                ready: true,
                leaving: false,
                restarts: 0,
                oom_kills: 0,
                crash_looping: false,
                usage: Some(Usage { memory: (mib * 1048576.0) as u64, cpu_ms: 0 }),
            };
            let t = second as f64;
            let pods = [of(V1, 100.0 + t.sin()), of(V2, grows(t) + (1.3 * t).sin())];
            let arms = rig.arms.clone();
            let feed = Feed { counted: &[], pods: Some(&pods), arms: &arms, urgent: false };
            rig.analyses.feed(&feed, at(second));
        }
        (rig.analyses.outcomes().into_values().next().unwrap().verdict, rig.view().because)
    };
    let (leaks, because) = verdict(&|t| 100.0 + t);
    assert_eq!(leaks, Verdict::Fail, "{because}");
    assert!(because.contains("leaks memory"), "{because}");
    assert_eq!(verdict(&|t| 250.0 * (1.0 - 0.8 * (-t / 60.0).exp())).0, Verdict::Pending);
}

#[test]
fn requests_that_a_match_sent_are_compared_with_nothing_and_it_says_so() {
    let mut rig = Rig::new();
    (rig.arms.weight, rig.arms.matched, rig.routed) = (Weight::ZERO, true, Routed::Match);
    rig = rig.listed(&[guard("errors")]);
    rig.seconds(20, (50, 50), (450, 0));
    rig.check(Verdict::Pending);
    assert_eq!(rig.counts(), [2000, 2000, 0, 0]);
    assert!(rig.view().notes.iter().any(|it| it.contains("claimed by a match")), "{:?}", rig.view().notes);
}

#[test]
fn requests_that_a_match_sent_are_held_against_an_objective() {
    let mut rig = Rig::new();
    (rig.arms.weight, rig.arms.matched, rig.routed) = (Weight::ZERO, true, Routed::Match);
    rig = rig.listed(&[guard("kept")]);
    rig.seconds(5, (50, 50), (450, 0));
    rig.check(Verdict::Fail);
}

#[test]
fn beside_a_weight_requests_of_a_match_are_left_out_and_counted() {
    let mut rig = Rig::new();
    (rig.arms.matched, rig.routed) = (true, Routed::Match);
    rig = rig.listed(&[guard("errors")]);
    rig.seconds(5, (50, 50), (450, 0));
    rig.check(Verdict::Pending);
    assert_eq!(rig.counts()[0], 0);
    assert!(rig.view().notes.iter().any(|it| it.starts_with("500 requests")), "{:?}", rig.view().notes);
}

#[test]
fn with_all_requests_on_the_canary_only_an_objective_decides() {
    let mut rig = Rig::new();
    rig.arms.weight = Weight::FULL;
    rig = rig.listed(&[guard("errors"), guard("golden"), guard("kept")]);
    rig.seconds(20, (500, 100), (3, 0));
    let said: Vec<Verdict> = rig.analyses.outcomes().values().map(|it| it.verdict).collect();
    assert_eq!(said, [Verdict::Pending, Verdict::Pending, Verdict::Fail]);
}

#[test]
fn a_gate_passes_at_its_earliest_end_and_not_before() {
    let mut rig = Rig::new().listed(&[activity(Purpose::Evidence, "errors", Samples::Count)]);
    rig.seconds(59, (50, 1), (450, 9));
    rig.check(Verdict::Pending);
    rig.second((50, 1), (450, 9));
    rig.check(Verdict::Pass);
}

#[test]
fn a_gate_without_evidence_is_inconclusive_at_its_end() {
    let mut rig = Rig::new().listed(&[activity(Purpose::Evidence, "errors", Samples::Count)]);
    rig.seconds(600, (0, 0), (0, 0));
    rig.check(Verdict::Inconclusive);
}

#[test]
fn a_gate_that_nobody_feeds_ends_too() {
    let mut rig = Rig::new().listed(&[activity(Purpose::Evidence, "errors", Samples::Withheld)]);
    assert_eq!(rig.analyses.wake(), Some(at(600)));
    rig.second = 600;
    rig.feed();
    rig.check(Verdict::Inconclusive);
}

#[test]
fn beside_a_guard_on_the_same_metrics_a_gate_leaves_failing_to_it() {
    let gate = activity(Purpose::Evidence, "errors", Samples::Count);
    let mut rig = Rig::new().listed(&[gate.clone(), guard("errors")]);
    rig.seconds(5, (50, 25), (450, 0));
    let outcomes = rig.analyses.outcomes();
    assert_eq!(outcomes[gate.id()].verdict, Verdict::Pending);
    assert_eq!(outcomes[guard("errors").id()].verdict, Verdict::Fail);
    let mut alone = Rig::new().listed(&[gate]);
    alone.seconds(5, (50, 25), (450, 0));
    alone.check(Verdict::Fail);
}

#[test]
fn an_analysis_that_does_not_exist_is_an_error_with_a_cure() {
    let mut rig = Rig::new();
    rig.list(&[guard("nowhere")]);
    let outcome = rig.analyses.outcomes().into_values().next().unwrap();
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(outcome.because.unwrap().as_str().contains("`nowhere`"));
}

#[test]
fn counters_that_do_not_answer_are_missing_and_lose_nothing() {
    let mut rig = Rig::new().listed(&[guard("errors")]);
    for _ in 0..4 {
        rig.serve((50, 1), (450, 4));
        rig.second += 1;
        rig.feed_with(&[], false);
    }
    assert_eq!(rig.view().metrics[0].missing, 4);
    rig.second((50, 1), (450, 4));
    assert_eq!(rig.counts(), [500, 10, 4500, 40]);
}

#[test]
fn an_outage_of_the_counters_is_never_a_failure() {
    let mut rig = Rig::new().listed(&[
        guard("rate"),
        guard("errors"),
        activity(Purpose::Gate, "errors", Samples::Count),
    ]);
    for _ in 0..700 {
        rig.second += 1;
        rig.feed_with(&[], false);
    }
    let said: Vec<Verdict> = rig.analyses.outcomes().values().map(|it| it.verdict).collect();
    assert_eq!(said, [Verdict::Error, Verdict::Pending, Verdict::Error]);
}

#[test]
fn a_changed_definition_starts_over_and_says_so() {
    let mut rig = Rig::new().listed(&[guard("errors")]);
    rig.seconds(5, (50, 0), (450, 0));
    let mut changed = definitions();
    changed.insert("errors".into(), errors(r#"{"sequential":{}}"#));
    rig.analyses = Analyses::restore(changed, Duration::from_mins(30), rig.analyses.checkpoint());
    rig.list(&[guard("errors")]);
    rig.feed();
    assert_eq!(rig.counts(), [0; 4]);
    assert!(rig.view().notes[0].contains("was started over"), "{:?}", rig.view().notes);
}

#[test]
fn a_gap_is_read_over_and_shown() {
    let mut rig = Rig::new().listed(&[guard("errors")]);
    rig.second((50, 0), (450, 0));
    rig.stored_and_taken_up();
    rig.serve((1500, 3), (13_500, 30));
    rig.second += 30;
    rig.feed();
    assert_eq!(rig.counts(), [3100, 6, 27_900, 60]);
    assert_eq!(rig.view().unseen_s, 30.0);
}

#[test]
fn a_bad_streak_is_judged_before_the_next_measurement_is_due() {
    let mut slow = definitions();
    slow.get_mut("errors").unwrap().metrics[0].every = Duration::from_secs(30);
    let mut rig = Rig::new();
    rig.analyses = Analyses::new(slow, Duration::from_mins(30));
    rig = rig.listed(&[guard("errors")]);
    rig.second((20, 20), (180, 0));
    rig.check(Verdict::Pending);
    rig.feed_with(&rig.counted(), true);
    rig.check(Verdict::Fail);
}

#[test]
fn a_crash_looping_canary_fails_the_guard_that_needs_no_configuration() {
    let pods = |crash_looping| {
        let pod = |revision: &str, crash_looping: bool| PodHealth {
            revision: revision.into(),
            pod: "0".into(),
            ready: !crash_looping,
            leaving: false,
            restarts: 0,
            oom_kills: 0,
            crash_looping,
            usage: None,
        };
        [pod(V1, false), pod(V2, crash_looping)]
    };
    let mut rig = Rig::new();
    rig.list(&[guard(PODS)]);
    for second in 0..6 {
        let arms = rig.arms.clone();
        let looping = pods(second >= 3);
        let feed = Feed { counted: &[], pods: Some(&looping), arms: &arms, urgent: false };
        rig.analyses.feed(&feed, at(second));
        rig.check(if second < 4 { Verdict::Pending } else { Verdict::Fail });
    }
}

#[test]
fn what_clumps_on_stable_before_the_canary_divides_the_evidence() {
    let run = |clumped: bool| {
        let mut rig = Rig::new();
        let replicas = |minute: u64| {
            let failed = if clumped { [minute * 80, 0, 0, 0] } else { [minute * 20; 4] };
            (0..4).map(move |i| ReplicaCounts {
                replica: i.to_string().into(),
                revision: V1.into(),
                ended: minute * 1000,
                failed: failed[i],
                latency: vec![],
            })
        };
        rig.arms.canary = None;
        for minute in 0..=60 {
            rig.second = 60 * minute as i64;
            let mut counted = rig.counted();
            counted[0].replicas = replicas(minute).collect();
            rig.feed_with(&counted, false);
        }
        rig.arms.canary = Some(V2.into());
        rig = rig.listed(&[guard("errors")]);
        rig.second((50, 5), (450, 9));
        rig.view()
    };
    let phi = |view: &RunEvidence| view.metrics[0].evidence.as_ref().unwrap().phi;
    let (even, clumped) = (run(false), run(true));
    assert!(phi(&clumped) > 50.0 && phi(&even) < 1.2, "{} {}", phi(&clumped), phi(&even));
    assert!(!even.metrics[0].warnings.iter().any(|it| it.contains("dispersion unknown")));
    let mut unknown = Rig::new().listed(&[guard("errors")]);
    unknown.second((50, 5), (450, 9));
    assert!(unknown.view().metrics[0].warnings.iter().any(|it| it.contains("dispersion unknown")));
}

#[test]
fn slow_requests_that_clump_on_stable_beside_the_canary_divide_the_evidence() {
    let run = |slow: [u64; 2]| {
        let mut rig = Rig::new().listed(&[guard("latency")]);
        for second in 1..=25 {
            rig.serve((50, 1), (450, 9));
            rig.second += 1;
            let replica = |(i, slow): (usize, u64)| ReplicaCounts {
                replica: i.to_string().into(),
                revision: V1.into(),
                ended: 225 * second,
                failed: 0,
                latency: vec![(225 - slow) * second, slow * second],
            };
            let mut counted = rig.counted();
            counted[0].replicas = slow.into_iter().enumerate().map(replica).collect();
            rig.feed_with(&counted, false);
        }
        let metric = rig.view().metrics.remove(0);
        (metric.evidence.unwrap().phi, metric.warnings)
    };
    assert_eq!(run([4, 5]), (1.0, vec![]));
    let (phi, warnings) = run([9, 0]);
    assert!(50.0 < phi && warnings[0].contains("slow requests clump"), "{phi} {warnings:?}");
}

/// What can happen between two feeds.
#[derive(Clone, Debug)]
enum Event {
    Second { canary: (u64, u64), stable: (u64, u64) },
    Misses(usize),
    Restarts(usize),
    Withhold,
    Allow,
    Nothing,
    Weight(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let requests = |most: u64| (0..most, 0u64..3).prop_map(|(total, bad)| (total.max(bad), bad));
    prop_oneof![
        8 => (requests(60), requests(500)).prop_map(|(canary, stable)| Event::Second { canary, stable }),
        2 => (0usize..2).prop_map(Event::Misses),
        1 => (0usize..2).prop_map(Event::Restarts),
        1 => Just(Event::Withhold),
        2 => Just(Event::Allow),
        1 => Just(Event::Nothing),
        1 => (1u32..100).prop_map(Event::Weight),
    ]
}

const ALL: [&str; 3] = ["errors", "golden", "rate"];

impl Rig {
    /// Lets an event happen; `arranged` is how the workers' answers are handed in.
    fn happens(&mut self, event: &Event, arranged: impl Fn(Vec<Counted>) -> Vec<Counted>) {
        match event {
            Event::Second { canary, stable } => {
                self.serve(*canary, *stable);
                self.second += 1;
                self.feed_with(&arranged(self.counted()), false);
            }
            Event::Misses(worker) => {
                self.second += 1;
                let mut counted = self.counted();
                counted.remove(*worker);
                self.feed_with(&arranged(counted), false);
            }
            Event::Restarts(worker) => {
                let it = &mut self.workers[*worker];
                *it = Worker { start: it.start + 1, began: self.second, canary: (0, 0), stable: (0, 0) };
            }
            Event::Withhold => self.list(&ALL.map(withheld)),
            Event::Allow => self.list(&ALL.map(guard)),
            Event::Nothing => self.list(&[]),
            Event::Weight(percent) => self.arms.weight = Weight::from_percent(*percent),
        }
    }
}

proptest! {
    #[test]
    fn taken_up_from_any_checkpoint_equals_never_having_stopped(events in prop::collection::vec(event(), 1..60)) {
        let mut whole = Rig::new().listed(&ALL.map(guard));
        let mut interrupted = whole.clone();
        for event in &events {
            whole.happens(event, |it| it);
            interrupted.happens(event, |it| it);
            interrupted.stored_and_taken_up();
        }
        prop_assert_eq!(whole.analyses.checkpoint(), interrupted.analyses.checkpoint());
        prop_assert_eq!(whole.analyses.evidence(), interrupted.analyses.evidence());
        prop_assert_eq!(whole.analyses.wake(), interrupted.analyses.wake());
    }

    #[test]
    fn the_order_of_the_answers_and_repeated_ones_change_nothing(events in prop::collection::vec(event(), 1..60)) {
        let mut plain = Rig::new().listed(&ALL.map(guard));
        let mut turned = plain.clone();
        for event in &events {
            plain.happens(event, |it| it);
            turned.happens(event, |it| it.iter().rev().chain(&it).cloned().collect());
        }
        prop_assert_eq!(plain.analyses.checkpoint(), turned.analyses.checkpoint());
    }

    #[test]
    fn every_request_counts_once_whatever_is_missed(
        seconds in prop::collection::vec((0u64..60, 0u64..500, prop::option::of(0usize..2)), 1..60),
    ) {
        let mut rig = Rig::new().listed(&[guard("errors")]);
        let mut expected = [0; 4];
        for (canary, stable, missed) in seconds {
            rig.serve((canary, canary / 30), (stable, stable / 90));
            for (sum, more) in expected.iter_mut().zip([canary, canary / 30, stable, stable / 90]) {
                *sum += 2 * more;
            }
            let event = missed.map_or(Event::Second { canary: (0, 0), stable: (0, 0) }, Event::Misses);
            rig.happens(&event, |it| it);
        }
        rig.second((0, 0), (0, 0));
        if rig.view().ended.is_none() {
            prop_assert_eq!(rig.counts(), expected);
        }
    }

    #[test]
    fn samples_that_are_withheld_never_count(seconds in prop::collection::vec((any::<bool>(), 1u64..4), 1..20)) {
        let mut rig = Rig::new().listed(&[guard("errors")]);
        for (count, length) in seconds {
            if count {
                rig.second += 1;
                rig.list(&[guard("errors")]);
                rig.feed();
                rig.seconds(length, (50, 0), (450, 0));
            } else {
                rig.list(&[withheld("errors")]);
                rig.seconds(length, (50, 50), (450, 0));
                rig.serve((50, 50), (450, 0));
            }
        }
        prop_assert_eq!(rig.counts()[1], 0);
        rig.check(Verdict::Pending);
    }
}

#[test]
fn fresh_replicas_of_stable_are_compared_alone_and_belong_to_stable_for_all_others() {
    let mut definitions = definitions();
    let judge = r#"{"sequential":{"rollBack":{"worseThan":"1x"},"warmUp":"0s","baseline":"fresh"}}"#;
    definitions.insert("fresh".into(), errors(judge));
    let kept = r#"{"sequential":{"objective":"99%","warmUp":"0s","baseline":"fresh"}}"#;
    definitions.insert("kept-beside-fresh".into(), errors(kept));
    let mut analyses = Analyses::new(definitions, Duration::from_mins(30));
    let mut arms = Rig::new().arms;
    let run = [guard("errors"), guard("fresh"), guard("kept-beside-fresh")];
    let counted = |second: u64, fresh: Option<(u64, u64)>| {
        let series = |arm: Arm, ended: u64, failed: u64| Series {
            entry: "web".into(),
            arm,
            routed: Routed::Weight,
            begun: ended,
            ended,
            failed,
            latency: vec![ended, 0],
            answers: analysis::Answers::default(),
        };
        let fresh = fresh.map(|(ended, failed)| series(Arm::baseline(V1.into()), ended, failed));
        let own =
            [series(Arm::main(V2.into()), 10 * second, 0), series(Arm::main(V1.into()), 80 * second, 0)];
        vec![Counted {
            source: "0".into(),
            start: "0".into(),
            up: Duration::from_secs(100 + second),
            bounds: Arc::from([0.1]),
            series: own.into_iter().chain(fresh).collect(),
            replicas: vec![],
        }]
    };
    let total = |analyses: &Analyses, name: &str| {
        let all = analyses.evidence();
        let it = all.iter().find(|it| it.id.name.as_str() == name).unwrap();
        let evidence = it.metrics[0].evidence.clone();
        (evidence.map_or((0, 0), |it| (it.baseline.total, it.baseline.bad)), it.metrics[0].warnings.clone())
    };
    let feed = |analyses: &mut Analyses, arms: &ArmsNow, second: u64, fresh| {
        analyses.reconcile(&run, at(second as i64));
        analyses.feed(
            &Feed { counted: &counted(second, fresh), pods: None, arms, urgent: false },
            at(second as i64),
        );
    };
    (0..10).for_each(|second| feed(&mut analyses, &arms, second, None));
    let (counts, warnings) = total(&analyses, "fresh");
    assert_eq!(counts, (0, 0), "without fresh replicas nothing is compared");
    let kept = analyses.evidence().into_iter().find(|it| it.id.name.as_str() == "kept-beside-fresh").unwrap();
    assert_eq!(kept.metrics[0].evidence.as_ref().unwrap().canary.total, 90, "an objective needs none");
    assert!(warnings.iter().any(|it| it.contains("baseline: fresh")), "{warnings:?}");
    assert_eq!(total(&analyses, "errors").0, (80 * 9, 0));

    arms.fresh = Some(FreshNow { weight: Weight::from_percent(10) });
    (10..20).for_each(|second| feed(&mut analyses, &arms, second, Some((10 * (second - 9), second - 9))));
    let (counts, warnings) = total(&analyses, "fresh");
    assert_eq!(counts, (90, 9), "theirs alone, since they are there");
    assert!(!warnings.iter().any(|it| it.contains("baseline: fresh")), "{warnings:?}");
    let (all, bad) = total(&analyses, "errors").0;
    assert_eq!((all - 80 * 9 - 90) % 80, 0, "{all}: stable's and theirs together");
    assert_eq!(bad, 9);
}
