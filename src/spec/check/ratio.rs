//! What a strategy may ask for where no router moves the traffic: the replicas are the split.

use strategies::{
    Weight,
    recipe::{Key, Steps, Strategy},
};

use super::{Check, Code, Diagnostic};
use crate::spec::{RolloutSpec, ratio, rollout::Direct, rules};

const ROUTER: &str = "name a router in `traffic`";

pub(super) fn check(spec: &RolloutSpec, steps: &Steps, origins: &[Vec<Key>], check: &mut Check<'_>) {
    let strategy = [Key::Field("spec"), Key::Field("strategy"), Key::Field(spec.strategy.key())];
    direct(spec, check);
    if let Strategy::BlueGreen(_) = spec.strategy {
        return check.broken(Code::NotExpressible, &strategy, &rules::NO_PREVIEW);
    }
    if bakes(&spec.strategy) {
        let way = [&strategy[..], &[Key::Field("bake")]].concat();
        check.broken(Code::NotExpressible, &way, &rules::NO_BAKE);
    }
    for (step, origin) in steps.steps.iter().zip(origins) {
        let (rule, key) = if step.matches.iter().any(|it| !it.any_of.is_empty()) {
            (&rules::RATIO_MATCH, "match")
        } else if step.mirror.is_some_and(|it| it != Weight::ZERO) {
            (&rules::RATIO_MIRROR, "mirror")
        } else if step.sticky.is_some() {
            (&rules::RATIO_STICKY, "sticky")
        } else if step.scale.is_some_and(|it| it != strategies::Scale::Traffic) {
            (&rules::RATIO_SCALE, "scale")
        } else {
            continue;
        };
        let way = [&origin[..], &[Key::Field(key)]].concat();
        check.broken(Code::NotExpressible, &way, rule);
    }
    if let Some(replicas) = spec.replicas {
        weights(replicas, steps, origins, check);
    }
}

fn bakes(strategy: &Strategy) -> bool {
    match strategy {
        Strategy::Canary(it) => it.bake.is_some(),
        Strategy::Linear(it) => it.bake.is_some(),
        Strategy::Exponential(it) => it.bake.is_some(),
        Strategy::BlueGreen(it) => it.bake.is_some(),
        Strategy::AbTest(it) => it.bake.is_some(),
        Strategy::Shadow(it) => it.bake.is_some(),
    }
}

/// A Service that is pinned to stable sends the canary nothing, and nothing else does.
fn direct(spec: &RolloutSpec, check: &mut Check<'_>) {
    for (index, service) in spec.services.iter().enumerate() {
        if service.direct == Some(Direct::Stable) {
            let way = [Key::Field("spec"), Key::Field("services"), Key::Index(index), Key::Field("direct")];
            check.broken(Code::NotExpressible, &way, &rules::RATIO_DIRECT);
        }
    }
}

fn weights(replicas: u32, steps: &Steps, origins: &[Vec<Key>], check: &mut Check<'_>) {
    for (step, origin) in steps.steps.iter().zip(origins) {
        let Some((weight, why)) = step.weight.and_then(|it| Some((it, ratio::refuses(it, replicas)?))) else {
            continue;
        };
        let span = check.at(&[&origin[..], &[Key::Field("weight")]].concat());
        let message =
            format!("{replicas} replicas cannot express {weight}: the canary would get {}", why.gets);
        let use_it = match why.below {
            Weight::ZERO => format!("use {}", why.above),
            below => format!("use {below} or {}", why.above),
        };
        let help = format!(
            "by ratio a canary gets at most {} more than its weight and {} less: use more replicas, or {ROUTER}",
            ratio::MORE,
            ratio::LESS
        );
        check.found.push(Diagnostic::error(Code::NotExpressible, span, message).label(use_it).help(help));
    }
}
