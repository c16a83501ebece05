//! What a dead machine has written down, and whether it holds together.

use serinus::{
    engine::{DecisionRecord, Replayed, Replayer},
    local::store::Store,
};
use strategies::{
    Next, Status, decide,
    invariants::{Violation, check_decision},
};

use crate::rig::SHOP;

/// Saves that are merged into one decision, at most.
const MOST_MERGED: usize = 64;

/// What was checked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked {
    /// Decisions that were decided again, in the same way, and break no invariant.
    pub(crate) decisions: usize,
    /// Of those, the ones that saved a status.
    pub(crate) saves: usize,
}

/// Checks the whole journal: no record is missing or altered; every decision is decided the same way again; it breaks
/// no invariant; and whoever made it went on from exactly the status that was saved last.
pub(crate) fn check(store: &Store) -> Checked {
    store.check_journal().unwrap();
    let mut replayer = Replayer::default();
    let mut checked = Checked::default();
    let mut saved: Option<Status> = None;
    for record in store.journal(Some(SHOP), 0, u32::MAX).unwrap() {
        if record.kind != "decision" {
            continue;
        }
        let place = format!("record {}", record.sequence);
        let decision: DecisionRecord = record.decode().unwrap();
        let replayed = replayer.take(&decision).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(replayed.today(), replayed.decided, "{place}: decided otherwise today");
        if let Some(saved) = &saved {
            assert_eq!(&replayed.status, saved, "{place}: it did not go on from what was saved last");
        }
        let broken = broken(&replayed);
        assert!(broken.is_empty(), "{place}: {broken:#?}\n{replayed:#?}");
        checked.decisions += 1;
        if let Next::Save(next) = replayed.decided.next {
            checked.saves += 1;
            saved = Some(*next);
        }
    }
    let stored = store.status::<Status>(SHOP).unwrap().map(|it| it.status);
    assert_eq!(stored, saved, "the journal does not end with the status that is stored");
    checked
}

/// Merged saves are looked at one by one: each has to be right by itself.
fn broken(replayed: &Replayed) -> Vec<Violation> {
    let Replayed { plan, status, orders, world, now, decided: _ } = replayed;
    let mut present = status.clone();
    for _ in 0..MOST_MERGED {
        let decision = decide(plan, &present, orders, world, *now);
        let broken = check_decision(plan, &present, orders, world, &decision, *now);
        match decision.next {
            Next::Save(next) if broken.is_empty() => present = *next,
            Next::Save(_) | Next::Rest | Next::Write(_) => return broken,
        }
    }
    vec![]
}
