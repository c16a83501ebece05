//! Parent of workers and user processes, owner of the listening sockets.
//!
//! The supervisor is the part that never dies, so it does little: it keeps sockets open, starts processes, hears of
//! their end, starts them again. It decides nothing about a rollout, reads no document and opens no database. The
//! control process commands it over `<state>/supervisor.sock` ([`protocol`]); every command may be repeated, and one
//! that knows less than what has been commanded before is refused by its epoch.
//!
//! # What happens when a part dies
//!
//! | dies | then |
//! |---|---|
//! | control process | started again at once; workers serve on with what they have, user processes run on |
//! | a worker | the requests in flight on it fail, waiting connections stay in the shared queue for the others; started again at once, with the configuration last saved |
//! | a user process | started again, at once and then with back-off, on the same port |
//! | the supervisor | the kernel kills every child with it; who starts it again starts anew, the control process then resumes from its store |
//!
//! Whoever loses its parent below it becomes its child, so that it ends and reaps also those who made themselves
//! daemons (`setsid`), and can be the first process of a container. Such ones, and set-user-id programs, outlive a
//! supervisor that is killed; `serinus run` ends them then.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::local::open_files;

pub mod channel;
pub mod client;
mod handover;
mod house;
mod listeners;
pub mod logs;
pub mod protocol;
mod server;
pub mod state_dir;

pub use client::{Client, ClientError, Events, Listening, WorkerBoot, WorkerLink, WorkerOrder};
pub use state_dir::StateDirError;

/// Name of the supervisor's socket in the state directory.
pub const SOCKET: &str = "supervisor.sock";
/// Name of the lock file in the state directory.
pub const LOCK: &str = "supervisor.lock";

/// How a supervisor is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// State directory; made if it is missing.
    pub state: PathBuf,
    /// This program's path, shown as the name of its children and read again by an upgrade.
    pub executable: PathBuf,
    /// Arguments of the hidden subcommand that calls [`exec_shim`](crate::local::process::shim::exec_shim).
    pub shim: Vec<String>,
    /// Arguments of a worker; `$(state)` and `$(worker)` are replaced.
    pub worker: Vec<String>,
    /// Arguments of the control process; `$(state)` is replaced. Empty: there is none.
    pub control: Vec<String>,
    /// Arguments of the hidden subcommand that calls [`resume`]; `$(state)` is replaced.
    pub resume: Vec<String>,
    /// How many workers, `0 ..= 64`.
    pub workers: u32,
    /// What to listen on from the start; the control process may change it.
    pub listeners: BTreeMap<String, SocketAddr>,
    /// Soft limit of open files that users' processes begin with, as it was before the supervisor raised its own.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// Milliseconds a draining worker may take. Default 30 000.
    pub drain_ms: u64,
    /// Milliseconds within which workers of a new version have to serve. Default 30 000.
    pub ready_ms: u64,
}

impl Settings {
    /// The settings of `serinus run`: this program with its hidden subcommands
    /// `internal exec | worker | control | supervisor`.
    ///
    /// # Errors
    /// When this program's own path cannot be read.
    pub fn new(state: PathBuf) -> io::Result<Self> {
        let internal = |words: &[&str]| ["internal"].iter().chain(words).map(|w| (*w).to_owned()).collect();
        Ok(Self {
            state,
            executable: std::env::current_exe()?,
            shim: internal(&["exec"]),
            worker: internal(&["worker", "--state", "$(state)", "--worker", "$(worker)"]),
            control: internal(&["control", "--state", "$(state)"]),
            resume: internal(&["supervisor", "--state", "$(state)"]),
            workers: 2,
            listeners: BTreeMap::new(),
            open_files: None,
            drain_ms: 30_000,
            ready_ms: 30_000,
        })
    }
}

/// Why a supervisor did not start, or ended otherwise than asked to.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The state directory.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// A listening socket.
    #[error(transparent)]
    Listen(#[from] protocol::Refusal),
    /// The kernel refused something without which there is no supervisor.
    #[error("the supervisor cannot {0}")]
    Io(&'static str, #[source] io::Error),
    /// [`resume`] was called, but no earlier image handed anything over.
    #[error("this hidden command continues a supervisor after an upgrade and is never called by hand: {0}")]
    NoHandover(String),
}

/// Runs a supervisor until it is told to end (SIGTERM, SIGINT, or [`Client::shutdown`]) and everything has ended.
///
/// SIGHUP upgrades, unless it means that the terminal was closed: then nothing happens. Call it on the main thread: the
/// kernel ties the children's life to it.
///
/// # Errors
/// [`SupervisorError`]; nothing runs then.
pub fn run(settings: Settings) -> Result<(), SupervisorError> {
    run_with(settings, Vec::new())
}

/// The same with listening sockets that somebody else has opened: whatever is to be listened on at the address of one
/// of them is served from it.
///
/// # Errors
/// As [`run`].
pub fn run_with(settings: Settings, given: Vec<OwnedFd>) -> Result<(), SupervisorError> {
    crate::failpoint::role("supervisor");
    in_runtime(async {
        let mut settings = settings;
        settings.state = state_dir::prepare(&settings.state)?;
        settings.open_files = open_files::raise().or(settings.open_files);
        house::House::open(settings, given).await?.run().await
    })
}

/// Continues the supervisor that this process was until it became this program.
///
/// # Errors
/// [`SupervisorError::NoHandover`] when it was none.
pub fn resume() -> Result<(), SupervisorError> {
    crate::failpoint::role("supervisor");
    in_runtime(async {
        let (passed, files) = handover::receive().map_err(SupervisorError::NoHandover)?;
        house::House::resume(passed, files)?.run().await
    })
}

fn in_runtime(work: impl Future<Output = Result<(), SupervisorError>>) -> Result<(), SupervisorError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| SupervisorError::Io("start", e))?.block_on(work)
}
