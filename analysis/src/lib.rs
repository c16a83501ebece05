//! Judges of a canary and the run of an analysis, as pure functions.
//!
//! Nothing here reads a clock, opens a connection or draws a random number, except in [`provider`], which fetches
//! polls: polls come in, findings go out, and what is remembered between them is a value that can be stored and taken
//! up again. What is deliberately absent: any notion of a rollout, of a step or of a cluster.

pub mod answers;
pub mod calibrate;
pub mod condition;
pub mod counter;
pub mod finding;
pub mod judge;
pub mod line;
pub mod poll;
pub mod provider;
pub mod run;
pub mod stats;
pub mod written;

pub use answers::Answers;
pub use finding::{Evidence, Finding, Verdict, Warning};
pub use judge::{AnyJudge, JudgeState, Judging, Setting};
pub use poll::{Counts, Histogram, Measured, Missing, PodsSeen, Poll};
