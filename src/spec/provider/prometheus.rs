use analysis::provider::{self, AnyQuestion};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::Name;

use super::{Preset, ProviderKind, Whom, Yields};
use crate::written::MetricText;

/// A Prometheus, or what speaks like one. Give `bad` and `total`, or `histogram`, or `value`, or
/// `query`, or `preset`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Prometheus {
    /// A source that an operator has set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<SourceRef>,
    /// Its address; in a cluster only where the operator's policy allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^https?://"))]
    pub address: Option<String>,
    /// Counter of the events that are bad: a selector without aggregation, so that resets and replicas that leave are
    /// seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad: Option<MetricText>,
    /// Counter of all events: a selector without aggregation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<MetricText>,
    /// Buckets of a histogram, classic or native: a selector without aggregation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<MetricText>,
    /// A gauge of each replica: a selector without aggregation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<MetricText>,
    /// Any query that yields one number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<MetricText>,
    /// The metrics of a data plane, as it exports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
}

/// A source that an operator has set up.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceRef {
    /// Its kind. Default `MetricSource`.
    #[serde(default)]
    pub kind: SourceKind,
    /// Its name.
    pub name: Name,
}

/// Kinds of sources.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SourceKind {
    /// Of the same namespace; in standalone mode, of the same file.
    #[default]
    MetricSource,
    /// Of the whole cluster; in standalone mode, of the same file.
    ClusterMetricSource,
}

impl Prometheus {
    /// The keys that say what is asked, as given.
    #[must_use]
    pub fn asked(&self) -> Vec<&'static str> {
        self.queries().map(|(key, _)| key).chain(self.preset.as_ref().map(|_| "preset")).collect()
    }

    /// What is asked in the source's own language.
    fn queries(&self) -> impl Iterator<Item = (&'static str, &MetricText)> {
        let Self { source_ref: _, address: _, bad, total, histogram, value, query, preset: _ } = self;
        [("bad", bad), ("total", total), ("histogram", histogram), ("value", value), ("query", query)]
            .into_iter()
            .filter_map(|(key, text)| text.as_ref().map(|text| (key, text)))
    }
}

impl ProviderKind for Prometheus {
    fn texts(&self) -> Vec<(&'static str, &MetricText)> {
        self.queries().chain(self.preset.iter().flat_map(Preset::texts)).collect()
    }

    fn filled(&self, fill: &dyn Fn(&MetricText) -> MetricText) -> Self {
        let Self { source_ref, address, bad, total, histogram, value, query, preset } = self;
        Self {
            source_ref: source_ref.clone(),
            address: address.clone(),
            bad: bad.as_ref().map(fill),
            total: total.as_ref().map(fill),
            histogram: histogram.as_ref().map(fill),
            value: value.as_ref().map(fill),
            query: query.as_ref().map(fill),
            preset: preset.as_ref().map(|it| it.filled(fill)),
        }
    }

    fn expanded(&self) -> Self {
        let expanded = self.preset.as_ref().and_then(|it| it.expand(self));
        expanded.unwrap_or_else(|| self.clone())
    }

    fn yields(&self) -> Yields {
        match (self.asked().as_slice(), &self.preset) {
            (["bad", "total"], _) => Yields::Counts,
            (["histogram"], _) => Yields::Buckets,
            (["value"] | ["query"], _) => Yields::Value,
            (["preset"], Some(it)) => it.yields(),
            _ => Yields::Unclear,
        }
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Source { source_ref: self.source_ref.as_ref(), address: self.address.as_deref() }
    }

    fn question(&self, fill: &dyn Fn(&MetricText) -> String) -> Option<AnyQuestion> {
        let Self { source_ref: _, address: _, bad, total, histogram, value, query, preset: _ } =
            &self.expanded();
        let asked = match (bad, total, histogram, value, query) {
            (Some(bad), Some(total), None, None, None) => {
                provider::Prometheus::Counts { bad: fill(bad), total: fill(total) }
            }
            (None, None, Some(it), None, None) => provider::Prometheus::Histogram(fill(it)),
            (None, None, None, Some(it), None) => provider::Prometheus::Value(fill(it)),
            (None, None, None, None, Some(it)) => provider::Prometheus::Query(fill(it)),
            _ => return None,
        };
        Some(AnyQuestion::Prometheus(asked))
    }
}
