//! A rollout as tests of the command line begin with: on its first step with revision `b`, stable is `a`.

use jiff::Timestamp;
use strategies::Mode;

use crate::api::view::{ArmRole, PhaseName, RolloutView, StepView, TrafficView, WeightView};

pub(crate) fn view() -> RolloutView {
    RolloutView {
        name: "shop".into(),
        namespace: None,
        at: Timestamp::UNIX_EPOCH,
        mode: Mode::Active,
        phase: PhaseName::Stepping,
        cause: None,
        since: Timestamp::UNIX_EPOCH,
        stable: Some("a".into()),
        canary: Some("b".into()),
        wanted: Some("b".into()),
        generation: 2,
        attempt: 1,
        started: Some(Timestamp::UNIX_EPOCH),
        epoch: 2,
        step: Some(StepView {
            name: "five".into(),
            index: 0,
            count: 2,
            weights: vec![strategies::Weight::from_percent(5), strategies::Weight::FULL],
            held: None,
        }),
        weight: WeightView {
            asked: strategies::Weight::from_percent(5),
            settled: Some(strategies::Weight::from_percent(5)),
            goal: Some(strategies::Weight::from_percent(5)),
            matches: vec![],
            mirror: strategies::Weight::ZERO,
            baseline: strategies::Weight::ZERO,
        },
        arms: vec![],
        waiting: vec![],
        hold: None,
        analyses: vec![],
        traffic: vec![],
        last_traffic: vec![],
        recent: vec![],
        last: None,
        sight: None,
        orders: vec![],
        addresses: vec![],
        troubles: vec![],
        failure: None,
        given: vec![],
    }
}

pub(crate) fn traffic(revision: &str, role: ArmRole, requests: u64, failed: u64) -> TrafficView {
    TrafficView {
        revision: revision.into(),
        role,
        requests,
        failed,
        by: std::collections::BTreeMap::new(),
        rate: 100.0,
        failed_rate: 0.0,
        p50_ms: Some(1.0),
        p99_ms: Some(4.0),
    }
}
