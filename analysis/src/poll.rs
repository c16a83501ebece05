//! What one poll of one metric brought. Providers make polls, judges read them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::stats::dispersion::PodCounts;
use crate::{answers::Answers, stats::increment::Stratum};

/// One reading of one metric.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Poll {
    /// The end of the interval that the reading covers.
    pub at: Timestamp,
    /// The share of requests that was asked for the canary during the whole interval, `0.0 ..= 1.0`. `None` when
    /// it changed meanwhile or is not known; the sample-ratio check then learns nothing.
    pub weight: Option<f64>,
    /// What was read.
    pub measured: Measured,
}

/// A reading.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Measured {
    /// How many requests there were in the interval, and how many of them were bad.
    Counts {
        /// Of the canary.
        canary: Counts,
        /// Of the baseline. `None`: there is none, as at 100 % weight.
        baseline: Option<Counts>,
    },
    /// Latency histograms of the interval.
    Histogram(Histogram),
    /// Values at one moment, usually one per pod; for a threshold, one value.
    Values {
        /// Of the canary.
        canary: Vec<f64>,
        /// Of the baseline; empty if there is none.
        baseline: Vec<f64>,
    },
    /// State of the pods of both arms.
    Pods {
        /// Of the canary.
        canary: PodsSeen,
        /// Of stable.
        baseline: PodsSeen,
    },
    /// What answers meant in the interval.
    Answers {
        /// Of the canary.
        canary: Answers,
        /// Of the baseline. `None`: there is none.
        baseline: Option<Answers>,
        /// How the requests of both sides were chosen.
        drawn: Drawn,
    },
    /// Memory of the processes of both arms.
    Memory {
        /// Of the canary.
        canary: Grown,
        /// Of stable.
        stable: Grown,
    },
    /// What the baseline's pods did before the canary got its first request, over `seconds`. It calibrates the
    /// dispersion and is evidence for nothing.
    Before {
        /// Length of the interval.
        seconds: f64,
        /// Pod by pod.
        pods: OfPods,
    },
    /// The same while the canary is at work. Counts for later polls only.
    Beside {
        /// Length of the interval.
        seconds: f64,
        /// Pod by pod.
        pods: OfPods,
    },
    /// Nothing that can be judged.
    Missing(Missing),
}

/// How the requests of the two sides were chosen.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Drawn {
    /// From the same ones: at random, or copies of them.
    Alike,
    /// By what is in them: they may ask for other things, and come from other people.
    Apart,
}

/// Memory of the processes of one arm.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Grown {
    /// Processes that are compared.
    pub processes: u32,
    /// What each has on average. Bytes.
    pub level: f64,
    /// What those that were there at the last poll too have grown by since then, on average. Bytes.
    pub grown: f64,
}

/// The two sides of a comparison, and whether there is something of each.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sides {
    /// The canary.
    pub canary: bool,
    /// What it is compared with.
    pub baseline: bool,
}

impl Sides {
    /// What either of both has.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { canary: self.canary || other.canary, baseline: self.baseline || other.baseline }
    }
}

impl Measured {
    /// The sides of which it holds at least one sample: a request, a finite number, a pod. Readings that cannot be
    /// right, such as more bad requests than requests, hold none.
    pub fn sides(&self) -> Sides {
        let some = |it: &Counts| it.total != 0 && it.bad <= it.total;
        let finite = |it: &[f64]| it.iter().any(|it| it.is_finite());
        let ended = |it: &[u64]| it.last().is_some_and(|it| *it != 0);
        match self {
            Self::Counts { canary, baseline } => {
                Sides { canary: some(canary), baseline: baseline.as_ref().is_some_and(some) }
            }
            Self::Histogram(it) if it.check().is_ok() => {
                Sides { canary: ended(&it.canary), baseline: ended(&it.baseline) }
            }
            Self::Values { canary, baseline } => Sides { canary: finite(canary), baseline: finite(baseline) },
            Self::Answers { canary, baseline, drawn: _ } => {
                let some = |it: &Answers| it.total() != 0;
                Sides { canary: some(canary), baseline: baseline.as_ref().is_some_and(some) }
            }
            Self::Memory { canary, stable } => {
                let some = |it: &Grown| it.processes != 0 && it.level.is_finite();
                Sides { canary: some(canary), baseline: some(stable) }
            }
            Self::Pods { canary, baseline } => {
                Sides { canary: canary.desired != 0, baseline: baseline.desired != 0 }
            }
            Self::Histogram(_) | Self::Before { .. } | Self::Beside { .. } | Self::Missing(_) => {
                Sides::default()
            }
        }
    }

    /// Why a judge of other readings can make nothing of it.
    pub(crate) fn why_missing(&self) -> Missing {
        if let Self::Missing(why) = self { *why } else { Missing::NotOneNumber }
    }

    /// Whether it tells how the baseline's pods differ, and nothing about the canary.
    pub fn calibrates(&self) -> bool {
        matches!(self, Self::Before { .. } | Self::Beside { .. })
    }
}

/// What single pods of the baseline did in one interval: one entry per pod, in a stable order.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OfPods {
    /// Requests, and how many of them were bad.
    Counts(Vec<PodCounts>),
    /// Latency histograms.
    Histograms {
        /// Upper bounds in rising order, without the last, infinite one.
        bounds: Vec<f64>,
        /// Per pod, cumulative counts: one per bound and a last one for all requests.
        each: Vec<Vec<u64>>,
    },
}

impl From<Vec<PodCounts>> for OfPods {
    fn from(pods: Vec<PodCounts>) -> Self {
        Self::Counts(pods)
    }
}

impl OfPods {
    /// Checks that there are no more bad requests than requests, that bounds rise, and that counts are cumulative
    /// and as many as bounds need.
    ///
    /// # Errors
    ///
    /// What is wrong, in a few words.
    pub fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Counts(pods) if pods.iter().all(|it| it.bad <= it.total) => Ok(()),
            Self::Counts(_) => Err("a pod has more bad requests than requests"),
            Self::Histograms { bounds, .. } if !rise(bounds) => {
                Err("histogram bounds must rise and be finite")
            }
            Self::Histograms { bounds, each } if each.iter().any(|it| it.len() != bounds.len() + 1) => {
                Err("each pod's histogram needs one count per bound and one for +Inf")
            }
            Self::Histograms { each, .. } if !each.iter().all(|it| cumulative(it)) => {
                Err("histogram counts must be cumulative")
            }
            Self::Histograms { .. } => Ok(()),
        }
    }

    /// How many pods.
    pub fn len(&self) -> usize {
        match self {
            Self::Counts(pods) => pods.len(),
            Self::Histograms { each, .. } => each.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requests and failed ones, pod by pod; `None`: these are latencies.
    pub fn errors(&self) -> Option<&[PodCounts]> {
        match self {
            Self::Counts(pods) => Some(pods),
            Self::Histograms { .. } => None,
        }
    }

    /// Requests, pod by pod.
    pub(crate) fn totals(&self) -> Vec<u64> {
        match self {
            Self::Counts(pods) => pods.iter().map(|it| it.total).collect(),
            Self::Histograms { each, .. } => {
                each.iter().map(|it| it.last().copied().unwrap_or_default()).collect()
            }
        }
    }

    /// Pod by pod, what is bad: failed requests, or those slower than this bound.
    pub(crate) fn slower_than(&self, bound: usize) -> Vec<PodCounts> {
        match self {
            Self::Counts(pods) => pods.clone(),
            Self::Histograms { each, .. } => {
                let of = |it: &Vec<u64>| {
                    let total = it.last().copied().unwrap_or_default();
                    PodCounts { total, bad: total - it.get(bound).copied().unwrap_or_default().min(total) }
                };
                each.iter().map(of).collect()
            }
        }
    }
}

fn rise(bounds: &[f64]) -> bool {
    let finite = bounds.iter().all(|it| it.is_finite());
    finite && !bounds.is_empty() && bounds.windows(2).all(|it| it[0] < it[1])
}

fn cumulative(counts: &[u64]) -> bool {
    counts.windows(2).all(|it| it[0] <= it[1])
}

/// Requests of one arm in one interval.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// All of them.
    pub total: u64,
    /// The bad ones; at most `total`.
    pub bad: u64,
}

impl Counts {
    /// `bad` of `total`.
    pub fn new(total: u64, bad: u64) -> Self {
        Self { total, bad }
    }

    /// The share of bad requests; `None` without requests.
    pub fn rate(self) -> Option<f64> {
        (self.total != 0).then(|| self.bad as f64 / self.total as f64)
    }

    /// Adds another interval.
    pub fn add(&mut self, other: Self) {
        self.total += other.total;
        self.bad += other.bad;
    }
}

/// Cumulative latency histograms of one interval: `canary[i]` requests took at most `bounds[i]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Histogram {
    /// Upper bounds in rising order, without the last, infinite one. In sentences they are taken for seconds, the
    /// base unit of latency in Prometheus.
    pub bounds: Vec<f64>,
    /// Cumulative counts of the canary, one per bound and a last one for all requests.
    pub canary: Vec<u64>,
    /// The same of the baseline; empty if there is none.
    pub baseline: Vec<u64>,
}

impl Histogram {
    /// Checks that bounds rise and that counts are cumulative and as many as bounds need.
    ///
    /// # Errors
    ///
    /// What is wrong, in a few words.
    pub fn check(&self) -> Result<(), &'static str> {
        if !rise(&self.bounds) {
            Err("histogram bounds must rise and be finite")
        } else if self.canary.len() != self.bounds.len() + 1 {
            Err("the canary's histogram needs one count per bound and one for +Inf")
        } else if !self.baseline.is_empty() && self.baseline.len() != self.canary.len() {
            Err("both histograms need the same bounds")
        } else if !cumulative(&self.canary) || !cumulative(&self.baseline) {
            Err("histogram counts must be cumulative")
        } else {
            Ok(())
        }
    }

    /// Requests slower than bound `i` as bad ones.
    pub fn slower_than(&self, i: usize) -> Stratum {
        let arm = |counts: &[u64]| {
            let total = counts.last().copied().unwrap_or(0);
            (total, total - counts.get(i).copied().unwrap_or(0))
        };
        let (canary_total, canary_bad) = arm(&self.canary);
        let (baseline_total, baseline_bad) = arm(&self.baseline);
        Stratum { canary_total, canary_bad, baseline_total, baseline_bad }
    }
}

/// What is known of the pods (or processes) of one arm.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodsSeen {
    /// Pods that should run.
    pub desired: u32,
    /// Pods that are ready.
    pub ready: u32,
    /// Containers restarted since the last poll, for whatever reason, out-of-memory kills included.
    pub restarts: u32,
    /// Of these, killed for lack of memory.
    pub oom_kills: u32,
    /// Pods that were ready at the last poll and are not now, those that were asked to leave excluded.
    pub readiness_lost: u32,
    /// Pods with a container that is waiting to be restarted once more after it failed repeatedly.
    pub crash_looping: u32,
}

/// Why a poll cannot be judged. None of these ever counts as a pass by itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Missing {
    /// The provider answered: there is no such data.
    NoData,
    /// The value is NaN or infinite.
    NotFinite,
    /// More series than the judge can use, or a type it can't.
    NotOneNumber,
    /// The newest sample is too old.
    Stale,
    /// Parts of the answer are missing, or one arm's.
    Partial,
    /// The provider could not be asked or did not answer properly.
    Error,
}

impl Missing {
    /// A few words for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::NoData => "no data",
            Self::NotFinite => "a value that is not a finite number",
            Self::NotOneNumber => "an answer that is not one number",
            Self::Stale => "a stale value",
            Self::Partial => "an incomplete answer",
            Self::Error => "no answer",
        }
    }

    /// Whether the provider failed, rather than having nothing to say.
    pub fn is_error(self) -> bool {
        self == Self::Error
    }
}
