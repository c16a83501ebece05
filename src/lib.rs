//! Progressive delivery for any workload behind any router.

pub mod api;
pub mod clock;
pub mod local;
