//! One rollout of this machine: a task that lets it take its turns, and is told what concerns it.

mod stored;

use std::{sync::Arc, time::Duration};

use strategies::Name;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use self::stored::Stored;
pub(super) use self::stored::shown;
use super::document::{Sidecar, Understood};
use crate::{
    api::view::{AddressView, CalibrationView, RolloutView},
    clock,
    local::adapter::site::{Asked, Machine, Site},
    port::Unavailable,
    rollout::{Document, Providers, Pulse, Told, Turn, Working},
};

/// What a rollout is told.
pub(super) enum Message {
    /// Its document was applied again.
    Document(Box<Applied>),
    /// Where users reach it.
    Addresses(Vec<AddressView>),
    /// An order was taken down; answered when it has taken effect or has not.
    Order(Name, oneshot::Sender<Answered>),
    /// How does it stand now?
    Look(oneshot::Sender<Arc<RolloutView>>),
    /// What is remembered of stable's replicas?
    Calibration(oneshot::Sender<CalibrationView>),
    /// Something happened that it should look at: to its processes, or somebody watches.
    News,
    /// The clock on the wall was set.
    ClockSet,
}

/// What became of an order.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    /// Whether it took effect.
    pub accepted: bool,
    /// Where the rollout stands now.
    pub view: Arc<RolloutView>,
}

/// A document that was applied.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    document: Document,
    asked: Asked,
}

impl Applied {
    /// Of a document that was understood, and what is kept beside it.
    pub(super) fn new(understood: &Understood, kept: &Sidecar, generation: u64) -> Self {
        let asked = understood.asked(kept);
        let document = Document {
            generation,
            wanted: asked.revision.clone(),
            plan: understood.plan.clone(),
            definitions: understood.definitions.clone(),
            sources: understood.sources.clone(),
        };
        Self { document, asked }
    }
}

/// What a rollout begins with.
pub(super) struct Begin {
    /// Its name.
    pub name: Name,
    /// Its document.
    pub applied: Applied,
    /// Signs sticky cookies.
    pub sticky_key: String,
    /// Where users reach it.
    pub addresses: Vec<AddressView>,
}

/// One rollout of this machine.
pub(super) struct Rollout {
    working: Working<Site, Stored, Providers>,
    inbox: mpsc::Receiver<Message>,
    ordered: Vec<(Name, oneshot::Sender<Answered>)>,
}

impl Rollout {
    /// Takes up what was stored; the proxy serves as it was asked before this returns.
    ///
    /// # Errors
    /// When store, supervisor or proxy cannot be reached; to be tried again.
    pub(super) async fn open(
        machine: Machine,
        begin: Begin,
        inbox: mpsc::Receiver<Message>,
        told: Told,
    ) -> Result<Self, Unavailable> {
        let Begin { name, applied: Applied { document, asked }, sticky_key, addresses } = begin;
        let mut stored = Stored::new(&name, machine.clone(), told);
        let status = stored.open().await?;
        let mut site = Site::open(name.as_str(), machine, asked, sticky_key, Some(status.clone())).await?;
        site.reached_at(addresses);
        let working = Working::take_up(name, document, status, site, stored, Providers).await?;
        Ok(Self { working, inbox, ordered: vec![] })
    }

    /// Works until nothing of the rollout is left, or nobody holds it any more; answers whether the former.
    pub(super) async fn run(mut self) -> bool {
        loop {
            let Turn { pulse, again } = self.working.turn().await;
            match pulse {
                Pulse::Gone => return true,
                Pulse::Works | Pulse::Rests => {}
            }
            self.answer();
            let now = clock::now();
            let pause = again.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
            let message = tokio::select! {
                biased;
                message = self.inbox.recv() => match message {
                    None => return false,
                    message @ Some(_) => message,
                },
                () = self.working.changed() => None,
                () = sleep(pause.unwrap_or(Duration::from_hours(1))) => None,
            };
            self.take_all(message).await;
        }
    }

    /// Takes what is there. Whoever asks after a document was applied hears how it stands with that: it takes its turn first.
    async fn take_all(&mut self, mut next: Option<Message>) {
        while let Some(message) = next.or_else(|| self.inbox.try_recv().ok()) {
            let changes = matches!(message, Message::Document(_));
            self.take(message).await;
            if changes {
                return;
            }
            next = None;
        }
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Document(it) => {
                let Applied { document, asked } = *it;
                self.working.handle_document(document);
                if let Err(error) = self.working.environment().ask(asked).await {
                    self.working.handle_failure(&error);
                }
            }
            Message::Addresses(addresses) => self.working.environment().reached_at(addresses),
            Message::Order(id, answer) => {
                self.working.handle_orders();
                self.ordered.push((id, answer));
            }
            // Whoever asked may be gone, here and below.
            Message::Look(answer) => drop(answer.send(Arc::new(self.working.look().await))),
            Message::Calibration(answer) => {
                drop(answer.send(CalibrationView { metrics: self.working.calibration() }));
            }
            Message::ClockSet => self.working.handle_orders(),
            Message::News => {}
        }
    }

    /// Tells those who gave an order what became of it.
    fn answer(&mut self) {
        if self.ordered.is_empty() {
            return;
        }
        let view = Arc::new(self.working.view());
        for (id, answer) in std::mem::take(&mut self.ordered) {
            let accepted = self.working.had_effect(&id);
            let _ = answer.send(Answered { accepted, view: Arc::clone(&view) });
        }
    }
}
