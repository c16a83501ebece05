//! The control process of one machine.

mod document;
pub mod keeper;
mod rollout;
mod traffic;
