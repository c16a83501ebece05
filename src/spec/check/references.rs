use analysis::judge::Baseline;
use strategies::{
    Name,
    recipe::{Argument, Key, TemplateKind},
};

use super::{Check, Code, Diagnostic};
use crate::{
    spec::{AnalysisRunSpec, golden, provider::Whom, template::AnalysisTemplateSpec},
    written::{ArgumentText, Fact, Parameter, list_of, nearest},
};

/// Whether a file that lacks something lacks it for good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Elsewhere {
    /// In standalone mode everything is in one file.
    No,
    /// There too, and the replicas are run by someone else.
    NoWithUpstreams,
    /// A cluster may hold it.
    Cluster,
}

pub(super) fn run(spec: &AnalysisRunSpec, check: &mut Check<'_>) {
    for (index, it) in spec.templates.iter().enumerate() {
        let way = [Key::Field("spec"), Key::Field("templates"), Key::Index(index)];
        template(it.kind, &it.name, &it.args, &way, Elsewhere::Cluster, check);
    }
}

/// Whether a template exists and its arguments fit. `way` leads to the record with `name` and `args`.
pub(super) fn template(
    kind: TemplateKind,
    name: &Name,
    args: &[Argument],
    way: &[Key],
    elsewhere: Elsewhere,
    check: &mut Check<'_>,
) -> Option<AnalysisTemplateSpec> {
    let found = check.library.template(kind, name);
    match &found {
        Some(template) => {
            arguments(template, name, args, way, check);
            match elsewhere {
                Elsewhere::No => asked_on_one_machine(template, name, way, check),
                Elsewhere::NoWithUpstreams => {
                    asked_on_one_machine(template, name, way, check);
                    starts_nothing(template, name, way, check);
                }
                Elsewhere::Cluster => run_in_a_cluster(template, name, way, check),
            }
        }
        None if kind == TemplateKind::BuiltIn => {
            let way = [way, &[Key::Field("name")]].concat();
            let help = format!("there is one, `{}`", golden::NAME);
            check.error(Code::NotFound, &way, format!("there is no built-in template `{name}`"), help);
        }
        None if elsewhere != Elsewhere::Cluster && check.complete => not_found(kind, name, way, check),
        None => {}
    }
    found
}

/// On one machine a side is known by its revision and by the addresses of its replicas.
fn asked_on_one_machine(template: &AnalysisTemplateSpec, name: &Name, way: &[Key], check: &mut Check<'_>) {
    for metric in &template.metrics {
        let texts = metric.provider.texts();
        let mut parameters = texts.iter().flat_map(|(_, text)| text.parameters());
        let unknown = parameters.find(|it| matches!(it, Parameter::Side(_, Fact::Service)));
        if let Some(unknown) = unknown {
            let message = format!(
                "metric `{}` of template `{name}` uses `$({unknown})`, which nobody knows on one machine",
                metric.name
            );
            let help =
                "use `pods`, the addresses of the replicas with `|` between them, or `hash`, the revision";
            check.error(Code::NotExpressible, &[way, &[Key::Field("name")]].concat(), message, help);
        }
    }
}

/// Fresh replicas of stable can be had only where replicas are started.
fn starts_nothing(template: &AnalysisTemplateSpec, name: &Name, way: &[Key], check: &mut Check<'_>) {
    for metric in template.metrics.iter().filter(|it| it.judge.baseline() == Baseline::Fresh) {
        let message = format!(
            "metric `{}` of template `{name}` wants `baseline: fresh`, and the replicas of an `upstream` are run by \
             someone else",
            metric.name
        );
        let help =
            "leave `baseline` out to compare with stable as it runs, or let `process` run the replicas";
        check.error(Code::NotExpressible, &[way, &[Key::Field("name")]].concat(), message, help);
    }
}

/// Programs are run on one machine only: in a cluster nobody has installed them.
fn run_in_a_cluster(template: &AnalysisTemplateSpec, name: &Name, way: &[Key], check: &mut Check<'_>) {
    for metric in template.metrics.iter().filter(|it| it.provider.whom() == Whom::ThisMachine) {
        let message = format!(
            "metric `{}` of template `{name}` is measured by a program, which runs on one machine only",
            metric.name
        );
        let help = "ask a source over the network: `prometheus` or `web`";
        check.error(Code::NotExpressible, &[way, &[Key::Field("name")]].concat(), message, help);
    }
}

fn not_found(kind: TemplateKind, name: &Name, way: &[Key], check: &mut Check<'_>) {
    let known: Vec<&Name> = check.library.templates(kind).map(|(name, _)| name).collect();
    let kind_name = match kind {
        TemplateKind::AnalysisTemplate => "AnalysisTemplate",
        TemplateKind::ClusterAnalysisTemplate => "ClusterAnalysisTemplate",
        TemplateKind::BuiltIn => "BuiltIn",
    };
    let span = check.at(&[way, &[Key::Field("name")]].concat());
    let message = format!("there is no {kind_name} `{name}` in this file");
    let mut wrong = Diagnostic::error(Code::NotFound, span, message);
    if let Some(near) = nearest(name.as_str(), known.iter().map(|it| it.as_str())) {
        wrong = wrong.label(format!("did you mean `{near}`?"));
    }
    let help = if known.is_empty() {
        format!("add a document of `kind: {kind_name}`, or use `kind: BuiltIn` and `name: {}`", golden::NAME)
    } else {
        format!("the file has {}", list_of(known.iter().map(|it| it.as_str()), "and"))
    };
    check.found.push(wrong.help(help));
}

fn arguments(
    template: &AnalysisTemplateSpec,
    name: &Name,
    args: &[Argument],
    way: &[Key],
    check: &mut Check<'_>,
) {
    let place =
        |index: usize, field| [way, &[Key::Field("args"), Key::Index(index), Key::Field(field)]].concat();
    for (index, arg) in args.iter().enumerate() {
        if args.iter().take(index).any(|it| it.name == arg.name) {
            let span = check.at(&place(index, "name"));
            let message = format!("the argument `{}` is given twice", arg.name);
            check.found.push(Diagnostic::error(Code::DuplicateName, span, message));
        }
        if !template.args.iter().any(|it| it.name == arg.name) {
            let span = check.at(&place(index, "name"));
            let known: Vec<&str> = template.args.iter().map(|it| it.name.as_str()).collect();
            let message = format!("the template `{name}` has no argument `{}`", arg.name);
            let mut wrong = Diagnostic::error(Code::Argument, span, message);
            if let Some(near) = nearest(arg.name.as_str(), known.iter().copied()) {
                wrong = wrong.label(format!("did you mean `{near}`?"));
            }
            let help = match known.as_slice() {
                [] => "it has none".to_owned(),
                known => format!("it has {}", list_of(known.iter().copied(), "and")),
            };
            check.found.push(wrong.help(help));
        }
        for wrong in ArgumentText::mistakes(arg.value.as_str()) {
            let span = check.at(&place(index, "value"));
            let help = format!("known here: {}", list_of(ArgumentText::ALLOWED.iter().copied(), "and"));
            check.found.push(Diagnostic::error(Code::UnknownParameter, span, wrong.to_string()).help(help));
        }
    }
    for spec in template.args.iter().filter(|it| it.value.is_none()) {
        if !args.iter().any(|it| it.name == spec.name) {
            let message = format!("the template `{name}` needs a value for its argument `{}`", spec.name);
            let help = format!("write `args: [ {{ name: {}, value: … }} ]`", spec.name);
            check.error(Code::Argument, way, message, help);
        }
    }
}
