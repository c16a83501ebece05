use jiff::Timestamp;

use crate::{Arm, OwnerGoal, RouteId, WaitingFor};

/// Why a write may not be made now, with the numbers. One variant per rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Forbidden {
    /// Its owner sizes it.
    OwnersToSize,
    /// A route that would get more does not exist.
    RouteMissing { route: RouteId },
    /// A data plane has not settled; `until`: when it will have, where it has acknowledged.
    Unsettled { route: RouteId, until: Option<Timestamp> },
    /// Stable answers nothing, and may only be restarting until then.
    Suspected { stable: Arm, until: Option<Timestamp> },
    /// The arm that would get more is not stamped with the present authority.
    Unclaimed { arm: Arm },
    /// A route that serves whatever is ready would serve this arm too.
    Unpinned { arm: Arm },
    /// What the arm would get needs so many ready replicas.
    NotReady { arm: Arm, needed: u32, ready: Option<u32> },
    /// What may still come to the arm needs so many replicas.
    InUse { arm: Arm, needed: u32 },
    /// So many replicas must stay ready, over both sides.
    TooFew { arm: Arm, needed: u32, ready: u32 },
}

impl Forbidden {
    /// What must happen first, and when to look again at the latest.
    pub(super) fn waiting(self) -> (WaitingFor, Option<Timestamp>) {
        match self {
            Self::OwnersToSize => (WaitingFor::Owner { goal: OwnerGoal::Detached }, None),
            Self::RouteMissing { route } => (WaitingFor::RouteMissing { route }, None),
            Self::Unsettled { route, until } => (WaitingFor::Settling { route }, until),
            Self::Suspected { stable, until } => (WaitingFor::StableIsDown { arm: stable }, until),
            Self::Unclaimed { arm } => (WaitingFor::Claim { arm }, None),
            Self::Unpinned { arm } => (WaitingFor::Pin { arm }, None),
            Self::NotReady { arm, needed, ready } => (WaitingFor::Replicas { arm, needed, ready }, None),
            Self::InUse { arm, needed } => (WaitingFor::InUse { arm, needed }, None),
            Self::TooFew { arm, needed, ready } => {
                (WaitingFor::Replicas { arm, needed, ready: Some(ready) }, None)
            }
        }
    }
}
