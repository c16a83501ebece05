//! How a rollout stands, for whoever asks and for whatever keeps it beside the status.

use std::collections::VecDeque;

use analysis::AnyJudge;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strategies::{
    Action, Arm, Change, Mode, Name, Next, Order, Orders, Phase, Plan, Revision, Role, Status, Waiting,
    Weight, World, decide,
};

use super::{environment::Environment, share, traffic::Traffic};
use crate::{
    analyses::{Analyses, Definition, Reads},
    api::view::{
        AddressView, AnalysisView, ArmRole, ArmView, FailureView, GivenOrder, PhaseName, RolloutView, Second,
        SightView, StepView, TrafficView, Trouble, WaitView, WeightView, words,
    },
    engine::Moment,
    spec::forecast::{Expected, Judged, sight_of_step},
};

/// How many times as many errors the view tells about, as `plan` does by default.
const MATTERS: f64 = 2.0;
/// Decisions that are shown.
const DECISIONS: usize = 20;

/// Everything that is shown of a rollout: a runtime that keeps it beside the status needs no engine to show it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Its name.
    pub name: Name,
    /// When this was put together.
    pub at: Timestamp,
    /// Whether the engine acts at all.
    pub mode: Mode,
    /// What is remembered.
    pub status: Status,
    /// The revision that is wanted.
    pub wanted: Revision,
    /// Version of the document.
    pub generation: u64,
    /// When the present attempt, or the bringing-up of the first revision, began.
    pub started: Option<Timestamp>,
    /// The place of the present step among the plan's.
    pub step: Option<usize>,
    /// The canary's share of the requests in each step.
    pub weights: Vec<Weight>,
    /// What the canary gets.
    pub weight: WeightView,
    /// The replicas of each revision, stable first.
    pub arms: Vec<ArmView>,
    /// What it waits for.
    pub waiting: Vec<Waiting>,
    /// What the analyses of this attempt say.
    pub analyses: Vec<AnalysisView>,
    /// What errors the present step can see.
    pub sight: Option<SightView>,
    /// Requests by revision.
    pub traffic: Vec<TrafficView>,
    /// What `traffic` was when the last attempt ended.
    pub last_traffic: Vec<TrafficView>,
    /// Requests of the last seconds.
    pub recent: Vec<Second>,
    /// Orders that would have an effect now.
    pub orders: Vec<Action>,
    /// Where users reach it.
    pub addresses: Vec<AddressView>,
    /// What is wrong with it.
    pub troubles: Vec<Trouble>,
    /// What replicas of the present or the last attempt failed of.
    pub failure: Option<FailureView>,
    /// Orders that took effect.
    pub given: Vec<GivenOrder>,
    /// The last decisions that did something, oldest first, at most 20.
    pub decided: VecDeque<Decided>,
}

/// A decision that did something.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// When.
    pub at: Timestamp,
    /// What.
    pub did: Did,
}

/// What a decision did.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Did {
    /// It saved a status in this phase.
    Save(Phase),
    /// It wrote this.
    Write(Change),
}

impl Decided {
    /// Takes down what was decided, and forgets the oldest.
    pub(super) fn note(all: &mut VecDeque<Self>, at: Timestamp, next: &Next) {
        let did = match next {
            Next::Rest => return,
            Next::Save(status) => Did::Save(status.phase.clone()),
            Next::Write(write) => Did::Write(write.change.clone()),
        };
        while DECISIONS <= all.len() {
            all.pop_front();
        }
        all.push_back(Self { at, did });
    }
}

/// How it stands, as callers see it.
#[must_use]
pub fn view(standing: &Standing) -> RolloutView {
    let it = standing.clone();
    let status = it.status;
    RolloutView {
        step: status.phase.step().cloned().map(|name| StepView {
            name,
            index: it.step.unwrap_or(status.passed.len()),
            count: it.weights.len(),
            weights: it.weights,
            held: status.held,
        }),
        name: it.name,
        namespace: None,
        at: it.at,
        mode: it.mode,
        phase: PhaseName::from(&status.phase),
        cause: match status.phase {
            Phase::Aborting { cause } | Phase::RolledBack { cause } => Some(cause),
            Phase::Adopting
            | Phase::Idle
            | Phase::Stepping { .. }
            | Phase::Promoting
            | Phase::Leaving
            | Phase::Left => None,
        },
        since: status.since,
        stable: status.stable,
        canary: status.canary,
        wanted: Some(it.wanted),
        generation: it.generation,
        attempt: status.attempt,
        started: it.started,
        epoch: status.epoch.0,
        weight: it.weight,
        arms: it.arms,
        waiting: it.waiting.into_iter().map(wait).collect(),
        hold: status.hold,
        analyses: it.analyses,
        sight: it.sight,
        traffic: it.traffic,
        last_traffic: it.last_traffic,
        recent: it.recent,
        last: status.last,
        orders: it.orders,
        addresses: it.addresses,
        troubles: it.troubles,
        failure: it.failure,
        given: it.given,
    }
}

fn wait(it: Waiting) -> WaitView {
    WaitView { text: words(&it.what), what: it.what, since: it.since, until: it.until }
}

/// What is known of a rollout besides what the engine's ports tell.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: Name,
    pub(super) generation: u64,
    pub(super) wanted: Revision,
    pub(super) traffic: Traffic,
    pub(super) failing: Option<Trouble>,
    pub(super) failure: Option<FailureView>,
    pub(super) decided: VecDeque<Decided>,
}

impl Known {
    /// How it stands at this moment.
    pub(super) fn standing<E: Environment>(
        &self,
        plan: &Plan,
        moment: &Moment<'_, E, Analyses>,
        now: Timestamp,
    ) -> Standing {
        let Moment { status, world, waiting, reasons, outside, activities } = moment;
        Standing {
            name: self.name.clone(),
            at: now,
            mode: plan.mode,
            status: (*status).clone(),
            wanted: self.wanted.clone(),
            generation: self.generation,
            started: self.traffic.began(),
            step: status.place(plan),
            weights: (0..plan.steps.len()).map(|it| plan.goal_at(it).weight).collect(),
            weight: WeightView {
                baseline: outside.fresh().map_or(Weight::ZERO, |it| it.weight),
                ..share::weight_view(plan, status, *world, now)
            },
            arms: arms(status, *outside),
            waiting: waiting.to_vec(),
            // Evidence of the attempt before is kept until this one has its own, and says nothing about it.
            analyses: (activities.evidence().into_iter())
                .filter(|it| it.id.attempt == status.attempt)
                .map(AnalysisView::from)
                .collect(),
            sight: self.sight(plan, status, activities, now),
            traffic: self.traffic.now(status),
            last_traffic: self.traffic.last().to_vec(),
            recent: self.traffic.recent(),
            orders: world.map(|it| open_orders(plan, status, it, now)).unwrap_or_default(),
            addresses: outside.addresses(),
            troubles: self.failing.clone().into_iter().chain(outside.troubles()).collect(),
            failure: self.failure.clone(),
            given: given(status, |id| reasons.get(id).cloned()),
            decided: self.decided.clone(),
        }
    }

    /// What the present step can see at the traffic of this attempt.
    fn sight(&self, plan: &Plan, status: &Status, analyses: &Analyses, now: Timestamp) -> Option<SightView> {
        let index = status.place(plan)?;
        let traffic = self.traffic.now(status);
        let seconds = now.duration_since(self.traffic.began()?).as_secs_f64();
        let stable = traffic.iter().find(|it| it.role == ArmRole::Stable).filter(|it| 0 < it.failed)?;
        let expected = Expected {
            requests_per_s: traffic.iter().map(|it| it.requests as f64).sum::<f64>() / seconds,
            error_rate: stable.failed as f64 / stable.requests as f64,
            matters: MATTERS,
        };
        let guards = plan.guards.iter().map(|it| &it.name);
        let definitions = analyses.definitions();
        let judged = guards.filter_map(|it| definitions.get(it)).find_map(judged)?;
        let sight = sight_of_step(plan, index, expected, judged)?;
        Some(SightView {
            requests_per_s: expected.requests_per_s,
            error_rate: expected.error_rate,
            matters: MATTERS,
            detect_s: sight.detect.map(|it| it.as_secs_f64()),
            damage: sight.damage,
            smallest: sight.smallest,
        })
    }
}

/// The judge of errors, as the planner wants to know it: the first that compares counts.
fn judged(it: &Definition) -> Option<Judged<'_>> {
    let counted = || it.metrics.iter().filter(|it| !it.dry_run);
    let total: f64 = counted().map(|it| it.weight).sum();
    counted().filter(|it| it.reads == Reads::Errors).find_map(|it| match &it.judge {
        AnyJudge::Sequential(judge) => {
            Some(Judged { judge, part: it.weight / total, poll_s: it.every.as_secs_f64() })
        }
        AnyJudge::Threshold(_)
        | AnyJudge::Pods(_)
        | AnyJudge::Answers(_)
        | AnyJudge::Leak(_)
        | AnyJudge::Kayenta(_)
        | AnyJudge::FixedHorizon(_) => None,
    })
}

fn arms(status: &Status, environment: &impl Environment) -> Vec<ArmView> {
    let role = |arm: &Arm| {
        if arm.role == Role::Baseline {
            ArmRole::Baseline
        } else if Some(&arm.revision) == status.stable.as_ref() || status.stable.is_none() {
            ArmRole::Stable
        } else if Some(&arm.revision) == status.canary.as_ref() {
            ArmRole::Canary
        } else {
            ArmRole::Former
        }
    };
    let one = |it: super::environment::ArmNow| ArmView {
        role: role(&it.arm),
        desired: it.desired,
        ready: it.ready,
        replicas: it.replicas,
        revision: it.arm.revision,
    };
    let mut arms: Vec<ArmView> = environment.arms().into_iter().map(one).collect();
    arms.sort_by(|a, b| (a.role, &a.revision).cmp(&(b.role, &b.revision)));
    arms
}

/// The orders that took effect, as the status remembers them, with why they were given.
fn given(status: &Status, reason: impl Fn(&Name) -> Option<Name>) -> Vec<GivenOrder> {
    let one = |it: &strategies::Accepted| GivenOrder {
        action: it.action,
        by: it.by.clone(),
        at: it.at,
        reason: reason(&it.id),
    };
    status.accepted.iter().filter(|it| it.had_effect()).map(one).collect()
}

/// The orders that would take effect if they were given now: asked of the machine itself.
fn open_orders(plan: &Plan, status: &Status, world: &World, now: Timestamp) -> Vec<Action> {
    const ID: &str = "(would it?)";
    let Some(canary) = &status.canary else { return vec![] };
    let would = |action: &Action| {
        let order = Order {
            id: ID.into(),
            action: *action,
            revision: canary.clone(),
            attempt: status.attempt,
            step: None,
            by: "(nobody)".into(),
            reason: None,
            not_after: None,
        };
        match decide(plan, status, &Orders(vec![order]), world, now).next {
            Next::Save(next) => next.accepted.iter().any(|it| it.id.as_str() == ID && it.had_effect()),
            Next::Rest | Next::Write(_) => false,
        }
    };
    Action::ALL.into_iter().filter(would).collect()
}
