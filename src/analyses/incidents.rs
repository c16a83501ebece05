//! What happened to the pods between two looks.

use std::collections::BTreeMap;

use analysis::PodsSeen;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strategies::{Name, Revision};

use super::counted::PodHealth;

/// The pods as they were at the last look.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodBook {
    looked: Option<Timestamp>,
    #[serde(with = "super::pairs")]
    last: BTreeMap<(Revision, Name), PodNote>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodNote {
    ready: bool,
    restarts: u64,
    oom_kills: u64,
}

/// What happened to the pods of each revision between two looks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Incidents {
    /// When the earlier look was.
    pub(super) since: Timestamp,
    by_revision: BTreeMap<Revision, PodsSeen>,
}

impl PodBook {
    /// Takes a look, at `now`. `None` after the first one: there is nothing to compare with.
    pub(super) fn look(&mut self, pods: &[PodHealth], now: Timestamp) -> Option<Incidents> {
        let mut by_revision: BTreeMap<Revision, PodsSeen> = BTreeMap::new();
        let mut last = BTreeMap::new();
        for pod in pods {
            let key = (pod.revision.clone(), pod.pod.clone());
            let before = self.last.get(&key).copied();
            let seen = by_revision.entry(pod.revision.clone()).or_default();
            seen.restarts += grown(pod.restarts, before.map(|it| it.restarts));
            seen.oom_kills += grown(pod.oom_kills, before.map(|it| it.oom_kills));
            if !pod.leaving {
                seen.desired += 1;
                seen.ready += u32::from(pod.ready);
                seen.crash_looping += u32::from(pod.crash_looping);
                seen.readiness_lost += u32::from(before.is_some_and(|it| it.ready) && !pod.ready);
            }
            last.insert(key, PodNote { ready: pod.ready, restarts: pod.restarts, oom_kills: pod.oom_kills });
        }
        self.last = last;
        self.looked.replace(now).map(|since| Incidents { since, by_revision })
    }
}

/// A pod that is new, or was made anew under its name, counts from zero.
fn grown(now: u64, before: Option<u64>) -> u32 {
    let grown = before.and_then(|before| now.checked_sub(before)).unwrap_or(now);
    u32::try_from(grown).unwrap_or(u32::MAX)
}

impl Incidents {
    pub(super) fn of(&self, revision: Option<&Revision>) -> PodsSeen {
        revision.and_then(|it| self.by_revision.get(it)).copied().unwrap_or_default()
    }
}

/// Two looks as one: incidents add up, the state is the later one.
pub(super) fn add(sum: &mut PodsSeen, later: PodsSeen) {
    let PodsSeen { desired, ready, restarts, oom_kills, readiness_lost, crash_looping } = later;
    *sum = PodsSeen {
        desired,
        ready,
        restarts: sum.restarts.saturating_add(restarts),
        oom_kills: sum.oom_kills.saturating_add(oom_kills),
        readiness_lost: sum.readiness_lost.saturating_add(readiness_lost),
        crash_looping,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, ready: bool, restarts: u64) -> PodHealth {
        PodHealth {
            revision: "v2".into(),
            pod: name.into(),
            ready,
            leaving: false,
            restarts,
            oom_kills: 0,
            crash_looping: false,
            usage: None,
        }
    }

    #[track_caller]
    fn check(before: &[PodHealth], after: &[PodHealth], restarts: u32, readiness_lost: u32) {
        let mut book = PodBook::default();
        assert_eq!(book.look(before, Timestamp::UNIX_EPOCH), None);
        let seen = book.look(after, Timestamp::UNIX_EPOCH).unwrap().of(Some(&"v2".into()));
        assert_eq!((seen.restarts, seen.readiness_lost), (restarts, readiness_lost));
    }

    #[test]
    fn incidents_count_once_and_from_zero_for_a_new_pod() {
        check(&[pod("0", true, 3)], &[pod("0", true, 3)], 0, 0);
        check(&[pod("0", true, 3)], &[pod("0", false, 4)], 1, 1);
        check(&[pod("0", true, 3)], &[pod("0", true, 3), pod("1", true, 2)], 2, 0);
        check(&[pod("0", true, 3)], &[pod("0", true, 1)], 1, 0);
    }

    #[test]
    fn a_pod_that_was_asked_to_leave_may_lose_its_readiness() {
        let mut leaving = pod("0", false, 3);
        leaving.leaving = true;
        check(&[pod("0", true, 3)], &[leaving], 0, 0);
        check(&[pod("0", true, 3)], &[], 0, 0);
    }
}
