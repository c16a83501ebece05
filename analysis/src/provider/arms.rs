//! Two arms' readings become one poll.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AnyQuestion, Failure, Source, Span};
use crate::{
    counter::{Count, Growth, Ledger},
    poll::{Counts, Histogram, Measured, Poll},
};

/// Most bounds of a histogram that a judge gets.
const MOST_BOUNDS: i32 = 64;

/// The largest count that a floating-point number holds exactly.
pub(super) const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

/// What was read of one arm.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// Requests since the last reading.
    Counts(Counts),
    /// Requests by how long they took, since the last reading.
    Buckets(Buckets),
    /// The same, in buckets that the source chose.
    Native(Native),
    /// Values of now.
    Values(Vec<f64>),
    /// Nothing is new since the last reading; what was counted meanwhile comes with a later one.
    NothingNew,
}

/// Cumulative counts by upper bound.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Buckets {
    /// Bound and count of all requests that took at most so long, rising.
    pub up_to: Vec<(f64, f64)>,
    /// All requests.
    pub all: f64,
}

/// Counts by bucket of a native histogram: left and right bound, and how many.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Native(pub Vec<(f64, f64, f64)>);

impl Native {
    fn total(&self) -> f64 {
        self.0.iter().map(|it| it.2).sum()
    }

    /// Adds another one's counts.
    pub(super) fn add(&mut self, other: &Self) {
        for (left, right, count) in &other.0 {
            match self.0.iter_mut().find(|it| (it.0, it.1) == (*left, *right)) {
                Some(bucket) => bucket.2 += count,
                None => self.0.push((*left, *right, *count)),
            }
        }
    }
}

impl Count for Native {
    fn since(&self, before: &Self) -> Growth<Self> {
        if self.total() < before.total() {
            return Growth::BeganAnew;
        }
        let of = |all: &Self, left: f64, right: f64| {
            all.0.iter().find(|it| (it.0, it.1) == (left, right)).map_or(0.0, |it| it.2)
        };
        if before.0.iter().any(|(left, right, count)| of(self, *left, *right) < *count) {
            // As many requests and yet fewer in one bucket: the source has merged buckets.
            return Growth::Unclear;
        }
        let grown =
            self.0.iter().map(|(left, right, count)| (*left, *right, count - of(before, *left, *right)));
        Growth::Grew(Self(grown.filter(|it| 0.0 < it.2).collect()))
    }

    fn is_zero(&self) -> bool {
        self.total() == 0.0
    }
}

/// What is remembered of one arm between two polls.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    pub(super) total: Ledger<f64>,
    pub(super) bad: Ledger<f64>,
    pub(super) native: Ledger<Native>,
    /// Until when everything was read, in milliseconds.
    pub(super) read_until: Option<i64>,
    /// Counted and not yet part of a poll.
    pub(super) pending: Pending,
}

/// What was counted and is not yet part of a poll.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Pending {
    pub(super) any: bool,
    pub(super) total: f64,
    pub(super) bad: f64,
    /// Histograms, by the labels besides the bound: each has its own bounds.
    pub(super) buckets: BTreeMap<String, BTreeMap<String, f64>>,
    pub(super) native: Native,
    /// The newest number of a source that has one per bucket of time.
    pub(super) value: Option<f64>,
}

impl Pending {
    /// What was counted, as counts. They stay here until they are part of a poll.
    ///
    /// # Errors
    /// [`Failure::Contradictory`]: they cannot be; they are forgotten then.
    pub(super) fn counts(&mut self) -> Result<Reading, Failure> {
        let Self { any, total, bad, .. } = *self;
        let wrong = if !any {
            return Ok(Reading::NothingNew);
        } else if total < bad {
            "more bad events than events"
        } else if MOST_EXACT < total {
            "a count too large to be exact"
        } else {
            return Ok(Reading::Counts(Counts::new(total.round() as u64, bad.round() as u64)));
        };
        *self = Self::default();
        Err(Failure::Contradictory(wrong))
    }
}

/// A question to each arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PerArm {
    /// About the canary.
    pub canary: AnyQuestion,
    /// About what it is compared with, if with anything.
    pub baseline: Option<AnyQuestion>,
}

/// What asking both arms brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Polled {
    /// A poll; where it is missing, why.
    Poll(Poll, Option<Failure>),
    /// Nothing is new in one of the arms: ask again later. Nothing is lost.
    NothingNew,
}

impl PerArm {
    /// Asks both arms at the same time. `memory` is the canary's and the baseline's. `weight` is the share that was
    /// asked for the canary all the time since the last poll, if that is known.
    pub async fn poll(
        &self,
        source: Option<&Source>,
        span: Span,
        weight: Option<f64>,
        memory: &mut [Memory; 2],
    ) -> Polled {
        let [of_canary, of_baseline] = memory;
        let canary = self.canary.ask(source, span, of_canary);
        let baseline = async {
            match &self.baseline {
                Some(it) => it.ask(source, span, of_baseline).await.map(Some),
                None => Ok(None),
            }
        };
        let both = tokio::join!(canary, baseline);
        let poll = |measured| Poll { at: span.to, weight, measured };
        let missing =
            |failure: Failure| Polled::Poll(poll(Measured::Missing(failure.missing())), Some(failure));
        match both {
            (Err(failure), _) | (Ok(_), Err(failure)) => missing(failure),
            (Ok(Reading::NothingNew), _) | (_, Ok(Some(Reading::NothingNew))) => Polled::NothingNew,
            (Ok(canary), Ok(baseline)) => {
                let has_baseline = baseline.is_some();
                match together(canary, baseline) {
                    Ok(measured) => {
                        of_canary.pending = Pending::default();
                        if has_baseline {
                            of_baseline.pending = Pending::default();
                        }
                        Polled::Poll(poll(measured), None)
                    }
                    Err(failure) => missing(failure),
                }
            }
        }
    }
}

fn together(canary: Reading, baseline: Option<Reading>) -> Result<Measured, Failure> {
    const UNLIKE: Failure = Failure::Contradictory("the two arms were measured in different kinds");
    match (canary, baseline) {
        (Reading::Counts(canary), None) => Ok(Measured::Counts { canary, baseline: None }),
        (Reading::Counts(canary), Some(Reading::Counts(baseline))) => {
            Ok(Measured::Counts { canary, baseline: Some(baseline) })
        }
        (Reading::Values(canary), None) => Ok(Measured::Values { canary, baseline: vec![] }),
        (Reading::Values(canary), Some(Reading::Values(baseline))) => {
            Ok(Measured::Values { canary, baseline })
        }
        (Reading::Buckets(canary), None) => histogram(&canary, None),
        (Reading::Buckets(canary), Some(Reading::Buckets(baseline))) => histogram(&canary, Some(&baseline)),
        (Reading::Native(canary), None) => {
            let bounds = grid(&[&canary])?;
            histogram(&at_bounds(&canary, &bounds), None)
        }
        (Reading::Native(canary), Some(Reading::Native(baseline))) => {
            let bounds = grid(&[&canary, &baseline])?;
            histogram(&at_bounds(&canary, &bounds), Some(&at_bounds(&baseline, &bounds)))
        }
        (Reading::Counts(_) | Reading::Values(_) | Reading::Buckets(_) | Reading::Native(_), Some(_))
        | (Reading::NothingNew, _) => Err(UNLIKE),
    }
}

/// The histogram at the bounds that both arms have.
fn histogram(canary: &Buckets, baseline: Option<&Buckets>) -> Result<Measured, Failure> {
    let shared = |bound: f64| baseline.is_none_or(|it| it.up_to.iter().any(|(other, _)| *other == bound));
    let bounds: Vec<f64> = canary.up_to.iter().map(|it| it.0).filter(|it| shared(*it)).collect();
    if bounds.is_empty() {
        return Err(Failure::Contradictory("the two arms' histograms have no bound in common"));
    }
    let arm = |it: &Buckets| {
        let at = |bound: &f64| it.up_to.iter().find(|(other, _)| other == bound).map_or(0.0, |it| it.1);
        let counts = bounds.iter().map(at).chain([it.all]);
        counts.map(|it| it.round().max(0.0) as u64).collect::<Vec<u64>>()
    };
    let histogram =
        Histogram { canary: arm(canary), baseline: baseline.map(arm).unwrap_or_default(), bounds };
    histogram.check().map_err(Failure::Contradictory)?;
    Ok(Measured::Histogram(histogram))
}

/// Bounds at which all of these native histograms can be read exactly: powers of a root of two that no bucket
/// straddles, the finest there are.
fn grid(all: &[&Native]) -> Result<Vec<f64>, Failure> {
    let buckets = || all.iter().flat_map(|it| &it.0).filter(|it| 0.0 < it.2);
    let highest = buckets().map(|it| it.1).filter(|it| it.is_finite()).fold(f64::NEG_INFINITY, f64::max);
    let lowest = buckets().map(|it| it.1).filter(|it| 0.0 < *it).fold(f64::INFINITY, f64::min);
    if highest < lowest {
        return Err(Failure::NotOneNumber("a native histogram without a positive bucket"));
    }
    for steps in [8, 4, 2, 1] {
        let step = |it: f64| it.log2() * f64::from(steps);
        let (first, last) = (step(lowest).floor() as i32 - 1, step(highest).ceil() as i32);
        if MOST_BOUNDS < last - first {
            continue;
        }
        let bounds: Vec<f64> = (first..=last).map(|it| (f64::from(it) / f64::from(steps)).exp2()).collect();
        let straddled =
            |bound: &f64| buckets().any(|it| near(it.0) * 1.0 < *bound && *bound < it.1 / (1.0 + 1e-9));
        if !bounds.iter().any(straddled) {
            return Ok(bounds);
        }
    }
    Err(Failure::NotOneNumber("a native histogram too coarse or too wide to compare"))
}

/// A left bound, a trace further to the right: bounds are computed, not copied.
fn near(left: f64) -> f64 {
    left + left.abs() * 1e-9
}

fn at_bounds(native: &Native, bounds: &[f64]) -> Buckets {
    let up_to = |bound: f64| native.0.iter().filter(|it| it.1 <= bound * (1.0 + 1e-9)).map(|it| it.2).sum();
    Buckets { up_to: bounds.iter().map(|it| (*it, up_to(*it))).collect(), all: native.total() }
}
