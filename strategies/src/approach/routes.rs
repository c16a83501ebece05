//! Writes of routes, as far as what they lead to carries it.

use super::Way;
use crate::mutant::rule;
use crate::{
    Change, Dest, Fence, Phase, Ready, RouteId, RouteKind, RoutePlan, RouteRest, RouteSeen, Seen, Split,
    WaitingFor, Weight,
    reach::{Load, need, settles_at},
    target::Aim,
};

impl Way<'_> {
    /// Writes routes, those that lead to an arm before those that lead to routes.
    pub(super) fn route(&mut self) {
        let (plan, target) = (self.plan, self.target);
        let entries_last = |(_, route): &(&RouteId, &RoutePlan)| match route.kind {
            RouteKind::ToStable | RouteKind::ToCanary | RouteKind::Direct | RouteKind::Proportional => 0,
            RouteKind::Weighted { .. } => 1,
        };
        let mut routes: Vec<_> = plan.written().collect();
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
            // What leads to nothing any more stays as it is: nothing is made while the Rollout goes away.
            Aim::Rest(split) if route.rest == RouteRest::OnStable && self.is_cut_off(split) => {}
            Aim::Rest(split) => match seen {
                Some(seen) if !rests(route, seen, split) => {
                    let change = match route.rest {
                        RouteRest::OnStable => Change::Split(id.clone(), split.clone()),
                        RouteRest::ByReady | RouteRest::Through(_) => Change::Restore(id.clone()),
                    };
                    self.move_route(change, fence);
                }
                Some(seen) => self.await_settling(id, route, seen),
                None => self.make_at_rest(id, route, split),
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
                    // Over a Service of the user's that is not there nothing comes in.
                    None if route.kind == RouteKind::Direct || !self.makes_routes() => {}
                    None => self.move_route(Change::Split(id.clone(), next), fence),
                }
            }
        }
    }

    /// What is ours is made before anything leads to it; what a user made is not.
    fn make_at_rest(&mut self, id: &RouteId, route: &RoutePlan, split: &Split) {
        if !self.makes_routes() {
            return;
        }
        let side = matches!(route.kind, RouteKind::ToStable | RouteKind::ToCanary);
        let change = match route.rest {
            RouteRest::OnStable => Change::Split(id.clone(), split.clone()),
            RouteRest::ByReady if side && !rule!(NotMadeAtRest, false) => Change::Restore(id.clone()),
            RouteRest::ByReady | RouteRest::Through(_) => return,
        };
        self.move_route(change, Fence::Absent);
    }

    fn is_cut_off(&self, split: &Split) -> bool {
        let missing = |dest| matches!(dest, Dest::Route(id) if *self.world.route(&id) == Seen::Absent);
        !self.makes_routes() && split.dests().any(missing)
    }

    /// A namespace that goes away refuses every create, so nothing may wait for one.
    fn makes_routes(&self) -> bool {
        rule!(MakesWhileLeaving, self.status.phase != Phase::Leaving)
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
            // Where nothing is wanted to run there is nothing to be carried.
            Some(Ready::Replicas(_)) if self.target.total == 0 => Weight::FULL,
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
}

/// Whether a route is as it is when no rollout runs. What its owner wrote carries no stamp.
pub(crate) fn rests(route: &RoutePlan, seen: &RouteSeen, rest: &Split) -> bool {
    let given_back = match route.rest {
        RouteRest::OnStable => true,
        RouteRest::ByReady | RouteRest::Through(_) => rule!(StampLeft, seen.epoch.is_none()),
    };
    seen.asked == *rest && given_back
}
