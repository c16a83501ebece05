//! Whether what is waited for is over, and how it ended. Pure.

use serde::{Deserialize, Serialize};
use strategies::{End, Hold, Revision, Verdict};

use super::{exit::Exit, words};
use crate::api::view::{PhaseName, RolloutView};

/// How what was waited for ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Ending {
    /// It is stable now.
    Promoted,
    /// It was turned back, by evidence, by a deadline, or by order.
    RolledBack,
    /// It stands still: an analysis found nothing out, or could not measure.
    Inconclusive,
    /// It stands still: a deadline passed, or an analysis failed where the plan says to pause then.
    Paused,
    /// Another revision took its place.
    Superseded,
    /// It was not over when waiting ended.
    Unfinished,
}

impl Ending {
    /// The exit code that says so.
    #[must_use]
    pub(super) fn exit(self) -> Exit {
        match self {
            Self::Promoted => Exit::Done,
            Self::RolledBack => Exit::RolledBack,
            Self::Inconclusive | Self::Paused => Exit::Undecided,
            Self::Superseded => Exit::Superseded,
            Self::Unfinished => Exit::TimedOut,
        }
    }
}

/// What is waited for: this revision in this attempt, or as stable without one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Awaited {
    /// The revision.
    pub(super) revision: Option<Revision>,
    /// The attempt; there may never be one with this number, where the revision is, or becomes, stable without.
    pub(super) attempt: u32,
    /// The document that asks for it, counted as views count them: a view of an earlier one says nothing about it.
    pub(super) generation: u64,
}

impl Awaited {
    /// What this rollout is on the way to.
    #[must_use]
    pub(super) fn by(view: &RolloutView) -> Self {
        let under_way = view.phase.is_moving() && view.phase != PhaseName::Adopting;
        let on_trial = under_way && view.canary == view.wanted;
        let committed = view.phase == PhaseName::Promoting && view.stable == view.wanted;
        let attempt = if on_trial || committed { view.attempt } else { view.attempt.saturating_add(1) };
        Self { revision: view.wanted.clone(), attempt, generation: view.generation }
    }

    /// How it ended and why; `None`: it has not.
    #[must_use]
    pub(super) fn ended(&self, view: &RolloutView) -> Option<(Ending, String)> {
        if view.generation < self.generation {
            return None;
        }
        if let Some(last) = &view.last
            && last.attempt >= self.attempt
        {
            if last.attempt > self.attempt {
                return Some((Ending::Superseded, "another attempt has ended since".to_owned()));
            }
            let ending = match &last.end {
                // What is left of the old revision still goes.
                End::Promoted if view.phase == PhaseName::Promoting => return None,
                End::Promoted => Ending::Promoted,
                End::RolledBack(_) => Ending::RolledBack,
                End::Superseded { .. } => Ending::Superseded,
            };
            return Some((ending, words::end(last)));
        }
        // The first revision is brought up without an attempt, and is not one to be waited for.
        if self.attempt > 0 && view.attempt >= self.attempt {
            return view.hold.as_ref().and_then(held);
        }
        self.ended_without_attempt(view)
    }

    fn ended_without_attempt(&self, view: &RolloutView) -> Option<(Ending, String)> {
        if view.wanted != self.revision && view.wanted.is_some() {
            return Some((Ending::Superseded, "another revision is wanted now".to_owned()));
        }
        match view.phase {
            PhaseName::Idle if view.stable.is_some() && view.stable == self.revision => {
                Some((Ending::Promoted, "it serves; nothing had to be tried".to_owned()))
            }
            PhaseName::RolledBack if view.canary == self.revision => {
                let why = view.cause.as_ref().map(words::cause).unwrap_or_default();
                Some((
                    Ending::RolledBack,
                    format!("it was rolled back before ({why}); `serinus retry` tries it again"),
                ))
            }
            PhaseName::Left => Some((Ending::RolledBack, "the rollout is deleted".to_owned())),
            PhaseName::Adopting
            | PhaseName::Idle
            | PhaseName::Stepping
            | PhaseName::Promoting
            | PhaseName::Aborting
            | PhaseName::RolledBack
            | PhaseName::Leaving => None,
        }
    }
}

/// Standing still is an end for whoever waits, unless a person wanted it.
fn held(hold: &Hold) -> Option<(Ending, String)> {
    let ending = match hold {
        Hold::Ordered { .. } => return None,
        Hold::ProgressDeadline => Ending::Paused,
        Hold::Verdict { verdict, .. } => match verdict {
            Verdict::Inconclusive | Verdict::Error => Ending::Inconclusive,
            Verdict::Pending | Verdict::Pass | Verdict::Fail => Ending::Paused,
        },
    };
    Some((ending, words::hold(hold)))
}

#[cfg(test)]
mod tests {
    use strategies::{ActivityId, Cause, Ended, Name, Window};

    use super::*;
    use crate::cli::testing::view;

    fn last(attempt: u32, end: End) -> Option<Ended> {
        Some(Ended { revision: "b".into(), attempt, end, at: jiff::Timestamp::UNIX_EPOCH })
    }

    #[track_caller]
    fn check(awaited: u32, change: impl FnOnce(&mut RolloutView), expected: Option<Ending>) {
        let mut view = view();
        change(&mut view);
        let awaited = Awaited { revision: Some("b".into()), attempt: awaited, generation: 2 };
        assert_eq!(awaited.ended(&view).map(|it| it.0), expected);
    }

    #[test]
    fn an_attempt_ends_as_it_is_remembered() {
        check(1, |_| {}, None);
        check(
            1,
            |it| (it.last, it.phase) = (last(1, End::Promoted), PhaseName::Idle),
            Some(Ending::Promoted),
        );
        check(1, |it| (it.last, it.phase) = (last(1, End::Promoted), PhaseName::Promoting), None);
        check(1, |it| it.last = last(1, End::RolledBack(Cause::ProgressDeadline)), Some(Ending::RolledBack));
        check(1, |it| it.last = last(1, End::Superseded { by: "c".into() }), Some(Ending::Superseded));
        check(1, |it| it.last = last(2, End::Promoted), Some(Ending::Superseded));
        check(2, |it| it.last = last(1, End::Promoted), None);
    }

    #[test]
    fn standing_still_ends_waiting_unless_a_person_ordered_it() {
        let id = ActivityId {
            attempt: 1,
            revision: "b".into(),
            window: Window::Step("five".into()),
            name: "golden".into(),
            again: 0,
        };
        let verdict = |verdict| Some(Hold::Verdict { id: id.clone(), verdict });
        check(1, |it| it.hold = verdict(Verdict::Inconclusive), Some(Ending::Inconclusive));
        check(1, |it| it.hold = verdict(Verdict::Error), Some(Ending::Inconclusive));
        check(1, |it| it.hold = verdict(Verdict::Fail), Some(Ending::Paused));
        check(1, |it| it.hold = Some(Hold::ProgressDeadline), Some(Ending::Paused));
        check(1, |it| it.hold = Some(Hold::Ordered { by: Name::from("ada") }), None);
    }

    #[test]
    fn what_needs_no_attempt_ends_without_one() {
        let idle = |stable: &str| {
            let stable = stable.to_owned();
            move |it: &mut RolloutView| {
                (it.phase, it.attempt, it.stable) = (PhaseName::Idle, 0, Some(stable.as_str().into()));
            }
        };
        check(1, idle("b"), Some(Ending::Promoted));
        check(1, idle("a"), None);
        check(2, |it| it.phase = PhaseName::RolledBack, Some(Ending::RolledBack));
        check(2, |it| it.wanted = Some("c".into()), Some(Ending::Superseded));
    }

    #[test]
    fn a_view_of_the_document_before_ends_nothing() {
        check(
            2,
            |it| (it.generation, it.attempt, it.wanted, it.phase) = (1, 0, Some("a".into()), PhaseName::Idle),
            None,
        );
        check(2, |it| (it.attempt, it.wanted) = (0, Some("c".into())), Some(Ending::Superseded));
    }

    #[test]
    fn a_wait_is_for_the_attempt_under_way_or_else_for_the_next() {
        let mut view = view();
        assert_eq!(Awaited::by(&view).attempt, 1, "the one on trial is the wanted one");
        view.wanted = Some("c".into());
        assert_eq!(Awaited::by(&view).attempt, 2, "another one is wanted");
        view.phase = PhaseName::Idle;
        assert_eq!(Awaited::by(&view).attempt, 2, "it has not begun");
    }
}
