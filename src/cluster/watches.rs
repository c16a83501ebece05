//! What is watched of a cluster: some kinds always, others while a rollout needs them.
//!
//! A watch tells of every change of its kind in its scope; what it tells is kept in the cache, and the Rollouts whom
//! it concerns are woken. Nothing else reads: an observation costs no request.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use kube::{
    core::DynamicObject,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use serde_json::{Value, json};
use strategies::Name;
use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
};

use super::{
    api::{Api, Failed, Server},
    cache::{Cache, Changed, Scope},
    interests::{Interests, Key},
    served::{Resource, Within},
};
use crate::{
    clock, failpoint,
    object::{Kind, Need, ObjectRef, ObjectWrite, Objects, text},
    port::{Unavailable, WriteError},
};

/// Objects of one page of a list.
const PAGE: u32 = 500;
/// How long a watch goes on that nobody needs: the next canary of the namespace finds it.
const KEPT: Duration = Duration::from_secs(60);
/// Pause after nobody answered.
const RETRY: Duration = Duration::from_millis(500);
/// How often it is asked whether a kind is served that was not.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// Everything that is watched. Clones share it.
#[derive(Clone)]
pub(super) struct Watches {
    shared: Arc<Shared>,
}

struct Shared {
    api: Api,
    /// Only these namespaces; empty: all.
    namespaces: Vec<Name>,
    /// Only Rollouts with these labels.
    shard: Option<String>,
    state: Mutex<State>,
    wakes: mpsc::UnboundedSender<Key>,
    /// A kind is known that was not.
    known: Notify,
}

#[derive(Default)]
struct State {
    cache: Cache,
    interests: Interests,
    watches: BTreeMap<(Kind, Scope), Watch>,
}

struct Watch {
    task: AbortHandle,
    need: Needed,
    /// Why it does not tell.
    trouble: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Needed {
    Always,
    By(u32),
    ByNobodySince(Instant),
}

/// Watches that somebody needs; dropped when it no longer does.
pub(super) struct InUse {
    watches: Watches,
    of: Vec<(Kind, Scope)>,
}

impl Watches {
    /// Wakes through `wakes`.
    pub(super) fn new(
        api: Api,
        namespaces: Vec<Name>,
        shard: Option<String>,
        wakes: mpsc::UnboundedSender<Key>,
    ) -> Self {
        let shared = Shared { api, namespaces, shard, state: Mutex::default(), wakes, known: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn api(&self) -> &Api {
        &self.shared.api
    }

    /// These kinds are watched from now on, wherever this instance works.
    pub(super) fn always(&self, kinds: &[Kind]) {
        for kind in kinds {
            let scopes = match self.shared.namespaces.as_slice() {
                [] => vec![Scope::Everywhere],
                all => all.iter().cloned().map(Scope::Namespace).collect(),
            };
            for scope in scopes {
                self.begin(kind, scope, Needed::Always);
            }
        }
    }

    /// Whether all of these kinds are known wherever this instance works.
    pub(super) fn knows(&self, kinds: &[Kind]) -> bool {
        let state = self.state();
        kinds.iter().all(|kind| {
            let mut all = state.watches.iter().filter(|((it, _), _)| it == kind);
            all.all(|((_, scope), _)| match scope {
                Scope::Everywhere => state.cache.knows(kind, &"".into()),
                Scope::Namespace(it) => state.cache.knows(kind, it),
            })
        })
    }

    /// Waits until a kind is known that was not. Cancel safe; for one who waits.
    pub(super) async fn learnt(&self) {
        self.shared.known.notified().await;
    }

    /// Whether everything that is needed in a namespace is known.
    pub(super) fn knows_all(&self, namespace: &Name, needs: &[Need]) -> bool {
        let state = self.state();
        needs.iter().all(|it| state.cache.knows(&it.kind, namespace))
    }

    /// What a Rollout needs: watched until this is dropped.
    pub(super) fn need(&self, key: &Key, needs: &[Need], owner: &Name) -> InUse {
        let mut of = vec![];
        for kind in needs.iter().map(|it| &it.kind) {
            let scope = Scope::Namespace(key.namespace.clone());
            let always = {
                let state = self.state();
                let everywhere = (kind.clone(), Scope::Everywhere);
                let is_always = |it: &Watch| matches!(it.need, Needed::Always);
                state.watches.contains_key(&everywhere)
                    || state.watches.get(&(kind.clone(), scope.clone())).is_some_and(is_always)
            };
            if !always && !of.contains(&(kind.clone(), scope.clone())) {
                self.begin(kind, scope.clone(), Needed::By(1));
                of.push((kind.clone(), scope));
            }
        }
        let mut state = self.state();
        let State { interests, cache, .. } = &mut *state;
        interests.set(key, needs, owner, cache);
        drop(state);
        InUse { watches: self.clone(), of }
    }

    /// A Rollout is woken by changes of these from now on; they are watched already.
    pub(super) fn hear_of(&self, key: &Key, needs: &[Need], owner: &Name) {
        let mut state = self.state();
        let State { interests, cache, .. } = &mut *state;
        interests.set(key, needs, owner, cache);
    }

    /// A Rollout is no more.
    pub(super) fn forget(&self, key: &Key) {
        self.state().interests.remove(key);
    }

    /// Ends watches that nobody has needed for a while.
    pub(super) fn tidy(&self) {
        let mut state = self.state();
        let State { cache, watches, .. } = &mut *state;
        watches.retain(|(kind, scope), it| match it.need {
            Needed::ByNobodySince(since) if since.elapsed() > KEPT => {
                it.task.abort();
                cache.forget(kind, scope);
                false
            }
            Needed::ByNobodySince(_) | Needed::By(_) | Needed::Always => true,
        });
    }

    /// One object; outside of namespaces where that one is empty.
    pub(super) fn get(&self, kind: &Kind, namespace: &Name, name: &Name) -> Option<Value> {
        self.state().cache.get(kind, namespace, name)
    }

    /// All objects of a kind in a namespace.
    pub(super) fn all(&self, kind: &Kind, namespace: &Name) -> Vec<Value> {
        self.state().cache.all(kind, namespace)
    }

    /// How many objects are known of each kind.
    pub(super) fn counts(&self) -> Vec<(Kind, usize)> {
        self.state().cache.counts().map(|(kind, count)| (kind.clone(), count)).collect()
    }

    /// Why kinds that are needed in this namespace are not known.
    pub(super) fn troubles(&self, namespace: &Name, needs: &[Need]) -> Vec<String> {
        let state = self.state();
        let kinds = needs.iter().map(|it| &it.kind);
        let troubles = kinds.flat_map(|kind| {
            let scopes = [Scope::Everywhere, Scope::Namespace(namespace.clone())];
            let watch = scopes.into_iter().filter_map(|it| state.watches.get(&(kind.clone(), it)));
            watch.filter_map(|it| it.trouble.clone()).collect::<Vec<_>>()
        });
        let mut all: Vec<String> = troubles.collect();
        all.dedup();
        all
    }

    /// An object as a write of ours has left it.
    pub(super) fn written(&self, object: &Value) {
        self.state().cache.put(object);
    }

    fn missing(&self, namespace: &Name, of: &ObjectRef) {
        self.state().cache.missing(namespace, of);
    }

    fn begin(&self, kind: &Kind, scope: Scope, need: Needed) {
        let mut state = self.state();
        if let Some(watch) = state.watches.get_mut(&(kind.clone(), scope.clone())) {
            watch.need = match (watch.need, need) {
                (Needed::Always, _) | (_, Needed::Always) => Needed::Always,
                (Needed::By(users), _) => Needed::By(users + 1),
                (Needed::ByNobodySince(_), it) => it,
            };
            return;
        }
        let (watches, of, at) = (self.clone(), kind.clone(), scope.clone());
        let task = tokio::spawn(async move { watches.follow(of, at).await }).abort_handle();
        state.watches.insert((kind.clone(), scope), Watch { task, need, trouble: None });
    }

    fn end(&self, of: &(Kind, Scope)) {
        let mut state = self.state();
        if let Some(watch) = state.watches.get_mut(of) {
            watch.need = match watch.need {
                Needed::By(users) if 1 < users => Needed::By(users - 1),
                Needed::By(_) => Needed::ByNobodySince(clock::instant()),
                it @ (Needed::Always | Needed::ByNobodySince(_)) => it,
            };
        }
    }

    /// Watches a kind, for ever.
    async fn follow(self, kind: Kind, scope: Scope) {
        let Resource { resource, within } = loop {
            let (trouble, pause) = match self.shared.api.served().resource(&kind).await {
                Ok(Some(it)) => break it,
                Ok(None) => {
                    (format!("this cluster does not serve {} ({})", kind.kind, kind.api_version), ASK_AGAIN)
                }
                Err(error) => (error.to_string(), RETRY),
            };
            tracing::warn!(kind = %kind.kind, trouble, "cannot be watched");
            self.trouble(&kind, &scope, Some(trouble));
            tokio::time::sleep(pause).await;
        };
        let client = self.shared.api.client().clone();
        let api: kube::Api<DynamicObject> = match (&scope, within) {
            (Scope::Namespace(it), Within::Namespaces) => {
                kube::Api::namespaced_with(client, it.as_str(), &resource)
            }
            (Scope::Namespace(_), Within::Cluster) | (Scope::Everywhere, _) => {
                kube::Api::all_with(client, &resource)
            }
        };
        let mut config = watcher::Config::default().page_size(PAGE);
        if let Some(shard) = self.shared.shard.as_ref().filter(|_| kind == super::rollouts()) {
            config = config.labels(shard);
        }
        let events = kube::runtime::watcher(api, config).default_backoff();
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            self.take(&kind, &scope, event);
        }
    }

    fn take(&self, kind: &Kind, scope: &Scope, event: Result<Event<DynamicObject>, watcher::Error>) {
        let mut state = self.state();
        let State { cache, interests, watches } = &mut *state;
        let (changed, trouble): (Vec<Changed>, _) = match event {
            Ok(Event::Init) => {
                cache.list(kind, scope);
                return;
            }
            Ok(Event::InitApply(it)) => (cache.listed(scope, &object(kind, it)).into_iter().collect(), None),
            Ok(Event::InitDone) => {
                let namespace = match scope {
                    Scope::Everywhere => None,
                    Scope::Namespace(it) => Some(it),
                };
                self.shared.known.notify_one();
                for key in interests.of_kind(kind, namespace) {
                    self.wake(key);
                }
                (cache.whole(kind, scope), None)
            }
            Ok(Event::Apply(it)) => (cache.put(&object(kind, it)).into_iter().collect(), None),
            Ok(Event::Delete(it)) => (cache.delete(&object(kind, it)).into_iter().collect(), None),
            Err(error) => {
                let error = Unavailable::new(format!("cannot watch {}s", kind.kind), &error);
                tracing::warn!(%error, "a watch");
                (vec![], Some(error.to_string()))
            }
        };
        if let Some(watch) = watches.get_mut(&(kind.clone(), scope.clone())) {
            watch.trouble = trouble;
        }
        for it in &changed {
            let own = if *kind == super::rollouts() {
                Some(it.place.1.clone())
            } else if *kind == super::orders() {
                let (namespace, name) = &it.place;
                let order = cache.get(kind, namespace, name);
                order.and_then(|it| text(&it, "/spec/rollout").map(Name::from))
            } else {
                None
            };
            let own = own.map(|name| Key { namespace: it.place.0.clone(), name });
            interests.of(it).into_iter().chain(own).for_each(|it| self.wake(it));
        }
    }

    fn trouble(&self, kind: &Kind, scope: &Scope, trouble: Option<String>) {
        let mut state = self.state();
        if let Some(watch) = state.watches.get_mut(&(kind.clone(), scope.clone())) {
            watch.trouble = trouble;
        }
    }

    pub(super) fn wake(&self, key: Key) {
        // Nobody listens any more: this instance ends.
        let _ = self.shared.wakes.send(key);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.of.iter().for_each(|it| self.watches.end(it));
    }
}

/// The object as the server has it, without what nobody here reads.
fn object(kind: &Kind, of: DynamicObject) -> Value {
    let mut object = serde_json::to_value(of).unwrap_or_default();
    (object["apiVersion"], object["kind"]) = (json!(kind.api_version.as_str()), json!(kind.kind.as_str()));
    pruned(&mut object);
    object
}

/// Takes out what is large and read by nobody: who set which field of a pod or of a ReplicaSet, and what `kubectl apply`
/// has kept.
fn pruned(object: &mut Value) {
    let bulky =
        matches!(text(object, "/kind"), Some("Pod" | "ReplicaSet" | "EndpointSlice" | "RolloutOrder"));
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if bulky {
        metadata.remove("managedFields");
    }
}

/// The objects of one namespace as they are watched; writes go to the server.
#[derive(Clone)]
pub(super) struct Watched {
    watches: Watches,
    api: Api,
}

impl Watched {
    pub(super) fn new(watches: &Watches, namespace: &Name) -> Self {
        Self { watches: watches.clone(), api: watches.api().within(namespace.clone()) }
    }

    pub(super) fn watches(&self) -> &Watches {
        &self.watches
    }

    pub(super) fn namespace(&self) -> &Name {
        self.api.namespace()
    }

    /// Makes an object that nobody here reads.
    pub(super) async fn tell(&self, write: &ObjectWrite) -> Result<(), WriteError> {
        self.api.send(write).await.map(drop).map_err(|it| it.of_write(&write.object))
    }
}

impl Server for Watched {
    async fn get(&mut self, of: &ObjectRef) -> Result<Option<Value>, Unavailable> {
        Ok(self.watches.get(&of.kind, self.api.namespace(), &of.name))
    }

    async fn read(&mut self, needs: &[Need], owner: &Name) -> Result<Objects, Unavailable> {
        Ok(self.watches.state().cache.read(self.api.namespace(), needs, owner))
    }

    fn troubles(&self, needs: &[Need]) -> Vec<String> {
        self.watches.troubles(self.api.namespace(), needs)
    }

    async fn write(&mut self, write: &ObjectWrite) -> Result<(), WriteError> {
        failpoint!("cluster: before a write");
        let sent = self.api.send(write).await;
        failpoint!("cluster: after a write");
        match sent {
            Ok(Some(mut object)) => {
                pruned(&mut object);
                self.watches.written(&object);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(failed) => {
                if matches!(failed, Failed::Status(404, _)) {
                    self.watches.missing(self.api.namespace(), &write.object);
                }
                Err(failed.of_write(&write.object))
            }
        }
    }
}
