use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ActivityId, Arm, Name, Outcome, Revision, RouteId, Split, split::pairs};

/// Something that was looked for.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Seen<T> {
    /// Not known right now. Never zero, never absent.
    #[default]
    Unread,
    /// Known not to exist.
    Absent,
    /// This.
    Is(T),
}

/// Everything [`decide`](crate::decide) may look at, read once per call.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(from = "Stored")]
pub struct World {
    /// The Rollout is being deleted: everything back to stable, routes restored, then gone. It is known whatever has
    /// become of the workload.
    pub leaving: bool,
    /// What the user's objects ask for; absent: the workload is gone.
    pub wanted: Seen<Wanted>,
    /// The arms that exist, and those that were looked for. One that is not listed is absent.
    #[serde(with = "pairs")]
    pub arms: BTreeMap<Arm, Seen<ArmSeen>>,
    /// The routes of the plan.
    pub routes: BTreeMap<RouteId, Seen<RouteSeen>>,
    /// The instance manager below; absent where nobody but the engine sizes the workload.
    pub owner: Seen<Owner>,
    /// What analyses, hooks and preflights said so far.
    #[serde(with = "pairs")]
    pub ran: BTreeMap<ActivityId, Outcome>,
}

/// What the user's objects ask for now.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Wanted {
    /// The revision of the workload's present template.
    pub revision: Revision,
    /// Replicas that carry all the traffic.
    pub replicas: u32,
    /// Who else writes the number of replicas.
    pub scaler: Option<Scaler>,
}

/// An autoscaler, by what it counts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Scaler {
    /// It counts the pods of stable only: it targets the Rollout.
    StableOnly,
    /// Its selector counts canary pods too, so a large canary makes it grow.
    CanaryToo,
}

/// One arm as observed.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct ArmSeen {
    /// Replicas asked for.
    pub desired: u32,
    /// What can serve. `None`: not known right now.
    pub ready: Option<Ready>,
    /// The authority it was last written under.
    pub epoch: Option<Epoch>,
    /// The version of the object that carries it.
    pub fence: Fence,
}

/// What can serve.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Ready {
    /// So many replicas.
    Replicas(u32),
    /// As many as it takes: the platform scales with the traffic.
    Elastic,
}

/// One route as observed.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct RouteSeen {
    /// What the object asks for.
    pub asked: Split,
    /// The authority it was last written under.
    pub epoch: Option<Epoch>,
    /// Which split the data plane has acknowledged.
    pub acknowledged: Option<Acknowledged>,
    /// Who wrote it last, where the platform says so and it was not the engine.
    pub manager: Option<Name>,
    /// The version of the object.
    pub fence: Fence,
}

/// A split the data plane has acknowledged. It has *settled* only a route's settle time later.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Acknowledged {
    /// Which.
    pub split: Split,
    /// Since when it has been so.
    pub since: Timestamp,
}

/// The instance manager below: a Deployment, a Knative Service.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Owner {
    /// What it does.
    pub is: OwnerIs,
    /// Whether its template is another than what it runs.
    pub behind: Behind,
    /// The revision it reports to pipelines as failed.
    pub refused: Option<Revision>,
    /// The version of the object.
    pub fence: Fence,
}

/// What the instance manager does.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OwnerIs {
    /// It rolls its own template out.
    Free,
    /// It heals and sizes stable and takes no new template up.
    Held,
    /// It takes no new template up either, and stable is detached from it: the engine sizes stable, and the number
    /// that stands in its object is a wish that nobody but the user writes.
    Detached,
    /// Between two of these, *and somebody else must act*: whoever looks must wait.
    ///
    /// A goal may need several writes to several objects. While the next of them is the engine's own, an adapter reports the
    /// state that it comes from: the goal is then asked for again, and the adapter picks the next object. So the writes are
    /// ordered such that after each but the last the workload still is what is reported, and the goal may change between
    /// any two.
    Moving,
    /// It owns this revision's replicas and no others.
    HandedTo(Revision),
    /// The user took it back: it must not be touched.
    UsersOwn,
}

/// What the owner's template asks for, against what it runs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Behind {
    /// The same.
    No,
    /// Other, but only in fields that are no release.
    IgnoredOnly,
    /// Another release.
    Template,
}

/// Counts changes of authority: a new revision, a step back, an abort, a commit, a retry.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The next authority.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The version of an object that a decision saw. A write is accepted only while it is still current.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fence {
    /// There was no object: the write is a create.
    Absent,
    /// A resourceVersion, a sequence number.
    At(u64),
}

impl<T> Seen<T> {
    /// The thing itself, where it is known and exists.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Is(it) => Some(it),
            Self::Unread | Self::Absent => None,
        }
    }

    /// Whether nothing is known.
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::Unread)
    }
}

/// A world as it is written down. Journals once had `leaving` among what is wanted.
#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    leaving: bool,
    wanted: Seen<StoredWanted>,
    #[serde(with = "pairs")]
    arms: BTreeMap<Arm, Seen<ArmSeen>>,
    routes: BTreeMap<RouteId, Seen<RouteSeen>>,
    owner: Seen<Owner>,
    #[serde(with = "pairs")]
    ran: BTreeMap<ActivityId, Outcome>,
}

#[derive(Deserialize)]
struct StoredWanted {
    #[serde(flatten)]
    wanted: Wanted,
    #[serde(default)]
    leaving: bool,
}

impl From<Stored> for World {
    fn from(stored: Stored) -> Self {
        let Stored { leaving, wanted, arms, routes, owner, ran } = stored;
        let leaving = leaving || wanted.get().is_some_and(|it| it.leaving);
        let wanted = match wanted {
            Seen::Unread => Seen::Unread,
            Seen::Absent => Seen::Absent,
            Seen::Is(it) => Seen::Is(it.wanted),
        };
        Self { leaving, wanted, arms, routes, owner, ran }
    }
}

impl World {
    /// One arm; an arm that is not listed is absent.
    #[must_use]
    pub fn arm(&self, arm: &Arm) -> &Seen<ArmSeen> {
        self.arms.get(arm).unwrap_or(&Seen::Absent)
    }

    /// One route; a route that is not listed is unread.
    #[must_use]
    pub fn route(&self, route: &RouteId) -> &Seen<RouteSeen> {
        self.routes.get(route).unwrap_or(&Seen::Unread)
    }
}
