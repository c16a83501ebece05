//! The proxy worker over real sockets: every promise of the data plane, one test each.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "tests")]

mod closing;
mod control;
mod demo;
mod draining;
mod failure;
mod http2;
mod nonsense;
mod outcomes;
mod process;
mod rig;
mod routing;
mod smuggling;
mod streaming;
mod tls;
