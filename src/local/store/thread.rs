//! The one thread that reads and writes the store, because `fsync` blocks.
//!
//! After an error of the disk it saves nothing more and tries to open the store again, at first after a second; until
//! that works every save is refused, and whoever acts only on what is saved acts no more.

use std::{path::Path, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

use super::{Commit, Health, OpenError, Store, StoreError};
use crate::port::{Unavailable, WriteError};

/// First wait before a store that failed is opened again; later ones are twice as long.
const REOPEN_FIRST: Duration = Duration::from_secs(1);
/// Longest wait.
const REOPEN_MOST: Duration = Duration::from_secs(5);
/// Jobs that wait at most; a further caller waits for room.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce(&mut Store) + Send>;

/// A handle on the store's thread. Clones share it.
#[derive(Clone, Debug)]
pub struct StoreThread {
    jobs: mpsc::Sender<Job>,
    health: watch::Receiver<Health>,
}

/// Why the store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreThreadError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread has ended: the process is about to.
    #[error("the store is closed")]
    Closed,
}

impl From<StoreThreadError> for WriteError {
    fn from(error: StoreThreadError) -> Self {
        match error {
            StoreThreadError::Store(StoreError::Fenced { .. } | StoreError::Overtaken { .. }) => {
                Self::Conflict
            }
            StoreThreadError::Store(_) | StoreThreadError::Closed => {
                Self::Unavailable(Unavailable::new("cannot save", &error))
            }
        }
    }
}

impl StoreThread {
    /// Opens the store and starts its thread.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(state: &Path) -> Result<Self, OpenError> {
        let store = Store::open(state)?;
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let (tell, health) = watch::channel(store.health());
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || work(store, inbox, &tell))
            .map_err(|source| OpenError::Io { path: state.to_owned(), source })?;
        Ok(Self { jobs, health })
    }

    /// Reads.
    ///
    /// # Errors
    /// [`StoreThreadError`].
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreThreadError> {
        self.job(move |store| read(store)).await
    }

    /// Saves all or nothing; durable when this returns.
    ///
    /// # Errors
    /// [`StoreThreadError`].
    pub async fn commit<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Commit<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreThreadError> {
        self.job(move |store| store.commit(change)).await
    }

    /// Whether it still saves; changes can be waited for.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Waits until the store's thread has ended, which it does by failing only, while a handle on it is held.
    pub async fn closed(&self) {
        self.jobs.closed().await;
    }

    /// Why nothing is saved, if nothing is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match &*self.health.borrow() {
            Health::Good => None,
            Health::Poisoned(reason) => Some(reason.clone()),
        }
    }

    async fn job<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreThreadError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            // A caller that is gone has given the work up; a save it did not hear of is found by whoever looks next.
            let _ = answer.send(work(store));
        });
        self.jobs.send(job).await.map_err(|_| StoreThreadError::Closed)?;
        Ok(answered.await.map_err(|_| StoreThreadError::Closed)??)
    }
}

fn work(mut store: Store, mut inbox: mpsc::Receiver<Job>, tell: &watch::Sender<Health>) {
    let mut wait = REOPEN_FIRST;
    let mut next_try = None;
    loop {
        let job = match next_try {
            None => inbox.blocking_recv(),
            // `blocking_recv` knows no deadline; a store that failed is looked at ten times a second.
            Some(at) => match inbox.try_recv() {
                Ok(job) => Some(job),
                Err(mpsc::error::TryRecvError::Disconnected) => None,
                Err(mpsc::error::TryRecvError::Empty) if crate::clock::instant() < at => {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
                Err(mpsc::error::TryRecvError::Empty) => {
                    if let Err(error) = store.reopen() {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the store cannot be opened again"
                        );
                        wait = (wait * 2).min(REOPEN_MOST);
                    }
                    next_try = after(&store, wait);
                    publish(&store, tell);
                    continue;
                }
            },
        };
        let Some(job) = job else { return };
        job(&mut store);
        match (store.health(), next_try) {
            (Health::Good, _) => (next_try, wait) = (None, REOPEN_FIRST),
            (Health::Poisoned(_), None) => next_try = after(&store, wait),
            (Health::Poisoned(_), Some(_)) => {}
        }
        publish(&store, tell);
    }
}

fn after(store: &Store, wait: Duration) -> Option<std::time::Instant> {
    match store.health() {
        Health::Good => None,
        Health::Poisoned(_) => crate::clock::instant().checked_add(wait),
    }
}

fn publish(store: &Store, tell: &watch::Sender<Health>) {
    tell.send_if_modified(|known| {
        let now = store.health();
        let changed = *known != now;
        *known = now;
        changed
    });
}
