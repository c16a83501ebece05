//! The course of an analysis: what is due is asked, and nobody waits for another one's slowness.

use std::{collections::BTreeMap, sync::Arc};

use analysis::{
    Judging, Verdict,
    provider::{Failure, Memory, PerArm, Polled, Source, Span},
    run::{Report, Run, Spec},
};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use crate::{clock, measure::Measuring};

/// How long to wait before asking again where nothing was new.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(1);

/// An analysis at work.
pub(super) struct Course {
    run: Run,
    began: Timestamp,
    /// By metric; `None` while it is being asked.
    metrics: Vec<Asked>,
}

/// One metric and what is remembered of its sides.
struct Asked {
    question: Arc<PerArm>,
    source: Option<Arc<Source>>,
    /// `None` while it is being asked.
    memory: Option<Box<[Memory; 2]>>,
    /// Not to be asked before.
    not_before: Timestamp,
    failures: BTreeMap<String, u64>,
    path: Path,
}

/// How the evidence of one metric went.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    /// After each poll: seconds since the beginning, and how much of what is needed to roll back and to promote is
    /// there. Empty where nothing is weighed.
    pub(super) points: Vec<(f64, [f64; 2])>,
    /// Seconds after which its judge had decided.
    pub(super) decided: Option<f64>,
}

/// What one question brought back.
struct Answered {
    metric: usize,
    memory: Box<[Memory; 2]>,
    polled: Polled,
}

/// A course that is over.
pub(super) struct Done {
    pub(super) began: Timestamp,
    pub(super) report: Report,
    /// By metric: the interval of the ratio, where there is one.
    pub(super) intervals: Vec<Option<(f64, f64)>>,
    /// By metric: why it could not be measured, and how often.
    pub(super) failures: Vec<BTreeMap<String, u64>>,
    /// By metric.
    pub(super) paths: Vec<Path>,
}

impl Course {
    pub(super) fn begin(spec: Spec, metrics: Vec<Measuring>, began: Timestamp) -> Self {
        let asked = |it: Measuring| Asked {
            question: Arc::new(it.question),
            source: it.source,
            memory: Some(Box::default()),
            not_before: began,
            failures: BTreeMap::new(),
            path: Path::default(),
        };
        Self { run: Run::begin(spec, began, began), began, metrics: metrics.into_iter().map(asked).collect() }
    }

    /// Measures as time goes by: to the end of the window, unless it fails before or nothing is left to measure.
    pub(super) async fn live(mut self) -> Done {
        let mut asking = JoinSet::new();
        loop {
            let now = clock::now();
            self.run.tick(now);
            self.run.conclude(now);
            if self.run.ended().is_some() {
                return self.done();
            }
            for metric in self.due(now) {
                self.ask(metric, now, &mut asking);
            }
            let wake = self.wake(now);
            let wait = std::time::Duration::try_from(wake.duration_since(now)).unwrap_or_default();
            tokio::select! {
                Some(Ok(answered)) = asking.join_next() => self.take(answered, clock::now()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Measures a time that has passed, moment by moment.
    pub(super) async fn over_the_past(mut self, end: Timestamp) -> Done {
        let mut now = self.began;
        while now < end && self.run.ended().is_none() {
            now = self.run.wake(now).unwrap_or(end).max(now + SignedDuration::from_secs(1)).min(end);
            let mut asking = JoinSet::new();
            for metric in self.due(now) {
                self.ask(metric, now, &mut asking);
            }
            let mut answers = asking.join_all().await;
            answers.sort_by_key(|it| it.metric);
            for it in answers {
                self.take(it, now);
            }
            self.run.tick(now);
            self.run.conclude(now);
        }
        self.done()
    }

    /// The metrics that should be asked now and are not being asked.
    fn due(&self, now: Timestamp) -> Vec<usize> {
        let ready = |it: &usize| self.metrics[*it].memory.is_some() && self.metrics[*it].not_before <= now;
        self.run.due(now).map(|it| it.metric).filter(ready).collect()
    }

    /// When there is something to do next, answers apart.
    fn wake(&self, now: Timestamp) -> Timestamp {
        let later = now + AGAIN_AFTER;
        match self.run.wake(now) {
            Some(at) if now < at => at.min(later),
            Some(_) | None => later,
        }
    }

    fn ask(&mut self, metric: usize, now: Timestamp, asking: &mut JoinSet<Answered>) {
        let it = &mut self.metrics[metric];
        let Some(mut memory) = it.memory.take() else { return };
        let (question, source) = (it.question.clone(), it.source.clone());
        let span = Span { began: self.began, from: self.began, to: now };
        asking.spawn(async move {
            let polled = question.poll(source.as_deref(), span, None, &mut memory).await;
            Answered { metric, memory, polled }
        });
    }

    fn take(&mut self, answered: Answered, now: Timestamp) {
        let Answered { metric, memory, polled } = answered;
        let it = &mut self.metrics[metric];
        it.memory = Some(memory);
        match polled {
            Polled::NothingNew => it.not_before = now + AGAIN_AFTER,
            Polled::Poll(poll, failure) => {
                if let Some(failure) = failure {
                    it.note(&failure);
                }
                self.run.record(metric, &poll);
                let after = now.duration_since(self.began).as_secs_f64();
                self.metrics[metric].path.add(after, self.run.judging(metric));
            }
        }
    }

    fn done(self) -> Done {
        let (failures, paths) = self.metrics.into_iter().map(|it| (it.failures, it.path)).unzip();
        Done {
            began: self.began,
            report: self.run.report(),
            intervals: (0..self.run.spec().metrics.len()).map(|it| self.run.interval(it)).collect(),
            failures,
            paths,
        }
    }
}

impl Path {
    fn add(&mut self, after: f64, judging: &Judging) {
        if let Some(it) = judging.evidence() {
            let share = |has: f64, needed: f64| (has / needed).clamp(0.0, 1.0);
            let shares = [share(it.ln_e_bad, it.ln_e_bad_needed), share(it.ln_e_good, it.ln_e_good_needed)];
            self.points.push((after, shares));
        }
        if self.decided.is_none() && matches!(judging.verdict(), Verdict::Pass | Verdict::Fail) {
            self.decided = Some(after);
        }
    }
}

impl Asked {
    fn note(&mut self, failure: &Failure) {
        *self.failures.entry(failure.to_string()).or_default() += 1;
    }
}
