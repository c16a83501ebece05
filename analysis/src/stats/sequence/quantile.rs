//! Quantiles: of two samples compared at any time, and of a histogram.

use super::{
    boundary::minimum,
    mixture::{Mixture, Side},
};

/// The anytime p-value of "both samples have the same `p` quantile", tightest after `t_opt` values.
pub fn compare(a: &[f64], b: &[f64], p: f64, t_opt: f64, alpha_opt: f64) -> f64 {
    let mixture = Mixture::beta_binomial(t_opt * p * (1.0 - p), alpha_opt, p, 1.0 - p, Side::Both);
    let (a, b) = (Arm::new(a, p, mixture), Arm::new(b, p, mixture));
    let (first, second) = if a.flat.1 <= b.flat.1 { (a, b) } else { (b, a) };
    // Between the two flat parts the sum of evidence falls and rises at values of the second sample only.
    let both = |x: f64| first.ln_e(x) + second.ln_e(x);
    let mut least = both(first.flat.1).min(both(second.flat.0));
    let end = second.at_most(second.flat.0);
    let mut i = second.at_most(first.flat.1).max(1);
    while i <= end {
        let x = second.sorted[i - 1];
        least = least.min(both(x));
        i = second.at_most(x) + 1;
    }
    (-least).exp().min(1.0)
}

/// One sample and the evidence against each candidate for its quantile.
struct Arm {
    sorted: Vec<f64>,
    p: f64,
    mixture: Mixture,
    /// The share below the quantile that is least surprising.
    least: f64,
    /// Between these values the evidence is least.
    flat: (f64, f64),
}

impl Arm {
    fn new(values: &[f64], p: f64, mixture: Mixture) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let evidence = |share: f64| mixture.ln_e((share - p) * n, p * (1.0 - p) * n);
        let least = minimum(0.0, 1.0, evidence).0;
        let rank = |it: f64| sorted[(it as usize).clamp(1, sorted.len()) - 1];
        let flat = (rank((least * n).ceil()), rank((least * n).floor() + 1.0));
        Self { sorted, p, mixture, least, flat }
    }

    fn at_most(&self, x: f64) -> usize {
        self.sorted.partition_point(|it| *it <= x)
    }

    fn ln_e(&self, x: f64) -> f64 {
        let n = self.sorted.len() as f64;
        let share = if x < self.flat.0 {
            self.at_most(x) as f64 / n
        } else if self.flat.1 < x {
            self.sorted.partition_point(|it| *it < x) as f64 / n
        } else {
            self.least
        };
        self.mixture.ln_e((share - self.p) * n, self.p * (1.0 - self.p) * n)
    }
}

/// The `q` quantile of a cumulative histogram by Prometheus' rule: linear inside a bucket, whose lower end is zero
/// for the first one; the last finite bound when it lies beyond. `bounds` end with `+Inf`.
pub fn of_histogram(q: f64, bounds: &[f64], cumulative: &[f64]) -> f64 {
    let (Some(total), Some(last)) = (cumulative.last().copied(), bounds.len().checked_sub(1)) else {
        return f64::NAN;
    };
    if q.is_nan() || total == 0.0 || last == 0 {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if 1.0 < q {
        return f64::INFINITY;
    }
    let rank = q * total;
    let bucket = cumulative.iter().take(last).position(|it| rank <= *it).unwrap_or(last);
    if bucket == last {
        return bounds[last - 1];
    }
    if bucket == 0 && bounds[0] <= 0.0 {
        return bounds[0];
    }
    let (start, before) = if bucket == 0 { (0.0, 0.0) } else { (bounds[bucket - 1], cumulative[bucket - 1]) };
    start + (bounds[bucket] - start) * (rank - before) / (cumulative[bucket] - before)
}
