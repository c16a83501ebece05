//! The end of everything, in the order that fails nobody: workers finish what is under way while all that they need
//! still runs; then the control process; then the users' processes.

use std::time::{Duration, Instant};

use super::kept::ChildId;
use super::{Ending, House};
use crate::clock;
use crate::local::supervisor::protocol::Event;

/// What the control process gets to end by itself.
const CONTROL_GRACE: Duration = Duration::from_secs(5);

impl House {
    /// Begins the end. Asked a second time, everything is killed.
    pub(super) fn end(&mut self) {
        let now = clock::instant();
        if self.ending != Ending::No {
            return self.kill_all(now);
        }
        tracing::info!("shutting down");
        self.ending = Ending::Draining;
        if let Some(upgrade) = self.upgrade.take() {
            self.give_up(upgrade, "the supervisor is shutting down", now);
        }
        self.listeners.close();
        for number in self.workers.keys().copied().collect::<Vec<_>>() {
            self.drain(number, now);
        }
        self.tell(Event::ShuttingDown);
    }

    fn kill_all(&mut self, now: Instant) {
        self.ending = Ending::StoppingProcesses;
        let mut children = vec![ChildId::Control];
        children.extend(self.workers.keys().copied().map(ChildId::Worker));
        children.extend(self.processes.keys().cloned().map(ChildId::Process));
        for process in self.processes.values_mut() {
            (process.leaving, process.then) = (true, None);
        }
        for child in children {
            let Some(kept) = self.kept(&child) else { continue };
            let asked = kept.life.stop(Duration::ZERO, now);
            let due = kept.life.due(now);
            self.perform(&child, asked, None);
            self.perform(&child, due, None);
        }
    }

    /// Takes the next step of the end when the one before is done; false when all are.
    pub(super) fn settle_ending(&mut self, now: Instant) -> bool {
        if self.ending == Ending::Draining && self.workers.is_empty() {
            self.ending = Ending::StoppingControl;
            if let Some(control) = self.control.as_mut() {
                let act = control.life.stop(CONTROL_GRACE, now);
                self.perform(&ChildId::Control, act, None);
            }
        }
        let control_ended = self.control.as_ref().is_none_or(super::Kept::ended);
        if self.ending == Ending::StoppingControl && control_ended {
            self.ending = Ending::StoppingProcesses;
            for id in self.processes.keys().cloned().collect::<Vec<_>>() {
                let Some(process) = self.processes.get_mut(&id) else { continue };
                (process.leaving, process.then) = (true, None);
                let (grace, signal) = (process.spec.stop.grace(), process.spec.stop.signal);
                let act = process.kept.life.stop(grace, now);
                self.perform(&ChildId::Process(id), act, Some(signal));
            }
            self.forget_ended();
        }
        let all_ended = control_ended && self.workers.is_empty() && self.processes.is_empty();
        self.ending != Ending::StoppingProcesses || !all_ended
    }
}
