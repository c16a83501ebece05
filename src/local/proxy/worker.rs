//! The worker process: listeners, orders, the coarse clock, and ending well.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{
    backend::Endpoint,
    client_io::{ConnState, Kick, Patience, TICK_MS, Ticks},
    config::{ListenerConfig, ListenerName, ProxyConfig},
    counts::{EndpointSnapshot, ListenerSnapshot, Registry, Snapshot},
    refusal::Refusal,
    streaks::Subscribers,
    table::{Making, Table, TableError},
    wire::Health,
};
use crate::clock;

/// What a worker is started with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerBoot {
    /// Index among the workers; part of every count.
    pub worker: u32,
    /// Every random choice follows from it, the index and the listener's name.
    pub seed: u64,
    /// Served at once, without waiting for an order; a socket whose part can't be served answers 503 and keeps no
    /// other one down. Default none: 503 until the first `apply`.
    pub config: Option<ProxyConfig>,
    /// Longest time the worker takes to end after SIGTERM, milliseconds. Default 30 s.
    pub drain_ms: Option<u64>,
}

impl WorkerBoot {
    pub(super) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms.unwrap_or(30_000))
    }
}

/// One listening socket: its table and what is counted besides its arms.
pub(super) struct Listener {
    pub(super) name: Rc<str>,
    pub(super) table: RefCell<Option<Rc<Table>>>,
    pub(super) connections: Cell<u64>,
    accepted: Cell<u64>,
    unserved: Cell<u64>,
    refused: Cell<u64>,
    mirrors_skipped: Cell<u64>,
    /// Open connections by the client's address.
    peers: RefCell<BTreeMap<IpAddr, usize>>,
    turned_away: Cell<u64>,
    /// Why no connection can be accepted now.
    deaf: RefCell<Option<String>>,
    /// Why its part of the last configuration is not served.
    unapplied: RefCell<Option<String>>,
    /// A connection ended or the configuration changed.
    pub(super) room: Notify,
}

/// A client connection's place among those of its address.
pub(super) struct Place {
    listener: Rc<Listener>,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.listener.peers.borrow_mut();
        if let Some(open) = peers.get_mut(&self.peer) {
            *open -= 1;
            if *open == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

impl Listener {
    fn new(name: &str) -> Self {
        Self {
            name: Rc::from(name),
            table: RefCell::new(None),
            connections: Cell::new(0),
            accepted: Cell::new(0),
            unserved: Cell::new(0),
            refused: Cell::new(0),
            mirrors_skipped: Cell::new(0),
            peers: RefCell::default(),
            turned_away: Cell::new(0),
            deaf: RefCell::new(None),
            unapplied: RefCell::new(None),
            room: Notify::new(),
        }
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        let counter = if refusal.is_clients() { &self.refused } else { &self.unserved };
        counter.set(counter.get() + 1);
    }

    pub(super) fn mirrors_skipped(&self, n: u64) {
        self.mirrors_skipped.set(self.mirrors_skipped.get() + n);
    }

    /// A place for one more connection of this address; `None` when it has as many as it may.
    pub(super) fn place(self: &Rc<Self>, peer: IpAddr, most: usize) -> Option<Place> {
        let peer = peer.to_canonical();
        let mut peers = self.peers.borrow_mut();
        let open = peers.entry(peer).or_default();
        if *open >= most {
            self.turned_away.set(self.turned_away.get() + 1);
            return None;
        }
        *open += 1;
        Some(Place { listener: Rc::clone(self), peer })
    }

    /// A connection was accepted, or could not be. Said once, not as often as it is tried.
    pub(super) fn accepts(&self, failed: Option<&std::io::Error>) {
        if failed.is_none() && self.deaf.borrow().is_none() {
            return;
        }
        let text = failed.map(|error| {
            format!(
                "connections cannot be accepted: {error}; they wait until there is room (a higher limit of open files, \
                 more memory, or fewer clients)"
            )
        });
        if *self.deaf.borrow() != text {
            match &text {
                Some(text) => tracing::warn!(listener = %self.name, "{text}"),
                None => tracing::warn!(listener = %self.name, "connections are accepted again"),
            }
            self.deaf.replace(text);
        }
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.deaf.borrow().is_some()
    }

    /// What is wrong with it now, all of it.
    fn trouble(&self, now: Instant) -> Option<String> {
        let tls = self.table.borrow().as_ref().and_then(|table| table.tls.as_ref()?.trouble(now));
        let (deaf, unapplied) = (self.deaf.borrow().clone(), self.unapplied.borrow().clone());
        let all: Vec<String> = [unapplied, tls, deaf].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    pub(super) fn is_full(&self) -> bool {
        let most = self.table.borrow().as_ref().map_or(20_000, |table| table.limits.connections);
        self.connections.get() >= most as u64
    }

    fn snapshot(&self) -> ListenerSnapshot {
        ListenerSnapshot {
            connections: self.connections.get(),
            accepted: self.accepted.get(),
            unserved: self.unserved.get(),
            refused: self.refused.get(),
            mirrors_skipped: self.mirrors_skipped.get(),
            turned_away: self.turned_away.get(),
        }
    }
}

/// An open connection, for those who may tell it to end.
type OpenConnection = (Arc<ConnState>, Rc<Listener>);

/// Everything the tasks of one worker share; one thread uses it.
pub(super) struct Worker {
    index: u32,
    start: String,
    started: Instant,
    seed: u64,
    pub(super) ticks: Ticks,
    generation: Cell<Option<u64>>,
    listeners: RefCell<BTreeMap<ListenerName, Rc<Listener>>>,
    config: RefCell<Option<ProxyConfig>>,
    endpoints: RefCell<BTreeMap<SocketAddr, Rc<Endpoint>>>,
    counts: Registry,
    connections: RefCell<BTreeMap<u64, OpenConnection>>,
    next_connection: Cell<u64>,
    /// A connection was opened while there was none.
    woken: Notify,
    pub(super) mirrors: Cell<usize>,
    pub(super) tunnels: Cell<u64>,
    pub(super) draining: Cell<bool>,
    /// A connection or a tunnel ended.
    pub(super) something_ended: Notify,
    pub(super) drain_ordered: Notify,
    drain_within: Cell<Duration>,
    pub(super) subscribers: Rc<Subscribers>,
}

impl Worker {
    pub(super) fn new(boot: &WorkerBoot) -> Self {
        let pid = std::process::id();
        Self {
            index: boot.worker,
            start: format!("{:x}-{pid:x}", clock::now().as_nanosecond()),
            started: clock::instant(),
            seed: boot.seed,
            ticks: Ticks::default(),
            generation: Cell::new(None),
            listeners: RefCell::default(),
            config: RefCell::new(None),
            endpoints: RefCell::default(),
            counts: Registry::default(),
            connections: RefCell::default(),
            next_connection: Cell::new(0),
            woken: Notify::new(),
            mirrors: Cell::new(0),
            tunnels: Cell::new(0),
            draining: Cell::new(false),
            something_ended: Notify::new(),
            drain_ordered: Notify::new(),
            drain_within: Cell::new(boot.drain()),
            subscribers: Rc::default(),
        }
    }

    /// Serves exactly these sockets from now on. Connections of one that is gone end with the request they carry.
    pub(super) fn listen(&self, names: &BTreeSet<ListenerName>) {
        let gone: Vec<_> = {
            let mut listeners = self.listeners.borrow_mut();
            listeners.extract_if(.., |name, _| !names.contains(name)).map(|(_, it)| it).collect()
        };
        for (state, listener) in self.connections.borrow().values() {
            if gone.iter().any(|it| Rc::ptr_eq(it, listener)) {
                state.kick(Kick::Graceful);
            }
        }
        let mut listeners = self.listeners.borrow_mut();
        let new = names.iter().filter(|name| !listeners.contains_key(*name));
        let new: Vec<_> = new.cloned().collect();
        for name in new {
            let listener = Rc::new(Listener::new(&name));
            listeners.insert(name, listener);
        }
        drop(listeners);
        let config = self.config.borrow().clone();
        if let Some(config) = config {
            // Who is refused says so where people look.
            self.apply(&config);
        }
    }

    /// Ends the connections of a listener with the request they carry: they came to an address that it has left.
    pub(super) fn moved(&self, listener: &Rc<Listener>) {
        for (state, of) in self.connections.borrow().values() {
            if Rc::ptr_eq(of, listener) {
                state.kick(Kick::Graceful);
            }
        }
    }

    pub(super) fn listener(&self, name: &str) -> Option<Rc<Listener>> {
        self.listeners.borrow().get(name).cloned()
    }

    /// Serves `config` from the next request on, each listener for itself; answers those that go on with what they had,
    /// each with its reason. One that had nothing answers 503.
    pub(super) fn apply(&self, config: &ProxyConfig) -> BTreeMap<ListenerName, String> {
        let mut served = config.clone();
        let mut refused = BTreeMap::new();
        for (name, listener) in self.listeners.borrow().iter() {
            let made = config.listeners.get(name).map(|config| self.table(listener, config)).transpose();
            let unapplied = match made {
                Ok(table) => {
                    listener.table.replace(table.map(Rc::new));
                    None
                }
                Err(error) => {
                    let before = self.config.borrow().as_ref().and_then(|it| it.listeners.get(name).cloned());
                    match before {
                        Some(before) => drop(served.listeners.insert(name.clone(), before)),
                        None => drop(served.listeners.remove(name)),
                    }
                    tracing::error!(%error, "a socket goes on with what it had");
                    refused.insert(name.clone(), error.to_string());
                    Some(error.to_string())
                }
            };
            listener.unapplied.replace(unapplied);
        }
        self.generation.set(Some(config.generation));
        self.forget_unnamed(&served);
        self.config.replace(Some(served));
        for listener in self.listeners.borrow().values() {
            listener.room.notify_waiters();
        }
        refused
    }

    fn table(&self, listener: &Listener, config: &ListenerConfig) -> Result<Table, TableError> {
        let before = listener.table.borrow();
        let making = Making {
            listener: &listener.name,
            before: before.as_deref(),
            seed: seed(self.seed, self.index, &listener.name),
            endpoint: &|address| self.endpoint(address),
            counts: &|revision| self.counts.revision(&listener.name, revision),
        };
        Table::new(config, &making)
    }

    fn endpoint(&self, address: SocketAddr) -> Rc<Endpoint> {
        let mut endpoints = self.endpoints.borrow_mut();
        let made = || Rc::new(Endpoint::new(address, Arc::clone(&self.ticks)));
        Rc::clone(endpoints.entry(address).or_insert_with(made))
    }

    fn forget_unnamed(&self, config: &ProxyConfig) {
        let arms = || config.listeners.values().flat_map(|listener| listener.arms.values());
        let named: BTreeSet<_> = arms().flat_map(|arm| &arm.endpoints).collect();
        self.endpoints.borrow_mut().retain(|address, endpoint| {
            endpoint.set_configured(named.contains(address));
            endpoint.is_configured() || endpoint.in_flight() > 0
        });
        self.counts.applied(|listener, revision| {
            let listener = config.listeners.get(listener);
            listener.is_some_and(|listener| listener.arms.values().any(|arm| arm.revision == revision))
        });
    }

    /// Everything counted so far.
    pub(super) fn snapshot(&self) -> Snapshot {
        let now = clock::instant();
        let endpoints = self.endpoints.borrow();
        let listeners = self.listeners.borrow();
        let seen = endpoints.values().filter(|endpoint| endpoint.is_configured() || endpoint.in_flight() > 0);
        let arms = listeners.iter().filter_map(|(name, listener)| {
            let table = listener.table.borrow();
            let arms =
                table.as_ref()?.arms.iter().map(|arm| (arm.name.clone(), arm.revision.clone())).collect();
            Some((name.clone(), arms))
        });
        Snapshot {
            worker: self.index,
            start: self.start.clone(),
            generation: self.generation.get(),
            uptime_ms: millis(now.duration_since(self.started)),
            listeners: listeners.iter().map(|(name, listener)| (name.clone(), listener.snapshot())).collect(),
            series: self.counts.snapshot(),
            endpoints: seen
                .map(|endpoint| EndpointSnapshot {
                    address: endpoint.address(),
                    in_flight: endpoint.in_flight(),
                    completed: endpoint.ended().0,
                    failed: endpoint.ended().1,
                    latency: endpoint.latency(),
                    ejected: endpoint.is_ejected(now),
                    configured: endpoint.is_configured(),
                })
                .collect(),
            arms: arms.collect(),
            troubles: self.troubles(),
        }
    }

    fn troubles(&self) -> BTreeMap<ListenerName, String> {
        let now = clock::instant();
        let listeners = self.listeners.borrow();
        let troubles = listeners.iter().filter_map(|(name, it)| Some((name.clone(), it.trouble(now)?)));
        troubles.collect()
    }

    pub(super) fn health(&self) -> Health {
        Health {
            worker: self.index,
            pid: std::process::id(),
            start: self.start.clone(),
            generation: self.generation.get(),
            draining: self.draining.get(),
            connections: self.open(),
            troubles: self.troubles(),
            uptime_ms: millis(clock::instant().duration_since(self.started)),
        }
    }

    /// Client connections and tunnels open.
    pub(super) fn open(&self) -> u64 {
        self.connections.borrow().len() as u64 + self.tunnels.get()
    }

    /// Notes a connection; forgotten when the returned value is dropped.
    pub(super) fn opened(self: &Rc<Self>, listener: &Rc<Listener>) -> Opened {
        let id = self.next_connection.get();
        self.next_connection.set(id + 1);
        listener.accepted.set(listener.accepted.get() + 1);
        listener.connections.set(listener.connections.get() + 1);
        if self.connections.borrow().is_empty() {
            self.ticks.store(millis_ticks(self.started), Relaxed);
            self.woken.notify_one();
        }
        let state = Arc::new(ConnState::new(Arc::clone(&self.ticks)));
        self.connections.borrow_mut().insert(id, (Arc::clone(&state), Rc::clone(listener)));
        Opened { worker: Rc::clone(self), listener: Rc::clone(listener), id, state }
    }

    /// Keeps the coarse clock going while anything is open: a worker at rest is woken by nothing.
    pub(super) async fn keep_ticking(&self) -> Infallible {
        let mut ticks = tokio::time::interval(Duration::from_millis(TICK_MS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            if !self.has_open() {
                self.woken.notified().await;
            }
            ticks.tick().await;
            self.tick();
        }
    }

    fn has_open(&self) -> bool {
        let resting = || self.endpoints.borrow().values().any(|it| it.has_idle());
        !self.connections.borrow().is_empty() || self.mirrors.get() > 0 || resting()
    }

    /// One tick of the coarse clock: closes what is overdue.
    fn tick(&self) {
        self.ticks.store(millis_ticks(self.started), Relaxed);
        for (state, listener) in self.connections.borrow().values() {
            let timeouts =
                listener.table.borrow().as_ref().map(|table| table.timeouts.clone()).unwrap_or_default();
            let ticks = |ms: u64| u32::try_from(ms.div_ceil(TICK_MS)).unwrap_or(u32::MAX);
            let patience = Patience {
                head: ticks(timeouts.header_read_ms),
                idle: ticks(timeouts.client_idle_ms),
                stalled: ticks(timeouts.stream_idle_ms),
            };
            state.kick(state.overdue(&patience));
        }
        self.close_idle_backends();
    }

    fn close_idle_backends(&self) {
        let endpoints = self.endpoints.borrow();
        if endpoints.values().all(|endpoint| !endpoint.has_idle()) {
            return;
        }
        let kept =
            |listener: &Rc<Listener>| listener.table.borrow().as_ref().map(|t| t.timeouts.backend_idle());
        let longest = self.listeners.borrow().values().filter_map(kept).min().unwrap_or_default();
        for endpoint in endpoints.values() {
            endpoint.close_idle(longest);
        }
    }

    /// Stop accepting and end within `deadline`.
    pub(super) fn drain(&self, deadline: Duration) {
        self.drain_within.set(self.drain_within.get().min(deadline));
        self.draining.set(true);
        self.drain_ordered.notify_one();
    }

    /// Waits for what is open, asking it to end; cut at the deadline.
    ///
    /// HTTP/2 clients are told at once (GOAWAY loses nothing). HTTP/1 clients learn it from the next response;
    /// an idle connection is closed only after it had time for one, because a request may be on its way.
    pub(super) async fn ended(&self) {
        let within = self.drain_within.get();
        let grace = (within / 3).min(Duration::from_secs(2));
        self.kick(|state| state.is_http2());
        let _ = tokio::time::timeout(grace, self.none_open()).await;
        self.kick(|_| true);
        let _ = tokio::time::timeout(within.saturating_sub(grace), self.none_open()).await;
    }

    fn kick(&self, which: impl Fn(&ConnState) -> bool) {
        let connections = self.connections.borrow();
        for (state, _) in connections.values().filter(|(state, _)| which(state)) {
            state.kick(Kick::Graceful);
        }
    }

    async fn none_open(&self) {
        loop {
            let ended = self.something_ended.notified();
            if self.open() == 0 && self.mirrors.get() == 0 {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(TICK_MS), ended).await;
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn millis_ticks(started: Instant) -> u32 {
    u32::try_from(millis(clock::instant().duration_since(started)) / TICK_MS).unwrap_or(u32::MAX)
}

/// FNV-1a over all that tells one sequence of draws from another.
fn seed(seed: u64, worker: u32, listener: &str) -> u64 {
    let bytes = seed.to_be_bytes().into_iter().chain(worker.to_be_bytes()).chain(listener.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// An open client connection.
pub(super) struct Opened {
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    id: u64,
    pub(super) state: Arc<ConnState>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(&self.id);
        self.listener.connections.set(self.listener.connections.get().saturating_sub(1));
        self.listener.room.notify_waiters();
        self.worker.something_ended.notify_waiters();
    }
}
