//! Requests per revision, put together from what counters counted. Pure.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strategies::{Revision, Status};

use crate::{
    analyses::{Interval, Routed},
    api::view::{ArmRole, Second, Tally, TrafficView},
};

/// Seconds that are shown.
const SECONDS: usize = 60;
/// Seconds over which rates and latencies are told.
const LATELY: i64 = 5;
/// Readings that are no further apart are shown as one: whoever asks for a view makes one of its own.
const WHOLE: f64 = 1.05;

/// What is remembered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Traffic {
    /// The attempt that the sums are of.
    attempt: u32,
    /// Whether that attempt is under way.
    running: bool,
    /// When it began; before the first: when the rollout did.
    began: Option<Timestamp>,
    /// Sums since it began, or since it ended.
    sums: BTreeMap<Revision, BTreeMap<String, Tally>>,
    /// What `traffic` was when the last attempt ended.
    last: Vec<TrafficView>,
    #[serde(skip)]
    recent: VecDeque<Lately>,
    #[serde(skip)]
    bounds_ms: Vec<f64>,
}

/// What one reading brought.
#[derive(Clone, Debug, PartialEq)]
struct Lately {
    at: Timestamp,
    seconds: f64,
    by: BTreeMap<Revision, Tally>,
    latency: BTreeMap<Revision, Vec<u64>>,
}

impl Lately {
    /// Adds what came right after it.
    fn add(&mut self, next: Self) {
        self.at = next.at;
        self.seconds += next.seconds;
        for (revision, grown) in next.by {
            add(self.by.entry(revision).or_default(), grown);
        }
        for (revision, counts) in next.latency {
            let sum = self.latency.entry(revision).or_default();
            sum.resize(counts.len().max(sum.len()), 0);
            sum.iter_mut().zip(counts).for_each(|(sum, more)| *sum += more);
        }
    }
}

impl Traffic {
    /// Takes what was counted since the last reading; `bounds`: of the latencies, seconds. What nobody can place in time
    /// is in the sums only.
    pub fn take(&mut self, intervals: &[Interval], bounds: &[f64], at: Timestamp) {
        let mut lately = Lately { at, seconds: 1.0, by: BTreeMap::new(), latency: BTreeMap::new() };
        if let Some(before) = self.recent.back() {
            lately.seconds = at.duration_since(before.at).as_secs_f64().max(0.001);
        }
        self.bounds_ms = bounds.iter().map(|seconds| seconds * 1e3).collect();
        for it in intervals {
            self.take_one(it, &mut lately);
        }
        match self.recent.back_mut() {
            Some(last) if last.seconds + lately.seconds <= WHOLE => last.add(lately),
            Some(_) | None => self.recent.push_back(lately),
        }
        while self.recent.len() > SECONDS {
            self.recent.pop_front();
        }
    }

    fn take_one(&mut self, interval: &Interval, lately: &mut Lately) {
        for (key, counted) in &interval.counts {
            // Fresh replicas of stable are stable's.
            let revision = &key.arm.revision;
            let grown = Tally { total: counted.ended, failed: counted.failed };
            let sum = self.sums.entry(revision.clone()).or_default();
            add(sum.entry(key.routed.as_str().to_owned()).or_default(), grown);
            if key.routed == Routed::Mirror || interval.since.is_none() {
                continue;
            }
            add(lately.by.entry(revision.clone()).or_default(), grown);
            let sum = lately.latency.entry(revision.clone()).or_default();
            sum.resize(counted.latency.len().max(sum.len()), 0);
            sum.iter_mut().zip(&counted.latency).for_each(|(sum, more)| *sum += more);
        }
    }

    /// Begins the sums anew where an attempt begins or ends.
    pub fn follow(&mut self, status: &Status) {
        let running = status.phase.step().is_some()
            || matches!(status.phase, strategies::Phase::Aborting { .. } | strategies::Phase::Promoting);
        if (self.attempt, self.running) == (status.attempt, running) {
            return;
        }
        if self.running {
            self.last = self.views(status.last.as_ref().map(|it| &it.revision), status);
        }
        if running {
            self.began = Some(status.since);
        }
        (self.attempt, self.running) = (status.attempt, running);
        self.sums.clear();
    }

    /// When the present or last attempt began.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        self.began
    }

    /// What `traffic` was when the last attempt ended.
    #[must_use]
    pub fn last(&self) -> &[TrafficView] {
        &self.last
    }

    /// Sums and rates of each revision, stable first.
    #[must_use]
    pub fn now(&self, status: &Status) -> Vec<TrafficView> {
        self.views(None, status)
    }

    /// `tried`: the revision that was on trial when that is over, whatever it is now.
    fn views(&self, tried: Option<&Revision>, status: &Status) -> Vec<TrafficView> {
        let role = |revision: &Revision| {
            if Some(revision) == tried || (tried.is_none() && self.is_canary(revision, status)) {
                ArmRole::Canary
            } else if tried.is_some() || Some(revision) == status.stable.as_ref() {
                ArmRole::Stable
            } else {
                ArmRole::Former
            }
        };
        let mut views: Vec<TrafficView> =
            self.sums.iter().map(|(revision, by)| self.view(revision, role(revision), by)).collect();
        views.sort_by(|a, b| (a.role, &a.revision).cmp(&(b.role, &b.revision)));
        views
    }

    fn is_canary(&self, revision: &Revision, status: &Status) -> bool {
        status.canary.as_ref() == Some(revision) && status.stable.as_ref() != Some(revision)
    }

    fn view(&self, revision: &Revision, role: ArmRole, by: &BTreeMap<String, Tally>) -> TrafficView {
        let users = by.iter().filter(|(way, _)| way.as_str() != Routed::Mirror.as_str()).map(|(_, it)| *it);
        let sum = users.fold(Tally::default(), |mut sum, it| {
            add(&mut sum, it);
            sum
        });
        let (mut lately, mut seconds, mut latency) = (Tally::default(), 0.0, vec![]);
        for it in self.lately() {
            seconds += it.seconds;
            add(&mut lately, it.by.get(revision).copied().unwrap_or_default());
            let counts = it.latency.get(revision).map(Vec::as_slice).unwrap_or_default();
            latency.resize(counts.len().max(latency.len()), 0);
            latency.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        TrafficView {
            revision: revision.clone(),
            role,
            requests: sum.total,
            failed: sum.failed,
            by: by.clone(),
            rate: rate(lately.total),
            failed_rate: rate(lately.failed),
            p50_ms: quantile(&latency, &self.bounds_ms, 0.5),
            p99_ms: quantile(&latency, &self.bounds_ms, 0.99),
        }
    }

    fn lately(&self) -> impl Iterator<Item = &Lately> {
        let end = self.recent.back().map(|it| it.at);
        let begin = end.and_then(|it| it.checked_sub(jiff::SignedDuration::from_secs(LATELY)).ok());
        self.recent.iter().filter(move |it| begin.is_some_and(|begin| it.at > begin))
    }

    /// The last seconds, one by one.
    #[must_use]
    pub fn recent(&self) -> Vec<Second> {
        self.recent.iter().map(|it| Second { at: it.at, by: it.by.clone() }).collect()
    }
}

fn add(sum: &mut Tally, it: Tally) {
    sum.total += it.total;
    sum.failed += it.failed;
}

/// The value below which `share` of the counts lie, by straight lines within a bucket.
fn quantile(counts: &[u64], bounds: &[f64], share: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = share * total as f64;
    let mut below = 0.0;
    for (at, count) in counts.iter().enumerate() {
        let count = *count as f64;
        if below + count >= rank && count > 0.0 {
            let low = at.checked_sub(1).and_then(|it| bounds.get(it)).copied().unwrap_or(0.0);
            let high = bounds.get(at).copied().unwrap_or(low);
            return Some(low + (high - low) * ((rank - below) / count));
        }
        below += count;
    }
    bounds.last().copied()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use strategies::{Arm, Phase};

    use super::*;
    use crate::analyses::{Counted, Ledger, Series};

    fn reading(start: &str, up: u64, ended: u64, failed: u64) -> Counted {
        let series = Series {
            entry: "shop/0".into(),
            arm: Arm::main("v1".into()),
            routed: Routed::Weight,
            begun: ended,
            ended,
            failed,
            latency: vec![ended, 0],
            answers: analysis::Answers::default(),
        };
        Counted {
            source: "0".into(),
            start: start.into(),
            up: Duration::from_secs(up),
            bounds: Arc::from([0.01]),
            series: vec![series],
            replicas: vec![],
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn take(traffic: &mut Traffic, ledger: &mut Ledger, reading: Counted, at: Timestamp) {
        traffic.take(&ledger.take(&[reading], at), &[0.01], at);
    }

    #[test]
    fn a_restarted_worker_and_a_repeated_reading_change_no_sum() {
        let (mut traffic, mut ledger) = (Traffic::default(), Ledger::default());
        let status = Status::new(at(0));
        let readings =
            [reading("a", 1, 10, 1), reading("a", 1, 10, 1), reading("a", 3, 30, 1), reading("b", 1, 5, 0)];
        for (second, reading) in readings.into_iter().enumerate() {
            take(&mut traffic, &mut ledger, reading, at(100 + second as i64));
        }
        let view = &traffic.now(&status)[0];
        assert_eq!((view.requests, view.failed), (35, 1));
        let stored = serde_json::to_string(&(&traffic, &ledger)).unwrap();
        let (mut traffic, mut ledger): (Traffic, Ledger) = serde_json::from_str(&stored).unwrap();
        take(&mut traffic, &mut ledger, reading("b", 9, 7, 0), at(109));
        assert_eq!(traffic.now(&status)[0].requests, 37, "nothing is counted twice after a restart");
    }

    #[test]
    fn a_revision_that_comes_back_is_counted_from_zero() {
        let (mut traffic, mut ledger) = (Traffic::default(), Ledger::default());
        take(&mut traffic, &mut ledger, reading("a", 1, 10, 0), at(1));
        take(&mut traffic, &mut ledger, Counted { series: vec![], ..reading("a", 2, 0, 0) }, at(2));
        take(&mut traffic, &mut ledger, reading("a", 3, 4, 0), at(3));
        assert_eq!(traffic.now(&Status::new(at(0)))[0].requests, 14);
    }

    #[test]
    fn two_readings_within_a_second_are_shown_as_one() {
        let (mut traffic, mut ledger) = (Traffic::default(), Ledger::default());
        let mut ended = 0;
        for (turn, millis) in [0, 900, 1000, 1900, 2000, 2900, 3000].into_iter().enumerate() {
            ended += millis / 100;
            let at = Timestamp::from_millisecond(millis as i64).unwrap();
            take(&mut traffic, &mut ledger, reading("a", 1 + turn as u64, ended, 0), at);
        }
        let total = |it: &Second| it.by.get(&Revision::from("v1")).map_or(0, |it| it.total);
        let shown: Vec<u64> = traffic.recent().iter().map(total).collect();
        assert_eq!(shown, [0, 9 + 10, 19 + 20, 29 + 30]);
        assert_eq!(traffic.now(&Status::new(at(0)))[0].requests, ended);
    }

    #[test]
    fn the_end_of_an_attempt_is_kept() {
        let mut traffic = Traffic::default();
        let mut status = Status::new(at(0));
        (status.attempt, status.canary, status.stable) = (1, Some("v1".into()), Some("v0".into()));
        status.phase = Phase::Stepping { step: "first".into() };
        traffic.follow(&status);
        take(&mut traffic, &mut Ledger::default(), reading("a", 1, 10, 3), at(1));
        status.phase = Phase::Idle;
        status.stable = Some("v1".into());
        status.last = Some(strategies::Ended {
            revision: "v1".into(),
            attempt: 1,
            end: strategies::End::Promoted,
            at: at(2),
        });
        traffic.follow(&status);
        let last = &traffic.last()[0];
        assert_eq!((last.role, last.requests, last.failed), (ArmRole::Canary, 10, 3));
        assert!(traffic.now(&status).is_empty());
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        assert_eq!(quantile(&[0, 10, 0], &[1.0, 2.0], 0.5), Some(1.5));
        assert_eq!(quantile(&[0, 0, 4], &[1.0, 2.0], 0.99), Some(2.0));
        assert_eq!(quantile(&[0, 0], &[1.0], 0.5), None);
    }
}
