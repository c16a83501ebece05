//! What a running engine answers over its control socket: JSON over HTTP, server-sent events, metrics.
//!
//! The command line, a dashboard and foreign programs use the same interface. [`view`] holds everything that is
//! said, [`client`] the caller's side. A runtime implements [`server::Engine`] and stays unknown here.

pub mod client;
mod failure;
pub mod metrics;
pub mod server;
pub mod view;
mod wall;

pub use failure::Refusal;
