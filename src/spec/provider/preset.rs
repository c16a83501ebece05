//! What data planes export under which names: selectors that nobody has to write.
//!
//! Adding one: write `preset/<name>.rs` with its [`DataPlane`], then add one line to `data_planes!` below, and series that
//! it exported to `tests/presets`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Prometheus, Yields};
use crate::written::MetricText;

mod istio;
mod otel_http;
mod traefik;

/// The metrics of a data plane, as it exports them. What tells stable and canary apart is a label of its series.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Preset {
    /// Whose metrics.
    pub name: PresetName,
    /// What is looked at.
    pub signal: Exported,
    /// The label that tells stable and canary apart. Default: the data plane's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub label: Option<String>,
    /// A regular expression that fits the label's values of one side, such as `$(arm.service)@file`. Default: the data
    /// plane's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<MetricText>,
    /// More matchers, such as `namespace="$(namespace)"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matchers: Option<MetricText>,
}

/// What a data plane tells.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Exported {
    /// Requests, and those that failed.
    Errors,
    /// Requests by how long they took.
    Latency,
}

/// What a data plane exports.
struct DataPlane {
    /// The label that tells sides apart.
    label: &'static str,
    /// Its values for one side, a regular expression with parameters.
    arm: &'static str,
    /// The matcher of all series that count, with a comma behind it, or nothing.
    always: &'static str,
    /// The counter of requests.
    requests: &'static str,
    /// The matcher of those that failed.
    bad: &'static str,
    /// The buckets of how long they took.
    durations: &'static str,
}

macro_rules! data_planes {
    ($($(#[$doc:meta])* $key:literal $Name:ident($module:ident),)*) => {
        /// Data planes whose metrics are known.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
        pub enum PresetName { $($(#[$doc])* #[serde(rename = $key)] $Name,)* }

        impl PresetName {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Name,)*];

            /// As it is written.
            #[must_use]
            pub fn key(self) -> &'static str {
                match self { $(Self::$Name => $key,)* }
            }

            fn exports(self) -> &'static DataPlane {
                match self { $(Self::$Name => &$module::EXPORTS,)* }
            }
        }
    };
}

data_planes! {
    /// Traefik 3: its services are told apart, whichever provider they come from.
    "traefik" Traefik(traefik),
    /// A service that counts its own requests as OpenTelemetry's conventions for HTTP say.
    "otelHttp" OtelHttp(otel_http),
    /// Istio's sidecars, as the called side reports it.
    "istio" Istio(istio),
}

impl Preset {
    pub(super) fn texts(&self) -> impl Iterator<Item = (&'static str, &MetricText)> {
        [("arm", &self.arm), ("matchers", &self.matchers)]
            .into_iter()
            .filter_map(|(key, text)| text.as_ref().map(|text| (key, text)))
    }

    pub(super) fn filled(&self, fill: &dyn Fn(&MetricText) -> MetricText) -> Self {
        Self { arm: self.arm.as_ref().map(fill), matchers: self.matchers.as_ref().map(fill), ..self.clone() }
    }

    pub(super) fn yields(&self) -> Yields {
        match self.signal {
            Exported::Errors => Yields::Counts,
            Exported::Latency => Yields::Buckets,
        }
    }

    /// Writes its selectors into `asked`. `None`: what was written besides makes no text with parameters.
    pub(super) fn expand(&self, asked: &Prometheus) -> Option<Prometheus> {
        let exports = self.name.exports();
        let select = |metric: &str, more: &str| {
            let label = self.label.as_deref().unwrap_or(exports.label);
            let arm = self.arm.as_ref().map_or(exports.arm, MetricText::as_str);
            let matchers = self.matchers.as_ref().map_or(String::new(), |it| format!("{it},"));
            let always = exports.always;
            let text = format!("{metric}{{{always}{matchers}{label}=~\"{arm}\"{more}}}");
            text.parse::<MetricText>().ok()
        };
        let asked = Prometheus { preset: None, ..asked.clone() };
        Some(match self.signal {
            Exported::Errors => Prometheus {
                bad: Some(select(exports.requests, &format!(",{}", exports.bad))?),
                total: Some(select(exports.requests, "")?),
                ..asked
            },
            Exported::Latency => Prometheus { histogram: Some(select(exports.durations, "")?), ..asked },
        })
    }
}
