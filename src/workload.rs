//! What a Rollout delivers: the instance managers that Serinus drives and does not own.
//!
//! Adding a kind for one machine: write `workload/<kind>.rs` with a record that implements [`WorkloadKind`], then
//! add one line to `workloads!` below. For a cluster: write `workload/<kind>.rs` with a [`WorkloadCodec`], then add one
//! line to [`CODECS`]; `tests/conformance` plays it against an API server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::Sizing;

mod codec;
mod deployment;
mod process;
mod reference;
mod template;
mod upstream;

pub use self::{
    codec::{
        Ask, Look, OwnUpdate, PodNames, Standing, WorkloadCodec, WorkloadExample, WorkloadFacts, Workloads,
    },
    deployment::{Deployment, DeploymentSeen, Edit, Facts, SetOwner, SetSeen, Template},
    process::{
        CopyKeeping, EnvVar, HttpProbe, LogKeeping, ProbeHeader, Process, Readiness, ResourceLimits, Restart,
        RestartWhen, Signal, Stop, TcpProbe,
    },
    reference::WorkloadRef,
    upstream::{Release, Upstream},
};

/// What one kind of workload can do.
pub trait WorkloadKind {
    /// How its replicas are moved.
    fn sizing(&self) -> Sizing;

    /// How many replicas carry all the traffic where the Rollout does not say.
    fn replicas(&self) -> u32;
}

macro_rules! workloads {
    ($($(#[$doc:meta])* $key:literal $Kind:ident,)*) => {
        /// What runs on this machine, or is reached from it.
        #[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase")]
        #[expect(clippy::large_enum_variant, reason = "there are few, one for each thing a person wrote")]
        pub enum Workload { $($(#[$doc])* $Kind($Kind),)* }

        impl Workload {
            /// The keys of every kind.
            pub const KEYS: &[&str] = &[$($key),*];

            /// Its key in a document.
            #[must_use]
            pub fn key(&self) -> &'static str {
                match self { $(Self::$Kind(_) => $key,)* }
            }

            /// What it can do.
            #[must_use]
            pub fn kind(&self) -> &dyn WorkloadKind {
                match self { $(Self::$Kind(it) => it,)* }
            }
        }
    };
}

workloads! {
    /// Processes that Serinus starts, watches and ends.
    "process" Process,
    /// Addresses that someone else runs.
    "upstream" Upstream,
}

/// The kinds of a cluster that are driven.
pub const CODECS: &[&dyn Workloads] = &[&Deployment];

impl WorkloadRef {
    /// What drives it; `None`: no kind that is driven.
    #[must_use]
    pub fn codec(&self) -> Option<&'static dyn Workloads> {
        let wanted = crate::object::Kind::new(&self.api_version, &self.kind);
        CODECS.iter().find(|it| it.kind() == wanted).copied()
    }

    /// The kinds that are driven, for people.
    #[must_use]
    pub fn driven() -> String {
        let one = |it: &&dyn Workloads| format!("{} ({})", it.kind().kind, it.kind().api_version);
        CODECS.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}
