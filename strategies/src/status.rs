use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ActivityId, Change, Epoch, Fence, Gate, Goal, Leave, LeaveBehavior, Name, Outcome, Plan, Revision,
    Verdict, split::pairs,
};

/// All that is remembered between two decisions. Everything else is observed. Bounded in size.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The revision that serves users; `None` until the first one does.
    pub stable: Option<Revision>,
    /// The revision on trial, or the one that was tried last and refused.
    pub canary: Option<Revision>,
    /// Which try this is; raised by each start and each retry, for ever.
    pub attempt: u32,
    /// Counts changes of authority.
    pub epoch: Epoch,
    /// Where the rollout stands.
    pub phase: Phase,
    /// Since when it stands there.
    pub since: Timestamp,
    /// When the present goal was first seen to hold.
    pub held: Option<Timestamp>,
    /// Time spent waiting for replicas, data plane or hand-over since the phase or step began.
    pub waited: Waited,
    /// Why no step is taken; `None`: steps are taken.
    pub hold: Option<Hold>,
    /// What people said about the present step.
    pub said: Said,
    /// Orders of this attempt that were dealt with, with or without effect; at most [`Status::ORDERS`], and two aborts.
    pub accepted: Vec<Accepted>,
    /// What the present step asks for, as the plan said when it was last taken up; `None` beside the steps.
    #[serde(default)]
    pub doing: Option<Doing>,
    /// Steps of this attempt that are over, by name, or that a person let pass; at most [`Status::PASSED`].
    #[serde(default)]
    pub passed: Vec<Passed>,
    /// Verdicts of this attempt; at most [`Status::VERDICTS`].
    #[serde(with = "pairs")]
    pub verdicts: BTreeMap<ActivityId, Outcome>,
    /// Raised whenever what was measured in a step counts no more: a person asked for it again, or the plan asks for
    /// something else. It never falls within an attempt.
    pub again: u32,
    /// How often a person asked for this attempt's guards again.
    pub guards_again: u32,
    /// Revisions that were rolled back, latest last; at most [`Status::REVISIONS`].
    pub refused: Vec<Refused>,
    /// Revisions that were stable, latest last, the present one included; at most [`Status::REVISIONS`].
    pub recent: Vec<Recent>,
    /// Foreign changes that were repaired lately, three of each object; at most [`Status::REPAIRS`].
    #[serde(deserialize_with = "repairs")]
    pub repairs: Vec<Repair>,
    /// How the last attempt ended.
    pub last: Option<Ended>,
    /// The side that answers nothing while a canary is on trial; `None`: both do, or nobody knows better.
    #[serde(default)]
    pub down: Option<Down>,
    /// Whether what the present step must pass can be asked.
    #[serde(default)]
    pub measuring: Measuring,
}

/// Whether what a step must pass can be asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Measuring {
    /// It can, as far as the plan says.
    #[default]
    Possible,
    /// Something that it needs is not there. Once it is, the step measures anew: nobody can know what was missed.
    Interrupted,
}

/// A side that answers nothing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Down {
    /// Stable has had no ready replica since then. It may only be restarting, so nothing follows yet.
    Suspected {
        /// When that was first seen.
        since: Timestamp,
    },
    /// All traffic is on the other side until this one is back.
    Certain {
        /// Which.
        side: Side,
        /// Since when.
        since: Timestamp,
    },
}

/// A side of a rollout.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// The revision that served users before.
    Stable,
    /// The revision on trial.
    Canary,
}

/// Where a rollout stands.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// There is no stable revision yet: the first one is being brought up, or taken over as it is.
    Adopting,
    /// Stable is what is wanted.
    Idle,
    /// Working on this step of the plan.
    Stepping {
        /// Its name in the plan. Places change when a plan is edited, names say what was meant.
        #[serde(deserialize_with = "step_name")]
        step: Name,
    },
    /// The canary has been committed as stable; routes, replicas and owner follow.
    Promoting,
    /// Turning back.
    Aborting {
        /// Why.
        cause: Cause,
    },
    /// Turned back. Final for this revision, until someone orders a retry.
    RolledBack {
        /// Why.
        cause: Cause,
    },
    /// The Rollout is being deleted: routes and workload are given back.
    Leaving,
    /// Nothing of ours is left.
    Left,
}

/// Time that counts towards the progress deadline.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waited {
    /// Spent in waits that are over.
    pub before: Duration,
    /// Since when the present wait runs.
    pub since: Option<Timestamp>,
}

/// Why no step is taken.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// A person ordered it.
    Ordered {
        /// Who.
        by: Name,
    },
    /// This activity ended so.
    Verdict {
        /// Which.
        id: ActivityId,
        /// How.
        verdict: Verdict,
    },
    /// The progress deadline passed and the plan says to pause then.
    ProgressDeadline,
}

/// What people said about the present step.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Said {
    /// Nothing.
    #[default]
    Nothing,
    /// Yes, where the step asks.
    Approved,
    /// End it as soon as its goal holds.
    Promoted,
    /// End it and everything after it as soon as the goal holds.
    PromotedFully,
}

/// What a step asks for, resolved.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Doing {
    /// What should hold.
    pub goal: Goal,
    /// When the step ends.
    pub leave: Leave,
}

/// A step that is over.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Passed {
    /// Its name.
    pub step: Name,
    /// What stood at its end.
    pub gate: Gate,
}

/// An order that was dealt with: it counts no more, whether or not it still stands.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", from = "Dealt")]
pub struct Accepted {
    /// Its id.
    pub id: Name,
    /// What was ordered.
    pub action: crate::Action,
    /// By whom.
    pub by: Name,
    /// When it was dealt with.
    pub at: Timestamp,
    /// What it did.
    pub effect: Effect,
}

/// What an order did when it was looked at, once and for all.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// What it says.
    Took,
    /// It let the rollout pass a gate that had not passed.
    Overrode,
    /// Nothing: there was nothing for it to do, and what comes later is not what it was about.
    Nothing,
}

/// As it is stored: earlier versions kept only orders that took effect.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dealt {
    id: Name,
    action: crate::Action,
    by: Name,
    at: Timestamp,
    effect: Option<Effect>,
    #[serde(default)]
    overrode: bool,
}

impl From<Dealt> for Accepted {
    fn from(stored: Dealt) -> Self {
        let Dealt { id, action, by, at, effect, overrode } = stored;
        let known = if overrode { Effect::Overrode } else { Effect::Took };
        Self { id, action, by, at, effect: effect.unwrap_or(known) }
    }
}

impl Accepted {
    /// Whether it did anything.
    #[must_use]
    pub fn had_effect(&self) -> bool {
        self.effect != Effect::Nothing
    }
}

/// A revision that was rolled back.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Which.
    pub revision: Revision,
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: Timestamp,
}

/// A revision that was stable.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recent {
    /// Which.
    pub revision: Revision,
    /// When it was promoted.
    pub at: Timestamp,
}

/// A foreign change that is, or was, set right.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repair {
    /// What sets it right. Another one of the same object is another matter: what is wanted has changed.
    pub change: Change,
    /// The version that the foreign change made.
    pub fence: Fence,
    /// When it was seen.
    pub at: Timestamp,
    /// Whether everything has been as wanted since.
    pub over: bool,
}

/// Repairs as far as they are understood: earlier versions remembered no more than a route, for some minutes.
fn repairs<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Repair>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Repair(Repair),
        Other(serde::de::IgnoredAny),
    }
    let known = |it| match it {
        Stored::Repair(repair) => Some(repair),
        Stored::Other(_) => None,
    };
    Ok(Vec::<Stored>::deserialize(from)?.into_iter().filter_map(known).collect())
}

/// How an attempt ended.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The revision that was tried.
    pub revision: Revision,
    /// Which try.
    pub attempt: u32,
    /// How it ended.
    pub end: End,
    /// When.
    pub at: Timestamp,
}

/// The end of an attempt.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// It is stable now.
    Promoted,
    /// It was turned back.
    RolledBack(Cause),
    /// Another revision took its place before it was over, or stable was wanted again.
    Superseded {
        /// By which.
        by: Revision,
    },
}

/// Why a rollout turns back.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// A person or a pipeline ordered it.
    Aborted {
        /// Who.
        by: Name,
        /// In their words.
        reason: Option<Name>,
    },
    /// An analysis did not pass.
    Analysis {
        /// Which.
        id: ActivityId,
        /// How it ended.
        verdict: Verdict,
        /// One sentence with the numbers.
        because: Option<Name>,
    },
    /// Waiting for replicas, data plane or hand-over took longer than the plan allows.
    ProgressDeadline,
    /// Nobody approved in time.
    NotApproved {
        /// Which step.
        step: Name,
    },
    /// Another revision is wanted.
    Superseded {
        /// Which.
        by: Revision,
    },
    /// The Rollout is being deleted.
    Leaving,
}

impl Phase {
    /// The step it works on, while it works on one.
    #[must_use]
    pub fn step(&self) -> Option<&Name> {
        match self {
            Self::Stepping { step } => Some(step),
            Self::Adopting
            | Self::Idle
            | Self::Promoting
            | Self::Aborting { .. }
            | Self::RolledBack { .. }
            | Self::Leaving
            | Self::Left => None,
        }
    }
}

impl Status {
    /// Largest number of orders remembered per attempt. One that still stands is not forgotten for another; beyond so
    /// many only an abort is taken.
    pub const ORDERS: usize = 32;
    /// Largest number of passed steps remembered: as many as a plan may have.
    pub const PASSED: usize = 100;
    /// Largest number of verdicts remembered per attempt.
    pub const VERDICTS: usize = 256;
    /// Largest number of refused, and of recent, revisions remembered.
    pub const REVISIONS: usize = 16;
    /// Largest number of repairs remembered.
    pub const REPAIRS: usize = 48;

    /// A rollout that has not begun.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            stable: None,
            canary: None,
            attempt: 0,
            epoch: Epoch(1),
            phase: Phase::Adopting,
            since: now,
            held: None,
            waited: Waited::default(),
            hold: None,
            said: Said::Nothing,
            accepted: vec![],
            doing: None,
            passed: vec![],
            verdicts: BTreeMap::new(),
            again: 0,
            guards_again: 0,
            refused: vec![],
            recent: vec![],
            repairs: vec![],
            last: None,
            down: None,
            measuring: Measuring::Possible,
        }
    }

    /// Whether this revision was rolled back and not retried.
    #[must_use]
    pub fn is_refused(&self, revision: &Revision) -> bool {
        self.refused.iter().any(|it| it.revision == *revision)
    }

    /// What the present step lets the canary have; beside the steps, nothing.
    #[must_use]
    pub fn goal(&self) -> Goal {
        self.doing.as_ref().map_or_else(Goal::home, |it| it.goal.clone())
    }

    /// The side that answers nothing for certain, so that it gets no traffic.
    #[must_use]
    pub fn fallen(&self) -> Option<Side> {
        match self.down? {
            Down::Certain { side, .. } => Some(side),
            Down::Suspected { .. } => None,
        }
    }

    /// Whether a person ended every step of this attempt: that is a decision against stable.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        let fully = |it: &Accepted| it.action == crate::Action::PromoteFull && it.had_effect();
        self.accepted.iter().any(fully)
    }

    /// The place of the present step in `plan`; `None` beside the steps, or where the plan has no step of that name.
    #[must_use]
    pub fn place(&self, plan: &Plan) -> Option<usize> {
        plan.step_named(self.phase.step()?)
    }

    /// The same with its step by name, where it was stored when a step was known by its place in the plan; `None`:
    /// nothing is to be resolved, or the plan has no such place and nobody can say which step was meant.
    #[must_use]
    pub fn resolved(&self, plan: &Plan) -> Option<Self> {
        let name = self.phase.step().filter(|it| plan.step_named(it).is_none())?;
        let place = name.as_str().strip_prefix(PLACE)?.parse::<usize>().ok()?;
        let step = plan.steps.get(place)?.name.clone();
        let mut next = self.clone();
        next.doing = plan.doing(place);
        let before = if self.said == Said::PromotedFully { plan.steps.len() } else { place };
        next.passed = plan.steps.iter().take(before).map(Passed::of).collect();
        next.phase = Phase::Stepping { step };
        Some(next)
    }
}

impl Passed {
    pub(crate) fn of(step: &crate::Step) -> Self {
        Self { step: step.name.clone(), gate: step.leave.gate() }
    }
}

/// Marks the name of a step of which only its place is known.
const PLACE: &str = "#";

/// A name, or a place from the time when steps were remembered by those.
fn step_name<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Name, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Known {
        Name(Name),
        Place(usize),
    }
    Ok(match Known::deserialize(from)? {
        Known::Name(name) => name,
        Known::Place(place) => format!("{PLACE}{place}").into(),
    })
}
