//! What stable's replicas did, window by window.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use analysis::{
    Answers,
    poll::{OfPods, PodCounts},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use strategies::{Arm, Name, Revision};

use super::{
    counted::{Counted, Routed, Series},
    ledger::{Ledger, Requests},
};

/// Reads counters of replicas and fills a window with what they say.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Watch {
    ledger: Ledger,
    open: Option<Open>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    since: Timestamp,
    until: Timestamp,
    replicas: BTreeMap<Name, Requests>,
}

/// A window that is over: what each replica did, in the order of their names.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Window {
    pub(super) seconds: f64,
    pub(super) replicas: Vec<Requests>,
}

impl Watch {
    /// Adds one reading, asked for at `now`, of what `stable`'s replicas did; the window, if it is over because it
    /// has lasted `length`. One in which replicas come or go is dropped, and one replica alone says nothing.
    pub(super) fn feed(
        &mut self,
        counted: &[Counted],
        stable: &Revision,
        length: SignedDuration,
        now: Timestamp,
    ) -> Option<Window> {
        // Nobody answered, which says nothing about replicas.
        if counted.is_empty() {
            return None;
        }
        let as_series: Vec<Counted> = counted.iter().map(|it| of_replicas(it, stable)).collect();
        let present: BTreeSet<&Name> =
            as_series.iter().flat_map(|it| &it.series).map(|it| &it.entry).collect();
        let intervals = self.ledger.take(&as_series, now);
        let same = |it: &&mut Open| present.iter().copied().eq(it.replicas.keys());
        let Some(open) = self.open.as_mut().filter(same) else {
            let replicas = present.into_iter().map(|it| (it.clone(), Requests::default())).collect();
            self.open = Some(Open { since: now, until: now, replicas });
            return None;
        };
        open.until = now;
        for (key, more) in intervals.iter().filter(|it| it.since.is_some()).flat_map(|it| &it.counts) {
            open.replicas.entry(key.entry.clone()).or_default().add(more);
        }
        self.cut(length, now)
    }

    /// The window so far, if it has lasted `least`. If so, another begins at `now`.
    pub(super) fn cut(&mut self, least: SignedDuration, now: Timestamp) -> Option<Window> {
        let open = self.open.take_if(|it| least <= it.until.duration_since(it.since))?;
        let replicas = open.replicas.keys().map(|it| (it.clone(), Requests::default())).collect();
        self.open = Some(Open { since: now, until: now, replicas });
        open.window()
    }

    /// The window so far, however short, without an end to it.
    pub(super) fn so_far(&self) -> Option<Window> {
        self.open.clone()?.window()
    }

    /// Drops the window.
    pub(super) fn drop_open(&mut self) {
        self.open = None;
    }

    /// Since when the window has been filled.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|it| it.since)
    }
}

impl Open {
    fn window(self) -> Option<Window> {
        let seconds = self.until.duration_since(self.since).as_secs_f64();
        let replicas: Vec<Requests> = self.replicas.into_values().collect();
        (2 <= replicas.len()).then_some(Window { seconds, replicas })
    }
}

impl Window {
    /// Adds what the same replicas did next.
    pub(super) fn add(&mut self, next: &Self) {
        self.seconds += next.seconds;
        for (sum, more) in self.replicas.iter_mut().zip(&next.replicas) {
            sum.add(more);
        }
    }

    /// Requests and failed ones.
    pub(super) fn errors(&self) -> OfPods {
        let count = |it: &Requests| PodCounts { total: it.ended, bad: it.failed.min(it.ended) };
        OfPods::Counts(self.replicas.iter().map(count).collect())
    }

    /// Latencies; `None` where they were not counted with these bounds.
    pub(super) fn latency(&self, bounds: &[f64]) -> Option<OfPods> {
        let buckets = bounds.len() + 1;
        let each = self.replicas.iter().map(|it| match it.latency.len() {
            0 if it.ended == 0 => Some(vec![0; buckets]),
            counted => (counted == buckets).then(|| it.cumulative()),
        });
        let each: Vec<Vec<u64>> = each.collect::<Option<_>>()?;
        let any = each.iter().flatten().any(|it| *it != 0);
        any.then(|| OfPods::Histograms { bounds: bounds.to_vec(), each })
    }
}

/// Windows of the last hour or so, in bounded memory: old ones are merged, not dropped.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct History(VecDeque<Window>);

impl History {
    /// What is kept: with it the estimate is taken as it is.
    const SECONDS: f64 = 3600.0;

    /// Replicas of windows that are kept: the estimate of a dispersion from so many is good to a fifth.
    const ROWS: usize = 128;

    pub(super) fn push(&mut self, window: Window) {
        self.0.push_back(window);
        while self.0.front().is_some_and(|it| Self::SECONDS <= self.seconds() - it.seconds) {
            self.0.pop_front();
        }
        while 1 < self.0.len() && Self::ROWS < self.0.iter().map(|it| it.replicas.len()).sum() {
            match self.shortest_pair() {
                Some(at) => self.merge(at),
                None => drop(self.0.pop_front()),
            }
        }
    }

    /// Two neighbours of as many replicas that are shorter together than any other two.
    fn shortest_pair(&self) -> Option<usize> {
        let pairs = self.0.iter().zip(self.0.iter().skip(1)).enumerate();
        let alike = pairs.filter(|(_, (a, b))| a.replicas.len() == b.replicas.len());
        let length = |(_, (a, b)): &(usize, (&Window, &Window))| a.seconds + b.seconds;
        alike.min_by(|a, b| length(a).total_cmp(&length(b))).map(|(at, _)| at)
    }

    fn merge(&mut self, at: usize) {
        let Some(next) = self.0.remove(at + 1) else { return };
        if let Some(it) = self.0.get_mut(at) {
            it.add(&next);
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.0.iter().map(|it| it.seconds).sum()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Window> {
        self.0.iter()
    }
}

fn of_replicas(counted: &Counted, stable: &Revision) -> Counted {
    let replicas = counted.replicas.iter().filter(|it| it.revision == *stable);
    let series = replicas.map(|it| Series {
        entry: it.replica.clone(),
        arm: Arm::main(it.revision.clone()),
        routed: Routed::Weight,
        begun: it.ended,
        ended: it.ended,
        failed: it.failed,
        latency: it.latency.clone(),
        answers: Answers::default(),
    });
    Counted { series: series.collect(), replicas: vec![], ..counted.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(seconds: f64, ended: &[u64]) -> Window {
        let tally = |ended: &u64| Requests { ended: *ended, latency: vec![*ended, 0], ..Requests::default() };
        Window { seconds, replicas: ended.iter().map(tally).collect() }
    }

    #[test]
    fn a_long_history_of_many_replicas_is_merged_and_loses_no_request_of_the_hour() {
        let mut history = History::default();
        for _ in 0..60 {
            history.push(window(60.0, &[10; 20]));
        }
        let rows: usize = history.iter().map(|it| it.replicas.len()).sum();
        let requests: u64 = history.iter().flat_map(|it| &it.replicas).map(|it| it.ended).sum();
        assert_eq!((history.seconds(), requests), (3600.0, 60 * 20 * 10));
        assert!(rows <= History::ROWS, "{rows}");
        let longest = history.iter().map(|it| it.seconds).fold(0.0, f64::max);
        assert!(longest <= 4.0 * 3600.0 / history.0.len() as f64, "{longest}");
    }

    #[test]
    fn windows_of_other_replicas_are_not_merged() {
        let mut history = History::default();
        for i in 0..100 {
            history.push(window(10.0, if i % 2 == 0 { &[1; 3] } else { &[1; 2] }));
        }
        assert!(history.iter().all(|it| it.seconds == 10.0));
    }

    #[test]
    fn latencies_of_other_bounds_are_left_out() {
        let it = window(10.0, &[3, 4]);
        let each = vec![vec![3, 3], vec![4, 4]];
        assert_eq!(it.latency(&[0.1]), Some(OfPods::Histograms { bounds: vec![0.1], each }));
        assert_eq!(it.latency(&[0.1, 0.2]), None);
        assert_eq!(window(10.0, &[0, 0]).latency(&[0.1]), None);
    }
}
