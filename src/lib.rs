//! Progressive delivery for any workload behind any router.

pub mod cli;
pub mod clock;
pub mod failpoint;
pub mod journal;
pub mod local;
pub mod router;
pub mod spec;
pub mod workload;
pub mod written;
