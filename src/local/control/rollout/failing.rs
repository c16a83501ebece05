//! What the replicas on trial fail of, with the last words of their processes: kept until the next attempt, because a
//! process that was turned back is gone when somebody asks why.

use jiff::{SignedDuration, Timestamp};
use strategies::{Arm, Phase, Revision, Status};

use super::{Replica, Rollout};
use crate::{api::view::FailureView, clock, local::supervisor::protocol::ProcessState};

/// How long a replica that runs may take to get ready before that is worth a word.
const STARTS_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// What to do about a file that a process looks for in its own copy.
const NOT_COPIED: &str = "; it looks beside its copy: only the program and what `files:` lists is copied";

impl Rollout {
    /// Takes up what the replicas on trial say now.
    pub(super) fn note_failure(&mut self) {
        let trial = on_trial(&self.status, &self.wanted);
        if self.failure.as_ref().is_some_and(|it| it.attempt != self.status.attempt) {
            self.failure = None;
        }
        let Some(revision) = trial else { return };
        let replicas = self.ports.outside.replicas_of(&Arm::main(revision.clone()));
        let copy = format!("/revisions/{}/{revision}/", self.name);
        let said = (!replicas.is_empty()).then(|| replicas.iter().find_map(|it| of(it, clock::now())));
        match said {
            // Nothing of it is there yet.
            None => {}
            Some(Some(found)) => {
                let mut failure = found.view(revision, self.status.attempt);
                if failure.because.contains(&copy) || failure.said.iter().any(|it| it.contains(&copy)) {
                    failure.because.push_str(NOT_COPIED);
                }
                let same =
                    |it: &FailureView| it.because == failure.because && it.revision == failure.revision;
                if self.failure.as_ref().is_none_or(|it| !same(it)) {
                    self.failure = Some(failure);
                    // It is worth more than the next few seconds of evidence.
                    self.stored = None;
                }
            }
            // It got ready after all; that it ended once stays worth knowing.
            Some(None) => {
                let ready = replicas.iter().all(|it| it.ready);
                self.failure.take_if(|it| ready && !it.ended);
            }
        }
    }
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

/// A failure of one replica.
struct Found<'a> {
    replica: &'a Replica,
    because: String,
    at: Timestamp,
    ended: bool,
}

fn of(replica: &Replica, now: Timestamp) -> Option<Found<'_>> {
    let process = replica.process.as_ref();
    let because = replica.because.clone().filter(|_| !replica.ready)?;
    match process.map(|it| it.state) {
        Some(ProcessState::BackingOff | ProcessState::Exited) => {
            let at = process.and_then(|it| it.last_exit.as_ref()).map_or(now, |it| it.at);
            Some(Found { replica, because, at, ended: true })
        }
        // Between two runs: what the one before ended of is the news.
        Some(ProcessState::Starting | ProcessState::Running) if 0 < process.map_or(0, |it| it.restarts) => {
            let last = process.and_then(|it| it.last_exit.as_ref())?;
            let because = last.in_words();
            Some(Found { replica, because, at: last.at, ended: true })
        }
        Some(ProcessState::Starting | ProcessState::Running) => {
            let since = process.map_or(now, |it| it.since);
            let late = since + STARTS_WITHIN <= now;
            late.then_some(Found { replica, because, at: since, ended: false })
        }
        Some(ProcessState::Stopping) => None,
        None => Some(Found { replica, because, at: now, ended: false }),
    }
}

impl Found<'_> {
    fn view(self, revision: Revision, attempt: u32) -> FailureView {
        let process = self.replica.process.as_ref();
        let last = process.and_then(|it| it.last_exit.as_ref()).filter(|_| self.ended);
        FailureView {
            revision,
            attempt,
            at: self.at,
            because: self.because,
            ended: self.ended,
            said: last.map(|it| it.said.clone()).unwrap_or_default(),
            log: process.map(|it| it.log.clone()),
        }
    }
}
