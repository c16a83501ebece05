//! Who is told when a revision fails several times in a row.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    counts::Streak,
    wire::{BadStreak, Reply},
};

/// Who is told about bad streaks.
#[derive(Default)]
pub(super) struct Subscribers {
    queues: RefCell<Vec<mpsc::Sender<Said>>>,
    what: Cell<BadStreak>,
}

/// What is to be written.
pub(super) enum Said {
    Reply(Reply),
    Streak { listener: String, revision: String },
}

impl Subscribers {
    pub(super) fn add(&self, queue: mpsc::Sender<Said>, what: BadStreak) {
        self.what.set(what);
        self.queues.borrow_mut().push(queue);
    }

    pub(super) fn failed(&self, listener: &str, revision: &str, streak: &Streak, now: Instant) {
        let mut queues = self.queues.borrow_mut();
        let BadStreak { failures, within_ms } = self.what.get();
        if queues.is_empty() || !streak.failed(now, failures.max(1), Duration::from_millis(within_ms)) {
            return;
        }
        // Who does not read in time asks again anyway; nobody waits for it.
        queues.retain(|queue| {
            let said = Said::Streak { listener: listener.to_owned(), revision: revision.to_owned() };
            !matches!(queue.try_send(said), Err(mpsc::error::TrySendError::Closed(_)))
        });
    }
}
