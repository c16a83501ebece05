//! Where polls come from: the only part of this crate that talks to anybody.
//!
//! A provider is asked for one arm at a time and answers with a [`Reading`] or a [`Failure`]; whatever is not exactly
//! what was asked for is a failure with its class, never a guess. Both arms together make a poll. What must be
//! remembered between two polls is in [`Memory`], a value that can be stored: after an outage the next poll covers the
//! gap, as far as the source still knows it.
//!
//! Adding a provider: write `provider/<name>.rs` with a question that implements [`Question`] (or `Service` in
//! `service.rs`, where numbers come by buckets of time), then add one line to `questions!` below, and its replies to the
//! conformance suite in `tests/providers`.
//!
//! Deliberately absent: any knowledge of arms besides the text of their questions, and any clock: the caller says when
//! now is.

use std::future::Future;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

mod arms;
mod egress;
mod failure;
mod json;
mod secret;
mod service;
mod sigv4;
mod slots;
mod source;

pub use self::{
    arms::{Buckets, Memory, Native, PerArm, Polled, Reading},
    egress::{Egress, Names, Refused},
    failure::Failure,
    secret::Secret,
    service::{Timed, Wanted},
    sigv4::{AwsKeys, Clock},
    slots::Slots,
    source::{AnswerLimits, Credentials, InvalidSource, LARGEST_ANSWER, Source, SourceConfig, Tls},
};

/// What a poll covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// Since when evidence counts: what was counted before is left out.
    pub began: Timestamp,
    /// The end of what was read last.
    pub from: Timestamp,
    /// Now, or the moment in the past that is asked about.
    pub to: Timestamp,
}

/// What one provider is asked about one arm, every parameter filled in.
pub trait Question: Clone + PartialEq + Serialize + DeserializeOwned {
    /// Asks. Dropping the future stops asking; what was remembered stays as it was.
    fn ask(
        &self,
        source: Option<&Source>,
        span: Span,
        memory: &mut Memory,
    ) -> impl Future<Output = Result<Reading, Failure>> + Send;
}

macro_rules! questions {
    ($($(#[$doc:meta])* $module:ident :: $Kind:ident = $name:literal,)*) => {
        $(pub mod $module; pub use $module::$Kind;)*

        /// What any provider is asked about one arm.
        #[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
        pub enum AnyQuestion { $($(#[$doc])* #[serde(rename = $name)] $Kind($Kind),)* }

        impl AnyQuestion {
            /// The names of all providers, as written in a document.
            pub const NAMES: &[&str] = &[$($name,)*];

            /// Its provider's name.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$Kind(_) => $name,)* }
            }

            /// Asks.
            ///
            /// # Errors
            /// [`Failure`]: the answer is not a measurement.
            pub async fn ask(
                &self,
                source: Option<&Source>,
                span: Span,
                memory: &mut Memory,
            ) -> Result<Reading, Failure> {
                match self { $(Self::$Kind(it) => it.ask(source, span, memory).await,)* }
            }
        }
    };
}

questions! {
    /// A Prometheus, or what speaks like one.
    prometheus::Prometheus = "prometheus",
    /// Graphite.
    graphite::Graphite = "graphite",
    /// An InfluxDB that is asked in InfluxQL.
    influxql::Influxql = "influxql",
    /// An InfluxDB that is asked in Flux.
    flux::Flux = "flux",
    /// Amazon CloudWatch.
    cloud_watch::CloudWatch = "cloudWatch",
    /// Datadog.
    datadog::Datadog = "datadog",
    /// New Relic.
    new_relic::NewRelic = "newRelic",
    /// Wavefront, now Aria Operations for Applications.
    wavefront::Wavefront = "wavefront",
    /// Apache SkyWalking.
    sky_walking::SkyWalking = "skyWalking",
    /// Dynatrace.
    dynatrace::Dynatrace = "dynatrace",
    /// Splunk Observability Cloud.
    splunk::Splunk = "splunk",
    /// Google Cloud Monitoring, once Stackdriver.
    cloud_monitoring::CloudMonitoring = "cloudMonitoring",
    /// Anything that answers with JSON.
    web::Web = "web",
    /// A program of this machine.
    command::Command = "command",
}
