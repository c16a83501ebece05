//! What was before: what became of revisions, and how attempts ended.

use strategies::{Cause, Ended, Next, Revision, Status};

use crate::{
    api::view::{DocumentChange, RevisionState},
    engine::DecisionRecord,
};

/// What a revision is now.
#[must_use]
pub fn state_of(revision: &Revision, status: Option<&Status>) -> RevisionState {
    let Some(status) = status else { return RevisionState::Unused };
    if status.stable.as_ref() == Some(revision) {
        RevisionState::Stable
    } else if status.is_refused(revision) {
        RevisionState::Refused
    } else if status.canary.as_ref() == Some(revision) {
        RevisionState::Canary
    } else if promoted(revision, Some(status)).is_some() {
        RevisionState::Former
    } else {
        RevisionState::Unused
    }
}

/// When a revision became stable last.
#[must_use]
pub fn promoted(revision: &Revision, status: Option<&Status>) -> Option<jiff::Timestamp> {
    status?.recent.iter().find(|it| it.revision == *revision).map(|it| it.at)
}

/// Why a revision was turned back before, if it was.
#[must_use]
pub fn refused(revision: &Revision, status: Option<&Status>) -> Option<Cause> {
    status?.refused.iter().find(|it| it.revision == *revision).map(|it| it.cause.clone())
}

/// The attempt that a change leads to, if it leads to one: going back to stable and wanting a refused revision again lead
/// to none. While the first revision is brought up nothing is remembered yet (`None`); another one is the first attempt,
/// or takes its place without one.
#[must_use]
pub fn next_attempt(status: Option<&Status>, change: DocumentChange, revision: &Revision) -> u32 {
    let goes_back = |it: &Status| it.stable.as_ref() == Some(revision) || it.is_refused(revision);
    let begins = match change {
        DocumentChange::NewRevision => !status.is_some_and(goes_back),
        DocumentChange::Created | DocumentChange::Unchanged | DocumentChange::NewPlan => false,
    };
    status.map_or(0, |it| it.attempt) + u32::from(begins)
}

/// What `undo` goes back to: in mid-rollout to stable, else to the stable revision before.
#[must_use]
pub fn former(status: &Status, wanted: &Revision) -> Option<Revision> {
    let stable = status.stable.clone()?;
    if stable != *wanted {
        return Some(stable);
    }
    status.recent.iter().rev().map(|it| &it.revision).find(|it| **it != stable).cloned()
}

/// The ends of attempts, latest first, as the recorded decisions and the present status tell.
#[must_use]
pub fn attempts(recorded: impl Iterator<Item = DecisionRecord>, status: Option<&Status>) -> Vec<Ended> {
    let mut ended: Vec<Ended> = vec![];
    let saved = recorded.filter_map(|it| match it.next {
        Next::Save(status) => status.last,
        Next::Rest | Next::Write(_) => None,
    });
    for it in saved.chain(status.and_then(|it| it.last.clone())) {
        if !ended.iter().any(|known| (known.attempt, known.at) == (it.attempt, it.at)) {
            ended.push(it);
        }
    }
    ended.reverse();
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: Option<&Status>, change: DocumentChange, expected: u32) {
        assert_eq!(next_attempt(status, change, &"b".into()), expected, "{change:?} {status:?}");
    }

    #[test]
    fn a_new_revision_is_the_next_attempt_also_before_anything_is_remembered() {
        check(None, DocumentChange::Created, 0);
        check(None, DocumentChange::NewPlan, 0);
        check(None, DocumentChange::NewRevision, 1);
        let mut status = Status::new(jiff::Timestamp::UNIX_EPOCH);
        check(Some(&status), DocumentChange::NewRevision, 1);
        (status.attempt, status.stable) = (4, Some("a".into()));
        check(Some(&status), DocumentChange::NewRevision, 5);
        check(Some(&status), DocumentChange::Unchanged, 4);
        status.stable = Some("b".into());
        check(Some(&status), DocumentChange::NewRevision, 4);
    }
}
