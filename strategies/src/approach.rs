//! The next safe write from the world towards a target. Every safety rule lives here, so no step, strategy or
//! order can break one.
//!
//! 1. **Destination first.** Before the reach of any arm rises, it is stamped with the present epoch and has the
//!    ready replicas that the new reach needs.
//! 2. **Route before source.** Replicas are lowered or retired only when every route carries the stamp of the
//!    present epoch and its data plane has settled on it, and never below what can still come.
//! 3. **No faster home than home can carry**, unless the canary cannot carry it either or the abort has taken too
//!    long; never to a stable without one ready replica.
//! 4. **Unread is never zero.** What is not known is waited for.
//! 5. **Room.** No more replicas than the wanted number and the surge, no fewer ready than may be missing.
//! 6. **One sizer.** What its owner sizes the engine does not: it would fight the wish that its own number follows from.
//! 7. **No way into nothing.** A route is given more than it has only if it exists and its data plane has settled.
//!
//! Candidates are tried in a fixed order and the first one that no rule forbids is the write; what forbids the
//! others is what is waited for.

mod arms;
mod forbidden;
mod owner;
mod partition;
mod routes;
mod rules;

pub(crate) use routes::rests;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::mutant::rule;
use crate::{Change, Fence, Plan, Status, WaitingFor, World, Write, target::Target};

/// The next write, or what stands in its way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Approach {
    /// The next safe write.
    pub write: Option<Write>,
    /// What is waited for, and when to look again at the latest. Both empty: the target is reached.
    pub waiting: BTreeMap<WaitingFor, Option<Timestamp>>,
    /// Whether a route is not as the target wants it, or its data plane has not settled.
    pub routes_move: bool,
}

impl Approach {
    /// Whether the world is as the target wants it.
    pub(crate) fn arrived(&self) -> bool {
        self.write.is_none() && self.waiting.is_empty()
    }
}

pub(crate) fn approach(
    plan: &Plan,
    status: &Status,
    world: &World,
    now: Timestamp,
    target: &Target,
) -> Approach {
    let mut way = Way { plan, status, world, now, target, found: Approach::default() };
    if way.unread() || way.users_own() {
        return way.found;
    }
    way.hold_owner();
    way.claim();
    way.grow();
    way.route();
    way.shrink();
    way.retire();
    way.release_owner();
    way.check_replicas();
    way.found
}

struct Way<'a> {
    plan: &'a Plan,
    status: &'a Status,
    world: &'a World,
    now: Timestamp,
    target: &'a Target,
    found: Approach,
}

impl Way<'_> {
    /// Offers a write: taken if it is the first that no rule forbids.
    fn offer(&mut self, change: Change, fence: Fence) {
        if self.found.write.is_some() {
            return;
        }
        let write = Write { change, fence, epoch: self.status.epoch };
        match self.forbidden(&write) {
            None => self.found.write = Some(write),
            Some(forbidden) => {
                let (what, until) = forbidden.waiting();
                self.wait(what, until);
            }
        }
    }

    fn wait(&mut self, what: WaitingFor, until: Option<Timestamp>) {
        self.found.waiting.entry(what).or_insert(until);
    }

    /// Rule 4: what the target speaks of and what is not known.
    fn unread(&mut self) -> bool {
        let mut missing: Vec<crate::Name> = vec![];
        if self.world.owner.is_unread() {
            missing.push("owner".into());
        }
        for (id, _) in self.plan.routes() {
            if self.world.route(id).is_unread() {
                missing.push(id.as_str().into());
            }
        }
        for (arm, seen) in &self.world.arms {
            if seen.is_unread() {
                missing.push(arm.to_string().into());
            }
        }
        for of in &missing {
            self.wait(WaitingFor::Observation { of: of.clone() }, None);
        }
        !missing.is_empty() && !rule!(UnreadIsZero, false)
    }
}
