//! Proxy worker: serves the last applied split, with or without the control process.
//!
//! One worker is one process with one thread. It owns no listening socket (the supervisor hands them over, so the
//! accept queue outlives it), persists nothing, decides nothing. The control process tells it what to serve and
//! asks what it counted ([`WorkerClient`]); when nobody does, it goes on.
//!
//! Deliberately absent: retries of anything that may have been sent, buffering of bodies, forward proxying, and
//! active health checks (the supervisor runs those; what fails under real requests is left out for a while).

mod accept;
mod backend;
mod body;
mod client;
mod client_io;
mod config;
mod connection;
mod control;
mod counts;
mod forward;
mod headers;
mod live;
mod local_exec;
mod matching;
mod mirror;
mod refusal;
mod render;
mod sticky;
mod table;
mod tls;
mod tunnel;
mod urn;
mod wire;
mod worker;

use std::{net::TcpListener, os::unix::net::UnixListener, rc::Rc, time::Duration};

pub use client::{BadStreakSeen, BadStreaks, WorkerCallError, WorkerClient};
pub use config::{
    ArmConfig, ArmName, Condition, Limits, ListenerConfig, ListenerName, MatchConfig, Named, Protocol,
    ProxyConfig, StickyConfig, Text, Timeouts, Upstream, WHOLE,
};
pub use counts::{
    EndpointSnapshot, Errors, LATENCY_BOUNDS_US, ListenerSnapshot, Routed, SeriesSnapshot, Snapshot,
};
pub use refusal::PROXY_HEADER;
pub use render::render_prometheus;
use tokio::signal::unix::{SignalKind, signal};
pub use wire::{BadStreak, Health, MAX_MESSAGE, Order, Reply, WireError};
pub use worker::WorkerBoot;

/// Connections that may wait to be accepted; the kernel takes less if `net.core.somaxconn` is less.
const ACCEPT_QUEUE: i32 = 4096;

/// A worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The runtime or a socket could not be set up.
    #[error("worker could not set up {what}; is the number of open files too low?")]
    Setup {
        /// What failed.
        what: &'static str,
        /// How.
        #[source]
        source: std::io::Error,
    },
}

fn setup(what: &'static str) -> impl FnOnce(std::io::Error) -> WorkerError {
    move |source| WorkerError::Setup { what, source }
}

/// Serves `listeners` until told to end by SIGTERM or a `drain` order; blocks the calling thread.
///
/// # Guarantees
/// Serves without the control process. On SIGTERM no request in flight is dropped before the deadline, and no
/// connection is left in the accept queue that another worker on the same socket could not take.
///
/// # Errors
/// Only while starting.
pub fn run_worker(
    boot: WorkerBoot,
    listeners: Vec<(ListenerName, TcpListener)>,
    control: UnixListener,
) -> Result<(), WorkerError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(setup("its runtime"))?;
    let local = tokio::task::LocalSet::new();
    let ended = local.block_on(&runtime, work(boot, listeners, control));
    runtime.shutdown_background();
    ended
}

async fn work(
    boot: WorkerBoot,
    listeners: Vec<(ListenerName, TcpListener)>,
    control: UnixListener,
) -> Result<(), WorkerError> {
    let names: Vec<_> = listeners.iter().map(|(name, _)| name.clone()).collect();
    let worker = Rc::new(worker::Worker::new(&boot, &names));
    if let Some(config) = &boot.config {
        worker.begin_with(config);
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(setup("its signal handler"))?;
    control.set_nonblocking(true).map_err(setup("its control socket"))?;
    let control = tokio::net::UnixListener::from_std(control).map_err(setup("its control socket"))?;
    tokio::task::spawn_local(control::listen(Rc::clone(&worker), control));
    let mut accepting = tokio::task::JoinSet::new();
    for (name, socket) in listeners {
        socket.set_nonblocking(true).map_err(setup("a listening socket"))?;
        // The standard library listens with a short queue. Beyond it a client waits a second for its next try.
        rustix::net::listen(&socket, ACCEPT_QUEUE)
            .map_err(|error| setup("a listening socket")(error.into()))?;
        let socket = tokio::net::TcpListener::from_std(socket).map_err(setup("a listening socket"))?;
        if let Some(listener) = worker.listener(&name) {
            accepting.spawn_local(accept::run(Rc::clone(&worker), Rc::clone(listener), socket));
        }
    }
    let ticking = Rc::clone(&worker);
    tokio::task::spawn_local(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(client_io::TICK_MS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            ticking.tick();
        }
    });
    tokio::select! {
        _ = terminate.recv() => worker.drain(boot.drain()),
        () = worker.drain_ordered.notified() => {}
    }
    accepting.shutdown().await;
    worker.ended().await;
    Ok(())
}
