use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HumanDuration, Name, Revision};

/// Something that should be running now. The runner starts what is missing and stops the rest.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Activity {
    /// Measure and judge.
    Analysis {
        /// Which run; also its idempotency key.
        id: ActivityId,
        /// What its verdict is for.
        purpose: Purpose,
        /// Which analyses of the document it consists of.
        analyses: Vec<Name>,
        /// Whether what is measured now belongs to this run.
        samples: Samples,
        /// How long it takes at least before it may pass.
        min: HumanDuration,
        /// When it ends at the latest, inconclusive if it has not concluded. `None`: with its window.
        max: Option<HumanDuration>,
    },
    /// Call something outside once.
    Hook {
        /// Which call; also its idempotency key.
        id: ActivityId,
    },
    /// Check what must hold before the start.
    Preflight {
        /// Which check; also its idempotency key.
        id: ActivityId,
    },
}

impl Activity {
    /// Its idempotency key.
    #[must_use]
    pub fn id(&self) -> &ActivityId {
        match self {
            Self::Analysis { id, .. } | Self::Hook { id } | Self::Preflight { id } => id,
        }
    }
}

/// What a verdict is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// It must pass before the step ends: a fixed analysis.
    Gate,
    /// It must pass before the step ends, and may as soon as the evidence allows.
    Evidence,
    /// It must not fail.
    Guard,
}

/// Whether samples taken now belong to the window.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Samples {
    /// The split is authorised and has settled.
    Count,
    /// It is not settled: what is measured now belongs to no window.
    Withheld,
}

/// Names one run of one activity, so that it is started once whatever crashes.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityId {
    /// The attempt it belongs to.
    pub attempt: u32,
    /// The revision on trial.
    pub revision: Revision,
    /// What it spans.
    pub window: Window,
    /// Its name in the plan.
    pub name: Name,
    /// Which repetition, from 0: raised when a person resumes after an inconclusive end.
    pub again: u32,
}

/// The part of a rollout that evidence is about.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Window {
    /// This step.
    Step(Name),
    /// From this step to the end.
    From(Name),
}

/// What an activity said so far.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Its verdict.
    pub verdict: Verdict,
    /// One sentence with the numbers, for people.
    pub because: Option<Name>,
}

/// What the evidence supports.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Not over.
    Pending,
    /// No worse than allowed.
    Pass,
    /// Worse than allowed.
    Fail,
    /// Over without a conclusion.
    Inconclusive,
    /// It could not be measured.
    Error,
}
