//! The model checker over the product's own `decide`.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "shared by a test and a command, each of which uses a part; a model may panic"
)]

pub mod act;
pub mod bridge;
pub mod config;
pub mod coverage;
pub mod eval;
pub mod intern;
pub mod search;
pub mod state;
pub mod world;

use bridge::Model;

/// Runs with the defect of the model switched on, if it has one.
pub fn with_mutant_of<T>(_model: &Model, run: impl FnOnce() -> T) -> T {
    run()
}
