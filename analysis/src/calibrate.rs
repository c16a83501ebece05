//! A/A: stable is judged beside itself, as if some of its pods were the canary. Whoever is rolled back then is rolled
//! back wrongly, so this measures what a judge promises, on a service's own requests.
//!
//! Time is cut into runs as long as a rollout. In each run other pods play the canary, in turn. What was before a run
//! calibrates its judge, as in a rollout; nothing of a run's own future does.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    finding::Verdict,
    judge::{AnyJudge, Setting},
    poll::{Counts, Histogram, Measured, OfPods, Poll},
    stats::{dispersion::Dispersion, fixed::proportion::clopper_pearson},
};

/// How much history calibrates a judge before its run, as in a rollout.
const CALIBRATING_S: f64 = 3600.0;

/// What every pod of stable did in one window of time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodsWindow {
    /// The end of the window.
    pub at: Timestamp,
    /// Its length.
    pub seconds: f64,
    /// Pod by pod, in the same order in every window.
    pub pods: OfPods,
}

/// What is remembered of stable's pods for one metric.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricHistory {
    /// The analysis that the metric belongs to.
    pub analysis: String,
    /// The metric.
    pub metric: String,
    /// How it is judged.
    pub judge: AnyJudge,
    /// Its part of the allowance for false roll backs, `0.0 < part <= 1.0`.
    pub part: f64,
    /// Window by window, in the order of time.
    pub windows: Vec<PodsWindow>,
}

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The judge.
    pub judge: &'a AnyJudge,
    /// Its part of the allowance for false roll backs, `0.0 < part <= 1.0`.
    pub part: f64,
    /// The share of requests that a canary usually has, `0.0 < share < 1.0`. As many pods play it as come nearest.
    pub weight: f64,
    /// How long a rollout usually takes.
    pub length: Duration,
}

/// One run: some pods of stable were judged beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialRun {
    /// Its beginning.
    pub began: Timestamp,
    /// The first of the pods that played the canary, by its place.
    pub first_pod: usize,
    /// The share of requests that they had.
    pub weight: f64,
    /// Seconds until it was rolled back, wrongly.
    #[serde(rename = "rolledBackS")]
    pub rolled_back: Option<f64>,
    /// Seconds until it was promoted.
    #[serde(rename = "promotedS")]
    pub promoted: Option<f64>,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Calibrated {
    /// Pods that played the canary in each run.
    pub canary_pods: usize,
    /// All pods.
    pub pods: usize,
    /// Seconds of history that were not tried but calibrated the first run.
    #[serde(rename = "calibratingS")]
    pub calibrating: f64,
    /// The runs, in the order of time.
    pub runs: Vec<TrialRun>,
    /// By how much more bad requests vary than independent ones, over the whole history; for latency, at the bound
    /// where they vary most. `None`: too few bad requests to tell.
    pub phi: Option<f64>,
}

/// Why nothing can be tried.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum CannotTry {
    /// There is no window in which all pods were counted.
    #[error("nothing was counted, pod by pod")]
    Nothing,
    /// A part of the pods cannot be judged beside the rest.
    #[error("one pod alone cannot be judged beside itself: two are needed at least")]
    OnePod,
    /// Shorter than what calibrates and one run.
    #[error("{has:.0} s of history in which no pod came or went are too short: {needed:.0} s are needed")]
    TooShort {
        /// How long it is, seconds.
        has: f64,
        /// The least, seconds.
        needed: f64,
    },
    /// Neither requests nor latencies of single pods.
    #[error("the number of pods changes within the history")]
    PodsChange,
}

/// Judges stable beside itself over `history`, in the order of time.
///
/// # Errors
/// [`CannotTry`]: too few pods, or too little history for one run.
pub fn aa(history: &[PodsWindow], trial: &Trial<'_>) -> Result<Calibrated, CannotTry> {
    let pods = match history.first().map_or(0, |it| it.pods.len()) {
        0 => return Err(CannotTry::Nothing),
        1 => return Err(CannotTry::OnePod),
        pods => pods,
    };
    if history.iter().any(|it| it.pods.len() != pods) {
        return Err(CannotTry::PodsChange);
    }
    let length = trial.length.as_secs_f64().max(1.0);
    let whole: f64 = history.iter().map(|it| it.seconds).sum();
    let calibrating = CALIBRATING_S.min(whole / 2.0);
    let mut passed = 0.0;
    let first = history.iter().take_while(|it| {
        passed += it.seconds;
        passed <= calibrating
    });
    let first = first.count();
    let canary_pods = ((pods as f64 * trial.weight).round() as usize).clamp(1, pods - 1);
    let mut runs = Vec::new();
    let mut begin = first;
    while let Some(end) = whole_run(history, begin, length) {
        runs.push(one_run(history, begin..end, runs.len() * canary_pods % pods, canary_pods, trial));
        begin = end;
    }
    if runs.is_empty() {
        return Err(CannotTry::TooShort { has: whole, needed: (length * 2.0).min(length + CALIBRATING_S) });
    }
    let calibrating = history[..first].iter().map(|it| it.seconds).sum();
    Ok(Calibrated { canary_pods, pods, calibrating, runs, phi: dispersion(history) })
}

/// The end of a run of at least `length` seconds; `None`: history ends before.
fn whole_run(history: &[PodsWindow], begin: usize, length: f64) -> Option<usize> {
    let mut lasted = 0.0;
    for (at, window) in history.iter().enumerate().skip(begin) {
        lasted += window.seconds;
        if length <= lasted {
            return Some(at + 1);
        }
    }
    None
}

fn one_run(
    history: &[PodsWindow],
    run: std::ops::Range<usize>,
    first_pod: usize,
    canary_pods: usize,
    trial: &Trial<'_>,
) -> TrialRun {
    let windows = &history[run.clone()];
    let began = windows[0].at - seconds(windows[0].seconds);
    let setting = Setting { share: trial.part, ..Setting::alone(began, trial.length) };
    let mut judging = trial.judge.begin(setting);
    for it in calibrating(&history[..run.start]) {
        judging.observe(&Poll {
            at: began,
            weight: None,
            measured: Measured::Before { seconds: it.seconds, pods: it.pods.clone() },
        });
    }
    let pods = windows[0].pods.len();
    let plays = |pod: usize| (pod + pods - first_pod) % pods < canary_pods;
    let mut result =
        TrialRun { began, first_pod, weight: weight(windows, plays), rolled_back: None, promoted: None };
    for it in windows {
        judging.observe(&Poll { at: it.at, weight: None, measured: it.pods.side_by_side(plays) });
        let rest = it.pods.without(plays);
        if 1 < rest.len() {
            let measured = Measured::Beside { seconds: it.seconds, pods: rest };
            judging.observe(&Poll { at: it.at, weight: None, measured });
        }
        let after = it.at.duration_since(began).as_secs_f64();
        match judging.verdict() {
            Verdict::Fail => {
                result.rolled_back = Some(after);
                break;
            }
            Verdict::Pass => drop(result.promoted.get_or_insert(after)),
            Verdict::Pending | Verdict::Inconclusive | Verdict::Error => {}
        }
    }
    result
}

/// The last hour of it.
fn calibrating(history: &[PodsWindow]) -> &[PodsWindow] {
    let mut lasted = 0.0;
    let begin = history.iter().rposition(|it| {
        lasted += it.seconds;
        CALIBRATING_S <= lasted
    });
    &history[begin.unwrap_or(0)..]
}

fn weight(windows: &[PodsWindow], plays: impl Fn(usize) -> bool) -> f64 {
    let (mut all, mut canary) = (0, 0);
    for (pod, total) in windows.iter().flat_map(|it| it.pods.totals().into_iter().enumerate()) {
        all += total;
        canary += if plays(pod) { total } else { 0 };
    }
    if all == 0 { 0.0 } else { canary as f64 / all as f64 }
}

fn seconds(it: f64) -> jiff::SignedDuration {
    jiff::SignedDuration::from_millis((1000.0 * it).round() as i64)
}

/// Over the whole history: of errors, or of slow requests at the bound where they clump most.
fn dispersion(history: &[PodsWindow]) -> Option<f64> {
    let bounds = match &history.first()?.pods {
        OfPods::Counts(_) => 1,
        OfPods::Histograms { bounds, .. } => bounds.len(),
    };
    let of = |bound: usize| {
        let mut it = Dispersion::default();
        for window in history {
            it.add(window.seconds, &window.pods.slower_than(bound));
        }
        it.estimate()
    };
    (0..bounds).filter_map(of).max_by(f64::total_cmp)
}

impl OfPods {
    fn without(&self, plays: impl Fn(usize) -> bool) -> Self {
        match self {
            Self::Counts(pods) => Self::Counts(others(pods, plays)),
            Self::Histograms { bounds, each } => {
                Self::Histograms { bounds: bounds.clone(), each: others(each, plays) }
            }
        }
    }

    /// Those that play the canary beside the others.
    fn side_by_side(&self, plays: impl Fn(usize) -> bool) -> Measured {
        match self {
            Self::Counts(pods) => {
                let (mut canary, mut baseline) = (Counts::default(), Counts::default());
                for (pod, it) in pods.iter().enumerate() {
                    let side = if plays(pod) { &mut canary } else { &mut baseline };
                    side.add(Counts { total: it.total, bad: it.bad });
                }
                Measured::Counts { canary, baseline: Some(baseline) }
            }
            Self::Histograms { bounds, each } => {
                let none = vec![0; bounds.len() + 1];
                let (mut canary, mut baseline) = (none.clone(), none);
                for (pod, it) in each.iter().enumerate() {
                    let side = if plays(pod) { &mut canary } else { &mut baseline };
                    side.iter_mut().zip(it).for_each(|(sum, more)| *sum += more);
                }
                Measured::Histogram(Histogram { bounds: bounds.clone(), canary, baseline })
            }
        }
    }
}

fn others<T: Clone>(all: &[T], plays: impl Fn(usize) -> bool) -> Vec<T> {
    all.iter().enumerate().filter(|(pod, _)| !plays(*pod)).map(|(_, it)| it.clone()).collect()
}

impl Calibrated {
    /// Runs that were rolled back.
    #[must_use]
    pub fn rolled_back(&self) -> u64 {
        self.runs.iter().filter(|it| it.rolled_back.is_some()).count() as u64
    }

    /// Runs that were promoted.
    #[must_use]
    pub fn promoted(&self) -> u64 {
        self.runs.iter().filter(|it| it.promoted.is_some() && it.rolled_back.is_none()).count() as u64
    }

    /// The interval that holds the true rate of false roll backs with 95 % confidence, by Clopper and Pearson
    /// (Biometrika 26, 1934).
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        clopper_pearson(self.rolled_back(), self.runs.len() as u64, 0.05)
    }

    /// The middle of the times until those were promoted that were, seconds.
    #[must_use]
    pub fn median_to_promotion(&self) -> Option<f64> {
        let promoted = self.runs.iter().filter(|it| it.rolled_back.is_none());
        let mut all: Vec<f64> = promoted.filter_map(|it| it.promoted).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    }
}

/// Runs without a single false roll back that are needed to say with 95 % confidence that no more than `alpha` of
/// them are rolled back.
#[must_use]
pub fn runs_needed(alpha: f64) -> u64 {
    ((0.025f64).ln() / (-alpha).ln_1p()).ceil() as u64
}

#[cfg(test)]
mod tests;
