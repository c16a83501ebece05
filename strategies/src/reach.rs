use jiff::Timestamp;

use crate::mutant::rule;
use crate::{
    Arm, Dest, Plan, RouteId, RouteKind, RoutePlan, RouteRest, RouteSeen, Seen, Share, Sizing, Split,
    Steering, Weight, World,
};

/// The most that can come to an arm, over what is asked and what has not settled yet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// Its largest share of the requests, copies included.
    pub share: Weight,
    /// Whether it can get any request at all: a match has no known share.
    pub some: bool,
    /// Whether it stands behind a load balancer that serves each ready replica alike. Such a load adjusts itself
    /// to what is ready.
    pub by_ready: bool,
}

impl Load {
    /// Whether there is more of anything in this than in `before`.
    #[must_use]
    pub fn raises(self, before: Self) -> bool {
        self.share > before.share || (self.some && !before.some) || (self.by_ready && !before.by_ready)
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            share: self.share.max(other.share),
            some: self.some || other.some,
            by_ready: self.by_ready || other.by_ready,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { share: self.share.saturating_add(other.share), ..self.max(other) }
    }

    fn scaled(self, weight: Weight) -> Self {
        match weight {
            Weight::ZERO => Self::default(),
            _ => Self { share: self.share.of_weight(weight), ..self },
        }
    }
}

/// Ready replicas that `load` needs where `total` carry everything.
#[must_use]
pub fn need(plan: &Plan, total: u32, load: Load) -> u32 {
    let least = u32::from(load.some || load.share != Weight::ZERO);
    match plan.sizing {
        Sizing::PerArm | Sizing::Partition => {
            plan.capacity.max_unavailable.left_of(total, load.share).max(least).min(total)
        }
        Sizing::Elastic | Sizing::Fixed => least,
    }
}

/// The most that can come to `arm`: the worst case over every entry, every way through the routes below it, and
/// every split that a data plane may still follow. Where traffic comes in by several entries nobody knows how it
/// is divided between them, and no mixture of entries is worse than the worst one.
#[must_use]
pub fn reach(plan: &Plan, world: &World, now: Timestamp, arm: &Arm) -> Load {
    reach_by_entry(plan, world, now, arm).into_iter().fold(Load::default(), Load::max)
}

/// What is asked for `arm` entry by entry, in the order of the plan, whatever a data plane may still follow.
#[must_use]
pub(crate) fn asked_by_entry(plan: &Plan, world: &World, arm: &Arm) -> Vec<Load> {
    by_entry(&Look { plan, world, now: None, arm, empty: Empty::ServesNothing })
}

/// The same as [`reach`], entry by entry, in the order of the plan.
#[must_use]
pub fn reach_by_entry(plan: &Plan, world: &World, now: Timestamp, arm: &Arm) -> Vec<Load> {
    by_entry(&Look { plan, world, now: Some(now), arm, empty: Empty::ServesNothing })
}

/// What can come to `arm` entry by entry, where an arm that exists is taken to be as large as it may be by the time
/// that a route has moved: replicas and routes are two objects, and one of them may be seen late.
#[must_use]
pub(crate) fn reach_at_any_size(plan: &Plan, world: &World, now: Timestamp, arm: &Arm) -> Vec<Load> {
    by_entry(&Look { plan, world, now: Some(now), arm, empty: Empty::MayServe })
}

/// The same of the entries from which a rollout can keep an arm: what comes in by others follows the replicas by itself.
#[must_use]
pub(crate) fn reach_of_divided(plan: &Plan, world: &World, now: Timestamp, arm: &Arm) -> Load {
    divided(plan, reach_by_entry(plan, world, now, arm))
}

/// The worst of those entries.
pub(crate) fn divided(plan: &Plan, by_entry: Vec<Load>) -> Load {
    let kinds = plan.routes().map(|(_, route)| route).filter(|it| is_entry(it)).map(|it| &it.kind);
    // By ratio there is one entry, which is no route.
    let kinds = kinds.map(Some).chain(std::iter::repeat(None));
    let divided = by_entry.into_iter().zip(kinds).filter(|(_, kind)| *kind != Some(&RouteKind::Proportional));
    divided.map(|(load, _)| load).fold(Load::default(), Load::max)
}

fn by_entry(look: &Look<'_>) -> Vec<Load> {
    match &look.plan.steering {
        Steering::Ratio => vec![look.behind_balancer(true)],
        Steering::Routes(routes) => routes
            .iter()
            .filter(|(_, route)| is_entry(route))
            .map(|(id, _)| look.through(id, MOST_LEVELS))
            .collect(),
    }
}

/// Whether the data plane follows what `route` asks, and only that.
#[must_use]
pub fn settled(route: &RoutePlan, seen: &RouteSeen, now: Timestamp) -> bool {
    settles_at(route, seen).is_some_and(|at| at <= now)
}

/// When the data plane will have settled; `None`: it has not even acknowledged.
#[must_use]
pub fn settles_at(route: &RoutePlan, seen: &RouteSeen) -> Option<Timestamp> {
    let acknowledged = seen.acknowledged.as_ref().filter(|it| it.split == seen.asked)?;
    Some(acknowledged.since.checked_add(lag(route)).unwrap_or(Timestamp::MAX))
}

/// How long the data plane may lag behind its acknowledgement.
fn lag(route: &RoutePlan) -> std::time::Duration {
    if rule!(NoSettleTime, false) { std::time::Duration::ZERO } else { route.settle.0 }
}

/// Whether requests come in here.
fn is_entry(route: &RoutePlan) -> bool {
    match route.kind {
        RouteKind::Weighted { .. } | RouteKind::Direct | RouteKind::Proportional => true,
        RouteKind::ToStable | RouteKind::ToCanary => false,
    }
}

/// Routes are a DAG of two or three levels; a cycle in foreign hands must not become an endless loop.
const MOST_LEVELS: u8 = 8;

struct Look<'a> {
    plan: &'a Plan,
    world: &'a World,
    /// `None`: only what is asked counts.
    now: Option<Timestamp>,
    arm: &'a Arm,
    empty: Empty,
}

/// What an arm without replicas means to a load balancer that serves whatever is ready.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Empty {
    ServesNothing,
    MayServe,
}

impl Look<'_> {
    fn through(&self, id: &RouteId, levels: u8) -> Load {
        let (Some(Seen::Is(seen)), Some(levels)) = (self.world.routes.get(id), levels.checked_sub(1)) else {
            return Load::default();
        };
        let asked = self.split(&seen.asked, levels);
        let Some(now) = self.now else { return asked };
        let settles = self.plan.routes().any(|(it, route)| it == id && settled(route, seen, now));
        if settles {
            return asked;
        }
        asked.max(match &seen.acknowledged {
            Some(acknowledged) => self.split(&acknowledged.split, levels),
            None => self.at_rest(id),
        })
    }

    /// What comes in over a route as it rests. Where nothing is acknowledged it may still be so: it was restored and
    /// pinned again before the data plane had followed either.
    fn at_rest(&self, id: &RouteId) -> Load {
        let mut routes = self.plan.routes();
        let by_ready = routes.any(|(it, route)| it == id && route.rest == RouteRest::ByReady);
        self.behind_balancer(by_ready && !rule!(SilentIsPinned, false))
    }

    fn split(&self, split: &Split, levels: u8) -> Load {
        let shares = match &split.share {
            Share::Fixed(weights) => weights
                .iter()
                .map(|(dest, weight)| self.dest(dest, levels).scaled(*weight))
                .fold(Load::default(), Load::plus),
            Share::ByReady(arms) => self.behind_balancer(arms.contains(self.arm)),
        };
        let copies = split
            .mirrors
            .iter()
            .map(|(dest, weight)| self.dest(dest, levels).scaled(*weight))
            .fold(Load::default(), Load::plus);
        let matched = split.matches.iter().any(|it| {
            let load = self.dest(&it.to, levels);
            load.some || load.share != Weight::ZERO
        });
        let load = shares.plus(copies);
        Load { some: load.some || matched || load.share != Weight::ZERO, ..load }
    }

    fn dest(&self, dest: &Dest, levels: u8) -> Load {
        match dest {
            Dest::Arm(arm) if arm == self.arm => Load { share: Weight::FULL, some: true, by_ready: false },
            Dest::Arm(_) => Load::default(),
            Dest::Route(route) => {
                let alike = self.plan.alike(route).map(|it| self.through(it, levels));
                alike.fold(Load::default(), Load::max)
            }
        }
    }

    /// Only ready replicas are served, so no share is asked of the arm; but what exists may be served.
    fn behind_balancer(&self, listed: bool) -> Load {
        let may_serve = |desired: u32| desired > 0 || self.empty == Empty::MayServe;
        let exists = self.world.arm(self.arm).get().is_some_and(|it| may_serve(it.desired));
        Load { by_ready: listed && exists, ..Load::default() }
    }
}
