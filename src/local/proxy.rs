//! Proxy worker: serves the last applied split, with or without the control process.
//!
//! One worker is one process with one thread. It owns no listening socket (the supervisor hands them over, so the
//! accept queue outlives it), persists nothing, decides nothing. The control process tells it what to serve and
//! asks what it counted ([`WorkerClient`]); when nobody does, it goes on.
//!
//! Deliberately absent: retries of what may not be repeated, buffering of bodies, forward proxying, and
//! active health checks (the supervisor runs those; what fails under real requests is left out for a while).

mod accept;
mod backend;
mod bounded_io;
mod client;
mod client_io;
mod config;
mod connection;
mod control;
mod counts;
mod forward;
mod headers;
mod http2;
mod interim;
mod live;
mod local_exec;
mod matching;
mod media;
mod mirror;
mod origin;
mod outcome;
mod refusal;
mod render;
mod request_body;
mod response_body;
mod silence;
mod sticky;
mod streaks;
mod table;
mod timer;
mod tls;
mod tunnel;
mod urn;
mod wire;
mod worker;

use std::{
    collections::BTreeMap, convert::Infallible, net::TcpListener, os::unix::net::UnixListener, rc::Rc,
    time::Duration,
};

use super::at_work;
pub use client::{BadStreakSeen, BadStreaks, WorkerCallError, WorkerClient};
pub use config::{
    ArmConfig, ArmName, Condition, Limits, ListenerConfig, ListenerName, MatchConfig, Named, Protocol,
    ProxyConfig, StickyConfig, Text, Timeouts, Upstream, WHOLE,
};
pub use counts::{
    EndpointSnapshot, Errors, LATENCY_BOUNDS_US, ListenerSnapshot, Routed, SeriesSnapshot, Snapshot,
};
pub use outcome::Outcomes;
pub use refusal::PROXY_HEADER;
pub use render::render_prometheus;
pub use tls::{TlsError, check as check_tls};
use tokio::{
    runtime::{LocalOptions, LocalRuntime},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
pub use wire::{BadStreak, Health, MAX_MESSAGE, Order, Reply, WireError};
pub use worker::WorkerBoot;

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

/// Connections that may wait to be accepted; the kernel takes less if `net.core.somaxconn` is less.
const ACCEPT_QUEUE: i32 = 4096;

fn setup(what: &'static str) -> impl FnOnce(std::io::Error) -> WorkerError {
    move |source| WorkerError::Setup { what, source }
}

/// Sockets by the name that the configuration knows them by.
pub type Sockets = Vec<(ListenerName, TcpListener)>;

/// What a worker is told besides the orders on its control socket.
#[derive(Debug)]
pub enum WorkerChange {
    /// Listen on these from now on, and no others. A name whose socket is another one than before leaves the old one.
    Listeners(Sockets),
    /// Take no new connections, finish what is under way, end within this time.
    Drain(Duration),
}

/// Serves `listeners` until told to end by SIGTERM or a `drain` order; blocks the calling thread.
///
/// # Guarantees
/// Serves without the control process. On SIGTERM no request in flight is dropped before the deadline, and no
/// connection is left in the accept queue that another worker on the same socket could not take.
///
/// # Errors
/// Only while starting.
pub fn run_worker(boot: WorkerBoot, listeners: Sockets, control: UnixListener) -> Result<(), WorkerError> {
    let runtime = runtime().map_err(setup("its runtime"))?;
    let (_told, changes) = mpsc::channel(1);
    let ended = runtime.block_on(serve(boot, listeners, control, changes));
    runtime.shutdown_background();
    ended
}

/// A worker's one thread. Not a [`tokio::task::LocalSet`]: every wake-up of a task would then go through the set's own
/// queue and poll what drives the set.
///
/// # Errors
/// The kernel gives no event queue.
pub fn runtime() -> std::io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// [`run_worker`] within a [`runtime`], told by `changes` which sockets there are. The other end of
/// `changes` may go away; then they stay as they are.
///
/// # Errors
/// Only while starting.
pub async fn serve(
    boot: WorkerBoot,
    listeners: Sockets,
    control: UnixListener,
    mut changes: mpsc::Receiver<WorkerChange>,
) -> Result<(), WorkerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(setup("its signal handler"))?;
    let worker = Rc::new(worker::Worker::new(&boot));
    let mut accepting = Accepting { worker: Rc::clone(&worker), tasks: BTreeMap::new() };
    accepting.listen(listeners);
    if let Some(config) = &boot.config {
        worker.apply(config);
    }
    control.set_nonblocking(true).map_err(setup("its control socket"))?;
    let control = tokio::net::UnixListener::from_std(control).map_err(setup("its control socket"))?;
    let (obeying, control) = (Rc::clone(&worker), Rc::new(control));
    tokio::task::spawn_local(async move {
        at_work::keep("orders", || control::listen(Rc::clone(&obeying), Rc::clone(&control))).await
    });
    let ticking = Rc::clone(&worker);
    tokio::task::spawn_local(async move { at_work::keep("clock", || ticking.keep_ticking()).await });
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                worker.drain(boot.drain());
                break;
            }
            () = worker.drain_ordered.notified() => break,
            Some(change) = changes.recv() => match change {
                WorkerChange::Listeners(sockets) => accepting.listen(sockets),
                WorkerChange::Drain(within) => {
                    worker.drain(within);
                    break;
                }
            },
        }
    }
    drop(accepting);
    worker.ended().await;
    Ok(())
}

/// The sockets that are accepted on. Dropped, nothing is accepted any more.
struct Accepting {
    worker: Rc<worker::Worker>,
    tasks: BTreeMap<ListenerName, Open>,
}

/// A socket that is accepted on.
struct Open {
    /// Tells it from another socket of the same name.
    inode: u64,
    _task: tokio::task::JoinSet<Infallible>,
}

impl Accepting {
    /// Accepts on exactly these. One that cannot be had keeps no other one down.
    fn listen(&mut self, sockets: Sockets) {
        let names = sockets.iter().map(|(name, _)| name.clone()).collect();
        self.worker.listen(&names);
        self.tasks.retain(|name, _| names.contains(name));
        for (name, socket) in sockets {
            let Some(listener) = self.worker.listener(&name) else { continue };
            let inode = match rustix::fs::fstat(&socket) {
                Ok(stat) if self.tasks.get(&name).is_some_and(|it| it.inode == stat.st_ino) => continue,
                Ok(stat) => stat.st_ino,
                Err(error) => {
                    listener.accepts(Some(&error.into()));
                    continue;
                }
            };
            // A name that has another address: its connections were for the one it has left, which is closed.
            if self.tasks.remove(&name).is_some() {
                self.worker.moved(&listener);
            }
            match accept_on(&self.worker, &listener, socket) {
                Ok(task) => drop(self.tasks.insert(name, Open { inode, _task: task })),
                Err(error) => listener.accepts(Some(&error)),
            }
        }
    }
}

fn accept_on(
    worker: &Rc<worker::Worker>,
    listener: &Rc<worker::Listener>,
    socket: TcpListener,
) -> std::io::Result<tokio::task::JoinSet<Infallible>> {
    socket.set_nonblocking(true)?;
    // The standard library listens with a short queue. Beyond it a client waits a second for its next try.
    rustix::net::listen(&socket, ACCEPT_QUEUE)?;
    let socket = Rc::new(tokio::net::TcpListener::from_std(socket)?);
    let (worker, listener) = (Rc::clone(worker), Rc::clone(listener));
    let mut task = tokio::task::JoinSet::new();
    task.spawn_local(async move {
        let begin = || accept::run(Rc::clone(&worker), Rc::clone(&listener), Rc::clone(&socket));
        at_work::keep("accepting", begin).await
    });
    Ok(task)
}
