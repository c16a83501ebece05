//! Every rollout of this machine: taken up at the start, kept at work, each by itself.
//!
//! A rollout whose task ends in a panic, or that cannot be opened, is opened again from what is stored; the others do
//! not notice.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use strategies::Name;
use tokio::sync::mpsc;

use super::{
    document::{Sidecar, Understood, understand},
    rollout::{Applied, Begin, Message, Rollout},
};
use crate::{
    api::view::{AddressView, KnownDocument},
    local::{
        adapter::{fleet::socket_name, site::Machine},
        at_work, revision,
        store::Document,
        supervisor::{
            Client, ClientError,
            protocol::{ListenerSeen, Refusal},
        },
    },
    port::Unavailable,
    rollout::Told,
    spec,
};

/// Messages that wait at most for one rollout.
const INBOX: usize = 256;
/// Pause before a rollout that failed is opened again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often what could not be listened on is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);
/// Pause before an address that is taken is tried again, and how often: workers let go of one within that.
const LET_GO: Duration = Duration::from_millis(100);
const LET_GO_TRIES: u32 = 10;
/// Most workers where no document says how many.
const MOST_WORKERS: usize = 4;

/// Every rollout of this machine. Clones share them.
#[derive(Clone)]
pub(super) struct Roster {
    shared: Arc<Shared>,
}

struct Shared {
    state: PathBuf,
    machine: Machine,
    entries: Mutex<BTreeMap<Name, Entry>>,
    listening: Mutex<BTreeMap<String, SocketAddr>>,
    /// Sockets that could not be had when everything was taken up, each with its reason. They are tried again.
    unheard: Mutex<BTreeMap<String, String>>,
}

/// One rollout.
#[derive(Clone)]
pub(super) struct Entry {
    /// Its document as it was written.
    pub(super) text: String,
    /// What is kept beside it.
    pub(super) kept: Sidecar,
    /// What it means.
    pub(super) understood: Understood,
    /// Its version.
    pub(super) generation: u64,
    /// Since when it is that.
    pub(super) at: jiff::Timestamp,
    /// What its task publishes.
    pub(super) told: Told,
    /// Where its task is told.
    pub(super) inbox: mpsc::Sender<Message>,
}

impl Entry {
    /// One whose task is about to begin.
    pub(super) fn new(
        document: Document<Sidecar>,
        understood: Understood,
    ) -> (Self, mpsc::Receiver<Message>) {
        let (inbox, receiver) = mpsc::channel(INBOX);
        let Document { rollout: _, generation, at, text, parsed: kept } = document;
        (Self { text, kept, understood, generation, at, told: Told::default(), inbox }, receiver)
    }

    /// Its document, for callers.
    pub(super) fn document(&self) -> KnownDocument {
        KnownDocument { path: self.kept.path.clone(), revision: self.kept.revision.clone(), at: self.at }
    }

    fn begin(&self, addresses: Vec<AddressView>) -> Begin {
        Begin {
            name: self.understood.name.clone(),
            applied: Applied::new(&self.understood, &self.kept, self.generation),
            sticky_key: self.kept.sticky_key.clone(),
            addresses,
        }
    }
}

impl Roster {
    pub(super) fn new(state: PathBuf, machine: Machine) -> Self {
        let shared = Shared {
            state,
            machine,
            entries: Mutex::default(),
            listening: Mutex::default(),
            unheard: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Takes up every rollout that is stored. Nothing is told to the workers before all have been.
    ///
    /// # Errors
    /// When one of them cannot be: to act without it would end its service, so nobody acts and all serve on.
    pub(super) async fn take_up(&self) -> Result<(), Unavailable> {
        let documents = self.machine().store.read(|store| store.documents::<Sidecar>()).await;
        let documents = documents.map_err(|error| Unavailable::new("cannot read the documents", &error))?;
        let mut inboxes = vec![];
        for document in documents {
            let name = Name::from(document.rollout.as_str());
            let read = spec::read(&document.parsed.path, document.text.as_bytes());
            let understood = understand(&read.documents, &document.rollout, &document.parsed.base, false);
            let cannot = format!("the stored document of {name} is not understood by this version");
            let understood = understood.map_err(|error| Unavailable::new(cannot, &error))?;
            let (entry, inbox) = Entry::new(document, understood);
            self.entries().insert(name.clone(), entry);
            inboxes.push((name, inbox));
        }
        self.listen_where_possible().await?;
        let mut opened = vec![];
        for (name, inbox) in inboxes {
            opened.push((name.clone(), self.open(&name, inbox).await?));
        }
        self.machine().fleet.begin().await?;
        for (name, rollout) in opened {
            self.attend(name, rollout);
        }
        Ok(())
    }

    /// A new rollout, or one that is applied again, begins to work.
    pub(super) async fn add(
        &self,
        name: &Name,
        entry: Entry,
        inbox: mpsc::Receiver<Message>,
    ) -> Result<(), Unavailable> {
        self.entries().insert(name.clone(), entry);
        match self.open(name, inbox).await {
            Ok(rollout) => {
                self.attend(name.clone(), rollout);
                Ok(())
            }
            Err(error) => {
                // It is stored: it begins as soon as it can.
                self.attend(name.clone(), None);
                Err(error)
            }
        }
    }

    async fn open(
        &self,
        name: &Name,
        inbox: mpsc::Receiver<Message>,
    ) -> Result<Option<Rollout>, Unavailable> {
        let Some(entry) = self.entry(name) else { return Ok(None) };
        let begin = entry.begin(self.addresses(&entry));
        Rollout::open(self.machine().clone(), begin, inbox, entry.told.clone()).await.map(Some)
    }

    /// Keeps a rollout at work until it has left.
    fn attend(&self, name: Name, first: Option<Rollout>) {
        let roster = self.clone();
        let mut first = Some(first);
        tokio::spawn(at_work::keep("a rollout", move || {
            let (roster, name, mut next) = (roster.clone(), name.clone(), first.take().flatten());
            async move {
                loop {
                    let rollout = match next.take() {
                        Some(rollout) => Some(rollout),
                        None => roster.reopen(&name).await,
                    };
                    let Some(rollout) = rollout else { return };
                    match tokio::spawn(rollout.run()).await {
                        Ok(true) => return roster.forget(&name).await,
                        Ok(false) => {}
                        Err(error) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::error!(rollout = %name, error, "the rollout's task failed and begins again");
                        }
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }));
    }

    async fn reopen(&self, name: &Name) -> Option<Rollout> {
        loop {
            let (inbox, receiver) = mpsc::channel(INBOX);
            self.entries().get_mut(name)?.inbox = inbox;
            match self.open(name, receiver).await {
                Ok(rollout) => return rollout,
                Err(error) => {
                    tracing::warn!(rollout = %name, %error, "the rollout cannot begin");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Nothing of this rollout is left: its documents, sockets and copies go too.
    async fn forget(&self, name: &Name) {
        loop {
            let rollout = name.to_string();
            match self.machine().store.commit(move |it| it.remove_rollout(&rollout)).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(rollout = %name, error = &error as &dyn std::error::Error, "a rollout that has left cannot be forgotten yet");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        self.entries().remove(name);
        if let Err(error) = self.listen().await {
            tracing::warn!(rollout = %name, %error, "its sockets stay open until the next change");
        }
        let (state, rollout) = (self.shared.state.clone(), name.to_string());
        let removed =
            tokio::task::spawn_blocking(move || revision::collect(&state, &rollout, &[].into())).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(rollout = %name, error = &error as &dyn std::error::Error, "its copies cannot be removed");
        }
    }

    /// Listens on the sockets of every document that can be had, and on no others; so many workers serve as the documents
    /// say.
    pub(super) async fn listen(&self) -> Result<(), Unavailable> {
        self.listen_where_possible().await
    }

    /// Listens on every socket that can be had: an address that another program has taken meanwhile holds nobody else
    /// back. Which could not be had is shown, and tried again every few seconds.
    async fn listen_where_possible(&self) -> Result<(), Unavailable> {
        let (mut listeners, workers) = self.wanted(None);
        let mut unheard = BTreeMap::new();
        loop {
            let seen = self.machine().supervisor.ensure_listeners(listeners.clone()).await;
            match seen {
                Err(ClientError::Refused(refusal @ Refusal::Listen { .. })) => {
                    let text = refusal.to_string();
                    let Refusal::Listen { name, .. } = refusal else { break };
                    if listeners.remove(&name).is_none() {
                        break;
                    }
                    drop(unheard.insert(name, text));
                }
                Err(error) => return Err(Unavailable::new("cannot listen", &error)),
                Ok(_) => break,
            }
        }
        for (socket, why) in &unheard {
            tracing::warn!(socket, why, "an address cannot be had; the others are served");
        }
        self.machine().fleet.unheard(unheard.clone());
        *self.unheard() = unheard;
        self.listen_on(listeners, workers).await
    }

    /// Tries again what could not be had, for ever.
    pub(super) async fn listen_again(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(LISTEN_AGAIN).await;
            if !self.unheard().is_empty()
                && let Err(error) = self.listen_where_possible().await
            {
                tracing::warn!(%error, "what could not be listened on cannot be tried again");
            }
        }
    }

    /// The same as if this document were there already: whether its addresses can be had is known before it is kept.
    pub(super) async fn listen_with(&self, understood: &Understood) -> Result<(), Unavailable> {
        let (listeners, workers) = self.wanted(Some(understood));
        self.listen_on(listeners, workers).await
    }

    fn wanted(&self, new: Option<&Understood>) -> (BTreeMap<String, SocketAddr>, u32) {
        let entries = self.entries();
        let others =
            entries.values().map(|it| &it.understood).filter(|it| new.is_none_or(|new| new.name != it.name));
        let all: Vec<&Understood> = others.chain(new).collect();
        // What others could not have must not refuse this one.
        let unheard = self.unheard();
        let is_new = |it: &Understood| new.is_some_and(|new| new.name == it.name);
        let sockets = all.iter().flat_map(|it| {
            let listen = it.proxy.listen.iter().enumerate();
            let all = listen.map(|(index, listen)| (socket_name(it.name.as_str(), index), listen.address.0));
            all.filter(|(socket, _)| is_new(it) || new.is_none() || !unheard.contains_key(socket))
        });
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MOST_WORKERS);
        let cores = u32::try_from(cores).unwrap_or(1);
        let workers = all.iter().map(|it| it.proxy.workers.unwrap_or(cores)).max();
        (sockets.collect(), workers.unwrap_or(cores))
    }

    async fn listen_on(
        &self,
        listeners: BTreeMap<String, SocketAddr>,
        workers: u32,
    ) -> Result<(), Unavailable> {
        let machine = self.machine();
        let cannot = |error: crate::local::supervisor::ClientError| Unavailable::new("cannot listen", &error);
        let seen = ensure(&machine.supervisor, listeners).await.map_err(cannot)?;
        machine.supervisor.ensure_workers(workers).await.map_err(cannot)?;
        self.unheard().retain(|socket, _| !seen.iter().any(|it| it.name == *socket));
        machine.fleet.unheard(self.unheard().clone());
        *self.listening() = seen.into_iter().map(|it| (it.name, it.address)).collect();
        Ok(())
    }

    /// Where users reach a rollout.
    pub(super) fn addresses(&self, entry: &Entry) -> Vec<AddressView> {
        addresses(entry.understood.name.as_str(), &entry.understood.proxy, &self.listening())
    }

    pub(super) fn entry(&self, name: &Name) -> Option<Entry> {
        self.entries().get(name).cloned()
    }

    pub(super) fn all(&self) -> Vec<Entry> {
        self.entries().values().cloned().collect()
    }

    pub(super) fn update(&self, name: &Name, update: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries().get_mut(name) {
            update(entry);
        }
    }

    /// Something happened to processes of this rollout; of all where none is named.
    pub(super) fn processes_changed(&self, rollout: Option<&str>) {
        let concerned = |it: &&Entry| rollout.is_none_or(|name| it.understood.name.as_str() == name);
        for entry in self.entries().values().filter(concerned) {
            // A full inbox: it is about to look anyway.
            let _ = entry.inbox.try_send(Message::News);
        }
    }

    /// The clock on the wall was set: until when an order stands is another time now.
    pub(super) fn clock_set(&self) {
        for entry in self.entries().values() {
            // A full inbox: what is in it is read again at the next step or order.
            let _ = entry.inbox.try_send(Message::ClockSet);
        }
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.shared.machine
    }

    pub(super) fn state(&self) -> &std::path::Path {
        &self.shared.state
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Name, Entry>> {
        self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unheard(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.shared.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listening(&self) -> MutexGuard<'_, BTreeMap<String, SocketAddr>> {
        self.shared.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The addresses of a rollout's sockets, in the order of its document.
fn addresses(
    name: &str,
    proxy: &crate::router::Proxy,
    listening: &BTreeMap<String, SocketAddr>,
) -> Vec<AddressView> {
    let one = |(index, listen): (usize, &crate::router::Listen)| {
        let socket = socket_name(name, index);
        let address = *listening.get(&socket)?;
        let scheme = if listen.tls.is_some() { "https" } else { "http" };
        Some(AddressView { name: socket, address, scheme: scheme.to_owned() })
    };
    proxy.listen.iter().enumerate().filter_map(one).collect()
}

/// An address that was left a moment ago is still held by workers that have not heard of it: such a refusal may be over
/// at once.
async fn ensure(
    supervisor: &Client,
    listeners: BTreeMap<String, SocketAddr>,
) -> Result<Vec<ListenerSeen>, ClientError> {
    let mut left = LET_GO_TRIES;
    loop {
        match supervisor.ensure_listeners(listeners.clone()).await {
            Err(ClientError::Refused(Refusal::Listen { .. })) if left > 0 => {
                left -= 1;
                tokio::time::sleep(LET_GO).await;
            }
            ensured => return ensured,
        }
    }
}
