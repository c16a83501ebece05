//! The control process: it owns the store, decides, and commands supervisor and workers.
//!
//! It may be killed at any moment. Workers serve on with what they have, processes run on, and the next control
//! process takes up what is stored: the intents of every rollout are told again before anything new is decided.

mod document;
mod files;
mod release;
mod rollout;
mod roster;
mod service;

use std::{io, path::PathBuf, time::Duration};

use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
};

use self::{roster::Roster, service::Service};
use super::{
    adapter::{fleet::Fleet, site::Machine},
    at_work, open_files,
    store::{OpenError, Store, StoreThread},
    supervisor::{Client, ClientError, Events, protocol::Event},
    timeline,
};
use crate::{
    api::{self, client::SOCKET, unix::Guarded},
    failpoint,
    port::Unavailable,
};

/// How long calls under way may take when the process is asked to end.
const ENDING: Duration = Duration::from_secs(2);
/// Threads for what blocks, copies and looks for hosts; they end when they have nothing to do.
const MOST_BLOCKING: usize = 32;
/// How often it is looked whether the clock on the wall was set; so much of the time that passed is lost if the machine
/// itself fails.
const CLOCKS: Duration = Duration::from_secs(15);

/// What the control process is started with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ControlBoot {
    /// The state directory.
    pub state: PathBuf,
}

/// Why the control process ended. Workers and processes go on.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The supervisor.
    #[error(transparent)]
    Supervisor(#[from] ClientError),
    /// What was there could not be taken up; everything serves on as it did.
    #[error(transparent)]
    TakeUp(#[from] Unavailable),
    /// The runtime or the control socket.
    #[error("the control process cannot {0}")]
    Io(&'static str, #[source] io::Error),
    /// The thread of the store has failed; nothing could be saved any more.
    #[error("the store's thread has ended")]
    StoreGone,
    /// The supervisor is gone, and with it what there was to control.
    #[error("the supervisor has ended")]
    SupervisorGone,
}

/// Controls until asked to end by SIGTERM or SIGINT; blocks the calling thread.
///
/// # Errors
/// [`ControlError`]; whoever started it starts it again.
pub fn run_control(boot: &ControlBoot) -> Result<(), ControlError> {
    failpoint::role("control");
    open_files::raise();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MOST_BLOCKING)
        .build()
        .map_err(|error| ControlError::Io("start", error))?;
    let ended = runtime.block_on(control(boot));
    runtime.shutdown_background();
    ended
}

async fn control(boot: &ControlBoot) -> Result<(), ControlError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| ControlError::Io("hear signals", e))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| ControlError::Io("hear signals", e))?;
    let store = StoreThread::open(&boot.state)?;
    let latest = store.read(Store::latest).await;
    let latest =
        latest.map_err(|error| Unavailable::new("cannot read when something happened last", &error))?;
    timeline::take_up(&boot.state, latest);
    let (supervisor, mut events) = Client::subscribe(&boot.state).await?;
    let fleet = Fleet::new(supervisor.clone());
    fleet.workers_seen(&supervisor.observe().await?.workers);
    let machine = Machine { store: store.clone(), supervisor, fleet };
    let roster = Roster::new(boot.state.clone(), machine.clone());
    roster.take_up().await?;
    let socket = bind(&boot.state.join(SOCKET)).await.map_err(|e| ControlError::Io("open its socket", e))?;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let service = Service::new(roster.clone());
    tokio::spawn({
        let service = service.clone();
        async move { service.collect_all().await }
    });
    let mut serving = tokio::spawn(api::server::serve(Guarded::new(socket), service, async {
        // Dropped or sent: both mean that it ends.
        let _ = ended.await;
    }));
    tracing::info!(state = %boot.state.display(), "the engine controls");
    let why = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = follow(&machine, &roster, &mut events) => Err(ControlError::SupervisorGone),
        never = at_work::keep("listening again", || roster.listen_again()) => match never {},
        () = store.closed() => Err(ControlError::StoreGone),
        never = keep_time(&boot.state, &roster) => match never {},
        served = &mut serving => match served {
            Ok(Err(error)) => Err(ControlError::Io("serve its socket", error)),
            Ok(Ok(())) | Err(_) => Err(ControlError::Io("serve its socket", io::ErrorKind::BrokenPipe.into())),
        },
    };
    drop(end);
    // Whoever follows a rollout would hold it for ever.
    let _ = tokio::time::timeout(ENDING, serving).await;
    why
}

/// Looks at the clocks now and then. What people said about time is read again once the wall was set.
async fn keep_time(state: &std::path::Path, roster: &Roster) -> std::convert::Infallible {
    let mut looks = tokio::time::interval(CLOCKS);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if timeline::look(state) {
            roster.clock_set();
        }
    }
}

/// Hears of processes and workers until the supervisor is gone.
async fn follow(machine: &Machine, roster: &Roster, events: &mut Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::Process(seen) => roster.processes_changed(Some(&seen.process.rollout)),
            Event::ProcessGone(id) => roster.processes_changed(Some(&id.rollout)),
            Event::Worker(seen) => machine.fleet.worker_seen(&seen),
            Event::WorkerGone(number) => machine.fleet.worker_gone(number),
            Event::Reconnected => {
                if let Ok(seen) = machine.supervisor.observe().await {
                    machine.fleet.workers_seen(&seen.workers);
                }
                roster.processes_changed(None);
            }
            Event::Listeners(_) | Event::Drain { .. } | Event::ShuttingDown => {}
        }
    }
}

/// The socket of the interface; a dead one of an earlier process is replaced.
async fn bind(path: &std::path::Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    super::supervisor::channel::bind(path).await
}
