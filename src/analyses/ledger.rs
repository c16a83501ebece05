//! Counters that only rise become counts of intervals, once each, whatever restarts, repeats or is missed.

use std::{collections::BTreeMap, time::Duration};

use analysis::Answers;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use strategies::{Arm, Name, Revision};

use super::counted::{Counted, Routed, Series};

/// A counter that was not read for so long is forgotten; if it comes back, it begins anew.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// What is known of every counter after its last reading.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    read: Option<Timestamp>,
    #[serde(with = "super::pairs")]
    last: BTreeMap<(Name, Name), Reading>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reading {
    at: Timestamp,
    up: Duration,
    #[serde(with = "super::pairs")]
    series: BTreeMap<Key, Requests>,
}

/// Which requests are counted together.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase", from = "StoredKey")]
pub struct Key {
    /// Where they came in.
    pub entry: Name,
    /// Where they went.
    pub arm: Arm,
    /// Why they went there.
    pub routed: Routed,
}

/// Earlier versions named an arm by what the proxy calls it.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredKey {
    Record { entry: Name, arm: Arm, routed: Routed },
    Named(Name, Name, Routed),
}

impl From<StoredKey> for Key {
    fn from(stored: StoredKey) -> Self {
        match stored {
            StoredKey::Record { entry, arm, routed } => Self { entry, arm, routed },
            StoredKey::Named(entry, arm, routed) => {
                let arm = match arm.as_str().strip_suffix(" (baseline)") {
                    Some(revision) => Arm::baseline(revision.into()),
                    None => Arm::main(Revision::from(arm.as_str())),
                };
                Self { entry, arm, routed }
            }
        }
    }
}

/// Requests of an interval, or of several together.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Begun.
    pub begun: u64,
    /// Ended.
    pub ended: u64,
    /// Of these, badly.
    pub failed: u64,
    /// Ended ones by how long they took: one count per bucket, not cumulative.
    pub latency: Vec<u64>,
    /// Ended ones by what their answers meant.
    #[serde(default)]
    pub answers: Answers,
}

/// What one counter counted between two readings.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// When the earlier reading was asked for, or the counter began; `None`: it began before anybody looked, so that
    /// nobody can place in time what it counted.
    pub since: Option<Timestamp>,
    /// By entry, arm and way of routing.
    pub counts: BTreeMap<Key, Requests>,
}

impl Ledger {
    /// Takes one reading of every counter that answered, asked for at `now`, and says what each has counted since
    /// its last reading. The order of `counted` does not matter, and one that comes twice counts once.
    ///
    /// A counter that is new counts from zero. What it counted can be placed in time only if it began after the last
    /// reading of any.
    pub fn take(&mut self, counted: &[Counted], now: Timestamp) -> Vec<Interval> {
        let mut latest: BTreeMap<(Name, Name), &Counted> = BTreeMap::new();
        for it in counted {
            let known = latest.entry((it.source.clone(), it.start.clone())).or_insert(it);
            if known.up < it.up {
                *known = it;
            }
        }
        let before = self.read.replace(now);
        let intervals =
            latest.into_iter().filter_map(|(key, it)| self.interval(key, it, before, now)).collect();
        self.last.retain(|_, it| now.duration_since(it.at) < FORGOTTEN_AFTER);
        intervals
    }

    fn interval(
        &mut self,
        key: (Name, Name),
        counted: &Counted,
        before: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Interval> {
        let series = totals(&counted.series);
        let Some(last) = self.last.get_mut(&key) else {
            let began = now.checked_sub(counted.up).unwrap_or(Timestamp::MIN);
            let from_zero = before.is_some_and(|before| before <= began);
            let interval = Interval { since: from_zero.then_some(began), counts: series.clone() };
            self.last.insert(key, Reading { at: now, up: counted.up, series });
            return Some(interval);
        };
        if counted.up <= last.up {
            return None;
        }
        let since = last.at;
        let grown = series.iter().filter_map(|(key, now)| {
            let grown = last.series.get(key).map_or_else(|| Some(now.clone()), |before| now.since(before));
            grown.map(|grown| (key.clone(), grown))
        });
        let counts = grown.collect();
        *last = Reading { at: now, up: counted.up, series };
        Some(Interval { since: Some(since), counts })
    }
}

fn totals(series: &[Series]) -> BTreeMap<Key, Requests> {
    let mut totals: BTreeMap<_, Requests> = BTreeMap::new();
    for it in series {
        let tally = Requests {
            begun: it.begun,
            ended: it.ended,
            failed: it.failed,
            latency: it.latency.clone(),
            answers: it.answers,
        };
        let key = Key { entry: it.entry.clone(), arm: it.arm.clone(), routed: it.routed };
        totals.entry(key).or_default().add(&tally);
    }
    totals
}

impl Interval {
    /// Requests to `arm` that were routed so, over all entries.
    pub(super) fn of(&self, arm: &Arm, routed: Routed) -> Requests {
        let mut sum = Requests::default();
        for (key, tally) in &self.counts {
            if key.arm == *arm && key.routed == routed {
                sum.add(tally);
            }
        }
        sum
    }
}

impl Requests {
    pub(super) fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        self.ended += other.ended;
        self.failed += other.failed;
        self.answers.add(&other.answers);
        if self.latency.len() < other.latency.len() {
            self.latency.resize(other.latency.len(), 0);
        }
        for (sum, count) in self.latency.iter_mut().zip(&other.latency) {
            *sum += count;
        }
    }

    /// What came on top of `before`; `None` where a count fell, so that nothing can be said.
    fn since(&self, before: &Self) -> Option<Self> {
        if self.latency.len() != before.latency.len() {
            return None;
        }
        let latency = self.latency.iter().zip(&before.latency).map(|(now, before)| now.checked_sub(*before));
        Some(Self {
            begun: self.begun.checked_sub(before.begun)?,
            ended: self.ended.checked_sub(before.ended)?,
            failed: self.failed.checked_sub(before.failed)?,
            latency: latency.collect::<Option<_>>()?,
            answers: self.answers.since(&before.answers)?,
        })
    }

    /// Cumulative counts, the last of which is all of them.
    pub(super) fn cumulative(&self) -> Vec<u64> {
        let running = |sum: &mut u64, count: &u64| {
            *sum += count;
            Some(*sum)
        };
        self.latency.iter().scan(0, running).collect()
    }

    /// Whether about as many requests ended as began: then those that ended tell how many were assigned.
    pub(super) fn is_steady(&self) -> bool {
        self.begun.abs_diff(self.ended) <= 2 + self.ended / 20
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn counted(source: &str, start: &str, up: u64, ended: u64) -> Counted {
        let series = Series {
            entry: "web".into(),
            arm: Arm::main("v1".into()),
            routed: Routed::Weight,
            begun: ended,
            ended,
            failed: ended / 10,
            latency: vec![ended, 0],
            answers: Answers::default(),
        };
        Counted {
            source: source.into(),
            start: start.into(),
            up: Duration::from_secs(up),
            bounds: Arc::from([0.1]),
            series: vec![series],
            replicas: vec![],
        }
    }

    /// Requests that all readings together counted.
    #[track_caller]
    fn check(readings: &[&[Counted]], expected: u64) {
        let mut ledger = Ledger::default();
        let mut sum = 0;
        for (second, reading) in readings.iter().enumerate() {
            let intervals = ledger.take(reading, at(100 + second as i64));
            for interval in intervals.iter().filter(|it| it.since.is_some()) {
                sum += interval.counts.values().map(|it| it.ended).sum::<u64>();
            }
        }
        assert_eq!(sum, expected);
    }

    #[test]
    fn arms_that_earlier_versions_named_are_known_again() {
        let stored = |arm: &str| format!(r#"["web", "{arm}", "weight"]"#);
        let key = |arm| Key { entry: "web".into(), arm, routed: Routed::Weight };
        for arm in [Arm::main("v1".into()), Arm::baseline("v1".into())] {
            assert_eq!(serde_json::from_str::<Key>(&stored(&arm.to_string())).unwrap(), key(arm.clone()));
            let written = serde_json::to_string(&key(arm.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Key>(&written).unwrap(), key(arm));
        }
    }

    #[test]
    fn what_was_counted_before_the_first_reading_cannot_be_placed() {
        check(&[&[counted("w0", "a", 50, 1000)]], 0);
        check(&[&[counted("w0", "a", 50, 1000)], &[counted("w0", "a", 51, 1100)]], 100);
    }

    #[test]
    fn a_restarted_counter_counts_from_zero() {
        check(&[&[counted("w0", "a", 50, 1000)], &[counted("w0", "b", 1, 7)]], 7);
        check(
            &[&[counted("w0", "a", 50, 1000)], &[counted("w0", "a", 51, 1010), counted("w0", "b", 1, 7)]],
            17,
        );
    }

    #[test]
    fn a_counter_that_began_before_the_last_reading_and_is_new_cannot_be_placed() {
        check(&[&[counted("w0", "a", 50, 1000)], &[counted("w1", "a", 40, 900)]], 0);
    }

    #[test]
    fn a_doubled_a_late_or_a_missing_reading_moves_nothing() {
        let w = |up, ended| counted("w0", "a", up, ended);
        check(&[&[w(50, 1000), w(50, 1000)], &[w(51, 1100), w(51, 1100)]], 100);
        check(&[&[w(50, 1000)], &[w(51, 1100)], &[w(51, 1100)], &[w(52, 1200)]], 200);
        check(&[&[w(50, 1000)], &[w(52, 1200)], &[w(51, 1100)], &[w(53, 1300)]], 300);
        check(&[&[w(50, 1000)], &[], &[], &[w(53, 1300)]], 300);
        check(&[&[w(50, 1000)], &[w(52, 1200), w(51, 1100)]], 200);
    }

    #[test]
    fn a_count_that_falls_says_nothing_and_is_the_base_of_the_next() {
        let w = |up, ended| counted("w0", "a", up, ended);
        check(&[&[w(50, 1000)], &[w(51, 400)], &[w(52, 450)]], 50);
    }
}
