//! The absolute guard: is the canary's own rate of bad requests above its objective?
//!
//! It is the only guard that sees a canary which hurts the baseline too, as through a shared database.

use super::increment::Stratum;

/// Alternatives of the guard and its opposite, prepared for one objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// Largest acceptable share of bad requests.
    allowed: f64,
    /// `(ln(p1/p), ln((1-p1)/(1-p)))` per alternative.
    worse: Vec<(f64, f64)>,
    better: Vec<(f64, f64)>,
}

impl Objective {
    /// Tests against `allowed`, the largest acceptable share of bad requests, `0 < allowed < 1`. `worse` and
    /// `better` are the alternatives as multiples of it.
    pub fn new(allowed: f64, worse: &[f64], better: &[f64]) -> Self {
        let odds = |by: &f64| {
            // A multiple that leaves the unit interval bets on a rate half way between the limit and one.
            let rate = (allowed * by).min(0.5 + allowed / 2.0);
            ((rate / allowed).ln(), ((1.0 - rate) / (1.0 - allowed)).ln())
        };
        Self { allowed, worse: worse.iter().map(odds).collect(), better: better.iter().map(odds).collect() }
    }

    /// Largest acceptable share of bad requests.
    pub fn allowed(&self) -> f64 {
        self.allowed
    }

    /// How many alternatives are worse than the objective, and how many better.
    pub fn alternatives(&self) -> (usize, usize) {
        (self.worse.len(), self.better.len())
    }

    /// Calls `add(i, increment)` per worse alternative: `x ln(p1/p) + (n - x) ln((1-p1)/(1-p))`.
    pub fn each_worse(&self, total: u64, bad: u64, mut add: impl FnMut(usize, f64)) {
        for (i, it) in self.worse.iter().enumerate() {
            add(i, ratio(*it, total, bad));
        }
    }

    /// The same per better alternative: evidence that the objective is kept.
    pub fn each_better(&self, total: u64, bad: u64, mut add: impl FnMut(usize, f64)) {
        for (i, it) in self.better.iter().enumerate() {
            add(i, ratio(*it, total, bad));
        }
    }
}

fn ratio((bad_ln, good_ln): (f64, f64), total: u64, bad: u64) -> f64 {
    bad as f64 * bad_ln + (total - bad) as f64 * good_ln
}

/// The canary's counts of a stratum.
pub fn canary(stratum: Stratum) -> (u64, u64) {
    (stratum.canary_total, stratum.canary_bad)
}

/// The baseline's counts of a stratum.
pub fn baseline(stratum: Stratum) -> (u64, u64) {
    (stratum.baseline_total, stratum.baseline_bad)
}
