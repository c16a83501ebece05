use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    Findings, Violation,
    exposure::{
        ALL, Exposure, Of, arriving_by, authorised, by_entry, canary, exposure_of, has_ready, loose, needed,
        ratio_allows, settled, shared_allows, stable, total,
    },
};
use crate::{
    Amount, Arm, ArmSeen, Behind, Change, Dest, Down, Epoch, Fence, OwnerGoal, OwnerIs, Phase, Plan, Ready,
    RouteId, RouteKind, RouteRest, RouteSeen, Scaler, Seen, Share, Side, Sizing, Split, Status, Steering,
    World, Write,
};

/// What one write breaks, judged on the world and the status it was decided on.
#[must_use]
pub fn check_write(
    plan: &Plan,
    status: &Status,
    world: &World,
    write: &Write,
    now: Timestamp,
) -> Vec<Violation> {
    let after = after(plan, status, world, write);
    let (was, becomes) = (by_entry(plan, world, Of::Asked), by_entry(plan, &after, Of::Asked));
    let judge = Judge { plan, status, world, after: &after, was, becomes, write, now };
    let mut found = Findings(vec![]);
    judge.fence(&mut found);
    judge.form(&mut found);
    judge.somewhere(&mut found);
    let arms: BTreeSet<&Arm> = world.arms.keys().chain(after.arms.keys()).collect();
    let dests = BTreeSet::from_iter(dest_arms(&after));
    for arm in arms.into_iter().chain(&dests).collect::<BTreeSet<_>>() {
        judge.rise(&mut found, arm);
        judge.fall(&mut found, arm);
    }
    judge.room(&mut found);
    judge.owner(&mut found);
    judge.one_sizer(&mut found);
    found.0
}

/// The world as it is asked to be once `write` is accepted and nothing has followed it yet.
#[must_use]
pub fn after(plan: &Plan, status: &Status, world: &World, write: &Write) -> World {
    let mut after = world.clone();
    match &write.change {
        Change::Create(arm, replicas) => add(plan, &mut after, arm, *replicas, write),
        Change::Size(sizes) => {
            for (arm, replicas) in sizes {
                match after.arms.get_mut(arm) {
                    Some(Seen::Is(seen)) => resize(seen, *replicas, write.epoch),
                    Some(Seen::Unread | Seen::Absent) | None => add(plan, &mut after, arm, *replicas, write),
                }
            }
        }
        Change::Claim(arm) => {
            if let Some(Seen::Is(seen)) = after.arms.get_mut(arm) {
                seen.epoch = Some(write.epoch);
            }
        }
        Change::Remove(arm) => {
            after.arms.insert(arm.clone(), Seen::Absent);
        }
        Change::Split(route, split) => put(&mut after, route, split.clone(), Some(write.epoch), write.fence),
        Change::Restore(route) => {
            if let Some(rest) = at_rest(plan, status, world, route) {
                put(&mut after, route, rest, None, write.fence);
            }
        }
        Change::Own(_) => {}
    }
    after
}

/// What a route looks like when no rollout runs; `None` where it is not of the plan, or nothing is stable.
pub(super) fn at_rest(plan: &Plan, status: &Status, world: &World, route: &RouteId) -> Option<Split> {
    let (_, planned) = plan.routes().find(|(id, _)| *id == route)?;
    match &planned.rest {
        RouteRest::Through(below) => Some(Split::all_to(Dest::Route(below.clone()))),
        RouteRest::ByReady => {
            let there = world.arms.iter().filter(|(_, it)| !matches!(it, Seen::Absent));
            Some(Split::by_ready(there.map(|(arm, _)| arm.clone()).collect()))
        }
        RouteRest::OnStable => {
            let arm = stable(status)?;
            Some(Split::all_to(match &planned.kind {
                RouteKind::Weighted { stable: Some(below), .. } => Dest::Route(below.clone()),
                RouteKind::Weighted { stable: None, .. }
                | RouteKind::ToStable
                | RouteKind::ToCanary
                | RouteKind::Direct
                | RouteKind::Proportional => Dest::Arm(arm),
            }))
        }
    }
}

fn add(plan: &Plan, world: &mut World, arm: &Arm, replicas: u32, write: &Write) {
    let seen = ArmSeen {
        desired: replicas,
        ready: Some(Ready::Replicas(0)),
        epoch: Some(write.epoch),
        fence: write.fence,
    };
    world.arms.insert(arm.clone(), Seen::Is(seen));
    let unpinned = plan.routes().map(|(id, _)| id);
    for id in unpinned {
        if let Some(Seen::Is(route)) = world.routes.get_mut(id)
            && let Share::ByReady(arms) = &mut route.asked.share
        {
            arms.insert(arm.clone());
        }
    }
}

fn resize(seen: &mut ArmSeen, replicas: u32, epoch: Epoch) {
    seen.desired = replicas;
    seen.epoch = Some(epoch);
    if let Some(Ready::Replicas(ready)) = &mut seen.ready {
        *ready = replicas.min(*ready);
    }
}

fn put(world: &mut World, route: &RouteId, split: Split, epoch: Option<Epoch>, fence: Fence) {
    let acknowledged = world.route(route).get().and_then(|it| it.acknowledged.clone());
    let seen = RouteSeen { asked: split, epoch, acknowledged, manager: None, fence };
    world.routes.insert(route.clone(), Seen::Is(seen));
}

fn dest_arms(world: &World) -> impl Iterator<Item = Arm> {
    world.routes.values().filter_map(Seen::get).flat_map(|it| it.asked.dests()).filter_map(|it| match it {
        Dest::Arm(arm) => Some(arm),
        Dest::Route(_) => None,
    })
}

struct Judge<'a> {
    plan: &'a Plan,
    status: &'a Status,
    world: &'a World,
    after: &'a World,
    /// What every arm is asked to get, per entry, before and after.
    was: Vec<BTreeMap<Arm, Exposure>>,
    becomes: Vec<BTreeMap<Arm, Exposure>>,
    write: &'a Write,
    now: Timestamp,
}

impl Judge<'_> {
    fn is_stable(&self, arm: &Arm) -> bool {
        stable(self.status).as_ref() == Some(arm)
    }

    /// Before anything is stable, what is wanted is brought up as the first.
    fn is_first(&self, arm: &Arm) -> bool {
        let wanted = self.world.wanted.get().map(|it| Arm::main(it.revision.clone()));
        self.status.stable.is_none() && wanted.as_ref() == Some(arm)
    }

    fn total(&self) -> u32 {
        // Without a workload what was there counts.
        let most = || self.world.arms.values().filter_map(Seen::get).map(|it| it.desired).max();
        let gone = self.world.wanted == Seen::Absent;
        total(self.world).or_else(|| most().filter(|_| gone)).unwrap_or(u32::MAX)
    }

    /// S7.
    fn fence(&self, found: &mut Findings) {
        let Write { change, fence, epoch } = self.write;
        found.require(*epoch == self.status.epoch, "S7", || {
            format!("{change:?} carries {epoch:?} under {:?}", self.status.epoch)
        });
        let arm = |arm: &Arm| match self.world.arm(arm) {
            Seen::Is(it) => Some((it.fence, it.epoch)),
            Seen::Absent => Some((Fence::Absent, None)),
            Seen::Unread => None,
        };
        let route = |id: &RouteId| match self.world.route(id) {
            Seen::Is(it) => Some((it.fence, it.epoch)),
            Seen::Absent => Some((Fence::Absent, None)),
            Seen::Unread => None,
        };
        let objects: Vec<Option<(Fence, Option<Epoch>)>> = match change {
            Change::Create(it, _) | Change::Claim(it) | Change::Remove(it) => vec![arm(it)],
            // One object carries them all; arms that it does not carry yet have no version.
            Change::Size(sizes) => {
                let there = sizes.keys().filter(|it| !matches!(self.world.arm(it), Seen::Absent));
                there.map(arm).collect()
            }
            Change::Split(it, _) | Change::Restore(it) => vec![route(it)],
            Change::Own(_) => vec![self.world.owner.get().map(|it| (it.fence, None))],
        };
        for object in objects {
            let seen = object.is_some_and(|(seen, _)| seen == *fence);
            found.require(seen, "S7", || format!("{change:?} carries {fence:?}, the object has {object:?}"));
            let older = object.is_some_and(|(_, stamp)| stamp.is_some_and(|it| *epoch < it));
            found.require(!older, "S7", || format!("{change:?} of {epoch:?} over {object:?}"));
        }
        let makes = matches!(change, Change::Split(..) | Change::Restore(_)) && *fence == Fence::Absent;
        found.require(!makes || self.status.phase != Phase::Leaving, "S22", || {
            format!("{change:?} makes what is not there while the Rollout goes away")
        });
        let create = matches!(change, Change::Create(..));
        let over = create && *fence != Fence::Absent;
        found.require(!over, "S7", || format!("{change:?} over an existing object"));
    }

    /// S12, of splits: weights sum to all requests, and destinations are of the plan.
    fn form(&self, found: &mut Findings) {
        let (Change::Split(route, _) | Change::Restore(route)) = &self.write.change else { return };
        let kind = self.plan.routes().find(|(id, _)| *id == route).map(|(_, it)| &it.kind);
        found.require(kind != Some(&RouteKind::Proportional), "S15", || {
            format!("{route} is written, and is its user's alone")
        });
        let Change::Split(route, split) = &self.write.change else { return };
        if let Share::Fixed(weights) = &split.share {
            let sum: u64 = weights.values().map(|it| u64::from(it.ppm())).sum();
            found.require(sum == ALL, "S12", || format!("the weights of {route} sum to {sum}"));
        }
        for dest in split.dests() {
            let known = match &dest {
                Dest::Arm(_) => true,
                Dest::Route(id) => self.plan.routes().any(|(it, _)| it == id),
            };
            found.require(known, "S12", || format!("{route} is sent to {dest:?}, which is not of the plan"));
        }
    }

    /// S2: no request that finds an arm is sent where there is none, and what is made anew leads to arms only. At deletion
    /// a user's object is as its user wrote it, and past the abort deadline nobody asks a data plane about what it has led
    /// to already.
    fn somewhere(&self, found: &mut Findings) {
        let id = match &self.write.change {
            Change::Split(id, _) => id,
            Change::Restore(id) if self.status.phase != Phase::Leaving => id,
            Change::Restore(_)
            | Change::Create(..)
            | Change::Size(_)
            | Change::Claim(_)
            | Change::Remove(_)
            | Change::Own(_) => return,
        };
        let asked = |world: &World| world.route(id).get().map(|it| it.asked.clone());
        let dests = |world: &World| asked(world).map_or_else(BTreeSet::new, |it| it.dests().collect());
        let known = dests(self.after).is_subset(&dests(self.world));
        let of = if known && self.is_overdue() { Of::Asked } else { Of::Possible(self.now) };
        let arrive = |split: Split| arriving_by(self.plan, self.after, &split, of);
        let Some(after) = asked(self.after).map(arrive) else { return };
        let before = asked(self.world).map_or(ALL, arrive);
        found.require(after >= before, "S2", || {
            format!("of a million requests that come in at {id}, {before} found an arm, {after} will")
        });
    }

    /// Before and after of `arm`, per entry.
    fn changes<'b>(&'b self, arm: &'b Arm) -> impl Iterator<Item = (Exposure, Exposure)> + 'b {
        let of = |met: &BTreeMap<Arm, Exposure>| met.get(arm).cloned().unwrap_or_default();
        self.was.iter().zip(&self.becomes).map(move |(was, becomes)| (of(was), of(becomes)))
    }

    /// S1, S2, S6: of an arm whose traffic rises. Of a workload that is its owner's again whatever is ready serves.
    fn rise(&self, found: &mut Findings, arm: &Arm) {
        let free = self.world.owner.get().is_some_and(|it| it.is == OwnerIs::Free);
        let given_back = (free || self.world.wanted == Seen::Absent) && self.status.phase == Phase::Leaving;
        let rests = match &self.write.change {
            Change::Restore(_) => true,
            Change::Split(id, split) => {
                at_rest(self.plan, self.status, self.world, id).as_ref() == Some(split)
            }
            Change::Create(..) | Change::Size(_) | Change::Claim(_) | Change::Remove(_) | Change::Own(_) => {
                false
            }
        };
        if given_back && rests {
            return;
        }
        for (before, after) in self.changes(arm) {
            self.authority(found, arm, &before, &after);
            let balanced = after.balanced && !before.balanced && !self.is_stable(arm) && !self.is_first(arm);
            let rises = Exposure { balanced: false, ..after.clone() }.exceeds(&before);
            if self.plan.steering != Steering::Ratio && (rises || balanced) {
                self.carried(found, arm, &after);
            }
        }
    }

    fn carried(&self, found: &mut Findings, arm: &Arm, after: &Exposure) {
        let seen = self.world.arm(arm).get();
        // What leads to stable when no rollout runs carries no stamp.
        let rests = matches!(self.status.phase, Phase::Idle | Phase::RolledBack { .. });
        let anew = rests && self.is_stable(arm) && self.write.fence == Fence::Absent;
        let stamped = anew || seen.is_some_and(|it| it.epoch == Some(self.status.epoch));
        found.require(stamped, "S2", || {
            format!("{arm} gets {after:?} without the stamp of {:?}: {seen:?}", self.status.epoch)
        });
        let needed = needed(self.plan, self.total(), after);
        // While one side answers nothing, one replica of the other is better than that.
        let alone = match self.status.down {
            Some(Down::Certain { side: Side::Stable, .. }) => canary(self.status).as_ref() == Some(arm),
            Some(Down::Certain { side: Side::Canary, .. }) => self.is_stable(arm),
            Some(Down::Suspected { .. }) | None => false,
        };
        let needed = if alone { needed.min(1) } else { needed };
        let enough = has_ready(self.world, arm, needed) || (self.is_stable(arm) && self.may_overload(arm));
        found.require(enough, "S2", || format!("{arm} gets {after:?}, needs {needed} ready, has {seen:?}"));
    }

    fn authority(&self, found: &mut Findings, arm: &Arm, before: &Exposure, after: &Exposure) {
        if self.is_stable(arm) || self.is_first(arm) {
            return;
        }
        let mut allowed = before.clone();
        if canary(self.status).as_ref() == Some(arm) {
            let goal = authorised(self.plan, self.status);
            allowed.share = allowed.share.max(u64::from(goal.weight.ppm()));
            allowed.copies = allowed.copies.max(u64::from(goal.mirror.ppm()));
            allowed.matches.extend(goal.matches.into_keys());
        }
        let turning = matches!(self.status.phase, Phase::Aborting { .. } | Phase::RolledBack { .. });
        let id = if turning { "S6" } else { "S1" };
        if self.plan.steering == Steering::Ratio {
            return self.authority_by_ratio(found, arm, id);
        }
        if after.shared {
            self.authority_of_shared(found, arm, id);
        }
        found.require(!after.exceeds(&allowed), id, || {
            format!("{arm} gets {after:?}, allowed is {allowed:?} in {:?}", self.status.phase)
        });
    }

    /// Behind one load balancer the replicas are the split: no more of them than the share authorises.
    fn authority_by_ratio(&self, found: &mut Findings, arm: &Arm, id: &'static str) {
        let desired = |world: &World| world.arm(arm).get().map_or(0, |it| u64::from(it.desired));
        let goal = authorised(self.plan, self.status);
        let allowed = match canary(self.status).as_ref() == Some(arm) {
            true => ratio_allows(u64::from(goal.weight.ppm()), self.total()),
            false => 0,
        };
        let asked = desired(self.after);
        found.require(asked <= allowed.max(desired(self.world)), id, || {
            format!("{arm} gets {asked} replicas behind the balancer, allowed are {allowed}")
        });
    }

    /// Whoever comes in by a Service that is never written meets an arm as often as its part of the replicas is large.
    fn authority_of_shared(&self, found: &mut Findings, arm: &Arm, id: &'static str) {
        let desired = |world: &World| world.arm(arm).get().map_or(0, |it| u64::from(it.desired));
        let weight = match canary(self.status).as_ref() == Some(arm) {
            true => u64::from(authorised(self.plan, self.status).weight.ppm()),
            false => 0,
        };
        let allowed = shared_allows(self.plan, weight, self.total());
        let asked = desired(self.after);
        found.require(asked <= allowed.max(desired(self.world)), id, || {
            format!(
                "{arm} gets {asked} replicas behind a Service that is never written, allowed are {allowed}"
            )
        });
    }

    /// S2, the way home: stable may get more than it carries if the others can't carry it either, or if the abort
    /// has taken too long; never without one ready replica while another arm has some.
    fn may_overload(&self, home: &Arm) -> bool {
        let losing =
            |arm: &&Arm| *arm != home && self.changes(arm).any(|(before, after)| before.exceeds(&after));
        let losers: Vec<&Arm> = self.world.arms.keys().filter(losing).collect();
        let nobody = losers.iter().all(|it| !has_ready(self.world, it, 1));
        if !has_ready(self.world, home, 1) {
            return nobody;
        }
        let carries = |arm: &&Arm| {
            let needs = self.changes(arm).map(|(before, _)| needed(self.plan, self.total(), &before));
            has_ready(self.world, arm, needs.max().unwrap_or(0))
        };
        nobody || self.is_overdue() || !losers.iter().all(carries)
    }

    /// Whether the abort has taken so long that it may overload stable.
    fn is_overdue(&self) -> bool {
        let age = self.now.duration_since(self.status.since).unsigned_abs();
        matches!(self.status.phase, Phase::Aborting { .. }) && age >= self.plan.deadlines.abort.0
    }

    /// S3 and S11: of an arm whose replicas are lowered or retired.
    fn fall(&self, found: &mut Findings, arm: &Arm) {
        let desired = |world: &World| world.arm(arm).get().map_or(0, |it| it.desired);
        let (before, left) = (desired(self.world), desired(self.after));
        let removed = matches!(&self.write.change, Change::Remove(it) if it == arm);
        if removed {
            found.require(!self.is_stable(arm), "S11", || format!("{arm} is stable and is retired"));
        }
        if left >= before && !removed {
            return;
        }
        self.sources_settled(found, &format!("{arm} goes from {before} to {left}"));
        self.part_of_all(found, arm, left);
        let met = exposure_of(self.plan, self.world, arm, Of::Possible(self.now));
        let needed = needed(self.plan, self.total(), &met);
        found.require(u64::from(left) >= needed, "S3", || {
            format!("{arm} goes from {before} to {left}, and may still get {met:?}, which needs {needed}")
        });
        if removed && self.plan.steering != Steering::Ratio {
            found.require(!met.any(), "S3", || format!("{arm} is retired and may still get {met:?}"));
        }
        self.available(found, arm, left);
    }

    /// S1: behind one balancer a part of the requests leaves stable something to answer the rest.
    fn part_of_all(&self, found: &mut Findings, arm: &Arm, left: u32) {
        let Some(tried) = canary(self.status).filter(|_| self.plan.steering == Steering::Ratio) else {
            return;
        };
        let part = u64::from(authorised(self.plan, self.status).weight.ppm()) < ALL;
        let beside = self.after.arm(&tried).get().is_some_and(|it| it.desired > 0);
        let all = self.is_stable(arm) && left == 0 && part && beside && self.total() > 0;
        found.require(!all, "S1", || {
            format!("{tried} is alone behind the balancer in {:?}", self.status.phase)
        });
    }

    fn sources_settled(&self, found: &mut Findings, what: &str) {
        let loose: Vec<&RouteId> = loose(self.plan, self.status, self.world, self.now).collect();
        found.require(loose.is_empty(), "S3", || {
            format!("{what} while {loose:?} are not stamped with {:?} or not settled", self.status.epoch)
        });
    }

    /// S12: the engine takes no more ready replicas away than may be missing, of arms that share one balancer or
    /// one number.
    fn available(&self, found: &mut Findings, arm: &Arm, left: u32) {
        let one_pool = self.plan.steering == Steering::Ratio || self.plan.sizing == Sizing::Partition;
        let ready = |world: &World| -> u64 {
            let counts = world.arms.values().filter_map(Seen::get).filter_map(|it| it.ready);
            counts.map(|it| if let Ready::Replicas(ready) = it { u64::from(ready) } else { 0 }).sum()
        };
        let (before, after) = (ready(self.world), ready(self.after));
        let overdue =
            self.is_overdue() && stable(self.status).is_some_and(|it| has_ready(self.world, &it, 1));
        if !one_pool || after >= before || overdue {
            return;
        }
        let total = u64::from(self.total());
        let missing = match self.plan.capacity.max_unavailable {
            Amount::Share(share) => total * u64::from(share.ppm()) / ALL,
            Amount::Replicas(count) => u64::from(count),
        };
        // One number moves both sides of a partition, so at least one replica is exchanged at a time.
        let missing = missing.max(u64::from(self.plan.sizing == Sizing::Partition));
        found.require(after + missing >= total, "S12", || {
            format!(
                "{arm} goes to {left}: {before} ready become {after} of {total}, {missing} may be missing"
            )
        });
    }

    /// S12: no more replicas than the wanted number and the surge.
    fn room(&self, found: &mut Findings) {
        if matches!(self.plan.sizing, Sizing::Elastic | Sizing::Fixed) {
            return;
        }
        let sum = |world: &World| -> u64 {
            world.arms.values().filter_map(Seen::get).map(|it| u64::from(it.desired)).sum()
        };
        let total = u64::from(self.total());
        let surge = match self.plan.capacity.surge {
            Amount::Share(share) => (total * u64::from(share.ppm())).div_ceil(ALL),
            Amount::Replicas(count) => u64::from(count),
        };
        // Of so few that none may be missing, one may be more on the way back: else there is none.
        let missing = match self.plan.capacity.max_unavailable {
            Amount::Share(share) => total * u64::from(share.ppm()) / ALL,
            Amount::Replicas(count) => u64::from(count),
        };
        // Whatever may be missing, one has to serve.
        let spare = missing.min(total.saturating_sub(1));
        let stuck = matches!(self.status.phase, Phase::Aborting { .. }) && spare == 0;
        let limit = total + surge.max(u64::from(stuck));
        let (before, after) = (sum(self.world), sum(self.after));
        found.require(after <= limit.max(before), "S12", || {
            format!("{after} replicas are asked for, {limit} are allowed: {:?}", self.write.change)
        });
        if self.plan.sizing == Sizing::Partition {
            let sizes: BTreeMap<&Arm, u32> = match &self.write.change {
                Change::Size(sizes) => sizes.iter().map(|(arm, it)| (arm, *it)).collect(),
                Change::Create(..)
                | Change::Claim(_)
                | Change::Remove(_)
                | Change::Split(..)
                | Change::Restore(_)
                | Change::Own(_) => return,
            };
            found.require(after == total || after >= before, "S12", || {
                format!("one number moves both sides, and {sizes:?} sum to {after} of {total}")
            });
        }
    }

    /// S3, S4, S11: of what the instance manager below is asked.
    fn owner(&self, found: &mut Findings) {
        let Change::Own(goal) = &self.write.change else { return };
        let moving = self.world.owner.get().is_some_and(|it| it.is == OwnerIs::Moving);
        found.require(!moving, "S15", || format!("{goal:?} is asked of an owner that is on its way"));
        if !matches!(goal, OwnerGoal::Detached | OwnerGoal::HandedTo(_)) {
            self.given_back(found);
        }
        match goal {
            OwnerGoal::Held | OwnerGoal::Detached => {}
            OwnerGoal::Refused(revision) => {
                let refused = self.status.is_refused(revision);
                found.require(refused, "S10", || {
                    format!("{revision} is reported as failed and was not refused")
                });
            }
            OwnerGoal::Free => {
                let leaving = matches!(self.status.phase, Phase::Leaving);
                let behind = self.world.owner.get().is_some_and(|it| it.behind == Behind::Template);
                let wanted = self.world.wanted.get().map(|it| &it.revision);
                let same = self.status.stable.is_none() || wanted == self.status.stable.as_ref();
                found.require(leaving || self.status.stable.is_none() || (same && !behind), "S4", || {
                    format!("the owner would roll out {wanted:?} by itself")
                });
            }
            OwnerGoal::HandedTo(revision) => self.hand_over(found, &Arm::main(revision.clone())),
        }
    }

    /// S12: what was detached is given back with all of its replicas.
    fn given_back(&self, found: &mut Findings) {
        let detached = self.world.owner.get().is_some_and(|it| it.is == OwnerIs::Detached);
        let Some(home) = stable(self.status).filter(|_| detached) else { return };
        let desired = self.world.arm(&home).get().map_or(0, |it| it.desired);
        found.require(desired == self.total(), "S12", || {
            format!("{home} is given back with {desired} of {} replicas", self.total())
        });
    }

    /// S15: what its owner sizes is not sized here too. What an owner runs once the canary is committed is not stable
    /// until it was handed over.
    fn one_sizer(&self, found: &mut Findings) {
        let (Change::Size(sizes), Some(owner)) = (&self.write.change, self.world.owner.get()) else { return };
        let asks = self.world.wanted.get().is_some_and(|it| it.scaler == Some(Scaler::StableOnly));
        let Some(home) = stable(self.status).filter(|_| self.plan.sizing == Sizing::PerArm && !asks) else {
            return;
        };
        let owned = match &owner.is {
            OwnerIs::Free | OwnerIs::Held | OwnerIs::Moving => !matches!(self.status.phase, Phase::Promoting),
            OwnerIs::HandedTo(it) => Arm::main(it.clone()) == home,
            OwnerIs::Detached | OwnerIs::UsersOwn => false,
        };
        found.require(!(owned && sizes.contains_key(&home)), "S15", || {
            format!("{sizes:?} while the owner, {:?}, sizes {home}", owner.is)
        });
    }

    fn hand_over(&self, found: &mut Findings, heir: &Arm) {
        found.require(self.is_stable(heir), "S11", || format!("{heir} is handed over and is not stable"));
        self.sources_settled(found, &format!("{heir} is handed over"));
        // Behind one balancer whoever is ready serves: the heir carries everything, and what was before it is its owner's to
        // scale down.
        let apart = self.plan.steering != Steering::Ratio;
        for arm in self.world.arms.keys().filter(|it| *it != heir && apart) {
            let met = exposure_of(self.plan, self.world, arm, Of::Possible(self.now));
            found.require(!met.any(), "S3", || format!("{heir} is handed over and {arm} may get {met:?}"));
        }
        let all = Exposure { share: ALL, ..Exposure::default() };
        let needed = needed(self.plan, self.total(), &all);
        found.require(has_ready(self.world, heir, needed), "S3", || {
            format!("{heir} is handed over with {:?} of {needed}", self.world.arm(heir))
        });
    }
}

/// Whether every route has settled.
pub(super) fn all_settled(plan: &Plan, world: &World, now: Timestamp) -> bool {
    let mut written = plan.routes().filter(|(_, it)| it.kind != RouteKind::Proportional);
    written.all(|(id, _)| matches!(world.route(id), Seen::Absent) || settled(plan, world, id, now))
}
