//! One rollout at work, whatever runs it.

mod follow;
mod history;
mod orders;
mod traffic;

pub use self::{
    follow::{Follow, Told},
    history::{attempts, former, next_attempt, promoted, refused, state_of},
    orders::{complete, random, why_not},
    traffic::Traffic,
};
