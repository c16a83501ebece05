use strategies::{
    Goal, Leave, Name, Pattern, RequestMatch, Step, Weight,
    recipe::{Key, Steps, Strategy},
};

use super::{Check, Code, Diagnostic, ratio, references, references::Elsewhere, shared};
use crate::{
    router::{Capabilities, Mirroring},
    spec::{
        Rollout, RolloutSpec, Severity,
        compile::{self, CompiledAnalysis},
        rules,
    },
    written::{list_of, nearest},
};

pub(super) fn check(rollout: &Rollout, elsewhere: Elsewhere, check: &mut Check<'_>) {
    let spec = &rollout.spec;
    let way = [Key::Field("spec"), Key::Field("strategy"), Key::Field(spec.strategy.key())];
    let steps = compile::steps(spec);
    mistakes(&steps, &way, check);
    for it in &steps.uses {
        let way = [&way[..], &it.at].concat();
        references::template(it.kind, &it.template, &it.args, &way, elsewhere, check);
    }
    let origins: Vec<Vec<Key>> = steps.origins.iter().map(|it| [&way[..], it].concat()).collect();
    starts(spec, &steps, check);
    for (step, origin) in steps.steps.iter().zip(&origins) {
        matches(step, origin, &spec.strategy, check);
    }
    expressible(spec, &steps, &origins, check);
    if check.found.iter().any(|it| it.severity == Severity::Error) {
        return;
    }
    let Some(compiled) = compile::one(rollout, check.library) else { return };
    for (index, (step, origin)) in steps.steps.iter().zip(&origins).enumerate() {
        baseline(step, origin, &compiled.plan.goal_at(index), &compiled.analyses, check);
    }
}

fn mistakes(steps: &Steps, way: &[Key], check: &mut Check<'_>) {
    for it in &steps.mistakes {
        let span = check.at(&[way, &it.at].concat());
        let code = Code::Recipe(it.what.code());
        let wrong = match it.what.is_warning() {
            true => Diagnostic::warning(code, span, it.what.to_string()),
            false => Diagnostic::error(code, span, it.what.to_string()),
        };
        check.found.push(wrong.help(it.what.cure()));
    }
}

/// Guards begin with a step that exists.
fn starts(spec: &RolloutSpec, steps: &Steps, check: &mut Check<'_>) {
    for (index, guard) in spec.analyses.iter().flatten().enumerate() {
        let Some(from) = &guard.from else { continue };
        let known: Vec<&str> = steps.steps.iter().map(|it| it.name.as_str()).collect();
        // A strategy with mistakes may lack the step for that reason.
        if known.contains(&from.as_str()) || !steps.mistakes.is_empty() {
            continue;
        }
        let span =
            check.at(&[Key::Field("spec"), Key::Field("analyses"), Key::Index(index), Key::Field("from")]);
        let mut wrong = Diagnostic::error(Code::NotFound, span, format!("there is no step `{from}`"));
        if let Some(near) = nearest(from.as_str(), known.iter().copied()) {
            wrong = wrong.label(format!("did you mean `{near}`?"));
        }
        check.found.push(wrong.help(format!("the steps are {}", list_of(known.iter().copied(), "and"))));
    }
}

fn matches(step: &Step, origin: &[Key], strategy: &Strategy, check: &mut Check<'_>) {
    for (number, it) in step.matches.iter().enumerate() {
        let way = match_way(origin, number, strategy);
        for (index, one) in it.any_of.iter().enumerate() {
            let way = [&way[..], &[Key::Field("anyOf"), Key::Index(index)]].concat();
            if *one == RequestMatch::default() {
                check.broken(Code::BadValue, &way, &rules::EVERY_REQUEST);
            }
            for (key, fields) in [("headers", &one.headers), ("cookies", &one.cookies), ("query", &one.query)]
            {
                for (field_index, field) in fields.iter().enumerate() {
                    let way = [&way[..], &[Key::Field(key), Key::Index(field_index)]].concat();
                    pattern(&field.value, &way, check);
                    let name = field.name.as_str();
                    if key == "headers" && !is_token(name) || name.is_empty() {
                        let way = [&way[..], &[Key::Field("name")]].concat();
                        let help = "header names are letters, digits and `-`";
                        check.error(Code::BadValue, &way, format!("`{name}` is no name here"), help);
                    }
                }
            }
            if let Some(path) = &one.path {
                pattern(path, &[&way[..], &[Key::Field("path")]].concat(), check);
            }
        }
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it))
}

fn match_way(origin: &[Key], number: usize, strategy: &Strategy) -> Vec<Key> {
    match strategy {
        Strategy::AbTest(_) => [origin, &[Key::Field("matches"), Key::Index(number)]].concat(),
        Strategy::Canary(_)
        | Strategy::Linear(_)
        | Strategy::Exponential(_)
        | Strategy::BlueGreen(_)
        | Strategy::Shadow(_) => [origin, &[Key::Field("match")]].concat(),
    }
}

fn pattern(pattern: &Pattern, way: &[Key], check: &mut Check<'_>) {
    let Pattern::Regex(text) = pattern else { return };
    if let Err(error) = regex::Regex::new(text.as_str()) {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let way = [way, &[Key::Field("regex")]].concat();
        let help = "the syntax is that of the Rust crate `regex`: no look-around, no back-references";
        check.error(Code::BadCondition, &way, format!("this is no regular expression: {why}"), help);
    }
}

/// Every router can do what every step asks.
fn expressible(spec: &RolloutSpec, steps: &Steps, origins: &[Vec<Key>], check: &mut Check<'_>) {
    if compile::by_ratio(spec) {
        return ratio::check(spec, steps, origins, check);
    }
    shared::check(spec, steps, origins, check);
    for (key, router) in spec.traffic.iter().flat_map(|it| it.routers()) {
        let can = router.can();
        let mut goal = Goal::home();
        for (step, origin) in steps.steps.iter().zip(origins) {
            goal = step.goal(&goal);
            asked(key, &can, step, origin, &spec.strategy, check);
        }
    }
}

fn asked(
    router: &str,
    can: &Capabilities,
    step: &Step,
    origin: &[Key],
    strategy: &Strategy,
    check: &mut Check<'_>,
) {
    let mut refuse = |way: &[Key], message: String, label: String| {
        let span = check.at(&[origin, way].concat());
        let wrong = Diagnostic::error(Code::NotExpressible, span, message);
        check.found.push(wrong.label(label));
    };
    if let Some((weight, (below, above))) =
        step.weight.and_then(|it| can.refuses_weight(it).map(|near| (it, near)))
    {
        let message =
            format!("{router} cannot express {weight}: its weights are multiples of {}", can.finest);
        refuse(
            &[Key::Field("weight")],
            message,
            format!("use {below} or {above}, or a router with finer weights"),
        );
    }
    if let Some(share) = step.mirror.filter(|it| !can.can_mirror(*it)) {
        let label = match can.mirror {
            Mirroring::No => "use a router that can mirror",
            Mirroring::All | Mirroring::Share => "use 0% or 100%",
        };
        refuse(
            &[Key::Field("mirror")],
            format!("{router} cannot copy {share} of the requests"),
            label.into(),
        );
    }
    if step.sticky.is_some() && !can.sticky {
        let message = format!("{router} cannot keep clients where they were first sent");
        refuse(&[Key::Field("sticky")], message, "leave it out, or use a router that can".into());
    }
    for (number, it) in step.matches.iter().enumerate() {
        for (index, one) in it.any_of.iter().enumerate() {
            if let Some(what) = can.refuses_match(one) {
                let message = format!("{router} cannot look at {what}");
                let way = match_way(&[], number, strategy);
                let way = [&way[..], &[Key::Field("anyOf"), Key::Index(index)]].concat();
                refuse(&way, message, "use another condition, or a router that can".into());
            }
        }
    }
}

/// A comparison needs requests on both sides that were divided by chance.
fn baseline(
    step: &Step,
    origin: &[Key],
    goal: &Goal,
    analyses: &std::collections::BTreeMap<Name, CompiledAnalysis>,
    check: &mut Check<'_>,
) {
    let (key, names) = match &step.leave {
        Leave::Until(it) => ("until", &it.analyses),
        Leave::Analyze(it) => ("analyze", &it.analyses),
        Leave::AtOnce(_) | Leave::Pause(_) | Leave::Approve(_) | Leave::Bake(_) => return,
    };
    let blind: Vec<&str> = names
        .iter()
        .filter(|it| analyses.get(*it).is_some_and(CompiledAnalysis::needs_baseline))
        .map(Name::as_str)
        .collect();
    if blind.is_empty() || (goal.weight != Weight::ZERO && goal.weight != Weight::FULL) {
        return;
    }
    let message = if goal.weight == Weight::FULL {
        "at 100 % nothing is left on stable to compare with"
    } else {
        "no request is divided by weight in this step, so there is nothing to compare like with like"
    };
    let span = check.at(&[origin, &[Key::Field(key)]].concat());
    let wrong = Diagnostic::error(Code::NoBaseline, span, message);
    let compared = format!("{} compares canary and stable", list_of(blind.iter().copied(), "and"));
    let help = "give its metrics an `objective`, judge them by a `threshold`, or measure at a weight between";
    check.found.push(wrong.label(compared).help(help));
}
