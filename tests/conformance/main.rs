//! Every codec of the registries against what a cluster does with its writes.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "tests")]

mod deployment;
mod routes;
mod server;
mod services;
mod splits;
mod workloads;
