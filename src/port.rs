//! What the engine needs from the outside of one rollout. The only interfaces that a runtime implements.
//!
//! An implementation answers from the source of truth or fails; it never guesses, never reads an object again to
//! make a write fit, and never chooses: a [`Write`] leaves nothing to choose.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use strategies::{Activity, ActivityId, Effect, Name, Orders, Outcome, Status, World, Write};

/// What observes and writes the world of one rollout: workload, routes, owner.
pub trait Outside: Send {
    /// Everything as it is now, [`World::ran`] left empty. What could not be read is `Unread`; so is what does not show
    /// yet what was written here before. Changes nothing.
    ///
    /// # Errors
    /// When nothing can be said at all.
    fn observe(&mut self, status: &Status) -> impl Future<Output = Result<World, Unavailable>> + Send;

    /// Carries out what was accepted before and is not so yet, as far as that is this runtime's own work. Leaves nothing
    /// to choose either; what fails is shown, and tried again after the next observation.
    fn enact(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Does this if the fence still holds. Returns once it is accepted, not once it is in force.
    ///
    /// # Crash safety
    /// May be cut off anywhere; then it has happened, or will have, or has not, and the next observation says which.
    ///
    /// # Errors
    /// [`WriteError`].
    fn write(&mut self, write: &Write) -> impl Future<Output = Result<(), WriteError>> + Send;
}

/// What survives a crash.
pub trait Durable: Send {
    /// What people are shown beside the status.
    type Shown: Send;

    /// What was saved last, and the orders that stand: none that the saved status has dealt with.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&mut self) -> impl Future<Output = Result<Saved, Unavailable>> + Send;

    /// Saves all of it together, durable when this returns, unless someone saved since `seen`. What is shown is saved by
    /// a runtime that keeps it in the same object; others need not ask for it.
    ///
    /// # Errors
    /// [`WriteError`].
    fn save(
        &mut self,
        seen: &Saved,
        saving: Saving<'_, Self::Shown>,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Keeps a record of a decision that saves nothing. Durable when this returns: a write is recorded before it is
    /// made.
    ///
    /// # Errors
    /// [`WriteError`].
    fn record(&mut self, at: Timestamp, record: &str) -> impl Future<Output = Result<(), WriteError>> + Send;
}

/// What is kept and shown beside the status, for a rollout at work.
pub trait Notes: Durable {
    /// What was loaded before may be old: the next load asks again.
    fn forget(&mut self);

    /// Shows how it stands although nothing is to be saved: called after every turn. A runtime whose every showing costs a
    /// write leaves some out, and answers when it wants to be called again for what it has not shown.
    fn show(&mut self, shown: Show<'_, Self::Shown>) -> impl Future<Output = Option<Timestamp>> + Send;

    /// Whether somebody watches what is shown, so that it has to be fresh.
    fn is_watched(&self) -> bool;

    /// What was kept beside the status, by name.
    ///
    /// # Errors
    /// When it cannot be read.
    fn checkpoints(&mut self) -> impl Future<Output = Result<BTreeMap<String, Value>, Unavailable>> + Send;

    /// Keeps these beside the status, all or none; `None`: there is none of that name any more. The last of them may be
    /// lost.
    ///
    /// # Errors
    /// [`WriteError`].
    fn checkpoint(
        &mut self,
        parts: Vec<(&'static str, Option<Value>)>,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// How often a checkpoint is worth its price.
    fn checkpoint_every(&self) -> Duration;
}

/// Puts together what is shown.
pub type Show<'a, S> = &'a (dyn Fn() -> S + Send + Sync);

/// One save.
pub struct Saving<'a, S> {
    /// What is remembered from now on.
    pub status: &'a Status,
    /// The record of the decision; `None`: it is the same as the last.
    pub record: Option<&'a str>,
    /// Orders that were dealt with, and that must not be loaded again.
    pub closed: Vec<Closed>,
    /// What is shown of it.
    pub shown: Show<'a, S>,
}

/// An order that stands no longer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Closed {
    /// Which.
    pub order: Name,
    /// What became of it.
    pub ending: Ending,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// It took effect.
    Took,
    /// It had none, or its time or its attempt is over.
    Void,
}

impl Closed {
    /// The orders that stand no longer once this status is saved.
    #[must_use]
    pub fn by(status: &Status, orders: &Orders, now: Timestamp) -> Vec<Self> {
        let one = |order: &strategies::Order| {
            let dealt = status.accepted.iter().find(|it| it.id == order.id).map(|it| it.effect);
            let past = order.attempt < status.attempt || order.not_after.is_some_and(|end| end < now);
            let ending = match (dealt, past) {
                (Some(Effect::Took | Effect::Overrode), _) => Ending::Took,
                (Some(Effect::Nothing), _) | (None, true) => Ending::Void,
                (None, false) => return None,
            };
            Some(Self { order: order.id.clone(), ending })
        };
        orders.0.iter().filter_map(one).collect()
    }
}

/// One load from what survives.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// What is remembered.
    pub status: Status,
    /// What people ordered and what has not been closed.
    pub orders: Orders,
    /// Why orders were given that stand or took effect, by their id, where somebody said.
    pub reasons: BTreeMap<Name, Name>,
    /// The version of the status; 0 before the first save.
    pub fence: u64,
}

/// Runs what should be running beside the steps.
pub trait Activities: Send {
    /// Starts what is missing and stops the rest.
    fn reconcile(&mut self, run: &[Activity], now: Timestamp);

    /// What each one said so far.
    fn outcomes(&self) -> BTreeMap<ActivityId, Outcome>;

    /// When one of them wants to be looked at.
    fn wake(&self) -> Option<Timestamp>;
}

/// The source of time.
pub trait Clock: Send {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The clock on the wall.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        crate::clock::now()
    }
}

/// Something outside did not answer. Trying again later is all there is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Unavailable {
    /// What was tried, such as `cannot read the store`.
    pub what: String,
    /// What was said.
    pub why: String,
}

impl Unavailable {
    /// With the whole chain of `why`.
    pub fn new(what: impl Into<String>, why: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = why.to_string();
        let mut source = why.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        Self { what: what.into(), why: text }
    }
}

/// A write was not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// The object is another than the decision saw: observe and decide again.
    #[error("the object has changed since it was looked at")]
    Conflict,
    /// It will not be accepted as it is.
    #[error("refused: {why}")]
    Refused {
        /// By whom and why.
        why: String,
    },
    /// Nobody accepted it; it may have happened nevertheless.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
