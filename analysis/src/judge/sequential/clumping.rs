//! What the baseline's own pods show of how bad or slow requests clump, and what that divides evidence by.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    poll::{OfPods, PodCounts},
    stats::{
        clumps::{Clumps, Windows},
        dispersion::{Dispersion, tempering},
    },
};

/// What is known, and what of it counts for the poll that is awaited.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Clumping {
    /// Whether the canary gets requests: what comes later is from beside it.
    begun: bool,
    /// Counts.
    before: Dispersion,
    beside: Windows,
    /// Latency: at each bound.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bounds: Vec<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    at: Vec<Clumps>,
    /// Whether windows closed since the last time that what they show was made to count.
    news: bool,
    ready: Ready,
}

/// The dispersion that polls are tempered by from now on: of counts, and at each bound. `None`: unknown.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
struct Ready {
    counts: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    at: Vec<Option<f64>>,
}

impl Clumping {
    /// Adds what was seen before the canary; nothing once it has begun.
    pub(super) fn before(&mut self, seconds: f64, pods: &OfPods) {
        if self.begun || pods.check().is_err() {
            return;
        }
        match pods {
            OfPods::Counts(pods) => self.before.add(seconds, pods),
            OfPods::Histograms { bounds, each } => {
                for (i, at) in self.at(bounds).iter_mut().enumerate() {
                    at.before(seconds, slower(each, i));
                }
            }
        }
    }

    /// Adds what was seen beside the canary until `at`. It counts for requests after that only. `judged`: until
    /// when requests of the canary were handed in.
    pub(super) fn beside(&mut self, at: Timestamp, judged: Timestamp, seconds: f64, pods: &OfPods) {
        if pods.check().is_err() {
            return;
        }
        self.begin();
        let mut news = false;
        match pods {
            OfPods::Counts(pods) => news |= self.beside.add_some(seconds, pods.iter().copied()),
            OfPods::Histograms { bounds, each } => {
                for (i, at) in self.at(bounds).iter_mut().enumerate() {
                    news |= at.beside(seconds, slower(each, i));
                }
            }
        }
        self.news |= news;
        if at <= judged {
            self.taken();
        }
    }

    /// A poll of the canary is there: what was before it is fixed.
    pub(super) fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            self.at.iter_mut().for_each(Clumps::begin);
            self.reckon();
        }
    }

    /// A poll of the canary was taken: what is known by now counts for the next.
    pub(super) fn taken(&mut self) {
        if std::mem::take(&mut self.news) {
            self.reckon();
        }
    }

    /// The dispersion of bad requests; `None`: unknown.
    pub(super) fn of_counts(&self) -> Option<f64> {
        self.ready.counts
    }

    /// Whether anything is known of slow requests, with these bounds.
    pub(super) fn knows(&self, bounds: &[f64]) -> bool {
        self.bounds == bounds && self.ready.at.iter().any(Option::is_some)
    }

    /// The dispersion of requests slower than bound `i`. Where nothing is known it is taken from the next lower
    /// bound at which something is: slower ones are part of those.
    pub(super) fn at_bound(&self, bounds: &[f64], i: usize) -> f64 {
        let known = || self.ready.at.iter().take(i + 1).rev().find_map(|it| *it);
        if self.bounds == bounds { known().unwrap_or(1.0) } else { 1.0 }
    }

    /// The bound with the largest dispersion among those where evidence is divided.
    pub(super) fn worst(&self) -> Option<(f64, f64)> {
        let known = self.bounds.iter().zip(&self.ready.at).filter_map(|(bound, phi)| phi.map(|phi| (*bound, phi)));
        known.filter(|(_, phi)| tempering(*phi) < 1.0).max_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    fn reckon(&mut self) {
        let (before, beside) = (self.before.phi(), self.beside.shown());
        self.ready.counts = before.into_iter().chain(beside).reduce(f64::max);
        self.ready.at = self.at.iter().map(Clumps::phi).collect();
    }

    /// With other bounds than before everything is unknown again.
    fn at(&mut self, bounds: &[f64]) -> &mut [Clumps] {
        if self.bounds != bounds {
            self.bounds = bounds.to_vec();
            self.at = vec![Clumps::default(); bounds.len()];
            self.ready.at.clear();
        }
        &mut self.at
    }
}

/// Of each pod's histogram, the requests slower than bound `i` as bad ones.
fn slower(each: &[Vec<u64>], i: usize) -> impl ExactSizeIterator<Item = PodCounts> + '_ {
    each.iter().map(move |counts| {
        let total = counts.last().copied().unwrap_or(0);
        PodCounts { total, bad: total - counts.get(i).copied().unwrap_or(0) }
    })
}
