//! Means of bounded values: capital of a gambler who bets against a mean.

use serde::{Deserialize, Serialize};

use super::mixture::{Mixture, Side};

/// Running mean and variance of values in `0.0 ..= 1.0`, regularised by one fake observation of mean one half and
/// variance one quarter; what is bet on a value depends on earlier ones only.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
struct Regularised {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Default for Regularised {
    fn default() -> Self {
        Self { count: 1.0, sum: 0.5, squares: 0.25 }
    }
}

impl Regularised {
    fn add(&mut self, x: f64) {
        self.count += 1.0;
        self.sum += x;
        let mean = (self.sum / self.count).min(1.0);
        self.squares += (x - mean).powi(2);
    }

    /// `sqrt(2 ln(1/alpha) / (variance t ln(1 + t)))` for the next value, number `t`.
    fn bet(&self, alpha: f64) -> f64 {
        let t = self.count;
        (-2.0 * alpha.ln() / (t * t.ln_1p() * (self.squares / self.count))).sqrt()
    }
}

/// The bets placed before each value (Waudby-Smith & Ramdas, JRSS-B 2024).
pub fn bets(x: &[f64], alpha: f64) -> Vec<f64> {
    let mut seen = Regularised::default();
    x.iter()
        .map(|x| {
            let bet = seen.bet(alpha);
            seen.add(*x);
            bet
        })
        .collect()
}

/// Capital of a gambler who bets half against a mean above `m` and half against one below.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Hedged {
    m: f64,
    seen: Regularised,
    ln_up: f64,
    ln_down: f64,
}

impl Hedged {
    /// Bets against the mean `m`, `0 < m < 1`.
    pub fn against(m: f64) -> Self {
        Self { m, seen: Regularised::default(), ln_up: 0.0, ln_down: 0.0 }
    }

    /// Adds one value in `0.0 ..= 1.0`.
    pub fn add(&mut self, x: f64) {
        // Level one half of five per cent, as in the reference; it tunes the bets and limits nothing.
        let bet = self.seen.bet(0.025);
        self.ln_up += (bet.min(0.5 / self.m) * (x - self.m)).ln_1p();
        self.ln_down += (-bet.min(0.5 / (1.0 - self.m)) * (x - self.m)).ln_1p();
        self.seen.add(x);
    }

    /// Logarithm of the capital, `max(K+ / 2, K- / 2)`: evidence that the mean is not `m`.
    pub fn ln_e(&self) -> f64 {
        self.ln_up.max(self.ln_down) - std::f64::consts::LN_2
    }

    /// Logarithm of the capital bet on a mean above `m` alone: evidence that it is.
    pub fn ln_e_above(&self) -> f64 {
        self.ln_up
    }
}

/// Which predictable mixture.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Predictable {
    /// Empirical Bernstein: adapts to the variance.
    EmpiricalBernstein,
    /// Hoeffding: does not.
    Hoeffding,
}

/// Lower limits of the mean after each value, at level `alpha`; not clipped to the unit interval.
pub fn predictable_lower(x: &[f64], alpha: f64, kind: Predictable) -> Vec<f64> {
    let (mut margin, mut weights, mut weighted, mut sum) = (-alpha.ln(), 0.0, 0.0, 0.0);
    let tuned = bets(x, alpha);
    let each = x.iter().zip(tuned).enumerate().map(|(i, (x, tuned))| {
        let t = i as f64 + 1.0;
        let (bet, cost) = match kind {
            Predictable::EmpiricalBernstein => {
                let bet = tuned.min(0.5);
                let mean: f64 = if i == 0 { 0.0 } else { sum / i as f64 };
                (bet, (x - mean).powi(2) * (-(-bet).ln_1p() - bet))
            }
            Predictable::Hoeffding => {
                let bet = (-8.0 * alpha.ln() / (t * t.ln_1p())).sqrt().min(1.0);
                (bet, bet * bet / 8.0)
            }
        };
        sum += x;
        margin += cost;
        weights += bet;
        weighted += bet * x;
        (weighted - margin) / weights
    });
    each.collect()
}

/// Both limits of the mean after each value, at level `alpha`, clipped to the unit interval.
pub fn predictable(x: &[f64], alpha: f64, kind: Predictable) -> Vec<(f64, f64)> {
    let mirrored: Vec<f64> = x.iter().map(|it| 1.0 - it).collect();
    let low = predictable_lower(x, alpha / 2.0, kind);
    let high = predictable_lower(&mirrored, alpha / 2.0, kind);
    low.iter().zip(high).map(|(low, high)| (low.clamp(0.0, 1.0), (1.0 - high).clamp(0.0, 1.0))).collect()
}

/// Limits of the mean by a conjugate mixture under Hoeffding's bound, tightest after `t_opt` values.
pub fn conjugate_hoeffding(x: &[f64], t_opt: f64, alpha: f64) -> Vec<(f64, f64)> {
    let mixture = Mixture::normal(t_opt / 4.0, alpha, Side::Both);
    let mut sum = 0.0;
    let each = x.iter().enumerate().map(|(i, x)| {
        let t = i as f64 + 1.0;
        sum += x;
        let off = mixture.bound(t / 4.0, alpha) / t;
        ((sum / t - off).max(0.0), (sum / t + off).min(1.0))
    });
    each.collect()
}

/// Lower limits of the mean by a conjugate mixture under the empirical Bernstein bound, tightest at intrinsic time
/// `v_opt`; at half of `alpha`, as one side of an interval.
pub fn conjugate_empirical_bernstein_lower(x: &[f64], v_opt: f64, alpha: f64) -> Vec<f64> {
    let mixture = Mixture::gamma_exponential(v_opt, alpha / 2.0, 1.0);
    let (mut sum, mut variance) = (0.0, 0.0);
    let each = x.iter().enumerate().map(|(i, x)| {
        let mean: f64 = if i == 0 { 0.5 } else { sum / i as f64 };
        variance += (x - mean).powi(2);
        sum += x;
        let t = i as f64 + 1.0;
        (sum / t - mixture.bound(variance, alpha / 2.0) / t).max(0.0)
    });
    each.collect()
}
