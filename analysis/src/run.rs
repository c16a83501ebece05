//! The run of an analysis: which metric is to be measured when, when the run is over, and with which verdict.
//!
//! Pure: time comes in with every call. The caller measures what is [due](Run::due), hands in what it got with
//! [`Run::record`], and stores [`Run::checkpoint`] as often as it likes; resuming from it equals never having
//! stopped. One slow provider delays only its own metric: nothing here waits for anything.

mod report;
mod schedule;

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::{
    report::{Combined, MetricReport, Report},
    schedule::Due,
};
use crate::{
    answers::Answers,
    finding::Verdict,
    judge::{AnyJudge, JudgeState, Judging, Needs, Problem, Setting, Standing},
    poll::{Counts, Measured, Missing, Poll},
    written::Span,
};

/// Readings kept per metric, for people.
const READINGS_KEPT: usize = 10;

/// A metric whose last polls failed this many times in a row is in error when the run ends undecided.
const ERRORS_IN_A_ROW: u32 = 3;

/// One metric of an analysis, without its provider.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metric {
    /// Unique within the analysis.
    pub name: String,
    /// Time between two polls.
    pub every: Span,
    /// How it is judged.
    pub judge: AnyJudge,
    /// This metric's part of the allowance for false roll backs, relative to the other metrics'. Default 1.
    #[serde(default = "one")]
    pub weight: f64,
    /// Whether it is measured and reported but decides nothing.
    #[serde(default)]
    pub dry_run: bool,
}

fn one() -> f64 {
    1.0
}

/// What the run is for, and how long it lasts.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Window {
    /// Runs beside the steps until it is stopped. It never passes; it fails as soon as there is evidence.
    Guard {
        /// How long the rollout is planned to last.
        planned: Duration,
    },
    /// Must pass before a step is left.
    Gate {
        /// How long it measures at least. Zero: until each metric concludes by itself; one that passes while its last
        /// measurement was a success does not.
        min: Duration,
        /// The latest end: then it passes if every metric passes, or else is inconclusive, or in error if it could not be measured.
        max: Duration,
        /// Whether it may fail by weighed evidence. `false` where a guard watches the same metrics, so that the
        /// allowance for false roll backs is spent once; it then does not pass either while that evidence stands.
        may_fail: bool,
    },
}

impl Window {
    fn planned(self) -> Duration {
        match self {
            Self::Guard { planned } => planned,
            Self::Gate { max, .. } => max,
        }
    }

    fn may_fail(self) -> bool {
        match self {
            Self::Guard { .. } => true,
            Self::Gate { may_fail, .. } => may_fail,
        }
    }
}

/// What is to be run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The metrics, in the document's order.
    pub metrics: Vec<Metric>,
    /// What for.
    pub window: Window,
    /// Time before the first poll of any metric.
    pub delay: Duration,
}

impl Spec {
    /// What cannot be meant, with the name of the metric. `has_baseline` is false at 100 % weight, where stable
    /// gets no requests to compare with.
    pub fn check(&self, has_baseline: bool) -> Vec<(String, Problem)> {
        let mut problems = Vec::new();
        for (i, metric) in self.metrics.iter().enumerate() {
            let mut add = |problem: Problem| problems.push((metric.name.clone(), problem));
            metric.judge.check().into_iter().for_each(&mut add);
            if !has_baseline && metric.judge.needs() == Needs::Baseline {
                add(Problem::new(
                    &["objective"],
                    "at 100 % weight there is no baseline left to compare with: give an `objective`, or use a threshold",
                ));
            }
            if metric.every.0.is_zero() {
                add(Problem::new(&["every"], "must be longer than 0s"));
            }
            if !(metric.weight.is_finite() && 0.0 < metric.weight) {
                add(Problem::new(&["weight"], "must be a number above 0"));
            }
            if self.metrics[..i].iter().any(|it| it.name == metric.name) {
                add(Problem::new(&["name"], "another metric has the same name"));
            }
        }
        if self.metrics.iter().all(|it| it.dry_run) {
            problems.push((
                String::new(),
                Problem::new(&["metrics"], "no metric decides anything: at least one must not be a dry run"),
            ));
        }
        problems
    }

    /// A metric's share of the allowance for false roll backs: only metrics that weigh evidence have one.
    fn share(&self, metric: &Metric) -> f64 {
        let weighs = |it: &Metric| matches!(it.judge, AnyJudge::Sequential(_)) && !it.dry_run;
        if !weighs(metric) {
            return 1.0;
        }
        metric.weight / self.metrics.iter().filter(|it| weighs(it)).map(|it| it.weight).sum::<f64>()
    }

    fn setting(&self, metric: &Metric, began: Timestamp, warm_from: Timestamp) -> Setting {
        Setting {
            began,
            warm_from,
            planned: self.window.planned(),
            share: self.share(metric),
            may_fail: self.window.may_fail(),
        }
    }
}

/// An analysis at work.
#[derive(Clone, Debug)]
pub struct Run {
    spec: Spec,
    began: Timestamp,
    warm_from: Timestamp,
    judging: Vec<Judging>,
    progress: Vec<Progress>,
    ended: Option<Ended>,
}

/// How a run ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// How: never pending.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub because: String,
}

/// What is remembered of a run: bounded in size.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    began: Timestamp,
    warm_from: Timestamp,
    metrics: Vec<(String, Progress, JudgeState)>,
    ended: Option<Ended>,
}

/// How far one metric has come.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    /// Everything up to here was read; the next poll covers what follows.
    covered: Timestamp,
    /// When the next poll is due.
    next: Timestamp,
    polls: u64,
    missing: u64,
    errors_in_a_row: u32,
    readings: VecDeque<Reading>,
}

/// One of the last readings, for people.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// When it was taken.
    pub at: Timestamp,
    /// What it was, in brief.
    pub brief: Brief,
}

/// A reading in brief.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Brief {
    /// Requests of canary and baseline; of a histogram only how many there were.
    Counts(Counts, Counts),
    /// First value of canary and baseline.
    Values(Option<f64>, Option<f64>),
    /// Pods ready, canary and baseline.
    Pods(u32, u32),
    /// Calibration.
    Before,
    /// Nothing that can be judged.
    Missing(Missing),
}

/// Why a checkpoint cannot be taken up.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResumeError {
    /// The document's metrics are not those of the checkpoint.
    #[error("the checkpoint has the metrics {has:?}, the analysis now has {wants:?}: start a new window")]
    OtherMetrics {
        /// Names in the checkpoint.
        has: Vec<String>,
        /// Names in the analysis.
        wants: Vec<String>,
    },
    /// A metric is now judged in another way.
    #[error("metric {0} is now judged by another judge: start a new window")]
    OtherJudge(String),
}

/// What became of a poll that was handed in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recorded {
    /// It was judged.
    Taken,
    /// It ends before what was already read, so it was left out; a repeated poll is harmless.
    TooOld,
    /// The run is over.
    Over,
}

impl Run {
    /// Starts a run at `began`. `warm_from` is when the canary got its first request.
    pub fn begin(spec: Spec, began: Timestamp, warm_from: Timestamp) -> Self {
        let judging =
            spec.metrics.iter().map(|it| it.judge.begin(spec.setting(it, began, warm_from))).collect();
        let first = |it: &Metric| schedule::first(&spec, it, began);
        let progress = spec.metrics.iter().map(|it| Progress {
            covered: first(it).0,
            next: first(it).1,
            polls: 0,
            missing: 0,
            errors_in_a_row: 0,
            readings: VecDeque::new(),
        });
        let progress = progress.collect();
        Self { spec, began, warm_from, judging, progress, ended: None }
    }

    /// Takes up a stored run.
    ///
    /// # Errors
    ///
    /// [`ResumeError`] when the analysis has changed meanwhile: evidence is never carried over silently.
    pub fn resume(spec: Spec, checkpoint: Checkpoint) -> Result<Self, ResumeError> {
        let Checkpoint { began, warm_from, metrics, ended } = checkpoint;
        if !metrics.iter().map(|it| &it.0).eq(spec.metrics.iter().map(|it| &it.name)) {
            let has = metrics.into_iter().map(|it| it.0).collect();
            return Err(ResumeError::OtherMetrics {
                has,
                wants: spec.metrics.into_iter().map(|it| it.name).collect(),
            });
        }
        let mut judging = Vec::with_capacity(metrics.len());
        let mut progress = Vec::with_capacity(metrics.len());
        for (metric, (name, at, state)) in spec.metrics.iter().zip(metrics) {
            let setting = spec.setting(metric, began, warm_from);
            judging.push(metric.judge.resume(setting, state).ok_or(ResumeError::OtherJudge(name))?);
            progress.push(at);
        }
        Ok(Self { spec, began, warm_from, judging, progress, ended })
    }

    /// What to store so that [`Run::resume`] goes on as if never interrupted.
    pub fn checkpoint(&self) -> Checkpoint {
        let metrics = self.spec.metrics.iter().zip(&self.progress).zip(&self.judging);
        Checkpoint {
            began: self.began,
            warm_from: self.warm_from,
            metrics: metrics
                .map(|((metric, at), judging)| (metric.name.clone(), at.clone(), judging.checkpoint()))
                .collect(),
            ended: self.ended.clone(),
        }
    }

    /// What is run.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// When it began.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// Hands in a poll of metric number `metric` and decides anew. Polls that end before what was already read
    /// are left out. A calibration poll moves no schedule.
    pub fn record(&mut self, metric: usize, poll: &Poll) -> Recorded {
        if self.ended.is_some() {
            return Recorded::Over;
        }
        let progress = &mut self.progress[metric];
        if poll.measured.calibrates() {
            self.judging[metric].observe(poll);
            return Recorded::Taken;
        }
        if poll.at < progress.covered || (poll.at == progress.covered && progress.polls != 0) {
            return Recorded::TooOld;
        }
        progress.note(poll);
        progress.next = schedule::next(&self.spec, &self.spec.metrics[metric], self.began, poll.at);
        self.judging[metric].observe(poll);
        self.decide(poll.at);
        Recorded::Taken
    }

    /// Lets time pass: ends the run if its deadline has come.
    pub fn tick(&mut self, now: Timestamp) {
        if self.ended.is_none() {
            self.decide(now);
        }
    }

    /// Ends the run from outside, as when its guard is no longer needed or its split is gone. A run that has
    /// decided keeps its verdict; one that has not is inconclusive: stopped is never passed.
    pub fn stop(&mut self, now: Timestamp) {
        if self.ended.is_none() {
            self.end(now, Verdict::Inconclusive, "stopped before it was decided".to_owned());
        }
    }

    fn end(&mut self, at: Timestamp, verdict: Verdict, because: String) {
        self.ended = Some(Ended { at, verdict, because });
    }

    fn decide(&mut self, now: Timestamp) {
        if let Some((verdict, because)) = self.decided(now) {
            self.end(now, verdict, because);
        }
    }

    fn decided(&self, now: Timestamp) -> Option<(Verdict, String)> {
        let first = |verdict: Verdict| self.deciding().find(|(_, judging)| judging.verdict() == verdict);
        for verdict in [Verdict::Fail, Verdict::Error, Verdict::Inconclusive] {
            if let Some((metric, judging)) = first(verdict) {
                return Some((verdict, format!("{}: {}", metric.name, judging.finding().because)));
            }
        }
        if let Some(combined) = self.combined()
            && self.spec.window.may_fail()
            && combined.ln_e_bad_needed <= combined.ln_e_bad
        {
            let because = format!(
                "the metrics together: evidence of harm {:.1}, {:.1} needed",
                combined.ln_e_bad, combined.ln_e_bad_needed
            );
            return Some((Verdict::Fail, because));
        }
        let Window::Gate { min, max, .. } = self.spec.window else { return None };
        let since = now.duration_since(self.began);
        let passing = self.passes_from(Standing::Latest);
        let concluded = !min.is_zero() || self.passes_from(Standing::Enough);
        if passing && (signed(max) <= since || (concluded && signed(min) <= since)) {
            return Some((Verdict::Pass, self.all_pass()));
        }
        if signed(max) <= since {
            return Some(self.undecided());
        }
        None
    }

    /// Ends the run with a pass if every metric passes and none wants to read more. For windows that are there for
    /// nothing but measuring.
    pub fn conclude(&mut self, now: Timestamp) {
        if self.ended.is_none() && self.passes_from(Standing::Final) {
            self.end(now, Verdict::Pass, self.all_pass());
        }
    }

    /// Whether every metric that decides passes, and its pass rests on at least that.
    fn passes_from(&self, least: Standing) -> bool {
        let passes = |it: &Judging| it.verdict() == Verdict::Pass && least <= it.standing();
        self.deciding().next().is_some() && self.deciding().all(|(_, it)| passes(it))
    }

    fn all_pass(&self) -> String {
        let each = self.deciding().map(|(metric, it)| format!("{}: {}", metric.name, it.finding().because));
        each.collect::<Vec<_>>().join("; ")
    }

    /// The verdict at the deadline.
    fn undecided(&self) -> (Verdict, String) {
        let blind = |it: &Progress| {
            ERRORS_IN_A_ROW <= it.errors_in_a_row || (it.polls == it.missing && it.polls != 0)
        };
        let blind =
            self.spec.metrics.iter().zip(&self.progress).find(|(metric, it)| !metric.dry_run && blind(it));
        if let Some((metric, it)) = blind {
            let because =
                format!("{}: could not be measured ({} of {} polls)", metric.name, it.missing, it.polls);
            return (Verdict::Error, because);
        }
        let open = self.deciding().find(|(_, it)| it.verdict() != Verdict::Pass);
        let because = open.map_or_else(
            || "nothing decides".to_owned(),
            |(metric, it)| format!("undecided at the deadline; {}: {}", metric.name, it.finding().because),
        );
        (Verdict::Inconclusive, because)
    }

    /// The metrics that decide, with their judges.
    fn deciding(&self) -> impl Iterator<Item = (&Metric, &Judging)> {
        self.spec.metrics.iter().zip(&self.judging).filter(|(metric, _)| !metric.dry_run)
    }
}

impl Progress {
    fn note(&mut self, poll: &Poll) {
        self.covered = poll.at;
        self.polls += 1;
        let missing = if let Measured::Missing(why) = poll.measured { Some(why) } else { None };
        self.missing += u64::from(missing.is_some());
        self.errors_in_a_row =
            if missing.is_some_and(Missing::is_error) { self.errors_in_a_row + 1 } else { 0 };
        if self.readings.len() == READINGS_KEPT {
            self.readings.pop_front();
        }
        self.readings.push_back(Reading { at: poll.at, brief: brief(&poll.measured) });
    }
}

fn brief(measured: &Measured) -> Brief {
    let first = |it: &[f64]| it.first().copied().filter(|it| it.is_finite());
    let total = |it: &[u64]| Counts::new(it.last().copied().unwrap_or(0), 0);
    match measured {
        Measured::Counts { canary, baseline } => Brief::Counts(*canary, baseline.unwrap_or_default()),
        Measured::Histogram(it) => Brief::Counts(total(&it.canary), total(&it.baseline)),
        Measured::Values { canary, baseline } => Brief::Values(first(canary), first(baseline)),
        Measured::Pods { canary, baseline } => Brief::Pods(canary.ready, baseline.ready),
        Measured::Answers { canary, baseline, drawn: _ } => {
            let total = |it: &Answers| Counts::new(it.total(), 0);
            Brief::Counts(total(canary), baseline.as_ref().map(total).unwrap_or_default())
        }
        Measured::Memory { canary, stable } => Brief::Values(first(&[canary.level]), first(&[stable.level])),
        Measured::Before { .. } | Measured::Beside { .. } => Brief::Before,
        Measured::Missing(why) => Brief::Missing(*why),
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
