//! What the supervisor knows of one child: a user's process, a worker, or the control process.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::local::process::ProcessSpec;
use crate::local::process::child::Exit;
use crate::local::process::lifecycle::{Lifecycle, Stage};
use crate::local::process::log::Log;
use crate::local::process::words;
use crate::local::supervisor::protocol::{
    LastExit, ProcessId, ProcessSeen, ProcessState, WorkerSeen, WorkerState,
};

/// Which child.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ChildId {
    Process(ProcessId),
    Worker(u64),
    Control,
}

/// One child over all its runs.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) life: Lifecycle,
    pub(super) pid: Option<u32>,
    pub(super) since: Timestamp,
    pub(super) last_exit: Option<LastExit>,
    /// Why the program did not take over, until the exit is known.
    pub(super) not_started: Option<String>,
    pub(super) log: SharedLog,
    /// The reading end of its output, kept to be passed on by an upgrade.
    pub(super) output: Option<std::os::fd::OwnedFd>,
    pub(super) reading: Option<JoinHandle<()>>,
    /// Told when all of its output has been read.
    pub(super) drained: Option<oneshot::Receiver<()>>,
}

/// Lines that are kept of what a run printed last.
const LAST_WORDS: usize = 10;

impl Kept {
    pub(super) fn new(life: Lifecycle, log: SharedLog, now: Timestamp) -> Self {
        let (pid, last_exit, not_started, output) = (None, None, None, None);
        let (reading, drained) = (None, None);
        Self { life, pid, since: now, last_exit, not_started, log, output, reading, drained }
    }

    pub(super) fn ended(&self) -> bool {
        self.pid.is_none() && self.life.stage == Stage::Ended
    }

    /// The program of a run has ended, and others that it started have not.
    pub(super) fn left_others(&mut self, exit: Exit, count: usize, wall: Timestamp) {
        self.log.note(&format!("{exit}; {count} of the processes it started are still ending"));
        self.last_exit = Some(LastExit { exit, at: wall, reason: None, said: vec![] });
    }

    /// A run has ended.
    pub(super) fn exited(&mut self, exit: Exit, wall: Timestamp, now: Instant) {
        let reason = self.not_started.take();
        let said = self.log.said(LAST_WORDS);
        let said = said.iter().map(|it| words::plain(it)).filter(|it| !it.is_empty()).collect();
        self.log
            .note(&reason.as_ref().map_or_else(|| exit.to_string(), |reason| format!("{exit}: {reason}")));
        self.pid = None;
        self.output = None;
        self.last_exit = Some(LastExit { exit, at: wall, reason, said });
        self.life.exited(exit, now);
        self.since = wall;
    }

    pub(super) fn state(&self) -> ProcessState {
        match self.life.stage {
            Stage::Waiting { .. } if self.last_exit.is_none() => ProcessState::Starting,
            Stage::Waiting { .. } => ProcessState::BackingOff,
            Stage::Starting { .. } => ProcessState::Starting,
            Stage::Running { .. } => ProcessState::Running,
            Stage::Stopping { .. } | Stage::Remains { .. } => ProcessState::Stopping,
            Stage::Ended => ProcessState::Exited,
        }
    }
}

/// A log that the supervisor and the tasks reading its children's output share. Never held across an await.
#[derive(Debug, Clone)]
pub(super) struct SharedLog {
    log: Arc<Mutex<Log>>,
    /// Who is meant where children share a log.
    of: Option<String>,
}

impl SharedLog {
    pub(super) fn new(log: Log) -> Self {
        Self { log: Arc::new(Mutex::new(log)), of: None }
    }

    /// The same log, for one of the children that share it.
    pub(super) fn of(&self, child: String) -> Self {
        Self { log: Arc::clone(&self.log), of: Some(child) }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.lock().path().to_owned()
    }

    /// The last lines.
    pub(super) fn last(&self, count: usize) -> Vec<String> {
        self.lock().last(count)
    }

    /// What a child that has a log to itself printed in its present run, the last lines of it.
    fn said(&self, count: usize) -> Vec<String> {
        match self.of {
            Some(_) => vec![],
            None => self.lock().said(count),
        }
    }

    /// What a child printed.
    pub(super) fn take(&self, bytes: &[u8]) {
        self.lock().take(bytes);
    }

    /// A line of the supervisor's own about the child.
    fn note(&self, text: &str) {
        match &self.of {
            Some(child) => self.lock().note(&format!("{child}: {text}")),
            None => self.lock().note(text),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A user's process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) kept: Kept,
    pub(super) spec: ProcessSpec,
    pub(super) epoch: u64,
    pub(super) port: u16,
    /// It was told to end; when it has, it is forgotten.
    pub(super) leaving: bool,
    /// It is wanted again, with this spec, as soon as it has ended.
    pub(super) then: Option<ProcessSpec>,
}

impl Process {
    pub(super) fn seen(&self, id: &ProcessId) -> ProcessSeen {
        ProcessSeen {
            process: id.clone(),
            epoch: self.epoch,
            pid: self.kept.pid,
            port: self.port,
            state: self.kept.state(),
            since: self.kept.since,
            restarts: self.kept.life.restarts,
            last_exit: self.kept.last_exit.clone(),
            log: self.kept.log.path(),
        }
    }
}

/// A proxy worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) kept: Kept,
    /// The program's generation it was started from.
    pub(super) generation: u64,
    /// It said that it serves.
    pub(super) ready: bool,
    /// It takes no more connections and is forgotten when it has ended.
    pub(super) draining: bool,
    /// Where orders reach it.
    pub(super) connection: Option<u64>,
}

impl Worker {
    pub(super) fn seen(&self, number: u64, control_socket: std::path::PathBuf) -> WorkerSeen {
        let state = match (self.draining, self.ready) {
            (true, _) => WorkerState::Draining,
            (false, true) => WorkerState::Ready,
            (false, false) => WorkerState::Starting,
        };
        WorkerSeen { worker: number, pid: self.kept.pid, control_socket, state, since: self.kept.since }
    }
}
