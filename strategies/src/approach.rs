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
//!
//! Candidates are tried in a fixed order and the first one that no rule forbids is the write; what forbids the
//! others is what is waited for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::mutant::rule;
use crate::{
    Acknowledged, Arm, ArmSeen, Change, Dest, Fence, OwnerGoal, OwnerIs, Phase, Plan, Ready, RouteId,
    RouteKind, RoutePlan, RouteSeen, Seen, Sizing, Split, Status, Steering, WaitingFor, Weight, World, Write,
    predict::predict,
    reach::{Load, asked_by_entry, need, reach, reach_at_any_size, reach_by_entry, settles_at},
    target::{Aim, Target},
};

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
            Some((what, until)) => self.wait(what, until),
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

    fn owner(&self) -> Option<&crate::Owner> {
        self.world.owner.get()
    }

    /// A workload that the user took back is not touched.
    fn users_own(&mut self) -> bool {
        let users =
            self.owner().is_some_and(|it| it.is == OwnerIs::UsersOwn) && !rule!(UsersOwnTouched, false);
        if users {
            self.wait(WaitingFor::UsersOwn, None);
        }
        users
    }

    fn hold_owner(&mut self) {
        let (Some(owner), Some(goal)) = (self.owner(), &self.target.owner) else { return };
        let goal = goal.clone();
        match (&owner.is, &goal) {
            (OwnerIs::Moving, _) => self.wait(WaitingFor::Owner { goal }, None),
            // Whatever comes after, the owner must not roll its own template out meanwhile.
            (OwnerIs::Free | OwnerIs::HandedTo(_), OwnerGoal::Held | OwnerGoal::Refused(_)) => {
                let fence = owner.fence;
                self.offer(Change::Own(OwnerGoal::Held), fence);
            }
            (OwnerIs::Held | OwnerIs::UsersOwn | OwnerIs::Free | OwnerIs::HandedTo(_), _) => {}
        }
    }

    /// Stamps the arms that will be sent traffic under the present authority.
    fn claim(&mut self) {
        let (stable, canary) = match self.status.phase {
            Phase::Stepping { .. } => (self.target.stable.as_ref(), self.target.canary.as_ref()),
            Phase::Aborting { .. } | Phase::Promoting => (self.target.stable.as_ref(), None),
            Phase::Adopting if self.owner().is_none() => (self.target.stable.as_ref(), None),
            Phase::Adopting | Phase::Idle | Phase::RolledBack { .. } | Phase::Leaving | Phase::Left => {
                (None, None)
            }
        };
        let turning = matches!(self.status.phase, Phase::Aborting { .. });
        let stable = stable.filter(|_| !turning || !rule!(NoAbortClaim, false));
        for arm in stable.into_iter().chain(canary).filter(|_| !rule!(NoClaim, false)) {
            if let Seen::Is(seen) = self.world.arm(arm)
                && seen.epoch != Some(self.status.epoch)
            {
                let fence = seen.fence;
                self.offer(Change::Claim(arm.clone()), fence);
            }
        }
    }

    /// Makes and enlarges arms, as far as there is room.
    fn grow(&mut self) {
        if self.plan.sizing == Sizing::Partition {
            return self.shift_partition();
        }
        let target = self.target;
        for (arm, wished) in &target.sizes {
            let (desired, fence) = match self.world.arm(arm) {
                Seen::Is(seen) => (seen.desired, seen.fence),
                Seen::Absent => (0, Fence::Absent),
                Seen::Unread => continue,
            };
            let exists = fence != Fence::Absent;
            if *wished < desired || (*wished == desired && (exists || *wished == 0)) {
                continue;
            }
            let replicas = (*wished).min(desired.saturating_add(self.room()));
            if replicas == desired && *wished > desired {
                let arm = arm.clone();
                self.wait(WaitingFor::Room { arm, limit: self.limit() }, None);
                continue;
            }
            let change = match exists {
                true => Change::Size([(arm.clone(), replicas)].into()),
                // A create that lands late meets no version to be refused by. Where it would be sent traffic by
                // being there it is made without replicas, and sized once it has been seen.
                false if self.serves_when_ready(arm) => Change::Create(arm.clone(), 0),
                false => Change::Create(arm.clone(), replicas),
            };
            self.offer(change, fence);
        }
    }

    /// Whether replicas of an arm on trial may get requests although no route names it.
    fn serves_when_ready(&self, arm: &Arm) -> bool {
        let unpinned = self.plan.steering == Steering::Ratio
            || self.plan.routes().any(|(_, route)| route.rest == crate::RouteRest::ByReady);
        unpinned && self.target.stable.as_ref() != Some(arm) && !rule!(CreatesWhole, false)
    }

    /// Replicas of all arms together that are allowed.
    fn limit(&self) -> u32 {
        let total = self.target.total;
        total.saturating_add(self.plan.capacity.surge.replicas_of(total))
    }

    fn room(&self) -> u32 {
        let desired = self.world.arms.values().filter_map(Seen::get).map(|it| it.desired);
        if rule!(NoLimit, false) {
            return u32::MAX;
        }
        self.limit().saturating_sub(desired.fold(0, u32::saturating_add))
    }

    /// Ready replicas that must remain, over all arms together.
    fn floor(&self) -> u32 {
        let missing = match self.plan.sizing {
            Sizing::Partition => self.batch(),
            Sizing::PerArm | Sizing::Elastic | Sizing::Fixed => {
                self.target.total - self.kept_share().replicas_of(self.target.total)
            }
        };
        self.target.total.saturating_sub(missing)
    }

    fn kept_share(&self) -> Weight {
        self.plan.capacity.max_unavailable.complement()
    }

    /// Replicas that one move of a partition takes down at once.
    fn batch(&self) -> u32 {
        let total = self.target.total;
        (total - self.kept_share().replicas_of(total)).max(1).min(total)
    }

    /// One number moves both sides, a batch at a time, the batch before it ready again first.
    fn shift_partition(&mut self) {
        let (Some(stable), total) = (self.target.stable.clone(), self.target.total) else { return };
        let others = self.world.arms.iter().filter(|(arm, _)| **arm != stable);
        let other = self.target.canary.clone().or_else(|| others.map(|(arm, _)| arm.clone()).next());
        // One object carries both sides; a side without replicas may not be listed.
        let here = self.world.arm(&stable).get();
        let object = here.or_else(|| self.world.arm(other.as_ref()?).get());
        let (Some(fence), desired) = (object.map(|it| it.fence), here.map_or(0, |it| it.desired)) else {
            if let Some(wished) = self.target.sizes.get(&stable) {
                self.offer(Change::Create(stable.clone(), *wished), Fence::Absent);
            }
            return;
        };
        let Some(other) = other else {
            if desired != total && self.target.sizes.contains_key(&stable) {
                self.offer(Change::Size([(stable, total)].into()), fence);
            }
            return;
        };
        let there = self.world.arm(&other).get();
        let (at, wished) =
            (
                there.map_or(0, |it| it.desired),
                self.target.sizes.get(&other).copied().unwrap_or(
                    total.saturating_sub(self.target.sizes.get(&stable).copied().unwrap_or(desired)),
                ),
            );
        let next = match wished > at {
            true => at.saturating_add(self.batch()).min(wished),
            false => at.saturating_sub(self.batch()).max(wished),
        };
        let sizes = [(stable, total.saturating_sub(next)), (other, next)];
        if next != at || desired != total.saturating_sub(next) {
            self.offer(Change::Size(sizes.into()), fence);
        }
    }

    /// Writes routes, those that lead to an arm before those that lead to routes.
    fn route(&mut self) {
        let (plan, target) = (self.plan, self.target);
        let entries_last = |(_, route): &(&RouteId, &RoutePlan)| match route.kind {
            RouteKind::ToStable | RouteKind::ToCanary | RouteKind::Direct => 0,
            RouteKind::Weighted { .. } => 1,
        };
        let mut routes: Vec<_> = plan.routes().collect();
        routes.sort_by_key(entries_last);
        for (id, route) in routes {
            if let Some(aim) = target.routes.get(id) {
                self.route_one(id, route, aim);
            }
        }
    }

    fn route_one(&mut self, id: &RouteId, route: &RoutePlan, aim: &Aim) {
        let (seen, fence) = match self.world.route(id) {
            Seen::Is(seen) => (Some(seen), seen.fence),
            Seen::Absent => (None, Fence::Absent),
            Seen::Unread => return,
        };
        match aim {
            Aim::Rest(split) => match seen {
                Some(seen) if seen.asked != *split => {
                    let change = match route.rest {
                        crate::RouteRest::OnStable => Change::Split(id.clone(), split.clone()),
                        crate::RouteRest::ByReady | crate::RouteRest::Through(_) => {
                            Change::Restore(id.clone())
                        }
                    };
                    self.move_route(change, fence);
                }
                Some(seen) => self.await_settling(id, route, seen),
                None if route.rest == crate::RouteRest::OnStable => {
                    self.move_route(Change::Split(id.clone(), split.clone()), fence);
                }
                None => {}
            },
            Aim::Split(split) => {
                let stamped = seen.is_some_and(|it| rule!(NoRouteStamp, it.epoch == Some(self.status.epoch)));
                let next = self.as_far_as_carried(route, seen, split);
                match seen {
                    Some(seen)
                        if (stamped && seen.asked == next)
                            || rule!(ProgressFromRoute, false) && seen.manager.is_some() =>
                    {
                        if next != *split {
                            self.found.routes_move = true;
                            self.wait_for_stable();
                        }
                        self.await_settling(id, route, seen);
                    }
                    Some(seen) => {
                        self.move_route(Change::Split(id.clone(), next), fence);
                        if !stamped {
                            // What may not be moved yet is at least closed to writes of an older authority.
                            self.move_route(Change::Split(id.clone(), seen.asked.clone()), fence);
                        }
                    }
                    None => self.move_route(Change::Split(id.clone(), next), fence),
                }
            }
        }
    }

    fn await_settling(&mut self, id: &RouteId, route: &RoutePlan, seen: &RouteSeen) {
        match settles_at(route, seen) {
            Some(at) if at <= self.now => {}
            _ if rule!(TurnsBackEarly, false) && matches!(self.status.phase, Phase::Aborting { .. }) => {}
            until => {
                self.found.routes_move = true;
                self.wait(WaitingFor::Settling { route: id.clone() }, until);
            }
        }
    }

    /// Offers a write of a route, which is not as it should be.
    fn move_route(&mut self, change: Change, fence: Fence) {
        self.found.routes_move = true;
        self.offer(change, fence);
    }

    /// Rule 3: of the way home, as much as stable can carry now; anything else is taken whole or not at all.
    fn as_far_as_carried(&self, route: &RoutePlan, seen: Option<&RouteSeen>, aim: &Split) -> Split {
        let (Phase::Aborting { .. }, Some(seen), Some(stable)) =
            (&self.status.phase, seen, &self.target.stable)
        else {
            return aim.clone();
        };
        let RouteKind::Weighted { canary, .. } = &route.kind else { return aim.clone() };
        let Some(canary_arm) = &self.target.canary else { return aim.clone() };
        let to_canary = canary.clone().map_or_else(|| Dest::Arm(canary_arm.clone()), Dest::Route);
        let present = seen.asked.weight_of(&to_canary);
        let whole =
            need(self.plan, self.target.total, Load { share: Weight::FULL, some: true, by_ready: false });
        let carried = match self.ready_of(stable) {
            Some(Ready::Elastic) => Weight::FULL,
            Some(Ready::Replicas(0)) | None => return seen.asked.clone(),
            Some(Ready::Replicas(_)) if self.may_overload_stable() => Weight::FULL,
            Some(Ready::Replicas(ready)) => Weight::carried_by(ready, whole),
        };
        let rest = carried.complement().ppm().next_multiple_of(route.finest.ppm().max(1));
        let rest = Weight::from_ppm(rest).min(present);
        let to_stable = aim.dests().next();
        match (to_stable, rest) {
            (_, Weight::ZERO) | (None, _) => aim.clone(),
            (Some(to_stable), rest) => {
                Split::fixed([(to_stable, rest.complement()), (to_canary, rest)].into())
            }
        }
    }

    /// Whether an abort may send stable more than it is sized for.
    fn may_overload_stable(&self) -> bool {
        let Phase::Aborting { .. } = self.status.phase else { return false };
        if rule!(AbortWaits, false) {
            return false;
        }
        let overdue =
            self.status.since.checked_add(self.plan.deadlines.abort.0).is_ok_and(|end| end <= self.now);
        let stable = self.target.stable.as_ref().and_then(|it| self.ready_of(it));
        let stable_is_up = rule!(RatioTakesLast, !matches!(stable, None | Some(Ready::Replicas(0))));
        let canary_is_down =
            self.target.canary.as_ref().is_none_or(|it| self.ready_of(it) == Some(Ready::Replicas(0)));
        (overdue && stable_is_up) || canary_is_down || self.gone(self.target.canary.as_ref())
    }

    fn gone(&self, arm: Option<&Arm>) -> bool {
        arm.is_none_or(|it| matches!(self.world.arm(it), Seen::Absent))
    }

    fn wait_for_stable(&mut self) {
        let Some(arm) = self.target.stable.clone() else { return };
        let until =
            self.status.since.checked_add(self.plan.deadlines.abort.0).ok().filter(|it| *it > self.now);
        match self.ready_of(&arm) {
            Some(Ready::Replicas(0)) => self.wait(WaitingFor::StableIsDown { arm }, None),
            Some(Ready::Replicas(_) | Ready::Elastic) | None => {
                let load = Load { share: Weight::FULL, some: true, by_ready: false };
                let needed = need(self.plan, self.target.total, load);
                let ready = self.count_ready(&arm);
                self.wait(WaitingFor::Replicas { arm, needed, ready }, until);
            }
        }
    }

    fn ready_of(&self, arm: &Arm) -> Option<Ready> {
        self.world.arm(arm).get().and_then(|it| it.ready)
    }

    fn count_ready(&self, arm: &Arm) -> Option<u32> {
        match self.world.arm(arm) {
            Seen::Is(ArmSeen { ready: Some(Ready::Replicas(ready)), .. }) => Some(*ready),
            Seen::Absent => Some(0),
            Seen::Is(_) | Seen::Unread => None,
        }
    }

    /// Lowers arms that are larger than wished, as far as the rules allow at once.
    fn shrink(&mut self) {
        if self.plan.sizing == Sizing::Partition {
            return;
        }
        let target = self.target;
        for (arm, wished) in &target.sizes {
            let Seen::Is(seen) = self.world.arm(arm) else { continue };
            if seen.desired <= *wished {
                continue;
            }
            let load = reach(self.plan, self.world, self.now, arm);
            let carries = if rule!(ShrinkBelowNeed, false) { 0 } else { need(self.plan, target.total, load) };
            let mut least = carries.max(*wished);
            if self.plan.steering == Steering::Ratio {
                let floor = if self.may_overload_stable() { 0 } else { self.floor() };
                least = least.max(floor.saturating_sub(self.ready_of_others(arm)));
            }
            let replicas = least.min(seen.desired);
            if replicas == seen.desired {
                self.wait_for_successors(arm);
                continue;
            }
            self.offer(Change::Size([(arm.clone(), replicas)].into()), seen.fence);
        }
    }

    fn wait_for_successors(&mut self, shrinking: &Arm) {
        let others: Vec<_> = self.target.sizes.keys().filter(|it| *it != shrinking).cloned().collect();
        for arm in others {
            let (needed, ready) = (self.floor(), self.count_ready(&arm));
            self.wait(WaitingFor::Replicas { arm, needed, ready }, None);
        }
    }

    fn ready_of_others(&self, arm: &Arm) -> u32 {
        let others = self.world.arms.keys().filter(|it| *it != arm);
        others.filter_map(|it| self.count_ready(it)).fold(0, u32::saturating_add)
    }

    /// Retires arms that nothing asks for.
    fn retire(&mut self) {
        if self.plan.sizing == Sizing::Fixed {
            return;
        }
        let target = self.target;
        let stays = |arm: &Arm| {
            target.sizes.contains_key(arm) || target.kept.contains(arm) || Some(arm) == target.stable.as_ref()
        };
        let world = self.world;
        for (arm, seen) in world.arms.iter().filter(|(arm, _)| !stays(arm)) {
            let Seen::Is(seen) = seen else { continue };
            if self.plan.sizing == Sizing::Partition && seen.desired > 0 {
                continue;
            }
            if let Some(until) = self.kept_until(arm, seen) {
                let revision = arm.revision.clone();
                self.wait(WaitingFor::KeepingCanary { revision }, Some(until));
                continue;
            }
            self.offer(Change::Remove(arm.clone()), seen.fence);
        }
    }

    fn kept_until(&self, arm: &Arm, seen: &ArmSeen) -> Option<Timestamp> {
        let (Phase::RolledBack { .. }, Some(canary)) = (&self.status.phase, &self.target.canary) else {
            return None;
        };
        let end = self.status.since.checked_add(self.plan.capacity.keep_canary.0).ok()?;
        (canary == arm && seen.desired > 0 && end > self.now).then_some(end)
    }

    /// Gives the workload to its owner when nothing of the way is left.
    fn release_owner(&mut self) {
        let (Some(owner), Some(goal)) = (self.owner(), &self.target.owner) else { return };
        let (goal, fence) = (goal.clone(), owner.fence);
        let reached = match (&owner.is, &goal) {
            (OwnerIs::Free, OwnerGoal::Free) | (OwnerIs::Held, OwnerGoal::Held) => true,
            (OwnerIs::Held, OwnerGoal::Refused(revision)) => owner.refused.as_ref() == Some(revision),
            (OwnerIs::HandedTo(revision), OwnerGoal::HandedTo(goal)) => revision == goal,
            (OwnerIs::UsersOwn | OwnerIs::Moving, _)
            | (OwnerIs::Free | OwnerIs::Held | OwnerIs::HandedTo(_), _) => false,
        };
        let ours = !matches!(owner.is, OwnerIs::UsersOwn | OwnerIs::Moving);
        if reached || !ours {
            return;
        }
        if let OwnerGoal::HandedTo(revision) = &goal {
            self.check_heir(&Arm::main(revision.clone()));
        }
        if rule!(HandOverEarly, self.found.waiting.is_empty()) {
            self.offer(Change::Own(goal), fence);
        } else {
            self.wait(WaitingFor::Owner { goal }, None);
        }
    }

    /// What is handed over carries everything: its new owner sizes it as it finds it.
    fn check_heir(&mut self, heir: &Arm) {
        let load = Load { share: Weight::FULL, some: true, by_ready: false };
        let needed = need(self.plan, self.target.total, load);
        let enough = match self.ready_of(heir) {
            Some(Ready::Elastic) => true,
            Some(Ready::Replicas(ready)) => ready >= needed,
            None => false,
        };
        let enough = rule!(SmallHeir, enough);
        if !enough {
            let ready = self.count_ready(heir);
            self.wait(WaitingFor::Replicas { arm: heir.clone(), needed, ready }, None);
        }
    }

    /// Arrived only when everything asked for is also ready.
    fn check_replicas(&mut self) {
        if let Phase::Aborting { .. } = self.status.phase {
            return;
        }
        self.check_owners_arms();
        let target = self.target;
        let asked = target.sizes.iter().map(|(arm, size)| (arm, *size));
        let present = |arm: &Option<Arm>| arm.clone().filter(|it| !target.sizes.contains_key(it));
        let (stable, canary) = (present(&target.stable), present(&target.canary));
        let natively = self.status.phase == Phase::Adopting && self.owner().is_some();
        let native = if natively { target.total } else { 0 };
        let fixed = stable.iter().map(|arm| (arm, native)).chain(canary.iter().map(|arm| (arm, 0)));
        let all: Vec<(Arm, u32)> = asked.chain(fixed).map(|(arm, size)| (arm.clone(), size)).collect();
        for (arm, size) in all {
            let load = self.wished_load(&arm);
            let of_size = self.kept_share().replicas_of(size).max(u32::from(size > 0));
            let needed = need(self.plan, target.total, load).max(of_size);
            let enough = match self.ready_of(&arm) {
                Some(Ready::Elastic) => true,
                Some(Ready::Replicas(ready)) => ready >= needed,
                None => needed == 0,
            };
            if !enough {
                let ready = self.count_ready(&arm);
                self.wait(WaitingFor::Replicas { arm, needed, ready }, None);
            }
        }
    }

    /// While an owner takes the workload over, or rolls the first revision out, only that revision may be left.
    fn check_owners_arms(&mut self) {
        let (Some(owner), Some(stable)) = (self.owner(), &self.target.stable) else { return };
        if !matches!(self.status.phase, Phase::Adopting | Phase::Promoting) {
            return;
        }
        let goal = OwnerGoal::HandedTo(stable.revision.clone());
        let others = self.world.arms.iter().filter(|(arm, _)| *arm != stable);
        let left = others.filter_map(|(_, seen)| seen.get()).any(|it| it.desired > 0);
        let adopting = self.status.phase == Phase::Adopting;
        let behind = adopting && (owner.behind == crate::Behind::Template || owner.is == OwnerIs::Moving);
        if left || behind {
            self.wait(WaitingFor::Owner { goal }, None);
        }
    }

    /// What the arm gets once every route is as the target wants it.
    fn wished_load(&self, arm: &Arm) -> Load {
        let mut world = self.world.clone();
        for (id, aim) in &self.target.routes {
            let (Aim::Split(split) | Aim::Rest(split)) = aim;
            if let Some(Seen::Is(seen)) = world.routes.get_mut(id) {
                seen.asked = split.clone();
                seen.acknowledged = Some(Acknowledged { split: split.clone(), since: Timestamp::MIN });
            }
        }
        reach(self.plan, &world, self.now, arm)
    }

    /// The first rule that forbids a write, as what must be waited for.
    fn forbidden(&self, write: &Write) -> Option<(WaitingFor, Option<Timestamp>)> {
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
        arms.into_iter()
            .find_map(|arm| self.destination(write, &after, arm).or_else(|| self.source(&after, arm)))
    }

    /// Rules 1 and 3.
    fn destination(
        &self,
        write: &Write,
        after: &World,
        arm: &Arm,
    ) -> Option<(WaitingFor, Option<Timestamp>)> {
        // Neither may more be asked for, nor may more be possible: what a data plane still follows of somebody
        // else's split is no reason to ask for the same.
        let raised =
            |before: &[Load], after: &[Load]| before.iter().zip(after).any(|(was, is)| is.raises(*was));
        let of_route = matches!(write.change, Change::Split(..) | Change::Restore(_));
        let possible = |world: &World| match of_route && !rule!(EmptyIsNobody, false) {
            true => reach_at_any_size(self.plan, world, self.now, arm),
            false => reach_by_entry(self.plan, world, self.now, arm),
        };
        let asked = |world: &World| asked_by_entry(self.plan, world, arm);
        let more = !rule!(DriftIsNoRaise, false) && raised(&asked(self.world), &asked(after));
        let (was, is) = (possible(self.world), possible(after));
        if !more && !raised(&was, &is) {
            return None;
        }
        let worst = |entries: Vec<Load>| entries.into_iter().fold(Load::default(), Load::max);
        let (before, load) = (worst(was), worst(is));
        let is_stable = Some(arm) == self.target.stable.as_ref();
        let claimed = after.arm(arm).get().is_some_and(|it| {
            let turning = matches!(self.status.phase, Phase::Aborting { .. });
            rule!(NoClaim, it.epoch == Some(self.status.epoch)) || (turning && rule!(NoAbortClaim, false))
        });
        let at_rest =
            is_stable && matches!(self.status.phase, Phase::Idle | Phase::RolledBack { .. } | Phase::Leaving);
        let astray = self.plan.steering != Steering::Ratio && load.by_ready && !before.by_ready && !is_stable;
        let astray = astray && !rule!(NoPin, false);
        if astray || !(claimed || at_rest) {
            return Some(self.unsettled().unwrap_or_else(|| self.replicas(arm, load)));
        }
        let needed = match is_stable && self.may_overload_stable() {
            true => 1,
            false => need(self.plan, self.target.total, load),
        };
        let enough = match self.ready_of(arm) {
            Some(Ready::Elastic) => true,
            Some(Ready::Replicas(ready)) => ready >= needed,
            None => needed == 0,
        };
        let enough = rule!(RouteBeforeReady, enough);
        (!enough).then(|| self.replicas(arm, load))
    }

    fn replicas(&self, arm: &Arm, load: Load) -> (WaitingFor, Option<Timestamp>) {
        let needed = need(self.plan, self.target.total, load);
        (WaitingFor::Replicas { arm: arm.clone(), needed, ready: self.count_ready(arm) }, None)
    }

    /// Rules 2 and 5.
    fn source(&self, after: &World, arm: &Arm) -> Option<(WaitingFor, Option<Timestamp>)> {
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
        let load = reach(self.plan, self.world, self.now, arm);
        let served = self.plan.steering != Steering::Ratio && load.by_ready && lowered == 0;
        let carried = !served && lowered >= need(self.plan, self.target.total, load);
        if !(rule!(ShrinkBelowNeed, carried)) {
            return Some(self.replicas(arm, load));
        }
        let ready =
            |world: &World| world.arms.keys().filter_map(|it| count(world, it)).fold(0, u32::saturating_add);
        let (present, left) = (ready(self.world), ready(after));
        let short = left < present && left < self.floor() && !self.may_overload_stable();
        if self.plan.steering == Steering::Ratio && short {
            return Some((
                WaitingFor::Replicas { arm: arm.clone(), needed: self.floor(), ready: Some(present) },
                None,
            ));
        }
        None
    }

    /// A route that does not carry the present stamp or has not settled.
    fn unsettled(&self) -> Option<(WaitingFor, Option<Timestamp>)> {
        self.plan.routes().find_map(|(id, route)| {
            let Seen::Is(seen) = self.world.route(id) else { return None };
            let at_rest =
                matches!(self.target.routes.get(id), Some(Aim::Rest(split)) if *split == seen.asked);
            let stamped = rule!(NoRouteStamp, at_rest || seen.epoch == Some(self.status.epoch));
            let until = settles_at(route, seen).filter(|_| stamped);
            let settled = rule!(NoConfirm, until.is_some_and(|at| at <= self.now));
            (!settled).then(|| (WaitingFor::Settling { route: id.clone() }, until))
        })
    }
}

fn count(world: &World, arm: &Arm) -> Option<u32> {
    match world.arm(arm).get()?.ready? {
        Ready::Replicas(ready) => Some(ready),
        Ready::Elastic => None,
    }
}
