use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Action, Arm, Name, OwnerGoal, Revision, RouteId};

/// What stands between now and the next change.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// For what.
    pub what: WaitingFor,
    /// Since when, as far as is remembered.
    pub since: Timestamp,
    /// When to decide again at the latest. `None`: only something observed or ordered ends it.
    pub until: Option<Timestamp>,
}

/// What is waited for. Shown in status, CLI and events.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WaitingFor {
    /// Something could not be read.
    Observation {
        /// Its name.
        of: Name,
    },
    /// The workload does not exist.
    Workload,
    /// Replicas must get ready.
    Replicas {
        /// Whose.
        arm: Arm,
        /// How many must be ready.
        needed: u32,
        /// How many are; `None`: not known.
        ready: Option<u32>,
    },
    /// No replica of stable is ready, so traffic stays where something answers.
    StableIsDown {
        /// The stable arm.
        arm: Arm,
    },
    /// The data plane must settle on what was asked.
    Settling {
        /// Which route.
        route: RouteId,
    },
    /// A route must exist before anything is sent to it.
    RouteMissing {
        /// Which.
        route: RouteId,
    },
    /// An arm must carry the stamp of the present authority before it gets more.
    Claim {
        /// Which.
        arm: Arm,
    },
    /// A route that serves whatever is ready must be pinned to stable, or it would serve this arm too.
    Pin {
        /// Which.
        arm: Arm,
    },
    /// Requests that may still come to an arm need its replicas.
    InUse {
        /// Whose.
        arm: Arm,
        /// How many they need.
        needed: u32,
    },
    /// There is no room for more replicas until others are gone.
    Room {
        /// For which arm.
        arm: Arm,
        /// Replicas of all arms together that are allowed.
        limit: u32,
    },
    /// The instance manager below is on its way.
    Owner {
        /// To what.
        goal: OwnerGoal,
    },
    /// The user took the workload back.
    UsersOwn,
    /// A time that the plan asks for.
    Time,
    /// All traffic is on the canary, and stable is kept for a quick way back.
    Bake,
    /// Evidence.
    Evidence {
        /// Of these analyses.
        analyses: Vec<Name>,
    },
    /// A person's yes.
    Approval {
        /// In which step.
        step: Name,
    },
    /// A person's order.
    Order {
        /// Any of these goes on.
        any_of: Vec<Action>,
    },
    /// The plan was edited and has no step of this name any more: a person says how to go on.
    StepGone {
        /// The step it stands at.
        step: Name,
        /// Any of these goes on.
        any_of: Vec<Action>,
    },
    /// Somebody else keeps changing what the engine sets.
    Contested {
        /// Which object.
        object: Name,
        /// Which of its fields.
        field: Name,
        /// Who, where the platform says so.
        manager: Option<Name>,
    },
    /// The canary's replicas are kept to be looked at.
    KeepingCanary {
        /// Which revision.
        revision: Revision,
    },
    /// No replica is wanted, so nothing of the canary can be tried.
    ScaledToZero,
    /// What the documents refer to is not there, so nobody could judge.
    Missing {
        /// What, each with its kind.
        what: Vec<Name>,
    },
    /// `mode: paused`.
    ModePaused,
    /// `mode: off`.
    ModeOff,
    /// This revision was rolled back; another one, or a retry, goes on.
    AnotherRevision {
        /// The refused one.
        refused: Revision,
    },
}
