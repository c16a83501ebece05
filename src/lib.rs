//! Progressive delivery for any workload behind any router.

pub mod analyses;
pub mod api;
pub mod chart;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod engine;
pub mod failpoint;
pub mod journal;
pub mod local;
pub mod measure;
pub mod object;
pub mod port;
pub mod rollout;
pub mod router;
pub mod spec;
pub mod telemetry;
pub mod workload;
pub mod written;
