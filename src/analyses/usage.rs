//! What the processes of an arm use: memory and processor time, and what they have grown by between two looks.

use std::collections::BTreeMap;

use analysis::poll::Grown;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use strategies::{Name, Revision};

use super::counted::PodHealth;

/// How old a process must be before its growth counts: a start is no leak.
const OF_AGE: SignedDuration = SignedDuration::from_mins(1);

/// The processes as they were at the last look.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UsageBook {
    looked: Option<Timestamp>,
    #[serde(with = "super::pairs")]
    last: BTreeMap<(Revision, Name), Note>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    /// When this run of the process was seen first.
    since: Timestamp,
    restarts: u64,
    memory: u64,
    cpu_ms: u64,
}

/// What was used between two looks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Used {
    /// When the earlier look was.
    pub(super) since: Timestamp,
    by_revision: BTreeMap<Revision, OfArm>,
}

/// What the processes of one revision use.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct OfArm {
    /// Memory of those that are of age.
    pub(super) grown: Grown,
    /// Memory of each. Bytes.
    pub(super) memory: Vec<f64>,
    /// Processors that each kept busy.
    pub(super) cpu: Vec<f64>,
}

impl UsageBook {
    /// Takes a look, at `now`. `None` where nobody looked, and after the first look: there is nothing to compare with.
    pub(super) fn look(&mut self, pods: &[PodHealth], now: Timestamp) -> Option<Used> {
        if pods.iter().all(|it| it.usage.is_none()) {
            return None;
        }
        let passed = self.looked.replace(now).map(|since| (since, now.duration_since(since).as_secs_f64()));
        let before = std::mem::take(&mut self.last);
        let mut by_revision: BTreeMap<Revision, OfArm> = BTreeMap::new();
        for pod in pods.iter().filter(|it| !it.leaving) {
            let Some(usage) = pod.usage else { continue };
            let key = (pod.revision.clone(), pod.pod.clone());
            let known = before.get(&key).filter(|it| it.restarts == pod.restarts);
            let since = known.map_or(now, |it| it.since);
            let note = Note { since, restarts: pod.restarts, memory: usage.memory, cpu_ms: usage.cpu_ms };
            self.last.insert(key, note);
            let arm = by_revision.entry(pod.revision.clone()).or_default();
            arm.memory.push(usage.memory as f64);
            let Some((known, (_, seconds))) = known.zip(passed) else { continue };
            arm.cpu.push(usage.cpu_ms.saturating_sub(known.cpu_ms) as f64 / 1000.0 / seconds.max(0.001));
            if OF_AGE <= now.duration_since(since) {
                arm.grown.processes += 1;
                arm.grown.level += usage.memory as f64;
                arm.grown.grown += usage.memory as f64 - known.memory as f64;
            }
        }
        for it in by_revision.values_mut() {
            let processes = f64::from(it.grown.processes.max(1));
            (it.grown.level, it.grown.grown) = (it.grown.level / processes, it.grown.grown / processes);
        }
        passed.map(|(since, _)| Used { since, by_revision })
    }
}

impl Used {
    pub(super) fn of(&self, revision: Option<&Revision>) -> OfArm {
        revision.and_then(|it| self.by_revision.get(it)).cloned().unwrap_or_default()
    }
}

impl OfArm {
    /// Adds what a later look brought: growth adds up, the state is the later one.
    pub(super) fn add(&mut self, later: Self) {
        let grown = self.grown.grown + later.grown.grown;
        *self = Self { grown: Grown { grown, ..later.grown }, ..later };
    }
}

#[cfg(test)]
mod tests {
    use super::{super::counted::Usage, *};

    fn pod(name: &str, restarts: u64, memory: u64) -> PodHealth {
        PodHealth {
            revision: "v2".into(),
            pod: name.into(),
            ready: true,
            leaving: false,
            restarts,
            oom_kills: 0,
            crash_looping: false,
            usage: Some(Usage { memory, cpu_ms: memory }),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn growth_is_of_the_same_run_of_a_process_that_is_of_age() {
        let mut book = UsageBook::default();
        let mut look =
            |second, pods: &[PodHealth]| book.look(pods, at(second)).map(|it| it.of(Some(&"v2".into())));
        assert_eq!(look(0, &[pod("0", 0, 100), pod("1", 0, 100)]), None);
        let young = look(30, &[pod("0", 0, 900), pod("1", 0, 100)]).unwrap();
        assert_eq!((young.grown.processes, young.memory), (0, vec![900.0, 100.0]));
        let old = look(60, &[pod("0", 0, 1000), pod("1", 0, 300)]).unwrap();
        assert_eq!(old.grown, Grown { processes: 2, level: 650.0, grown: 150.0 });
        let again = look(70, &[pod("0", 1, 10), pod("1", 0, 310), pod("2", 0, 5000)]).unwrap();
        assert_eq!(
            again.grown,
            Grown { processes: 1, level: 310.0, grown: 10.0 },
            "a restart is another process"
        );
    }

    #[test]
    fn unread_usage_is_no_look() {
        let mut book = UsageBook::default();
        book.look(&[pod("0", 0, 100)], at(0));
        let unread = PodHealth { usage: None, ..pod("0", 0, 0) };
        assert_eq!(book.look(&[unread], at(10)), None);
        assert_eq!(book.look(&[pod("0", 0, 100)], at(20)).unwrap().since, at(0));
    }

    #[test]
    fn processor_time_is_per_second() {
        let mut book = UsageBook::default();
        book.look(&[pod("0", 0, 1000)], at(0));
        let used = book.look(&[pod("0", 0, 6000)], at(10)).unwrap();
        assert_eq!(used.of(Some(&"v2".into())).cpu, [0.5]);
    }
}
