//! What an arm is asked to get of the requests, whatever carries the split.

use std::collections::BTreeSet;

use jiff::Timestamp;
use strategies::{
    Arm, Dest, Name, Plan, Ready, Revision, RouteId, RouteKind, Seen, Share, Split, Status, Steering, Weight,
    World, settled,
};

use crate::api::view::WeightView;

/// Routes lead to routes so often at most.
const MOST_LEVELS: u8 = 8;

/// What the canary gets; fresh replicas of stable left out.
pub(super) fn weight_view(plan: &Plan, status: &Status, world: Option<&World>, now: Timestamp) -> WeightView {
    let goal = status.phase.step().map(|_| status.goal().weight);
    let canary = status.canary.clone().filter(|it| Some(it) != status.stable.as_ref());
    let Some(canary) = canary else {
        return WeightView { goal, settled: Some(Weight::ZERO), ..WeightView::default() };
    };
    let Some(world) = world else { return WeightView { goal, ..WeightView::default() } };
    let view = match &plan.steering {
        Steering::Routes(_) => Shares { plan, world, arm: Arm::main(canary), now }.by_routes(),
        Steering::Ratio => by_ratio(world, status.stable.as_ref(), &canary),
    };
    WeightView { goal, ..view }
}

/// Replicas are the split: what is asked for is how many there are to be, and it has settled once they are there.
fn by_ratio(world: &World, stable: Option<&Revision>, canary: &Revision) -> WeightView {
    let of = |revision: &Revision| match world.arm(&Arm::main(revision.clone())) {
        Seen::Is(seen) => match seen.ready {
            Some(Ready::Replicas(ready)) => Some((seen.desired, Some(ready))),
            Some(Ready::Elastic) | None => Some((seen.desired, None)),
        },
        Seen::Absent => Some((0, Some(0))),
        Seen::Unread => None,
    };
    let (Some(canary), Some(stable)) = (of(canary), stable.map_or(Some((0, Some(0))), of)) else {
        return WeightView::default();
    };
    let asked = ratio(canary.0, stable.0);
    let is_so = canary.1 == Some(canary.0) && stable.1 == Some(stable.0);
    WeightView { asked, settled: is_so.then_some(asked), ..WeightView::default() }
}

fn ratio(canary: u32, stable: u32) -> Weight {
    let all = u64::from(canary) + u64::from(stable);
    let ppm = (u64::from(canary) * u64::from(Weight::FULL.ppm())).checked_div(all).unwrap_or(0);
    Weight::from_ppm(u32::try_from(ppm).unwrap_or(u32::MAX))
}

struct Shares<'a> {
    plan: &'a Plan,
    world: &'a World,
    arm: Arm,
    now: Timestamp,
}

impl Shares<'_> {
    /// Over every entry that divides requests: the largest share, for that is what users meet; settled where all have,
    /// and on the same.
    fn by_routes(&self) -> WeightView {
        let entries = self.plan.routes().filter(|(_, it)| matches!(it.kind, RouteKind::Weighted { .. }));
        let mut view = WeightView { settled: Some(Weight::ZERO), ..WeightView::default() };
        let (mut shares, mut matches) = (BTreeSet::new(), BTreeSet::new());
        for (id, _) in entries {
            let seen = match self.world.route(id) {
                Seen::Is(seen) => seen,
                Seen::Absent => continue,
                Seen::Unread => return WeightView { settled: None, ..view },
            };
            shares.insert(self.of_split(&seen.asked, MOST_LEVELS));
            matches.extend(self.matches(&seen.asked));
            view.mirror = view.mirror.max(self.mirrored(&seen.asked));
        }
        let holds = self.plan.routes().all(|(id, plan)| match self.world.route(id) {
            Seen::Is(seen) => settled(plan, seen, self.now),
            Seen::Absent => true,
            Seen::Unread => false,
        });
        view.asked = shares.last().copied().unwrap_or_default();
        view.settled = (holds && shares.len() <= 1).then_some(view.asked);
        view.matches = matches.into_iter().collect();
        view
    }

    fn of_split(&self, split: &Split, levels: u8) -> Weight {
        match &split.share {
            Share::Fixed(weights) => {
                let parts = weights.iter().map(|(dest, weight)| {
                    u64::from(weight.ppm()) * u64::from(self.of_dest(dest, levels).ppm())
                });
                let whole = u64::from(Weight::FULL.ppm());
                Weight::from_ppm(u32::try_from(parts.sum::<u64>() / whole).unwrap_or(u32::MAX))
            }
            Share::ByReady(arms) => self.by_ready(arms),
        }
    }

    fn of_dest(&self, dest: &Dest, levels: u8) -> Weight {
        match dest {
            Dest::Arm(arm) if *arm == self.arm => Weight::FULL,
            Dest::Arm(_) => Weight::ZERO,
            Dest::Route(route) => self.of_route(route, levels),
        }
    }

    fn of_route(&self, route: &RouteId, levels: u8) -> Weight {
        match (self.world.route(route).get(), levels.checked_sub(1)) {
            (Some(seen), Some(levels)) => self.of_split(&seen.asked, levels),
            (None, _) | (_, None) => Weight::ZERO,
        }
    }

    /// A balancer serves whatever is ready, each replica as much as another.
    fn by_ready(&self, arms: &BTreeSet<Arm>) -> Weight {
        let ready = |arm: &Arm| match self.world.arm(arm).get().and_then(|it| it.ready) {
            Some(Ready::Replicas(ready)) => ready,
            Some(Ready::Elastic) | None => 0,
        };
        if !arms.contains(&self.arm) {
            return Weight::ZERO;
        }
        if arms.len() == 1 {
            return Weight::FULL;
        }
        let others = arms.iter().filter(|it| **it != self.arm).map(ready).sum();
        ratio(ready(&self.arm), others)
    }

    fn matches(&self, split: &Split) -> Vec<Name> {
        let leads = |to: &Dest| self.of_dest(to, MOST_LEVELS) != Weight::ZERO;
        split.matches.iter().filter(|it| leads(&it.to)).map(|it| it.id.clone()).collect()
    }

    fn mirrored(&self, split: &Split) -> Weight {
        let to = |dest: &Dest| self.of_dest(dest, MOST_LEVELS) != Weight::ZERO;
        split.mirrors.iter().filter(|(dest, _)| to(dest)).map(|(_, it)| *it).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use strategies::{
        Acknowledged, ArmSeen, Capacity, Deadlines, Fence, HumanDuration, Matched, Mode, RoutePlan,
        RouteRest, RouteSeen, Sizing, StableCapacity,
    };

    use super::*;

    fn plan(steering: Steering) -> Plan {
        Plan {
            mode: Mode::Active,
            steps: vec![],
            guards: vec![],
            sizing: Sizing::PerArm,
            steering,
            capacity: Capacity {
                stable: StableCapacity::Keep,
                surge: strategies::Amount::FULL,
                max_unavailable: strategies::Amount::ZERO,
                keep_canary: HumanDuration::default(),
            },
            deadlines: Deadlines::default(),
            on_verdict: strategies::OnVerdict::default(),
            rollback_window: None,
            missing: vec![],
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_000).unwrap()
    }

    fn status() -> Status {
        let mut status = Status::new(now());
        (status.stable, status.canary) = (Some("v1".into()), Some("v2".into()));
        status
    }

    fn arm(revision: &str) -> Arm {
        Arm::main(revision.into())
    }

    fn arms(sizes: &[(&str, u32, u32)]) -> BTreeMap<Arm, Seen<ArmSeen>> {
        let seen = |desired, ready| ArmSeen {
            desired,
            ready: Some(Ready::Replicas(ready)),
            epoch: None,
            fence: Fence::At(1),
        };
        sizes.iter().map(|(name, desired, ready)| (arm(name), Seen::Is(seen(*desired, *ready)))).collect()
    }

    fn route(kind: RouteKind) -> RoutePlan {
        RoutePlan {
            kind,
            settle: HumanDuration::default(),
            finest: Weight::from_ppm(1),
            rest: RouteRest::OnStable,
        }
    }

    fn seen(split: Split) -> Seen<RouteSeen> {
        let acknowledged = Some(Acknowledged { split: split.clone(), since: now() });
        Seen::Is(RouteSeen { asked: split, epoch: None, acknowledged, manager: None, fence: Fence::At(1) })
    }

    fn world(arms: BTreeMap<Arm, Seen<ArmSeen>>, routes: &[(&str, Split)]) -> World {
        World {
            leaving: false,
            wanted: Seen::Unread,
            arms,
            routes: routes.iter().map(|(id, split)| ((*id).into(), seen(split.clone()))).collect(),
            owner: Seen::Absent,
            ran: BTreeMap::new(),
        }
    }

    fn shares(stable: Dest, canary: Dest, percent: u32) -> Split {
        let (own, rest) = (Weight::from_percent(percent), Weight::from_percent(100 - percent));
        Split::fixed([(stable, rest), (canary, own)].into())
    }

    fn weighted() -> (Steering, RouteKind) {
        let service = |name: &str| Some(RouteId::from(name));
        let kind = RouteKind::Weighted { stable: service("shop-stable"), canary: service("shop-canary") };
        let routes = [
            ("web".into(), route(kind.clone())),
            ("shop-stable".into(), route(RouteKind::ToStable)),
            ("shop-canary".into(), route(RouteKind::ToCanary)),
        ];
        (Steering::Routes(routes.into()), kind)
    }

    #[track_caller]
    fn check(plan: &Plan, world: &World, asked: u32, settled: Option<u32>) -> WeightView {
        let view = weight_view(plan, &status(), Some(world), now());
        let percent = Weight::from_percent;
        assert_eq!((view.asked, view.settled), (percent(asked), settled.map(percent)));
        view
    }

    #[test]
    fn a_split_between_arms_is_shown_as_it_is() {
        let kind = RouteKind::Weighted { stable: None, canary: None };
        let plan = plan(Steering::Routes([("web".into(), route(kind))].into()));
        let split = shares(Dest::Arm(arm("v1")), Dest::Arm(arm("v2")), 20);
        check(&plan, &world(BTreeMap::new(), &[("web", split.clone())]), 20, Some(20));
        let mut asked = world(BTreeMap::new(), &[("web", split)]);
        if let Some(Seen::Is(seen)) = asked.routes.get_mut(&RouteId::from("web")) {
            seen.acknowledged = None;
        }
        check(&plan, &asked, 20, None);
        check(&plan, &world(BTreeMap::new(), &[]), 0, None);
    }

    #[test]
    fn a_service_of_the_canary_counts_as_the_canary_once_it_leads_there() {
        let plan = plan(weighted().0);
        let to = |name: &str| Dest::Route(name.into());
        let mut entry = shares(to("shop-stable"), to("shop-canary"), 20);
        entry.matches = vec![Matched { id: "testers".into(), any_of: vec![], to: to("shop-canary") }];
        entry.mirrors = [(to("shop-canary"), Weight::from_percent(5))].into();
        let pinned = |name: &str| Split::all_to(Dest::Arm(arm(name)));
        let routes = [("web", entry), ("shop-stable", pinned("v1")), ("shop-canary", pinned("v2"))];
        let view = check(&plan, &world(BTreeMap::new(), &routes), 20, Some(20));
        assert_eq!(view.matches, ["testers".into()]);
        assert_eq!(view.mirror, Weight::from_percent(5));
        let [web, stable, _] = routes;
        let unmoved = [web, stable, ("shop-canary", pinned("v1"))];
        check(&plan, &world(BTreeMap::new(), &unmoved), 0, Some(0));
    }

    #[test]
    fn of_a_service_that_is_not_pinned_the_canary_has_its_share_of_ready_pods() {
        let plan = plan(weighted().0);
        let all = Split::by_ready([arm("v1"), arm("v2")].into());
        let entry = Split::all_to(Dest::Route("shop-stable".into()));
        let routes =
            [("web", entry), ("shop-stable", all), ("shop-canary", Split::by_ready([arm("v2")].into()))];
        check(&plan, &world(arms(&[("v1", 3, 3), ("v2", 1, 1)]), &routes), 25, Some(25));
        check(&plan, &world(arms(&[("v1", 3, 3), ("v2", 1, 0)]), &routes), 0, Some(0));
    }

    #[test]
    fn by_ratio_the_replicas_are_the_split() {
        let plan = plan(Steering::Ratio);
        check(&plan, &world(arms(&[("v1", 8, 8), ("v2", 2, 2)]), &[]), 20, Some(20));
        check(&plan, &world(arms(&[("v1", 8, 10), ("v2", 2, 0)]), &[]), 20, None);
        check(&plan, &world(arms(&[("v1", 10, 10)]), &[]), 0, Some(0));
        let mut unread = world(arms(&[("v1", 8, 8)]), &[]);
        unread.arms.insert(arm("v2"), Seen::Unread);
        check(&plan, &unread, 0, None);
    }
}
