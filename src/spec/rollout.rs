use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::{
    Amount, Deadlines, HumanDuration, Mode, Name, OnVerdict, RollbackWindow, StableCapacity,
    recipe::{Argument, Strategy, TemplateKind},
};

use crate::{
    router::{Service, Traffic},
    workload::{Workload, WorkloadRef},
    written::FieldPath,
};

/// How new versions of one service are taken to its users.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutSpec {
    /// What the defaults mean. Default 1, the only one so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1))]
    pub profile: Option<u32>,
    /// Whether Serinus acts. Default `active`.
    #[serde(default)]
    pub mode: Mode,
    /// Replicas that carry all the traffic. Default: 1 for processes, the addresses of an upstream, what the workload
    /// of a cluster says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000))]
    pub replicas: Option<u32>,
    /// What is delivered on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// What is delivered in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_ref: Option<WorkloadRef>,
    /// In a cluster: the Services whose clients are moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub services: Vec<ServiceEntry>,
    /// Where users' requests come in; all entries are moved together. Default in a cluster: by the ratio of replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub traffic: Vec<Traffic>,
    /// How a new version is taken to its users. Default `canary: {}`.
    #[serde(default)]
    pub strategy: Strategy,
    /// What must not fail while a canary gets requests. Default with the built-in proxy: `golden`, errors and latency as
    /// it counts them. The guard on crashes and lost readiness is always on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub analyses: Option<Vec<GuardSpec>>,
    /// What a verdict leads to.
    #[serde(default)]
    pub on_verdict: OnVerdict,
    /// How many replicas may be where.
    #[serde(default)]
    pub capacity: CapacitySpec,
    /// How long things may take.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// In a cluster: fields of the pod template whose change alone is no release. Default: the annotation that
    /// `kubectl rollout restart` writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub ignore_template_changes: Option<Vec<FieldPath>>,
    /// Going back to a recent stable version skips the steps. Default: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_window: Option<RollbackWindow>,
}

/// A Service whose clients are moved.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceEntry {
    /// The Service that clients use.
    pub name: Name,
    /// Where its own clients go during a rollout. Default `stable` with a router, else `proportional`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<Direct>,
    /// The Service of stable. Default: its name and `-stable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<ServiceName>,
    /// The Service of the canary. Default: its name and `-canary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<ServiceName>,
}

impl ServiceEntry {
    /// The three Services of it.
    #[must_use]
    pub fn service(&self) -> Service {
        let side = |given: &Option<ServiceName>, side: &str| match given {
            Some(it) => it.name.clone(),
            None => format!("{}-{side}", self.name).as_str().into(),
        };
        Service {
            name: self.name.clone(),
            stable: side(&self.stable, "stable"),
            canary: side(&self.canary, "canary"),
        }
    }
}

/// The Service of one side.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceName {
    /// Its name.
    pub name: Name,
}

/// Where clients of the user's own Service go during a rollout.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Direct {
    /// To stable.
    Stable,
    /// To every ready pod.
    Proportional,
}

/// An analysis that must not fail while a canary gets requests.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GuardSpec {
    /// What steps and the status call it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Name,
    /// What it measures.
    pub template_ref: TemplateRef,
    /// Values for the template's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub args: Vec<Argument>,
    /// The step it begins with. Default: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Name>,
}

/// A template by kind and name.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateRef {
    /// Its kind. Default `AnalysisTemplate`.
    #[serde(default)]
    pub kind: TemplateKind,
    /// Its name.
    pub name: Name,
}

/// How many replicas may be where.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CapacitySpec {
    /// What happens to stable's replicas as the canary grows. Default `keep`; in a cluster `inPlace` where the workload's own
    /// `maxSurge` is 0 and nothing asks for both versions beside each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable: Option<StableCapacity>,
    /// Replicas above the wanted number, both sides together: a share of it, or a number. Default 100% for `keep`, 25%
    /// for `follow`, 0% for `inPlace`; in a cluster the workload's own `maxSurge` for `follow` and without a router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surge: Option<Amount>,
    /// Replicas that may be missing: a share of the wanted number, or a number. Default 0%, and 25% for `inPlace`; in a
    /// cluster the workload's own `maxUnavailable` for `follow`, `inPlace` and without a router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<Amount>,
    /// What is left after an abort.
    pub after_abort: AfterAbort,
}

/// What is left after an abort.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AfterAbort {
    /// How long the canary's replicas stay, to be looked at. Default 30s.
    pub keep_canary: HumanDuration,
}

impl Default for AfterAbort {
    fn default() -> Self {
        Self { keep_canary: HumanDuration::from_secs(30) }
    }
}
