//! Prints how long one decision takes in the middle of a typical rollout: `cargo bench -p strategies --bench decide`.
//!
//! Of many short batches the fastest and the median: the fastest is what the code costs, and what the median has more
//! is what others did on the machine meanwhile.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a command that measures")]

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use jiff::Timestamp;
use strategies::{
    Acknowledged, Amount, Arm, ArmSeen, Capacity, Deadlines, Decision, Dest, Fence, Guard, HumanDuration,
    Leave, LeaveBehavior, Mode, Next, OnVerdict, Orders, Outcome, Passed, Phase, Plan, Ready, RouteKind,
    RoutePlan, RouteRest, RouteSeen, Seen, Sizing, Split, StableCapacity, Status, Steering, Step, Verdict,
    Wanted, Watches, Weight, World, decide,
    step::{Bake, Until},
};

const BATCHES: usize = 400;
const ROUNDS: u32 = 500;

fn plan() -> Plan {
    let until = || {
        Leave::Until(Until {
            analyses: vec!["golden".into()],
            min: HumanDuration::from_mins(1),
            max: HumanDuration::from_mins(30),
        })
    };
    let step = |percent: u32, leave| Step {
        name: format!("{percent}").into(),
        weight: Some(Weight::from_percent(percent)),
        matches: vec![],
        mirror: None,
        sticky: None,
        scale: None,
        leave,
    };
    let web = RoutePlan {
        kind: RouteKind::Weighted { stable: None, canary: None },
        settle: HumanDuration::default(),
        finest: Weight::from_ppm(1),
        rest: RouteRest::OnStable,
    };
    Plan {
        mode: Mode::Active,
        steps: vec![
            step(5, until()),
            step(10, until()),
            step(25, until()),
            step(50, until()),
            step(100, Leave::Bake(Bake { length: HumanDuration::from_mins(5) })),
        ],
        guards: vec![Guard { name: "pods".into(), from: "5".into(), watches: Watches::Replicas }],
        on_verdict: OnVerdict::default(),
        capacity: Capacity {
            stable: StableCapacity::Keep,
            surge: Amount::FULL,
            max_unavailable: Amount::ZERO,
            keep_canary: HumanDuration::from_secs(30),
        },
        deadlines: Deadlines::default(),
        rollback_window: None,
        sizing: Sizing::PerArm,
        steering: Steering::Routes([("web".into(), web)].into()),
        missing: vec![],
    }
}

struct Bench {
    plan: Plan,
    status: Status,
    world: World,
    now: Timestamp,
}

/// The first steps, as what was passed.
fn passed(plan: &Plan, count: usize) -> Vec<Passed> {
    let of = |it: &Step| Passed { step: it.name.clone(), gate: it.leave.gate() };
    plan.steps.iter().take(count).map(of).collect()
}

impl Bench {
    /// A canary of ten replicas at a quarter of the traffic, waiting for evidence.
    fn new() -> Self {
        let now = Timestamp::from_second(1_000).unwrap();
        let mut status = Status::new(now);
        (status.stable, status.canary) = (Some("v1".into()), Some("v2".into()));
        (status.attempt, status.phase, status.held) =
            (1, Phase::Stepping { step: plan().steps[2].name.clone() }, Some(now));
        status.doing = plan().doing(2);
        status.passed = passed(&plan(), 2);
        let [stable, canary] = ["v1", "v2"].map(|it| Arm::main(it.into()));
        let arm = |replicas| {
            let ready = Some(Ready::Replicas(replicas));
            Seen::Is(ArmSeen { desired: replicas, ready, epoch: Some(status.epoch), fence: Fence::At(7) })
        };
        let weight = Weight::from_percent(25);
        let asked = Split::fixed(BTreeMap::from([
            (Dest::Arm(stable.clone()), weight.complement()),
            (Dest::Arm(canary.clone()), weight),
        ]));
        let route = RouteSeen {
            acknowledged: Some(Acknowledged { split: asked.clone(), since: now }),
            asked,
            epoch: Some(status.epoch),
            manager: None,
            fence: Fence::At(9),
        };
        let wanted = Wanted { revision: "v2".into(), replicas: 10, scaler: None };
        let world = World {
            leaving: false,
            wanted: Seen::Is(wanted),
            arms: [(stable, arm(10)), (canary, arm(3))].into(),
            routes: [("web".into(), Seen::Is(route))].into(),
            owner: Seen::Absent,
            ran: BTreeMap::new(),
        };
        Self { plan: plan(), status, world, now }
    }

    fn decide(&self) -> Decision {
        decide(&self.plan, &self.status, &Orders::default(), &self.world, self.now)
    }

    fn print(&self, what: &str, expected: impl Fn(&Next) -> bool) {
        assert!(expected(&self.decide().next), "{what}: {:?}", self.decide().next);
        let batch = |_| {
            let began = Instant::now();
            for _ in 0..ROUNDS {
                let _: Decision = black_box(black_box(self).decide());
            }
            began.elapsed()
        };
        let mut batches: Vec<_> = (0..BATCHES).map(batch).collect();
        batches.sort();
        let [fastest, median] =
            [0, BATCHES / 2].map(|at| batches[at].as_secs_f64() * 1e6 / f64::from(ROUNDS));
        println!("{what:<24} fastest {fastest:>6.2} µs, median {median:>6.2} µs");
    }
}

fn main() {
    let waits = Bench::new();
    waits.print("waits for evidence", |it| *it == Next::Rest);

    let mut passed = Bench::new();
    let id = passed.decide().run[1].id().clone();
    passed.world.ran.insert(id, Outcome { verdict: Verdict::Pass, because: None });
    passed.print("records a verdict", |it| matches!(it, Next::Save(_)));

    let mut routes = Bench::new();
    (routes.status.phase, routes.status.held) =
        (Phase::Stepping { step: routes.plan.steps[1].name.clone() }, None);
    routes.status.doing = routes.plan.doing(1);
    routes.status.waited.since = Some(routes.now);
    routes.print("moves traffic", |it| matches!(it, Next::Write(_)));
}
