//! The template that is part of Serinus: errors and latency as the built-in proxy counts them.

use analysis::{
    AnyJudge,
    judge::{Sequential, sequential::RollBack},
    written::Ratio,
};
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

/// Odds of a slower request that users notice. The smaller one of two arms is always a little slower for being less
/// busy: where half of the requests are slower than a bound, four per cent more time were measured as odds of 1.4.
const NOTICED: f64 = 1.5;

fn noticeably_slower() -> Sequential {
    let worse_than = Ratio::new(NOTICED).unwrap_or_else(|why| unreachable!("{NOTICED}: {why}"));
    let defaults = Sequential::default();
    Sequential { roll_back: RollBack { worse_than, ..defaults.roll_back }, ..defaults }
}
