//! Where measurements come from.
//!
//! Adding a provider: write `provider/<name>.rs` with a record that implements [`ProviderKind`], then add one line
//! to `providers!` below.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use crate::written::MetricText;

mod prometheus;
mod proxy;

pub use self::{
    prometheus::{Prometheus, SourceKind, SourceRef},
    proxy::{ProxyCounts, Signal},
};

/// What one kind of provider is.
pub trait ProviderKind {
    /// Its texts, each with the way to it.
    fn texts(&self) -> Vec<(&'static str, &MetricText)>;

    /// The same with some parameters filled in.
    fn filled(&self, fill: &dyn Fn(&MetricText) -> MetricText) -> Self
    where
        Self: Sized;

    /// What it yields.
    fn yields(&self) -> Yields;

    /// How often it is asked where the metric does not say.
    fn every(&self) -> HumanDuration {
        HumanDuration::from_secs(10)
    }
}

/// What a provider yields.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Yields {
    /// Counts of good and bad events, per side.
    Counts,
    /// Counts by bucket, per side.
    Buckets,
    /// One number, per side if its text says so.
    Value,
    /// It cannot be told: its record is not complete.
    Unclear,
}

macro_rules! providers {
    ($($(#[$doc:meta])* $key:literal $Kind:ident($Record:ident),)*) => {
        /// Where a metric comes from.
        #[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase")]
        #[expect(clippy::large_enum_variant, reason = "there are few, one for each thing a person wrote")]
        pub enum Provider { $($(#[$doc])* $Kind($Record),)* }

        impl Provider {
            /// Its key in a document.
            #[must_use]
            pub fn key(&self) -> &'static str {
                match self { $(Self::$Kind(_) => $key,)* }
            }

            /// What it is.
            pub fn texts(&self) -> Vec<(&'static str, &MetricText)> {
                match self { $(Self::$Kind(it) => it.texts(),)* }
            }

            /// The same with some parameters filled in.
            #[must_use]
            pub fn filled(&self, fill: &dyn Fn(&MetricText) -> MetricText) -> Self {
                match self { $(Self::$Kind(it) => Self::$Kind(it.filled(fill)),)* }
            }

            /// What it yields.
            #[must_use]
            pub fn yields(&self) -> Yields {
                match self { $(Self::$Kind(it) => it.yields(),)* }
            }

            /// How often it is asked where the metric does not say.
            #[must_use]
            pub fn every(&self) -> HumanDuration {
                match self { $(Self::$Kind(it) => it.every(),)* }
            }
        }
    };
}

providers! {
    /// What the built-in proxy counts.
    "proxy" Proxy(ProxyCounts),
    /// A Prometheus, or what speaks like one.
    "prometheus" Prometheus(Prometheus),
}
