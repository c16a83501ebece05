use std::collections::{BTreeMap, BTreeSet};

use crate::mutant::rule;
use crate::{
    Arm, ArmSeen, Dest, Goal, Matched, OwnerGoal, OwnerIs, Phase, Plan, Revision, RouteId, RouteKind,
    RoutePlan, RouteRest, Scaler, Seen, Side, Sizing, Split, StableCapacity, Status, Steering, Wanted,
    Weight, World,
};

/// What the present phase wants the world to be, whatever it is now. [`approach`](crate::approach) finds the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Replicas that carry all the traffic.
    pub total: u32,
    /// The arm that serves stable.
    pub stable: Option<Arm>,
    /// The arm on trial, while one is.
    pub canary: Option<Arm>,
    /// How many replicas each arm should have. Arms that are neither here nor in `kept` go.
    pub sizes: BTreeMap<Arm, u32>,
    /// Arms that stay as they are.
    pub kept: BTreeSet<Arm>,
    /// What each route should ask for.
    pub routes: BTreeMap<RouteId, Aim>,
    /// What the instance manager below should do; `None`: whatever it does.
    pub owner: Option<OwnerGoal>,
    /// Whether it takes stable's number from the engine, because the autoscaler asks the Rollout.
    pub asked_of_owner: bool,
}

/// What a route should ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Aim {
    /// This, stamped with the present epoch.
    Split(Split),
    /// This, which is what it looks like when no rollout runs; no stamp.
    Rest(Split),
}

/// The destination that stands for stable in a route of this kind.
pub(crate) fn dest_of_stable(kind: &RouteKind, stable: &Revision) -> Dest {
    match kind {
        RouteKind::Weighted { stable: Some(route), .. } => Dest::Route(route.clone()),
        RouteKind::Weighted { stable: None, .. }
        | RouteKind::ToStable
        | RouteKind::ToCanary
        | RouteKind::Direct
        | RouteKind::Proportional => Dest::Arm(Arm::main(stable.clone())),
    }
}

/// What the present phase wants; `None` where nothing is to be done at all.
#[must_use]
pub fn target(plan: &Plan, status: &Status, world: &World, wanted: &Wanted) -> Option<Target> {
    let build = Build { plan, status, world, wanted };
    match &status.phase {
        Phase::Adopting => Some(build.adopting()),
        Phase::Idle => Some(build.home(build.idle_owner())),
        Phase::Stepping { .. } => Some(build.stepping()),
        Phase::Promoting => Some(build.promoting()),
        Phase::Aborting { .. } => Some(build.aborting()),
        Phase::RolledBack { .. } => {
            let refused = status.canary.clone().map(OwnerGoal::Refused);
            let refused = if rule!(FreesRefused, false) { Some(OwnerGoal::Free) } else { refused };
            Some(build.home(build.has_owner().then_some(refused).flatten()))
        }
        Phase::Leaving => Some(build.home(build.has_owner().then_some(OwnerGoal::Free))),
        Phase::Left => None,
    }
}

struct Build<'a> {
    plan: &'a Plan,
    status: &'a Status,
    world: &'a World,
    wanted: &'a Wanted,
}

impl Build<'_> {
    fn stable(&self) -> Option<Arm> {
        self.status.stable.clone().map(Arm::main)
    }

    fn canary(&self) -> Option<Arm> {
        let on_trial = |it: &&Revision| Some(*it) != self.status.stable.as_ref();
        self.status.canary.as_ref().filter(on_trial).cloned().map(Arm::main)
    }

    fn has_owner(&self) -> bool {
        self.world.owner.get().is_some()
    }

    /// The engine sizes stable where nobody else does: without an instance manager below, while stable is detached from
    /// it, or where it takes the number from whoever asks, and the autoscaler asks the Rollout.
    fn sizes_stable(&self) -> bool {
        let Some(owner) = self.world.owner.get() else { return true };
        let asked = self.wanted.scaler == Some(Scaler::StableOnly) && !rule!(AutoscalerUnheard, false);
        match owner.is {
            OwnerIs::Detached => true,
            // One number moves both sides, and it is another than the wanted one.
            OwnerIs::Held => asked || self.plan.sizing == Sizing::Partition,
            OwnerIs::Free | OwnerIs::HandedTo(_) => asked,
            OwnerIs::Moving | OwnerIs::UsersOwn => false,
        }
    }

    /// Whether stable must be detached from its owner to be sized as this plan wants it.
    fn detaches_stable(&self) -> bool {
        let lowers =
            self.plan.steering == Steering::Ratio || self.plan.capacity.stable != StableCapacity::Keep;
        self.has_owner() && self.plan.sizing == Sizing::PerArm && lowers
    }

    fn is_detached(&self) -> bool {
        self.world.owner.get().is_some_and(|it| it.is == OwnerIs::Detached)
    }

    fn idle_owner(&self) -> Option<OwnerGoal> {
        match self.wanted_is_stable() {
            true => self.has_owner().then_some(OwnerGoal::Free),
            false => self.is_detached().then_some(OwnerGoal::Held),
        }
    }

    fn wanted_is_stable(&self) -> bool {
        self.status.stable.as_ref() == Some(&self.wanted.revision)
    }

    fn empty(&self) -> Target {
        Target {
            total: self.wanted.replicas,
            stable: self.stable(),
            canary: None,
            sizes: BTreeMap::new(),
            kept: BTreeSet::new(),
            routes: BTreeMap::new(),
            owner: None,
            asked_of_owner: self.wanted.scaler == Some(Scaler::StableOnly),
        }
    }

    /// The first revision: bring it up, or wait until whoever rolls it out natively is done.
    fn adopting(&self) -> Target {
        let first = Arm::main(self.wanted.revision.clone());
        let mut target = self.empty();
        if self.has_owner() {
            target.kept = self.world.arms.keys().cloned().chain([first.clone()]).collect();
            // With nothing stable there is nothing to hold it for.
            target.owner = Some(OwnerGoal::Free);
        } else {
            match self.plan.sizing {
                Sizing::PerArm | Sizing::Partition => {
                    target.sizes.insert(first.clone(), self.wanted.replicas);
                }
                Sizing::Elastic | Sizing::Fixed => {
                    target.kept.insert(first.clone());
                }
            }
            for (id, route) in self.plan.written() {
                let split = Split::all_to(match &route.kind {
                    RouteKind::Weighted { stable: Some(below), .. } => Dest::Route(below.clone()),
                    RouteKind::Weighted { stable: None, .. }
                    | RouteKind::ToStable
                    | RouteKind::ToCanary
                    | RouteKind::Direct
                    | RouteKind::Proportional => Dest::Arm(first.clone()),
                });
                target.routes.insert(id.clone(), Aim::Split(split));
            }
        }
        target.stable = Some(first);
        target
    }

    fn stepping(&self) -> Target {
        let goal = self.evading(self.status.goal());
        let mut target = self.empty();
        target.canary = self.canary();
        let held = if self.detaches_stable() { OwnerGoal::Detached } else { OwnerGoal::Held };
        target.owner = self.has_owner().then_some(held);
        self.size_both(&mut target, &goal);
        for (id, route) in self.plan.written() {
            target.routes.insert(id.clone(), Aim::Split(self.lower(&goal, route)));
        }
        target
    }

    /// What the routes ask for and the canary is sized by while one side answers nothing. By ratio whoever is ready serves.
    fn evading(&self, goal: Goal) -> Goal {
        match (self.status.fallen(), &self.plan.steering) {
            (Some(Side::Stable), Steering::Routes(_)) => {
                Goal { weight: Weight::FULL, scale: goal.scale, ..Goal::home() }
            }
            (Some(Side::Canary), Steering::Routes(_)) => Goal { scale: goal.scale, ..Goal::home() },
            (None, _) | (Some(_), Steering::Ratio) => goal,
        }
    }

    fn size_both(&self, target: &mut Target, goal: &Goal) {
        let (Some(stable), Some(canary)) = (target.stable.clone(), target.canary.clone()) else { return };
        if matches!(self.plan.sizing, Sizing::Elastic | Sizing::Fixed) {
            target.kept.extend([stable, canary]);
            return;
        }
        let on_canary = self.canary_replicas(goal, &canary);
        target.sizes.insert(canary, on_canary);
        // Wherever stable is to be detached it is the engine's to size, as soon as it is.
        match self.sizes_stable() || target.owner == Some(OwnerGoal::Detached) {
            // Whatever it answers now, stable keeps the size that it has to come back to.
            true => {
                let replicas = self.plan.stable_replicas(&self.status.goal(), self.wanted.replicas);
                target.sizes.insert(stable, replicas);
            }
            false => _ = target.kept.insert(stable),
        }
    }

    fn canary_replicas(&self, goal: &Goal, canary: &Arm) -> u32 {
        let wished = self.plan.canary_replicas(goal, self.wanted.replicas);
        let wished = match self.plan.sizing {
            Sizing::Partition => wished.min(self.wanted.replicas),
            Sizing::PerArm | Sizing::Elastic | Sizing::Fixed => wished,
        };
        let by_ratio = self.plan.steering == Steering::Ratio;
        // An autoscaler that counts canary pods would be fed by a canary that follows it. By ratio there are no more of
        // both sides than it asked for.
        match (self.wanted.scaler, self.world.arm(canary), self.status.held) {
            (Some(Scaler::CanaryToo), Seen::Is(seen), Some(_)) if !by_ratio && wished > 0 => seen.desired,
            _ => wished,
        }
    }

    /// All traffic is on the new stable already; now everything that names stable follows, then the old goes.
    fn promoting(&self) -> Target {
        let mut target = self.home_sizes();
        for (id, route) in self.plan.written() {
            target.routes.insert(id.clone(), Aim::Split(self.lower(&Goal::home(), route)));
        }
        if self.has_owner()
            && let Some(stable) = &self.status.stable
        {
            target.owner = Some(OwnerGoal::HandedTo(stable.clone()));
            let handed = self.world.owner.get().is_some_and(|it| it.is == OwnerIs::HandedTo(stable.clone()));
            if !handed && matches!(self.plan.sizing, Sizing::PerArm | Sizing::Partition) {
                // Until then the new stable is ours to size, and the old one its owner's to keep and to retire.
                target.sizes.insert(Arm::main(stable.clone()), self.wanted.replicas);
                target.kept.extend(self.world.arms.keys().cloned());
            }
            // What it owned before is its own to scale down.
            target.kept.extend(self.world.arms.keys().cloned());
        }
        target
    }

    fn aborting(&self) -> Target {
        let mut target = self.home_sizes();
        target.canary = self.canary();
        // Its replicas serve until the traffic has left them, and go in the phase after this one.
        target.kept.extend(self.world.arms.keys().cloned());
        if self.plan.steering == Steering::Ratio {
            self.size_both(&mut target, &Goal::home());
        } else if let Some(canary) = target.canary.clone().filter(|_| self.canary_makes_way()) {
            // As far as its traffic lets it.
            target.kept.remove(&canary);
            target.sizes.insert(canary, 0);
        }
        // As small as it may be now, stable is given back only once it is whole, in the phase after this one.
        let held = if self.is_detached() { OwnerGoal::Detached } else { OwnerGoal::Held };
        target.owner = self.has_owner().then_some(held);
        for (id, route) in self.plan.written() {
            target.routes.insert(id.clone(), Aim::Split(self.homeward(id, route)));
        }
        target
    }

    /// Whether the canary goes while an abort runs: without any room stable could never come back, and whoever comes in by a
    /// Service that is never written meets it for as long as it is there.
    fn canary_makes_way(&self) -> bool {
        let shared = self.plan.is_shared() && self.plan.sizing == Sizing::PerArm;
        (shared && !rule!(SharedStays, false)) || self.stable_lacks_room()
    }

    /// Whether stable is smaller than it should be while all replicas that are allowed are asked for.
    fn stable_lacks_room(&self) -> bool {
        let total = self.wanted.replicas;
        let asked = |seen: &Seen<ArmSeen>| seen.get().map_or(0, |it| it.desired);
        let small = self.stable().is_some_and(|it| asked(self.world.arm(&it)) < total);
        let all = self.world.arms.values().map(asked).fold(0, u32::saturating_add);
        let limit = total.saturating_add(self.plan.capacity.surge.above(total));
        let sized = self.plan.sizing == Sizing::PerArm && self.sizes_stable();
        sized && small && all >= limit && !rule!(CanaryKeepsRoom, false)
    }

    /// The split of an abort: everything to stable, while `-canary` keeps pointing where it points.
    fn homeward(&self, id: &RouteId, route: &RoutePlan) -> Split {
        match (&route.kind, self.world.route(id)) {
            (RouteKind::ToCanary, Seen::Is(seen)) => seen.asked.clone(),
            _ => self.lower(&Goal::home(), route),
        }
    }

    /// No rollout runs: routes rest once no other arm is left.
    fn home(&self, owner: Option<OwnerGoal>) -> Target {
        let mut target = self.home_sizes();
        target.owner = owner;
        target.canary = self.canary().filter(|_| matches!(self.status.phase, Phase::RolledBack { .. }));
        if self.is_given_back() {
            // What its owner makes of the workload from here on is none of ours.
            target.kept.extend(self.world.arms.keys().cloned());
            target.sizes.clear();
        }
        let other = |arm: &Arm| Some(arm) != target.stable.as_ref() && !target.kept.contains(arm);
        let alone = !self.world.arms.iter().any(|(arm, seen)| other(arm) && is_there(seen));
        for (id, route) in self.plan.written() {
            if self.status.stable.is_none() {
                continue;
            }
            let aim = match (&route.rest, alone) {
                (RouteRest::OnStable, _) => {
                    Aim::Rest(crate::predict::rest_of(self.plan, self.status, self.world, id))
                }
                (RouteRest::ByReady | RouteRest::Through(_), true) => {
                    Aim::Rest(crate::predict::rest_of(self.plan, self.status, self.world, id))
                }
                (RouteRest::ByReady | RouteRest::Through(_), false) => Aim::Split(self.homeward(id, route)),
            };
            target.routes.insert(id.clone(), aim);
        }
        target
    }

    /// Whether the workload is, or is about to be, its owner's again because the Rollout is being deleted.
    fn is_given_back(&self) -> bool {
        let free = |it: &crate::Owner| {
            !rule!(OwnersArmsRetired, false) && matches!(it.is, OwnerIs::Free | OwnerIs::Moving)
        };
        self.status.phase == Phase::Leaving && self.world.owner.get().is_some_and(free)
    }

    fn home_sizes(&self) -> Target {
        let mut target = self.empty();
        let Some(stable) = target.stable.clone() else { return target };
        let sized = match self.plan.sizing {
            Sizing::PerArm | Sizing::Partition => self.sizes_stable(),
            Sizing::Elastic | Sizing::Fixed => false,
        };
        match sized {
            true => drop(target.sizes.insert(stable, self.wanted.replicas)),
            false => drop(target.kept.insert(stable)),
        }
        target
    }

    /// A goal in terms of stable and canary, as one route writes it.
    fn lower(&self, goal: &Goal, route: &RoutePlan) -> Split {
        let Some(stable) = self.status.stable.clone() else { return Split::fixed(BTreeMap::new()) };
        let to_stable = dest_of_stable(&route.kind, &stable);
        let Some(canary) = self.canary() else { return Split::all_to(to_stable) };
        match &route.kind {
            RouteKind::Direct if self.status.fallen() == Some(Side::Stable) => {
                Split::all_to(Dest::Arm(canary))
            }
            RouteKind::ToStable | RouteKind::Direct | RouteKind::Proportional => Split::all_to(to_stable),
            RouteKind::ToCanary => Split::all_to(Dest::Arm(canary)),
            RouteKind::Weighted { canary: through, .. } => {
                let to_canary = through.clone().map_or(Dest::Arm(canary), Dest::Route);
                weighted(goal, to_stable, to_canary)
            }
        }
    }
}

/// Whether an arm exists, or may exist.
pub(crate) fn is_there(seen: &Seen<ArmSeen>) -> bool {
    match seen {
        Seen::Absent => false,
        Seen::Unread | Seen::Is(_) => true,
    }
}

/// The split of a weighted entry.
fn weighted(goal: &Goal, to_stable: Dest, to_canary: Dest) -> Split {
    let weights = [(to_stable, goal.weight.complement()), (to_canary.clone(), goal.weight)];
    let matched = |(id, any_of): (&crate::Name, &Vec<crate::RequestMatch>)| Matched {
        id: id.clone(),
        any_of: any_of.clone(),
        to: to_canary.clone(),
    };
    let mut split = Split::fixed(weights.into());
    split.matches = goal.matches.iter().map(matched).collect();
    if goal.mirror != Weight::ZERO {
        split.mirrors.insert(to_canary.clone(), goal.mirror);
    }
    // Without a canary to stay with there is nobody to stick to.
    split.sticky = goal.sticky.clone().filter(|_| goal.reaches_canary() && goal.weight != Weight::FULL);
    split
}
