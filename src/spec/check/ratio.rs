//! What a strategy may ask for where no router moves the traffic: the replicas are the split.

use strategies::{
    Weight,
    recipe::{Key, Steps, Strategy},
};

use super::{Check, Code, Diagnostic};
use crate::spec::{RolloutSpec, ratio, rollout::Direct};

const ROUTER: &str = "name a router in `traffic`";

pub(super) fn check(spec: &RolloutSpec, steps: &Steps, origins: &[Vec<Key>], check: &mut Check<'_>) {
    let strategy = [Key::Field("spec"), Key::Field("strategy"), Key::Field(spec.strategy.key())];
    direct(spec, check);
    if let Strategy::BlueGreen(_) = spec.strategy {
        let message = "without a router every replica of the new version gets requests: there is no preview";
        let help = format!("{ROUTER}, or use `canary`");
        check.error(Code::NotExpressible, &strategy, message, help);
        return;
    }
    if bakes(&spec.strategy) {
        let way = [&strategy[..], &[Key::Field("bake")]].concat();
        let message =
            "without a router nothing of stable is left to go back to once everything is on the canary";
        check.error(Code::NotExpressible, &way, message, format!("leave `bake` out, or {ROUTER}"));
    }
    for (step, origin) in steps.steps.iter().zip(origins) {
        let (message, key) = if step.matches.iter().any(|it| !it.any_of.is_empty()) {
            ("requests cannot be sent by what they carry", "match")
        } else if step.mirror.is_some_and(|it| it != Weight::ZERO) {
            ("requests cannot be copied", "mirror")
        } else if step.sticky.is_some() {
            ("requests cannot be kept on one side", "sticky")
        } else if step.scale.is_some_and(|it| it != strategies::Scale::Traffic) {
            ("the replicas are the split, so the weight says how many there are", "scale")
        } else {
            continue;
        };
        let way = [&origin[..], &[Key::Field(key)]].concat();
        let help = if key == "scale" { format!("leave `scale` out, or {ROUTER}") } else { ROUTER.to_owned() };
        check.error(Code::NotExpressible, &way, format!("without a router {message}"), help);
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
            let message = "without a router no request would ever reach the canary";
            check.error(Code::NotExpressible, &way, message, format!("leave `direct` out, or {ROUTER}"));
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
