//! A service as its owner runs it: `serinus run`, commands from another terminal, and what they say.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod causes;
mod container;
mod logs;
mod rig;
mod starts;
mod terminal;
