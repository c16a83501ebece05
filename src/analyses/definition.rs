use std::time::Duration;

use analysis::{
    AnyJudge, answers,
    judge::{Answers, Leak, Pods, Sequential},
    run,
    written::Span,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use strategies::Name;

use crate::spec::{
    CompiledAnalysis, CompiledMetric,
    compile::MetricFrom,
    provider::{Provider, Signal, Used},
};

/// One analysis of a document: what is measured and how it is judged, every default resolved.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// Its metrics, in the document's order.
    pub metrics: Vec<MetricDefinition>,
}

/// One metric of an analysis.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricDefinition {
    /// Unique within the analysis.
    pub name: Name,
    /// Time between two measurements.
    pub every: Duration,
    /// Its part of the allowance for false roll backs, relative to the other metrics'.
    pub weight: f64,
    /// Measured and shown, and never counted.
    pub dry_run: bool,
    /// How it is judged.
    pub judge: AnyJudge,
    /// What is measured.
    pub reads: Reads,
}

/// What a metric measures.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reads {
    /// Requests that a router counted, and how many of them failed.
    Errors,
    /// Requests that a router counted, by how long they took.
    Latency,
    /// Restarts, crash loops and readiness of the pods or processes themselves.
    Pods,
    /// Requests that a router counted, by what their answers meant.
    Answers,
    /// Requests that a router counted, and how many of them were answered so.
    Answered(Answered),
    /// Memory of the processes.
    Memory,
    /// Processors that the processes keep busy.
    Cpu,
    /// What somebody outside is asked for.
    Asked {
        /// Another one wherever another question is asked: evidence is of one question only.
        digest: u64,
    },
}

/// Answers that are no failures of a service, and may show one all the same.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Answered {
    /// 3xx.
    Redirects,
    /// 404.
    NotFound,
    /// 4xx, 404 among them.
    ClientErrors,
}

impl Answered {
    /// How many of them there are.
    pub(super) fn of(self, answers: &answers::Answers) -> u64 {
        match self {
            Self::Redirects => answers.redirect,
            Self::NotFound => answers.not_found,
            Self::ClientErrors => answers.not_found + answers.client_error,
        }
    }
}

impl From<&CompiledAnalysis> for Definition {
    fn from(compiled: &CompiledAnalysis) -> Self {
        let metric = |it: &CompiledMetric| MetricDefinition {
            name: it.name.clone(),
            every: it.every.0,
            weight: it.weight,
            dry_run: it.dry_run,
            judge: it.judge.clone(),
            reads: Reads::from(&it.from),
        };
        Self { metrics: compiled.metrics.iter().map(metric).collect() }
    }
}

impl From<&MetricFrom> for Reads {
    fn from(from: &MetricFrom) -> Self {
        match from {
            MetricFrom::Replicas => Self::Pods,
            MetricFrom::Provider { provider: Provider::Proxy(it), source: _ } => match it.signal {
                Signal::Errors => Self::Errors,
                Signal::Latency => Self::Latency,
                Signal::Answers => Self::Answers,
                Signal::Redirects => Self::Answered(Answered::Redirects),
                Signal::NotFound => Self::Answered(Answered::NotFound),
                Signal::ClientErrors => Self::Answered(Answered::ClientErrors),
            },
            MetricFrom::Provider { provider: Provider::Process(it), source: _ } => match it.signal {
                Used::Memory => Self::Memory,
                Used::Cpu => Self::Cpu,
            },
            MetricFrom::Provider { provider, source } => {
                let written = serde_json::to_vec(&(provider, source)).unwrap_or_default();
                let digest = Sha256::digest(&written);
                let mut first = [0; 8];
                first.copy_from_slice(&digest[..8]);
                Self::Asked { digest: u64::from_be_bytes(first) }
            }
        }
    }
}

/// The name of the guard on restarts, crash loops and readiness.
pub const PODS: &str = "pods";
/// The name of the guard on how a canary answers.
pub const ANSWERS: &str = "answers";
/// The name of the guard on leaks.
pub const MEMORY: &str = "memory";

impl Definition {
    /// The guard that needs no configuration: restarts, crash loops and lost readiness, once a second.
    #[must_use]
    pub fn pods() -> Self {
        Self { metrics: vec![MetricDefinition::plain(PODS, AnyJudge::Pods(Pods::default()), Reads::Pods)] }
    }

    /// The guard on how a canary answers, once a second.
    #[must_use]
    pub fn answers() -> Self {
        let judge = AnyJudge::Answers(Answers::default());
        Self { metrics: vec![MetricDefinition::plain(ANSWERS, judge, Reads::Answers)] }
    }

    /// The guard on leaks, every five seconds.
    #[must_use]
    pub fn memory() -> Self {
        let judge = AnyJudge::Leak(Leak::default());
        let every = Duration::from_secs(5);
        Self {
            metrics: vec![MetricDefinition {
                every,
                ..MetricDefinition::plain(MEMORY, judge, Reads::Memory)
            }],
        }
    }

    /// What is judged where a document says nothing: errors and latency, both by the sequential test.
    #[must_use]
    pub fn golden() -> Self {
        let judge = || AnyJudge::Sequential(Sequential::default());
        let errors = MetricDefinition::plain("errors", judge(), Reads::Errors);
        let latency = MetricDefinition::plain("latency", judge(), Reads::Latency);
        Self { metrics: vec![errors, latency] }
    }
}

impl MetricDefinition {
    /// A metric measured once a second that counts.
    #[must_use]
    pub fn plain(name: &str, judge: AnyJudge, reads: Reads) -> Self {
        let every = Duration::from_secs(1);
        Self { name: name.into(), every, weight: 1.0, dry_run: false, judge, reads }
    }

    pub(super) fn metric(&self, name: String) -> run::Metric {
        run::Metric {
            name,
            every: Span(self.every),
            judge: self.judge.clone(),
            weight: self.weight,
            dry_run: self.dry_run,
        }
    }
}
