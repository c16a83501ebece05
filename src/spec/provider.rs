//! Where measurements come from.
//!
//! Adding a provider: write `provider/<name>.rs` with a record that implements [`ProviderKind`], then add one line
//! to `providers!` below.

use analysis::provider::AnyQuestion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use crate::written::MetricText;

mod cloud_monitoring;
mod cloud_watch;
mod command;
mod datadog;
mod dynatrace;
mod flux;
mod graphite;
mod influxql;
mod new_relic;
mod preset;
mod process;
mod prometheus;
mod proxy;
mod service;
mod sky_walking;
mod splunk;
mod wavefront;
mod web;

pub use self::{
    cloud_monitoring::{Align, CloudMonitoring, Reduce},
    cloud_watch::CloudWatch,
    command::{Command, Prints},
    datadog::Datadog,
    dynatrace::Dynatrace,
    flux::Flux,
    graphite::Graphite,
    influxql::Influxql,
    new_relic::NewRelic,
    preset::{Exported, Preset, PresetName},
    process::{ProcessUse, Used},
    prometheus::{Prometheus, SourceKind, SourceRef},
    proxy::{ProxyCounts, Signal},
    sky_walking::SkyWalking,
    splunk::Splunk,
    wavefront::Wavefront,
    web::Web,
};

/// What one kind of provider is.
pub trait ProviderKind {
    /// Its texts, each with the way to it.
    fn texts(&self) -> Vec<(&'static str, &MetricText)>;

    /// The same with some parameters filled in.
    fn filled(&self, fill: &dyn Fn(&MetricText) -> MetricText) -> Self
    where
        Self: Sized;

    /// The same with what is only named, such as a preset, written out.
    fn expanded(&self) -> Self
    where
        Self: Clone,
    {
        self.clone()
    }

    /// What it yields.
    fn yields(&self) -> Yields;

    /// Whom it asks.
    fn whom(&self) -> Whom<'_>;

    /// What is asked, with every text filled in; `None`: the engine measures by itself, or the record is not complete.
    fn question(&self, fill: &dyn Fn(&MetricText) -> String) -> Option<AnyQuestion>;

    /// A value as it may stand in its texts, so that it stays one value: it can't close the quotes of a selector.
    fn escape(value: &str) -> String
    where
        Self: Sized,
    {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
    }

    /// What no schema can say of it.
    fn mistakes(&self) -> Vec<Mistake> {
        vec![]
    }

    /// How often it is asked where the metric does not say.
    fn every(&self) -> HumanDuration {
        HumanDuration::from_secs(10)
    }
}

/// Something wrong with a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// The field that it is about. `None`: the whole record.
    pub key: Option<&'static str>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: &'static str,
}

/// Whom a provider asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whom<'a> {
    /// Nobody: the engine measures it by itself.
    Engine,
    /// A program of this machine.
    ThisMachine,
    /// A source, by its name or by its address.
    Source {
        /// A source that an operator has set up.
        source_ref: Option<&'a SourceRef>,
        /// An address that stands in the document.
        address: Option<&'a str>,
    },
}

/// What a provider yields.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Yields {
    /// Counts of good and bad events, per side.
    Counts,
    /// Counts by bucket, per side.
    Buckets,
    /// Counts by class of answer, per side.
    Answers,
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

            /// The same with what is only named written out.
            #[must_use]
            pub fn expanded(&self) -> Self {
                match self { $(Self::$Kind(it) => Self::$Kind(it.expanded()),)* }
            }

            /// What it yields.
            #[must_use]
            pub fn yields(&self) -> Yields {
                match self { $(Self::$Kind(it) => it.yields(),)* }
            }

            /// Whom it asks.
            #[must_use]
            pub fn whom(&self) -> Whom<'_> {
                match self { $(Self::$Kind(it) => it.whom(),)* }
            }

            /// What is asked, with every text filled in; `None`: the engine measures by itself, or the record is not
            /// complete.
            #[must_use]
            pub fn question(&self, fill: &dyn Fn(&MetricText) -> String) -> Option<AnyQuestion> {
                match self { $(Self::$Kind(it) => it.question(fill),)* }
            }

            /// A value as it may stand in its texts.
            #[must_use]
            pub fn escape(&self, value: &str) -> String {
                match self { $(Self::$Kind(_) => $Record::escape(value),)* }
            }

            /// What no schema can say of it.
            #[must_use]
            pub fn mistakes(&self) -> Vec<Mistake> {
                match self { $(Self::$Kind(it) => it.mistakes(),)* }
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
    /// What the processes use.
    "process" Process(ProcessUse),
    /// A Prometheus, or what speaks like one.
    "prometheus" Prometheus(Prometheus),
    /// Graphite.
    "graphite" Graphite(Graphite),
    /// An InfluxDB that is asked in InfluxQL.
    "influxql" Influxql(Influxql),
    /// An InfluxDB that is asked in Flux.
    "flux" Flux(Flux),
    /// Amazon CloudWatch.
    "cloudWatch" CloudWatch(CloudWatch),
    /// Datadog.
    "datadog" Datadog(Datadog),
    /// New Relic.
    "newRelic" NewRelic(NewRelic),
    /// Wavefront, now Aria Operations for Applications.
    "wavefront" Wavefront(Wavefront),
    /// Apache SkyWalking.
    "skyWalking" SkyWalking(SkyWalking),
    /// Dynatrace.
    "dynatrace" Dynatrace(Dynatrace),
    /// Splunk Observability Cloud.
    "splunk" Splunk(Splunk),
    /// Google Cloud Monitoring, once Stackdriver.
    "cloudMonitoring" CloudMonitoring(CloudMonitoring),
    /// Anything that answers with JSON.
    "web" Web(Web),
    /// A program of this machine.
    "command" Command(Command),
}
