//! The commands, one file each.

pub mod judge;
pub mod lint;
