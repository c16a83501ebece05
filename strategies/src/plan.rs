use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::mutant::rule;
use crate::{
    Activity, Amount, Doing, Gate, Goal, HumanDuration, LeaveBehavior, Name, RouteId, Scale, Status, Step,
    Weight,
};

/// A rollout with every default resolved and everything checked: what [`decide`](crate::decide) works on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Whether the engine acts at all.
    pub mode: Mode,
    /// What to do, in order. Every strategy compiles to this list; the last step asks for all traffic.
    pub steps: Vec<Step>,
    /// Analyses that must not fail while a canary gets traffic.
    pub guards: Vec<Guard>,
    /// What a verdict leads to.
    pub on_verdict: OnVerdict,
    /// How many replicas may be where.
    pub capacity: Capacity,
    /// How long things may take.
    pub deadlines: Deadlines,
    /// Going back to a recent stable revision skips the steps. `None`: it does not.
    pub rollback_window: Option<RollbackWindow>,
    /// How replicas are moved.
    pub sizing: Sizing,
    /// How traffic is moved.
    pub steering: Steering,
    /// What the documents refer to and nobody has. It holds the rollout: none starts, and no step is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// Something that the documents refer to and nobody has.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// What, for people: `AnalysisTemplate golden-signals`.
    pub what: Name,
    /// The analyses of the plan that cannot be asked without it. Empty: the rollout as a whole needs it.
    pub analyses: BTreeSet<Name>,
}

/// Whether the engine acts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// It does.
    #[default]
    Active,
    /// It goes no step further and starts nothing new; it still turns back.
    Paused,
    /// It writes nothing at all: native updates pass. The break-glass.
    Off,
}

/// An analysis that runs beside the steps.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// Its name in the document.
    pub name: Name,
    /// The step it begins with; its window spans all that follow.
    pub from: Name,
    /// What it looks at, which says when in that step it begins.
    #[serde(default)]
    pub watches: Watches,
}

/// What a guard looks at.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Watches {
    /// What users are answered: it begins once the step's goal was seen to hold, and counts at settled splits only.
    #[default]
    Traffic,
    /// The replicas themselves: it begins with the step and always counts, so that a canary that never gets as far as
    /// traffic is judged too.
    Replicas,
}

/// What a verdict that is no pass leads to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OnVerdict {
    /// An analysis failed. Default `rollBack`.
    pub fail: Consequence,
    /// An analysis ended without a conclusion. Default `pause`.
    pub inconclusive: Consequence,
    /// An analysis could not measure. Default `pause`: a metric outage never rolls a fleet back.
    pub error: Consequence,
}

impl Default for OnVerdict {
    fn default() -> Self {
        Self { fail: Consequence::RollBack, inconclusive: Consequence::Pause, error: Consequence::Pause }
    }
}

/// What happens then.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Consequence {
    /// Everything back to stable.
    RollBack,
    /// Stay where we are until a person says how to go on.
    #[default]
    Pause,
}

/// How many replicas may be where.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// What happens to stable's replicas as the canary grows.
    pub stable: StableCapacity,
    /// Replicas above the wanted number, of both sides together, as a share of it.
    pub surge: Amount,
    /// Replicas that may be missing, as a share of the wanted number. It lowers what a share of traffic needs.
    pub max_unavailable: Amount,
    /// How long the canary's replicas stay after an abort, to be looked at.
    pub keep_canary: HumanDuration,
}

/// What happens to stable's replicas as the canary grows.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StableCapacity {
    /// They stay, so that turning back never waits for a start.
    #[default]
    Keep,
    /// They follow the traffic down, once the data plane has settled.
    Follow,
    /// They make room first: for machines without a spare replica.
    InPlace,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Deadlines {
    /// Time one step may spend waiting for replicas, data plane or hand-over. Default 10 m.
    pub progress: HumanDuration,
    /// Time an abort may spread over while stable gets ready; then everything goes to stable at once. Default 2 m.
    pub abort: HumanDuration,
    /// What the progress deadline leads to. Default `rollBack`.
    pub then: Consequence,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            progress: HumanDuration::from_mins(10),
            abort: HumanDuration::from_mins(2),
            then: Consequence::RollBack,
        }
    }
}

/// Which former stable revisions are trusted without being looked at again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackWindow {
    /// So many revisions back at most, up to 16.
    pub revisions: u32,
    /// Promoted at most so long ago.
    pub age: HumanDuration,
}

/// How replicas are moved.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Sizing {
    /// Each arm has its own number.
    PerArm,
    /// One number moves both sides: a StatefulSet's partition.
    Partition,
    /// The platform scales with the traffic: Knative.
    Elastic,
    /// Somebody else runs the replicas.
    Fixed,
}

/// How traffic is moved.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Steering {
    /// By the routes listed.
    Routes(BTreeMap<RouteId, RoutePlan>),
    /// By the ratio of replicas behind one load balancer.
    Ratio,
}

/// One route and how it is to be used.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutePlan {
    /// Its part in the DAG.
    pub kind: RouteKind,
    /// How long the data plane may lag behind its own acknowledgement.
    pub settle: HumanDuration,
    /// Weights are multiples of this.
    pub finest: Weight,
    /// What it looks like when no rollout runs.
    pub rest: RouteRest,
}

/// The part a route has in the DAG.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteKind {
    /// Where requests come in and are divided by weight, match and mirror.
    Weighted {
        /// The route that leads to stable. `None`: the arm itself.
        stable: Option<RouteId>,
        /// The route that leads to the canary. `None`: the arm itself.
        canary: Option<RouteId>,
    },
    /// Leads to stable: a `-stable` Service. Pinned to the revision while a rollout runs.
    ToStable,
    /// Leads to the canary: a `-canary` Service.
    ToCanary,
    /// Where requests come in beside the weighted entries: the user's own Service, pinned to stable while a
    /// rollout runs.
    Direct,
    /// Where requests come in beside the weighted entries and nobody is kept from the canary: the user's own Service, which is
    /// never written. Its clients meet both sides in proportion to their ready replicas.
    Proportional,
}

/// What a route looks like when no rollout runs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteRest {
    /// It stays ours: everything to stable.
    OnStable,
    /// Unpinned: it serves every ready replica of the workload.
    ByReady,
    /// As its owner wrote it: everything to this route, which is not ours to weigh.
    Through(RouteId),
}

impl Plan {
    /// What should hold in step `index`: every earlier step applied in order. Beyond the last step, the last.
    #[must_use]
    pub fn goal_at(&self, index: usize) -> Goal {
        self.steps.iter().take(index.saturating_add(1)).fold(Goal::home(), |goal, step| step.goal(&goal))
    }

    /// What the step at `index` asks for; `None` beyond the last step.
    #[must_use]
    pub fn doing(&self, index: usize) -> Option<Doing> {
        Some(Doing { goal: self.goal_at(index), leave: self.steps.get(index)?.leave.clone() })
    }

    /// Replicas of the canary where `total` carry everything. Where replicas are the split its weight alone says how many,
    /// rounded down and at least one; otherwise its traffic and its scale do.
    #[must_use]
    pub fn canary_replicas(&self, goal: &Goal, total: u32) -> u32 {
        if total == 0 {
            return 0;
        }
        let within = match self.steering {
            Steering::Routes(_) => return goal.canary_replicas(total).min(self.most_beside(goal, total)),
            Steering::Ratio if rule!(RatioScales, false) => return goal.canary_replicas(total),
            Steering::Ratio => goal.weight.replicas_within(total),
        };
        let least = u32::from(goal.weight != Weight::ZERO);
        match self.sizing {
            // One number moves both sides: of a single replica there is no part.
            Sizing::Partition if goal.weight != Weight::FULL => within.max(least).min(total - 1),
            Sizing::Partition | Sizing::PerArm | Sizing::Elastic | Sizing::Fixed => within.max(least),
        }
    }

    /// The most replicas of the canary that leave no more to it of what comes in by a Service that is never written than its
    /// weight says: in proportion to stable's, rounded down, and what the weight needs.
    fn most_beside(&self, goal: &Goal, total: u32) -> u32 {
        let capped = self.is_shared() && !rule!(SharedUncapped, false);
        if !capped {
            return u32::MAX;
        }
        let scale = match self.capacity.stable {
            StableCapacity::Keep => Scale::Even,
            StableCapacity::Follow | StableCapacity::InPlace => Scale::Traffic,
        };
        Goal { weight: goal.weight, scale, ..Goal::home() }.canary_replicas(total)
    }

    /// Whether some requests follow the ready replicas, whatever the routes say.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.routes().any(|(_, route)| route.kind == RouteKind::Proportional)
    }

    /// The routes that are written; one that nobody is kept from is not.
    pub(crate) fn written(&self) -> impl Iterator<Item = (&RouteId, &RoutePlan)> {
        self.routes().filter(|(_, route)| route.kind != RouteKind::Proportional)
    }

    /// Replicas of stable beside that many of the canary. A part never takes stable's last replica.
    #[must_use]
    pub fn stable_replicas(&self, goal: &Goal, total: u32) -> u32 {
        let rest = total.saturating_sub(self.canary_replicas(goal, total));
        let least = u32::from(goal.weight != Weight::FULL).min(total);
        match (&self.steering, self.capacity.stable) {
            // One load balancer serves both sides alike, so the replicas are the split.
            (Steering::Ratio, _) if rule!(RatioTakesAll, false) => rest,
            (Steering::Ratio, _) => rest.max(least),
            (Steering::Routes(_), StableCapacity::InPlace) => rest,
            (Steering::Routes(_), StableCapacity::Keep) => total,
            (Steering::Routes(_), StableCapacity::Follow) => goal.weight.complement().replicas_of(total),
        }
    }

    /// The routes that requests may meet where a route leads to this one. Several Services are moved together, and a split
    /// names the sides of one of them for all: which of them a request is for, nobody knows here.
    pub fn alike<'a>(&'a self, id: &'a RouteId) -> impl Iterator<Item = &'a RouteId> {
        let kind = self.routes().find(|(it, _)| *it == id).map(|(_, route)| &route.kind);
        let side = kind.filter(|it| matches!(it, RouteKind::ToStable | RouteKind::ToCanary));
        let others = self.routes().filter(move |(it, route)| *it != id && Some(&route.kind) == side);
        std::iter::once(id).chain(others.map(|(it, _)| it).filter(|_| !rule!(OneService, false)))
    }

    /// The routes; none where traffic follows the ratio of replicas.
    pub fn routes(&self) -> impl Iterator<Item = (&RouteId, &RoutePlan)> {
        match &self.steering {
            Steering::Routes(routes) => Some(routes.iter()),
            Steering::Ratio => None,
        }
        .into_iter()
        .flatten()
    }

    /// Whether everything is there that this activity asks.
    pub(crate) fn can_ask(&self, activity: &Activity) -> bool {
        match activity {
            Activity::Analysis { analyses, .. } => self.can_ask_all(analyses),
            Activity::Hook { .. } | Activity::Preflight { .. } => true,
        }
    }

    /// Whether everything is there that must pass at this gate.
    pub(crate) fn can_ask_at(&self, gate: &Gate) -> bool {
        match gate {
            Gate::Evidence(analyses) => self.can_ask_all(analyses),
            Gate::Open | Gate::Person => true,
        }
    }

    fn can_ask_all(&self, analyses: &[Name]) -> bool {
        !self.missing.iter().any(|it| analyses.iter().any(|name| it.analyses.contains(name)))
    }

    /// What is missing of all that the rollout still needs: for the present step, those after it, and the guards.
    pub(crate) fn lacks(&self, status: &Status) -> Vec<Name> {
        let place = status.place(self);
        let ahead = self.steps.iter().enumerate().filter(|(at, step)| match place {
            Some(place) => *at > place,
            None => !status.has_passed(step),
        });
        let gates = ahead.map(|(_, step)| step.leave.gate());
        let gates: Vec<Gate> = gates.chain(status.doing.as_ref().map(|it| it.leave.gate())).collect();
        let at_a_gate = |it: &Missing| {
            gates.iter().any(|gate| match gate {
                Gate::Evidence(analyses) => analyses.iter().any(|name| it.analyses.contains(name)),
                Gate::Open | Gate::Person => false,
            })
        };
        let guards = |it: &Missing| self.guards.iter().any(|guard| it.analyses.contains(&guard.name));
        let needed = self.missing.iter().filter(|it| it.analyses.is_empty() || guards(it) || at_a_gate(it));
        needed.map(|it| it.what.clone()).collect()
    }

    /// The step of that name.
    #[must_use]
    pub fn step_named(&self, name: &Name) -> Option<usize> {
        self.steps.iter().position(|it| it.name == *name)
    }

    /// Index of the last step, which asks for all traffic.
    #[must_use]
    pub fn last_step(&self) -> usize {
        self.steps.len().saturating_sub(1)
    }
}
