use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Arm, Epoch, Fence, Revision, RouteId, Split, split::pairs};

/// One write, specific enough that an adapter has nothing left to choose.
///
/// An adapter applies it with the fence that [`decide`](crate::decide) saw as its precondition and never
/// reads the object again to make it fit: a write whose fence has passed is refused, and the world observed anew.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Write {
    /// What changes.
    pub change: Change,
    /// The version of the object it was decided on.
    pub fence: Fence,
    /// The authority it is written under; the object is stamped with it.
    pub epoch: Epoch,
}

/// What a write changes.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Make this arm, with so many replicas. Stable and a baseline take the kept template.
    Create(Arm, u32),
    /// Ask for so many replicas: exactly the arms that one object carries. Of fewer, those that are not ready go
    /// first.
    Size(#[serde(with = "pairs")] BTreeMap<Arm, u32>),
    /// Only stamp this arm with the epoch.
    Claim(Arm),
    /// Retire this arm altogether.
    Remove(Arm),
    /// Split this route so.
    Split(RouteId, Split),
    /// Give every field of this route that the engine changed its stored value again. One that does not exist is made as it
    /// is when no rollout runs.
    Restore(RouteId),
    /// Ask the instance manager below for this.
    Own(OwnerGoal),
}

/// The object that a change is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Of<'a> {
    /// The one that carries this arm.
    Arm(&'a Arm),
    /// A route.
    Route(&'a RouteId),
    /// The instance manager below.
    Owner,
}

impl Change {
    /// The object that it is of.
    #[must_use]
    pub fn of(&self) -> Option<Of<'_>> {
        match self {
            Self::Create(arm, _) | Self::Claim(arm) | Self::Remove(arm) => Some(Of::Arm(arm)),
            Self::Size(sizes) => sizes.keys().next().map(Of::Arm),
            Self::Split(route, _) | Self::Restore(route) => Some(Of::Route(route)),
            Self::Own(_) => Some(Of::Owner),
        }
    }
}

/// What delivery asks of the instance manager below.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OwnerGoal {
    /// Roll your own template out again; nothing of ours is left.
    Free,
    /// Heal and size stable, and take no new template up.
    Held,
    /// Take no new template up, and leave stable's replicas to the engine. Whatever is asked after this, stable is given
    /// back with as many replicas as it has then: the owner's own number is made the same before.
    Detached,
    /// The same, and tell pipelines that this revision failed.
    Refused(Revision),
    /// Own this revision's replicas, and no others.
    HandedTo(Revision),
}
