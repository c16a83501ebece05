//! The intents of one rollout as they are stored: what each arm and each route is to be.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use strategies::{Arm, Epoch, RouteId, Split};

/// One stored intent.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Intent {
    /// Of an arm.
    Arm(ArmIntent),
    /// Of a route.
    Route(RouteIntent),
}

/// What an arm is to be.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmIntent {
    /// Which.
    pub arm: Arm,
    /// Its replicas, by number. Numbers and not a count, so that of fewer those that are not ready can go first.
    pub ordinals: BTreeSet<u32>,
    /// The authority it was last written under.
    pub epoch: Epoch,
}

/// What a route is to be.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteIntent {
    /// Which.
    pub route: RouteId,
    /// How it is to divide the requests.
    pub split: Split,
    /// The authority it was last written under; `None`: at rest.
    pub epoch: Option<Epoch>,
    /// What the workers served when this was written: after a crash nobody knows how far they have followed.
    pub before: Option<Split>,
}

/// The name under which the intent of an arm is stored.
#[must_use]
pub fn arm_key(arm: &Arm) -> String {
    format!("arm/{arm}")
}

/// The name under which the intent of a route is stored.
#[must_use]
pub fn route_key(route: &RouteId) -> String {
    format!("route/{route}")
}

/// The replicas of an arm that is to have `desired`: new ones get the lowest free numbers; of fewer, those that are
/// not `ready` go first, the highest numbers before the lower ones.
#[must_use]
pub fn resize(present: &BTreeSet<u32>, desired: u32, ready: &BTreeSet<u32>) -> BTreeSet<u32> {
    let desired = usize::try_from(desired).unwrap_or(usize::MAX);
    let mut kept: Vec<u32> = present.iter().copied().collect();
    kept.sort_by_key(|it| (!ready.contains(it), *it));
    kept.truncate(desired);
    let mut ordinals: BTreeSet<u32> = kept.into_iter().collect();
    let free = (0..).filter(|it| !present.contains(it));
    ordinals.extend(free.take(desired.saturating_sub(ordinals.len())));
    ordinals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(present: &[u32], desired: u32, ready: &[u32], expected: &[u32]) {
        let set = |it: &[u32]| it.iter().copied().collect::<BTreeSet<u32>>();
        assert_eq!(resize(&set(present), desired, &set(ready)), set(expected));
    }

    #[test]
    fn of_fewer_those_that_are_not_ready_go_first() {
        check(&[], 3, &[], &[0, 1, 2]);
        check(&[0, 1, 2], 2, &[0, 1, 2], &[0, 1]);
        check(&[0, 1, 2], 2, &[1, 2], &[1, 2]);
        check(&[0, 1, 2], 1, &[2], &[2]);
        check(&[1, 3], 4, &[1, 3], &[0, 1, 2, 3]);
        check(&[0, 1], 0, &[0, 1], &[]);
    }
}
