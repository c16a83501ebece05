//! What a Rollout refers to, and which of it the documents do not hold.

use std::collections::BTreeSet;

use strategies::{
    Gate, LeaveBehavior as _, Missing, Name, Plan,
    recipe::{Steps, TemplateKind},
};

use super::Library;
use crate::spec::{
    RolloutSpec,
    provider::{SourceKind, SourceRef, Whom},
};

/// Something that a Rollout refers to.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Reference {
    /// Its kind: `AnalysisTemplate`, `ClusterMetricSource`, `Deployment`.
    pub kind: Name,
    /// Its name.
    pub name: Name,
    /// The analyses of the plan that refer to it. Empty: the Rollout itself does.
    pub by: BTreeSet<Name>,
}

/// Who refers to something, as a person wrote it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Referrer {
    /// A guard of this name.
    Guard(Name),
    /// The step of this name.
    Step(Name),
}

impl Reference {
    /// What the Rollout as a whole refers to: its workload, a route.
    #[must_use]
    pub fn of_rollout(kind: impl Into<Name>, name: impl Into<Name>) -> Self {
        Self { kind: kind.into(), name: name.into(), by: BTreeSet::new() }
    }

    /// The guards and steps that refer to it, in the order of the plan.
    #[must_use]
    pub fn referrers(&self, plan: &Plan) -> Vec<Referrer> {
        let guards = plan.guards.iter().filter(|it| self.by.contains(&it.name));
        let asks = |gate: Gate| match gate {
            Gate::Evidence(analyses) => analyses.iter().any(|it| self.by.contains(it)),
            Gate::Open | Gate::Person => false,
        };
        let steps = plan.steps.iter().filter(|it| asks(it.leave.gate()));
        let guards = guards.map(|it| Referrer::Guard(it.name.clone()));
        guards.chain(steps.map(|it| Referrer::Step(it.name.clone()))).collect()
    }
}

impl From<&Reference> for Missing {
    fn from(reference: &Reference) -> Self {
        let Reference { kind, name, by } = reference;
        Self { what: format!("{kind} {name}").into(), analyses: by.clone() }
    }
}

/// What the analyses of a Rollout refer to and the library does not hold, each once.
pub(super) fn missing(spec: &RolloutSpec, steps: &Steps, library: Library<'_>) -> Vec<Reference> {
    let guards = spec.analyses.iter().flatten();
    let guards = guards.map(|it| (&it.name, it.template_ref.kind, &it.template_ref.name));
    let steps = steps.uses.iter().map(|it| (&it.analysis, it.kind, &it.template));
    let mut all = Vec::<Reference>::new();
    for (analysis, kind, template) in guards.chain(steps) {
        for (kind, name) in lacks(kind, template, library) {
            match all.iter_mut().find(|it| it.kind == kind && it.name == name) {
                Some(known) => drop(known.by.insert(analysis.clone())),
                None => all.push(Reference { kind, name, by: [analysis.clone()].into() }),
            }
        }
    }
    all.sort();
    all
}

/// Of one template: itself, or the sources that its metrics ask. What is measured and never counted holds nobody up.
fn lacks(kind: TemplateKind, template: &Name, library: Library<'_>) -> Vec<(Name, Name)> {
    let named = |kind: &str, name: &Name| (Name::from(kind), name.clone());
    let Some(spec) = library.template(kind, template) else {
        return match kind {
            TemplateKind::AnalysisTemplate => vec![named("AnalysisTemplate", template)],
            TemplateKind::ClusterAnalysisTemplate => vec![named("ClusterAnalysisTemplate", template)],
            // A mistake: there is no such template anywhere.
            TemplateKind::BuiltIn => vec![],
        };
    };
    let held = |wanted: &SourceRef| library.sources(wanted.kind).any(|(name, _)| *name == wanted.name);
    let counted = spec.metrics.iter().filter(|it| !it.dry_run);
    let asked = counted.filter_map(|it| match it.provider.whom() {
        Whom::Source { source_ref: Some(wanted), .. } => Some(wanted),
        Whom::Source { source_ref: None, .. } | Whom::ThisMachine | Whom::Engine => None,
    });
    let lost = asked.filter(|it| !held(it)).map(|it| match it.kind {
        SourceKind::MetricSource => named("MetricSource", &it.name),
        SourceKind::ClusterMetricSource => named("ClusterMetricSource", &it.name),
    });
    lost.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{
        self,
        compile::{Compiled, compile},
    };

    const ROLLOUT: &str = r#"
apiVersion: serinus.dev/v1alpha1
kind: Rollout
metadata: { name: shop }
spec:
  workloadRef: { apiVersion: apps/v1, kind: Deployment, name: shop }
  services: [ { name: shop, stable: { name: shop-stable }, canary: { name: shop-canary } } ]
  traffic: [ { gatewayApi: { routes: [ { name: shop } ] } } ]
  strategy:
    canary:
      steps:
        - { name: five, weight: 5%, analyze: { templates: [ { name: golden-signals }, { name: load } ], for: 10m } }
        - { name: half, weight: 50%, analyze: { templates: [ { name: golden-signals } ], for: 10m } }
  analyses:
    - { name: golden, templateRef: { kind: ClusterAnalysisTemplate, name: golden-signals } }
    - { name: errors, templateRef: { kind: AnalysisTemplate, name: load } }
"#;

    const LOAD: &str = r#"
---
apiVersion: serinus.dev/v1alpha1
kind: AnalysisTemplate
metadata: { name: load }
spec:
  metrics:
    - name: load
      judge: { threshold: { pass: "result < 3" } }
      provider: { prometheus: { sourceRef: { kind: ClusterMetricSource, name: main }, query: load } }
    - name: tried
      dryRun: true
      judge: { threshold: { pass: "result < 3" } }
      provider: { prometheus: { sourceRef: { kind: ClusterMetricSource, name: other }, query: load } }
"#;

    fn compiled(texts: &[&str]) -> Compiled {
        let text = texts.concat();
        let read = spec::read("shop.yaml", text.as_bytes());
        let errors: Vec<_> =
            read.diagnostics.iter().filter(|it| it.severity == spec::Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        compile(&read.documents, None).unwrap()
    }

    fn names(compiled: &Compiled) -> Vec<&str> {
        compiled.plan.missing.iter().map(|it| it.what.as_str()).collect()
    }

    #[test]
    fn a_template_or_a_source_that_no_document_holds_is_missing_in_the_plan_and_says_who_asks_it() {
        let bare = compiled(&[ROLLOUT]);
        assert_eq!(
            names(&bare),
            [
                "AnalysisTemplate golden-signals",
                "AnalysisTemplate load",
                "ClusterAnalysisTemplate golden-signals"
            ]
        );
        let who = bare.missing[1].referrers(&bare.plan);
        assert_eq!(who, [Referrer::Guard("errors".into()), Referrer::Step("five".into())]);
        let half = compiled(&[ROLLOUT, LOAD]);
        let source = half.missing.iter().find(|it| it.kind.as_str() == "ClusterMetricSource").unwrap();
        assert_eq!((source.name.as_str(), source.referrers(&half.plan)), ("main", who));
        assert!(
            !names(&half).iter().any(|it| it.contains("other")),
            "a metric that is only tried holds nobody up"
        );
    }

    #[test]
    fn what_every_document_holds_leaves_nothing_missing_until_a_runtime_misses_it() {
        let source = "---\napiVersion: serinus.dev/v1alpha1\nkind: ClusterMetricSource\nmetadata: { name: main }\n\
                      spec: { address: 'http://prometheus' }\n";
        let signals = |kind: &str| {
            LOAD.replace("kind: AnalysisTemplate", &format!("kind: {kind}"))
                .replace("name: load }", "name: golden-signals }")
        };
        let (one, other) = (signals("AnalysisTemplate"), signals("ClusterAnalysisTemplate"));
        let whole = compiled(&[ROLLOUT, LOAD, &one, &other, source]);
        assert_eq!(names(&whole), [""; 0]);
        let held = whole.without(Reference::of_rollout("Deployment", "shop"));
        assert_eq!((names(&held), held.missing.len()), (vec!["Deployment shop"], 1));
    }
}
