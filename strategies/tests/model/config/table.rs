use strategies::{
    Action, Amount, Consequence, Plan, RollbackWindow, RouteKind, RouteRest, Scale, Scaler, Sizing,
    StableCapacity, Steering, Step, Weight,
};

use super::{
    Config,
    plans::{
        adopted, analyze, approve, at_once, bake, blue_green, canary, even, gates, length, matched, pause,
        plan, preview, proxy, shadow, shared, step, two_levels, two_services, until, watched, weights_only,
        without,
    },
};
use crate::checker::state::Budget;

fn base(name: &'static str, plan: Plan) -> Config {
    Config {
        name,
        plan,
        edits: vec![],
        replicas: 2,
        scaled: 1,
        scaler: None,
        resized: false,
        bare: false,
        owner: false,
        owner_writes: 1,
        adopts: false,
        self_made: false,
        controllers: 1,
        flights: true,
        store: false,
        acts_unsynced: false,
        blind: false,
        broken: 0,
        deaf: 0,
        actions: &[Action::Abort],
        budget: Budget { pushes: 2, orders: 1, ..Budget::default() },
        whole: false,
        live: true,
    }
}

fn pods(orders: u8, losses: u8) -> Budget {
    Budget { pushes: 1, orders, losses, ..Budget::default() }
}

/// Every configuration, smallest first.
pub fn all() -> Vec<Config> {
    let mut all = vec![];
    all.extend(small());
    all.extend(services());
    all.extend(users_own());
    all.extend(strategies_of_canaries());
    all.extend(people());
    all.extend(edited());
    all.extend(missing());
    all.extend(faults());
    all.extend(gone());
    all.extend(below());
    all.extend(capacities());
    all.extend(sized_below());
    all.extend(concurrent());
    all
}

/// Small enough to be searched whole in a moment: each for what the larger ones reach late.
fn small() -> Vec<Config> {
    let small = |name, plan| Config { whole: true, flights: false, budget: pods(1, 0), ..base(name, plan) };
    let below = |name| {
        let plan = plan(vec![step("full", 100, at_once())], two_levels(0));
        Config { owner: true, ..small(name, plan) }
    };
    let asked = vec![
        step("asked", 50, approve(Some(1), Consequence::RollBack)),
        step("timed", 50, pause(Some(1))),
        step("full", 100, at_once()),
    ];
    let held = vec![step("half", 50, pause(None)), step("full", 100, at_once())];
    vec![
        Config { actions: &[Action::Approve, Action::Abort], ..small("approval", plan(asked, proxy(0))) },
        Config {
            budget: Budget { pushes: 1, drifts: 4, ..Budget::default() },
            ..small("contested", plan(held.clone(), proxy(0)))
        },
        Config {
            whole: false,
            resized: true,
            budget: Budget { pushes: 1, drifts: 4, ..Budget::default() },
            ..small("contested-sizes", plan(held.clone(), proxy(0)))
        },
        Config {
            whole: false,
            budget: Budget { pushes: 1, drifts: 4, ..Budget::default() },
            ..small("contested-routes", plan(held, preview()))
        },
        small("in-place-back", {
            let mut plan = plan(vec![step("full", 100, bake(1))], proxy(0));
            (plan.capacity.stable, plan.capacity.surge) = (StableCapacity::InPlace, Amount::ZERO);
            plan.capacity.max_unavailable = Weight::from_percent(50).into();
            plan
        }),
        below("hand-over"),
        Config { owner_writes: 2, ..below("hand-over-in-parts") },
        Config {
            whole: false,
            actions: &[Action::Abort, Action::Retry],
            budget: pods(2, 0),
            owner: true,
            ..small("refused-again", plan(vec![step("full", 100, at_once())], proxy(0)))
        },
        Config { budget: Budget { pushes: 1, losses: 1, ..Budget::default() }, ..below("hand-over-loss") },
        Config {
            whole: false,
            budget: Budget { pushes: 1, lags: 1, ..Budget::default() },
            ..below("hand-over-stale")
        },
    ]
}

/// Services that lead to one side and do not exist at first, and Services that somebody deletes.
fn services() -> Vec<Config> {
    let services = |name, steering| {
        let plan = plan(vec![step("full", 100, at_once())], steering);
        let small = Config { flights: false, budget: pods(1, 0), ..base(name, plan) };
        Config { owner: true, bare: true, ..small }
    };
    vec![
        Config { adopts: true, ..services("services-made", adopted(0)) },
        Config { ..services("services-made-late", two_levels(0)) },
        Config {
            whole: true,
            budget: Budget { drifts: 2, ..Budget::default() },
            ..services("services-vanish-at-rest", two_levels(0))
        },
        Config {
            budget: Budget { pushes: 1, drifts: 1, ..Budget::default() },
            ..services("service-vanishes", adopted(0))
        },
        Config {
            actions: &[Action::Abort],
            budget: Budget { pushes: 1, orders: 1, drifts: 1, ..Budget::default() },
            ..services("any-service-vanishes", two_levels(0))
        },
        Config {
            budget: Budget { pushes: 1, drifts: 1, leaves: 1, ..Budget::default() },
            ..services("service-vanishes-at-deletion", adopted(0))
        },
    ]
}

/// A user's own objects: a Service that is never written, and a route that is given back with only its weights changed.
fn users_own() -> Vec<Config> {
    let half = || vec![step("half", 50, until()), step("full", 100, bake(1))];
    let scaled = || {
        let mut steps = half();
        steps[0].scale = Some(Scale::Share(Weight::FULL));
        steps[0].weight = Some(Weight::from_percent(25));
        steps
    };
    let keep = |mut plan: Plan| {
        plan.capacity.keep_canary = length(1);
        plan
    };
    let deleted = Budget { pushes: 1, leaves: 1, orders: 1, ..Budget::default() };
    vec![
        Config { budget: pods(1, 1), ..base("shared-service", plan(half(), shared(proxy(0)))) },
        Config {
            replicas: 3,
            budget: pods(1, 0),
            ..base("shared-service-scaled", keep(plan(scaled(), shared(proxy(0)))))
        },
        Config {
            owner: true,
            budget: deleted,
            ..base("shared-service-below", plan(vec![step("full", 100, until())], shared(two_levels(0))))
        },
        Config {
            budget: pods(1, 0),
            ..base("shared-service-follow", {
                let mut plan = plan(half(), shared(proxy(0)));
                plan.capacity.stable = StableCapacity::Follow;
                plan
            })
        },
        Config {
            owner: true,
            budget: Budget { drifts: 1, ..deleted },
            ..base("weights-only", plan(vec![step("full", 100, until())], weights_only(0)))
        },
    ]
}

fn strategies_of_canaries() -> Vec<Config> {
    vec![
        base("canary", plan(canary(), proxy(1))),
        Config { replicas: 4, scaled: 2, ..base("canary-of-four", plan(even(canary()), proxy(1))) },
        Config { budget: pods(2, 0), ..base("blue-green", watched(plan(blue_green(), preview()))) },
        Config {
            actions: &[Action::Abort, Action::Approve],
            budget: pods(2, 1),
            ..base("shadow", plan(shadow(), proxy(1)))
        },
        Config {
            actions: &[Action::Abort, Action::Approve],
            budget: pods(2, 0),
            ..base(
                "matches-below",
                plan(
                    vec![
                        matched("staff", "staff", at_once()),
                        step("half", 50, until()),
                        step("full", 100, at_once()),
                    ],
                    two_levels(1),
                ),
            )
        },
        Config { adopts: true, budget: pods(1, 0), ..base("first-release", plan(canary(), proxy(1))) },
        Config {
            budget: Budget { pushes: 3, ..Budget::default() },
            ..base("rollback-window", {
                let window = Some(RollbackWindow { revisions: 3, age: length(14) });
                Plan { rollback_window: window, ..plan(canary(), proxy(0)) }
            })
        },
    ]
}

fn people() -> Vec<Config> {
    vec![
        Config {
            actions: &Action::ALL,
            budget: pods(2, 0),
            flights: false,
            ..base("orders", plan(gates(), proxy(0)))
        },
        Config {
            actions: &[Action::Pause, Action::Resume, Action::PromoteFull, Action::Retry, Action::Abort],
            budget: pods(3, 0),
            flights: false,
            ..base("pauses", plan(canary(), proxy(0)))
        },
        Config {
            budget: Budget { pushes: 1, orders: 1, modes: 2, ..Budget::default() },
            actions: &[Action::Abort, Action::Retry],
            ..base("modes", plan(canary(), proxy(1)))
        },
        Config {
            budget: Budget { pushes: 1, leaves: 1, orders: 1, ..Budget::default() },
            ..base("deletion", plan(canary(), proxy(1)))
        },
        Config {
            budget: Budget { pushes: 1, takes: 2, ..Budget::default() },
            flights: false,
            owner: true,
            ..base("taken-back", plan(vec![step("full", 100, until())], two_levels(0)))
        },
        Config {
            actions: &[Action::Resume, Action::Abort],
            budget: pods(2, 0),
            broken: 2,
            ..base("deadline-pauses", {
                let mut plan = plan(canary(), proxy(1));
                plan.deadlines.then = Consequence::Pause;
                plan
            })
        },
    ]
}

/// The plan is edited in mid-rollout: steps removed, put in, renamed, moved, their shares raised and lowered, their ways of
/// leaving changed.
fn edited() -> Vec<Config> {
    let with = |steps: Vec<Step>| plan(steps, proxy(0));
    let first = || step("first", 25, at_once());
    let look = |percent| step("look", percent, until());
    let full = |leave| step("full", 100, leave);
    let edits = |orders| Budget { pushes: 1, orders, edits: 2, ..Budget::default() };
    vec![
        // Steps go and come.
        Config {
            flights: false,
            actions: &[Action::Resume, Action::Promote, Action::PromoteFull],
            budget: edits(1),
            edits: vec![
                with(vec![look(50), full(bake(1))]),
                with(vec![first(), full(bake(1))]),
                with(vec![
                    first(),
                    step("ask", 25, approve(None, Consequence::Pause)),
                    look(50),
                    full(bake(1)),
                ]),
            ],
            ..base("steps-edited", with(vec![first(), look(50), full(bake(1))]))
        },
        // Shares rise and fall, and places change.
        Config {
            flights: false,
            actions: &[Action::Abort],
            budget: edits(0),
            edits: vec![
                with(vec![first(), look(75), full(bake(1))]),
                with(vec![first(), look(25), full(bake(1))]),
                with(vec![look(50), step("first", 75, at_once()), full(bake(1))]),
            ],
            ..base("shares-edited", with(vec![first(), look(50), full(bake(1))]))
        },
        // Ways of leaving change.
        Config {
            flights: false,
            actions: &[Action::Approve, Action::Promote],
            budget: edits(1),
            edits: vec![
                with(vec![step("first", 25, approve(None, Consequence::Pause)), look(50), full(bake(2))]),
                with(vec![first(), step("look", 50, analyze()), full(at_once())]),
                with(vec![first(), step("look", 75, pause(None)), full(analyze())]),
            ],
            ..base("leaving-edited", with(vec![first(), step("look", 50, pause(None)), full(bake(1))]))
        },
        Config {
            budget: Budget { pushes: 1, edits: 1, ..Budget::default() },
            edits: vec![with(vec![look(25), full(bake(1))]), with(vec![full(bake(1))])],
            ..base("edited-in-flight", with(vec![look(50), full(bake(1))]))
        },
    ]
}

/// What the documents refer to is not there, comes, and goes in mid-rollout.
fn missing() -> Vec<Config> {
    let whole = || plan(vec![step("half", 50, until()), step("full", 100, bake(1))], proxy(0));
    let small = |name, plan| Config { flights: false, ..base(name, plan) };
    vec![
        Config {
            actions: &[Action::Retry, Action::Abort],
            budget: Budget { pushes: 1, orders: 2, edits: 2, ..Budget::default() },
            edits: vec![whole()],
            ..small("reference-comes", without(whole(), "golden"))
        },
        Config {
            actions: &[Action::Promote, Action::PromoteFull, Action::Resume, Action::Abort],
            budget: Budget { pushes: 1, orders: 2, edits: 2, ..Budget::default() },
            edits: vec![without(whole(), "golden")],
            ..small("gate-vanishes", whole())
        },
        Config {
            actions: &[Action::Promote],
            budget: Budget { pushes: 1, orders: 1, edits: 2, losses: 1, ..Budget::default() },
            edits: vec![without(watched(whole()), "pods")],
            ..small("guard-vanishes", watched(whole()))
        },
        Config {
            budget: Budget { pushes: 1, edits: 2, ..Budget::default() },
            edits: vec![without(plan(vec![step("full", 100, analyze())], proxy(0)), "golden")],
            ..small("last-gate-vanishes", plan(vec![step("full", 100, analyze())], proxy(0)))
        },
    ]
}

fn faults() -> Vec<Config> {
    vec![
        Config { budget: pods(1, 2), ..base("pod-loss", watched(plan(canary(), proxy(1)))) },
        Config {
            budget: pods(1, 0),
            broken: 2,
            ..base("canary-never-ready", watched(plan(canary(), proxy(1))))
        },
        Config { budget: pods(1, 2), broken: 1, ..base("stable-never-ready", plan(canary(), proxy(1))) },
        Config {
            budget: Budget { pushes: 1, drifts: 1, orders: 1, ..Budget::default() },
            ..base("drift", plan(canary(), proxy(1)))
        },
        Config {
            budget: Budget { pushes: 1, drifts: 1, losses: 1, ..Budget::default() },
            flights: false,
            ..base("drift-and-loss", plan(canary(), proxy(0)))
        },
        Config { budget: pods(1, 0), deaf: 1, ..base("router-never-settles", plan(canary(), proxy(1))) },
        Config {
            budget: Budget { pushes: 1, lags: 1, orders: 1, ..Budget::default() },
            ..base("stale-cache", plan(canary(), proxy(1)))
        },
    ]
}

/// A side that answers nothing, and a workload that goes away.
fn gone() -> Vec<Config> {
    let short = || vec![step("half", 50, pause(None)), step("full", 100, at_once())];
    let small = |name, plan| Config { flights: false, budget: pods(1, 0), ..base(name, plan) };
    let gone = |name, steering, vanishes, leaves| Config {
        budget: Budget { pushes: 1, vanishes, leaves, ..Budget::default() },
        ..small(name, plan(short(), steering))
    };
    vec![
        Config {
            replicas: 1,
            broken: 1,
            actions: &[Action::PromoteFull, Action::Abort],
            budget: pods(1, 1),
            ..small("dead-stable", plan(short(), proxy(0)))
        },
        Config {
            replicas: 1,
            actions: &[Action::PromoteFull, Action::Promote],
            budget: pods(1, 1),
            ..small("stable-back", watched(plan(canary(), proxy(0))))
        },
        Config {
            replicas: 1,
            broken: 1,
            owner: true,
            actions: &[Action::PromoteFull],
            budget: pods(1, 1),
            ..small("dead-stable-below", plan(short(), two_levels(0)))
        },
        Config {
            broken: 1,
            budget: pods(1, 2),
            ..base(
                "dead-stable-in-flight",
                plan(vec![step("half", 50, until()), step("full", 100, bake(1))], proxy(0)),
            )
        },
        gone("workload-gone", proxy(0), 2, 0),
        gone("workload-gone-at-deletion", proxy(0), 1, 1),
        Config { owner: true, ..gone("owner-gone", two_levels(0), 1, 0) },
        Config { owner: true, ..gone("owner-gone-at-deletion", two_levels(0), 1, 1) },
        Config {
            flights: true,
            store: true,
            budget: Budget { pushes: 1, vanishes: 1, leaves: 1, crashes: 1, ..Budget::default() },
            ..gone("gone-while-stopped", proxy(0), 1, 1)
        },
    ]
}

/// With an instance manager and routes over routes.
fn below() -> Vec<Config> {
    let full = || vec![step("full", 100, until())];
    vec![
        Config {
            owner: true,
            budget: pods(1, 1),
            ..base(
                "two-canary-services",
                plan(full(), two_services(RouteKind::ToCanary, RouteRest::OnStable)),
            )
        },
        Config {
            owner: true,
            budget: pods(1, 1),
            ..base("two-stable-services", plan(full(), two_services(RouteKind::ToStable, RouteRest::ByReady)))
        },
        Config { owner: true, budget: pods(1, 0), ..base("two-levels", plan(canary(), two_levels(1))) },
        Config {
            owner: true,
            actions: &[Action::Retry],
            budget: Budget { pushes: 2, orders: 1, ..Budget::default() },
            ..base("two-levels-again", plan(full(), two_levels(0)))
        },
        Config {
            owner: true,
            budget: Budget { pushes: 1, drifts: 1, ..Budget::default() },
            ..base("two-levels-drift", plan(full(), two_levels(0)))
        },
        Config {
            owner: true,
            budget: Budget { pushes: 1, leaves: 1, ..Budget::default() },
            ..base("two-levels-deletion", plan(full(), two_levels(0)))
        },
        Config {
            owner: true,
            owner_writes: 3,
            actions: &[Action::Abort, Action::Retry],
            budget: Budget { pushes: 2, orders: 1, ..Budget::default() },
            ..base("several-writes", plan(full(), two_levels(0)))
        },
        Config {
            owner: true,
            adopts: true,
            budget: pods(0, 0),
            ..base("adoption", plan(full(), two_levels(0)))
        },
        Config {
            owner: true,
            scaler: Some(Scaler::CanaryToo),
            budget: Budget { pushes: 1, scales: 2, ..Budget::default() },
            ..base("autoscaler", plan(canary(), two_levels(0)))
        },
    ]
}

fn capacities() -> Vec<Config> {
    let capacity = |stable, surge| {
        let mut plan = plan(canary(), proxy(1));
        (plan.capacity.stable, plan.capacity.surge) = (stable, surge);
        plan
    };
    let ratio = |sizing, missing| {
        let mut plan = plan(canary(), Steering::Ratio);
        plan.sizing = sizing;
        plan.capacity.max_unavailable = Weight::from_percent(missing).into();
        plan.capacity.surge = Weight::from_percent(50).into();
        plan
    };
    let sized = |sizing| Plan { sizing, ..plan(canary(), proxy(1)) };
    let keep = |mut plan: Plan| {
        plan.capacity.keep_canary = length(1);
        plan
    };
    vec![
        Config { budget: pods(1, 1), ..base("follow", capacity(StableCapacity::Follow, Amount::FULL)) },
        Config {
            budget: pods(1, 1),
            ..base("in-place", {
                let mut plan = capacity(StableCapacity::InPlace, Amount::ZERO);
                plan.capacity.max_unavailable = Weight::from_percent(50).into();
                plan
            })
        },
        Config {
            replicas: 3,
            scaled: 1,
            budget: Budget { pushes: 1, scales: 1, orders: 1, ..Budget::default() },
            ..base("absolute", {
                let mut plan = capacity(StableCapacity::InPlace, Amount::ZERO);
                plan.capacity.max_unavailable = Amount::Replicas(1);
                plan
            })
        },
        Config {
            replicas: 3,
            scaled: 1,
            budget: Budget { pushes: 1, scales: 1, orders: 1, ..Budget::default() },
            ..base("absolute-ratio", {
                let mut plan = ratio(Sizing::PerArm, 0);
                (plan.capacity.surge, plan.capacity.max_unavailable) =
                    (Amount::Replicas(1), Amount::Replicas(1));
                plan
            })
        },
        Config { budget: pods(1, 0), ..base("no-room", capacity(StableCapacity::Keep, Amount::ZERO)) },
        Config { budget: pods(1, 1), ..base("keep-canary", keep(plan(canary(), proxy(0)))) },
        Config {
            budget: Budget { pushes: 1, scales: 2, orders: 1, ..Budget::default() },
            ..base("replicas-change", plan(canary(), proxy(1)))
        },
        Config { budget: pods(1, 1), ..base("ratio", ratio(Sizing::PerArm, 0)) },
        Config {
            replicas: 3,
            budget: pods(1, 0),
            ..base("ratio-even", {
                let mut plan = ratio(Sizing::PerArm, 0);
                plan.steps = even(plan.steps);
                plan
            })
        },
        Config {
            replicas: 1,
            scaled: 2,
            budget: Budget { pushes: 1, orders: 1, scales: 1, ..Budget::default() },
            ..base("ratio-of-one", ratio(Sizing::PerArm, 0))
        },
        Config { budget: pods(2, 1), ..base("partition", ratio(Sizing::Partition, 50)) },
        Config { self_made: true, budget: pods(1, 0), ..base("elastic", watched(sized(Sizing::Elastic))) },
        Config { self_made: true, budget: pods(1, 1), ..base("fixed", sized(Sizing::Fixed)) },
    ]
}

/// With an instance manager whose own number the wanted one is, while the machine sizes stable or asks for its number.
fn sized_below() -> Vec<Config> {
    let full = || vec![step("half", 50, at_once()), step("full", 100, until())];
    let below = |name, plan| Config {
        owner: true,
        actions: &[Action::Abort],
        budget: Budget { pushes: 1, orders: 1, scales: 1, ..Budget::default() },
        ..base(name, plan)
    };
    let ratio = |sizing, missing| {
        let mut plan = plan(full(), Steering::Ratio);
        plan.sizing = sizing;
        plan.capacity.max_unavailable = Weight::from_percent(missing).into();
        plan.capacity.surge = Weight::from_percent(50).into();
        plan
    };
    let capacity = |stable| {
        let mut plan = plan(full(), proxy(0));
        plan.capacity.stable = stable;
        plan
    };
    vec![
        below("owner-ratio", ratio(Sizing::PerArm, 0)),
        below("owner-follow", capacity(StableCapacity::Follow)),
        below("owner-in-place", {
            let mut plan = capacity(StableCapacity::InPlace);
            (plan.capacity.surge, plan.capacity.max_unavailable) =
                (Amount::ZERO, Weight::from_percent(50).into());
            plan
        }),
        below("owner-partition", ratio(Sizing::Partition, 50)),
        Config {
            budget: Budget { pushes: 1, takes: 2, ..Budget::default() },
            ..below("owner-ratio-taken-back", ratio(Sizing::PerArm, 0))
        },
        Config {
            budget: Budget { pushes: 1, leaves: 1, ..Budget::default() },
            ..below("owner-ratio-deletion", ratio(Sizing::PerArm, 0))
        },
        Config { scaled: 0, ..below("owner-scale-to-zero", capacity(StableCapacity::Keep)) },
        Config { scaled: 0, ..below("owner-ratio-to-zero", ratio(Sizing::PerArm, 0)) },
        Config {
            scaler: Some(Scaler::StableOnly),
            budget: Budget { pushes: 1, scales: 2, ..Budget::default() },
            ..below("autoscaler-of-rollout", plan(full(), proxy(0)))
        },
    ]
}

fn concurrent() -> Vec<Config> {
    vec![
        Config {
            store: true,
            budget: Budget { pushes: 1, orders: 1, crashes: 1, ..Budget::default() },
            ..base("store", plan(canary(), proxy(1)))
        },
        Config { controllers: 2, budget: pods(1, 0), ..base("two-controllers", plan(canary(), proxy(0))) },
        Config {
            controllers: 2,
            budget: pods(1, 0),
            ..base("two-controllers-follow", {
                let mut plan = plan(vec![step("half", 50, at_once()), step("full", 100, bake(1))], proxy(0));
                plan.capacity.stable = StableCapacity::Follow;
                plan
            })
        },
        Config {
            controllers: 2,
            budget: Budget { pushes: 1, lags: 1, losses: 1, ..Budget::default() },
            ..base("two-controllers-stale", plan(vec![step("full", 100, until())], proxy(0)))
        },
        Config {
            controllers: 2,
            budget: pods(1, 0),
            ..base("two-controllers-ratio", {
                let mut plan = plan(vec![step("full", 100, at_once())], Steering::Ratio);
                plan.capacity.surge = Weight::from_percent(50).into();
                plan
            })
        },
        Config {
            controllers: 2,
            owner: true,
            budget: pods(1, 0),
            ..base("two-controllers-two-levels", plan(vec![step("full", 100, until())], two_levels(0)))
        },
    ]
}
