//! Outliers.

use super::summary::{deviation, mean, percentile};

/// Which values lie more than `k` standard deviations from the mean.
pub fn k_sigma(values: &[f64], k: f64) -> Vec<bool> {
    let (mean, deviation) = (mean(values), deviation(values));
    values.iter().map(|it| k * deviation < (it - mean).abs()).collect()
}

/// Which values lie outside the quartiles by more than `factor` interquartile ranges; with `reduced` sensitivity
/// never what lies between the first and the 99th percentile.
pub fn interquartile(values: &[f64], factor: f64, reduced: bool) -> Vec<bool> {
    let (q1, q3) = (percentile(values, 25.0), percentile(values, 75.0));
    let (mut low, mut high) = (q1 - factor * (q3 - q1), q3 + factor * (q3 - q1));
    if reduced {
        low = low.min(percentile(values, 1.0));
        high = high.max(percentile(values, 99.0));
    }
    values.iter().map(|it| *it < low || high < *it).collect()
}

/// The values that are not marked.
pub fn without(values: &[f64], outliers: &[bool]) -> Vec<f64> {
    values.iter().zip(outliers).filter(|(_, out)| !**out).map(|(it, _)| *it).collect()
}
