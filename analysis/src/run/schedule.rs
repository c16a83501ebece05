//! When each metric is measured: on a grid from the start of the run, so that a restart changes nothing.

use std::time::Duration;

use jiff::Timestamp;

use super::{Metric, Run, Spec, Window, signed};
use crate::judge::AnyJudge;

/// A measurement to be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Due {
    /// Number of the metric in the document's order.
    pub metric: usize,
    /// The end of what was read last: counts are wanted from here on. After an outage or a restart this reaches
    /// back over the gap.
    pub from: Timestamp,
    /// When it became due.
    pub since: Timestamp,
}

impl Run {
    /// What should be measured at `now`. The caller leaves out what it is measuring already.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = Due> {
        let over = self.ended.is_some();
        let waiting = self.progress.iter().enumerate().filter(move |(_, it)| !over && it.next <= now);
        waiting.map(|(metric, it)| Due { metric, from: it.covered, since: it.next })
    }

    /// When something happens next by itself: a measurement falls due, or an end comes into reach. `None`: the run
    /// is over.
    pub fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        if self.ended.is_some() {
            return None;
        }
        let ends = match self.spec.window {
            Window::Guard { .. } => [None, None],
            Window::Gate { min, max, .. } => [Some(after(self.began, min)), Some(after(self.began, max))],
        };
        let ends = ends.into_iter().flatten().filter(|it| now < *it);
        self.progress.iter().map(|it| it.next).chain(ends).min()
    }
}

/// From when on a metric is read, and when its first poll is due.
pub(super) fn first(spec: &Spec, metric: &Metric, began: Timestamp) -> (Timestamp, Timestamp) {
    let from = after(began, spec.delay.saturating_add(initial_delay(&metric.judge)));
    (from, after(from, every(metric)))
}

/// The first grid point after `at`.
pub(super) fn next(spec: &Spec, metric: &Metric, began: Timestamp, at: Timestamp) -> Timestamp {
    let (from, _) = first(spec, metric, began);
    let every_ns = every(metric).as_nanos().max(1) as i128;
    let since_ns = at.as_nanosecond() - from.as_nanosecond();
    let slots = since_ns.div_euclid(every_ns) + 1;
    Timestamp::from_nanosecond(from.as_nanosecond() + slots * every_ns).unwrap_or(Timestamp::MAX)
}

/// How often a metric is measured: a threshold may say so itself.
fn every(metric: &Metric) -> Duration {
    match &metric.judge {
        AnyJudge::Threshold(it) => it.interval.unwrap_or(metric.every).0,
        AnyJudge::Sequential(_)
        | AnyJudge::Pods(_)
        | AnyJudge::Answers(_)
        | AnyJudge::Leak(_)
        | AnyJudge::Kayenta(_)
        | AnyJudge::FixedHorizon(_) => metric.every.0,
    }
}

fn initial_delay(judge: &AnyJudge) -> Duration {
    match judge {
        AnyJudge::Threshold(it) => it.initial_delay.map_or(Duration::ZERO, |it| it.0),
        AnyJudge::Sequential(_)
        | AnyJudge::Pods(_)
        | AnyJudge::Answers(_)
        | AnyJudge::Leak(_)
        | AnyJudge::Kayenta(_)
        | AnyJudge::FixedHorizon(_) => Duration::ZERO,
    }
}

fn after(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(signed(by)).unwrap_or(Timestamp::MAX)
}
