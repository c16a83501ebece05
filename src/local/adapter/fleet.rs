//! The proxy workers as one: what they are told to serve, and what they have acknowledged.
//!
//! All rollouts share the workers, so all their routes stand in one configuration. It is saved with the supervisor
//! before any worker is told, so that a worker started in between begins with nothing older than its neighbours serve.
//! A split counts as acknowledged when every worker that can hold a connection has applied a configuration with it;
//! one that was started after the configuration was saved has begun with it. Each route for itself: what a worker refuses
//! of one route holds no other route back.

mod link;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use strategies::{Acknowledged, Split};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::lower::{self, RouteWish};
use crate::{
    clock, failpoint,
    local::{
        at_work,
        proxy::{BadStreakSeen, ListenerConfig, ProxyConfig, Snapshot},
        supervisor::{
            Client,
            protocol::{WorkerSeen, WorkerState},
        },
    },
    port::Unavailable,
    router::Acks,
};

/// Longest wait for the counts of one worker.
const COUNTS_WITHIN: Duration = Duration::from_millis(250);

/// The workers. Clones share them.
#[derive(Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
}

struct Shared {
    supervisor: Client,
    state: Mutex<State>,
    /// One configuration after the other.
    turn: tokio::sync::Mutex<()>,
    config: watch::Sender<Option<Arc<ProxyConfig>>>,
    streaks: broadcast::Sender<Arc<BadStreakSeen>>,
}

struct State {
    routes: BTreeMap<String, Route>,
    workers: BTreeMap<u64, Worker>,
    /// The configuration that workers are told, or are about to be.
    current: ProxyConfig,
    /// Nobody is told anything until every rollout has said what it serves: a configuration without some of them
    /// would end their service.
    held: bool,
    /// Sockets that cannot be listened on, and since when.
    unheard: BTreeMap<String, (String, Timestamp)>,
    /// The last configuration that the supervisor has, and since when.
    saved: Option<(u64, Timestamp)>,
    /// By rollout: whoever wants to know of its route, and what they were told last.
    heard: BTreeMap<String, watch::Sender<Known>>,
}

/// What is known of the route of one rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// What the workers have acknowledged.
    acknowledged: Option<Acknowledged>,
    /// What is wrong with its sockets, and since when.
    troubles: Vec<(String, Timestamp)>,
}

/// The route of one rollout.
struct Route {
    wish: RouteWish,
    /// What that means for the workers, socket by socket.
    lowered: Vec<ListenerConfig>,
    /// In which configuration the present split was first asked for, and what the workers have acknowledged.
    acks: Acks,
}

struct Worker {
    seen: WorkerSeen,
    acknowledged: Option<u64>,
    /// Sockets of that generation that go on with what they had.
    refused: BTreeSet<String>,
    /// Why it cannot be told anything.
    trouble: Option<String>,
    /// What it says is wrong with a socket, and since when.
    troubles: BTreeMap<String, (String, Timestamp)>,
    ask: mpsc::Sender<oneshot::Sender<Snapshot>>,
    tasks: tokio::task::JoinSet<()>,
}

/// What a worker answered to a configuration.
#[derive(Debug)]
enum Heard {
    /// It serves it, but for these sockets, each with its reason.
    Applied { generation: u64, refused: BTreeMap<String, String> },
    /// It serves none of it, or did not answer.
    Trouble(String),
}

/// A worker as the fleet knows it.
#[derive(Clone, Debug)]
pub struct WorkerKnown {
    /// What the supervisor says.
    pub seen: WorkerSeen,
    /// The generation it serves.
    pub serves: Option<u64>,
    /// What went wrong with it: with the whole of it, or with one socket.
    pub trouble: Option<String>,
}

/// The name of a socket at the supervisor: rollout and place in the document.
#[must_use]
pub fn socket_name(rollout: &str, index: usize) -> String {
    format!("{rollout}/{index}")
}

/// Whether a socket belongs to a rollout.
#[must_use]
pub fn is_of(socket: &str, rollout: &str) -> bool {
    socket.strip_prefix(rollout).is_some_and(|rest| rest.starts_with('/'))
}

impl Fleet {
    /// The workers of this supervisor, told nothing before [`Self::begin`]. Generations begin above those of every
    /// engine that ran before.
    #[must_use]
    pub fn new(supervisor: Client) -> Self {
        let generation = u64::try_from(clock::now().as_microsecond()).unwrap_or(1);
        let state = State {
            routes: BTreeMap::new(),
            workers: BTreeMap::new(),
            current: ProxyConfig { generation, listeners: BTreeMap::new() },
            held: true,
            unheard: BTreeMap::new(),
            saved: None,
            heard: BTreeMap::new(),
        };
        let shared = Shared {
            supervisor,
            state: Mutex::new(state),
            turn: tokio::sync::Mutex::new(()),
            config: watch::Sender::new(None),
            streaks: broadcast::Sender::new(64),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Every rollout that was there before has said what it serves: from now on the workers are told.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub async fn begin(&self) -> Result<(), Unavailable> {
        self.change(|state| state.held = false).await
    }

    /// What the supervisor says of its workers now.
    pub fn workers_seen(&self, seen: &[WorkerSeen]) {
        let mut state = self.state();
        state.workers.retain(|number, _| seen.iter().any(|it| it.worker == *number));
        for it in seen {
            match state.workers.get_mut(&it.worker) {
                Some(known) => known.see(it),
                None => drop(state.workers.insert(it.worker, self.meet(it))),
            }
        }
        state.take_acknowledgements(clock::now());
        state.tell();
    }

    /// One worker changed.
    pub fn worker_seen(&self, seen: &WorkerSeen) {
        let mut all: Vec<WorkerSeen> = self.state().workers.values().map(|it| it.seen.clone()).collect();
        all.retain(|it| it.worker != seen.worker);
        all.push(seen.clone());
        self.workers_seen(&all);
    }

    /// One worker has ended.
    pub fn worker_gone(&self, number: u64) {
        let mut all: Vec<WorkerSeen> = self.state().workers.values().map(|it| it.seen.clone()).collect();
        all.retain(|it| it.worker != number);
        self.workers_seen(&all);
    }

    /// Serves this for a rollout from now on; nothing is told twice.
    ///
    /// # Errors
    /// When the supervisor cannot keep the configuration; no worker was told, and the next call tries again.
    pub async fn serve(
        &self,
        rollout: &str,
        wish: RouteWish,
        before: Option<&Split>,
    ) -> Result<(), Unavailable> {
        if self.state().is_served(rollout, &wish) {
            return Ok(());
        }
        self.change(|state| state.wish(rollout, wish, before, clock::now())).await
    }

    /// Serves nothing for this rollout any more.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub async fn forget(&self, rollout: &str) -> Result<(), Unavailable> {
        self.change(|state| {
            state.routes.remove(rollout);
            state.heard.remove(rollout);
        })
        .await
    }

    async fn change(&self, change: impl FnOnce(&mut State) + Send) -> Result<(), Unavailable> {
        let _turn = self.shared.turn.lock().await;
        let next = {
            let mut state = self.state();
            change(&mut state);
            state.build()
        };
        let Some(next) = next else { return Ok(()) };
        let cannot = "the proxy's configuration cannot be kept by the supervisor";
        let text = serde_json::to_vec(&next).map_err(|error| Unavailable::new(cannot, &error))?;
        failpoint::reached("proxy: before a configuration is kept");
        let kept = self.shared.supervisor.save_proxy_config(&text).await;
        kept.map_err(|error| Unavailable::new(cannot, &error))?;
        failpoint::reached("proxy: after a configuration is kept");
        self.state().saved = Some((next.generation, clock::now()));
        self.shared.config.send_replace(Some(Arc::new(next)));
        Ok(())
    }

    /// What the workers have acknowledged of a rollout's route.
    #[must_use]
    pub fn acknowledged(&self, rollout: &str) -> Option<Acknowledged> {
        self.state().routes.get(rollout)?.acks.acknowledged().cloned()
    }

    /// Whether every worker has applied the latest configuration of this rollout: nothing is sent any more to what it
    /// leaves out.
    #[must_use]
    pub fn is_up_to_date(&self, rollout: &str) -> bool {
        let state = self.state();
        let current = state.current.generation;
        state.saved.is_some_and(|(saved, _)| saved == current)
            && state.oldest_served(rollout).is_some_and(|oldest| oldest >= current)
    }

    /// What the workers say is wrong with the sockets of a rollout, and since when.
    #[must_use]
    pub fn troubles(&self, rollout: &str) -> Vec<(String, Timestamp)> {
        self.state().troubles(rollout)
    }

    /// These sockets cannot be listened on, each for its reason.
    pub fn unheard(&self, sockets: BTreeMap<String, String>) {
        let (mut state, now) = (self.state(), clock::now());
        let before = std::mem::take(&mut state.unheard);
        let since = |socket: &String| before.get(socket).map_or(now, |(_, since)| *since);
        state.unheard =
            sockets.into_iter().map(|(socket, why)| (socket.clone(), (why, since(&socket)))).collect();
        state.tell();
    }

    /// The generation that is told, and each worker.
    #[must_use]
    pub fn known(&self) -> (u64, Vec<WorkerKnown>) {
        let state = self.state();
        let known = |it: &Worker| WorkerKnown {
            seen: it.seen.clone(),
            serves: it.acknowledged,
            trouble: it.all_troubles(),
        };
        (state.current.generation, state.workers.values().map(known).collect())
    }

    /// Changes whenever what is known of the route of this rollout does.
    #[must_use]
    pub fn news(&self, rollout: &str) -> watch::Receiver<Known> {
        let mut state = self.state();
        let known = state.known(rollout);
        state.heard.entry(rollout.to_owned()).or_insert_with(|| watch::Sender::new(known)).subscribe()
    }

    /// Revisions that fail, told by the workers themselves.
    #[must_use]
    pub fn streaks(&self) -> broadcast::Receiver<Arc<BadStreakSeen>> {
        self.shared.streaks.subscribe()
    }

    /// What every worker has counted; one that does not answer is left out.
    pub async fn counts(&self) -> Vec<Snapshot> {
        let asked: Vec<_> = {
            let state = self.state();
            let one = |it: &Worker| {
                let (answer, answered) = oneshot::channel();
                it.ask.try_send(answer).ok().map(|()| (it.seen.worker, answered))
            };
            state.workers.values().filter_map(one).collect()
        };
        let mut snapshots = vec![];
        let until = tokio::time::Instant::now() + COUNTS_WITHIN;
        for (worker, answered) in asked {
            if let Ok(Ok(snapshot)) = tokio::time::timeout_at(until, answered).await {
                if let Some(worker) = self.state().workers.get_mut(&worker) {
                    worker.says(&snapshot.troubles, clock::now());
                }
                snapshots.push(snapshot);
            }
        }
        snapshots
    }

    fn meet(&self, seen: &WorkerSeen) -> Worker {
        let (ask, asked) = mpsc::channel(4);
        let mut tasks = tokio::task::JoinSet::new();
        let socket: &Path = &seen.control_socket;
        let (shared, number, socket) = (Arc::downgrade(&self.shared), seen.worker, socket.to_owned());
        let asked = Arc::new(tokio::sync::Mutex::new(asked));
        tasks.spawn({
            let (shared, socket) = (shared.clone(), socket.clone());
            async move {
                let begin = || link::orders(shared.clone(), number, socket.clone(), Arc::clone(&asked));
                at_work::keep("the link to a worker", begin).await;
            }
        });
        tasks.spawn(async move {
            at_work::keep("the news of a worker", || link::streaks(shared.clone(), socket.clone())).await;
        });
        let mut worker = Worker {
            seen: seen.clone(),
            acknowledged: None,
            refused: BTreeSet::new(),
            trouble: None,
            troubles: BTreeMap::new(),
            ask,
            tasks,
        };
        worker.see(seen);
        worker
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Route {
    fn ask(&mut self, wish: &RouteWish, generation: u64) {
        match &wish.split {
            Some(split) => self.acks.ask_anew(split, generation),
            None => self.acks.ask_nothing(),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

impl Worker {
    fn see(&mut self, seen: &WorkerSeen) {
        if self.seen.pid != seen.pid {
            (self.acknowledged, self.trouble) = (None, None);
            self.refused.clear();
            self.troubles.clear();
        }
        self.seen = seen.clone();
    }

    /// Takes what it says is wrong with its sockets.
    fn says(&mut self, troubles: &BTreeMap<String, String>, now: Timestamp) {
        self.troubles.retain(|socket, (text, _)| troubles.get(socket) == Some(text));
        for (socket, text) in troubles {
            self.troubles.entry(socket.clone()).or_insert_with(|| (text.clone(), now));
        }
    }

    fn all_troubles(&self) -> Option<String> {
        let of_sockets = self.troubles.iter().map(|(socket, (text, _))| format!("{socket}: {text}"));
        let all: Vec<String> = self.trouble.iter().cloned().chain(of_sockets).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Whether it may hold a connection of a user.
    fn can_serve(&self) -> bool {
        match self.seen.state {
            WorkerState::Starting | WorkerState::Ready => self.seen.pid.is_some(),
            // One that drains ends its connections itself; when it no longer takes orders only their rest is left.
            WorkerState::Draining => self.seen.pid.is_some() && self.trouble.is_none(),
        }
    }

    fn serves(&self, saved: Option<(u64, Timestamp)>) -> Option<u64> {
        let began_with = saved.filter(|(_, at)| self.is_younger_than(*at)).map(|(generation, _)| generation);
        self.acknowledged.max(began_with)
    }

    fn is_younger_than(&self, at: Timestamp) -> bool {
        self.seen.state == WorkerState::Starting && self.seen.pid.is_some() && self.seen.since > at
    }
}

impl State {
    fn wish(&mut self, rollout: &str, wish: RouteWish, before: Option<&Split>, now: Timestamp) {
        let next = self.current.generation + 1;
        match self.routes.get_mut(rollout) {
            Some(route) => {
                if route.wish.split != wish.split {
                    route.ask(&wish, next);
                }
                if route.wish != wish {
                    route.lowered = lower::listeners(&wish);
                    route.wish = wish;
                }
            }
            None => {
                let acks = before.map(|split| Acks::remembered(split.clone(), now)).unwrap_or_default();
                let mut route = Route { lowered: lower::listeners(&wish), wish, acks };
                route.ask(&route.wish.clone(), next);
                self.routes.insert(rollout.to_owned(), route);
            }
        }
    }

    /// The next configuration; `None`: the supervisor has the present one already.
    fn build(&mut self) -> Option<ProxyConfig> {
        if self.held {
            return None;
        }
        let of = |(rollout, route): (&String, &Route)| {
            let sockets = route.lowered.iter().enumerate();
            let named = sockets.map(|(index, config)| (socket_name(rollout, index), config.clone()));
            named.collect::<Vec<_>>()
        };
        let listeners = self.routes.iter().flat_map(of).collect();
        let kept = self.saved.is_some_and(|(generation, _)| generation == self.current.generation);
        let asked = self.routes.values().any(|it| it.acks.asked_in() > Some(self.current.generation));
        if kept && !asked && listeners == self.current.listeners {
            return None;
        }
        self.current = ProxyConfig { generation: self.current.generation + 1, listeners };
        Some(self.current.clone())
    }

    /// Whether this is what a rollout asks for already, and the supervisor has it.
    fn is_served(&self, rollout: &str, wish: &RouteWish) -> bool {
        let kept = self.saved.is_some_and(|(generation, _)| generation == self.current.generation);
        let route = self.routes.get(rollout).filter(|it| it.wish == *wish);
        kept && route.is_some_and(|it| it.acks.asked_in() <= Some(self.current.generation))
    }

    fn troubles(&self, rollout: &str) -> Vec<(String, Timestamp)> {
        let mut all: BTreeMap<String, Timestamp> = BTreeMap::new();
        let of_workers = self.workers.values().flat_map(|it| &it.troubles);
        for (socket, (text, since)) in of_workers.chain(&self.unheard) {
            if is_of(socket, rollout) {
                let known = all.entry(format!("{socket}: {text}")).or_insert(*since);
                *known = (*known).min(*since);
            }
        }
        all.into_iter().collect()
    }

    fn known(&self, rollout: &str) -> Known {
        let route = self.routes.get(rollout);
        Known {
            acknowledged: route.and_then(|it| it.acks.acknowledged().cloned()),
            troubles: self.troubles(rollout),
        }
    }

    /// Tells those whose route has changed.
    fn tell(&self) {
        for (rollout, heard) in &self.heard {
            let now = self.known(rollout);
            heard.send_if_modified(|known| {
                let changed = *known != now;
                *known = now;
                changed
            });
        }
    }

    /// The oldest generation that any worker may still serve of a rollout; `None`: no worker, or one of which nothing is
    /// known.
    fn oldest_served(&self, rollout: &str) -> Option<u64> {
        let mut serving = self.workers.values().filter(|it| it.can_serve()).peekable();
        serving.peek()?;
        let served = |it: &Worker| match it.refused.iter().any(|socket| is_of(socket, rollout)) {
            true => None,
            false => it.serves(self.saved),
        };
        serving.map(served).min().flatten()
    }

    fn take_acknowledgements(&mut self, now: Timestamp) {
        let served: BTreeMap<String, u64> =
            self.routes.keys().filter_map(|it| Some((it.clone(), self.oldest_served(it)?))).collect();
        for (rollout, route) in &mut self.routes {
            if let Some(oldest) = served.get(rollout) {
                route.acks.confirm(*oldest, now);
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledge(&self, worker: u64, applied: Heard) {
        let mut state = self.state();
        let Some(known) = state.workers.get_mut(&worker) else { return };
        match applied {
            Heard::Applied { generation, refused } => {
                (known.acknowledged, known.trouble) = (Some(generation), None);
                known.refused = refused.keys().cloned().collect();
                let others = known.troubles.iter().filter(|(socket, _)| !refused.contains_key(*socket));
                let mut troubles: BTreeMap<_, _> =
                    others.map(|(socket, (text, _))| (socket.clone(), text.clone())).collect();
                troubles.extend(refused);
                known.says(&troubles, clock::now());
            }
            Heard::Trouble(trouble) => known.trouble = Some(trouble),
        }
        state.take_acknowledgements(clock::now());
        state.tell();
    }
}

#[cfg(test)]
mod tests {
    use strategies::{Arm, Dest};

    use super::*;

    fn wish(revision: &str) -> RouteWish {
        RouteWish {
            proxy: crate::router::Proxy::default(),
            split: Some(Split::all_to(Dest::Arm(Arm::main(revision.into())))),
            arms: BTreeMap::new(),
            fresh: None,
            fallback: None,
            sticky_key: "0123456789abcdef".into(),
            attempt: 1,
        }
    }

    fn one_worker() -> State {
        let seen = WorkerSeen {
            worker: 1,
            state: WorkerState::Ready,
            pid: Some(7),
            since: Timestamp::UNIX_EPOCH,
            control_socket: "/nowhere".into(),
        };
        let (ask, _) = mpsc::channel(1);
        let worker = Worker {
            seen,
            acknowledged: None,
            refused: BTreeSet::new(),
            trouble: None,
            troubles: BTreeMap::new(),
            ask,
            tasks: tokio::task::JoinSet::new(),
        };
        State {
            routes: BTreeMap::new(),
            workers: [(1, worker)].into(),
            current: ProxyConfig { generation: 1, listeners: BTreeMap::new() },
            held: false,
            unheard: BTreeMap::new(),
            saved: None,
            heard: BTreeMap::new(),
        }
    }

    impl State {
        /// Asks for this; the generation that does.
        fn asked(&mut self, revision: &str) -> u64 {
            self.wish("shop", wish(revision), None, Timestamp::UNIX_EPOCH);
            self.build().unwrap().generation
        }

        fn served(&mut self, generation: u64) {
            self.workers.get_mut(&1).unwrap().acknowledged = Some(generation);
            self.take_acknowledgements(Timestamp::UNIX_EPOCH);
        }

        fn is_acknowledged(&self, revision: &str) -> bool {
            let known = self.routes["shop"].acks.acknowledged();
            known.map(|it| &it.split) == wish(revision).split.as_ref()
        }
    }

    #[test]
    fn a_split_that_is_asked_for_again_is_not_acknowledged_by_what_was_served_before() {
        let mut state = one_worker();
        let first = state.asked("a");
        state.served(first);
        assert!(state.is_acknowledged("a"));
        let other = state.asked("b");
        let again = state.asked("a");
        assert!(!state.is_acknowledged("a"), "the worker may be at the other split by now");
        state.served(other);
        assert!(!state.is_acknowledged("a"), "it is at the other split");
        state.served(again);
        assert!(state.is_acknowledged("a"));
    }

    #[test]
    fn only_those_are_told_whose_route_has_changed() {
        let mut state = one_worker();
        let hear = |state: &mut State, rollout: &str| {
            let known = state.known(rollout);
            state.heard.entry(rollout.to_owned()).or_insert_with(|| watch::Sender::new(known)).subscribe()
        };
        state.wish("other", wish("a"), None, Timestamp::UNIX_EPOCH);
        let first = state.asked("a");
        state.served(first);
        let (mut own, mut other) = (hear(&mut state, "shop"), hear(&mut state, "other"));
        let second = state.asked("b");
        state.served(second);
        state.tell();
        assert!(own.has_changed().unwrap(), "its workers have followed");
        assert!(!other.has_changed().unwrap(), "nothing of it has changed");
        own.mark_unchanged();
        let trouble = ("its certificate is gone".to_owned(), Timestamp::UNIX_EPOCH);
        state.unheard.insert("other/0".to_owned(), trouble);
        state.tell();
        assert!(!own.has_changed().unwrap());
        assert!(other.has_changed().unwrap(), "that is shown");
        other.mark_unchanged();
    }

    #[test]
    fn what_is_served_already_is_asked_of_nobody() {
        let mut state = one_worker();
        assert!(!state.is_served("shop", &wish("a")));
        let first = state.asked("a");
        assert!(!state.is_served("shop", &wish("a")), "the supervisor has not kept it yet");
        state.saved = Some((first, Timestamp::UNIX_EPOCH));
        assert!(state.is_served("shop", &wish("a")));
        assert!(!state.is_served("shop", &wish("b")));
    }

    #[test]
    fn what_a_worker_refuses_of_one_route_holds_no_other_one_back() {
        let mut state = one_worker();
        state.wish("other", wish("a"), None, Timestamp::UNIX_EPOCH);
        let first = state.asked("a");
        state.workers.get_mut(&1).unwrap().refused = ["other/0".to_owned()].into();
        state.served(first);
        assert!(state.is_acknowledged("a"));
        assert!(state.routes["other"].acks.acknowledged().is_none(), "it goes on with what it had");
        state.workers.get_mut(&1).unwrap().refused.clear();
        state.served(first);
        assert!(state.routes["other"].acks.acknowledged().is_some());
    }
}
