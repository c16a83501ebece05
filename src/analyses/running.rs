//! One analysis at work: what it is fed, and when what it is fed counts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use analysis::{
    AnyJudge, Counts, Histogram, Measured, Missing, PodsSeen, Poll,
    judge::Baseline,
    poll::Drawn,
    provider::{Memory, Polled},
    run::{self, Run},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use strategies::{Arm, Name, Outcome, Purpose, Revision, Samples, Verdict};

use super::{
    arms_now::{ArmsNow, Compared, Population},
    calibration,
    counted::Routed,
    definition::Reads,
    incidents::{self, Incidents},
    ledger::{Interval, Requests},
    replicas::Window,
    usage::{OfArm, Used},
};

/// Why nothing is compared with fresh replicas of stable.
const NO_FRESH: &str = "the fresh replicas of stable (`baseline: fresh`) get no requests yet";
/// Whoever does not look for so long has left a gap.
const GAP: SignedDuration = SignedDuration::from_secs(10);

/// An analysis at work.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) purpose: Purpose,
    pub(super) analyses: Vec<Name>,
    pub(super) reads: Vec<Reads>,
    pub(super) run: Run,
    /// Whether the machine asks for it now.
    pub(super) listed: bool,
    pub(super) sampling: Sampling,
}

/// Which samples count, and what was gathered of them since the last measurement.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sampling {
    /// Since when every sample belongs to this run; `None`: those of now do not.
    pub(super) counts_since: Option<Timestamp>,
    /// Metric by metric.
    gathered: Vec<Gathered>,
    /// Which requests were looked at last.
    pub(super) population: Option<Population>,
    /// Time in which samples would have counted and nobody looked.
    pub(super) unseen: Duration,
    /// Requests of the canary that were routed by a match or a cookie and are compared with nothing.
    pub(super) left_out: u64,
    /// What people should know about this run.
    pub(super) notes: Vec<String>,
    /// By metric that somebody outside is asked for: what is remembered of both sides between two questions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    asked: BTreeMap<usize, Box<[Memory; 2]>>,
    /// By metric: why nobody could say it when it was asked for last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) failures: BTreeMap<usize, String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Gathered {
    any: bool,
    canary: Requests,
    baseline: Requests,
    pods: Option<(PodsSeen, PodsSeen)>,
    #[serde(default)]
    used: Option<(OfArm, OfArm)>,
}

/// Everything one feed brings.
pub(super) struct Fed<'a> {
    pub(super) now: Timestamp,
    /// When the last feed was.
    pub(super) before: Option<Timestamp>,
    pub(super) arms: &'a ArmsNow,
    pub(super) intervals: &'a [Interval],
    pub(super) bounds: &'a Arc<[f64]>,
    /// Whether any counter answered.
    pub(super) counted: bool,
    /// Whether the pods could be read.
    pub(super) pods_read: bool,
    pub(super) incidents: Option<&'a Incidents>,
    /// What the processes used, whenever somebody looked.
    pub(super) used: Option<&'a Used>,
    /// What stable's replicas did beside the canary, whenever a window is over.
    pub(super) beside: Option<&'a Window>,
    /// Whether to judge at once what is there, because a counter saw failures close together.
    pub(super) urgent: bool,
}

impl Sampling {
    pub(super) fn new(metrics: usize, notes: Vec<String>) -> Self {
        Self { gathered: vec![Gathered::default(); metrics], notes, ..Self::default() }
    }

    /// From `now` on samples count, if they did not yet.
    pub(super) fn allow(&mut self, now: Timestamp) {
        self.counts_since.get_or_insert(now);
    }

    /// Requests are divided in another way from `now` on at the latest.
    pub(super) fn begin_anew(&mut self, now: Timestamp) {
        if self.counts_since.is_some() {
            self.withhold();
            self.allow(now);
        }
    }

    /// Samples of now do not count, and what was gathered and not yet judged does not either.
    pub(super) fn withhold(&mut self) {
        self.counts_since = None;
        self.gathered.fill(Gathered::default());
        self.asked.clear();
    }
}

/// One question that is due.
pub(super) struct Due {
    pub(super) metric: usize,
    /// Since when what is counted belongs to the run.
    pub(super) since: Timestamp,
    pub(super) memory: Box<[Memory; 2]>,
}

impl Running {
    /// Lists it, and lets samples of now count or not.
    pub(super) fn listed(&mut self, samples: Samples, now: Timestamp) {
        self.listed = true;
        match samples {
            Samples::Count => self.sampling.allow(now),
            Samples::Withheld => self.sampling.withhold(),
        }
    }

    /// It is not asked for now. It is kept: what was read of the world may be incomplete for a moment.
    pub(super) fn unlisted(&mut self) {
        self.listed = false;
        self.sampling.withhold();
    }

    /// Takes what one feed brings, and decides anew.
    pub(super) fn feed(&mut self, look: &Fed<'_>) {
        if !self.listed {
            return;
        }
        if let Some(since) = self.since(look.arms) {
            self.sampling.population = look.arms.population();
            self.note_gap(look, since);
            self.gather(look, since);
            self.measure(look, since);
        }
        self.calibrate(look);
        self.run.tick(look.now);
    }

    /// Since when every sample belongs to this run and the data plane does what was asked of it.
    fn since(&self, arms: &ArmsNow) -> Option<Timestamp> {
        self.sampling.counts_since.zip(arms.settled).map(|(a, b)| a.max(b))
    }

    /// What somebody outside is to be asked for now.
    pub(super) fn asks(&self, arms: &ArmsNow, now: Timestamp) -> Vec<Due> {
        let since = self.since(arms).filter(|since| *since < now && arms.population().is_some());
        let Some(since) = since.filter(|_| self.listed && self.run.ended().is_none()) else { return vec![] };
        let due = self.run.due(now).map(|it| it.metric);
        let has = |it: &usize| arms.has(self.run.spec().metrics[*it].judge.baseline());
        let asked = due.filter(|it| matches!(self.reads[*it], Reads::Asked { .. })).filter(has);
        let one = |metric| Due {
            metric,
            since,
            memory: self.sampling.asked.get(&metric).cloned().unwrap_or_default(),
        };
        asked.map(one).collect()
    }

    /// Takes what a question of `asks` brought; nothing if samples have begun anew meanwhile.
    pub(super) fn answered(&mut self, due: Due, polled: &Polled, arms: &ArmsNow, now: Timestamp) {
        let Due { metric, since, memory } = due;
        if !self.listed || self.since(arms) != Some(since) || self.run.ended().is_some() {
            return;
        }
        self.sampling.asked.insert(metric, memory);
        let Polled::Poll(poll, failure) = polled else { return };
        match failure {
            Some(failure) => drop(self.sampling.failures.insert(metric, failure.to_string())),
            None => drop(self.sampling.failures.remove(&metric)),
        }
        self.sampling.population = arms.population();
        self.run.record(metric, poll);
        self.run.tick(now);
    }

    /// What it said so far.
    pub(super) fn outcome(&self) -> Outcome {
        match self.run.ended() {
            None => Outcome { verdict: Verdict::Pending, because: None },
            Some(ended) => {
                Outcome { verdict: verdict(ended.verdict), because: Some(ended.because.as_str().into()) }
            }
        }
    }

    /// When it wants to be fed again. `fed`: when that was last.
    pub(super) fn wake(&self, now: Timestamp, fed: Option<Timestamp>) -> Option<Timestamp> {
        if !self.listed || self.run.ended().is_some() {
            return None;
        }
        let ends = match self.run.spec().window {
            run::Window::Guard { .. } => None,
            run::Window::Gate { max, .. } => self.run.began().checked_add(max).ok(),
        };
        let Some(since) = self.sampling.counts_since else { return ends };
        // Nothing counts before a first reading from which on it does.
        let Some(fed) = fed.filter(|it| since <= *it) else { return Some(now) };
        let shortest =
            self.run.spec().metrics.iter().map(|it| it.every.0).min().unwrap_or(Duration::from_secs(1));
        let least = fed.checked_add(shortest).unwrap_or(Timestamp::MAX);
        // What is overdue could not be measured at the last feed: it is tried again a while later.
        let next = self.run.wake(now).filter(|it| fed < *it).unwrap_or(least);
        Some(ends.map_or(next, |it| it.min(next)))
    }

    fn note_gap(&mut self, look: &Fed<'_>, since: Timestamp) {
        let Some(from) = look.before.map(|it| it.max(since)) else { return };
        let unseen = look.now.duration_since(from);
        if GAP < unseen {
            self.sampling.unseen += Duration::try_from(unseen).unwrap_or_default();
        }
    }

    fn gather(&mut self, look: &Fed<'_>, since: Timestamp) {
        let Some(canary) = look.arms.canary.as_ref() else { return };
        let population = look.arms.population();
        let (arm, routed) = (Arm::main(canary.clone()), population.map(Population::routed));
        for interval in look.intervals.iter().filter(|it| it.since.is_some_and(|at| since <= at)) {
            for other in [Routed::Match, Routed::Sticky].into_iter().filter(|it| Some(*it) != routed) {
                self.sampling.left_out += interval.of(&arm, other).ended;
            }
            if let Some(population) = population {
                self.gather_requests(look, interval, &arm, population);
            }
        }
        self.gather_processes(look, since, canary);
    }

    fn gather_requests(&mut self, look: &Fed<'_>, interval: &Interval, canary: &Arm, population: Population) {
        let to_canary = interval.of(canary, population.routed());
        let to = |arm: Option<&Arm>| {
            let mut sum = Requests::default();
            for routed in population.compared_with() {
                sum.add(&arm.map(|it| interval.of(it, *routed)).unwrap_or_default());
            }
            sum
        };
        let stable = look.arms.stable.clone();
        let to_fresh = to(stable.clone().filter(|_| look.arms.fresh.is_some()).map(Arm::baseline).as_ref());
        let mut to_stable = to(stable.map(Arm::main).as_ref());
        to_stable.add(&to_fresh);
        for (index, (reads, gathered)) in self.reads.iter().zip(&mut self.sampling.gathered).enumerate() {
            let baseline = self.run.spec().metrics[index].judge.baseline();
            match reads {
                Reads::Pods | Reads::Memory | Reads::Cpu | Reads::Asked { .. } => continue,
                Reads::Errors | Reads::Latency | Reads::Answers | Reads::Answered(_) => {}
            }
            match baseline {
                Baseline::Stable => gathered.requests(&to_canary, &to_stable),
                Baseline::Fresh => {
                    match look.arms.has(baseline) {
                        true => drop(self.sampling.failures.remove(&index)),
                        false => drop(self.sampling.failures.insert(index, NO_FRESH.to_owned())),
                    }
                    gathered.requests(&to_canary, &to_fresh);
                }
            }
        }
    }

    fn gather_processes(&mut self, look: &Fed<'_>, since: Timestamp, canary: &Revision) {
        let stable = look.arms.stable.as_ref();
        let incidents = look.incidents.filter(|it| since <= it.since);
        let used = look.used.filter(|it| since <= it.since);
        for (reads, gathered) in self.reads.iter().zip(&mut self.sampling.gathered) {
            match reads {
                Reads::Pods => {
                    if let Some(seen) = incidents {
                        gathered.pods(seen.of(Some(canary)), seen.of(stable));
                    }
                }
                Reads::Memory | Reads::Cpu => {
                    if let Some(used) = used {
                        gathered.used(used.of(Some(canary)), used.of(stable));
                    }
                }
                Reads::Errors
                | Reads::Latency
                | Reads::Answers
                | Reads::Answered(_)
                | Reads::Asked { .. } => {}
            }
        }
    }

    /// After what was measured: what stable's replicas show counts for later measurements.
    fn calibrate(&mut self, look: &Fed<'_>) {
        let Some(window) = look.beside else { return };
        for (index, reads) in self.reads.iter().enumerate() {
            if let Some(measured) = calibration::measured(window, *reads, look.bounds) {
                self.run.record(index, &Poll { at: look.now, weight: None, measured });
            }
        }
    }

    /// Hands in what is due.
    fn measure(&mut self, look: &Fed<'_>, since: Timestamp) {
        let due: Vec<usize> = self.run.due(look.now).map(|it| it.metric).collect();
        for (index, (reads, gathered)) in self.reads.iter().zip(&mut self.sampling.gathered).enumerate() {
            if matches!(reads, Reads::Asked { .. }) {
                continue;
            }
            let sequential = matches!(self.run.spec().metrics[index].judge, AnyJudge::Sequential(_));
            let early = look.urgent && sequential && gathered.any;
            if !early && !due.contains(&index) {
                continue;
            }
            let read = match std::mem::take(gathered) {
                it if it.any => {
                    let judge = &self.run.spec().metrics[index].judge;
                    it.read(*reads, judge, look, look.arms.compared(judge.baseline()))
                }
                _ => unanswered(*reads, look, since).map(|why| (Measured::Missing(why), None)),
            };
            if let Some((measured, weight)) = read {
                self.run.record(index, &Poll { at: look.now, weight, measured });
            }
        }
    }
}

/// The machine's word for what a judge says.
pub(super) fn verdict(of: analysis::Verdict) -> Verdict {
    match of {
        analysis::Verdict::Pending => Verdict::Pending,
        analysis::Verdict::Pass => Verdict::Pass,
        analysis::Verdict::Fail => Verdict::Fail,
        analysis::Verdict::Inconclusive => Verdict::Inconclusive,
        analysis::Verdict::Error => Verdict::Error,
    }
}

/// Why nothing was gathered for a measurement that is due; `None`: there was nothing to gather. Counters that
/// answer late lose nothing: their next answer covers this interval too.
fn unanswered(reads: Reads, look: &Fed<'_>, since: Timestamp) -> Option<Missing> {
    let whole = look.before.is_some_and(|before| since <= before);
    let asked = match reads {
        Reads::Errors | Reads::Answers | Reads::Answered(_) => {
            look.arms.population().is_some() && !look.counted
        }
        Reads::Latency => look.arms.population().is_some_and(Population::is_compared) && !look.counted,
        Reads::Pods => !look.pods_read,
        Reads::Memory | Reads::Cpu | Reads::Asked { .. } => false,
    };
    (whole && asked).then_some(Missing::Error)
}

impl Gathered {
    fn requests(&mut self, canary: &Requests, baseline: &Requests) {
        self.any = true;
        self.canary.add(canary);
        self.baseline.add(baseline);
    }

    fn pods(&mut self, canary: PodsSeen, baseline: PodsSeen) {
        self.any = true;
        let (canaries, baselines) = self.pods.get_or_insert_default();
        incidents::add(canaries, canary);
        incidents::add(baselines, baseline);
    }

    fn used(&mut self, canary: OfArm, baseline: OfArm) {
        self.any = true;
        let (canaries, baselines) = self.used.get_or_insert_default();
        canaries.add(canary);
        baselines.add(baseline);
    }

    /// The measurement, and the share of requests that was asked for where those counted here tell whether it was
    /// kept. `None`: there is nothing that this kind of metric could judge.
    fn read(
        self,
        reads: Reads,
        judge: &AnyJudge,
        look: &Fed<'_>,
        compared: Option<Compared>,
    ) -> Option<(Measured, Option<f64>)> {
        let alike = compared.is_some_and(|it| it.drawn() == Drawn::Alike);
        match reads {
            Reads::Errors => {
                look.arms.population()?;
                let counts = |it: &Requests| Counts::new(it.ended, it.failed.min(it.ended));
                let told = self.canary.is_steady() && self.baseline.is_steady();
                let share = compared.and_then(Compared::share).filter(|_| told);
                let baseline = alike.then(|| counts(&self.baseline));
                Some((Measured::Counts { canary: counts(&self.canary), baseline }, share))
            }
            Reads::Answered(by) => {
                look.arms.population()?;
                let counts = |it: &Requests| Counts::new(it.answers.total(), by.of(&it.answers));
                let baseline = alike.then(|| counts(&self.baseline));
                Some((Measured::Counts { canary: counts(&self.canary), baseline }, None))
            }
            Reads::Answers => {
                let drawn = compared?.drawn();
                let (canary, baseline) = (self.canary.answers, Some(self.baseline.answers));
                Some((Measured::Answers { canary, baseline, drawn }, None))
            }
            Reads::Latency if alike => {
                let arm = |it: &Requests| match it.latency.is_empty() {
                    true => vec![0; look.bounds.len() + 1],
                    false => it.cumulative(),
                };
                let (canary, baseline) = (arm(&self.canary), arm(&self.baseline));
                let bounds = look.bounds.to_vec();
                Some((Measured::Histogram(Histogram { bounds, canary, baseline }), None))
            }
            Reads::Latency | Reads::Asked { .. } => None,
            Reads::Pods => {
                let (canary, baseline) = self.pods?;
                Some((Measured::Pods { canary, baseline }, None))
            }
            Reads::Memory | Reads::Cpu => {
                let (canary, baseline) = self.used?;
                let measured = match (judge, reads) {
                    (AnyJudge::Leak(_), _) => {
                        Measured::Memory { canary: canary.grown, stable: baseline.grown }
                    }
                    (_, Reads::Cpu) => values(judge, canary.cpu, baseline.cpu),
                    (_, _) => values(judge, canary.memory, baseline.memory),
                };
                Some((measured, None))
            }
        }
    }
}

/// One value per process; a threshold looks at their mean.
fn values(judge: &AnyJudge, canary: Vec<f64>, baseline: Vec<f64>) -> Measured {
    let mean = |it: Vec<f64>| match it.len() {
        0 => it,
        number => vec![it.iter().sum::<f64>() / number as f64],
    };
    match judge {
        AnyJudge::Threshold(_) => Measured::Values { canary: mean(canary), baseline: mean(baseline) },
        AnyJudge::Sequential(_)
        | AnyJudge::Pods(_)
        | AnyJudge::Answers(_)
        | AnyJudge::Leak(_)
        | AnyJudge::Kayenta(_)
        | AnyJudge::FixedHorizon(_) => Measured::Values { canary, baseline },
    }
}
