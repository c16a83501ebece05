//! Whole rollouts in virtual time: the machine decides, simulated requests are counted, the judges judge.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod rollouts;
mod simulated;
