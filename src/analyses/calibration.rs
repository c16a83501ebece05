//! How much errors clump, measured on stable's replicas before a canary gets any request. It cannot be measured
//! later: what a canary does to its own requests would be taken for the way errors come.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use analysis::{Measured, Poll, poll::PodCounts};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use strategies::{Name, Revision};

use super::{
    counted::{Counted, Routed, Series},
    ledger::Ledger,
};

/// Length of one window.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// Windows that are kept: an hour of them is a long history.
const KEPT: usize = 60;

/// Counts of stable's replicas from before a canary, bounded in size. Feed it while no canary gets requests.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Calibration {
    ledger: Ledger,
    open: Option<Open>,
    closed: VecDeque<Closed>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    since: Timestamp,
    replicas: BTreeMap<Name, PodCounts>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Closed {
    seconds: f64,
    replicas: Vec<PodCounts>,
}

impl Calibration {
    /// Adds one reading, asked for at `now`, of what `stable`'s replicas did. A window in which replicas come or go
    /// is dropped.
    pub fn feed(&mut self, counted: &[Counted], stable: &Revision, now: Timestamp) {
        let as_series: Vec<Counted> = counted.iter().map(|it| of_replicas(it, stable)).collect();
        let mut grown: BTreeMap<Name, PodCounts> = BTreeMap::new();
        for interval in self.ledger.take(&as_series, now) {
            for ((replica, _, _), tally) in interval.counts {
                let sum = grown.entry(replica).or_default();
                sum.total += tally.ended;
                sum.bad += tally.failed;
            }
        }
        let present: BTreeSet<Name> =
            as_series.iter().flat_map(|it| &it.series).map(|it| it.entry.clone()).collect();
        match &mut self.open {
            // Nobody answered, which says nothing about replicas.
            _ if counted.is_empty() => return,
            Some(open) if present.iter().eq(open.replicas.keys()) => {
                for (replica, more) in grown {
                    let sum = open.replicas.entry(replica).or_default();
                    sum.total += more.total;
                    sum.bad += more.bad;
                }
            }
            Some(_) | None => {
                let replicas = present.into_iter().map(|it| (it, PodCounts::default())).collect();
                self.open = Some(Open { since: now, replicas });
            }
        }
        self.close(now);
    }

    fn close(&mut self, now: Timestamp) {
        let Some(open) = self.open.take_if(|it| WINDOW <= now.duration_since(it.since)) else { return };
        let seconds = now.duration_since(open.since).as_secs_f64();
        let replicas = open.replicas.keys().map(|it| (it.clone(), PodCounts::default())).collect();
        self.open = Some(Open { since: now, replicas });
        if open.replicas.len() < 2 {
            return;
        }
        self.closed.push_back(Closed { seconds, replicas: open.replicas.into_values().collect() });
        if KEPT < self.closed.len() {
            self.closed.pop_front();
        }
    }

    /// A canary gets requests: what is open is dropped, what is closed is kept.
    pub fn interrupt(&mut self) {
        (self.ledger, self.open) = (Ledger::default(), None);
    }

    /// How long replicas were watched.
    #[must_use]
    pub fn history(&self) -> Duration {
        Duration::from_secs_f64(self.closed.iter().map(|it| it.seconds).sum::<f64>().max(0.0))
    }

    /// When the next reading is wanted.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.open.as_ref().and_then(|it| it.since.checked_add(WINDOW).ok())
    }

    /// What a judge is told before its first poll.
    pub(super) fn polls(&self, at: Timestamp) -> impl Iterator<Item = Poll> {
        self.closed.iter().map(move |it| Poll {
            at,
            weight: None,
            measured: Measured::Before { seconds: it.seconds, pods: it.replicas.clone() },
        })
    }
}

fn of_replicas(counted: &Counted, stable: &Revision) -> Counted {
    let replicas = counted.replicas.iter().filter(|it| it.revision == *stable);
    let series = replicas.map(|it| Series {
        entry: it.replica.clone(),
        revision: it.revision.clone(),
        routed: Routed::Weight,
        begun: it.ended,
        ended: it.ended,
        failed: it.failed,
        latency: vec![],
    });
    Counted { series: series.collect(), replicas: vec![], ..counted.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::counted::Replica, *};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// A reading after `minutes` in which each replica had so many requests per minute, a tenth of them bad.
    fn reading(minutes: u64, per_minute: &[u64]) -> Vec<Counted> {
        let replica = |(i, per_minute): (usize, &u64)| Replica {
            replica: format!("r{i}").into(),
            revision: "v1".into(),
            ended: per_minute * minutes,
            failed: per_minute * minutes / 10,
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
            calibration.feed(&reading(minute, &per_minute(minute)), &"v1".into(), at(60 * minute as i64));
        }
        calibration
    }

    #[test]
    fn windows_hold_what_each_replica_did_and_an_hour_of_them_is_kept() {
        let calibration = fed(200, |_| vec![100, 50]);
        assert_eq!(calibration.history(), Duration::from_mins(60));
        let each = [PodCounts { total: 100, bad: 10 }, PodCounts { total: 50, bad: 5 }];
        for poll in calibration.polls(at(0)) {
            assert_eq!(poll.measured, Measured::Before { seconds: 60.0, pods: each.to_vec() });
        }
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
        calibration.feed(&reading(90, &[100, 100]), &"v1".into(), at(60 * 90));
        assert_eq!(calibration.history(), Duration::from_mins(4));
    }
}
