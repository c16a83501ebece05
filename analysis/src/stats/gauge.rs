//! Means and gauges: an asymptotic confidence sequence for the mean of paired differences.
//!
//! Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, Ann. Stat. 2024, arXiv 2103.06476.

use serde::{Deserialize, Serialize};

/// The number of differences at which the sequence is narrowest.
const TIGHTEST_AT: f64 = 60.0;

/// Differences before the sequence is trusted: it is asymptotic.
pub const BURN_IN: u64 = 12;

/// Running mean and variance (Welford).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Adds one value.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; zero without values.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Their variance with divisor `count`; zero without values.
    pub fn variance(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.squares / self.count as f64 }
    }

    /// Logarithm of the (asymptotic) evidence that the mean is above zero: the one-sided sequence excludes zero at
    /// level `alpha` exactly when this reaches `ln(1/alpha)`. Zero during burn-in.
    pub fn ln_e_above_zero(&self, alpha: f64) -> f64 {
        if self.count < BURN_IN || self.mean <= 0.0 {
            return 0.0;
        }
        let variance = self.variance();
        if variance == 0.0 {
            // Identical differences: the strongest evidence this method can state without dividing by zero.
            return 700.0;
        }
        let t = self.count as f64;
        let rho2 = rho_squared(alpha, TIGHTEST_AT);
        let q = self.mean * self.mean / variance * t * t * rho2 / (2.0 * (t * rho2 + 1.0));
        // ln(2 (e^q - 1) / sqrt(t rho^2 + 1))
        let ln_em1 = if q < 30.0 { q.exp_m1().ln() } else { q };
        2f64.ln() + ln_em1 - 0.5 * (t * rho2).ln_1p()
    }
}

/// `rho^2` that makes the one-sided sequence narrowest after `t_opt` values: `(-2 ln a + ln(1 - 2 ln a)) / t_opt`.
pub fn rho_squared(alpha: f64, t_opt: f64) -> f64 {
    let ln = alpha.ln();
    (-2.0 * ln + (1.0 - 2.0 * ln).ln()) / t_opt
}

/// The lower limit of the one-sided sequence after `t` values.
pub fn one_sided_lower(mean: f64, variance: f64, t: f64, alpha: f64, rho2: f64) -> f64 {
    let scale = 2.0 * (t * rho2 + 1.0) / (t * t * rho2);
    mean - (variance * scale * ((t * rho2 + 1.0).sqrt() / (2.0 * alpha)).ln_1p()).sqrt()
}

/// Half the width of the two-sided sequence after `t` values.
pub fn two_sided_half_width(variance: f64, t: f64, alpha: f64, rho2: f64) -> f64 {
    let scale = 2.0 * (t * rho2 + 1.0) / (t * t * rho2);
    (variance * scale * ((t * rho2 + 1.0).sqrt() / alpha).ln()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_reaches_its_limit_when_the_sequence_excludes_zero() {
        let mut moments = Moments::default();
        for i in 0..200u32 {
            moments.add(0.05 + if i % 2 == 0 { 0.4 } else { -0.4 });
            let t = moments.count() as f64;
            let lower = one_sided_lower(moments.mean(), moments.variance(), t, 0.01, rho_squared(0.01, 60.0));
            let reached = -0.01f64.ln() <= moments.ln_e_above_zero(0.01);
            assert!(moments.count() < BURN_IN || reached == (0.0 <= lower), "{i}");
        }
    }

    #[test]
    fn burn_in_holds_back_evidence() {
        let mut moments = Moments::default();
        (0..BURN_IN - 1).for_each(|i| moments.add(5.0 + i as f64 * 1e-3));
        assert_eq!(moments.ln_e_above_zero(0.01), 0.0);
    }
}
