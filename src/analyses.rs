//! Where the rollout machine and the judges meet: the machine says which analyses should be running and whether
//! samples of now count, counters say what they have counted so far, and out come verdicts with their evidence.
//!
//! Pure: time, counts and the state of the pods are arguments; what is remembered is a value that can be stored and
//! taken up again. Deliberately absent: asking anybody anything, and any decision about the rollout.
//!
//! When a sample counts:
//! - The machine must say so, and the data plane must have settled; an interval counts only if it began after
//!   that. What straddles a change of the split belongs to no window.
//! - Counters that only rise become intervals once each, counter by counter: one that restarts counts from zero,
//!   one that answers late or twice loses and doubles nothing.
//! - Requests that were drawn by weight are compared with such, and copies with their originals. Others are another
//!   population: only what is wrong whoever asks counts against a canary that gets nothing else.

mod arms_now;
mod calibration;
mod checkpoint;
mod counted;
mod definition;
mod incidents;
mod ledger;
mod replicas;
mod running;
mod usage;
mod view;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use analysis::{
    calibrate::MetricHistory,
    judge::Baseline,
    provider::{Memory, Polled},
    run::{Run, Spec, Window},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strategies::{
    Activity, ActivityId, HumanDuration, Leave, Name, Outcome, Plan, Purpose, Revision, Verdict,
};

pub use self::{
    arms_now::{ArmsNow, FreshNow, Population},
    calibration::Calibration,
    checkpoint::Checkpoint,
    counted::{Counted, PodHealth, ReplicaCounts, Routed, Series, Usage},
    definition::{ANSWERS, Answered, Definition, MEMORY, MetricDefinition, PODS, Reads},
    ledger::{Interval, Key, Ledger, Requests},
    view::{MetricEvidence, RunEvidence},
};
use self::{
    incidents::PodBook,
    running::{Due, Fed, Running, Sampling},
    usage::UsageBook,
};
use crate::port::Activities;

/// How long a gate may take whose plan gives no end: its judges conclude by themselves.
const NO_END: Duration = Duration::from_hours(24);

/// Runs that are kept although the machine does not ask for them now.
const UNLISTED_KEPT: usize = 32;

/// All analyses of one rollout.
#[derive(Clone, Debug)]
pub struct Analyses {
    definitions: BTreeMap<Name, Definition>,
    planned: Duration,
    now: Option<Timestamp>,
    arms: ArmsNow,
    fed: Option<Timestamp>,
    bounds: Arc<[f64]>,
    ledger: Ledger,
    pods: PodBook,
    usage: UsageBook,
    calibration: Calibration,
    trial: Option<Trial>,
    runs: BTreeMap<ActivityId, Running>,
    /// Activities that cannot run, and why.
    refused: BTreeMap<ActivityId, String>,
    /// Why evidence that once was there is not any more.
    lost: BTreeMap<ActivityId, String>,
}

/// The revision on trial, and when its first analysis began: it is warmed up once, not once per step.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Trial {
    attempt: u32,
    revision: Revision,
    since: Timestamp,
}

/// One question to somebody outside that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The run that it is for.
    pub id: ActivityId,
    /// The analysis of the document.
    pub analysis: Name,
    /// Its metric.
    pub metric: Name,
    /// The metric's number within the run.
    pub number: usize,
    /// Whether stable is asked about too.
    pub compared: bool,
    /// Which of stable's replicas it is compared with.
    pub baseline: Baseline,
    /// Since when what is counted belongs to the run.
    pub since: Timestamp,
    /// What is remembered of both sides since the last question.
    pub memory: Box<[Memory; 2]>,
}

/// What one look at the world brought.
#[derive(Clone, Debug)]
pub struct Feed<'a> {
    /// One reading of every counter that answered. Those that did not are left out: their next answer covers this
    /// interval too.
    pub counted: &'a [Counted],
    /// The pods or processes of both arms; `None`: they could not be read. Unread is never "none".
    pub pods: Option<&'a [PodHealth]>,
    /// Which revision is what.
    pub arms: &'a ArmsNow,
    /// Whether a counter saw failures close together, so that what is there is judged at once.
    pub urgent: bool,
}

/// How long a rollout with this plan takes at most, as far as the plan says: bets on late regressions are spread
/// over it.
#[must_use]
pub fn planned_length(plan: &Plan) -> Duration {
    const UNKNOWN: Duration = Duration::from_mins(30);
    let each = plan.steps.iter().map(|step| match &step.leave {
        Leave::AtOnce(_) => Duration::ZERO,
        Leave::Until(it) => it.max.0,
        Leave::Pause(it) => it.length.map_or(UNKNOWN, |it| it.0),
        Leave::Approve(it) => it.within.map_or(UNKNOWN, |it| it.0),
        Leave::Analyze(it) => it.length.map_or(UNKNOWN, |it| it.0),
        Leave::Bake(it) => it.length.0,
    });
    each.fold(Duration::ZERO, Duration::saturating_add).clamp(Duration::from_mins(10), NO_END)
}

impl Activities for Analyses {
    /// Starts what of `run` is not there yet, and lets samples of what is no longer asked for not count. Idempotent
    /// by [`ActivityId`]: what is there goes on with the evidence it has.
    ///
    /// What is not asked for is kept until another attempt begins: `run` is empty for a moment whenever the machine
    /// cannot read the world, and evidence must not be started over for that.
    fn reconcile(&mut self, run: &[Activity], now: Timestamp) {
        self.now = Some(now);
        self.refused.clear();
        for (id, running) in &mut self.runs {
            if !run.iter().any(|it| it.id() == id) {
                running.unlisted();
            }
        }
        let guarded: Vec<&Name> = run.iter().flat_map(guarded_by).collect();
        for activity in run {
            let Activity::Analysis { id, purpose, analyses, samples, min, max } = activity else { continue };
            self.of_this_attempt(id, now);
            if !self.runs.contains_key(id) {
                let beside_guard =
                    *purpose != Purpose::Guard && analyses.iter().all(|it| guarded.contains(&it));
                let window = self.window(*purpose, *min, *max, !beside_guard);
                match self.start(id, *purpose, analyses, window, now) {
                    Ok(running) => drop(self.runs.insert(id.clone(), running)),
                    Err(why) => drop(self.refused.insert(id.clone(), why)),
                }
            }
            if let Some(running) = self.runs.get_mut(id) {
                running.listed(*samples, now);
            }
        }
        self.forget_some();
    }

    /// What every analysis that is asked for said so far.
    fn outcomes(&self) -> BTreeMap<ActivityId, Outcome> {
        let listed = self.runs.iter().filter(|(_, it)| it.listed);
        let said = listed.map(|(id, it)| (id.clone(), it.outcome()));
        let refused = self.refused.iter().map(|(id, why)| {
            (id.clone(), Outcome { verdict: Verdict::Error, because: Some(why.as_str().into()) })
        });
        said.chain(refused).collect()
    }

    /// When to feed again at the latest; a bad streak may make it earlier. `None`: nothing to measure.
    fn wake(&self) -> Option<Timestamp> {
        let now = self.now?;
        let next = self.runs.values().filter_map(|it| it.wake(now, self.fed)).min();
        next.or_else(|| if self.arms.reaches_canary() { None } else { self.calibration.wake() })
    }
}

impl Analyses {
    /// Nothing is running yet. `definitions` are the document's analyses by name; the guards [`PODS`], [`ANSWERS`] and
    /// [`MEMORY`] are there even if the document does not name them. `planned`: see [`planned_length`].
    #[must_use]
    pub fn new(mut definitions: BTreeMap<Name, Definition>, planned: Duration) -> Self {
        definitions.entry(PODS.into()).or_insert_with(Definition::pods);
        definitions.entry(ANSWERS.into()).or_insert_with(Definition::answers);
        definitions.entry(MEMORY.into()).or_insert_with(Definition::memory);
        Self {
            definitions,
            planned,
            now: None,
            arms: ArmsNow::default(),
            fed: None,
            bounds: Arc::from([]),
            ledger: Ledger::default(),
            pods: PodBook::default(),
            usage: UsageBook::default(),
            calibration: Calibration::default(),
            trial: None,
            runs: BTreeMap::new(),
            refused: BTreeMap::new(),
            lost: BTreeMap::new(),
        }
    }

    /// What is measured and judged, by name.
    #[must_use]
    pub fn definitions(&self) -> &BTreeMap<Name, Definition> {
        &self.definitions
    }

    /// Takes what one look at the world brought. `now` is the time before anybody was asked, so that no count is
    /// taken for younger than it is. Answers what every counter has counted since the last look.
    pub fn feed(&mut self, feed: &Feed<'_>, now: Timestamp) -> Vec<Interval> {
        self.now = Some(now);
        if !feed.arms.same_split(&self.arms) {
            self.arms = feed.arms.clone();
            self.runs.values_mut().for_each(|it| it.sampling.begin_anew(now));
        }
        self.arms.settled = feed.arms.settled;
        let counted = self.with_same_bounds(feed.counted);
        let beside = match &self.arms.stable {
            Some(stable) if self.arms.reaches_canary() => self.calibration.beside(&counted, stable, now),
            Some(stable) => {
                self.calibration.before(&counted, stable, now);
                None
            }
            None => {
                self.calibration.interrupt();
                None
            }
        };
        let intervals = self.ledger.take(&counted, now);
        let incidents = feed.pods.and_then(|it| self.pods.look(it, now));
        let used = feed.pods.and_then(|it| self.usage.look(it, now));
        let look = Fed {
            now,
            before: self.fed,
            arms: &self.arms,
            intervals: &intervals,
            bounds: &self.bounds,
            counted: !counted.is_empty(),
            pods_read: feed.pods.is_some(),
            incidents: incidents.as_ref(),
            used: used.as_ref(),
            beside: beside.as_ref(),
            urgent: feed.urgent,
        };
        for (id, running) in &mut self.runs {
            if Some(&id.revision) == self.arms.canary.as_ref() {
                running.feed(&look);
            }
        }
        self.fed = Some(now);
        intervals
    }

    /// The bounds of the latencies that are counted, seconds.
    #[must_use]
    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    /// What somebody outside is to be asked for now. Asking twice for the same does no harm.
    #[must_use]
    pub fn asks(&self, now: Timestamp) -> Vec<Ask> {
        let of = |(id, running): (&ActivityId, &Running)| {
            let due = running.asks(&self.arms, now).into_iter();
            let ask = |due: Due| {
                let (analysis, metric) = self.metric_of(&running.analyses, due.metric)?;
                Some(Ask {
                    id: id.clone(),
                    analysis: analysis.clone(),
                    metric: metric.name.clone(),
                    number: due.metric,
                    compared: self.arms.population().is_some_and(Population::is_compared),
                    baseline: metric.judge.baseline(),
                    since: due.since,
                    memory: due.memory,
                })
            };
            due.filter_map(ask).collect::<Vec<_>>()
        };
        self.runs.iter().flat_map(of).collect()
    }

    /// Whether this run is still remembered.
    #[must_use]
    pub fn knows(&self, id: &ActivityId) -> bool {
        self.runs.contains_key(id)
    }

    /// Takes what `ask` brought, with what is remembered of it now. What belongs to no run any more is dropped.
    pub fn answered(&mut self, ask: Ask, polled: &Polled, now: Timestamp) {
        let Ask { id, number, since, memory, .. } = ask;
        if let Some(running) = self.runs.get_mut(&id) {
            running.answered(Due { metric: number, since, memory }, polled, &self.arms, now);
        }
    }

    /// The metric of that number of these analyses together.
    fn metric_of(&self, analyses: &[Name], number: usize) -> Option<(&Name, &MetricDefinition)> {
        let all = analyses.iter().filter_map(|it| self.definitions.get_key_value(it));
        all.flat_map(|(name, it)| it.metrics.iter().map(move |metric| (name, metric))).nth(number)
    }

    /// Everything that is known of every analysis of this attempt, for people. Takes tens of microseconds each.
    #[must_use]
    pub fn evidence(&self) -> Vec<RunEvidence> {
        self.runs.iter().map(|(id, it)| RunEvidence::of(id, it, self.calibration.history())).collect()
    }

    /// What is remembered of stable's replicas, metric by metric, as of `now`.
    #[must_use]
    pub fn history(&self, now: Timestamp) -> Vec<MetricHistory> {
        let of = |(analysis, definition): (&Name, &Definition)| {
            let counted = definition.metrics.iter().filter(|it| !it.dry_run).map(|it| it.weight);
            let total: f64 = counted.sum();
            let metrics =
                definition.metrics.iter().filter(|it| matches!(it.reads, Reads::Errors | Reads::Latency));
            let of = |it: &MetricDefinition| MetricHistory {
                analysis: analysis.to_string(),
                metric: it.name.to_string(),
                judge: it.judge.clone(),
                part: if it.dry_run { 1.0 } else { it.weight / total },
                windows: self.calibration.windows(it.reads, &self.bounds, now),
            };
            metrics.map(of).collect::<Vec<_>>()
        };
        self.definitions.iter().flat_map(of).collect()
    }

    fn window(
        &self,
        purpose: Purpose,
        min: HumanDuration,
        max: Option<HumanDuration>,
        may_fail: bool,
    ) -> Window {
        match purpose {
            Purpose::Guard => Window::Guard { planned: self.planned },
            Purpose::Gate | Purpose::Evidence => {
                let max = max.map_or(NO_END, |it| it.0);
                Window::Gate { min: min.0.min(max), max, may_fail }
            }
        }
    }

    fn start(
        &self,
        id: &ActivityId,
        purpose: Purpose,
        analyses: &[Name],
        window: Window,
        now: Timestamp,
    ) -> Result<Running, String> {
        let (spec, reads) = self.spec(analyses, window)?;
        let warm_from = self.trial.as_ref().map_or(now, |it| it.since);
        let mut run = Run::begin(spec, now, warm_from);
        for (metric, reads) in reads.iter().enumerate() {
            for poll in self.calibration.polls(*reads, &self.bounds, now) {
                run.record(metric, &poll);
            }
        }
        let notes = self.lost.get(id).cloned().into_iter().collect();
        let sampling = Sampling::new(reads.len(), notes);
        Ok(Running { purpose, analyses: analyses.to_vec(), reads, run, listed: false, sampling })
    }

    /// The metrics of these analyses together.
    fn spec(&self, analyses: &[Name], window: Window) -> Result<(Spec, Vec<Reads>), String> {
        let (mut metrics, mut reads) = (Vec::new(), Vec::new());
        for analysis in analyses {
            let definition = self.definitions.get(analysis);
            let definition = definition.ok_or_else(|| {
                format!(
                    "there is no analysis `{analysis}` in the document: apply it again with one of that name"
                )
            })?;
            for metric in &definition.metrics {
                let name = match analyses.len() {
                    1 => metric.name.to_string(),
                    _ => format!("{analysis}/{}", metric.name),
                };
                metrics.push(metric.metric(name));
                reads.push(metric.reads);
            }
        }
        Ok((Spec { metrics, window, delay: Duration::ZERO }, reads))
    }

    /// Another attempt, or another revision, has evidence of its own.
    fn of_this_attempt(&mut self, id: &ActivityId, now: Timestamp) {
        let same = |attempt: u32, revision: &Revision| attempt == id.attempt && *revision == id.revision;
        if self.trial.as_ref().is_some_and(|it| same(it.attempt, &it.revision)) {
            return;
        }
        self.runs.retain(|it, _| same(it.attempt, &it.revision));
        self.lost.retain(|it, _| same(it.attempt, &it.revision));
        self.trial = Some(Trial { attempt: id.attempt, revision: id.revision.clone(), since: now });
    }

    fn forget_some(&mut self) {
        let mut unlisted: Vec<(Timestamp, ActivityId)> = self
            .runs
            .iter()
            .filter(|(_, it)| !it.listed)
            .map(|(id, it)| (it.run.began(), id.clone()))
            .collect();
        unlisted.sort();
        let surplus = unlisted.len().saturating_sub(UNLISTED_KEPT);
        for (_, id) in unlisted.drain(..surplus) {
            self.runs.remove(&id);
        }
    }

    /// Histograms are added up only where their bounds are the same: those that most counters were read with so
    /// far. Counters with others, as in the middle of an upgrade, count errors only.
    fn with_same_bounds<'a>(&mut self, counted: &'a [Counted]) -> Cow<'a, [Counted]> {
        if !counted.iter().any(|it| it.bounds == self.bounds) {
            let first = counted.iter().min_by_key(|it| (&it.source, &it.start));
            self.bounds = first.map_or_else(|| Arc::clone(&self.bounds), |it| Arc::clone(&it.bounds));
        }
        if counted.iter().all(|it| it.bounds == self.bounds) {
            return Cow::Borrowed(counted);
        }
        let aligned = counted.iter().cloned().map(|mut it| {
            if it.bounds != self.bounds {
                it.series.iter_mut().for_each(|it| it.latency.clear());
                it.replicas.iter_mut().for_each(|it| it.latency.clear());
            }
            it
        });
        Cow::Owned(aligned.collect())
    }
}

/// The analyses that a guard among the activities watches.
fn guarded_by(activity: &Activity) -> &[Name] {
    match activity {
        Activity::Analysis { purpose: Purpose::Guard, analyses, .. } => analyses,
        Activity::Analysis { .. } | Activity::Hook { .. } | Activity::Preflight { .. } => &[],
    }
}

/// A map whose keys are records, as a list of pairs: JSON objects have only text keys.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
