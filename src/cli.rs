//! The commands, one file each.

pub mod lint;
pub mod plan;
pub mod schema;
