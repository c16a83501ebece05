//! Steps of a plan: what holds, then when to leave.
//!
//! Adding a way to leave: write `step/<name>.rs` with a type that implements [`LeaveBehavior`], then add one
//! line to `leaves!` below. The property tests and the model checker pick it up from there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mutant::rule;
use crate::{
    Activity, ActivityId, Cause, Name, Outcome, RequestMatch, Revision, Sticky, Verdict, WaitingFor, Weight,
    Window,
};

/// One step of a plan.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Unique within the plan.
    pub name: Name,
    /// The canary's share of the requests. `None`: as before.
    pub weight: Option<Weight>,
    /// Requests that go to the canary whatever the weight, by id; an empty list ends an earlier match.
    pub matches: Vec<StepMatch>,
    /// Share of requests copied to the canary. `None`: as before, as far as stable still answers so many.
    pub mirror: Option<Weight>,
    /// Whether clients stay where they are sent. `None`: as before.
    pub sticky: Option<Sticky>,
    /// How large the canary is. `None`: as before; at first [`Scale::Traffic`].
    pub scale: Option<Scale>,
    /// When the step ends.
    pub leave: Leave,
}

/// Requests that go to the canary by what they carry.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepMatch {
    /// What later steps and counters call it.
    pub id: Name,
    /// It applies if any of these holds. Empty: it ends.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub any_of: Vec<RequestMatch>,
}

/// How large the canary is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Scale {
    /// As large as its share of the traffic needs.
    #[default]
    Traffic,
    /// As large as needed for one of its replicas to get as many requests as one of stable's, which keeps all of its own,
    /// rounded down; or more where the traffic needs more.
    Even,
    /// This share of the wanted replicas, or more where the traffic needs more.
    Share(Weight),
    /// So many replicas, or more where the traffic needs more.
    Replicas(u32),
}

/// What a plan asks for at one step, in terms of stable and canary.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Goal {
    /// The canary's share of the requests.
    pub weight: Weight,
    /// Requests that go to the canary whatever the weight.
    pub matches: BTreeMap<Name, Vec<RequestMatch>>,
    /// Share of requests copied to the canary.
    pub mirror: Weight,
    /// Whether clients stay where they are sent.
    pub sticky: Option<Sticky>,
    /// How large the canary is.
    pub scale: Scale,
}

impl Goal {
    /// Everything on stable: where a rollout starts and where a failed one ends.
    #[must_use]
    pub fn home() -> Self {
        Self::default()
    }

    /// Whether the canary gets nothing here that it would not get under `other`.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        self.weight <= other.weight
            && self.mirror <= other.mirror
            && self.matches.iter().all(|(id, any_of)| other.matches.get(id) == Some(any_of))
    }

    /// Whether the canary gets any request or copy at all.
    #[must_use]
    pub fn reaches_canary(&self) -> bool {
        self.weight != Weight::ZERO || self.mirror != Weight::ZERO || !self.matches.is_empty()
    }

    /// Replicas of a canary beside a router, where `total` carry everything: never fewer than its traffic needs.
    #[must_use]
    pub fn canary_replicas(&self, total: u32) -> u32 {
        let traffic = self.weight.saturating_add(self.mirror).replicas_of(total);
        let traffic = if self.reaches_canary() { traffic.max(1) } else { 0 };
        match self.scale {
            Scale::Traffic => traffic,
            Scale::Even => traffic.max(self.even_replicas(total)),
            Scale::Share(share) => traffic.max(share.replicas_of(total)),
            Scale::Replicas(replicas) => traffic.max(replicas),
        }
    }

    /// Replicas of the canary, at most `total`, that get as many requests each as one of stable's `total`, rounded down.
    fn even_replicas(&self, total: u32) -> u32 {
        let (canary, stable) = (self.weight.saturating_add(self.mirror), self.weight.complement());
        let even = u64::from(total) * u64::from(canary.ppm()) / u64::from(stable.ppm().max(1));
        u32::try_from(even).map_or(total, |it| it.min(total))
    }
}

impl Step {
    /// What this step asks for, given what the step before it asked for.
    #[must_use]
    pub fn goal(&self, before: &Goal) -> Goal {
        let weight = self.weight.unwrap_or(before.weight);
        let mut matches = before.matches.clone();
        for it in &self.matches {
            match it.any_of.is_empty() {
                true => matches.remove(&it.id),
                false => matches.insert(it.id.clone(), it.any_of.clone()),
            };
        }
        // Only what stable answers can be copied, so the mirror shrinks as the canary grows.
        let mirror = self.mirror.unwrap_or(before.mirror).min(weight.complement());
        let sticky = self.sticky.clone().or_else(|| before.sticky.clone());
        Goal { weight, matches, mirror, sticky, scale: self.scale.unwrap_or(before.scale) }
    }
}

/// What a step may look at to say whether it is over. The goal is known to hold.
pub struct StepSeen<'a> {
    /// The attempt, for the names of its activities.
    pub attempt: u32,
    /// The revision on trial.
    pub revision: &'a Revision,
    /// The step's name.
    pub step: &'a Name,
    /// When the step's goal was first seen to hold.
    pub held: Timestamp,
    /// The time of this decision.
    pub now: Timestamp,
    /// What has been recorded, by activity. A verdict counts only once it is saved.
    pub verdicts: &'a BTreeMap<ActivityId, Outcome>,
    /// How often what was measured in a step was given up in this attempt.
    pub again: u32,
    /// Whether a person approved this step.
    pub approved: bool,
}

impl StepSeen<'_> {
    /// The id of the activity `name` of this step.
    #[must_use]
    pub fn activity(&self, name: &str) -> ActivityId {
        ActivityId {
            attempt: self.attempt,
            revision: self.revision.clone(),
            window: Window::Step(self.step.clone()),
            name: name.into(),
            again: self.again,
        }
    }

    /// The saved verdict of that activity; pending where there is none.
    #[must_use]
    pub fn verdict(&self, id: &ActivityId) -> Verdict {
        let verdict = self.verdicts.get(id).map_or(Verdict::Pending, |it| it.verdict);
        let passes = match verdict {
            Verdict::Pass => true,
            Verdict::Pending => rule!(MissingPasses, false),
            Verdict::Fail => rule!(FailPasses, false),
            Verdict::Inconclusive => rule!(InconclusivePasses, false),
            Verdict::Error => rule!(ErrorPasses, false),
        };
        if passes { Verdict::Pass } else { verdict }
    }

    /// The end of a time that began when the goal was first seen to hold; `None` beyond the calendar.
    #[must_use]
    pub fn end_of(&self, length: std::time::Duration) -> Option<Timestamp> {
        self.held.checked_add(length).ok()
    }
}

/// How long after its end an analysis may still say how it ended. Its last sample is taken at the end.
pub(crate) const LAST_WORD: std::time::Duration = std::time::Duration::from_secs(60);

impl StepSeen<'_> {
    /// When to look again for the verdict of an analysis of this length: at its end, then after its last word.
    #[must_use]
    pub fn verdict_due(&self, length: std::time::Duration) -> Option<Timestamp> {
        let ends = [Some(length), length.checked_add(LAST_WORD)].into_iter().flatten();
        ends.filter_map(|it| self.end_of(it)).find(|it| rule!(WakesInThePast, self.now < *it))
    }
}

/// A step's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Go to the next step.
    Done,
    /// Ask again, at the latest at that time; `None`: only when something is observed or ordered.
    Waiting(WaitingFor, Option<Timestamp>),
    /// Over without a pass: the plan's `onVerdict` says what that leads to.
    Ended(ActivityId, Verdict),
    /// Turn back.
    Failed(Cause),
}

/// What stands at the end of a step and can stop a bad canary.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Gate {
    /// Nothing: it ends when its goal has settled, or some time later.
    Open,
    /// These analyses must pass.
    Evidence(Vec<Name>),
    /// A person must say so.
    Person,
}

impl Gate {
    /// Whether who has passed here has passed `other` too: it asks for nothing that was not asked for here.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Open) | (Self::Person, Self::Person) => true,
            (Self::Evidence(passed), Self::Evidence(asked)) => asked.iter().all(|it| passed.contains(it)),
            (Self::Open | Self::Evidence(_) | Self::Person, Self::Evidence(_) | Self::Person) => false,
        }
    }
}

/// How one way of leaving a step behaves.
pub trait LeaveBehavior {
    /// What should be running while the step waits. Asked only while the step is current and its goal was seen
    /// to hold.
    fn activities(&self, seen: &StepSeen<'_>) -> Vec<Activity> {
        let _ = seen;
        vec![]
    }

    /// Whether the step is over. Asked only while its goal holds.
    fn progress(&self, seen: &StepSeen<'_>) -> Progress;

    /// What stands at the end of the step.
    fn gate(&self) -> Gate;

    /// Whether it can stop a bad canary: evidence or a person.
    fn gates(&self) -> bool {
        self.gate() != Gate::Open
    }

    /// Typical and extreme uses, for documentation, the safety tests and the model checker.
    fn examples() -> Vec<Self>
    where
        Self: Sized;
}

macro_rules! leaves {
    ($($(#[$doc:meta])* $module:ident :: $Kind:ident,)*) => {
        $(mod $module; pub use $module::$Kind;)*

        /// When a step ends.
        #[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Leave { $($(#[$doc])* $Kind($Kind),)* }

        impl LeaveBehavior for Leave {
            fn activities(&self, seen: &StepSeen<'_>) -> Vec<Activity> {
                match self { $(Self::$Kind(it) => it.activities(seen),)* }
            }

            fn progress(&self, seen: &StepSeen<'_>) -> Progress {
                match self { $(Self::$Kind(it) => it.progress(seen),)* }
            }

            fn gate(&self) -> Gate {
                match self { $(Self::$Kind(it) => it.gate(),)* }
            }

            fn examples() -> Vec<Self> {
                [$($Kind::examples().into_iter().map(Self::$Kind).collect::<Vec<_>>(),)*].concat()
            }
        }
    };
}

leaves! {
    /// As soon as its goal has settled.
    at_once::AtOnce,
    /// When the evidence allows.
    until::Until,
    /// After a time, or when a person promotes.
    pause::Pause,
    /// When a person says yes.
    approve::Approve,
    /// When an analysis of fixed length passes.
    analyze::Analyze,
    /// After all traffic has been on the canary for a time, with stable's replicas still there.
    bake::Bake,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_scale_is_even_load_rounded_down_and_never_below_what_the_traffic_needs() {
        let check = |percent: u32, total: u32, replicas: u32| {
            let weight = Weight::from_percent(percent);
            let even = Goal { weight, scale: Scale::Even, ..Goal::home() };
            assert_eq!(even.canary_replicas(total), replicas, "{percent} % of {total}");
        };
        check(0, 10, 0);
        check(1, 10, 1);
        check(10, 10, 1);
        check(20, 10, 2);
        check(25, 10, 3);
        check(40, 10, 6);
        check(50, 10, 10);
        check(75, 10, 10);
        check(100, 10, 10);
        check(50, 2, 2);
        check(25, 2, 1);
    }
}
