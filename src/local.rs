//! Runtime for one machine: a supervisor, proxy workers and a control process, no cluster needed.

pub mod adapter;
mod at_work;
pub mod control;
pub mod counted;
pub mod load;
pub mod open_files;
pub mod process;
pub mod proxy;
pub mod readiness;
pub mod revision;
pub mod sample;
pub mod store;
pub mod supervisor;
pub mod timeline;
pub mod usage;
pub mod worker;
