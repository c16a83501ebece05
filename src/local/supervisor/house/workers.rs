//! Proxy workers: as many as wanted, joined, ready, drained.

use std::time::Instant;

use super::commands::MAX_WORKERS;
use super::kept::{ChildId, Kept, Worker};
use super::{Ending, House, own_restart};
use crate::clock;
use crate::local::process::lifecycle::Lifecycle;
use crate::local::supervisor::protocol::{Answer, Boot, Event, Message, PROTOCOL, Refusal, Reply};
use crate::local::supervisor::server::{ConnectionId, Outgoing};

impl House {
    /// Starts workers that are missing and drains those too many.
    pub(super) fn settle_workers(&mut self, now: Instant) {
        if self.ending != Ending::No || self.upgrade.is_some() {
            return;
        }
        let serving: Vec<u64> = self.workers.iter().filter(|(_, w)| !w.draining).map(|(n, _)| *n).collect();
        let wanted = usize::try_from(self.settings.workers.min(MAX_WORKERS)).unwrap_or(usize::MAX);
        for number in serving.iter().skip(wanted) {
            self.drain(*number, now);
        }
        for _ in serving.len()..wanted {
            self.add_worker(self.generation, now);
        }
    }

    pub(super) fn add_worker(&mut self, generation: u64, now: Instant) -> u64 {
        let number = self.next_worker;
        self.next_worker += 1;
        let log = self.workers_log.of(format!("worker {number}"));
        let kept = Kept::new(Lifecycle::new(own_restart(), now), log, clock::now());
        let worker = Worker { kept, generation, ready: false, draining: false, connection: None };
        self.workers.insert(number, worker);
        number
    }

    pub(super) fn ensure_workers(&mut self, count: u32) -> Result<Answer, Refusal> {
        if count > MAX_WORKERS {
            return Err(Refusal::Invalid(format!("{count} workers; at most {MAX_WORKERS} are possible")));
        }
        self.settings.workers = count;
        Ok(Answer::Done)
    }

    /// A worker takes no new connections from now on and ends with its last request; killed when it takes too long.
    pub(super) fn drain(&mut self, number: u64, now: Instant) {
        let within = self.settings.drain_ms;
        let Some(worker) = self.workers.get_mut(&number).filter(|w| !w.draining) else { return };
        worker.draining = true;
        worker.kept.since = clock::now();
        let act = worker.kept.life.stop(super::ms(within), now);
        if let Some(connection) = worker.connection
            && let Ok(line) =
                serde_json::to_vec(&Message::Event { event: Event::Drain { within_ms: within } })
        {
            self.say(connection, Outgoing { line, files: Vec::new(), sent: None });
        }
        // SIGTERM means the same and also reaches a worker that has not joined.
        self.perform(&ChildId::Worker(number), act, None);
        self.tell_worker(number);
    }

    pub(super) fn join(&mut self, connection: ConnectionId, id: u64, protocol: u32, number: u64) {
        let pid = self.peers.get(&connection).map_or(0, |peer| peer.pid);
        let refusal = if protocol != PROTOCOL {
            Some(Refusal::Protocol(protocol))
        } else if self.workers.get(&number).is_none_or(|w| w.kept.pid != Some(pid)) {
            Some(Refusal::NotThatWorker { worker: number, pid })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return self.answer(connection, Reply { id, result: Err(refusal) });
        }
        let files = match self.listeners.copies() {
            Ok(files) => files,
            Err(error) => {
                let result = Err(Refusal::Invalid(format!("cannot copy the listening sockets: {error}")));
                return self.answer(connection, Reply { id, result });
            }
        };
        let boot = Boot {
            control_socket: self.control_socket(number),
            listeners: self.listeners.seen(),
            config: self.proxy_config.clone(),
        };
        let reply = Reply { id, result: Ok(Answer::Boot(boot)) };
        if let Ok(line) = serde_json::to_vec(&Message::Reply(reply)) {
            if let Some(worker) = self.workers.get_mut(&number) {
                worker.connection = Some(connection);
            }
            self.say(connection, Outgoing { line, files, sent: None });
        }
        let within_ms = self.settings.drain_ms;
        if self.workers.get(&number).is_some_and(|w| w.draining)
            && let Ok(line) = serde_json::to_vec(&Message::Event { event: Event::Drain { within_ms } })
        {
            self.say(connection, Outgoing { line, files: Vec::new(), sent: None });
        }
    }

    pub(super) fn worker_ready(&mut self, connection: ConnectionId) -> Result<Answer, Refusal> {
        let pid = self.peers.get(&connection).map_or(0, |peer| peer.pid);
        let joined = self.workers.iter_mut().find(|(_, w)| w.connection == Some(connection));
        let Some((number, worker)) = joined else {
            return Err(Refusal::NotThatWorker { worker: 0, pid });
        };
        if !worker.ready {
            worker.ready = true;
            worker.kept.since = clock::now();
            let number = *number;
            self.tell_worker(number);
        }
        Ok(Answer::Done)
    }
}
