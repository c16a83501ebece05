//! The control process of one machine.

pub mod keeper;
