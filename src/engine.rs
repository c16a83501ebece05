//! The control loop, shared by every runtime: observe, decide, save or act, and again.
//!
//! Small and dull: all judgement is in [`strategies::decide`]. What runs this calls [`tick`] when something has
//! happened, when [`Ticked::wake`] says so, and again at once while it answers [`Ticked::again`].

use jiff::Timestamp;
use strategies::{Activity, Decision, Next, Orders, Plan, Status, Waiting, World, decide};

use crate::{
    failpoint,
    port::{Activities, Clock, Keep, Outside, Saved, Unavailable, WriteError},
};

mod record;

pub use record::{DecisionRecord, NotReplayable, Recorder, Replayed, Replayer};

/// Saves that are merged at most; a longer chain goes on in the next tick.
const MOST_MERGED: usize = 32;

/// The outside of one rollout.
#[derive(Debug)]
pub struct Ports<O, K, A, C> {
    /// What is observed and written.
    pub outside: O,
    /// What survives a crash.
    pub keep: K,
    /// What runs beside the steps.
    pub activities: A,
    /// The time.
    pub clock: C,
}

/// What came of one tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticked {
    /// What was observed.
    pub world: World,
    /// What was remembered when it began.
    pub saved: Saved,
    /// What was decided.
    pub decided: Decided,
    /// The record that was kept of it; `None`: the decision was the same as the last.
    pub record: Option<String>,
    /// When it was decided.
    pub at: Timestamp,
}

impl Ticked {
    /// Whether the world was changed, so that it has to be looked at again at once.
    #[must_use]
    pub fn again(&self) -> bool {
        self.decided.next != Next::Rest
    }
}

/// A decision on one look at the world, consecutive saves merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// What to do: nothing, one save, or one write.
    pub next: Next,
    /// What should be running.
    pub run: Vec<Activity>,
    /// What is waited for.
    pub waiting: Vec<Waiting>,
}

impl Decided {
    /// When to decide again even if nothing is observed to change.
    #[must_use]
    pub fn wake(&self) -> Option<Timestamp> {
        self.waiting.iter().filter_map(|it| it.until).min()
    }
}

/// A tick came to nothing. Nothing has to be undone; the next one looks again.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TickError {
    /// Someone else wrote first.
    #[error("somebody else wrote at the same time")]
    Conflict,
    /// A write is not accepted as it is.
    #[error("{0}")]
    Refused(String),
    /// Something outside does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<WriteError> for TickError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Conflict => Self::Conflict,
            WriteError::Refused { why } => Self::Refused(why),
            WriteError::Unavailable(it) => Self::Unavailable(it),
        }
    }
}

/// Decides on one look at the world. Consecutive saves are merged into the last one.
pub fn settle(plan: &Plan, status: &Status, orders: &Orders, world: &World, now: Timestamp) -> Decided {
    let mut merged: Option<(Box<Status>, Vec<Activity>)> = None;
    for _ in 0..MOST_MERGED {
        let present = merged.as_ref().map_or(status, |(it, _)| it);
        let Decision { next, run, waiting } = decide(plan, present, orders, world, now);
        match (next, merged) {
            (Next::Save(next), _) => merged = Some((next, run)),
            (Next::Rest | Next::Write(_), Some((saved, before))) => {
                return Decided { next: Next::Save(saved), run: before, waiting };
            }
            (next @ (Next::Rest | Next::Write(_)), None) => return Decided { next, run, waiting },
        }
    }
    match merged {
        Some((saved, run)) => Decided { next: Next::Save(saved), run, waiting: vec![] },
        None => Decided { next: Next::Rest, run: vec![], waiting: vec![] },
    }
}

/// One tick: observe everything, decide, then do one thing.
///
/// # Crash safety
/// May stop at any `.await`. What is decided is recorded not later than it is done, every write carries the fence the
/// decision saw, and the next tick decides on what it observes; so a lost, repeated or half-done tick costs time only.
///
/// # Errors
/// The first failure ends the tick.
pub async fn tick<O: Outside, K: Keep, A: Activities, C: Clock>(
    plan: &Plan,
    ports: &mut Ports<O, K, A, C>,
    recorder: &mut Recorder,
) -> Result<Ticked, TickError> {
    let saved = ports.keep.load().await?;
    let mut world = ports.outside.observe(&saved.status).await?;
    world.ran = ports.activities.outcomes();
    let at = ports.clock.now();
    let decided = settle(plan, &saved.status, &saved.orders, &world, at);
    let inputs =
        record::Inputs { plan, status: &saved.status, orders: &saved.orders, world: &world, now: at };
    let record = recorder.record(&inputs, &decided);
    let done = act(ports, &saved, &decided, record.as_deref(), at).await;
    match &done {
        Ok(()) => recorder.kept(),
        Err(_) => recorder.lost(),
    }
    done?;
    ports.activities.reconcile(&decided.run, at);
    Ok(Ticked { world, saved, decided, record, at })
}

async fn act<O: Outside, K: Keep, A: Activities, C: Clock>(
    ports: &mut Ports<O, K, A, C>,
    saved: &Saved,
    decided: &Decided,
    record: Option<&str>,
    at: Timestamp,
) -> Result<(), TickError> {
    match &decided.next {
        Next::Save(status) => Ok(ports.keep.save(saved, status, record).await?),
        Next::Write(write) => {
            if let Some(record) = record {
                ports.keep.record(at, record).await?;
            }
            failpoint::reached("engine: before a write");
            ports.outside.write(write).await?;
            failpoint::reached("engine: after a write");
            Ok(())
        }
        Next::Rest => match record {
            Some(record) => Ok(ports.keep.record(at, record).await?),
            None => Ok(()),
        },
    }
}
