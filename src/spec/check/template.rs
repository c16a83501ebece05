use analysis::{AnyJudge, provider::prometheus::is_selector};
use strategies::{HumanDuration, recipe::Key};

use super::{Check, Code, Diagnostic};
use crate::{
    spec::{
        Severity,
        provider::{
            Mistake, Prometheus, Provider, ProviderKind as _, SourceKind, SourceRef, Used, Web, Whom, Yields,
        },
        rules,
        template::{AnalysisTemplateSpec, Metric},
    },
    written::{Parameter, list_of, nearest},
};

pub(super) fn check(spec: &AnalysisTemplateSpec, check: &mut Check<'_>) {
    names(spec, check);
    for (index, metric) in spec.metrics.iter().enumerate() {
        let way = [Key::Field("spec"), Key::Field("metrics"), Key::Index(index)];
        self::metric(spec, metric, &way, check);
    }
    if spec.metrics.iter().all(|it| it.dry_run) {
        let way = [Key::Field("spec"), Key::Field("metrics")];
        check.broken(Code::NothingGates, &way, &rules::ALL_DRY);
    }
}

fn names(spec: &AnalysisTemplateSpec, check: &mut Check<'_>) {
    let lists = [
        ("args", spec.args.iter().map(|it| &it.name).collect::<Vec<_>>()),
        ("metrics", spec.metrics.iter().map(|it| &it.name).collect()),
    ];
    for (list, names) in lists {
        for (index, name) in names.iter().enumerate() {
            if names.iter().take(index).any(|it| it == name) {
                let span =
                    check.at(&[Key::Field("spec"), Key::Field(list), Key::Index(index), Key::Field("name")]);
                let message = format!("there already is a `{name}` in `{list}`");
                check.found.push(Diagnostic::error(Code::DuplicateName, span, message));
            }
        }
    }
}

fn metric(spec: &AnalysisTemplateSpec, metric: &Metric, way: &[Key], check: &mut Check<'_>) {
    if metric.every == Some(HumanDuration::default()) {
        let way = [way, &[Key::Field("every")]].concat();
        check.broken(Code::BadValue, &way, &rules::NO_TIME_BETWEEN);
    }
    judge(&metric.judge, way, check);
    if let AnyJudge::Pods(_) = &metric.judge {
        let way = [way, &[Key::Field("judge")]].concat();
        check.broken(Code::Mismatch, &way, &rules::PODS_OF_THE_ENGINE);
    }
    match (&metric.judge, metric.provider.yields()) {
        (AnyJudge::Threshold(_), Yields::Buckets) => {
            let way = [way, &[Key::Field("judge")]].concat();
            check.broken(Code::Mismatch, &way, &rules::THRESHOLD_OF_BUCKETS);
        }
        (AnyJudge::Sequential(_), Yields::Value) if is_query(&metric.provider) => {
            let way = [way, &[Key::Field("judge")]].concat();
            check.broken(Code::Mismatch, &way, &rules::SEQUENTIAL_OF_A_QUERY);
        }
        _ => {}
    }
    of_the_engine(metric, way, check);
    let asked = [way, &[Key::Field("provider"), Key::Field(metric.provider.key())]].concat();
    if let Provider::Prometheus(it) = &metric.provider {
        prometheus(it, &asked, check);
        selectors(it, &asked, check);
    }
    if let Provider::Web(it) = &metric.provider {
        web(it, &asked, check);
    }
    for Mistake { key, message, help } in metric.provider.mistakes() {
        let way: Vec<Key> = asked.iter().copied().chain(key.map(Key::Field)).collect();
        let code = if key.is_none() { Code::NotOneOf } else { Code::BadValue };
        check.error(code, &way, message, help);
    }
    if let Whom::Source { source_ref, address } = metric.provider.whom() {
        whom(source_ref, address, &asked, check);
    }
    parameters(spec, metric, way, check);
}

/// Judges and signals that are there for one another alone.
fn of_the_engine(metric: &Metric, way: &[Key], check: &mut Check<'_>) {
    let by_class = metric.provider.yields() == Yields::Answers;
    let memory = matches!(&metric.provider, Provider::Process(it) if it.signal == Used::Memory);
    let compares_classes = matches!(metric.judge, AnyJudge::Answers(_));
    let looks_for_leaks = matches!(metric.judge, AnyJudge::Leak(_));
    let (message, help) = if compares_classes && !by_class {
        (rules::ANSWERS_OF_THE_PROXY.words, rules::ANSWERS_OF_THE_PROXY.cure)
    } else if looks_for_leaks && !memory {
        (rules::LEAK_OF_MEMORY.words, rules::LEAK_OF_MEMORY.cure)
    } else if by_class && !compares_classes {
        (
            "this signal yields classes of answers, which only the judge `answers` compares",
            "write `judge: { answers: {} }`, or look at one class: `signal: clientErrors`",
        )
    } else {
        return;
    };
    let way = [way, &[Key::Field("judge")]].concat();
    check.error(Code::Mismatch, &way, message, help);
}

fn is_query(provider: &Provider) -> bool {
    matches!(provider, Provider::Prometheus(it) if it.query.is_some())
}

fn judge(judge: &AnyJudge, way: &[Key], check: &mut Check<'_>) {
    for problem in judge.check() {
        let way: Vec<Key> = way
            .iter()
            .copied()
            .chain([Key::Field("judge"), Key::Field(judge.name())])
            .chain(problem.path.iter().copied().map(Key::Field))
            .collect();
        let span = check.at(&way);
        check.found.push(Diagnostic::error(Code::BadValue, span, problem.message));
    }
}

fn prometheus(it: &Prometheus, way: &[Key], check: &mut Check<'_>) {
    if it.yields_nothing() {
        let message = match it.asked().as_slice() {
            [] => "it is not said what is asked".to_owned(),
            asked => format!("{} do not make one question", list_of(asked.iter().copied(), "and")),
        };
        check.error(Code::NotOneOf, way, message, rules::ONE_QUESTION_OF_PROMETHEUS.cure);
    }
}

fn web(it: &Web, way: &[Key], check: &mut Check<'_>) {
    if it.yields() == Yields::Unclear {
        check.broken(Code::NotOneOf, way, &rules::ONE_NUMBER_OF_WEB);
    }
    if !it.path.as_str().starts_with('/') {
        let way = [way, &[Key::Field("path")]].concat();
        check.broken(Code::BadValue, &way, &rules::PATH_OF_WEB);
    }
    for (key, why) in it.wrong_paths() {
        let way = [way, &[Key::Field(key)]].concat();
        check.error(
            Code::BadCondition,
            &way,
            format!("this is no JSONPath: {why}"),
            "write `$.data.value`, for example",
        );
    }
}

/// Functions where a selector is needed: what they make of counters can't be counted.
fn selectors(it: &Prometheus, way: &[Key], check: &mut Check<'_>) {
    let expanded = it.expanded();
    for (key, text) in expanded.texts().into_iter().filter(|(key, _)| *key != "query") {
        if is_selector(&text.fill(|_| Some("x".to_owned()))) {
            continue;
        }
        if it.preset.is_some() {
            let way = [way, &[Key::Field("preset")]].concat();
            let help = "write `matchers: namespace=\"shop\",team=\"a\"`, for example, and a regular expression without quotes as `arm`";
            check.error(Code::BadCondition, &way, "its `matchers` or `arm` make no selector", help);
            return;
        }
        let way = [way, &[Key::Field(key)]].concat();
        let message = format!("`{key}` must be a selector, without functions");
        check.error(Code::BadCondition, &way, message, rules::SELECTORS.cure);
    }
}

/// Whether it is said who is asked, once.
fn whom(source_ref: Option<&SourceRef>, address: Option<&str>, way: &[Key], check: &mut Check<'_>) {
    match (source_ref, address) {
        (Some(_), Some(_)) => {
            let way = [way, &[Key::Field("address")]].concat();
            check.broken(Code::NotOneOf, &way, &rules::TWO_SOURCES);
        }
        (None, None) => {
            check.broken(Code::MissingField, way, &rules::NO_SOURCE);
        }
        (Some(wanted), None) => {
            let names: Vec<&str> =
                check.library.sources(wanted.kind).map(|(name, _)| name.as_str()).collect();
            if names.contains(&wanted.name.as_str()) || !check.complete {
                return;
            }
            // Sources are an operator's; a cluster holds those that a file does not.
            if let Some(near) = nearest(wanted.name.as_str(), names) {
                let kind = match wanted.kind {
                    SourceKind::MetricSource => "MetricSource",
                    SourceKind::ClusterMetricSource => "ClusterMetricSource",
                };
                let span = check.at(&[way, &[Key::Field("sourceRef"), Key::Field("name")]].concat());
                let message = format!("there is no {kind} `{}` in this file", wanted.name);
                let wrong = Diagnostic::warning(Code::NotFound, span, message);
                check.found.push(wrong.label(format!("did you mean `{near}`?")));
            }
        }
        (None, Some(_)) => {}
    }
}

fn parameters(spec: &AnalysisTemplateSpec, metric: &Metric, way: &[Key], check: &mut Check<'_>) {
    let known: Vec<&str> = spec.args.iter().map(|it| it.name.as_str()).collect();
    for (key, text) in metric.provider.texts() {
        let way =
            [way, &[Key::Field("provider"), Key::Field(metric.provider.key()), Key::Field(key)]].concat();
        for parameter in text.parameters() {
            let Parameter::Argument(name) = parameter else { continue };
            if known.contains(&name.as_str()) {
                continue;
            }
            let whole = check.at(&way);
            let part = format!("$(args.{name})");
            let span = match check.source.slice(&whole).find(&part) {
                Some(at) => whole.start + at..whole.start + at + part.len(),
                None => whole,
            };
            let mut wrong =
                Diagnostic::error(Code::Argument, span, format!("this template has no argument `{name}`"));
            debug_assert_eq!(wrong.severity, Severity::Error);
            if let Some(near) = nearest(name, known.iter().copied()) {
                wrong = wrong.label(format!("did you mean `$(args.{near})`?"));
            }
            let help = match known.as_slice() {
                [] => format!("write `args: [ {{ name: {name} }} ]` in its `spec`"),
                known => format!("it has {}", list_of(known.iter().copied(), "and")),
            };
            check.found.push(wrong.help(help));
        }
    }
}

impl Prometheus {
    fn yields_nothing(&self) -> bool {
        self.yields() == Yields::Unclear
    }
}
