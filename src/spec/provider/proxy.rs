use analysis::provider::AnyQuestion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::{ProviderKind, Whom, Yields};
use crate::written::MetricText;

/// What the built-in proxy counts, per version and without any set-up.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyCounts {
    /// What is looked at.
    pub signal: Signal,
}

/// What the built-in proxy counts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Signal {
    /// Requests, and those that failed: a status of 500 or above, no answer, or one that broke off.
    Errors,
    /// Requests by how long they took until the head of the answer.
    Latency,
    /// Requests by class of their answer, for the judge `answers`: successes, redirects, 404, other 4xx, 5xx, none.
    Answers,
    /// Requests, and those that were answered with a redirect: 3xx.
    Redirects,
    /// Requests, and those that were answered with 404.
    NotFound,
    /// Requests, and those that were refused: 4xx, 404 among them.
    ClientErrors,
}

impl ProviderKind for ProxyCounts {
    fn texts(&self) -> Vec<(&'static str, &MetricText)> {
        vec![]
    }

    fn filled(&self, _fill: &dyn Fn(&MetricText) -> MetricText) -> Self {
        self.clone()
    }

    fn yields(&self) -> Yields {
        match self.signal {
            Signal::Errors | Signal::Redirects | Signal::NotFound | Signal::ClientErrors => Yields::Counts,
            Signal::Latency => Yields::Buckets,
            Signal::Answers => Yields::Answers,
        }
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Engine
    }

    fn question(&self, _fill: &dyn Fn(&MetricText) -> String) -> Option<AnyQuestion> {
        None
    }

    fn every(&self) -> HumanDuration {
        HumanDuration::from_secs(1)
    }
}
