//! Progressive delivery for any workload behind any router.

pub mod clock;
pub mod local;
