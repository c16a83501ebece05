//! Progressive delivery for any workload behind any router.

pub mod clock;
pub mod failpoint;
pub mod journal;
pub mod local;
