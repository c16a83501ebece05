//! From classified metrics to one score.

use std::collections::BTreeMap;

use super::classify::Class;

/// One metric as the score sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Groups it belongs to.
    pub groups: Vec<String>,
    /// Its class.
    pub class: Class,
    /// Whether it alone makes the score zero unless it passes.
    pub critical: bool,
}

/// The weighted sum of group scores, `0.0 ..= 100.0`, rounded to two decimals; not renormalised when the weights
/// given do not add up to 100.
pub fn score(metrics: &[Scored], weights: &BTreeMap<String, f64>) -> f64 {
    let failed = |it: &Scored| it.critical && it.class != Class::Pass;
    let nodata = metrics.iter().filter(|it| it.class == Class::Nodata).count();
    if metrics.iter().any(failed) || (!metrics.is_empty() && metrics.len() <= 2 * nodata) {
        return 0.0;
    }
    let mut groups: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for metric in metrics {
        for group in &metric.groups {
            let (passed, counted) = groups.entry(group).or_default();
            match metric.class {
                Class::Pass => (*passed, *counted) = (*passed + 1, *counted + 1),
                Class::High | Class::Low | Class::NodataFailMetric => *counted += 1,
                Class::Nodata | Class::Error => {}
            }
        }
    }
    let given: f64 = weights.values().sum();
    let without = groups.keys().filter(|it| !weights.contains_key(**it)).count();
    let shared = if without == 0 { 0.0 } else { (100.0 - given) / without as f64 };
    let sum: f64 = groups
        .iter()
        .map(|(name, (passed, counted))| {
            let score = if *counted == 0 { 100.0 } else { 100.0 * f64::from(*passed) / f64::from(*counted) };
            score * weights.get(*name).copied().unwrap_or(shared) / 100.0
        })
        .sum();
    (sum * 100.0).round() / 100.0
}

/// What a score means to one look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Label {
    /// At least the score to pass.
    Pass,
    /// At least the marginal score.
    Marginal,
    /// Below it.
    Fail,
}

/// The label of a score.
pub fn label(score: f64, pass: f64, marginal: f64) -> Label {
    if pass <= score {
        Label::Pass
    } else if marginal <= score {
        Label::Marginal
    } else {
        Label::Fail
    }
}

/// Whether a look ends the run: a score *at* the marginal one does, although it is labelled marginal.
pub fn aborts(score: f64, marginal: f64) -> bool {
    score <= marginal
}

/// Whether the last look passes the run.
pub fn passes(score: f64, pass: Option<f64>, marginal: Option<f64>) -> bool {
    marginal.is_none_or(|it| it < score) && pass.is_none_or(|it| it <= score)
}
