//! What a running engine answers over its control socket: JSON over HTTP, server-sent events, metrics.
//!
//! The command line, a dashboard and foreign programs use the same interface. [`view`] holds everything that is
//! said, [`client`] the caller's side over the control socket, [`remote`] the caller's side whoever answers. A runtime
//! implements [`server::Engine`] and stays unknown here; whoever accepts connections says who calls ([`unix`]).

pub mod client;
mod failure;
pub mod metrics;
pub mod remote;
pub mod server;
pub mod unix;
pub mod view;
mod wall;

pub use failure::Refusal;
