use std::{sync::Arc, time::Duration};

use analysis::Answers;
use serde::{Deserialize, Serialize};
use strategies::{Arm, Name, Revision};

/// How a request found its arm. Populations that were selected differently are not compared with one another.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Routed {
    /// Drawn at random by weight: comparable.
    Weight,
    /// By a match.
    Match,
    /// By a sticky cookie.
    Sticky,
    /// A copy whose answer is dropped.
    Mirror,
    /// Taken over from an arm that could not be reached, where it counts as failed.
    Retry,
}

impl Routed {
    /// Every way, in order.
    pub const ALL: [Self; 5] = [Self::Weight, Self::Match, Self::Sticky, Self::Mirror, Self::Retry];

    /// The word used as label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Match => "match",
            Self::Sticky => "sticky",
            Self::Mirror => "mirror",
            Self::Retry => "retry",
        }
    }
}

/// Everything one counter, such as a proxy worker, has counted since it began at zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// Which counter.
    pub source: Name,
    /// Which run of it: another one began at zero.
    pub start: Name,
    /// How long this run has lasted. Of two readings of one run the longer one is the later one.
    pub up: Duration,
    /// Upper bounds of the latency buckets in seconds, rising; the bucket after the last has none.
    pub bounds: Arc<[f64]>,
    /// What was counted, once per entry, arm and way of routing.
    pub series: Vec<Series>,
    /// What single replicas were seen to do, as far as this counter knows.
    pub replicas: Vec<ReplicaCounts>,
}

/// Requests of one entry to one arm that were routed in one way, since the counter began.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Where they came in.
    pub entry: Name,
    /// Where they went.
    pub arm: Arm,
    /// Why they went there.
    pub routed: Routed,
    /// Begun.
    pub begun: u64,
    /// Ended, one way or another; at most `begun`.
    pub ended: u64,
    /// Of these, badly.
    pub failed: u64,
    /// Ended requests by how long they took: one count per bucket, not cumulative.
    pub latency: Vec<u64>,
    /// Ended requests by what their answers meant, without those that their clients gave up.
    pub answers: Answers,
}

/// Requests that one replica ended, since the counter began. However they were routed: before a canary there is
/// only one way.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaCounts {
    /// Which: an address, a pod.
    pub replica: Name,
    /// What it runs.
    pub revision: Revision,
    /// Requests it ended.
    pub ended: u64,
    /// Of these, badly.
    pub failed: u64,
    /// Ended requests by how long they took: one count per bucket, not cumulative. Empty if nobody knows.
    pub latency: Vec<u64>,
}

/// What happens to one pod, or one process, of an arm.
#[derive(Clone, Debug, PartialEq)]
pub struct PodHealth {
    /// What it runs.
    pub revision: Revision,
    /// Which, within its revision: a pod's name, an ordinal.
    pub pod: Name,
    /// Whether it can serve.
    pub ready: bool,
    /// Whether it was asked to leave: then it may lose its readiness and end.
    pub leaving: bool,
    /// Restarts since it exists, for whatever reason.
    pub restarts: u64,
    /// Of these, for lack of memory.
    pub oom_kills: u64,
    /// Whether it failed repeatedly and waits to be started once more.
    pub crash_looping: bool,
    /// What it uses; `None`: nobody looked just now.
    pub usage: Option<Usage>,
}

/// What a process uses, with those that it started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Memory that it holds itself, without files and libraries that it maps. Bytes.
    pub memory: u64,
    /// Processor time since it began. Milliseconds.
    pub cpu_ms: u64,
}
