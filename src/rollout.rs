//! One rollout at work, whatever runs it.
//!
//! [`Working`] is a value and no task: it takes a turn whenever something has happened or its time has come, and may be
//! dropped while it rests. What has to survive is kept through [`Notes`](crate::port::Notes), and a rollout that is taken
//! up again goes on from there. What it asks of whatever runs it, besides the ports of the engine, is an
//! [`Environment`].

mod ask;
mod environment;
mod failing;
mod follow;
mod history;
mod orders;
mod share;
mod standing;
mod traffic;
mod working;

pub use self::{
    ask::{Asker, Providers},
    environment::{ArmNow, Depth, Environment, News, Pace},
    failing::{Failed, Trial},
    follow::{Follow, Told},
    history::{attempts, former, next_attempt, promoted, refused, state_of},
    orders::{complete, random, why_not},
    standing::{Decided, Did, Standing, view},
    traffic::Traffic,
    working::{Document, Pulse, Turn, Working},
};
