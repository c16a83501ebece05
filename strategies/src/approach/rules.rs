//! What forbids a write. Every rule of safety is on this page; what they mean is written above it.

use std::collections::BTreeSet;

use super::{Way, forbidden::Forbidden};
use crate::mutant::rule;
use crate::{
    Arm, Change, Dest, Down, Fence, OwnerIs, Phase, Ready, RouteId, Seen, Side, Sizing, Split, Steering,
    Weight, World, Write,
    authority::down,
    predict::predict,
    reach::{
        Load, asked_by_entry, divided, need, reach_at_any_size, reach_by_entry, reach_of_divided, settles_at,
    },
    target::Aim,
};

impl Way<'_> {
    /// The first rule that forbids a write.
    pub(super) fn forbidden(&self, write: &Write) -> Option<Forbidden> {
        if let Some(owner) = self.sized_by_owner(write) {
            return Some(owner);
        }
        let after = predict(self.plan, self.status, self.world, write);
        // An arm that does not exist can be sent traffic just as well as one that does.
        let named: BTreeSet<Arm> = after
            .routes
            .values()
            .filter_map(Seen::get)
            .flat_map(|it| it.asked.dests())
            .filter_map(|it| match it {
                Dest::Arm(arm) => Some(arm),
                Dest::Route(_) => None,
            })
            .collect();
        let mut arms: BTreeSet<&Arm> = self.world.arms.keys().chain(after.arms.keys()).collect();
        arms.extend(named.iter().filter(|_| !rule!(AbsentArmsIgnored, false)));
        let of_arms = || {
            arms.iter()
                .find_map(|arm| self.destination(write, &after, arm).or_else(|| self.source(&after, arm)))
        };
        self.leads_nowhere(write, &after).or_else(of_arms)
    }

    /// Rule 7: what a route is given more of must be there, and its data plane must know that it is. At deletion the user's
    /// object gets its own value back, whatever that leads to.
    fn leads_nowhere(&self, write: &Write, after: &World) -> Option<Forbidden> {
        let id = match &write.change {
            Change::Split(id, _) => id,
            Change::Restore(id) if self.status.phase != Phase::Leaving => id,
            Change::Create(..)
            | Change::Size(_)
            | Change::Claim(_)
            | Change::Remove(_)
            | Change::Restore(_)
            | Change::Own(_) => return None,
        };
        let asked = &after.route(id).get()?.asked;
        let before = self.world.route(id).get().map(|it| &it.asked);
        let more = |dest: &Dest| before.is_none_or(|before| !asked.within(before, dest));
        let below = asked.dests().filter(more).find_map(|dest| match dest {
            Dest::Route(below) => {
                // Past its deadline an abort asks no data plane whether it still knows what it has led to.
                let known = self.is_overdue() && before.is_some_and(|it| sends_to(it, &below));
                self.plan.alike(&below).find_map(|it| self.is_not_there(it, known))
            }
            Dest::Arm(_) => None,
        });
        below.filter(|_| !rule!(LeadsNowhere, false))
    }

    fn is_not_there(&self, below: &RouteId, known: bool) -> Option<Forbidden> {
        let missing = Forbidden::RouteMissing { route: below.clone() };
        let Seen::Is(seen) = self.world.route(below) else { return Some(missing) };
        let Some((_, route)) = self.plan.routes().find(|(id, _)| *id == below) else { return Some(missing) };
        let until = settles_at(route, seen);
        let settled = known || until.is_some_and(|at| at <= self.now);
        (!settled).then(|| Forbidden::Unsettled { route: below.clone(), until })
    }

    /// Rule 6. Of a partition the owner moves nothing by itself, and an autoscaler of the Rollout asks nobody else.
    fn sized_by_owner(&self, write: &Write) -> Option<Forbidden> {
        let (Change::Size(sizes), Some(owner)) = (&write.change, self.owner()) else { return None };
        let stable = self.target.stable.as_ref().filter(|it| sizes.contains_key(it))?;
        let own = match &owner.is {
            OwnerIs::Detached | OwnerIs::UsersOwn => false,
            // On the way from one of these to another, whoever acts meanwhile has the word.
            OwnerIs::Free | OwnerIs::Held | OwnerIs::Moving => self.status.phase != Phase::Promoting,
            OwnerIs::HandedTo(revision) => *revision == stable.revision,
        };
        let own = own && self.plan.sizing == Sizing::PerArm && !self.target.asked_of_owner;
        (own && !rule!(SizesOwners, false)).then_some(Forbidden::OwnersToSize)
    }

    /// Rules 1 and 3.
    fn destination(&self, write: &Write, after: &World, arm: &Arm) -> Option<Forbidden> {
        if self.gives_back(write) {
            return None;
        }
        // Neither may more be asked for, nor may more be possible: what a data plane still follows of somebody
        // else's split is no reason to ask for the same.
        let raised =
            |before: &[Load], after: &[Load]| before.iter().zip(after).any(|(was, is)| is.raises(*was));
        let of_route = matches!(write.change, Change::Split(..) | Change::Restore(_));
        let possible = |world: &World| match of_route {
            true => reach_at_any_size(self.plan, world, self.now, arm),
            false => reach_by_entry(self.plan, world, self.now, arm),
        };
        let asked = |world: &World| asked_by_entry(self.plan, world, arm);
        let more = !rule!(DriftIsNoRaise, false) && raised(&asked(self.world), &asked(after));
        let (was, is) = (possible(self.world), possible(after));
        let pinned = |entries: &[Load]| !divided(self.plan, entries.to_vec()).by_ready;
        let unpinned = pinned(&was) && !pinned(&is);
        if !more && !raised(&was, &is) {
            return None;
        }
        let worst = |entries: Vec<Load>| entries.into_iter().fold(Load::default(), Load::max);
        let load = worst(is);
        if let Some(suspected) = self.suspected(arm) {
            return Some(suspected);
        }
        let is_stable = Some(arm) == self.target.stable.as_ref();
        let claimed = after.arm(arm).get().is_some_and(|it| {
            let turning = matches!(self.status.phase, Phase::Aborting { .. });
            rule!(NoClaim, it.epoch == Some(self.status.epoch)) || (turning && rule!(NoAbortClaim, false))
        });
        let at_rest =
            is_stable && matches!(self.status.phase, Phase::Idle | Phase::RolledBack { .. } | Phase::Leaving);
        let astray = self.plan.steering != Steering::Ratio && unpinned && !is_stable;
        let astray = astray && !rule!(NoPin, false);
        if astray || !(claimed || at_rest) {
            let arm = arm.clone();
            let kept = if astray { Forbidden::Unpinned { arm } } else { Forbidden::Unclaimed { arm } };
            return Some(self.unsettled().unwrap_or(kept));
        }
        let whole = need(self.plan, self.target.total, load);
        // Where there is no route, requests find nothing at all: less than all of stable is better than that.
        let anew = write.fence == Fence::Absent && of_route && self.status.phase != Phase::Adopting;
        let alone = match self.status.fallen() {
            Some(Side::Stable) => Some(arm) == self.target.canary.as_ref(),
            Some(Side::Canary) => is_stable,
            None => false,
        };
        let overload = alone || is_stable && (anew || self.may_overload_stable());
        let needed = if overload { whole.min(1) } else { whole };
        let enough = match self.ready_of(arm) {
            Some(Ready::Elastic) => true,
            Some(Ready::Replicas(ready)) => ready >= needed,
            None => needed == 0,
        };
        let enough = rule!(RouteBeforeReady, enough);
        let ready = self.count_ready(arm);
        (!enough).then(|| Forbidden::NotReady { arm: arm.clone(), needed, ready })
    }

    /// Who gets what is decided once it is known whether stable is only restarting.
    fn suspected(&self, arm: &Arm) -> Option<Forbidden> {
        let Some(Down::Suspected { since }) = self.status.down else { return None };
        let on_trial = Some(arm) == self.target.canary.as_ref() && self.plan.steering != Steering::Ratio;
        let stable = self.target.stable.clone().filter(|_| on_trial)?;
        Some(Forbidden::Suspected { stable, until: Some(down::ends(since)).filter(|it| *it > self.now) })
    }

    /// Whether a route becomes as it is without a rollout while its owner rolls out what it likes.
    fn gives_back(&self, write: &Write) -> bool {
        let free = self.owner().is_some_and(|it| it.is == OwnerIs::Free);
        let rests = match &write.change {
            Change::Restore(_) => true,
            Change::Split(id, split) => {
                matches!(self.target.routes.get(id), Some(Aim::Rest(rest)) if rest == split)
            }
            Change::Create(..) | Change::Size(_) | Change::Claim(_) | Change::Remove(_) | Change::Own(_) => {
                false
            }
        };
        free && rests && self.status.phase == Phase::Leaving
    }

    /// Rules 2 and 5.
    fn source(&self, after: &World, arm: &Arm) -> Option<Forbidden> {
        let desired = |world: &World| world.arm(arm).get().map_or(0, |it| it.desired);
        let (before, lowered) = (desired(self.world), desired(after));
        // An arm without replicas may still be named by a route.
        let retired = self.world.arm(arm).get().is_some() && after.arm(arm).get().is_none();
        if lowered >= before && !retired {
            return None;
        }
        if let Some(unsettled) = self.unsettled().filter(|_| !rule!(SourceBeforeRoute, false)) {
            return Some(unsettled);
        }
        let load = reach_of_divided(self.plan, self.world, self.now, arm);
        let served = self.plan.steering != Steering::Ratio && load.by_ready && lowered == 0;
        let needed = need(self.plan, self.target.total, load).max(u32::from(served));
        if !rule!(ShrinkBelowNeed, lowered >= needed) {
            return Some(Forbidden::InUse { arm: arm.clone(), needed });
        }
        let ready =
            |world: &World| world.arms.keys().filter_map(|it| count(world, it)).fold(0, u32::saturating_add);
        let (present, left) = (ready(self.world), ready(after));
        let short = left < present && left < self.floor() && !self.may_overload_stable();
        if self.plan.steering == Steering::Ratio && short {
            return Some(Forbidden::TooFew { arm: arm.clone(), needed: self.floor(), ready: present });
        }
        None
    }

    /// A route that does not carry the present stamp or has not settled.
    fn unsettled(&self) -> Option<Forbidden> {
        self.plan.written().find_map(|(id, route)| {
            let Seen::Is(seen) = self.world.route(id) else { return None };
            let at_rest =
                matches!(self.target.routes.get(id), Some(Aim::Rest(split)) if *split == seen.asked);
            let stamped = rule!(NoRouteStamp, at_rest || seen.epoch == Some(self.status.epoch));
            let until = settles_at(route, seen).filter(|_| stamped);
            let settled = rule!(NoConfirm, until.is_some_and(|at| at <= self.now));
            (!settled).then(|| Forbidden::Unsettled { route: id.clone(), until })
        })
    }

    /// Replicas of all arms together that are allowed.
    pub(super) fn limit(&self) -> u32 {
        let total = self.target.total;
        let surge = self.plan.capacity.surge.above(total);
        // Of so few, none may be missing, for one has to serve, and none may be more: nothing could ever go back.
        let stuck = matches!(self.status.phase, Phase::Aborting { .. }) && total <= self.floor().max(1);
        total.saturating_add(surge.max(u32::from(stuck)))
    }

    pub(super) fn room(&self) -> u32 {
        let desired = self.world.arms.values().filter_map(Seen::get).map(|it| it.desired);
        if rule!(NoLimit, false) {
            return u32::MAX;
        }
        self.limit().saturating_sub(desired.fold(0, u32::saturating_add))
    }

    /// Ready replicas that must remain, over all arms together.
    pub(super) fn floor(&self) -> u32 {
        let missing = match self.plan.sizing {
            Sizing::Partition => self.batch(),
            Sizing::PerArm | Sizing::Elastic | Sizing::Fixed => {
                self.target.total - self.kept_of(self.target.total)
            }
        };
        self.target.total.saturating_sub(missing)
    }

    /// Of so many replicas, those that must not be missing.
    pub(super) fn kept_of(&self, replicas: u32) -> u32 {
        self.plan.capacity.max_unavailable.left_of(replicas, Weight::FULL)
    }

    /// Whether an abort may send stable more than it is sized for.
    pub(super) fn may_overload_stable(&self) -> bool {
        let Phase::Aborting { .. } = self.status.phase else { return false };
        if rule!(AbortWaits, false) {
            return false;
        }
        let overdue = self.is_overdue();
        let stable = self.target.stable.as_ref().and_then(|it| self.ready_of(it));
        let stable_is_up = rule!(RatioTakesLast, !matches!(stable, None | Some(Ready::Replicas(0))));
        let canary_is_down =
            self.target.canary.as_ref().is_none_or(|it| self.ready_of(it) == Some(Ready::Replicas(0)));
        (overdue && stable_is_up) || canary_is_down || self.gone(self.target.canary.as_ref())
    }

    /// Whether an abort has taken longer than it may.
    fn is_overdue(&self) -> bool {
        let end = self.status.since.checked_add(self.plan.deadlines.abort.0);
        matches!(self.status.phase, Phase::Aborting { .. }) && end.is_ok_and(|end| end <= self.now)
    }

    fn gone(&self, arm: Option<&Arm>) -> bool {
        arm.is_none_or(|it| matches!(self.world.arm(it), Seen::Absent))
    }
}

fn sends_to(split: &Split, below: &RouteId) -> bool {
    split.weight_of(&Dest::Route(below.clone())) != Weight::ZERO
}

fn count(world: &World, arm: &Arm) -> Option<u32> {
    match world.arm(arm).get()?.ready? {
        Ready::Replicas(ready) => Some(ready),
        Ready::Elastic => None,
    }
}
