//! What is walked through: worlds, what may happen in them, and how often.

use std::collections::BTreeMap;

use strategies::{
    Amount, Capacity, Deadlines, HumanDuration, Leave, Mode, OnVerdict, Plan, RouteKind, RoutePlan,
    RouteRest, Sizing, StableCapacity, Steering, Step, Weight, step::AtOnce,
};

use super::world::Budget;

#[derive(Clone, Debug)]
pub struct Config {
    pub name: &'static str,
    pub replicas: u32,
    pub scaled: u32,
    /// Zero ReplicaSets that the Deployment keeps.
    pub history: usize,
    pub catches: bool,
    /// Whether the replicas are the split.
    pub by_ratio: bool,
    pub stable: StableCapacity,
    pub budget: Budget,
    /// Releases that people may want.
    pub pushes: &'static [u8],
}

impl Config {
    pub fn plan(&self) -> Plan {
        let step = |percent: u32| Step {
            name: format!("{percent}").into(),
            weight: Some(Weight::from_percent(percent)),
            matches: vec![],
            mirror: None,
            sticky: None,
            scale: None,
            leave: Leave::AtOnce(AtOnce {}),
        };
        let route = RoutePlan {
            kind: RouteKind::Weighted { stable: None, canary: None },
            settle: HumanDuration::default(),
            finest: Weight::from_ppm(1),
            rest: RouteRest::OnStable,
        };
        Plan {
            mode: Mode::Active,
            steps: vec![step(50), step(100)],
            guards: vec![],
            on_verdict: OnVerdict::default(),
            capacity: Capacity {
                stable: self.stable,
                surge: Amount::FULL,
                max_unavailable: Amount::ZERO,
                keep_canary: HumanDuration::default(),
            },
            deadlines: Deadlines::default(),
            rollback_window: None,
            sizing: Sizing::PerArm,
            steering: match self.by_ratio {
                true => Steering::Ratio,
                false => Steering::Routes(BTreeMap::from([("web".into(), route)])),
            },
            missing: vec![],
        }
    }
}

const NOTHING: Budget =
    Budget { pushes: 0, restarts: 0, scales: 0, aborts: 0, leaves: 0, deletions: 0, late: 0 };

const PLAIN: Config = Config {
    name: "one new version",
    replicas: 3,
    scaled: 4,
    history: 10,
    catches: false,
    by_ratio: false,
    stable: StableCapacity::Keep,
    budget: Budget { pushes: 1, late: 1, ..NOTHING },
    pushes: &[2],
};

pub fn all() -> Vec<Config> {
    [releases(), deletions()].concat()
}

fn releases() -> Vec<Config> {
    vec![
        PLAIN,
        Config {
            name: "nothing holds but the engine",
            catches: true,
            budget: Budget { pushes: 1, aborts: 1, ..NOTHING },
            ..PLAIN
        },
        Config {
            name: "a third template in every phase, undo included",
            budget: Budget { pushes: 2, ..NOTHING },
            pushes: &[0, 1, 2, 3],
            ..PLAIN
        },
        Config {
            name: "back to an older ReplicaSet",
            budget: Budget { pushes: 2, late: 1, ..NOTHING },
            pushes: &[0, 2],
            ..PLAIN
        },
        Config {
            name: "turned back, told, and put back",
            budget: Budget { pushes: 2, aborts: 1, ..NOTHING },
            pushes: &[1, 2, 3],
            ..PLAIN
        },
        Config {
            name: "an autoscaler",
            budget: Budget { pushes: 1, scales: 2, late: 1, ..NOTHING },
            ..PLAIN
        },
        Config {
            name: "scaled to zero",
            scaled: 0,
            budget: Budget { pushes: 1, scales: 2, ..NOTHING },
            ..PLAIN
        },
        Config {
            name: "no history",
            history: 0,
            budget: Budget { pushes: 2, aborts: 1, ..NOTHING },
            pushes: &[1, 2, 3],
            ..PLAIN
        },
        Config { name: "restarts", budget: Budget { pushes: 1, restarts: 1, late: 1, ..NOTHING }, ..PLAIN },
        Config {
            name: "deleted ReplicaSets",
            budget: Budget { pushes: 1, deletions: 1, ..NOTHING },
            ..PLAIN
        },
        Config {
            name: "stable follows the traffic",
            stable: StableCapacity::Follow,
            budget: Budget { pushes: 2, aborts: 1, ..NOTHING },
            pushes: &[0, 1, 2],
            ..PLAIN
        },
    ]
}

fn deletions() -> Vec<Config> {
    vec![
        Config {
            name: "the Rollout is deleted at any moment",
            by_ratio: true,
            budget: Budget { pushes: 1, leaves: 1, late: 1, ..NOTHING },
            ..PLAIN
        },
        Config {
            name: "the Rollout is deleted where nothing holds but the engine",
            catches: true,
            by_ratio: true,
            budget: Budget { pushes: 1, leaves: 1, ..NOTHING },
            ..PLAIN
        },
        Config {
            name: "the Rollout is deleted after an abort",
            by_ratio: true,
            budget: Budget { pushes: 1, aborts: 1, leaves: 1, ..NOTHING },
            ..PLAIN
        },
    ]
}
