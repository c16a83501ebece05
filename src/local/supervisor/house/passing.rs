//! What one image of the supervisor tells the next.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use super::children::follow_end;
use super::kept::{ChildId, Kept, Process, SharedLog, Worker};
use super::{House, Ports, first_port, port};
use crate::clock;
use crate::local::process::child::{self, Watch};
use crate::local::process::lifecycle::{Lifecycle, Stage};
use crate::local::process::{ProcessSpec, Restart};
use crate::local::supervisor::protocol::{LastExit, ProcessId};
use crate::local::supervisor::{Settings, SupervisorError};
use crate::local::timeline;

/// Everything a supervisor knows, as the next image reads it. Files are named by their place in the list beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::local::supervisor) struct Passed {
    settings: Settings,
    since: Timestamp,
    generation: u64,
    lock: usize,
    socket: usize,
    listeners: Vec<(String, SocketAddr, usize)>,
    processes: Vec<PassedProcess>,
    workers: Vec<PassedWorker>,
    control: Option<PassedChild>,
    epochs: BTreeMap<String, u64>,
    next_worker: u64,
    proxy_config: Option<String>,
    has_terminal: bool,
    /// Sockets that a service manager has opened.
    #[serde(default)]
    offered: Vec<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PassedProcess {
    id: ProcessId,
    child: PassedChild,
    spec: ProcessSpec,
    epoch: u64,
    port: u16,
    leaving: bool,
    then: Option<ProcessSpec>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PassedWorker {
    number: u64,
    child: PassedChild,
    generation: u64,
    ready: bool,
    draining: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PassedChild {
    pid: Option<u32>,
    stage: PassedStage,
    restarts: u64,
    in_a_row: u32,
    since: Timestamp,
    last_exit: Option<LastExit>,
    output: Option<usize>,
}

/// A [`Stage`] with times from now, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum PassedStage {
    WaitingFor(u64),
    RunningFor(u64),
    Stopping { kill_in: u64, killed: bool },
    Ended,
}

impl PassedStage {
    fn of(stage: Stage, now: Instant) -> Self {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        match stage {
            Stage::Waiting { until } => Self::WaitingFor(ms(until.saturating_duration_since(now))),
            // Whether it takes over is not heard any more; if it does not, its end will be.
            // The end of the program is heard again by whoever watches it next.
            Stage::Starting { since } | Stage::Running { since } | Stage::Remains { since, .. } => {
                Self::RunningFor(ms(now.saturating_duration_since(since)))
            }
            Stage::Stopping { kill_at, killed } => {
                Self::Stopping { kill_in: ms(kill_at.saturating_duration_since(now)), killed }
            }
            Stage::Ended => Self::Ended,
        }
    }

    fn stage(self, now: Instant) -> Stage {
        match self {
            Self::WaitingFor(ms) => Stage::Waiting { until: now + super::ms(ms) },
            Self::RunningFor(ms) => Stage::Running { since: now.checked_sub(super::ms(ms)).unwrap_or(now) },
            Self::Stopping { kill_in, killed } => {
                Stage::Stopping { kill_at: now + super::ms(kill_in), killed }
            }
            Self::Ended => Stage::Ended,
        }
    }
}

/// Files to be passed on, and their places.
#[derive(Default)]
struct Files(Vec<OwnedFd>);

impl Files {
    fn add(&mut self, file: impl AsFd) -> io::Result<usize> {
        self.0.push(file.as_fd().try_clone_to_owned()?);
        Ok(self.0.len() - 1)
    }

    fn child(&mut self, kept: &Kept, now: Instant) -> io::Result<PassedChild> {
        Ok(PassedChild {
            pid: kept.pid,
            stage: PassedStage::of(kept.life.stage, now),
            restarts: kept.life.restarts,
            in_a_row: kept.life.in_a_row,
            since: kept.since,
            last_exit: kept.last_exit.clone(),
            output: kept.output.as_ref().map(|output| self.add(output)).transpose()?,
        })
    }
}

impl House {
    /// Everything the next image has to know, and the files it has to have.
    pub(super) fn pass(&self, executable: &Path) -> io::Result<(Passed, Vec<OwnedFd>)> {
        let now = clock::instant();
        let mut files = Files::default();
        let mut settings = self.settings.clone();
        settings.executable = executable.to_owned();
        let mut processes = Vec::new();
        for (id, process) in &self.processes {
            let Process { kept, spec, epoch, port, leaving, then } = process;
            let (id, child) = (id.clone(), files.child(kept, now)?);
            let (spec, then) = (spec.clone(), then.clone());
            processes.push(PassedProcess {
                id,
                child,
                spec,
                epoch: *epoch,
                port: *port,
                leaving: *leaving,
                then,
            });
        }
        let mut workers = Vec::new();
        for (number, worker) in &self.workers {
            let Worker { kept, generation, ready, draining, connection: _ } = worker;
            let child = files.child(kept, now)?;
            let (number, generation) = (*number, *generation);
            workers.push(PassedWorker { number, child, generation, ready: *ready, draining: *draining });
        }
        let mut listeners = Vec::new();
        for (name, asked, socket) in self.listeners.each() {
            listeners.push((name.clone(), asked, files.add(socket)?));
        }
        let passed = Passed {
            settings,
            since: self.since,
            generation: self.generation + 1,
            lock: files.add(&self.lock)?,
            socket: files.add(&self.socket)?,
            listeners,
            processes,
            workers,
            control: self.control.as_ref().map(|control| files.child(control, now)).transpose()?,
            epochs: self.epochs.clone(),
            next_worker: self.next_worker,
            proxy_config: self.proxy_config.clone(),
            has_terminal: self.has_terminal,
            offered: self.listeners.offered().map(|it| files.add(it)).collect::<io::Result<_>>()?,
        };
        Ok((passed, files.0))
    }

    /// The supervisor that `passed` describes, and the second half of its upgrade.
    pub(in crate::local::supervisor) fn resume(
        passed: Passed,
        files: Vec<OwnedFd>,
    ) -> Result<Self, SupervisorError> {
        timeline::take_up(&passed.settings.state, Timestamp::MIN);
        let mut files: Vec<Option<OwnedFd>> = files.into_iter().map(Some).collect();
        let mut file = |place: usize| {
            let missing = || SupervisorError::NoHandover(format!("file {place} is missing"));
            files.get_mut(place).and_then(Option::take).ok_or_else(missing)
        };
        let io = |error| SupervisorError::Io("take over its sockets", error);
        let lock = File::from(file(passed.lock)?);
        let socket = StdUnixListener::from(file(passed.socket)?);
        socket.set_nonblocking(true).map_err(io)?;
        let socket = UnixListener::from_std(socket).map_err(io)?;
        let mut ports = Ports::new(port::below_ephemeral(), first_port());
        for process in &passed.processes {
            ports.keep(process.id.clone(), process.port);
        }
        let mut house = Self::new(passed.settings, lock, socket, ports)?;
        let offered: Result<Vec<_>, _> = passed.offered.into_iter().map(&mut file).collect();
        house.listeners.offer(offered?).map_err(io)?;
        for (name, asked, place) in passed.listeners {
            house.listeners.adopt(name, asked, file(place)?).map_err(io)?;
        }
        (house.since, house.generation) = (passed.since, passed.generation);
        (house.epochs, house.next_worker) = (passed.epochs, passed.next_worker);
        (house.proxy_config, house.has_terminal) = (passed.proxy_config, passed.has_terminal);
        for process in passed.processes {
            let PassedProcess { id, child, spec, epoch, port, leaving, then } = process;
            let output = child.output.map(&mut file).transpose()?;
            let log = house.log_of(&id, &spec);
            let kept = kept(child, spec.restart.clone(), log, output);
            house.processes.insert(id, Process { kept, spec, epoch, port, leaving, then });
        }
        for PassedWorker { number, child, generation, ready, draining } in passed.workers {
            let output = child.output.map(&mut file).transpose()?;
            let log = house.workers_log.of(format!("worker {number}"));
            let kept = kept(child, super::own_restart(), log, output);
            house.workers.insert(number, Worker { kept, generation, ready, draining, connection: None });
        }
        if let (Some(child), Some(control)) = (passed.control, house.control.as_ref()) {
            let output = child.output.map(&mut file).transpose()?;
            house.control = Some(kept(child, super::own_restart(), control.log.clone(), output));
        }
        house.watch_again();
        house.finish_upgrade();
        Ok(house)
    }

    fn watch_again(&mut self) {
        let processes = self.processes.keys().cloned().map(ChildId::Process);
        let workers = self.workers.keys().copied().map(ChildId::Worker);
        for child in processes.chain(workers).chain([ChildId::Control]).collect::<Vec<_>>() {
            let Some(pid) = self.kept(&child).and_then(|kept| kept.pid) else { continue };
            match Watch::new(pid) {
                Ok(handle) => {
                    let drained = self.kept(&child).and_then(|kept| kept.drained.take());
                    let of_user = (self.family(&child, pid), drained);
                    tokio::spawn(follow_end(child, pid, handle, of_user, self.news_to.clone()));
                }
                Err(_) => {
                    child::abandon(pid);
                    self.lost(child, pid);
                }
            }
        }
    }
}

fn kept(child: PassedChild, restart: Restart, log: SharedLog, output: Option<OwnedFd>) -> Kept {
    let PassedChild { pid, stage, restarts, in_a_row, since, last_exit, output: _ } = child;
    let stage = stage.stage(clock::instant());
    let mut kept = Kept::new(Lifecycle::resumed(restart, stage, restarts, in_a_row), log, since);
    (kept.pid, kept.last_exit) = (pid, last_exit);
    if let Some(output) = output {
        kept.read(output);
    }
    kept
}
