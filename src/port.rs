//! What the engine needs from the outside of one rollout. The only interfaces that a runtime implements.
//!
//! An implementation answers from the source of truth or fails; it never guesses, never reads an object again to
//! make a write fit, and never chooses: a [`Write`] leaves nothing to choose.

use std::collections::BTreeMap;

use jiff::Timestamp;
use strategies::{Activity, ActivityId, Orders, Outcome, Status, World, Write};

/// What observes and writes the world of one rollout: workload, routes, owner.
pub trait Outside: Send {
    /// Everything as it is now, [`World::ran`] left empty. What could not be read is `Unread`.
    ///
    /// # Errors
    /// When nothing can be said at all.
    fn observe(&mut self, status: &Status) -> impl Future<Output = Result<World, Unavailable>> + Send;

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
pub trait Keep: Send {
    /// What was saved last, and the orders that stand: none that the saved status has dealt with.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&mut self) -> impl Future<Output = Result<Saved, Unavailable>> + Send;

    /// Saves `status` and `record` together, durable when this returns, unless someone saved since `seen`.
    ///
    /// # Errors
    /// [`WriteError`].
    fn save(
        &mut self,
        seen: &Saved,
        status: &Status,
        record: Option<&str>,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Keeps a record of a decision that saves nothing. Durable when this returns: a write is recorded before it is
    /// made.
    ///
    /// # Errors
    /// [`WriteError`].
    fn record(&mut self, at: Timestamp, record: &str) -> impl Future<Output = Result<(), WriteError>> + Send;
}

/// One load from what survives.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// What is remembered.
    pub status: Status,
    /// What people ordered and what has not been closed.
    pub orders: Orders,
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
