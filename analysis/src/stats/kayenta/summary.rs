//! Summaries and effect sizes.

use crate::stats::fixed::rank::ranked;

/// Percentile by linear interpolation (R's type 7); zero of nothing.
pub fn percentile(values: &[f64], p: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = p / 100.0 * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

/// Mean; zero of nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Sample standard deviation; zero of fewer than two values.
pub fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    (values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)).sqrt()
}

/// Mean of the experiment divided by that of the control; `NaN` when either is zero.
pub fn mean_ratio(experiment: &[f64], control: &[f64]) -> f64 {
    let (e, c) = (mean(experiment), mean(control));
    if e == 0.0 || c == 0.0 { f64::NAN } else { e / c }
}

/// Probability that a value of the experiment is larger than one of the control (common language effect size).
pub fn cles(experiment: &[f64], control: &[f64]) -> f64 {
    let (m, n) = (experiment.len() as f64, control.len() as f64);
    let rank_sum = ranked(experiment.iter().copied(), control).rank_sum;
    (2.0 * rank_sum - m * (m + 1.0)) / (2.0 * m * n)
}

/// Difference of means in pooled standard deviations.
pub fn cohen_d(experiment: &[f64], control: &[f64]) -> f64 {
    let pooled = f64::midpoint(deviation(experiment).powi(2), deviation(control).powi(2)).sqrt();
    (mean(experiment) - mean(control)).abs() / pooled
}
