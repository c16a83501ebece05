//! What the documents refer to and nobody has, and what a person lets measure again.

use std::time::Duration;

use jiff::Timestamp;
use strategies::{
    Action, Consequence, Effect, Hold, HumanDuration, Leave, Missing, Next, Phase, Plan, Status, Verdict,
    WaitingFor,
    step::{Analyze, Pause},
};

use super::{Kind, plan, step};

impl Kind {
    /// Everything that can be done at this moment.
    pub(super) fn rest(&mut self) {
        loop {
            match self.decide().next {
                Next::Save(next) => self.status = *next,
                Next::Write(write) => self.obey(*write),
                Next::Rest => return,
            }
        }
    }
}

fn missing(analysis: &str) -> Missing {
    Missing { what: format!("AnalysisTemplate {analysis}").into(), analyses: [analysis.into()].into() }
}

fn waits_for_missing(kind: &Kind) -> bool {
    let what: Vec<_> = kind.plan.missing.iter().map(|it| it.what.clone()).collect();
    kind.decide().waiting.iter().any(|it| it.what == WaitingFor::Missing { what: what.clone() })
}

#[test]
fn nothing_starts_while_something_is_missing_and_it_starts_as_soon_as_it_is_there() {
    let mut kind = Kind::new(plan());
    kind.settle(Verdict::Pass);
    kind.plan.missing = vec![missing("golden")];
    kind.want("v2");
    let writes = kind.writes.len();
    kind.settle(Verdict::Pass);
    assert_eq!((&kind.status.phase, kind.writes.len()), (&Phase::Idle, writes));
    assert!(waits_for_missing(&kind), "{:?}", kind.decide().waiting);
    kind.plan.missing.clear();
    kind.settle(Verdict::Pass);
    assert_eq!(kind.status.stable, Some("v2".into()));
}

#[test]
fn a_gate_that_goes_missing_holds_its_step_and_measures_anew_however_long_it_was_away() {
    let mut kind = Kind::new(Plan { guards: vec![], ..plan() });
    kind.plan.on_verdict.inconclusive = Consequence::RollBack;
    kind.settle(Verdict::Pass);
    kind.want("v2");
    kind.rest();
    let until = |kind: &Kind| assert_eq!(kind.status.phase, Phase::Stepping { step: "ten".into() });
    until(&kind);
    kind.plan.missing = vec![missing("golden")];
    kind.settle(Verdict::Pass);
    assert!(waits_for_missing(&kind), "{:?}", kind.decide().waiting);
    assert_eq!(kind.decide().run, vec![], "nobody is asked what is not there");
    kind.now += Duration::from_secs(86_400);
    kind.settle(Verdict::Pass);
    until(&kind);
    kind.plan.missing.clear();
    kind.rest();
    until(&kind);
    assert_eq!(kind.status.held, Some(kind.now), "its time begins anew");
    kind.settle(Verdict::Pass);
    assert_eq!(kind.status.stable, Some("v2".into()));
}

#[test]
fn a_guard_or_a_later_gate_that_goes_missing_holds_the_steps_until_a_person_goes_on() {
    for (analysis, action, ends) in [
        ("golden", Action::PromoteFull, Some("v2")),
        ("golden", Action::Promote, None),
        ("golden", Action::Abort, Some("v1")),
        ("later", Action::PromoteFull, Some("v2")),
    ] {
        let mut plan = plan();
        plan.steps[0] = step("ten", 10, Leave::Pause(Pause { length: Some(HumanDuration::from_mins(1)) }));
        plan.steps[1] = step(
            "half",
            50,
            Leave::Analyze(Analyze {
                analyses: vec!["later".into()],
                length: Some(HumanDuration::from_mins(1)),
            }),
        );
        let mut kind = Kind::new(plan);
        kind.settle(Verdict::Pass);
        kind.plan.missing = vec![];
        kind.want("v2");
        while kind.status.phase.step().is_none() {
            let Next::Save(next) = kind.decide().next else { panic!("it starts") };
            kind.status = *next;
        }
        kind.plan.missing = vec![missing(analysis)];
        kind.settle(Verdict::Pass);
        assert_eq!(kind.status.phase, Phase::Stepping { step: "ten".into() }, "{analysis}");
        assert!(waits_for_missing(&kind), "{:?}", kind.decide().waiting);
        kind.order(action);
        kind.settle(Verdict::Pass);
        match ends {
            Some(stable) => assert_eq!(kind.status.stable, Some(stable.into()), "{analysis} {action:?}"),
            None => {
                assert_eq!(kind.status.phase, Phase::Stepping { step: "half".into() }, "one step, then held")
            }
        }
        let overrode = kind.status.accepted.iter().any(|it| it.effect == Effect::Overrode);
        assert_eq!(overrode, action != Action::Abort, "{analysis} {action:?} {:?}", kind.status.accepted);
    }
}

#[test]
fn what_is_missing_behind_a_rollout_holds_nothing() {
    let mut kind = Kind::new(Plan { guards: vec![], ..plan() });
    kind.plan.steps[1] = step("half", 50, Leave::Pause(Pause { length: None }));
    kind.settle(Verdict::Pass);
    kind.want("v2");
    kind.settle(Verdict::Pass);
    assert_eq!(kind.status.phase, Phase::Stepping { step: "half".into() });
    kind.plan.missing = vec![missing("golden")];
    assert!(!waits_for_missing(&kind), "{:?}", kind.decide().waiting);
}

#[test]
fn an_analysis_that_a_person_lets_measure_again_has_its_whole_time() {
    let mut kind = Kind::new(Plan { guards: vec![], ..plan() });
    kind.settle(Verdict::Pass);
    kind.want("v2");
    kind.settle(Verdict::Inconclusive);
    assert!(matches!(kind.status.hold, Some(Hold::Verdict { .. })), "{:?}", kind.status.hold);
    kind.now += Duration::from_secs(7_200);
    kind.order(Action::Resume);
    kind.rest();
    assert_eq!(kind.status.hold, None, "nobody has said anything yet");
    assert_eq!(kind.decide().run.len(), 1);
    kind.settle(Verdict::Pass);
    assert_eq!(kind.status.stable, Some("v2".into()));
}

#[test]
fn a_plan_that_was_written_down_before_anything_could_be_missing_reads() {
    let mut json = serde_json::to_value(plan()).unwrap();
    json.as_object_mut().unwrap().remove("missing");
    assert_eq!(serde_json::from_value::<Plan>(json).unwrap(), plan());
    let mut json = serde_json::to_value(Status::new(Timestamp::UNIX_EPOCH)).unwrap();
    json.as_object_mut().unwrap().remove("measuring");
    assert_eq!(serde_json::from_value::<Status>(json).unwrap(), Status::new(Timestamp::UNIX_EPOCH));
}
