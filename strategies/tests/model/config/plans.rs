//! The plans of the configurations, small enough to be explored and with every feature in one of them.

use std::collections::BTreeMap;

use strategies::{
    Amount, Capacity, Consequence, Deadlines, Guard, HumanDuration, Leave, Missing, Mode, OnVerdict, Pattern,
    Plan, RequestMatch, RouteKind, RoutePlan, RouteRest, Scale, Sizing, StableCapacity, Steering, Step,
    StepMatch, Watches, Weight,
    step::{Analyze, Approve, AtOnce, Bake, Pause, Until},
};

use crate::checker::bridge::TICK;

pub fn length(ticks: u32) -> HumanDuration {
    HumanDuration(TICK * ticks)
}

pub fn step(name: &str, percent: u32, leave: Leave) -> Step {
    Step {
        name: name.into(),
        weight: Some(Weight::from_percent(percent)),
        matches: vec![],
        mirror: None,
        sticky: None,
        scale: None,
        leave,
    }
}

pub fn until() -> Leave {
    Leave::Until(Until { analyses: vec!["golden".into()], min: length(0), max: length(2) })
}

pub fn analyze() -> Leave {
    Leave::Analyze(Analyze { analyses: vec!["golden".into()], length: Some(length(1)) })
}

pub fn bake(ticks: u32) -> Leave {
    Leave::Bake(Bake { length: length(ticks) })
}

pub fn at_once() -> Leave {
    Leave::AtOnce(AtOnce {})
}

pub fn pause(ticks: Option<u32>) -> Leave {
    Leave::Pause(Pause { length: ticks.map(length) })
}

pub fn approve(within: Option<u32>, on_timeout: Consequence) -> Leave {
    Leave::Approve(Approve { within: within.map(length), on_timeout })
}

fn route(kind: RouteKind, settle: u32, rest: RouteRest) -> RoutePlan {
    RoutePlan { kind, settle: length(settle), finest: Weight::ONE_PERCENT, rest }
}

/// One proxy that splits between the arms themselves.
pub fn proxy(settle: u32) -> Steering {
    let web = route(RouteKind::Weighted { stable: None, canary: None }, settle, RouteRest::OnStable);
    Steering::Routes([("web".into(), web)].into())
}

/// The user's route over `-stable` and `-canary`, and the user's own Service as a second entry.
pub fn two_levels(settle: u32) -> Steering {
    let weighted =
        RouteKind::Weighted { stable: Some("web-stable".into()), canary: Some("web-canary".into()) };
    Steering::Routes(BTreeMap::from([
        ("direct".into(), route(RouteKind::Direct, 0, RouteRest::ByReady)),
        ("web".into(), route(weighted, settle, RouteRest::Through("direct".into()))),
        ("web-canary".into(), route(RouteKind::ToCanary, 0, RouteRest::OnStable)),
        ("web-stable".into(), route(RouteKind::ToStable, 0, RouteRest::ByReady)),
    ]))
}

/// The user's own Service is never written, so that its clients meet whatever is ready.
pub fn shared(mut steering: Steering) -> Steering {
    if let Steering::Routes(routes) = &mut steering {
        routes.insert("direct".into(), route(RouteKind::Proportional, 0, RouteRest::ByReady));
    }
    steering
}

/// The user's route has both Services in it, and is given back as it was: everything to `-stable`.
pub fn weights_only(settle: u32) -> Steering {
    let mut steering = two_levels(settle);
    if let Steering::Routes(routes) = &mut steering
        && let Some(web) = routes.get_mut("web")
    {
        web.rest = RouteRest::Through("web-stable".into());
    }
    steering
}

/// One side of a second Service, moved with that of the first: a state has room for four routes.
pub fn two_services(kind: RouteKind, rest: RouteRest) -> Steering {
    let mut steering = two_levels(0);
    if let Steering::Routes(routes) = &mut steering {
        routes.remove("direct");
        routes.insert("api".into(), route(kind, 0, rest));
        if let Some(web) = routes.get_mut("web") {
            web.rest = RouteRest::OnStable;
        }
    }
    steering
}

/// The same where the user's route stays on `-stable` for ever.
pub fn adopted(settle: u32) -> Steering {
    let mut steering = two_levels(settle);
    if let Steering::Routes(routes) = &mut steering
        && let Some(web) = routes.get_mut("web")
    {
        web.rest = RouteRest::OnStable;
    }
    steering
}

/// A proxy and a preview Service that always leads to the newest revision.
pub fn preview() -> Steering {
    let web = route(RouteKind::Weighted { stable: None, canary: None }, 1, RouteRest::OnStable);
    let preview = route(RouteKind::ToCanary, 0, RouteRest::OnStable);
    Steering::Routes([("preview".into(), preview), ("web".into(), web)].into())
}

pub fn plan(steps: Vec<Step>, steering: Steering) -> Plan {
    let guards = match steps.first() {
        Some(first) => {
            vec![Guard { name: "pods".into(), from: first.name.clone(), watches: Watches::Traffic }]
        }
        None => vec![],
    };
    Plan {
        mode: Mode::Active,
        steps,
        guards,
        on_verdict: OnVerdict::default(),
        capacity: Capacity {
            stable: StableCapacity::Keep,
            surge: Amount::FULL,
            max_unavailable: Amount::ZERO,
            keep_canary: length(0),
        },
        deadlines: Deadlines { progress: length(3), abort: length(2), then: Consequence::RollBack },
        rollback_window: None,
        sizing: Sizing::PerArm,
        steering,
        missing: vec![],
    }
}

/// Where what this analysis refers to is not there.
pub fn without(mut plan: Plan, analysis: &str) -> Plan {
    let analyses = [analysis.into()].into();
    plan.missing = vec![Missing { what: format!("AnalysisTemplate {analysis}").into(), analyses }];
    plan
}

/// With the guard on what the replicas do, as every document has it.
pub fn watched(mut plan: Plan) -> Plan {
    for guard in &mut plan.guards {
        guard.watches = Watches::Replicas;
    }
    plan
}

/// Half, then everything with a bake: the shortest canary there is.
pub fn canary() -> Vec<Step> {
    vec![step("half", 50, until()), step("full", 100, bake(1))]
}

/// With a canary whose replicas get no more than stable's each, as documents have it by default.
pub fn even(mut steps: Vec<Step>) -> Vec<Step> {
    steps[0].scale = Some(Scale::Even);
    steps
}

pub fn gates() -> Vec<Step> {
    vec![
        step("asked", 50, approve(Some(1), Consequence::RollBack)),
        step("look", 50, pause(None)),
        step("timed", 50, pause(Some(1))),
        step("full", 100, analyze()),
    ]
}

pub fn blue_green() -> Vec<Step> {
    let mut preview = step("preview", 0, analyze());
    preview.scale = Some(Scale::Share(Weight::FULL));
    vec![preview, step("switch", 100, analyze()), step("bake", 100, bake(1))]
}

pub fn matched(name: &str, id: &str, leave: Leave) -> Step {
    let value = Pattern::Exact("1".into());
    let headers = vec![strategies::Field { name: "x-canary".into(), value }];
    let any_of = vec![RequestMatch { headers, ..RequestMatch::default() }];
    Step {
        name: name.into(),
        weight: None,
        matches: vec![StepMatch { id: id.into(), any_of }],
        mirror: None,
        sticky: None,
        scale: Some(Scale::Replicas(1)),
        leave,
    }
}

pub fn shadow() -> Vec<Step> {
    let mut copies = step("copies", 0, until());
    copies.mirror = Some(Weight::from_percent(50));
    let mut full = step("full", 100, at_once());
    full.matches = vec![StepMatch { id: "staff".into(), any_of: vec![] }];
    vec![matched("staff", "staff", approve(None, Consequence::Pause)), copies, full]
}
