//! Rank tests: Mann–Whitney and the shift of Hodges and Lehmann.

use statrs::distribution::{ContinuousCDF, Normal};

use super::Alternative;

/// Sums of ranks: mid-ranks for ties.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Sum of the ranks of `x`.
    pub rank_sum: f64,
    /// `sum (t^3 - t)` over groups of `t` ties.
    pub ties: f64,
}

/// Ranks `x` among `x` and `y`; values are tied when they are exactly equal.
pub fn ranked(x: impl ExactSizeIterator<Item = f64>, y: &[f64]) -> Ranked {
    let first = x.len();
    let mut all: Vec<(f64, usize)> = x.chain(y.iter().copied()).zip(0..).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut ties, mut start) = (0.0, 0.0, 0);
    while start < all.len() {
        // Positive and negative zero are equal and yet ordered: compare neighbours by value.
        let tied = all[start..].iter().take_while(|it| it.0 == all[start].0).count().max(1);
        let rank = start as f64 + (tied as f64 + 1.0) / 2.0;
        let of_x = all[start..start + tied].iter().filter(|it| it.1 < first).count();
        rank_sum += rank * of_x as f64;
        ties += (tied as f64).powi(3) - tied as f64;
        start += tied;
    }
    Ranked { rank_sum, ties }
}

/// Standard deviation of the rank sum, corrected for ties.
pub fn deviation(m: f64, n: f64, ties: f64) -> f64 {
    let all = m + n;
    (m * n / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)))).sqrt()
}

/// How the null distribution is computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Null {
    /// By counting; right without ties.
    Exact,
    /// By the normal distribution, with or without continuity correction.
    Asymptotic {
        /// Whether half a rank is taken off.
        continuity: bool,
    },
}

/// Mann–Whitney: `U` of `x`, and the p-value.
pub fn mann_whitney(x: &[f64], y: &[f64], alternative: Alternative, null: Null) -> (f64, f64) {
    let (m, n) = (x.len() as f64, y.len() as f64);
    let Ranked { rank_sum, ties } = ranked(x.iter().copied(), y);
    let u = rank_sum - m * (m + 1.0) / 2.0;
    let (extreme, factor) = match alternative {
        Alternative::TwoSided => (u.max(m * n - u), 2.0),
        Alternative::Greater => (u, 1.0),
        Alternative::Less => (m * n - u, 1.0),
    };
    let p = match null {
        Null::Exact => {
            let at_least = extreme.ceil() as usize;
            frequencies(x.len(), y.len()).iter().skip(at_least).sum::<f64>()
        }
        Null::Asymptotic { continuity } => {
            let half = if continuity { 0.5 } else { 0.0 };
            upper_tail((extreme - m * n / 2.0 - half) / deviation(m, n, ties))
        }
    };
    (u, (factor * p).min(1.0))
}

/// Probability that `U` is `0, 1, …` without ties.
///
/// The number of ways to get `u` from `m` and `n` values is that of partitions into at most `m` parts of at most
/// `n`; multiplied out factor by factor, with probabilities instead of counts, so that nothing overflows.
pub fn frequencies(m: usize, n: usize) -> Vec<f64> {
    let most = m * n;
    let mut ways = vec![0.0; most + 1];
    ways[0] = 1.0;
    for i in 1..=m {
        // Multiply by (1 - q^(n+i)) / (1 - q^i) and divide by C(n+i, i) / C(n+i-1, i-1) = (n+i)/i.
        for u in (n + i..=most).rev() {
            ways[u] -= ways[u - n - i];
        }
        for u in i..=most {
            ways[u] += ways[u - i];
        }
        let scale = i as f64 / (n + i) as f64;
        ways.iter_mut().for_each(|it| *it *= scale);
    }
    ways
}

/// The shift between two samples and its confidence intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// Median of all differences.
    pub estimate: f64,
    /// Rank of the exact interval's ends, from 1. Zero: so few values cannot reach the level, and the interval is
    /// unbounded.
    pub k: usize,
    /// Exact interval (without ties).
    pub exact: (f64, f64),
    /// Rank of the asymptotic interval's ends, in the same way.
    pub k_asymptotic: usize,
    /// Asymptotic interval.
    pub asymptotic: (f64, f64),
}

/// Hodges–Lehmann: the median of all `x_i - y_j`, with confidence intervals at `level`. `None` for an empty sample.
pub fn hodges_lehmann(x: &[f64], y: &[f64], level: f64) -> Option<Shift> {
    if x.is_empty() || y.is_empty() {
        return None;
    }
    let mut differences: Vec<f64> = x.iter().flat_map(|x| y.iter().map(move |y| x - y)).collect();
    differences.sort_by(f64::total_cmp);
    let count = differences.len();
    let estimate = f64::midpoint(differences[(count - 1) / 2], differences[count / 2]);
    let half_alpha = (1.0 - level) / 2.0;
    let mut below = 0.0;
    let k = frequencies(x.len(), y.len()).iter().position(|it| {
        below += it;
        half_alpha < below
    });
    let (m, n) = (x.len() as f64, y.len() as f64);
    let off = normal_quantile(1.0 - half_alpha) * deviation(m, n, 0.0);
    let interval = |k: usize| match k.min(count.div_ceil(2)) {
        0 => (f64::NEG_INFINITY, f64::INFINITY),
        k => (differences[k - 1], differences[count - k]),
    };
    let k = k.unwrap_or(0);
    let k_asymptotic = (m * n / 2.0 - off).floor().max(0.0) as usize;
    Some(Shift { estimate, k, exact: interval(k), k_asymptotic, asymptotic: interval(k_asymptotic) })
}

/// Quantile of the standard normal distribution.
pub fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// `P(Z >= z)` of the standard normal distribution.
pub fn upper_tail(z: f64) -> f64 {
    Normal::standard().sf(z)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_a_distribution_also_for_large_samples() {
        for (m, n) in [(1, 1), (3, 4), (20, 25), (60, 60)] {
            let all = frequencies(m, n);
            assert!((all.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{m} {n}");
            assert!(all.iter().all(|it| -1e-15 < *it));
        }
        assert!((frequencies(3, 4)[1] - 1.0 / 35.0).abs() < 1e-15);
    }
}
