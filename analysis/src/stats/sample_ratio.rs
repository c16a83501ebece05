//! Sample-ratio mismatch: does the canary get the share of requests that was asked for?
//!
//! A mismatch means that the router ignores the weight, that sessions stick, or that the canary does not answer;
//! in each case a comparison of the two arms means less than it seems to.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::log;

/// Odds this much off in either direction are tolerated.
const TOLERANCE: f64 = 0.10;

/// False alarms per run: one in a thousand.
pub const ALPHA: f64 = 0.001;

/// How far off the alternatives are, as multiples of the tolerated odds.
const ALTERNATIVES: [f64; 6] = [1.05, 1.2, 1.5, 2.2, 4.0, 10.0];

/// A two-sided e-process: odds above `1 + tolerance`, odds below its inverse.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct SampleRatio {
    up: [f64; ALTERNATIVES.len()],
    down: [f64; ALTERNATIVES.len()],
    largest: f64,
}

impl SampleRatio {
    /// Adds one interval in which `canary` of `total` requests went to the canary and the share asked for was
    /// `asked`. Nothing is learnt at 0 or 1.
    pub fn add(&mut self, canary: u64, total: u64, asked: f64, tempering: f64) {
        if !(0.0 < asked && asked < 1.0) || total == 0 {
            return;
        }
        let (x, m) = (canary as f64, total as f64);
        let off = 1.0 + TOLERANCE;
        let up0 = (asked * (off - 1.0)).ln_1p();
        let down0 = (asked * (1.0 / off - 1.0)).ln_1p();
        for (i, by) in ALTERNATIVES.iter().enumerate() {
            let by_ln = by.ln();
            self.up[i] += tempering * (x * by_ln - m * ((asked * (off * by - 1.0)).ln_1p() - up0));
            self.down[i] +=
                tempering * (-x * by_ln - m * ((asked * (1.0 / (off * by) - 1.0)).ln_1p() - down0));
        }
        let whole = log::sum_exp(self.up.iter().chain(&self.down).copied());
        self.largest = self.largest.max(whole - (2.0 * ALTERNATIVES.len() as f64).ln());
    }

    /// Whether a mismatch has been established, once and for all.
    pub fn mismatch(&self) -> bool {
        -ALPHA.ln() <= self.largest
    }

    /// The largest logarithm of the evidence so far.
    pub fn ln_e(&self) -> f64 {
        self.largest
    }
}

/// Pearson's chi-square test of observed counts against a weight, for one look: `(chi2, p)`.
pub fn chi_square(canary: u64, baseline: u64, weight: f64) -> (f64, f64) {
    let total = (canary + baseline) as f64;
    let part = |seen: u64, expected: f64| (seen as f64 - expected).powi(2) / expected;
    let chi2 = part(canary, total * weight) + part(baseline, total * (1.0 - weight));
    let p = ChiSquared::new(1.0).map_or(f64::NAN, |it| it.sf(chi2));
    (chi2, p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asked_share_never_alarms_and_a_router_that_ignores_it_does() {
        let mut honest = SampleRatio::default();
        let mut deaf = SampleRatio::default();
        for _ in 0..3600 {
            honest.add(50, 500, 0.1, 1.0);
            deaf.add(250, 500, 0.1, 1.0);
        }
        assert!(!honest.mismatch());
        assert!(deaf.mismatch());
    }

    #[test]
    fn a_dead_canary_is_a_mismatch_within_seconds() {
        let mut dead = SampleRatio::default();
        (0..3).for_each(|_| dead.add(0, 500, 0.1, 1.0));
        assert!(dead.mismatch());
    }

    #[test]
    fn ten_per_cent_off_is_tolerated() {
        let mut near = SampleRatio::default();
        (0..3600).for_each(|_| near.add(54, 500, 0.1, 1.0));
        assert!(!near.mismatch());
    }
}
