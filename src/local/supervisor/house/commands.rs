//! Following commands.

use tokio::sync::oneshot;

use super::kept::{ChildId, Kept, Process, SharedLog};
use super::{Ending, House};
use crate::clock;
use crate::local::process::lifecycle::Lifecycle;
use crate::local::process::log::Log;
use crate::local::process::{ProcessSpec, StopSignal};
use crate::local::supervisor::logs;
use crate::local::supervisor::protocol::{
    Answer, Call, Event, Message, Observation, ProcessId, Refusal, Reply, Request, SupervisorSeen,
};
use crate::local::supervisor::server::{ConnectionId, Outgoing};

/// Most workers: more than the cores of any machine this is for.
pub(super) const MAX_WORKERS: u32 = 64;
/// Most listening sockets: every worker holds each of them.
const MAX_LISTENERS: usize = 1_024;

impl House {
    pub(super) async fn follow(&mut self, connection: ConnectionId, call: Result<Box<Call>, String>) {
        let Call { id, request } = match call {
            Ok(call) => *call,
            Err(error) => {
                let result = Err(Refusal::NotUnderstood(error));
                return self.answer(connection, Reply { id: 0, result });
            }
        };
        let result = match request {
            Request::Join { protocol, worker } => return self.join(connection, id, protocol, worker),
            Request::Upgrade { executable } => return self.begin_upgrade(executable, Some((connection, id))),
            Request::Ready => self.worker_ready(connection),
            Request::EnsureProcess { process, epoch, spec } => self.ensure_process(process, epoch, spec),
            Request::StopProcess { process, epoch, grace_ms, signal } => {
                self.stop_process(&process, epoch, grace_ms, signal)
            }
            Request::Observe => Ok(Answer::Seen(self.observe())),
            Request::Lines { process, count } => self.lines(process, count),
            Request::EnsureListeners { listeners } => self.ensure_listeners(&listeners),
            Request::EnsureWorkers { count } => self.ensure_workers(count),
            Request::SaveProxyConfig { base64 } => {
                self.proxy_config = Some(base64);
                Ok(Answer::Done)
            }
            Request::Subscribe => {
                if let Some(peer) = self.peers.get_mut(&connection) {
                    peer.subscribed = true;
                }
                Ok(Answer::Done)
            }
            Request::Shutdown => {
                self.answer(connection, Reply { id, result: Ok(Answer::Done) });
                return self.end();
            }
        };
        self.answer(connection, Reply { id, result });
    }

    /// Answers and waits until the kernel has the answer, briefly: what follows ends the connection.
    pub(super) async fn answer_now(&mut self, connection: ConnectionId, reply: Reply) {
        let (sent, was_sent) = oneshot::channel();
        let Ok(line) = serde_json::to_vec(&Message::Reply(reply)) else { return };
        self.say(connection, Outgoing { line, files: Vec::new(), sent: Some(sent) });
        let _ = tokio::time::timeout(super::ms(1_000), was_sent).await;
    }

    fn admit(&mut self, process: &ProcessId, epoch: u64) -> Result<(), Refusal> {
        for name in [&process.rollout, &process.revision, &process.role] {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if name.is_empty() || name.len() > 253 || name.starts_with('.') || !name.chars().all(plain) {
                return Err(Refusal::Invalid(format!("{name:?} is no name: letters, digits, '.', '_', '-'")));
            }
        }
        let highest = self.epochs.entry(process.rollout.clone()).or_insert(epoch);
        if epoch < *highest {
            let (rollout, highest) = (process.rollout.clone(), *highest);
            return Err(Refusal::StaleEpoch { rollout, given: epoch, highest });
        }
        *highest = epoch;
        Ok(())
    }

    fn ensure_process(&mut self, id: ProcessId, epoch: u64, spec: ProcessSpec) -> Result<Answer, Refusal> {
        if self.ending != Ending::No {
            return Err(Refusal::ShuttingDown);
        }
        self.admit(&id, epoch)?;
        if spec.command.first().is_none_or(String::is_empty) {
            return Err(Refusal::Invalid(format!("the command of {id} is empty")));
        }
        let now = clock::instant();
        if let Some(process) = self.processes.get_mut(&id) {
            process.epoch = epoch;
            let stays = !process.leaving && process.spec == spec;
            process.then = (!stays).then_some(spec);
            if !stays && !process.leaving {
                let (grace, signal) = (process.spec.stop.grace(), process.spec.stop.signal);
                let act = process.kept.life.stop(grace, now);
                self.perform(&ChildId::Process(id.clone()), act, Some(signal));
            }
        } else {
            let port = self.ports.of(&id).map_err(|error| Refusal::Invalid(error.to_string()))?;
            let kept =
                Kept::new(Lifecycle::new(spec.restart.clone(), now), self.log_of(&id, &spec), clock::now());
            let process = Process { kept, spec, epoch, port, leaving: false, then: None };
            self.processes.insert(id.clone(), process);
        }
        // The answer tells of the start itself, not of a start to come.
        self.forget_ended();
        self.settle_children(now);
        match self.processes.get(&id) {
            Some(process) => Ok(Answer::Process(process.seen(&id))),
            None => Err(Refusal::NoSuchProcess(id)),
        }
    }

    pub(super) fn log_of(&self, id: &ProcessId, spec: &ProcessSpec) -> SharedLog {
        let name = format!("{}-{}-{}.log", id.revision, id.role, id.ordinal);
        let path = logs::directory(&self.settings.state).join(&id.rollout).join(name);
        SharedLog::new(Log::new(path, spec.log.clone()))
    }

    fn stop_process(
        &mut self,
        id: &ProcessId,
        epoch: u64,
        grace_ms: Option<u64>,
        signal: Option<StopSignal>,
    ) -> Result<Answer, Refusal> {
        self.admit(id, epoch)?;
        let Some(process) = self.processes.get_mut(id) else { return Ok(Answer::Done) };
        process.epoch = epoch;
        process.then = None;
        process.leaving = true;
        let grace = grace_ms.map_or(process.spec.stop.grace(), super::ms);
        let signal = signal.unwrap_or(process.spec.stop.signal);
        let act = process.kept.life.stop(grace, clock::instant());
        process.kept.since = clock::now();
        self.perform(&ChildId::Process(id.clone()), act, Some(signal));
        self.tell_process(id);
        Ok(Answer::Done)
    }

    fn lines(&self, id: ProcessId, count: usize) -> Result<Answer, Refusal> {
        match self.processes.get(&id) {
            Some(process) => Ok(Answer::Lines(process.kept.log.last(count))),
            None => Err(Refusal::NoSuchProcess(id)),
        }
    }

    fn ensure_listeners(&mut self, wanted: &super::Addresses) -> Result<Answer, Refusal> {
        if self.ending != Ending::No {
            return Err(Refusal::ShuttingDown);
        }
        if wanted.len() > MAX_LISTENERS {
            let most = MAX_LISTENERS;
            return Err(Refusal::Invalid(format!("{} listeners; at most {most} are possible", wanted.len())));
        }
        if self.listeners.ensure(wanted)? {
            self.tell_workers_listeners();
        }
        Ok(Answer::Listeners(self.listeners.seen()))
    }

    fn tell_workers_listeners(&mut self) {
        let connections: Vec<_> = self.workers.values().filter_map(|w| w.connection).collect();
        for connection in connections {
            let event = Event::Listeners(self.listeners.seen());
            match (serde_json::to_vec(&Message::Event { event }), self.listeners.copies()) {
                (Ok(line), Ok(files)) => self.say(connection, Outgoing { line, files, sent: None }),
                // Without the sockets the worker would go on with the old ones; joined anew it gets these.
                (Ok(_) | Err(_), Ok(_) | Err(_)) => self.forget_peer(connection),
            }
        }
    }

    pub(super) fn observe(&self) -> Observation {
        Observation {
            supervisor: SupervisorSeen {
                pid: std::process::id(),
                generation: self.generation,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                executable: self.settings.executable.clone(),
                since: self.since,
                control: self.control.as_ref().and_then(|c| c.pid),
                control_restarts: self.control.as_ref().map_or(0, |c| c.life.restarts),
                shutting_down: self.ending != Ending::No,
                upgrade_error: self.upgrade_error.clone(),
            },
            processes: self.processes.iter().map(|(id, process)| process.seen(id)).collect(),
            workers: self.workers.iter().map(|(n, w)| w.seen(*n, self.control_socket(*n))).collect(),
            listeners: self.listeners.seen(),
            epochs: self.epochs.clone(),
        }
    }
}
