//! Mixture supermartingales: evidence that a sum `s` with intrinsic variance `v` is too large.

use statrs::{
    distribution::{ContinuousCDF, Normal},
    function::{
        beta::{beta_reg, ln_beta},
        gamma::{gamma_lr, gamma_ur, ln_gamma},
    },
};

/// Which side a mixture bets on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// On large sums only.
    One,
    /// On large and small sums.
    Both,
}

/// The tuning that makes a bound tightest at intrinsic time `v` and level `alpha`.
pub fn best_rho(v: f64, alpha: f64, side: Side) -> f64 {
    let alpha = if side == Side::One { 2.0 * alpha } else { alpha };
    let ln = -alpha.ln();
    v / (2.0 * ln + (2.0 * ln).ln_1p())
}

/// A family of sums and the distribution over alternatives that is mixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mixture {
    /// Sub-Gaussian sums.
    Normal {
        /// Tuning.
        rho: f64,
        /// Side.
        side: Side,
    },
    /// Sub-exponential sums of scale `c`.
    GammaExponential {
        /// Tuning.
        rho: f64,
        /// Scale.
        c: f64,
    },
    /// Sub-Poisson sums of scale `c`.
    GammaPoisson {
        /// Tuning.
        rho: f64,
        /// Scale.
        c: f64,
    },
    /// Sub-Bernoulli sums between `-g` and `h`.
    BetaBinomial {
        /// Tuning.
        r: f64,
        /// Largest step down.
        g: f64,
        /// Largest step up.
        h: f64,
        /// Side.
        side: Side,
    },
}

impl Mixture {
    /// A normal mixture, tightest at `v_opt` and `alpha_opt`.
    pub fn normal(v_opt: f64, alpha_opt: f64, side: Side) -> Self {
        Self::Normal { rho: best_rho(v_opt, alpha_opt, side), side }
    }

    /// A gamma-exponential mixture.
    pub fn gamma_exponential(v_opt: f64, alpha_opt: f64, c: f64) -> Self {
        Self::GammaExponential { rho: best_rho(v_opt, alpha_opt, Side::One), c }
    }

    /// A gamma-Poisson mixture.
    pub fn gamma_poisson(v_opt: f64, alpha_opt: f64, c: f64) -> Self {
        Self::GammaPoisson { rho: best_rho(v_opt, alpha_opt, Side::One), c }
    }

    /// A beta-binomial mixture.
    pub fn beta_binomial(v_opt: f64, alpha_opt: f64, g: f64, h: f64, side: Side) -> Self {
        let r = (best_rho(v_opt, alpha_opt, side) - g * h).max(1e-3 * g * h);
        Self::BetaBinomial { r, g, h, side }
    }

    /// Logarithm of the evidence.
    pub fn ln_e(self, s: f64, v: f64) -> f64 {
        match self {
            Self::Normal { rho, side: Side::Both } => {
                0.5 * (rho / (v + rho)).ln() + s * s / (2.0 * (v + rho))
            }
            Self::Normal { rho, side: Side::One } => {
                let below = Normal::standard().cdf(s / (v + rho).sqrt());
                0.5 * (4.0 * rho / (v + rho)).ln() + s * s / (2.0 * (v + rho)) + below.ln()
            }
            Self::GammaExponential { rho, c } => {
                let (rho, sum, shape) = (rho / (c * c), (c * s + v) / (c * c), (v + rho) / (c * c));
                let leading = rho * rho.ln() - ln_gamma(rho) - gamma_lr(rho, rho).ln();
                leading + ln_gamma(shape) + gamma_lr(shape, sum + rho).ln() - shape * (sum + rho).ln() + sum
            }
            Self::GammaPoisson { rho, c } => {
                let (rho, rate) = (rho / (c * c), (v + rho) / (c * c));
                let shape = s / c + rate;
                let leading = rho * rho.ln() - ln_gamma(rho) - gamma_ur(rho, rho).ln();
                leading + ln_gamma(shape) + gamma_ur(shape, rate).ln() - shape * rate.ln() + v / (c * c)
            }
            Self::BetaBinomial { r, g, h, side } => {
                let whole = g + h;
                let part = if side == Side::One { h / whole } else { 1.0 };
                v / (g * h) * whole.ln()
                    - (v + h * s) / (h * whole) * g.ln()
                    - (v - g * s) / (g * whole) * h.ln()
                    + ln_incomplete_beta((r + v - g * s) / (g * whole), (r + v + h * s) / (h * whole), part)
                    - ln_incomplete_beta(r / (g * whole), r / (h * whole), part)
            }
        }
    }

    /// The sum at which the evidence reaches `1 / alpha` at intrinsic time `v`.
    pub fn bound(self, v: f64, alpha: f64) -> f64 {
        let needed = -alpha.ln();
        if let Self::Normal { rho, side: Side::Both } = self {
            return ((v + rho) * ((v / rho).ln_1p() + 2.0 * needed)).sqrt();
        }
        let most = if let Self::BetaBinomial { g, .. } = self { v / g } else { f64::INFINITY };
        let mut high = v.min(most).max(f64::MIN_POSITIVE);
        while high < most && self.ln_e(high, v) <= needed {
            high *= 2.0;
        }
        let high = high.min(most);
        if self.ln_e(high, v) < needed {
            return high;
        }
        bisect(0.0, high, |s| needed <= self.ln_e(s, v))
    }
}

/// Where `reached` becomes true between `low` and `high`, to the last digit.
pub(super) fn bisect(mut low: f64, mut high: f64, reached: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle == low || middle == high {
            break;
        }
        if reached(middle) { high = middle } else { low = middle }
    }
    f64::midpoint(low, high)
}

fn ln_incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    ln_beta(a, b) + if x < 1.0 { beta_reg(a, b, x).ln() } else { 0.0 }
}

/// An interval of a Bernoulli probability that holds at every moment with probability `1 - alpha`, tightest after
/// `t_opt` trials.
pub fn bernoulli_interval(successes: u64, trials: u64, alpha: f64, t_opt: f64, alpha_opt: f64) -> (f64, f64) {
    let (trials, needed) = (trials as f64, -alpha.ln());
    let seen = successes as f64 / trials;
    let refuted = |p: f64| {
        let mixture = Mixture::beta_binomial(p * (1.0 - p) * t_opt, alpha_opt, p, 1.0 - p, Side::Both);
        needed <= mixture.ln_e((seen - p) * trials, p * (1.0 - p) * trials)
    };
    let low = if seen == 0.0 { 0.0 } else { bisect(0.0, seen, |p| !refuted(p)) };
    let high = if seen == 1.0 { 1.0 } else { bisect(seen, 1.0, refuted) };
    (low, high)
}
