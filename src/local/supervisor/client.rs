//! The other end of the supervisor's socket: for the control process, the commands, and the workers.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::SOCKET;
use super::channel::{self, ChannelError, Reader, Writer};
use super::protocol::{
    Answer, Boot, Call, Event, ListenerSeen, Message, Observation, PROTOCOL, ProcessId, ProcessSeen, Refusal,
    Reply, Request,
};
use crate::local::process::{ProcessSpec, StopSignal};

/// Longest wait for an answer; an upgrade takes as long as new workers need.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the answer to an upgrade.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two attempts to reach a supervisor that is becoming its next version.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Events waiting to be taken; those above are replaced by one [`Event::Reconnected`].
const EVENTS: usize = 1024;

/// Why a command brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody supervises this state directory.
    #[error("no supervisor runs for {}: start one with `serinus run FILE`", state.display())]
    NoSupervisor {
        /// The state directory.
        state: PathBuf,
        /// What connecting said.
        source: io::Error,
    },
    /// The supervisor said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No answer in time; the command may or may not have been followed, and may be repeated.
    #[error("the supervisor did not answer within {0:?}")]
    Timeout(Duration),
    /// The connection could not be made again.
    #[error("the connection to the supervisor broke")]
    Broken(#[from] ChannelError),
    /// An answer of the wrong kind: another version.
    #[error("the supervisor answered something else than was asked: it is of another version")]
    Unexpected,
}

/// A connection to the supervisor. Clones share it. It outlives an upgrade of the supervisor: what was not answered is
/// asked again.
#[derive(Debug, Clone)]
pub struct Client {
    calls: mpsc::Sender<Pending>,
}

/// The events of one [`Client`], in order.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
}

impl Events {
    /// The next event; `None` when the supervisor is gone for good.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

#[derive(Debug)]
struct Pending {
    request: Request,
    answer: oneshot::Sender<Result<Answer, ClientError>>,
}

impl Client {
    /// Connects to the supervisor of this state directory.
    ///
    /// # Errors
    /// [`ClientError::NoSupervisor`] when there is none.
    pub async fn connect(state: &Path) -> Result<Self, ClientError> {
        Ok(Self::start(state, false).await?.0)
    }

    /// Connects and subscribes to events. They are pushed, so nothing has to be polled; take them quickly.
    ///
    /// # Errors
    /// [`ClientError::NoSupervisor`] when there is none.
    pub async fn subscribe(state: &Path) -> Result<(Self, Events), ClientError> {
        Self::start(state, true).await
    }

    async fn start(state: &Path, subscribed: bool) -> Result<(Self, Events), ClientError> {
        let socket = state.join(SOCKET);
        let stream = channel::connect(&socket)
            .await
            .map_err(|source| ClientError::NoSupervisor { state: state.to_owned(), source })?;
        let (calls, inbox) = mpsc::channel(64);
        let (events, outbox) = mpsc::channel(EVENTS);
        let link =
            Link { socket, subscribed, inbox, events, waiting: BTreeMap::new(), next_id: 0, owed: false };
        tokio::spawn(link.run(channel::split(stream)));
        Ok((Self { calls }, Events { events: outbox }))
    }

    /// Says one command and waits for its answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call(&self, request: Request) -> Result<Answer, ClientError> {
        let patience = match request {
            Request::Upgrade { .. } => UPGRADE_TIMEOUT,
            Request::Join { .. }
            | Request::Ready
            | Request::EnsureProcess { .. }
            | Request::StopProcess { .. }
            | Request::Observe
            | Request::Lines { .. }
            | Request::EnsureListeners { .. }
            | Request::EnsureWorkers { .. }
            | Request::SaveProxyConfig { .. }
            | Request::Subscribe
            | Request::Shutdown => CALL_TIMEOUT,
        };
        let gone = || ClientError::Broken(ChannelError::Io(io::ErrorKind::BrokenPipe.into()));
        let (answer, answered) = oneshot::channel();
        self.calls.send(Pending { request, answer }).await.map_err(|_| gone())?;
        match timeout(patience, answered).await {
            Err(_) => Err(ClientError::Timeout(patience)),
            Ok(Err(_)) => Err(gone()),
            Ok(Ok(result)) => result,
        }
    }

    /// There shall be this process; answers where it stands, its port included.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refusal::StaleEpoch`] if a higher epoch commands this rollout.
    pub async fn ensure_process(
        &self,
        process: ProcessId,
        epoch: u64,
        spec: ProcessSpec,
    ) -> Result<ProcessSeen, ClientError> {
        let Answer::Process(seen) = self.call(Request::EnsureProcess { process, epoch, spec }).await? else {
            return Err(ClientError::Unexpected);
        };
        Ok(seen)
    }

    /// This process shall end; [`Event::ProcessGone`] says when it has. `None` takes signal and grace of its spec.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refusal::StaleEpoch`] if a higher epoch commands this rollout.
    pub async fn stop_process(
        &self,
        process: ProcessId,
        epoch: u64,
        signal: Option<StopSignal>,
        grace: Option<Duration>,
    ) -> Result<(), ClientError> {
        let grace_ms = grace.map(|g| u64::try_from(g.as_millis()).unwrap_or(u64::MAX));
        self.done(Request::StopProcess { process, epoch, grace_ms, signal }).await
    }

    /// Everything the supervisor keeps, at one moment.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn observe(&self) -> Result<Observation, ClientError> {
        let Answer::Seen(seen) = self.call(Request::Observe).await? else {
            return Err(ClientError::Unexpected);
        };
        Ok(seen)
    }

    /// The last lines a process printed, oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn lines(&self, process: ProcessId, count: usize) -> Result<Vec<String>, ClientError> {
        let Answer::Lines(lines) = self.call(Request::Lines { process, count }).await? else {
            return Err(ClientError::Unexpected);
        };
        Ok(lines)
    }

    /// Exactly these addresses shall be listened on; all or none of the change happens.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refusal::Listen`] names the address that is not to be had.
    pub async fn ensure_listeners(
        &self,
        listeners: BTreeMap<String, std::net::SocketAddr>,
    ) -> Result<Vec<ListenerSeen>, ClientError> {
        let Answer::Listeners(seen) = self.call(Request::EnsureListeners { listeners }).await? else {
            return Err(ClientError::Unexpected);
        };
        Ok(seen)
    }

    /// Exactly so many workers shall serve.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ensure_workers(&self, count: u32) -> Result<(), ClientError> {
        self.done(Request::EnsureWorkers { count }).await
    }

    /// Workers started from now on begin with this configuration.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn save_proxy_config(&self, config: &[u8]) -> Result<(), ClientError> {
        self.done(Request::SaveProxyConfig { base64: BASE64.encode(config) }).await
    }

    /// Drains and ends everything; answers at once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn shutdown(&self) -> Result<(), ClientError> {
        self.done(Request::Shutdown).await
    }

    /// Replaces the running program without losing a request; answers when the new supervisor speaks.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refusal::UpgradeFailed`] when the new program does not work and the present one goes on.
    pub async fn upgrade(&self, executable: Option<PathBuf>) -> Result<Observation, ClientError> {
        let before = self.observe().await?.supervisor.generation;
        self.done(Request::Upgrade { executable }).await?;
        let replaced = async {
            loop {
                let seen = self.observe().await?;
                if seen.supervisor.generation > before {
                    return Ok(seen);
                }
                if let Some(error) = seen.supervisor.upgrade_error {
                    return Err(ClientError::Refused(Refusal::UpgradeFailed(error)));
                }
                sleep(RECONNECT_PAUSE).await;
            }
        };
        timeout(UPGRADE_TIMEOUT, replaced).await.map_err(|_| ClientError::Timeout(UPGRADE_TIMEOUT))?
    }

    async fn done(&self, request: Request) -> Result<(), ClientError> {
        let Answer::Done = self.call(request).await? else { return Err(ClientError::Unexpected) };
        Ok(())
    }
}

/// Keeps one connection, and makes it again when the supervisor becomes its next version.
struct Link {
    socket: PathBuf,
    subscribed: bool,
    inbox: mpsc::Receiver<Pending>,
    events: mpsc::Sender<Event>,
    waiting: BTreeMap<u64, Pending>,
    next_id: u64,
    /// Events may have been missed and the subscriber does not know yet.
    owed: bool,
}

enum Ended {
    Disconnected,
    NobodyAsks,
}

impl Link {
    async fn run(mut self, mut connection: (Reader, Writer)) {
        loop {
            match self.serve(&mut connection).await {
                Ok(Ended::NobodyAsks) => return,
                Ok(Ended::Disconnected) | Err(_) => {}
            }
            let Some(stream) = reconnect(&self.socket).await else { return };
            connection = channel::split(stream);
            self.owed = self.subscribed;
        }
    }

    async fn serve(&mut self, (reader, writer): &mut (Reader, Writer)) -> Result<Ended, ChannelError> {
        if self.subscribed {
            self.say(writer, 0, Request::Subscribe).await?;
        }
        for id in self.waiting.keys().copied().collect::<Vec<_>>() {
            let request = self.waiting[&id].request.clone();
            self.say(writer, id, request).await?;
        }
        let events = self.events.clone();
        loop {
            tokio::select! {
                line = reader.line() => {
                    let Some(line) = line? else { return Ok(Ended::Disconnected) };
                    self.take(&line);
                }
                room = events.reserve(), if self.owed => {
                    self.owed = false;
                    if let Ok(room) = room {
                        room.send(Event::Reconnected);
                    }
                }
                pending = self.inbox.recv() => {
                    let Some(pending) = pending else { return Ok(Ended::NobodyAsks) };
                    self.next_id += 1;
                    let (id, request) = (self.next_id, pending.request.clone());
                    self.waiting.insert(id, pending);
                    self.say(writer, id, request).await?;
                }
            }
        }
    }

    async fn say(&self, writer: &mut Writer, id: u64, request: Request) -> Result<(), ChannelError> {
        let line = serde_json::to_vec(&Call { id, request }).map_err(io::Error::from)?;
        writer.send(&line, &[]).await
    }

    fn take(&mut self, line: &[u8]) {
        match serde_json::from_slice::<Message>(line) {
            Ok(Message::Reply(Reply { id, result })) => {
                if let Some(pending) = self.waiting.remove(&id) {
                    let _ = pending.answer.send(result.map_err(ClientError::Refused));
                }
            }
            // One event too many for a subscriber that is slow: it will look at everything instead.
            Ok(Message::Event { event }) => {
                self.owed |= self.subscribed && self.events.try_send(event).is_err()
            }
            // An event of a later version; whoever needs it knows its name.
            Err(_) => {}
        }
    }
}

/// A new connection, or `None` when the supervisor is gone. Its socket stays open while it becomes its next version,
/// so a refusal means that it is dead.
async fn reconnect(socket: &Path) -> Option<tokio::net::UnixStream> {
    for _ in 0..50 {
        match channel::connect(socket).await {
            Ok(stream) => return Some(stream),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return None,
            Err(_) => sleep(RECONNECT_PAUSE).await,
        }
    }
    None
}

/// A worker's end: its sockets, its first configuration, and when to stop.
#[derive(Debug)]
pub struct WorkerLink {
    socket: PathBuf,
    worker: u64,
    reader: Reader,
    writer: Writer,
    ready: bool,
}

/// What a worker begins with.
#[derive(Debug)]
pub struct WorkerBoot {
    /// Where its own control socket belongs.
    pub control_socket: PathBuf,
    /// What it listens on, non-blocking.
    pub listeners: Vec<Listening>,
    /// The proxy configuration last saved, if there is one.
    pub config: Option<Vec<u8>>,
}

/// One listening socket of a worker.
#[derive(Debug)]
pub struct Listening {
    /// Its name and address.
    pub seen: ListenerSeen,
    /// The socket, shared with the supervisor and the other workers.
    pub socket: TcpListener,
}

/// What a worker is told while it runs.
#[derive(Debug)]
pub enum WorkerOrder {
    /// From now on listen on these, and no others.
    Listeners(Vec<Listening>),
    /// Take no new connections, finish what is under way, end within this time.
    Drain(Duration),
}

impl WorkerLink {
    /// Joins as worker number `worker`, which the supervisor gave on the command line.
    ///
    /// # Errors
    /// [`ClientError`]; the worker ends then and the supervisor starts another.
    pub async fn join(state: &Path, worker: u64) -> Result<(Self, WorkerBoot), ClientError> {
        let socket = state.join(SOCKET);
        let stream = channel::connect(&socket)
            .await
            .map_err(|source| ClientError::NoSupervisor { state: state.to_owned(), source })?;
        let (reader, writer) = channel::split(stream);
        let mut link = Self { socket, worker, reader, writer, ready: false };
        let boot =
            timeout(CALL_TIMEOUT, link.hello()).await.map_err(|_| ClientError::Timeout(CALL_TIMEOUT))??;
        Ok((link, boot))
    }

    /// Tells the supervisor that this worker serves.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub async fn ready(&mut self) -> Result<(), ClientError> {
        self.ready = true;
        self.say(1, Request::Ready).await
    }

    /// The next order. Cancel safe except while the supervisor becomes its next version.
    ///
    /// # Errors
    /// When the supervisor is gone: the kernel ends the worker with it.
    pub async fn next(&mut self) -> Result<WorkerOrder, ClientError> {
        loop {
            let line = match self.reader.line().await {
                Ok(Some(line)) => line,
                Ok(None) | Err(_) => return Ok(WorkerOrder::Listeners(self.rejoin().await?)),
            };
            match serde_json::from_slice::<Message>(&line) {
                Ok(Message::Event { event: Event::Listeners(listeners) }) => {
                    return Ok(WorkerOrder::Listeners(self.listening(listeners)?));
                }
                Ok(Message::Event { event: Event::Drain { within_ms } }) => {
                    return Ok(WorkerOrder::Drain(Duration::from_millis(within_ms)));
                }
                Ok(Message::Event { .. } | Message::Reply(_)) | Err(_) => {}
            }
        }
    }

    async fn rejoin(&mut self) -> Result<Vec<Listening>, ClientError> {
        let gone = || ClientError::Broken(ChannelError::Io(io::ErrorKind::BrokenPipe.into()));
        let stream = reconnect(&self.socket).await.ok_or_else(gone)?;
        (self.reader, self.writer) = channel::split(stream);
        let boot = self.hello().await?;
        if self.ready {
            self.say(1, Request::Ready).await?;
        }
        Ok(boot.listeners)
    }

    async fn hello(&mut self) -> Result<WorkerBoot, ClientError> {
        self.say(0, Request::Join { protocol: PROTOCOL, worker: self.worker }).await?;
        let broken = || ClientError::Broken(ChannelError::Io(io::ErrorKind::UnexpectedEof.into()));
        let line = self.reader.line().await?.ok_or_else(broken)?;
        let message: Message = serde_json::from_slice(&line).map_err(|_| ClientError::Unexpected)?;
        let Message::Reply(Reply { result, .. }) = message else { return Err(ClientError::Unexpected) };
        let Answer::Boot(Boot { control_socket, listeners, config }) = result? else {
            return Err(ClientError::Unexpected);
        };
        let config =
            config.map(|text| BASE64.decode(text)).transpose().map_err(|_| ClientError::Unexpected)?;
        Ok(WorkerBoot { control_socket, listeners: self.listening(listeners)?, config })
    }

    fn listening(&mut self, listeners: Vec<ListenerSeen>) -> Result<Vec<Listening>, ClientError> {
        let files: Vec<OwnedFd> = self.reader.files(listeners.len())?;
        let pairs = listeners.into_iter().zip(files);
        Ok(pairs.map(|(seen, file)| Listening { seen, socket: TcpListener::from(file) }).collect())
    }

    async fn say(&mut self, id: u64, request: Request) -> Result<(), ClientError> {
        let line = serde_json::to_vec(&Call { id, request }).map_err(|e| ChannelError::Io(e.into()))?;
        Ok(self.writer.send(&line, &[]).await?)
    }
}
