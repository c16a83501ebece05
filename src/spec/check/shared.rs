//! What a strategy may ask for where clients of the user's own Service meet whatever is ready.

use strategies::{
    Goal, Scale, Weight,
    recipe::{Key, Steps},
};

use super::{Check, Code};
use crate::spec::{RolloutSpec, rollout::Direct, rules};

pub(super) fn check(spec: &RolloutSpec, steps: &Steps, origins: &[Vec<Key>], check: &mut Check<'_>) {
    let Some(service) = spec.services.iter().find(|it| it.direct == Some(Direct::Proportional)) else {
        return;
    };
    let mut goal = Goal::home();
    for (step, origin) in steps.steps.iter().zip(origins) {
        goal = step.goal(&goal);
        let (message, key) = if goal.weight == Weight::ZERO {
            ("a step without a weight would send them to the canary all the same", None)
        } else if step.mirror.is_some_and(|it| it != Weight::ZERO) {
            ("replicas for copies would get more of their requests than the weight says", Some("mirror"))
        } else if matches!(step.scale, Some(Scale::Share(_) | Scale::Replicas(_))) {
            ("its weight says how many replicas there are", Some("scale"))
        } else {
            continue;
        };
        let key = key.map(Key::Field);
        let way = [&origin[..], key.as_slice()].concat();
        let message = format!(
            "clients of the Service {} meet the canary as often as it has replicas: {message}",
            service.name
        );
        check.error(Code::NotExpressible, &way, message, rules::UNPINNED.cure);
    }
}
