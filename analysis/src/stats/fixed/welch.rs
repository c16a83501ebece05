//! Welch's t test: means of samples with unequal variances.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Means compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Welch {
    /// The statistic.
    pub t: f64,
    /// Satterthwaite's degrees of freedom.
    pub freedom: f64,
    /// `P(|T| >= |t|)`.
    pub two_sided: f64,
    /// `P(T >= t)`: small when the mean of `x` is larger.
    pub greater: f64,
    /// `P(T <= t)`.
    pub less: f64,
    /// 95 % interval of the difference of means.
    pub interval: (f64, f64),
}

/// Compares the means of `x` and `y`. `None` with fewer than two values, or without any variance.
pub fn welch(x: &[f64], y: &[f64]) -> Option<Welch> {
    let ((mean_x, of_x), (mean_y, of_y)) = (moments(x)?, moments(y)?);
    let error = (of_x + of_y).sqrt();
    let freedom =
        (of_x + of_y).powi(2) / (of_x * of_x / (x.len() as f64 - 1.0) + of_y * of_y / (y.len() as f64 - 1.0));
    let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
    let t = (mean_x - mean_y) / error;
    let upper = student.sf(t.abs());
    let off = error * quantile(&student, 0.975);
    Some(Welch {
        t,
        freedom,
        two_sided: 2.0 * upper,
        greater: if 0.0 <= t { upper } else { 1.0 - upper },
        less: if 0.0 <= t { 1.0 - upper } else { upper },
        interval: (mean_x - mean_y - off, mean_x - mean_y + off),
    })
}

/// Mean, and variance of the mean.
fn moments(values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len() as f64;
    if n < 2.0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Some((mean, variance / n))
}

/// The library's quantile stops early; Newton's steps on its distribution function finish the work.
fn quantile(student: &StudentsT, p: f64) -> f64 {
    use statrs::distribution::Continuous;
    let mut at = student.inverse_cdf(p);
    for _ in 0..4 {
        at -= (student.cdf(at) - p) / student.pdf(at);
    }
    at
}
