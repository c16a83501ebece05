//! Everything the supervisor keeps, and its one loop.
//!
//! Whatever happens (a command, the end of a child, a signal, a deadline) is handled to its end before the next
//! thing, so no state is ever shared. [`House::settle`] follows each: it does what has become due.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::channel;
use super::listeners::Listeners;
use super::protocol::{Event, Message, ProcessId, Reply};
use super::server::{self, ConnectionId, FromPeers, Outgoing};
use super::{LOCK, SOCKET, Settings, SupervisorError, logs, state_dir};
use crate::clock;
use crate::local::at_work;
use crate::local::process::LogLimits;
use crate::local::process::child::Exit;
use crate::local::process::family;
use crate::local::process::log::Log;
use crate::local::process::port::{self, Ports};
use crate::local::timeline;

mod children;
mod commands;
mod ending;
mod kept;
mod passing;
mod upgrade;
mod workers;

use kept::{ChildId, Kept, Process, SharedLog, Worker};

/// What the tasks beside the loop report.
#[derive(Debug)]
enum News {
    /// The program took over, or says why it could not.
    TookOver { child: ChildId, pid: u32, result: Result<(), String> },
    /// The program of a run has ended, and so many that it started have not.
    LeftOthers { child: ChildId, pid: u32, exit: Exit, count: usize },
    /// A run has ended, with all that it started.
    Exited { child: ChildId, pid: u32, exit: Exit },
}

/// A connected peer.
#[derive(Debug)]
struct Peer {
    pid: u32,
    outbox: mpsc::Sender<Outgoing>,
    subscribed: bool,
}

/// How far the end of everything has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    No,
    Draining,
    StoppingControl,
    StoppingProcesses,
}

/// See the module.
#[derive(Debug)]
pub(super) struct House {
    settings: Settings,
    /// Held for its lock.
    lock: File,
    /// The end that is passed on by an upgrade; the accepting task has the other.
    socket: std::os::fd::OwnedFd,
    since: Timestamp,
    generation: u64,
    listeners: Listeners,
    processes: BTreeMap<ProcessId, Process>,
    epochs: BTreeMap<String, u64>,
    ports: Ports<ProcessId>,
    workers: BTreeMap<u64, Worker>,
    workers_log: SharedLog,
    next_worker: u64,
    control: Option<Kept>,
    proxy_config: Option<String>,
    peers: BTreeMap<ConnectionId, Peer>,
    ending: Ending,
    upgrade: Option<upgrade::Upgrade>,
    upgrade_error: Option<String>,
    from_peers: mpsc::Receiver<FromPeers>,
    news: mpsc::Receiver<News>,
    news_to: mpsc::Sender<News>,
    has_terminal: bool,
}

impl House {
    /// A new supervisor in the prepared directory `settings.state`.
    pub(super) async fn open(settings: Settings, given: Vec<OwnedFd>) -> Result<Self, SupervisorError> {
        let lock = state_dir::lock(&settings.state.join(LOCK))?;
        timeline::take_up(&settings.state, Timestamp::MIN);
        let path = settings.state.join(SOCKET);
        let socket = channel::bind(&path).await.map_err(|e| SupervisorError::Io("open its socket", e))?;
        let mut listeners = Listeners::default();
        listeners.offer(given).map_err(|e| SupervisorError::Io("use the sockets it is given", e))?;
        listeners.ensure(&settings.listeners)?;
        let ports = Ports::new(port::below_ephemeral(), first_port());
        let mut house = Self::new(settings, lock, socket, ports)?;
        house.listeners = listeners;
        Ok(house)
    }

    fn new(
        settings: Settings,
        lock: File,
        socket: UnixListener,
        ports: Ports<ProcessId>,
    ) -> Result<Self, SupervisorError> {
        let copy = server::copy_of(&socket).map_err(|e| SupervisorError::Io("copy its socket", e))?;
        // Before anything is started: whoever a child leaves behind is ours to end and to reap.
        family::adopt_orphans()
            .map_err(|e| SupervisorError::Io("adopt what its children leave behind", e))?;
        let (to_loop, from_peers) = mpsc::channel(256);
        let (news_to, news) = mpsc::channel(256);
        let (socket, numbers) = (Arc::new(socket), Arc::default());
        tokio::spawn(async move {
            let begin = || server::accept(Arc::clone(&socket), to_loop.clone(), Arc::clone(&numbers));
            at_work::keep("accepting", begin).await
        });
        let control = (!settings.control.is_empty()).then(|| Self::new_control(&settings.state));
        let workers_log = SharedLog::new(Log::new(logs::workers(&settings.state), LogLimits::default()));
        Ok(Self {
            settings,
            lock,
            socket: copy,
            since: clock::now(),
            generation: 1,
            listeners: Listeners::default(),
            processes: BTreeMap::new(),
            epochs: BTreeMap::new(),
            ports,
            workers: BTreeMap::new(),
            workers_log,
            next_worker: 1,
            control,
            proxy_config: None,
            peers: BTreeMap::new(),
            ending: Ending::No,
            upgrade: None,
            upgrade_error: None,
            from_peers,
            news,
            news_to,
            has_terminal: terminal_is_there(),
        })
    }

    /// Works until everything has ended.
    pub(super) async fn run(mut self) -> Result<(), SupervisorError> {
        let listen = |kind| signal(kind).map_err(|e| SupervisorError::Io("hear signals", e));
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut hang_up = listen(SignalKind::hangup())?;
        let mut child_ended = listen(SignalKind::child())?;
        while self.settle().await {
            let wake = self.wakes();
            tokio::select! {
                Some(news) = self.news.recv() => self.hear(news),
                Some(said) = self.from_peers.recv() => self.take(said).await,
                () = until(wake) => {}
                Some(()) = terminate.recv() => self.end(),
                Some(()) = interrupt.recv() => self.end(),
                Some(()) = hang_up.recv() => self.hung_up(&mut hang_up),
                Some(()) = child_ended.recv() => self.reap_orphans(),
            }
        }
        family::end_the_rest().await;
        Ok(())
    }

    /// Does what has become due; false when everything has ended.
    async fn settle(&mut self) -> bool {
        let now = clock::instant();
        self.settle_workers(now);
        self.forget_ended();
        self.settle_control();
        self.settle_children(now);
        self.settle_upgrade(now).await;
        self.settle_ending(now)
    }

    /// The next moment at which something is due.
    fn wakes(&self) -> Option<Instant> {
        let processes = self.processes.values().filter_map(|p| p.kept.life.wakes());
        let workers = self.workers.values().filter_map(|w| w.kept.life.wakes());
        let control = self.control.iter().filter_map(|c| c.life.wakes());
        let upgrade = self.upgrade.iter().map(upgrade::Upgrade::deadline);
        processes.chain(workers).chain(control).chain(upgrade).min()
    }

    async fn take(&mut self, said: FromPeers) {
        match said {
            FromPeers::Connected { connection, pid, outbox } => {
                self.peers.insert(connection, Peer { pid, outbox, subscribed: false });
            }
            FromPeers::Gone { connection } => self.forget_peer(connection),
            FromPeers::Said { connection, call } => self.follow(connection, call).await,
        }
    }

    fn forget_peer(&mut self, connection: ConnectionId) {
        self.peers.remove(&connection);
        for worker in self.workers.values_mut().filter(|w| w.connection == Some(connection)) {
            worker.connection = None;
        }
    }

    /// Says something to one peer. One that does not listen is cut off: it will come again and look at everything.
    fn say(&mut self, connection: ConnectionId, outgoing: Outgoing) {
        let Some(peer) = self.peers.get(&connection) else { return };
        if peer.outbox.try_send(outgoing).is_err() {
            self.forget_peer(connection);
        }
    }

    fn answer(&mut self, connection: ConnectionId, reply: Reply) {
        if let Some(outgoing) = outgoing(&Message::Reply(reply)) {
            self.say(connection, outgoing);
        }
    }

    /// Tells every subscriber.
    fn tell(&mut self, event: Event) {
        let subscribed: Vec<_> = self.peers.iter().filter(|(_, p)| p.subscribed).map(|(id, _)| *id).collect();
        for connection in subscribed {
            if let Some(outgoing) = outgoing(&Message::Event { event: event.clone() }) {
                self.say(connection, outgoing);
            }
        }
    }

    fn tell_process(&mut self, id: &ProcessId) {
        if let Some(process) = self.processes.get(id) {
            let seen = process.seen(id);
            self.tell(Event::Process(seen));
        }
    }

    fn tell_worker(&mut self, number: u64) {
        if let Some(worker) = self.workers.get(&number) {
            let seen = worker.seen(number, self.control_socket(number));
            self.tell(Event::Worker(seen));
        }
    }

    fn control_socket(&self, worker: u64) -> PathBuf {
        self.settings.state.join(format!("worker-{worker}.sock"))
    }

    fn hung_up(&mut self, _: &mut Signal) {
        if self.has_terminal && !terminal_is_there() {
            // Nobody asked for anything: what serves users does not end with a window.
            tracing::info!("the terminal was closed; everything serves on");
            self.has_terminal = false;
        } else {
            self.begin_upgrade(None, None);
        }
    }
}

fn outgoing(message: &Message) -> Option<Outgoing> {
    // Our own messages are plain data: this cannot fail.
    let line = serde_json::to_vec(message).ok()?;
    Some(Outgoing { line, files: Vec::new(), sent: None })
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

fn terminal_is_there() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Where the search for free ports begins: somewhere else for every supervisor of this machine.
fn first_port() -> u16 {
    let [low, high, ..] = std::process::id().wrapping_mul(97).to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// Listening addresses by name, as asked for.
type Addresses = BTreeMap<String, SocketAddr>;

/// A back-off for our own children: at once, then 100 ms, doubling up to 5 s; one that has worked for a second is
/// started at once again.
fn own_restart() -> crate::local::process::Restart {
    use crate::local::process::{Restart, RestartWhen};
    Restart { when: RestartWhen::Always, initial_ms: 100, max_ms: 5_000, reset_after_ms: 1_000 }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
