//! Netflix's judge as it is, defects included, for people who migrate. One metric per judge: its score is 100 or 0.
//!
//! It collects one value per arm and step, compares the two samples at every interval, and fails as soon as a look
//! scores no more than the marginal score. Repeated looks are not corrected for: that is one of its defects.
//!
//! One defect is not copied: what was not measured does not pass. A step in which the source gave no answer is no
//! point, so that `replace` makes no zero of an outage; and the last look passes nothing unless there is a measured
//! point of either arm and the comparison could be made.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    finding::{Evidence, Finding, Verdict, Warning},
    judge::{Judge, Needs, Problem, Setting, Standing},
    poll::{Counts, Measured, Missing, Poll},
    stats::kayenta::{
        classify::{Class, Classified, Direction, Measure, NanStrategy, OutlierStrategy, Settings, classify},
        score::{Scored, aborts, passes, score},
    },
    written::Span,
};

/// Points kept per arm: two days of minutes. Beyond them the oldest are forgotten.
const POINTS_KEPT: usize = 2880;

/// The judge of one metric.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Kayenta {
    /// The metric's `analysisConfigurations.canary`, as it stands in a canary configuration.
    pub canary: Canary,
    /// Scores to pass and to go on.
    pub score_thresholds: Thresholds,
    /// Time per point. Default 1m.
    pub step: Minute,
    /// Time between two looks (`analysisIntervalMins`). Without it: one look at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// Only the points of this time before a look are compared (`lookbackMins`). Without it: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookback: Option<Span>,
    /// When the last look is (`lifetime`). Without it: at the end of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Span>,
}

/// `analysisConfigurations.canary`.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Canary {
    /// Which direction is bad. Default either.
    pub direction: Direction,
    /// What becomes of missing points. Default remove.
    pub nan_strategy: NanStrategy,
    /// What becomes of outliers.
    pub outliers: Outliers,
    /// How large an effect must be.
    pub effect_size: EffectSize,
    /// Whether the metric alone makes the score zero.
    pub critical: bool,
    /// Whether missing data is a failure.
    pub must_have_data: bool,
    /// Whether the metric counts nowhere.
    pub muted: bool,
}

/// What becomes of outliers.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Outliers {
    /// Default keep.
    pub strategy: OutlierStrategy,
    /// Interquartile ranges from the quartiles. Default 3.
    pub outlier_factor: f64,
}

impl Default for Outliers {
    fn default() -> Self {
        Self { strategy: OutlierStrategy::Keep, outlier_factor: 3.0 }
    }
}

/// How large an effect must be. Defaults: 1, for `cles` one half.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct EffectSize {
    /// How it is measured.
    pub measure: Measure,
    /// Smallest increase that is flagged.
    pub allowed_increase: Option<f64>,
    /// Largest ratio that is flagged as a decrease.
    pub allowed_decrease: Option<f64>,
    /// Smallest increase that is critical.
    pub critical_increase: Option<f64>,
    /// Largest ratio that is a critical decrease.
    pub critical_decrease: Option<f64>,
}

/// Scores, `0.0 ..= 100.0`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Thresholds {
    /// The last look passes from here on. Default 75.
    pub pass: f64,
    /// A look that scores no more ends the run. Default 50.
    pub marginal: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { pass: 75.0, marginal: 50.0 }
    }
}

/// A span that is one minute unless it is given.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Minute(pub Span);

impl Default for Minute {
    fn default() -> Self {
        Self(Span::seconds(60))
    }
}

/// One step of canary and baseline; `None`: no data.
type Point = (Option<f64>, Option<f64>);

/// The points of both arms.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The step that is being filled, from 0.
    step: i64,
    canary: Sum,
    baseline: Sum,
    /// Whether the source answered in this step, be it that there is no data.
    #[serde(default = "yes")]
    answered: bool,
    points: Vec<Point>,
    looks: i64,
    last: Option<Look>,
    decided: Option<Verdict>,
    last_missing: Option<Missing>,
    missing: u64,
}

fn yes() -> bool {
    true
}

/// What a step has collected: sum of values and their number, or bad requests and all.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Sum {
    values: f64,
    number: f64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
struct Look {
    class: Class,
    critical: bool,
    /// `None` stands for `NaN`.
    deviation: Option<f64>,
    score: f64,
    points: usize,
}

impl Sum {
    fn take(&mut self) -> Option<f64> {
        let it = std::mem::take(self);
        (it.number != 0.0).then(|| it.values / it.number)
    }
}

impl Kayenta {
    fn settings(&self) -> Settings {
        let EffectSize { measure, allowed_increase, allowed_decrease, critical_increase, critical_decrease } =
            self.canary.effect_size;
        let default = if measure == Measure::Cles { 0.5 } else { 1.0 };
        let or = |it: Option<f64>| it.unwrap_or(default);
        let outliers = self.canary.outliers;
        Settings {
            direction: self.canary.direction,
            nan: self.canary.nan_strategy,
            outliers: (outliers.strategy == OutlierStrategy::Remove).then_some(outliers.outlier_factor),
            measure,
            allowed: (or(allowed_decrease), or(allowed_increase)),
            critical_effect: (or(critical_decrease), or(critical_increase)),
            critical: self.canary.critical,
            must_have_data: self.canary.must_have_data,
            ..Settings::default()
        }
    }

    fn step_ms(&self) -> i64 {
        ms(self.step.0).max(1)
    }

    fn last_look_ms(&self, setting: &Setting) -> i64 {
        self.lifetime.map_or_else(|| ms(Span(setting.planned)), ms)
    }

    /// Compares what there is.
    fn look(&self, state: &mut State, last: bool) {
        let kept = self.lookback.map_or(usize::MAX, |it| (ms(it) / self.step_ms()) as usize);
        let points = &state.points[state.points.len().saturating_sub(kept)..];
        if points.is_empty() {
            let blind = if state.last_missing.is_some_and(Missing::is_error) { Verdict::Error } else { Verdict::Inconclusive };
            state.decided = last.then_some(blind);
            return;
        }
        let measured = points.iter().any(|it| it.0.is_some()) && points.iter().any(|it| it.1.is_some());
        let arm = |it: fn(&Point) -> Option<f64>| {
            points.iter().map(|point| it(point).unwrap_or(f64::NAN)).collect::<Vec<f64>>()
        };
        let Classified { class, critical, deviation } = classify(&arm(|it| it.0), &arm(|it| it.1), &self.settings());
        let metrics = if self.canary.muted {
            Vec::new()
        } else {
            vec![Scored { groups: vec![String::new()], class, critical }]
        };
        let score = score(&metrics, &std::collections::BTreeMap::new());
        let deviation = Some(deviation).filter(|it| it.is_finite());
        state.last = Some(Look { class, critical, deviation, score, points: points.len() });
        let Thresholds { pass, marginal } = self.score_thresholds;
        if aborts(score, marginal) {
            state.decided = Some(Verdict::Fail);
        } else if last {
            state.decided = Some(match passes(score, Some(pass), Some(marginal)) {
                true if measured && class != Class::Error => Verdict::Pass,
                true => Verdict::Inconclusive,
                false => Verdict::Fail,
            });
        }
    }
}

/// Whether somebody said something of this moment, be it that there is no data.
fn answers(measured: &Measured) -> bool {
    match measured {
        Measured::Counts { .. } | Measured::Values { .. } => true,
        Measured::Missing(why) => match why {
            Missing::NoData | Missing::NotFinite => true,
            Missing::NotOneNumber | Missing::Stale | Missing::Partial | Missing::Error => false,
        },
        Measured::Histogram(_)
        | Measured::Pods { .. }
        | Measured::Answers { .. }
        | Measured::Memory { .. }
        | Measured::Before { .. }
        | Measured::Beside { .. } => false,
    }
}

fn ms(span: Span) -> i64 {
    i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX)
}

fn since(setting: &Setting, at: Timestamp) -> i64 {
    at.as_millisecond() - setting.began.as_millisecond()
}

impl Judge for Kayenta {
    type Tables = ();
    type State = State;

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let Thresholds { pass, marginal } = self.score_thresholds;
        if !(0.0 <= marginal && marginal <= pass && pass <= 100.0) {
            let message = format!("needs 0 <= marginal <= pass <= 100, has marginal {marginal} and pass {pass}");
            problems.push(Problem::new(&["scoreThresholds"], message));
        }
        for (name, span) in [("interval", self.interval), ("lookback", self.lookback), ("lifetime", self.lifetime)] {
            if span.is_some_and(|it| it < self.step.0) {
                problems.push(Problem::new(&[name], format!("must not be shorter than a step, {}", self.step.0)));
            }
        }
        if self.step.0 == Span::seconds(0) {
            problems.push(Problem::new(&["step"], "must be longer than 0s"));
        }
        problems
    }

    fn needs(&self) -> Needs {
        Needs::Baseline
    }

    fn reads(&self, measured: &Measured) -> bool {
        matches!(measured, Measured::Counts { .. } | Measured::Values { .. })
    }

    fn tables(&self, _setting: &Setting) {}

    fn begin(&self, _setting: &Setting) -> State {
        State::default()
    }

    fn observe(&self, setting: &Setting, _tables: &(), state: &mut State, poll: &Poll) {
        if state.decided.is_some() {
            return;
        }
        // A poll belongs to the step that it ends in.
        let step = (since(setting, poll.at) - 1).max(0) / self.step_ms();
        while state.step < step && state.decided.is_none() {
            self.close_step(setting, state);
        }
        let percent = |it: Counts| Sum { values: 100.0 * it.bad as f64, number: it.total as f64 };
        let mean = |it: &[f64]| Sum { values: it.iter().sum(), number: it.len() as f64 };
        state.answered |= answers(&poll.measured);
        let (canary, baseline) = match &poll.measured {
            Measured::Counts { canary, baseline } => (percent(*canary), percent(baseline.unwrap_or_default())),
            Measured::Values { canary, baseline } => (mean(canary), mean(baseline)),
            Measured::Before { .. } | Measured::Beside { .. } => return,
            Measured::Missing(why) => {
                state.missing += 1;
                state.last_missing = Some(*why);
                (Sum::default(), Sum::default())
            }
            Measured::Histogram(_) | Measured::Pods { .. } | Measured::Answers { .. } | Measured::Memory { .. } => {
                state.missing += 1;
                state.last_missing = Some(Missing::NotOneNumber);
                return;
            }
        };
        for (sum, more) in [(&mut state.canary, canary), (&mut state.baseline, baseline)] {
            if more.values.is_finite() {
                sum.values += more.values;
                sum.number += more.number;
            }
        }
        // The last poll of a step closes it, so that a look comes when it is due.
        if since(setting, poll.at) % self.step_ms() == 0 {
            self.close_step(setting, state);
        }
    }

    fn verdict(&self, setting: &Setting, state: &State) -> Verdict {
        match state.decided {
            Some(Verdict::Fail) if !setting.may_fail => Verdict::Pending,
            Some(verdict) => verdict,
            None => Verdict::Pending,
        }
    }

    fn standing(&self, _state: &State) -> Standing {
        Standing::Final
    }

    fn evidence(&self, _setting: &Setting, _tables: &(), _state: &State) -> Option<Evidence> {
        None
    }

    fn finding(&self, setting: &Setting, _tables: &(), state: &State) -> Finding {
        let because = match state.last {
            None => format!("{} points, no look yet", state.points.len()),
            Some(it) => {
                let deviation = it.deviation.unwrap_or(f64::NAN);
                let reason = Classified { class: it.class, critical: it.critical, deviation }.reason();
                format!("{reason}; score {} at look {} with {} points per arm", it.score, state.looks, it.points)
            }
        };
        let mut finding = Finding::new(self.verdict(setting, state), because);
        if let Some(last) = state.last_missing {
            finding.warnings.push(Warning::Missing { polls: state.missing, last });
        }
        finding
    }
}

impl Kayenta {
    fn close_step(&self, setting: &Setting, state: &mut State) {
        let point = (state.canary.take(), state.baseline.take());
        if std::mem::take(&mut state.answered) {
            if state.points.len() == POINTS_KEPT {
                state.points.remove(0);
            }
            state.points.push(point);
        }
        state.step += 1;
        let elapsed = state.step * self.step_ms();
        let last = self.last_look_ms(setting) <= elapsed;
        let looks = self.interval.map_or(0, |it| elapsed / ms(it).max(1));
        if last || state.looks < looks {
            state.looks += 1;
            self.look(state, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WRITTEN: &str = r#"{ "canary": { "direction": "increase", "critical": true,
        "effectSize": { "allowedIncrease": 1.05 }, "outliers": { "strategy": "keep", "outlierFactor": 3.0 } },
        "scoreThresholds": { "pass": 75, "marginal": 50 }, "interval": "5m" }"#;

    fn verdict_after(minutes: i64, canary: impl Fn(i64) -> f64) -> (Verdict, i64) {
        let judge: Kayenta = serde_json::from_str(WRITTEN).unwrap();
        assert_eq!(judge.check(), []);
        let setting = Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(3600));
        let mut state = judge.begin(&setting);
        for minute in 1..=minutes {
            let wave = 1.0 + 0.1 * (minute as f64).sin();
            let measured = Measured::Values { canary: vec![canary(minute)], baseline: vec![wave] };
            let at = Timestamp::from_second(60 * minute).unwrap();
            judge.observe(&setting, &(), &mut state, &Poll { at, weight: None, measured });
            if state.decided.is_some() {
                return (judge.verdict(&setting, &state), minute);
            }
        }
        (judge.verdict(&setting, &state), minutes)
    }

    #[test]
    fn a_higher_canary_fails_at_a_look_and_an_equal_one_passes_at_the_last() {
        assert_eq!(verdict_after(60, |t| 2.0 + 0.1 * (t as f64 * 1.3).sin()), (Verdict::Fail, 5));
        assert_eq!(verdict_after(60, |t| 1.0 + 0.1 * (t as f64 * 1.3).sin()), (Verdict::Pass, 60));
        assert_eq!(verdict_after(59, |t| 1.0 + 0.1 * (t as f64 * 1.3).sin()), (Verdict::Pending, 59));
    }

    /// What the last of 60 looks at readings of this kind says, with missing points replaced by zeros.
    fn replaced(measured: impl Fn(i64) -> Measured) -> Option<Verdict> {
        let judge: Kayenta =
            serde_json::from_str(r#"{ "canary": { "direction": "increase", "nanStrategy": "replace" } }"#).unwrap();
        let setting = Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(3600));
        let mut state = judge.begin(&setting);
        for minute in 1..=60 {
            let at = Timestamp::from_second(60 * minute).unwrap();
            judge.observe(&setting, &(), &mut state, &Poll { at, weight: None, measured: measured(minute) });
        }
        state.decided
    }

    #[test]
    fn an_outage_is_no_zero() {
        let down = || Measured::Missing(Missing::Error);
        assert_eq!(replaced(|_| down()), Some(Verdict::Error));
        assert_eq!(replaced(|_| Measured::Missing(Missing::Stale)), Some(Verdict::Inconclusive));
        let bad = |_| Measured::Values { canary: vec![9.0], baseline: vec![1.0] };
        assert_eq!(replaced(|t| if t % 10 == 0 { bad(t) } else { down() }), replaced(bad), "only what was measured counts");
    }

    #[test]
    fn nothing_but_zeros_for_what_is_not_there_passes_nothing() {
        assert_eq!(replaced(|_| Measured::Missing(Missing::NoData)), Some(Verdict::Inconclusive));
        let one = |_| Measured::Values { canary: vec![], baseline: vec![1.0] };
        assert_eq!(replaced(one), Some(Verdict::Inconclusive));
        let seldom = |t: i64| if t == 7 { Measured::Values { canary: vec![0.0], baseline: vec![0.0] } } else { Measured::Missing(Missing::NoData) };
        assert_eq!(replaced(seldom), Some(Verdict::Pass));
    }

    #[test]
    fn missing_data_of_a_critical_metric_fails() {
        assert_eq!(verdict_after(60, |_| f64::NAN), (Verdict::Fail, 5));
    }
}
