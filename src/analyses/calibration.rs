//! How much errors and slow requests clump, measured on stable's replicas: before a canary gets any request, and
//! beside it. What a canary does to its own requests would be taken for the way they come, so nobody looks at those.

use std::time::Duration;

use analysis::{Measured, Poll, calibrate::PodsWindow, poll::OfPods};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use strategies::Revision;

use super::{
    counted::Counted,
    definition::Reads,
    replicas::{History, Watch, Window},
};

/// Length of a window while little is known, and of those beside a canary.
const SHORT: SignedDuration = SignedDuration::from_secs(10);

/// Length of a window after a while.
const LONG: SignedDuration = SignedDuration::from_mins(1);

/// History after which windows are long.
const A_WHILE: Duration = Duration::from_mins(10);

/// Where there is no whole window yet, one that is cut counts for latency if it is so long.
const CUT: SignedDuration = SignedDuration::from_secs(5);

/// Counts of stable's replicas, bounded in size.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Calibration {
    watch: Watch,
    /// Whether a canary gets requests.
    beside: bool,
    /// Windows from before it got any.
    history: History,
    /// Windows from since then.
    since: History,
}

impl Calibration {
    /// Adds one reading, asked for at `now`, of what `stable`'s replicas did while no canary gets requests.
    pub fn before(&mut self, counted: &[Counted], stable: &Revision, now: Timestamp) {
        self.turn(false, now);
        let window = self.watch.feed(counted, stable, self.length(), now);
        window.into_iter().for_each(|it| self.history.push(it));
    }

    /// The same while a canary gets some. The window, if one is over.
    pub(super) fn beside(
        &mut self,
        counted: &[Counted],
        stable: &Revision,
        now: Timestamp,
    ) -> Option<Window> {
        self.turn(true, now);
        let window = self.watch.feed(counted, stable, SHORT, now)?;
        self.since.push(window.clone());
        Some(window)
    }

    /// Nobody knows who is stable: what is open is dropped, what is closed is kept.
    pub fn interrupt(&mut self) {
        self.watch = Watch::default();
    }

    /// How long replicas were watched before a canary.
    #[must_use]
    pub fn history(&self) -> Duration {
        Duration::from_secs_f64(self.history.seconds().max(0.0))
    }

    /// When the next reading is wanted.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.watch.since().and_then(|it| it.checked_add(self.length()).ok())
    }

    /// What a judge of such a metric is told before its first poll.
    pub(super) fn polls(&self, reads: Reads, bounds: &[f64], at: Timestamp) -> Vec<Poll> {
        let poll = |measured| Poll { at, weight: None, measured };
        let cut = if self.beside { None } else { self.watch.so_far() };
        let long_enough = |it: &Window| CUT.as_secs_f64() <= it.seconds;
        let cut = cut.filter(|it| self.history.seconds() == 0.0 && long_enough(it));
        let before = match reads {
            // Errors are rare: short windows of few of them would have to be taken at their worst.
            Reads::Errors => minutes(self.history.iter()),
            Reads::Latency => self.history.iter().cloned().chain(cut).collect(),
            // Nobody tells these replica by replica, or nothing of it clumps.
            Reads::Pods
            | Reads::Answers
            | Reads::Answered(_)
            | Reads::Memory
            | Reads::Cpu
            | Reads::Asked { .. } => vec![],
        };
        let before = before.iter().filter_map(|it| {
            Some(Measured::Before { seconds: it.seconds, pods: of_pods(it, reads, bounds)? })
        });
        let beside = self.since.iter().filter_map(|it| measured(it, reads, bounds));
        before.chain(beside).map(poll).collect()
    }

    /// What is remembered from before a canary, one window after the other and the last of them at `end`.
    pub(super) fn windows(&self, reads: Reads, bounds: &[f64], end: Timestamp) -> Vec<PodsWindow> {
        let mut left = self.history.seconds();
        let windows = self.history.iter().filter_map(|it| {
            left -= it.seconds;
            let at = end - SignedDuration::try_from_secs_f64(left).unwrap_or_default();
            Some(PodsWindow { at, seconds: it.seconds, pods: of_pods(it, reads, bounds)? })
        });
        windows.collect()
    }

    fn length(&self) -> SignedDuration {
        if self.history() < A_WHILE { SHORT } else { LONG }
    }

    /// What is open belongs to one time only: before a canary, or beside it.
    fn turn(&mut self, beside: bool, now: Timestamp) {
        if self.beside == beside {
            return;
        }
        self.beside = beside;
        let cut = self.watch.cut(CUT, now);
        self.watch.drop_open();
        self.since.clear();
        if let Some(cut) = cut.filter(|_| beside && self.history.seconds() == 0.0) {
            self.history.push(cut);
        }
    }
}

/// A window beside a canary as a reading of such a metric.
pub(super) fn measured(window: &Window, reads: Reads, bounds: &[f64]) -> Option<Measured> {
    Some(Measured::Beside { seconds: window.seconds, pods: of_pods(window, reads, bounds)? })
}

fn of_pods(window: &Window, reads: Reads, bounds: &[f64]) -> Option<OfPods> {
    match reads {
        Reads::Errors => Some(window.errors()),
        Reads::Latency => window.latency(bounds),
        Reads::Pods
        | Reads::Answers
        | Reads::Answered(_)
        | Reads::Memory
        | Reads::Cpu
        | Reads::Asked { .. } => None,
    }
}

/// The same windows, each at least a minute long.
fn minutes<'a>(windows: impl Iterator<Item = &'a Window>) -> Vec<Window> {
    let mut all: Vec<Window> = Vec::new();
    for window in windows {
        match all.last_mut() {
            Some(last)
                if last.seconds < LONG.as_secs_f64() && last.replicas.len() == window.replicas.len() =>
            {
                last.add(window);
            }
            Some(_) | None => all.push(window.clone()),
        }
    }
    all.retain(|it| LONG.as_secs_f64() <= it.seconds);
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use analysis::poll::PodCounts;

    use super::{super::counted::ReplicaCounts, *};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// A reading after `minutes` in which each replica had so many requests per minute, a tenth of them bad.
    fn reading(minutes: u64, per_minute: &[u64]) -> Vec<Counted> {
        let replica = |(i, per_minute): (usize, &u64)| ReplicaCounts {
            replica: format!("r{i}").into(),
            revision: "v1".into(),
            ended: per_minute * minutes,
            failed: per_minute * minutes / 10,
            latency: vec![per_minute * minutes, 0],
        };
        vec![Counted {
            source: "w0".into(),
            start: "a".into(),
            up: Duration::from_mins(minutes + 10),
            bounds: Arc::from([0.1]),
            series: vec![],
            replicas: per_minute.iter().enumerate().map(replica).collect(),
        }]
    }

    fn fed(minutes: u64, per_minute: impl Fn(u64) -> Vec<u64>) -> Calibration {
        let mut calibration = Calibration::default();
        for minute in 0..=minutes {
            calibration.before(&reading(minute, &per_minute(minute)), &"v1".into(), at(60 * minute as i64));
        }
        calibration
    }

    #[test]
    fn windows_hold_what_each_replica_did_and_an_hour_of_them_is_kept() {
        let calibration = fed(200, |_| vec![100, 50]);
        assert_eq!(calibration.history(), Duration::from_mins(60));
        let each = [PodCounts { total: 100, bad: 10 }, PodCounts { total: 50, bad: 5 }];
        for poll in calibration.polls(Reads::Errors, &[0.1], at(0)) {
            assert_eq!(poll.measured, Measured::Before { seconds: 60.0, pods: each.to_vec().into() });
        }
        let each = vec![vec![100, 100], vec![50, 50]];
        for poll in calibration.polls(Reads::Latency, &[0.1], at(0)) {
            let pods = OfPods::Histograms { bounds: vec![0.1], each: each.clone() };
            assert_eq!(poll.measured, Measured::Before { seconds: 60.0, pods });
        }
    }

    #[test]
    fn windows_for_people_follow_each_other_and_end_now() {
        let calibration = fed(30, |_| vec![100, 50]);
        let windows = calibration.windows(Reads::Errors, &[0.1], at(10_000));
        let ends: Vec<i64> = windows.iter().map(|it| it.at.as_second()).collect();
        assert_eq!(ends, (0..30).rev().map(|it| 10_000 - 60 * it).collect::<Vec<_>>());
        assert_eq!(windows.iter().map(|it| it.seconds).sum::<f64>(), 1800.0);
        assert_eq!(calibration.windows(Reads::Pods, &[0.1], at(10_000)), []);
    }

    #[test]
    fn one_replica_alone_says_nothing() {
        assert_eq!(fed(20, |_| vec![100]).history(), Duration::ZERO);
    }

    #[test]
    fn a_window_in_which_replicas_come_or_go_is_dropped() {
        let steady = fed(4, |_| vec![100, 100]).history();
        let grown = fed(4, |minute| if minute < 3 { vec![100, 100] } else { vec![100, 100, 100] }).history();
        assert_eq!((steady, grown), (Duration::from_mins(4), Duration::from_mins(3)));
    }

    #[test]
    fn what_an_interruption_cuts_is_dropped() {
        let mut calibration = fed(4, |_| vec![100, 100]);
        calibration.interrupt();
        calibration.before(&reading(90, &[100, 100]), &"v1".into(), at(60 * 90));
        assert_eq!(calibration.history(), Duration::from_mins(4));
    }

    /// A reading after `seconds` in which each of two replicas had a hundred requests per second.
    fn second(seconds: u64) -> Vec<Counted> {
        let mut counted = reading(0, &[1, 1]);
        counted[0].up = Duration::from_secs(1000 + seconds);
        for it in &mut counted[0].replicas {
            (it.ended, it.latency) = (100 * seconds, vec![90 * seconds, 10 * seconds]);
        }
        counted
    }

    fn lengths(calibration: &Calibration, reads: Reads) -> Vec<(bool, f64)> {
        let length = |it: Poll| {
            if let Measured::Before { seconds, .. } = it.measured {
                return (false, seconds);
            }
            let Measured::Beside { seconds, .. } = it.measured else { panic!("{it:?}") };
            (true, seconds)
        };
        calibration.polls(reads, &[0.1], at(0)).into_iter().map(length).collect()
    }

    #[test]
    fn a_short_look_counts_for_latency_and_not_for_errors() {
        let mut calibration = Calibration::default();
        let mut feed = |seconds: std::ops::RangeInclusive<u64>| {
            seconds.for_each(|it| calibration.before(&second(it), &"v1".into(), at(it as i64)));
            (lengths(&calibration, Reads::Latency), lengths(&calibration, Reads::Errors))
        };
        assert_eq!(feed(0..=4), (vec![], vec![]));
        assert_eq!(feed(5..=7), (vec![(false, 7.0)], vec![]));
        assert_eq!(feed(8..=59).0, [(false, 10.0); 5]);
        assert_eq!(feed(60..=75).1, [(false, 60.0)]);
    }

    #[test]
    fn what_is_seen_beside_a_canary_is_told_to_later_judges_and_forgotten_with_it() {
        let mut calibration = Calibration::default();
        let stable = &"v1".into();
        (0..=6).for_each(|it| calibration.before(&second(it), stable, at(it as i64)));
        let told = (7..=27).filter(|it| calibration.beside(&second(*it), stable, at(*it as i64)).is_some());
        assert_eq!(told.collect::<Vec<_>>(), [17, 27]);
        assert_eq!(lengths(&calibration, Reads::Latency), [(false, 6.0), (true, 10.0), (true, 10.0)]);
        calibration.before(&second(28), stable, at(28));
        assert_eq!(lengths(&calibration, Reads::Latency), [(false, 6.0)]);
    }
}
