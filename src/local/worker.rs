//! A worker as the supervisor starts it: its sockets and its end come over the supervisor's link, the rest is the
//! proxy's.

use std::{io, path::Path};

use rand::{RngCore, SeedableRng};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    open_files,
    proxy::{self, ProxyConfig, Sockets, WorkerChange, WorkerError},
    supervisor::{ClientError, Listening, WorkerLink, WorkerOrder, channel},
};

/// A worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The supervisor did not let it join.
    #[error("worker {worker} cannot join its supervisor")]
    Join {
        /// Its number.
        worker: u64,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// Its runtime, signals or control socket could not be set up.
    #[error("worker cannot set up {what}")]
    Setup {
        /// What failed.
        what: &'static str,
        /// How.
        #[source]
        source: io::Error,
    },
    /// The proxy did not start.
    #[error(transparent)]
    Proxy(#[from] WorkerError),
}

/// Runs worker `number` of the supervisor that works in `state`, until the supervisor says that it ends. Blocks.
///
/// # Errors
/// [`StartError`]; the supervisor starts another one.
pub fn run_worker(state: &Path, number: u64) -> Result<(), StartError> {
    crate::failpoint::role("worker");
    open_files::raise();
    let runtime = proxy::runtime().map_err(|source| StartError::Setup { what: "its runtime", source })?;
    let ended = runtime.block_on(work(state, number));
    runtime.shutdown_background();
    ended
}

async fn work(state: &Path, number: u64) -> Result<(), StartError> {
    let setup = |what| move |source| StartError::Setup { what, source };
    // From here on SIGTERM no longer ends this process by itself; the proxy answers it once it serves.
    let mut terminate = signal(SignalKind::terminate()).map_err(setup("its signal handler"))?;
    let joining = WorkerLink::join(state, number);
    let (mut link, boot) = tokio::select! {
        joined = joining => joined.map_err(|source| StartError::Join { worker: number, source })?,
        _ = terminate.recv() => return Ok(()),
    };
    let control = channel::bind(&boot.control_socket).await.map_err(setup("its control socket"))?;
    let control = control.into_std().map_err(setup("its control socket"))?;
    let config = boot.config.as_deref().and_then(|text| match serde_json::from_slice::<ProxyConfig>(text) {
        Ok(config) => Some(config),
        Err(error) => {
            tracing::error!(%error, "the kept configuration is not understood; serving begins with the next one");
            None
        }
    });
    let proxy = proxy::WorkerBoot {
        worker: u32::try_from(number).unwrap_or(u32::MAX),
        seed: rand::rngs::StdRng::from_os_rng().next_u64(),
        config,
        drain_ms: None,
    };
    let (tell, changes) = mpsc::channel(4);
    // What connects before the proxy accepts waits in the sockets' queues.
    link.ready().await.map_err(|source| StartError::Join { worker: number, source })?;
    tracing::info!(sockets = boot.listeners.len(), "the worker serves");
    // Kept here: a worker whose link is dead would serve on sockets that are over, and nobody would know.
    let following = tokio::task::spawn_local(follow(link, tell));
    tokio::select! {
        ended = proxy::serve(proxy, sockets(boot.listeners), control, changes) => Ok(ended?),
        failed = link_failed(following) => Err(failed),
    }
}

/// Waits for the link's task to fail. That the supervisor is gone is no failure: the kernel ends this process with it.
async fn link_failed(following: tokio::task::JoinHandle<()>) -> StartError {
    match following.await {
        Ok(()) => std::future::pending().await,
        Err(error) => {
            StartError::Setup { what: "its link to the supervisor", source: io::Error::other(error) }
        }
    }
}

/// Passes on what the supervisor says, until one of both is gone.
async fn follow(mut link: WorkerLink, tell: mpsc::Sender<WorkerChange>) {
    loop {
        let change = match link.next().await {
            Ok(WorkerOrder::Listeners(listeners)) => WorkerChange::Listeners(sockets(listeners)),
            Ok(WorkerOrder::Drain(within)) => WorkerChange::Drain(within),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the supervisor is gone");
                return;
            }
        };
        if tell.send(change).await.is_err() {
            return;
        }
    }
}

fn sockets(listeners: Vec<Listening>) -> Sockets {
    listeners.into_iter().map(|it| (it.seen.name, it.socket)).collect()
}
