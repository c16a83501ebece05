//! The template that is part of Serinus: errors and latency as the built-in proxy counts them.

use analysis::{AnyJudge, judge::Sequential};
use strategies::Name;

use super::{
    provider::{Provider, ProxyCounts, Signal},
    template::{AnalysisTemplateSpec, Metric},
};

/// Its name: `templateRef: { kind: BuiltIn, name: golden }`. Also the name of the guard it makes by default.
pub const NAME: &str = "golden";

/// Its content.
#[must_use]
pub fn template() -> AnalysisTemplateSpec {
    let metric = |name: &str, signal| Metric {
        name: Name::from(name),
        every: None,
        weight: 1.0,
        dry_run: false,
        judge: AnyJudge::Sequential(Sequential::default()),
        provider: Provider::Proxy(ProxyCounts { signal }),
    };
    AnalysisTemplateSpec {
        args: vec![],
        metrics: vec![metric("errors", Signal::Errors), metric("latency", Signal::Latency)],
    }
}
