//! Proportions and rates for one look.

use statrs::function::beta::beta_reg;

use super::rank::normal_quantile;
use crate::stats::hypergeometric::Margins;

/// Relative slack within which two outcomes count as equally probable in a two-sided test.
const EQUALLY_PROBABLE: f64 = 1.0 + 1e-7;

/// An interval of a proportion.
pub type Interval = (f64, f64);

/// Wilson's score interval of `k` of `n` at confidence `1 - alpha`.
pub fn wilson(k: u64, n: u64, alpha: f64) -> Interval {
    let (k, n, z) = (k as f64, n as f64, normal_quantile(1.0 - alpha / 2.0));
    let p = k / n;
    let scale = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / scale;
    let off = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    clip(centre - off, centre + off)
}

/// The interval of Agresti and Coull.
pub fn agresti_coull(k: u64, n: u64, alpha: f64) -> Interval {
    let (k, n, z) = (k as f64, n as f64, normal_quantile(1.0 - alpha / 2.0));
    let n = n + z * z;
    let p = (k + z * z / 2.0) / n;
    let off = z * (p * (1.0 - p) / n).sqrt();
    clip(p - off, p + off)
}

/// The exact interval of Clopper and Pearson.
pub fn clopper_pearson(k: u64, n: u64, alpha: f64) -> Interval {
    let (x, m) = (k as f64, n as f64);
    let low = if k == 0 { 0.0 } else { beta_quantile(x, m - x + 1.0, alpha / 2.0) };
    let high = if k == n { 1.0 } else { beta_quantile(x + 1.0, m - x, 1.0 - alpha / 2.0) };
    (low, high)
}

/// Jeffreys' interval: quantiles of `Beta(k + 1/2, n - k + 1/2)`.
pub fn jeffreys(k: u64, n: u64, alpha: f64) -> Interval {
    let (a, b) = (k as f64 + 0.5, (n - k) as f64 + 0.5);
    (beta_quantile(a, b, alpha / 2.0), beta_quantile(a, b, 1.0 - alpha / 2.0))
}

fn clip(low: f64, high: f64) -> Interval {
    (low.max(0.0), high.min(1.0))
}

/// Quantile of the beta distribution by bisection: slower than the library's, and right to the last digits.
pub fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0f64, 1.0f64);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle == low || middle == high {
            break;
        }
        if beta_reg(a, b, middle) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// p-values of a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PValues {
    /// In either direction: all outcomes that are at most as probable.
    pub two_sided: f64,
    /// At least as many.
    pub greater: f64,
    /// At most as many.
    pub less: f64,
}

/// Probabilities of `0 ..= n` successes, computed outwards from the mode so that nothing under- or overflows.
fn binomial(n: u64, p: f64) -> Vec<f64> {
    let odds = p / (1.0 - p);
    let mode = (((n + 1) as f64) * p).floor().min(n as f64) as usize;
    distribution(n as usize + 1, mode, |k| (n as f64 - k) / (k + 1.0) * odds)
}

/// Normalises weights given by the ratio of neighbours, `weight(k + 1) / weight(k)`.
fn distribution(outcomes: usize, mode: usize, ratio: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut weights = vec![0.0; outcomes];
    weights[mode] = 1.0;
    for k in mode + 1..outcomes {
        weights[k] = weights[k - 1] * ratio(k as f64 - 1.0);
    }
    for k in (0..mode).rev() {
        weights[k] = weights[k + 1] / ratio(k as f64);
    }
    let whole: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|it| *it /= whole);
    weights
}

fn p_values(probabilities: &[f64], seen: usize) -> PValues {
    let limit = probabilities[seen] * EQUALLY_PROBABLE;
    let two_sided: f64 = probabilities.iter().filter(|it| **it <= limit).sum();
    PValues {
        two_sided: two_sided.min(1.0),
        greater: probabilities[seen..].iter().sum::<f64>().min(1.0),
        less: probabilities[..=seen].iter().sum::<f64>().min(1.0),
    }
}

/// Exact test of `k` of `n` against the proportion `p`.
pub fn binomial_test(k: u64, n: u64, p: f64) -> PValues {
    p_values(&binomial(n, p), k as usize)
}

/// Rates of two Poisson processes compared, given how many events there were together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateRatio {
    /// Canary's rate divided by the baseline's.
    pub ratio: f64,
    /// Exact p-values.
    pub exact: PValues,
    /// The same with half the probability of what was seen.
    pub mid: PValues,
    /// Exact 95 % interval of the ratio.
    pub interval: Interval,
}

/// Compares `(events, exposure)` of canary and baseline with the ratio `null`.
pub fn rate_ratio(canary: (u64, f64), baseline: (u64, f64), null: f64) -> RateRatio {
    let both = canary.0 + baseline.0;
    let share = null * canary.1 / (null * canary.1 + baseline.1);
    let probabilities = binomial(both, share);
    let exact = p_values(&probabilities, canary.0 as usize);
    let half = probabilities[canary.0 as usize] / 2.0;
    let (low, high) = clopper_pearson(canary.0, both, 0.05);
    let ratio = |p: f64| p / (1.0 - p) * baseline.1 / canary.1;
    RateRatio {
        ratio: (canary.0 as f64 / canary.1) / (baseline.0 as f64 / baseline.1),
        exact,
        mid: PValues {
            two_sided: exact.two_sided - half,
            greater: exact.greater - half,
            less: exact.less - half,
        },
        interval: (ratio(low), ratio(high)),
    }
}

/// Fisher's exact test of `[[a, b], [c, d]]`: the odds ratio `a d / (b c)` and p-values of `a`.
pub fn fisher(a: u64, b: u64, c: u64, d: u64) -> (f64, PValues) {
    let margins = Margins { canary: a + b, baseline: c + d, bad: a + c };
    let (least, most) = margins.support();
    let outcomes = (most - least + 1) as usize;
    let mode = (margins.mode(1.0) - least) as usize;
    let probabilities = distribution(outcomes, mode, |k| {
        let k = k + least as f64;
        let (n, m) = (margins.canary as f64, margins.bad as f64);
        (n - k) * (m - k) / ((k + 1.0) * (margins.baseline as f64 - m + k + 1.0))
    });
    let odds = (a * d) as f64 / (b * c) as f64;
    (odds, p_values(&probabilities, (a - least) as usize))
}
