//! Progressive delivery for any workload behind any router.

pub mod api;
pub mod cli;
pub mod clock;
pub mod failpoint;
pub mod journal;
pub mod local;
