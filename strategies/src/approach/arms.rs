//! Writes of arms: they are stamped, made, enlarged, lowered and retired.

use jiff::Timestamp;

use super::Way;
use crate::mutant::rule;
use crate::{
    Acknowledged, Arm, ArmSeen, Change, Fence, Phase, Ready, RouteRest, Seen, Side, Sizing, Steering,
    WaitingFor,
    reach::{Load, need, reach},
    target::Aim,
};

impl Way<'_> {
    /// Stamps the arms that will be sent traffic under the present authority.
    pub(super) fn claim(&mut self) {
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
    pub(super) fn grow(&mut self) {
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
            || self.plan.routes().any(|(_, route)| route.rest == RouteRest::ByReady);
        unpinned && self.target.stable.as_ref() != Some(arm) && !rule!(CreatesWhole, false)
    }

    /// Lowers arms that are larger than wished, as far as the rules allow at once.
    pub(super) fn shrink(&mut self) {
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
    pub(super) fn retire(&mut self) {
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
            if self.is_given_back(seen) {
                continue;
            }
            if self.plan.sizing == Sizing::Partition && seen.desired > 0 {
                continue;
            }
            if let Some(until) = self.kept_until(arm, seen) {
                let revision = arm.revision.clone();
                self.wait(WaitingFor::KeepingCanary { revision }, Some(until));
                continue;
            }
            if let Some(stable) = self.last_to_answer(arm) {
                self.wait(WaitingFor::StableIsDown { arm: stable }, None);
                continue;
            }
            self.offer(Change::Remove(arm.clone()), seen.fence);
        }
    }

    /// Whether an arm is the owner's own affair: it gets the workload back, and what it runs carries no stamp of ours.
    fn is_given_back(&self, seen: &ArmSeen) -> bool {
        self.status.phase == Phase::Leaving && self.owner().is_some() && seen.epoch.is_none()
    }

    /// Stable, where it answers nothing and `arm` does: what is to go stays until something else is there.
    fn last_to_answer(&self, arm: &Arm) -> Option<Arm> {
        let answers = |it: &Arm| !matches!(self.ready_of(it), None | Some(Ready::Replicas(0)));
        let stable = self.target.stable.clone().filter(|it| self.target.total > 0 && !answers(it))?;
        answers(arm).then_some(stable)
    }

    fn kept_until(&self, arm: &Arm, seen: &ArmSeen) -> Option<Timestamp> {
        let (Phase::RolledBack { .. }, Some(canary)) = (&self.status.phase, &self.target.canary) else {
            return None;
        };
        let end = self.status.since.checked_add(self.plan.capacity.keep_canary.0).ok()?;
        (canary == arm && seen.desired > 0 && end > self.now).then_some(end)
    }

    /// Arrived only when everything asked for is also ready.
    pub(super) fn check_replicas(&mut self) {
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
        let fallen = match self.status.fallen() {
            Some(Side::Stable) => target.stable.as_ref(),
            Some(Side::Canary) => target.canary.as_ref(),
            None => None,
        };
        let all: Vec<(Arm, u32)> = asked
            .chain(fixed)
            .filter(|(arm, _)| Some(*arm) != fallen)
            .map(|(arm, size)| (arm.clone(), size))
            .collect();
        for (arm, size) in all {
            let load = self.wished_load(&arm);
            let of_size = self.kept_of(size).max(u32::from(size > 0));
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

    pub(super) fn ready_of(&self, arm: &Arm) -> Option<Ready> {
        self.world.arm(arm).get().and_then(|it| it.ready)
    }

    pub(super) fn count_ready(&self, arm: &Arm) -> Option<u32> {
        match self.world.arm(arm) {
            Seen::Is(ArmSeen { ready: Some(Ready::Replicas(ready)), .. }) => Some(*ready),
            Seen::Absent => Some(0),
            Seen::Is(_) | Seen::Unread => None,
        }
    }
}
