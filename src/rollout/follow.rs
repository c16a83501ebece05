//! What those hold who follow a rollout at work.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use crate::api::view::{JournalRecord, RolloutEvent, RolloutView};

/// What others hold of a rollout at work.
#[derive(Clone, Debug)]
pub struct Told {
    /// How it stands, published at every change.
    pub view: watch::Sender<Option<Arc<RolloutView>>>,
    /// What was decided, as it was recorded.
    pub decisions: broadcast::Sender<Arc<JournalRecord>>,
}

impl Default for Told {
    fn default() -> Self {
        Self { view: watch::Sender::new(None), decisions: broadcast::Sender::new(64) }
    }
}

/// One caller who follows a rollout.
#[derive(Debug)]
pub struct Follow {
    first: bool,
    views: watch::Receiver<Option<Arc<RolloutView>>>,
    decisions: broadcast::Receiver<Arc<JournalRecord>>,
    ended: bool,
}

impl Follow {
    /// From now on; the first event is how it stands.
    #[must_use]
    pub fn new(told: &Told) -> Self {
        Self {
            first: true,
            views: told.view.subscribe(),
            decisions: told.decisions.subscribe(),
            ended: false,
        }
    }

    /// The next event, and whoever waits for the one after; `None`: that was the last.
    pub async fn next(mut self) -> Option<(RolloutEvent, Self)> {
        if self.ended {
            return None;
        }
        loop {
            if self.first {
                self.first = false;
                self.views.mark_changed();
            }
            tokio::select! {
                biased;
                record = self.decisions.recv() => match record {
                    Ok(record) => return Some((RolloutEvent::Decision(Box::new((*record).clone())), self)),
                    // Too slow for some of them: the journal has them.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => {
                        self.ended = true;
                        return Some((RolloutEvent::Gone, self));
                    }
                },
                changed = self.views.changed() => {
                    if changed.is_err() {
                        self.ended = true;
                        return Some((RolloutEvent::Gone, self));
                    }
                    let view = self.views.borrow_and_update().clone();
                    if let Some(view) = view {
                        return Some((RolloutEvent::Status(Box::new((*view).clone())), self));
                    }
                }
            }
        }
    }
}
