//! Whole rollouts in a world that obeys at once.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

#[path = "kind_world/clock.rs"]
mod clock;
#[path = "kind_world/missing.rs"]
mod missing;

use std::collections::BTreeMap;

use jiff::Timestamp;
use strategies::{
    Accepted, Acknowledged, Action, Activity, Amount, Arm, ArmSeen, Capacity, Cause, Change, Deadlines,
    Decision, Dest, Effect, End, Fence, Goal, Guard, HumanDuration, Leave, Mode, Next, OnVerdict, Order,
    Orders, Outcome, Phase, Plan, Ready, Revision, RouteKind, RoutePlan, RouteRest, RouteSeen, Samples, Seen,
    Sizing, StableCapacity, Status, Steering, Step, Verdict, WaitingFor, Wanted, Watches, Weight, Window,
    World, Write, decide,
    step::{Analyze, Approve, Bake, Until},
};

const REPLICAS: u32 = 4;

fn step(name: &str, percent: u32, leave: Leave) -> Step {
    let weight = Some(Weight::from_percent(percent));
    Step { name: name.into(), weight, matches: vec![], mirror: None, sticky: None, scale: None, leave }
}

fn plan() -> Plan {
    let until = || {
        let (min, max) = (HumanDuration::from_mins(1), HumanDuration::from_mins(30));
        Leave::Until(Until { analyses: vec!["golden".into()], min, max })
    };
    let route = RoutePlan {
        kind: RouteKind::Weighted { stable: None, canary: None },
        settle: HumanDuration::default(),
        finest: Weight::from_ppm(1),
        rest: RouteRest::OnStable,
    };
    Plan {
        mode: Mode::Active,
        steps: vec![
            step("ten", 10, until()),
            step("half", 50, until()),
            step("full", 100, Leave::Bake(Bake { length: HumanDuration::from_mins(5) })),
        ],
        guards: vec![Guard { name: "golden".into(), from: "ten".into(), watches: Watches::Traffic }],
        on_verdict: OnVerdict::default(),
        capacity: Capacity {
            stable: StableCapacity::Keep,
            surge: Amount::FULL,
            max_unavailable: Amount::ZERO,
            keep_canary: HumanDuration::from_secs(30),
        },
        deadlines: Deadlines::default(),
        rollback_window: None,
        sizing: Sizing::PerArm,
        steering: Steering::Routes([("web".into(), route)].into()),
        missing: vec![],
    }
}

/// A world that does at once what it is told, and a status that is saved.
struct Kind {
    plan: Plan,
    status: Status,
    orders: Orders,
    world: World,
    now: Timestamp,
    writes: Vec<Write>,
}

impl Kind {
    fn new(plan: Plan) -> Self {
        let now = Timestamp::UNIX_EPOCH;
        let routes = plan.routes().map(|(id, _)| (id.clone(), Seen::Absent)).collect();
        let wanted = Wanted { revision: "v1".into(), replicas: REPLICAS, scaler: None };
        let world = World {
            leaving: false,
            wanted: Seen::Is(wanted),
            arms: BTreeMap::new(),
            routes,
            owner: Seen::Absent,
            ran: BTreeMap::new(),
        };
        Self { plan, status: Status::new(now), orders: Orders::default(), world, now, writes: vec![] }
    }

    fn decide(&self) -> Decision {
        decide(&self.plan, &self.status, &self.orders, &self.world, self.now)
    }

    fn want(&mut self, revision: &str) {
        if let Seen::Is(wanted) = &mut self.world.wanted {
            wanted.revision = revision.into();
        }
    }

    fn order(&mut self, action: Action) {
        self.orders.0.push(Order {
            id: format!("order-{}", self.orders.0.len()).into(),
            action,
            revision: self.status.canary.clone().unwrap(),
            attempt: self.status.attempt,
            step: None,
            by: "someone".into(),
            reason: None,
            not_after: None,
        });
    }

    /// Lets it run until it rests; every gate answers `verdict`, and so does every guard unless it is a pass.
    fn settle(&mut self, verdict: Verdict) {
        for _ in 0..500 {
            let decision = self.decide();
            match decision.next {
                Next::Save(next) => {
                    assert_ne!(self.status, *next, "a save changes something");
                    self.status = *next;
                }
                Next::Write(write) => self.obey(*write),
                Next::Rest => {
                    let before = self.world.ran.len();
                    for activity in &decision.run {
                        let is_guard = matches!(activity.id().window, Window::From(_));
                        if !(is_guard && verdict == Verdict::Pass) {
                            let outcome = Outcome { verdict, because: None };
                            self.world.ran.entry(activity.id().clone()).or_insert(outcome);
                        }
                    }
                    let wake = decision.wake().filter(|at| *at > self.now);
                    match (self.world.ran.len() > before, wake) {
                        (true, _) => {}
                        (false, Some(at)) => self.now = at,
                        (false, None) => return,
                    }
                }
            }
        }
        panic!("never rests: {:?}", self.status);
    }

    fn obey(&mut self, write: Write) {
        let at = Fence::At(self.writes.len() as u64 + 1);
        let mut size = |arm: &Arm, replicas: u32| {
            let ready = Some(Ready::Replicas(replicas));
            let seen = ArmSeen { desired: replicas, ready, epoch: Some(write.epoch), fence: at };
            self.world.arms.insert(arm.clone(), Seen::Is(seen));
        };
        match &write.change {
            Change::Create(arm, replicas) => size(arm, *replicas),
            Change::Size(sizes) => sizes.iter().for_each(|(arm, replicas)| size(arm, *replicas)),
            Change::Claim(arm) => {
                if let Some(Seen::Is(seen)) = self.world.arms.get_mut(arm) {
                    (seen.epoch, seen.fence) = (Some(write.epoch), at);
                }
            }
            Change::Remove(arm) => drop(self.world.arms.remove(arm)),
            Change::Split(route, split) => {
                let acknowledged = Some(Acknowledged { split: split.clone(), since: self.now });
                let (asked, epoch) = (split.clone(), Some(write.epoch));
                let seen = RouteSeen { asked, epoch, acknowledged, manager: None, fence: at };
                self.world.routes.insert(route.clone(), Seen::Is(seen));
            }
            Change::Restore(_) | Change::Own(_) => panic!("nothing to restore and nobody to hand over to"),
        }
        self.writes.push(write);
    }

    fn weight_of(&self, revision: &str) -> Weight {
        let arm = Dest::Arm(Arm::main(revision.into()));
        self.world.route(&"web".into()).get().map_or(Weight::ZERO, |it| it.asked.weight_of(&arm))
    }

    /// Every weight that was asked for `revision`, in percent.
    fn weights_asked(&self, revision: &str) -> Vec<u32> {
        let arm = Dest::Arm(Arm::main(revision.into()));
        let split = |it: &Write| match &it.change {
            Change::Split(_, split) => Some(split.weight_of(&arm).ppm() / 10_000),
            _ => None,
        };
        self.writes.iter().filter_map(split).collect()
    }

    fn revisions(&self) -> Vec<Revision> {
        self.world.arms.keys().map(|it| it.revision.clone()).collect()
    }
}

fn with_stable() -> Kind {
    let mut kind = Kind::new(plan());
    kind.settle(Verdict::Pass);
    assert_eq!(kind.status.phase, Phase::Idle);
    assert_eq!(kind.weight_of("v1"), Weight::FULL);
    kind
}

#[test]
fn the_first_revision_is_brought_up_before_it_gets_traffic() {
    let kind = with_stable();
    assert_eq!(kind.status.stable, Some("v1".into()));
    assert!(matches!(kind.writes[0].change, Change::Create(..)));
    assert!(matches!(kind.decide().next, Next::Rest), "quiet afterwards");
}

#[test]
fn a_good_canary_takes_every_step_and_becomes_stable() {
    let mut kind = with_stable();
    kind.want("v2");
    kind.settle(Verdict::Pass);
    assert_eq!(kind.status.phase, Phase::Idle);
    assert_eq!(kind.status.stable, Some("v2".into()));
    assert_eq!(kind.revisions(), ["v2".into()]);
    assert_eq!(kind.weight_of("v2"), Weight::FULL);
    assert_eq!(kind.status.last.as_ref().map(|it| &it.end), Some(&End::Promoted));
    assert_eq!(kind.weights_asked("v2"), [0, 10, 50, 100, 100]);
}

#[test]
fn a_bad_canary_is_turned_back_and_stays_refused() {
    let mut kind = with_stable();
    kind.want("v2");
    kind.settle(Verdict::Fail);
    assert!(matches!(&kind.status.phase, Phase::RolledBack { cause: Cause::Analysis { .. } }));
    assert_eq!(kind.weight_of("v1"), Weight::FULL);
    assert_eq!(kind.revisions(), ["v1".into()]);
    let writes = kind.writes.len();
    kind.settle(Verdict::Pass);
    assert_eq!(kind.writes.len(), writes, "refused until retried");
    kind.order(Action::Retry);
    kind.settle(Verdict::Pass);
    assert_eq!(kind.status.stable, Some("v2".into()));
}

#[test]
fn an_inconclusive_gate_waits_for_a_person() {
    let mut kind = with_stable();
    kind.want("v2");
    kind.settle(Verdict::Inconclusive);
    assert!(matches!(&kind.status.phase, Phase::Stepping { step } if step.as_str() == "ten"));
    assert_eq!(kind.weight_of("v2"), Weight::from_percent(10));
    kind.order(Action::PromoteFull);
    kind.settle(Verdict::Pass);
    assert_eq!(kind.status.stable, Some("v2".into()));
}

#[test]
fn another_revision_goes_over_stable() {
    let mut kind = with_stable();
    kind.want("v2");
    kind.settle(Verdict::Inconclusive);
    kind.want("v3");
    kind.settle(Verdict::Pass);
    assert_eq!(kind.status.stable, Some("v3".into()));
    assert_eq!(kind.revisions(), ["v3".into()]);
    assert!(!kind.status.is_refused(&"v2".into()));
}

#[test]
fn the_goal_of_a_step_sums_up_those_before_it() {
    assert_eq!(plan().goal_at(1), Goal { weight: Weight::from_percent(50), ..Goal::home() });
}

#[test]
fn a_canary_that_loses_its_replicas_is_measured_on() {
    let mut kind = with_stable();
    kind.want("v2");
    kind.settle(Verdict::Inconclusive);
    kind.order(Action::Resume);
    let counted = |kind: &Kind| {
        let run = kind.decide().run;
        let counts = |it: &Activity| matches!(it, Activity::Analysis { samples: Samples::Count, .. });
        !run.is_empty() && run.iter().all(counts)
    };
    let ready = |kind: &mut Kind, replicas| {
        let Some(Seen::Is(seen)) = kind.world.arms.get_mut(&Arm::main("v2".into())) else {
            panic!("no canary")
        };
        seen.ready = Some(Ready::Replicas(replicas));
    };
    // Until the order is taken up and the first look after it.
    while let Next::Save(next) = kind.decide().next {
        kind.status = *next;
    }
    assert!(counted(&kind));
    ready(&mut kind, 0);
    for moment in ["it is noticed", "it is waited for"] {
        assert!(counted(&kind), "{moment}");
        if let Next::Save(next) = kind.decide().next {
            kind.status = *next;
        }
    }
    ready(&mut kind, 1);
    assert!(counted(&kind), "it is back");
}

/// At `half`, waiting for evidence that says nothing yet.
fn at_half() -> Kind {
    let mut kind = with_stable();
    for step in &mut kind.plan.steps[..2] {
        step.leave = Leave::Analyze(Analyze { analyses: vec!["golden".into()], length: None });
    }
    kind.want("v2");
    kind.settle(Verdict::Pending);
    kind.order(Action::Promote);
    kind.settle(Verdict::Pending);
    assert!(matches!(&kind.status.phase, Phase::Stepping { step } if step.as_str() == "half"));
    assert_eq!(kind.weight_of("v2"), Weight::from_percent(50));
    kind
}

fn waits_for(kind: &Kind) -> Vec<WaitingFor> {
    kind.decide().waiting.into_iter().map(|it| it.what).collect()
}

#[test]
fn a_passed_step_that_is_removed_takes_nobody_past_a_gate_or_a_bake() {
    let mut kind = at_half();
    kind.now += std::time::Duration::from_mins(20);
    kind.plan.steps.remove(0);
    kind.settle(Verdict::Pending);
    assert!(matches!(&kind.status.phase, Phase::Stepping { step } if step.as_str() == "half"));
    assert_eq!(kind.weight_of("v2"), Weight::from_percent(50));
}

#[test]
fn where_the_present_step_was_removed_a_person_says_how_to_go_on() {
    let mut kind = at_half();
    kind.plan.steps.remove(1);
    kind.settle(Verdict::Pass);
    let any_of = vec![Action::Resume, Action::Abort];
    assert_eq!(waits_for(&kind), [WaitingFor::StepGone { step: "half".into(), any_of }]);
    assert_eq!(kind.weight_of("v2"), Weight::from_percent(50));
    assert_eq!(kind.status.canary, Some("v2".into()), "it is not superseded by itself");
    kind.order(Action::Resume);
    kind.settle(Verdict::Pass);
    assert_eq!(kind.status.stable, Some("v2".into()));
}

#[test]
fn a_step_that_is_put_before_the_present_one_is_taken_first() {
    let mut kind = at_half();
    let epoch = kind.status.epoch;
    let quarter = step("quarter", 25, Leave::Approve(Approve::default()));
    kind.plan.steps.insert(1, quarter);
    kind.settle(Verdict::Pass);
    assert_eq!(waits_for(&kind), [WaitingFor::Approval { step: "quarter".into() }]);
    assert_eq!(kind.weight_of("v2"), Weight::from_percent(25));
    assert!(epoch < kind.status.epoch, "a share that falls is a change of authority");
}

#[test]
fn a_gate_that_becomes_another_was_not_passed() {
    let mut kind = at_half();
    kind.plan.steps[0].leave = Leave::Approve(Approve::default());
    kind.settle(Verdict::Pass);
    assert_eq!(waits_for(&kind), [WaitingFor::Approval { step: "ten".into() }]);
    assert_eq!(kind.weight_of("v2"), Weight::from_percent(10));
}

#[test]
fn a_status_that_remembers_its_step_by_place_is_read() {
    let kind = at_half();
    let mut stored = serde_json::to_value(&kind.status).unwrap();
    stored["phase"] = serde_json::json!({ "stepping": { "step": 1 } });
    stored.as_object_mut().unwrap().retain(|name, _| !["doing", "passed"].contains(&name.as_str()));
    let read: Status = serde_json::from_value(stored).unwrap();
    let settled = Kind { status: read.clone(), ..at_half() };
    let Next::Save(next) = settled.decide().next else { panic!("it is not taken up") };
    assert_eq!(*next, kind.status);
    let mut shortened = Kind { status: read, ..at_half() };
    shortened.plan.steps.truncate(1);
    assert!(matches!(waits_for(&shortened)[..], [WaitingFor::StepGone { .. }]), "{:?}", shortened.decide());
}

#[test]
fn an_order_that_has_nothing_to_do_does_nothing_later() {
    let mut kind = at_half();
    kind.order(Action::Retry);
    kind.order(Action::Resume);
    kind.settle(Verdict::Pending);
    let effects: Vec<_> = kind.status.accepted.iter().map(|it| (it.action, it.effect)).collect();
    let nothing = [(Action::Retry, Effect::Nothing), (Action::Resume, Effect::Nothing)];
    assert_eq!(effects[1..], nothing);
    kind.order(Action::Pause);
    kind.settle(Verdict::Pending);
    assert!(kind.status.hold.is_some(), "the resume of before lifts nothing");
    kind.order(Action::Abort);
    kind.settle(Verdict::Pending);
    assert!(matches!(kind.status.phase, Phase::RolledBack { .. }), "the retry of before begins nothing");
}

#[test]
fn more_orders_than_are_remembered_come_to_rest() {
    let mut kind = at_half();
    for _ in 0..40 {
        kind.order(Action::Pause);
        kind.order(Action::Resume);
    }
    kind.order(Action::Abort);
    kind.settle(Verdict::Pending);
    assert!(matches!(kind.status.phase, Phase::RolledBack { .. }), "there is always room for an abort");
    assert!(kind.status.accepted.len() <= Status::ORDERS + 2);
}

#[test]
fn an_order_as_it_was_stored_earlier_is_read() {
    let stored = r#"{"id":"a","action":"promote","by":"me","at":"2026-01-01T00:00:00Z","overrode":true}"#;
    let read: Accepted = serde_json::from_str(stored).unwrap();
    assert_eq!(read.effect, Effect::Overrode);
    let again: Accepted = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
    assert_eq!(again, read);
}

#[test]
fn a_failure_is_never_one_too_many_to_be_recorded() {
    let mut kind = at_half();
    let guard = |kind: &Kind| {
        let run = kind.decide().run;
        run.iter().find(|it| matches!(it.id().window, Window::From(_))).unwrap().id().clone()
    };
    for _ in 0..300 {
        let outcome = Outcome { verdict: Verdict::Inconclusive, because: None };
        kind.world.ran = [(guard(&kind), outcome)].into();
        kind.settle(Verdict::Pending);
        assert!(kind.status.hold.is_some());
        kind.orders.0.clear();
        kind.order(Action::Resume);
        kind.orders.0[0].id = format!("again-{}", kind.status.guards_again).into();
        kind.settle(Verdict::Pending);
        assert!(kind.status.hold.is_none());
        assert!(kind.status.verdicts.len() <= Status::VERDICTS);
    }
    kind.world.ran = [(guard(&kind), Outcome { verdict: Verdict::Fail, because: None })].into();
    kind.settle(Verdict::Pending);
    assert!(matches!(kind.status.phase, Phase::RolledBack { .. }));
}
