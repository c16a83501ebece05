//! What the replicas on trial fail of, kept until the next attempt, because a process that was turned back is gone when
//! somebody asks why.

use std::path::PathBuf;

use jiff::Timestamp;
use strategies::{Arm, Phase, Revision, Status};

use super::environment::Environment;
use crate::api::view::FailureView;

/// How the replicas of an arm do.
#[derive(Clone, Debug, PartialEq)]
pub enum Trial {
    /// Nothing of it is there yet.
    Absent,
    /// One of them fails.
    Fails(Failed),
    /// None of them fails.
    Well {
        /// Whether all are ready.
        ready: bool,
    },
}

/// What one replica fails of.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// What, in one sentence, and what to do.
    pub because: String,
    /// When.
    pub at: Timestamp,
    /// Whether it ended; else it runs and is not ready.
    pub ended: bool,
    /// The last lines it printed, oldest first.
    pub said: Vec<String>,
    /// The file with all that it printed.
    pub log: Option<PathBuf>,
}

/// Whether something is known that was not before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Learnt {
    Nothing,
    Another,
}

/// Takes up what the replicas on trial say now.
pub(super) fn note(
    known: &mut Option<FailureView>,
    status: &Status,
    wanted: &Revision,
    environment: &impl Environment,
) -> Learnt {
    known.take_if(|it| it.attempt != status.attempt);
    let Some(revision) = on_trial(status, wanted) else { return Learnt::Nothing };
    match environment.trial(&Arm::main(revision.clone())) {
        Trial::Absent => Learnt::Nothing,
        Trial::Fails(failed) => {
            let failure = of(failed, revision, status.attempt);
            let same = |it: &FailureView| it.because == failure.because && it.revision == failure.revision;
            if known.as_ref().is_some_and(same) {
                return Learnt::Nothing;
            }
            *known = Some(failure);
            Learnt::Another
        }
        // It got ready after all; that it ended once stays worth knowing.
        Trial::Well { ready } => {
            known.take_if(|it| ready && !it.ended);
            Learnt::Nothing
        }
    }
}

fn of(failed: Failed, revision: Revision, attempt: u32) -> FailureView {
    let Failed { because, at, ended, said, log } = failed;
    FailureView { revision, attempt, at, because, ended, said, log }
}

/// The revision whose replicas have to get, or to stay, ready.
fn on_trial(status: &Status, wanted: &Revision) -> Option<Revision> {
    match status.phase {
        Phase::Stepping { .. } => status.canary.clone(),
        Phase::Adopting => Some(status.canary.clone().unwrap_or_else(|| wanted.clone())),
        Phase::Idle
        | Phase::Promoting
        | Phase::Aborting { .. }
        | Phase::RolledBack { .. }
        | Phase::Leaving
        | Phase::Left => None,
    }
}
