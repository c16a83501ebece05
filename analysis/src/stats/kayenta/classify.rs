//! One metric: is the canary's data higher or lower than the baseline's?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    outlier::{interquartile, without},
    shift::shift,
    summary::{cles, mean, mean_ratio},
};
use crate::stats::fixed::rank::normal_quantile;

/// Which direction of a difference is bad.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// More is bad.
    Increase,
    /// Less is bad.
    Decrease,
    /// Both are.
    #[default]
    Either,
}

/// What becomes of missing points.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NanStrategy {
    /// They are left out.
    #[default]
    Remove,
    /// They become zero.
    Replace,
}

/// What becomes of outliers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OutlierStrategy {
    /// They stay.
    #[default]
    Keep,
    /// They are removed, per arm.
    Remove,
}

/// How the size of an effect is measured.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Measure {
    /// Ratio of means.
    #[default]
    MeanRatio,
    /// Common language effect size.
    Cles,
}

/// What a metric's data turned out to be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Class {
    /// No relevant difference.
    Pass,
    /// The canary is higher.
    High,
    /// The canary is lower.
    Low,
    /// One arm has no data.
    Nodata,
    /// One arm has no data though it must.
    NodataFailMetric,
    /// The comparison failed; counts nowhere.
    Error,
}

/// Settings of one comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Fraction of the estimated shift that is tolerated; upstream 0.25.
    pub tolerance: f64,
    /// Confidence of the interval; upstream 0.98.
    pub confidence: f64,
    /// Which direction is bad.
    pub direction: Direction,
    /// Missing points.
    pub nan: NanStrategy,
    /// Factor of interquartile ranges, where outliers are removed.
    pub outliers: Option<f64>,
    /// Effect size.
    pub measure: Measure,
    /// Effects up to which a decrease and an increase are allowed.
    pub allowed: (f64, f64),
    /// Effects from which they are critical.
    pub critical_effect: (f64, f64),
    /// Whether the metric is critical.
    pub critical: bool,
    /// Whether it must have data.
    pub must_have_data: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tolerance: 0.25,
            confidence: 0.98,
            direction: Direction::Either,
            nan: NanStrategy::Remove,
            outliers: None,
            measure: Measure::MeanRatio,
            allowed: (1.0, 1.0),
            critical_effect: (1.0, 1.0),
            critical: false,
            must_have_data: false,
        }
    }
}

/// A classified metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Classified {
    /// The class.
    pub class: Class,
    /// Whether it alone makes the score zero.
    pub critical: bool,
    /// Ratio of means; `NaN` when either is zero.
    pub deviation: f64,
}

impl Classified {
    fn new(class: Class, critical: bool, deviation: f64) -> Self {
        Self { class, critical, deviation }
    }

    /// A sentence for people.
    pub fn reason(&self) -> String {
        match self.class {
            Class::Pass => "no relevant difference".to_owned(),
            Class::High => format!("the canary is higher ({:.3} times)", self.deviation),
            Class::Low => format!("the canary is lower ({:.3} times)", self.deviation),
            Class::Nodata | Class::NodataFailMetric => "one arm has no data".to_owned(),
            Class::Error => "the comparison failed: all values are tied".to_owned(),
        }
    }
}

/// Drops or replaces missing points.
pub fn clean(values: &[f64], nan: NanStrategy) -> Vec<f64> {
    match nan {
        NanStrategy::Remove => values.iter().copied().filter(|it| !it.is_nan()).collect(),
        NanStrategy::Replace => values.iter().map(|it| if it.is_nan() { 0.0 } else { *it }).collect(),
    }
}

/// Compares the canary's `experiment` with the baseline's `control`.
pub fn classify(experiment: &[f64], control: &[f64], settings: &Settings) -> Classified {
    let prepare = |values: &[f64]| {
        let clean = clean(values, settings.nan);
        let Some(factor) = settings.outliers else { return clean };
        let outliers = interquartile(&clean, factor, true);
        without(&clean, &outliers)
    };
    let (experiment, control) = (prepare(experiment), prepare(control));
    if experiment.is_empty() || control.is_empty() {
        return match settings.nan {
            NanStrategy::Replace => Classified::new(Class::Pass, false, 1.0),
            NanStrategy::Remove if settings.must_have_data && !settings.critical => {
                Classified::new(Class::NodataFailMetric, false, 1.0)
            }
            NanStrategy::Remove => Classified::new(Class::Nodata, settings.critical, 1.0),
        };
    }
    if sorted(&experiment) == sorted(&control) {
        return Classified::new(Class::Pass, false, 1.0);
    }
    let (x, y) = if constant(&experiment) && constant(&control) {
        noisy(&experiment, &control)
    } else {
        (experiment, control)
    };
    compare(&x, &y, settings)
}

fn compare(x: &[f64], y: &[f64], settings: &Settings) -> Classified {
    let deviation = mean_ratio(x, y);
    let Ok(shift) = shift(x, y, settings.confidence) else {
        return Classified::new(Class::Error, false, deviation);
    };
    let effect = match settings.measure {
        Measure::MeanRatio => deviation,
        Measure::Cles => cles(x, y),
    };
    let bound = settings.tolerance * shift.estimate.abs();
    let at_least = |limit: f64| effect.is_nan() || limit <= effect;
    let at_most = |limit: f64| effect.is_nan() || effect <= limit;
    let (up, down) = match settings.direction {
        Direction::Increase => (true, false),
        Direction::Decrease => (false, true),
        Direction::Either => (true, true),
    };
    if up && bound < shift.low && at_least(settings.allowed.1) {
        let critical = settings.critical && at_least(settings.critical_effect.1);
        Classified::new(Class::High, critical, deviation)
    } else if down && shift.high < -bound && at_most(settings.allowed.0) {
        let critical = settings.critical && at_most(settings.critical_effect.0);
        Classified::new(Class::Low, critical, deviation)
    } else {
        Classified::new(Class::Pass, false, deviation)
    }
}

/// The other classifier of upstream: compares means alone.
pub fn by_means(experiment: &[f64], control: &[f64]) -> Class {
    let (e, c) = (mean(experiment), mean(control));
    if c < e {
        Class::High
    } else if e < c {
        Class::Low
    } else {
        Class::Pass
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn constant(values: &[f64]) -> bool {
    values.iter().all(|it| *it == values[0])
}

/// Adds noise of a hundred-thousandth of each value: normal quantiles along a golden-ratio sequence.
fn noisy(x: &[f64], y: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let golden = f64::midpoint(5f64.sqrt(), -1.0);
    let mut at = 0.5;
    let mut noise = |value: &f64| {
        at = (at + golden).fract();
        value + 1e-5 * value * normal_quantile(at)
    };
    let x = x.iter().map(&mut noise).collect();
    (x, y.iter().map(&mut noise).collect())
}
