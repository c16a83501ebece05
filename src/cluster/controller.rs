//! The controller: every Rollout of a cluster, attended to while there is something to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use strategies::Name;
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    task::{Id, JoinError, JoinSet},
};

use super::{
    api::Api,
    attend::{self, Common, Digest, Left},
    interests::Key,
    lease::{Authority, Election, Terms},
    watches::Watches,
};
use crate::{object::Kind, port::Unavailable, telemetry::Outlet, workload::CODECS};

/// How often watches that nobody needs are looked for.
const TIDY: Duration = Duration::from_secs(10);
/// Pause before a Rollout whose task failed is attended to again.
const AGAIN: Duration = Duration::from_secs(1);

/// How an instance works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Only these namespaces; empty: all.
    pub namespaces: Vec<Name>,
    /// Only Rollouts with these labels, as a query.
    pub shard: Option<String>,
    /// How instances agree which of them acts.
    pub terms: Terms,
    /// How long one call may take; less than a lease.
    pub deadline: Duration,
    /// Rollouts that take a turn at the same time, at most.
    pub turns: usize,
    /// Where decisions are written to.
    pub journal: Option<Outlet>,
}

/// One instance. Clones share it.
#[derive(Clone)]
pub struct Controller {
    settings: Settings,
    watches: Watches,
    authority: Authority,
    leads: watch::Receiver<bool>,
    at_work: Arc<Mutex<Roster>>,
}

/// Who is attended to, and who rests.
#[derive(Default)]
struct Roster {
    mail: BTreeMap<Key, Arc<Notify>>,
    resting: BTreeMap<Key, Digest>,
    tasks: BTreeMap<Id, Key>,
}

/// What an instance is doing, for whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Doing {
    /// Whether this instance acts.
    pub leads: bool,
    /// Whether everything that is always watched is known.
    pub knows: bool,
    /// Rollouts that are attended to.
    pub at_work: usize,
    /// Rollouts that rest.
    pub resting: usize,
    /// Known objects by kind.
    pub objects: Vec<(Kind, usize)>,
}

impl Controller {
    /// Works until told to stop; then hands over.
    ///
    /// # Errors
    /// When the kinds of this program are not served where it is to work.
    pub async fn start(
        client: Client,
        settings: Settings,
        stop: watch::Receiver<bool>,
    ) -> Result<(Self, impl Future<Output = ()> + Send), Unavailable> {
        let api = Api::new(client, settings.terms.namespace.clone(), settings.deadline);
        for kind in [super::rollouts(), super::orders()] {
            if !api.serves(&kind).await? {
                return Err(Unavailable {
                    what: format!("this cluster does not know {}", kind.kind),
                    why: "install its definition first: `serinus crd | kubectl apply --server-side -f -`"
                        .to_owned(),
                });
            }
        }
        let (wakes, woken) = mpsc::unbounded_channel();
        let (leading, leads) = watch::channel(false);
        let authority = Authority::never();
        let election = Election::new(settings.terms.clone(), &api, authority.clone(), leading);
        let api = api.under(authority.clone());
        let watches = Watches::new(api, settings.namespaces.clone(), settings.shard.clone(), wakes);
        let it = Self { settings, watches, authority, leads, at_work: Arc::default() };
        let work = it.clone().work(election, woken, stop);
        Ok((it, work))
    }

    /// What it is doing.
    #[must_use]
    pub fn doing(&self) -> Doing {
        let at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        Doing {
            leads: self.authority.left().is_some(),
            knows: self.watches.knows(&always()),
            at_work: at_work.mail.len(),
            resting: at_work.resting.len(),
            objects: self.watches.counts(),
        }
    }

    async fn work(
        mut self,
        election: Election,
        mut woken: mpsc::UnboundedReceiver<Key>,
        mut stop: watch::Receiver<bool>,
    ) {
        // Whoever stands by watches too: it begins with what is known.
        self.watches.always(&always());
        let elected = tokio::spawn(election.run(stop.clone()));
        let common = Arc::new(Common {
            watches: self.watches.clone(),
            home: self.settings.terms.namespace.clone(),
            turns: Semaphore::new(self.settings.turns.max(1)),
            journal: self.settings.journal.clone(),
            instance: self.settings.terms.identity.clone(),
        });
        let mut tasks = JoinSet::new();
        let mut waiting: BTreeSet<Key> = BTreeSet::new();
        let mut tidy = tokio::time::interval(TIDY);
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                Some(key) = woken.recv() => drop(waiting.insert(key)),
                Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                    waiting.extend(self.ended(ended));
                }
                changed = self.leads.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    if !*self.leads.borrow_and_update() {
                        // Whatever is under way is given up: another instance goes on from what was saved.
                        waiting.extend(self.give_up(&mut tasks).await);
                    }
                }
                () = self.watches.learnt() => {}
                _ = tidy.tick() => self.watches.tidy(),
            }
            // What comes together is taken together.
            while let Ok(key) = woken.try_recv() {
                waiting.insert(key);
            }
            if *self.leads.borrow() && self.watches.knows(&always()) {
                for key in std::mem::take(&mut waiting) {
                    self.attend(key, &common, &mut tasks);
                }
            }
        }
        self.give_up(&mut tasks).await;
        if let Err(error) = elected.await {
            tracing::error!(%error, "the election");
        }
    }

    fn attend(&self, key: Key, common: &Arc<Common>, tasks: &mut JoinSet<Left>) {
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mail) = at_work.mail.get(&key) {
            mail.notify_one();
            return;
        }
        let rests = at_work.resting.get(&key).copied();
        if rests.is_some() && rests == Digest::of(&self.watches, &key) {
            return;
        }
        let mail = Arc::new(Notify::new());
        at_work.mail.insert(key.clone(), Arc::clone(&mail));
        at_work.resting.remove(&key);
        let task = tasks.spawn(attend::attend(Arc::clone(common), key.clone(), mail));
        at_work.tasks.insert(task.id(), key);
    }

    /// Whom to attend to again after a task has ended.
    fn ended(&self, ended: Result<(Id, Left), JoinError>) -> Option<Key> {
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let key = at_work.tasks.remove(&id)?;
        at_work.mail.remove(&key);
        match ended {
            Ok((_, Left::Gone)) => {
                self.watches.forget(&key);
                // One of the same name may have been made meanwhile.
                Digest::of(&self.watches, &key).map(|_| key)
            }
            Ok((_, Left::Rests(digest))) => {
                at_work.resting.insert(key.clone(), digest);
                (Digest::of(&self.watches, &key) != Some(digest)).then_some(key)
            }
            Err(error) => {
                if !error.is_cancelled() {
                    tracing::error!(rollout = %key, %error, "its task failed and begins again");
                }
                let (watches, again) = (self.watches.clone(), key);
                tokio::spawn(async move {
                    tokio::time::sleep(AGAIN).await;
                    watches.wake(again);
                });
                None
            }
        }
    }

    /// Ends everything that is under way; those who were attended to.
    async fn give_up(&self, tasks: &mut JoinSet<Left>) -> Vec<Key> {
        tasks.shutdown().await;
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        at_work.tasks.clear();
        let resting = std::mem::take(&mut at_work.resting);
        std::mem::take(&mut at_work.mail).into_keys().chain(resting.into_keys()).collect()
    }
}

/// Ends when this instance is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Nobody is left to say so: it is the same.
    let _ = stop.wait_for(|it| *it).await;
}

/// What is watched as long as an instance works.
fn always() -> Vec<Kind> {
    let workloads = CODECS.iter().map(|it| it.kind());
    [super::rollouts(), super::orders()].into_iter().chain(super::library()).chain(workloads).collect()
}
