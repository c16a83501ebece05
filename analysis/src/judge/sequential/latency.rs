//! Latency histograms: a request is "bad" at each bound that it is slower than.

use serde::{Deserialize, Serialize};

use super::{
    Tables,
    errors::{At, Both},
};
use crate::{
    poll::{Counts, Histogram},
    stats::{
        dispersion::tempering,
        increment::{self, Stratum},
        log,
        mixture::{Mixture, Plain, Starts},
    },
};

/// Promotion is decided at bounds that this share of the baseline's requests exceeds: beyond them single requests
/// decide, and a bound that nobody exceeds can prove nothing.
const GUARDED: std::ops::RangeInclusive<f64> = 0.01..=0.95;

/// What is remembered of a latency histogram.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Latency {
    pub(super) bounds: Vec<f64>,
    at: Vec<AtBound>,
    /// Whether a poll came with other bounds, and was left out.
    pub(super) bounds_changed: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct AtBound {
    worse: Mixture,
    good: Plain,
    /// Mantel–Haenszel sums of the ratio.
    weighted: (f64, f64),
    canary: Counts,
    baseline: Counts,
}

/// The bound with the most evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Worst {
    /// Its number, and the bound.
    pub(super) number: usize,
    pub(super) bound: f64,
    pub(super) canary: Counts,
    pub(super) baseline: Counts,
    pub(super) ratio: Option<f64>,
}

impl Latency {
    pub(super) fn new(bounds: &[f64], starts: Starts, tables: &Tables) -> Self {
        let at = AtBound {
            worse: Mixture::new(starts),
            good: Plain::new(tables.good.psi.len()),
            weighted: (0.0, 0.0),
            canary: Counts::default(),
            baseline: Counts::default(),
        };
        Self { bounds: bounds.to_vec(), at: vec![at; bounds.len()], bounds_changed: false }
    }

    /// `phi`: the dispersion of requests slower than the bound of that number.
    pub(super) fn add(&mut self, tables: &Tables, at: At, histogram: &Histogram, phi: impl Fn(usize) -> f64) {
        if histogram.bounds != self.bounds {
            self.bounds_changed = true;
            return;
        }
        for (i, it) in self.at.iter_mut().enumerate() {
            let at = At { tempering: tempering(phi(i)), ..at };
            it.add(tables, at, histogram.slower_than(i));
        }
    }

    /// The mean over bounds of evidence that the canary is slower; the least over guarded bounds that it is not.
    pub(super) fn evidence(&self, tables: &Tables) -> Both {
        let bad = log::sum_exp(self.at.iter().map(|it| it.worse.ln_e(&tables.latency.ln_share)));
        let guarded = self.at.iter().filter(|it| it.baseline.rate().is_some_and(|rate| GUARDED.contains(&rate)));
        let good = guarded.map(|it| it.good.ln_e(&tables.good.ln_share)).reduce(f64::min);
        Both { bad: bad - (self.at.len() as f64).ln(), good: good.unwrap_or(0.0) }
    }

    pub(super) fn worst(&self, tables: &Tables) -> Option<Worst> {
        let evidence = |it: &AtBound| it.worse.ln_e(&tables.latency.ln_share);
        let all = self.bounds.iter().zip(&self.at).enumerate();
        let worst = all.max_by(|(_, (_, a)), (_, (_, b))| evidence(a).total_cmp(&evidence(b)));
        worst.map(|(number, (bound, it))| Worst {
            number,
            bound: *bound,
            canary: it.canary,
            baseline: it.baseline,
            ratio: it.ratio(),
        })
    }
}

impl AtBound {
    fn add(&mut self, tables: &Tables, at: At, stratum: Stratum) {
        self.canary.add(Counts::new(stratum.canary_total, stratum.canary_bad));
        self.baseline.add(Counts::new(stratum.baseline_total, stratum.baseline_bad));
        self.worse.begin(at.stratum, tables.latency.psi.len());
        if !stratum.informative() {
            return;
        }
        let (worse, good) = (&mut self.worse, &mut self.good);
        increment::each(stratum, tables.psi0, &tables.latency.psi, |i, it| worse.add(i, at.tempering * it));
        increment::each(stratum, tables.margin, &tables.good.psi, |i, it| good.add(i, at.tempering * it));
        // Odds, not rates: near the median a rate cannot grow by a factor.
        let whole = stratum.total() as f64;
        let fast = |total: u64, bad: u64| (total - bad) as f64;
        self.weighted.0 += stratum.canary_bad as f64 * fast(stratum.baseline_total, stratum.baseline_bad) / whole;
        self.weighted.1 += stratum.baseline_bad as f64 * fast(stratum.canary_total, stratum.canary_bad) / whole;
    }

    /// Mantel–Haenszel odds ratio.
    fn ratio(&self) -> Option<f64> {
        (0.0 < self.weighted.1).then(|| self.weighted.0 / self.weighted.1)
    }
}
