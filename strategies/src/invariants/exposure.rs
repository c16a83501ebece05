use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    Amount, Arm, Dest, Down, Goal, Name, Phase, Plan, Ready, RouteId, RouteKind, Seen, Share, Side, Sizing,
    Split, StableCapacity, Status, Steering, Weight, World,
};

/// All requests, in parts per million.
pub(super) const ALL: u64 = 1_000_000;

/// What one arm can meet, over every way that requests can take.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Exposure {
    /// Its share of the requests that no match claims, parts per million, of the worst entry.
    pub share: u64,
    /// Its share of copies, parts per million, of the worst entry.
    pub copies: u64,
    /// The matches that send to it.
    pub matches: BTreeSet<Name>,
    /// Whether it stands behind a load balancer that serves whatever is ready.
    pub balanced: bool,
    /// The same of a Service that is never written, so that its clients are nobody's to divide.
    pub shared: bool,
}

impl Exposure {
    /// Whether any request or copy can come at all.
    #[must_use]
    pub fn any(&self) -> bool {
        self.share > 0 || self.copies > 0 || !self.matches.is_empty() || self.balanced
    }

    /// Whether there is anything here that is not in `other`.
    #[must_use]
    pub fn exceeds(&self, other: &Self) -> bool {
        self.share > other.share
            || self.copies > other.copies
            || !self.matches.is_subset(&other.matches)
            || (self.balanced && !other.balanced)
    }

    fn worst(mut self, other: Self) -> Self {
        self.share = self.share.max(other.share);
        self.copies = self.copies.max(other.copies);
        self.matches.extend(other.matches);
        self.balanced |= other.balanced;
        self.shared |= other.shared;
        self
    }
}

/// Which splits of a route count.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Of {
    /// What the objects ask for.
    Asked,
    /// That, and what a data plane may still follow.
    Possible(Timestamp),
}

/// What can come to `arm`, over what is asked and, until `now`, may still be followed.
#[must_use]
pub fn exposure(plan: &Plan, world: &World, arm: &Arm, now: Timestamp) -> Exposure {
    exposure_of(plan, world, arm, Of::Possible(now))
}

/// What can come to `arm`: the worst entry counts.
pub(super) fn exposure_of(plan: &Plan, world: &World, arm: &Arm, of: Of) -> Exposure {
    by_entry(plan, world, of)
        .into_iter()
        .filter_map(|mut met| met.remove(arm))
        .fold(Exposure::default(), Exposure::worst)
}

/// What every arm meets, per entry: everything is followed from the top.
pub(super) fn by_entry(plan: &Plan, world: &World, of: Of) -> Vec<BTreeMap<Arm, Exposure>> {
    match &plan.steering {
        Steering::Ratio => {
            let there = world.arms.iter().filter(|(_, it)| it.get().is_some_and(|it| it.desired > 0));
            let met = Exposure { balanced: true, ..Exposure::default() };
            vec![there.map(|(arm, _)| (arm.clone(), met.clone())).collect()]
        }
        Steering::Routes(routes) => {
            let entry = |kind: &RouteKind| !matches!(kind, RouteKind::ToStable | RouteKind::ToCanary);
            let entries = routes.iter().filter(|(_, it)| entry(&it.kind));
            let met = |(id, route): (&RouteId, &crate::RoutePlan)| {
                let mut met = flow(plan, world, id, of, 0);
                for it in met.values_mut().filter(|_| route.kind == RouteKind::Proportional) {
                    (it.shared, it.balanced) = (it.balanced, false);
                }
                met
            };
            entries.map(met).collect()
        }
    }
}

/// A split names the Services of one entry for all of them; a request may be for any.
fn services_beside<'a>(plan: &'a Plan, route: &'a RouteId) -> Vec<&'a RouteId> {
    let Steering::Routes(routes) = &plan.steering else { return vec![route] };
    let mut all = vec![route];
    if let Some(own) = routes.get(route)
        && matches!(own.kind, RouteKind::ToStable | RouteKind::ToCanary)
    {
        all.extend(routes.iter().filter(|(id, it)| *id != route && it.kind == own.kind).map(|(id, _)| id));
    }
    all
}

/// Whether the data plane of `route` follows what is asked and nothing else.
#[must_use]
pub fn settled(plan: &Plan, world: &World, route: &RouteId, now: Timestamp) -> bool {
    let Some(seen) = world.route(route).get() else { return false };
    let Some((_, planned)) = plan.routes().find(|(id, _)| *id == route) else { return false };
    seen.acknowledged.as_ref().is_some_and(|it| {
        let age = now.duration_since(it.since).unsigned_abs();
        it.split == seen.asked && it.since <= now && age >= planned.settle.0
    })
}

/// Where the requests that enter at `id` end up.
fn flow(plan: &Plan, world: &World, id: &RouteId, of: Of, depth: u8) -> BTreeMap<Arm, Exposure> {
    let Some(seen) = world.route(id).get().filter(|_| depth < 8) else { return BTreeMap::new() };
    let mut flows = divide(plan, world, &seen.asked, of, depth);
    if let (Of::Possible(now), Some(acknowledged)) = (of, &seen.acknowledged)
        && !settled(plan, world, id, now)
    {
        for (arm, old) in divide(plan, world, &acknowledged.split, of, depth) {
            let asked = flows.remove(&arm).unwrap_or_default();
            flows.insert(arm, asked.worst(old));
        }
    }
    flows
}

fn divide(plan: &Plan, world: &World, split: &Split, of: Of, depth: u8) -> BTreeMap<Arm, Exposure> {
    let below = |dest: &Dest| match dest {
        Dest::Arm(arm) => BTreeMap::from([(arm.clone(), Exposure { share: ALL, ..Exposure::default() })]),
        Dest::Route(route) => {
            let mut worst = BTreeMap::<Arm, Exposure>::new();
            for it in services_beside(plan, route) {
                for (arm, met) in flow(plan, world, it, of, depth + 1) {
                    let before = worst.remove(&arm).unwrap_or_default();
                    worst.insert(arm, before.worst(met));
                }
            }
            worst
        }
    };
    let mut flows = BTreeMap::<Arm, Exposure>::new();
    match &split.share {
        Share::Fixed(weights) => {
            for (dest, weight) in weights.iter().filter(|(_, it)| it.ppm() > 0) {
                for (arm, met) in below(dest) {
                    let sum = flows.entry(arm).or_default();
                    sum.share += (met.share * u64::from(weight.ppm())).div_ceil(ALL);
                    sum.copies += met.copies;
                    sum.balanced |= met.balanced;
                    sum.matches.extend(met.matches);
                }
            }
        }
        Share::ByReady(arms) => {
            for arm in arms.iter().filter(|it| world.arm(it).get().is_some_and(|it| it.desired > 0)) {
                flows.entry(arm.clone()).or_default().balanced = true;
            }
        }
    }
    for matched in &split.matches {
        for (arm, _) in below(&matched.to) {
            flows.entry(arm).or_default().matches.insert(matched.id.clone());
        }
    }
    for (dest, weight) in split.mirrors.iter().filter(|(_, it)| it.ppm() > 0) {
        for (arm, met) in below(dest) {
            flows.entry(arm).or_default().copies += (met.share * u64::from(weight.ppm())).div_ceil(ALL);
        }
    }
    flows
}

/// Of the requests that come in at `id`, how many in a million have an arm at the end of their way. Of a route that has not
/// settled, the worse of what is asked and what is still followed.
pub(super) fn arriving(plan: &Plan, world: &World, id: &RouteId, of: Of) -> u64 {
    through(plan, world, id, of, 0)
}

/// The same of the requests that `split` divides.
pub(super) fn arriving_by(plan: &Plan, world: &World, split: &Split, of: Of) -> u64 {
    ends(plan, world, split, of, 0)
}

fn through(plan: &Plan, world: &World, id: &RouteId, of: Of, depth: u8) -> u64 {
    let Some(seen) = world.route(id).get().filter(|_| depth < 8) else { return 0 };
    let asked = ends(plan, world, &seen.asked, of, depth);
    match of {
        Of::Possible(now) if !settled(plan, world, id, now) => {
            let followed = seen.acknowledged.as_ref().map(|it| ends(plan, world, &it.split, of, depth));
            asked.min(followed.unwrap_or(0))
        }
        Of::Asked | Of::Possible(_) => asked,
    }
}

fn ends(plan: &Plan, world: &World, split: &Split, of: Of, depth: u8) -> u64 {
    let below = |dest: &Dest| match dest {
        Dest::Arm(_) => ALL,
        Dest::Route(route) => {
            let ways = services_beside(plan, route).into_iter();
            ways.map(|it| through(plan, world, it, of, depth + 1)).min().unwrap_or(0)
        }
    };
    let by_share = match &split.share {
        Share::Fixed(weights) => {
            let parts = weights.iter().map(|(dest, weight)| u64::from(weight.ppm()) * below(dest) / ALL);
            parts.sum()
        }
        Share::ByReady(arms) => {
            let there = |it: &Arm| !matches!(world.arm(it), Seen::Absent);
            if arms.iter().any(there) { ALL } else { 0 }
        }
    };
    split.matches.iter().map(|it| below(&it.to)).fold(by_share, u64::min)
}

/// Ready replicas that carry `met`, where `total` carry everything and the plan lets some be missing.
#[must_use]
pub fn needed(plan: &Plan, total: u32, met: &Exposure) -> u64 {
    let some = u64::from(met.share > 0 || met.copies > 0 || !met.matches.is_empty());
    match plan.sizing {
        Sizing::Elastic | Sizing::Fixed => some,
        Sizing::PerArm | Sizing::Partition => {
            // In millionths of a replica.
            let kept = match plan.capacity.max_unavailable {
                Amount::Share(missing) => u64::from(total) * (ALL - u64::from(missing.ppm())),
                Amount::Replicas(missing) => u64::from(total).saturating_sub(u64::from(missing)) * ALL,
            };
            let load = u128::from((met.share + met.copies).min(ALL)) * u128::from(kept);
            let replicas = load.div_ceil(u128::from(ALL) * u128::from(ALL));
            u64::try_from(replicas).unwrap_or(u64::MAX).max(some).min(u64::from(total))
        }
    }
}

/// The most replicas that a share of the requests, in parts per million, may have of `total` behind one balancer: the
/// share rounded down, and one where it is not nothing.
#[must_use]
pub fn ratio_allows(share: u64, total: u32) -> u64 {
    match (share, u64::from(total)) {
        (0, _) | (_, 0) => 0,
        (share, total) => (share * total / ALL).max(1),
    }
}

/// The most replicas of a canary beside `total` of stable, whose weight is `share` parts per million, behind a Service that
/// serves every ready pod: no larger a part of all than the weight, or what the weight itself needs.
#[must_use]
pub fn shared_allows(plan: &Plan, share: u64, total: u32) -> u64 {
    let total = u64::from(total);
    let needs = (share * total).div_ceil(ALL);
    let beside = match (plan.capacity.stable, ALL - share.min(ALL)) {
        (StableCapacity::Keep, 0) => total,
        (StableCapacity::Keep, rest) => (share * total / rest).min(total),
        (StableCapacity::Follow | StableCapacity::InPlace, _) => 0,
    };
    needs.max(beside)
}

/// Whether some requests come in by a Service that is never written.
pub(super) fn is_shared(plan: &Plan) -> bool {
    plan.routes().any(|(_, it)| it.kind == RouteKind::Proportional)
}

/// Whether so many replicas of `arm` are known to be ready.
pub(super) fn has_ready(world: &World, arm: &Arm, needed: u64) -> bool {
    match world.arm(arm).get().and_then(|it| it.ready) {
        Some(Ready::Elastic) => true,
        Some(Ready::Replicas(ready)) => u64::from(ready) >= needed,
        None => needed == 0,
    }
}

/// What the present phase lets the canary have.
pub(super) fn authorised(plan: &Plan, status: &Status) -> Goal {
    evaded(plan, status, planned(plan, status))
}

/// A side that answers nothing is evaded: the other gets everything that comes in by weight, and nothing else is tried.
pub(super) fn evaded(plan: &Plan, status: &Status, goal: Goal) -> Goal {
    let weight = match (status.down, &plan.steering) {
        (Some(Down::Certain { side: Side::Stable, .. }), Steering::Routes(_)) => Weight::FULL,
        (Some(Down::Certain { side: Side::Canary, .. }), Steering::Routes(_)) => Weight::ZERO,
        (None | Some(_), _) => return goal,
    };
    Goal { weight, scale: goal.scale, ..Goal::default() }
}

/// Whether it is known that no replica of `arm` is ready.
pub(super) fn answers_nothing(world: &World, arm: &Arm) -> bool {
    match world.arm(arm) {
        Seen::Absent => true,
        Seen::Unread => false,
        Seen::Is(seen) => seen.ready == Some(Ready::Replicas(0)),
    }
}

fn planned(plan: &Plan, status: &Status) -> Goal {
    match status.phase {
        // What a plan does not have any more is authorised as it was.
        Phase::Stepping { ref step } => match place_of(plan, step) {
            Some(place) => plan.goal_at(place),
            None => status.doing.clone().map(|it| it.goal).unwrap_or_default(),
        },
        Phase::Adopting
        | Phase::Idle
        | Phase::Promoting
        | Phase::Aborting { .. }
        | Phase::RolledBack { .. }
        | Phase::Leaving
        | Phase::Left => Goal::home(),
    }
}

/// Where the step of this name stands.
pub(super) fn place_of(plan: &Plan, step: &Name) -> Option<usize> {
    plan.steps.iter().position(|it| it.name == *step)
}

/// The arm on trial, if it is another than stable.
pub(super) fn canary(status: &Status) -> Option<Arm> {
    status.canary.clone().filter(|it| Some(it) != status.stable.as_ref()).map(Arm::main)
}

/// The arm that serves users.
pub(super) fn stable(status: &Status) -> Option<Arm> {
    status.stable.clone().map(Arm::main)
}

/// Replicas that carry all traffic; `None` where that is not known.
pub(super) fn total(world: &World) -> Option<u32> {
    world.wanted.get().map(|it| it.replicas)
}

/// The routes that are neither stamped with the present epoch nor as they are when no rollout runs, or whose data
/// plane has not settled.
pub(super) fn loose<'a>(
    plan: &'a Plan,
    status: &Status,
    world: &World,
    now: Timestamp,
) -> impl Iterator<Item = &'a RouteId> {
    let authority = status.epoch;
    let loose = move |(id, _): &(&'a RouteId, _)| match world.route(id) {
        // Without the object there is nothing that a data plane could follow.
        Seen::Absent => false,
        Seen::Unread => true,
        Seen::Is(seen) => {
            let rests = seen.epoch.is_none();
            (!rests && seen.epoch != Some(authority)) || !settled(plan, world, id, now)
        }
    };
    let written = plan.routes().filter(|(_, it)| it.kind != RouteKind::Proportional);
    written.filter(loose).map(|(id, _)| id).collect::<Vec<_>>().into_iter()
}
