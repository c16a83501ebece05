//! The proxy worker over real sockets: every promise of the data plane, one test each.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "tests")]

mod control;
mod rig;
mod routing;
