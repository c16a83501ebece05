//! Fresh replicas of stable beside the canary, where a judge asks for them (`baseline: fresh`).
//!
//! They are as many as the canary's and as young, take part of stable's requests, and live while the canary is on
//! trial. The machine does not know them: to it all of stable's requests go to stable's own replicas, and those stay
//! as many as that needs. So nothing depends on them, and when they are gone or not ready stable serves as before.
//! They are derived from the status and from what the canary was asked to have, so a crash loses nothing of them.

use std::collections::BTreeSet;

use analysis::judge::Baseline;
use strategies::{Arm, Dest, Weight};

use super::Site;
use crate::{analyses::FreshNow, local::adapter::lower::Fresh};

/// What is to be there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wished {
    /// The fresh replicas.
    pub(super) arm: Arm,
    canary: Arm,
    replicas: u32,
}

impl Wished {
    pub(super) fn ordinals(&self) -> BTreeSet<u32> {
        (0..self.replicas).collect()
    }
}

impl Site {
    /// The fresh replicas that are to be there; `None`: none.
    pub(super) fn fresh(&self) -> Option<Wished> {
        let status = self.status.as_ref().filter(|it| it.phase.step().is_some())?;
        if self.asked.baseline == Baseline::Stable {
            return None;
        }
        let stable = status.stable.clone()?;
        let canary = Arm::main(status.canary.clone().filter(|it| *it != stable)?);
        let (intent, _) = self.arm_intent(&canary)?;
        let replicas = u32::try_from(intent.ordinals.len()).unwrap_or(u32::MAX);
        let all_to_canary = self
            .route_intent()
            .is_some_and(|(it, _)| it.split.weight_of(&Dest::Arm(canary.clone())) == Weight::FULL);
        if all_to_canary || !self.runs_processes(&Arm::main(stable.clone())) {
            return None;
        }
        Some(Wished { arm: Arm::baseline(stable), canary, replicas })
    }

    /// Those of them that are ready.
    pub(super) fn fresh_served(&self) -> Option<Fresh> {
        let wished = self.fresh()?;
        let ready = self.replicas_of(&wished.arm).iter().filter(|it| it.ready).count();
        Some(Fresh {
            ready: u32::try_from(ready).unwrap_or(u32::MAX),
            wanted: wished.replicas,
            arm: wished.arm,
            canary: wished.canary,
        })
    }

    /// What they get of the requests; `None`: nothing.
    #[must_use]
    pub fn fresh_now(&self) -> Option<FreshNow> {
        let (fresh, (route, _)) = (self.fresh_served()?, self.route_intent()?);
        let weight = fresh.share(&route.split);
        (weight != Weight::ZERO).then_some(FreshNow { weight })
    }
}
