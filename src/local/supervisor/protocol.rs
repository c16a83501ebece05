//! What is said over `<state>/supervisor.sock`: one JSON object per line, both ways.
//!
//! A client sends [`Call`]s and gets one [`Reply`] each, in any order, by `id`; a client that subscribed also gets
//! [`Event`]s. Every command may be repeated without harm, so a client that lost its connection says it again.
//! Fields may be added to a later version's messages; a reader ignores what it does not know.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::local::process::child::Exit;
use crate::local::process::words::telling;
use crate::local::process::{ProcessSpec, StopSignal};

/// Version of these messages. A supervisor and its children speak the same one, or one of them says so and ends.
pub const PROTOCOL: u32 = 1;

/// One command, with a number of the client's own to know the answer by.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    /// Repeated in the answer.
    pub id: u64,
    /// The command.
    pub request: Request,
}

/// The commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// A worker asks for its listening sockets and its configuration. Only a child started as this worker may.
    Join {
        /// [`PROTOCOL`] of the worker.
        protocol: u32,
        /// Its number, given on its command line.
        worker: u64,
    },
    /// A worker serves.
    Ready,
    /// There shall be this process, as this spec says.
    EnsureProcess {
        /// Which.
        process: ProcessId,
        /// Epoch of the rollout; see [`Refusal::StaleEpoch`].
        epoch: u64,
        /// What it runs.
        spec: ProcessSpec,
    },
    /// This process shall end, and its port be given back.
    StopProcess {
        /// Which.
        process: ProcessId,
        /// Epoch of the rollout; see [`Refusal::StaleEpoch`].
        epoch: u64,
        /// Overrides the spec's grace, milliseconds.
        #[serde(default)]
        grace_ms: Option<u64>,
        /// Overrides the spec's signal.
        #[serde(default)]
        signal: Option<StopSignal>,
    },
    /// What is there?
    Observe,
    /// The last lines a process printed.
    Lines {
        /// Which.
        process: ProcessId,
        /// At most so many.
        count: usize,
    },
    /// Exactly these addresses shall be listened on. Those not named are closed.
    EnsureListeners {
        /// Address by name.
        listeners: BTreeMap<String, SocketAddr>,
    },
    /// Exactly so many workers shall serve, `0 ..= 64`.
    EnsureWorkers {
        /// How many.
        count: u32,
    },
    /// Workers started from now on begin with this proxy configuration. Save first, then tell the workers that run:
    /// then no worker can begin with an older one than its neighbours serve.
    SaveProxyConfig {
        /// The configuration, whatever its format, in base64.
        base64: String,
    },
    /// Send [`Event`]s over this connection from now on.
    Subscribe,
    /// Replace every part of the program by `executable` without losing a request. The answer comes when new workers
    /// serve and the supervisor is about to become the new program; then this connection ends.
    Upgrade {
        /// The new program; `None` reads the present path again.
        executable: Option<PathBuf>,
    },
    /// Drain the workers, then end everything.
    Shutdown,
}

/// One process of a user: the key of every command about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// Name of the rollout.
    pub rollout: String,
    /// Revision it runs.
    pub revision: String,
    /// Role of the arm: `main`, `baseline`, or a trial's name.
    pub role: String,
    /// Number within the arm, from 0.
    pub ordinal: u32,
}

impl std::fmt::Display for ProcessId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/{}", self.rollout, self.revision, self.role, self.ordinal)
    }
}

/// The answer to a [`Call`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply {
    /// The call's own.
    pub id: u64,
    /// What it asked for, or why not.
    pub result: Result<Answer, Refusal>,
}

/// What a command answers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// Done, or on its way; `Observe` tells.
    Done,
    /// To [`Request::EnsureProcess`]: where the process stands, its port included.
    Process(ProcessSeen),
    /// To [`Request::Observe`].
    Seen(Observation),
    /// To [`Request::Lines`], oldest first.
    Lines(Vec<String>),
    /// To [`Request::EnsureListeners`], with the ports that port 0 became.
    Listeners(Vec<ListenerSeen>),
    /// To [`Request::Join`]; the sockets come with it, in the order of `listeners`.
    Boot(Boot),
}

/// What a worker begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Boot {
    /// Where this worker's own control socket belongs.
    pub control_socket: PathBuf,
    /// The sockets that come with this message.
    pub listeners: Vec<ListenerSeen>,
    /// Last configuration saved, base64.
    pub config: Option<String>,
}

/// Why a command was not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// Someone with more recent knowledge has commanded this rollout since: look again before acting.
    #[error("epoch {given} of {rollout} is over: epoch {highest} has been seen")]
    StaleEpoch {
        /// The rollout.
        rollout: String,
        /// Epoch of the command.
        given: u64,
        /// Highest epoch seen.
        highest: u64,
    },
    /// Everything is being shut down, nothing starts any more.
    #[error("the supervisor is shutting down")]
    ShuttingDown,
    /// The line was no command.
    #[error("not a command this supervisor knows: {0}")]
    NotUnderstood(String),
    /// Not for this peer.
    #[error("process {pid} was not started as worker {worker}")]
    NotThatWorker {
        /// Number it gave.
        worker: u64,
        /// The peer's process id.
        pid: u32,
    },
    /// A child of another version.
    #[error("this supervisor speaks version {PROTOCOL}, the worker version {0}")]
    Protocol(u32),
    /// There is no such process.
    #[error("no process {0}")]
    NoSuchProcess(ProcessId),
    /// A command that can't be followed as it stands.
    #[error("{0}")]
    Invalid(String),
    /// An address could not be listened on; the listeners are as they were.
    #[error("cannot listen on {address} ({name}): {reason}")]
    Listen {
        /// The listener's name.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// What the kernel said, and what to do.
        reason: String,
    },
    /// The new program does not work; the present one goes on.
    #[error("the upgrade was given up, everything runs on as before: {0}")]
    UpgradeFailed(String),
}

/// One consistent look at everything the supervisor keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// The supervisor itself.
    pub supervisor: SupervisorSeen,
    /// Processes by id. One that was stopped is gone from here when it has ended.
    pub processes: Vec<ProcessSeen>,
    /// Workers by number.
    pub workers: Vec<WorkerSeen>,
    /// Listening sockets by name.
    pub listeners: Vec<ListenerSeen>,
    /// Highest epoch seen per rollout.
    pub epochs: BTreeMap<String, u64>,
}

/// The supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupervisorSeen {
    /// Process id; an upgrade keeps it.
    pub pid: u32,
    /// 1, and one more after each upgrade.
    pub generation: u64,
    /// Version of the program.
    pub version: String,
    /// The program's path.
    pub executable: PathBuf,
    /// Since when this supervisor is there, upgrades included.
    pub since: Timestamp,
    /// Process id of the control process, if it runs.
    pub control: Option<u32>,
    /// How often the control process has been restarted.
    pub control_restarts: u64,
    /// Everything is being shut down.
    pub shutting_down: bool,
    /// What went wrong with the last upgrade, if something did.
    pub upgrade_error: Option<String>,
}

/// One user process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessSeen {
    /// Which.
    pub process: ProcessId,
    /// Epoch of the last command about it.
    pub epoch: u64,
    /// Process id, while it runs.
    pub pid: Option<u32>,
    /// Its port, the same over all its runs.
    pub port: u16,
    /// Where it stands.
    pub state: ProcessState,
    /// Since when it stands there.
    pub since: Timestamp,
    /// Restarts so far.
    pub restarts: u64,
    /// How its last run ended, if one has.
    pub last_exit: Option<LastExit>,
    /// Its log file; older ones are `.1`, `.2` …
    pub log: PathBuf,
}

/// How a run of a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastExit {
    /// How.
    pub exit: Exit,
    /// When.
    pub at: Timestamp,
    /// Why, where it is known: the program could not be started.
    pub reason: Option<String>,
    /// The last lines it printed in that run, oldest first, at most ten.
    #[serde(default)]
    pub said: Vec<String>,
}

impl LastExit {
    /// How it ended and why, as far as that is known: `exit code 1: Address already in use`.
    #[must_use]
    pub fn in_words(&self) -> String {
        match (&self.reason, telling(&self.said)) {
            (Some(reason), _) => reason.clone(),
            (None, Some(line)) => format!("{}: {line}", self.exit),
            (None, None) => format!("{}, without a word", self.exit),
        }
    }
}

/// Where a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProcessState {
    /// Started; the program has not taken over yet.
    Starting,
    /// The program runs. Whether it is healthy is not the supervisor's to know.
    Running,
    /// It ended and will be started again.
    BackingOff,
    /// It was asked to end.
    Stopping,
    /// It ended and, as its restart policy says, stays so.
    Exited,
}

/// One proxy worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerSeen {
    /// Its number; never used twice.
    pub worker: u64,
    /// Process id, while it runs.
    pub pid: Option<u32>,
    /// Where it listens for commands of the control process.
    pub control_socket: PathBuf,
    /// Where it stands.
    pub state: WorkerState,
    /// Since when.
    pub since: Timestamp,
}

/// Where a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkerState {
    /// Started, or to be started; it does not serve yet.
    Starting,
    /// It serves.
    Ready,
    /// It takes no new connections and ends with its last request.
    Draining,
}

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSeen {
    /// Its name.
    pub name: String,
    /// The address it really has.
    pub address: SocketAddr,
}

/// What a supervisor tells without being asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// A process changed its state, or was started anew.
    Process(ProcessSeen),
    /// A process was stopped and has ended.
    ProcessGone(ProcessId),
    /// A worker changed its state. A `Ready` one has the configuration last saved.
    Worker(WorkerSeen),
    /// A worker has ended; another takes its place unless it was draining.
    WorkerGone(u64),
    /// To workers: from now on these sockets, which come with this message, and no others.
    Listeners(Vec<ListenerSeen>),
    /// To a worker: take no new connections, finish what is under way, end within this time.
    Drain {
        /// Milliseconds until it is killed.
        within_ms: u64,
    },
    /// Everything is being shut down.
    ShuttingDown,
    /// The connection was lost and made again: events may be missing, look at everything.
    Reconnected,
}

/// Whatever a supervisor sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Message {
    /// An answer.
    Reply(Reply),
    /// An event.
    Event {
        /// What happened.
        event: Event,
    },
}
