//! The template that is part of Serinus: errors and latency as the built-in proxy counts them.

use analysis::{AnyJudge, judge::Sequential, written::Ratio};
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
    let metric = |name: &str, signal, judge| Metric {
        name: Name::from(name),
        every: None,
        weight: 1.0,
        dry_run: false,
        judge: AnyJudge::Sequential(judge),
        provider: Provider::Proxy(ProxyCounts { signal }),
    };
    AnalysisTemplateSpec {
        args: vec![],
        metrics: vec![
            metric("errors", Signal::Errors, Sequential::default()),
            metric("latency", Signal::Latency, noticeably_slower()),
        ],
    }
}

/// Of two arms the smaller one is a little slower for being less busy, which nobody notices: at the middle of a
/// histogram four per cent more time are odds of 1.4. Odds beyond this are a difference that users meet.
fn noticeably_slower() -> Sequential {
    let mut judge = Sequential::default();
    if let Ok(odds) = Ratio::new(1.5) {
        judge.roll_back.worse_than = odds;
    }
    judge
}
