//! Progressive delivery for any workload behind any router.

pub mod cli;
pub mod clock;
pub mod local;
