//! Progressive delivery for any workload behind any router.

pub mod address;
pub mod analyses;
pub mod cli;
pub mod clock;
pub mod failpoint;
pub mod journal;
pub mod local;
pub mod router;
pub mod size;
pub mod spec;
pub mod text;
pub mod workload;
