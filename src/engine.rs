//! The control loop, shared by every runtime: observe, decide, save or act, and again.
//!
//! Small and dull: all judgement is in [`strategies::decide`]. What runs this calls [`tick`] when something has
//! happened, when [`Ticked::wake`] says so, and again at once while it answers [`Ticked::again`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use strategies::{Activity, Decision, Name, Next, Orders, Plan, Status, Waiting, World, decide};

use crate::{
    failpoint,
    port::{Activities, Clock, Closed, Durable, Outside, Saved, Saving, Unavailable, WriteError},
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
    pub durable: K,
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
    /// What was decided, consecutive saves merged.
    pub decided: Decision,
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

/// How a rollout stands at one moment.
#[derive(Debug)]
pub struct Moment<'a, O, A> {
    /// What is remembered.
    pub status: &'a Status,
    /// What was observed; `None`: nothing yet.
    pub world: Option<&'a World>,
    /// What is waited for.
    pub waiting: &'a [Waiting],
    /// Why orders were given, by their id.
    pub reasons: &'a BTreeMap<Name, Name>,
    /// What is observed and written.
    pub outside: &'a O,
    /// What runs beside the steps.
    pub activities: &'a A,
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
pub fn decide_all(plan: &Plan, status: &Status, orders: &Orders, world: &World, now: Timestamp) -> Decision {
    let mut merged: Option<(Box<Status>, Vec<Activity>)> = None;
    for _ in 0..MOST_MERGED {
        let present = merged.as_ref().map_or(status, |(it, _)| it);
        let Decision { next, run, waiting } = decide(plan, present, orders, world, now);
        match (next, merged) {
            (Next::Save(next), _) => merged = Some((next, run)),
            (Next::Rest | Next::Write(_), Some((saved, before))) => {
                return Decision { next: Next::Save(saved), run: before, waiting };
            }
            (next @ (Next::Rest | Next::Write(_)), None) => return Decision { next, run, waiting },
        }
    }
    match merged {
        Some((saved, run)) => Decision { next: Next::Save(saved), run, waiting: vec![] },
        None => Decision { next: Next::Rest, run: vec![], waiting: vec![] },
    }
}

/// One tick: observe everything, carry out what was accepted before, decide, then do one thing. `show` puts together
/// what people are shown, where that is saved too.
///
/// # Crash safety
/// May stop at any `.await`. What is decided is recorded not later than it is done, every write carries the fence the
/// decision saw, and the next tick decides on what it observes; so a lost, repeated or half-done tick costs time only.
///
/// # Errors
/// The first failure ends the tick.
pub async fn tick<O: Outside + Sync, K: Durable, A: Activities + Sync, C: Clock>(
    plan: &Plan,
    ports: &mut Ports<O, K, A, C>,
    recorder: &mut Recorder,
    show: &(impl Fn(&Moment<'_, O, A>) -> K::Shown + Send + Sync),
) -> Result<Ticked, TickError> {
    let saved = ports.durable.load().await?;
    let mut world = ports.outside.observe(&saved.status).await?;
    ports.outside.enact().await;
    world.ran = ports.activities.outcomes();
    let at = ports.clock.now();
    let decided = decide_all(plan, &saved.status, &saved.orders, &world, at);
    let inputs =
        record::Inputs { plan, status: &saved.status, orders: &saved.orders, world: &world, now: at };
    let record = recorder.record(&inputs, &decided);
    let ticked = Ticked { world, saved, decided, record, at };
    let done = act(ports, &ticked, show).await;
    match &done {
        Ok(()) => recorder.kept(),
        Err(_) => recorder.lost(),
    }
    done?;
    ports.activities.reconcile(&ticked.decided.run, at);
    Ok(ticked)
}

async fn act<O: Outside + Sync, K: Durable, A: Activities + Sync, C: Clock>(
    ports: &mut Ports<O, K, A, C>,
    ticked: &Ticked,
    show: &(impl Fn(&Moment<'_, O, A>) -> K::Shown + Send + Sync),
) -> Result<(), TickError> {
    let Ticked { world, saved, decided, record, at } = ticked;
    match &decided.next {
        Next::Save(status) => {
            let Ports { outside, durable, activities, clock: _ } = ports;
            let moment = Moment {
                status,
                world: Some(world),
                waiting: &decided.waiting,
                reasons: &saved.reasons,
                outside: &*outside,
                activities: &*activities,
            };
            let shown = || show(&moment);
            let closed = Closed::by(status, &saved.orders, *at);
            Ok(durable
                .save(saved, Saving { status, record: record.as_deref(), closed, shown: &shown })
                .await?)
        }
        Next::Write(write) => {
            if let Some(record) = record {
                ports.durable.record(*at, record).await?;
            }
            failpoint::reached("engine: before a write");
            ports.outside.write(write).await?;
            failpoint::reached("engine: after a write");
            Ok(())
        }
        Next::Rest => match record {
            Some(record) => Ok(ports.durable.record(*at, record).await?),
            None => Ok(()),
        },
    }
}
