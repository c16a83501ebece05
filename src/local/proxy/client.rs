//! The control process's side of a worker's control socket.

use std::{collections::BTreeMap, path::Path, time::Duration};

use tokio::net::{
    UnixStream,
    unix::{OwnedReadHalf, OwnedWriteHalf},
};

use super::{
    config::{ListenerName, ProxyConfig},
    counts::Snapshot,
    wire::{self, BadStreak, Health, Lines, Order, Reply, WireError},
};

/// An order to a worker failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkerCallError {
    /// The message could not be exchanged.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The worker said nothing in time.
    #[error("worker did not answer within {0:?}")]
    TimedOut(Duration),
    /// The worker can't serve something of the configuration; there it still serves what it had.
    #[error("worker refused configuration {generation}: {reason}")]
    Refused {
        /// Of the refused configuration.
        generation: u64,
        /// What the worker said.
        reason: String,
        /// The sockets it is about, each with its reason; all others are served as told. `None`: all of it.
        only: Option<BTreeMap<ListenerName, String>>,
    },
    /// The worker answered something else than what was asked: it is of another version, or the connection is shared.
    #[error("worker answered {0:?}, which is no answer to what was asked; connect again")]
    OutOfStep(&'static str),
}

/// A connection to one worker. After an error other than `Refused`, connect anew.
pub struct WorkerClient {
    lines: Lines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    patience: Duration,
}

/// A revision that fails, told by the worker before anybody asked.
#[derive(Clone, Debug)]
pub struct BadStreakSeen {
    /// Socket.
    pub listener: String,
    /// Revision that fails.
    pub revision: String,
    /// Counts at that moment.
    pub snapshot: Snapshot,
}

/// A connection on which a worker pushes bad streaks.
pub struct BadStreaks {
    lines: Lines<OwnedReadHalf>,
    _writer: OwnedWriteHalf,
}

impl WorkerClient {
    /// Connects; every later call waits for its answer at most `patience`.
    ///
    /// # Errors
    /// When nobody listens at `socket`.
    pub async fn connect(socket: &Path, patience: Duration) -> Result<Self, WorkerCallError> {
        let stream = UnixStream::connect(socket).await.map_err(WireError::Io)?;
        Ok(Self::over(stream, patience))
    }

    /// Uses a connection that was made already.
    #[must_use]
    pub fn over(stream: UnixStream, patience: Duration) -> Self {
        let (reader, writer) = stream.into_split();
        Self { lines: Lines::new(reader), writer, patience }
    }

    /// Serves `config` from now on; when this returns, every request that begins uses it.
    ///
    /// # Errors
    /// [`WorkerCallError::Refused`] leaves the former configuration in force on the sockets it names.
    pub async fn apply(&mut self, config: ProxyConfig) -> Result<u64, WorkerCallError> {
        let reply = self.call(&Order::Apply(Box::new(config))).await?;
        let told = out_of_step(&reply);
        if let Reply::Refused { generation, reason, only } = reply {
            return Err(WorkerCallError::Refused { generation, reason, only });
        }
        let Reply::Applied { generation } = reply else { return Err(told) };
        Ok(generation)
    }

    /// Everything counted since the worker started.
    ///
    /// # Errors
    /// When the worker is gone or silent.
    pub async fn counts(&mut self) -> Result<Snapshot, WorkerCallError> {
        let reply = self.call(&Order::Counts).await?;
        let told = out_of_step(&reply);
        let Reply::Counts(snapshot) = reply else { return Err(told) };
        Ok(*snapshot)
    }

    /// How the worker is.
    ///
    /// # Errors
    /// When the worker is gone or silent.
    pub async fn health(&mut self) -> Result<Health, WorkerCallError> {
        let reply = self.call(&Order::Health).await?;
        let told = out_of_step(&reply);
        let Reply::Health(health) = reply else { return Err(told) };
        Ok(health)
    }

    /// Lets the worker finish what is in flight and end, within `deadline` at the latest.
    ///
    /// # Errors
    /// When the worker is gone or silent.
    pub async fn drain(&mut self, deadline: Duration) -> Result<(), WorkerCallError> {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let reply = self.call(&Order::Drain { deadline_ms }).await?;
        let told = out_of_step(&reply);
        let Reply::Draining = reply else { return Err(told) };
        Ok(())
    }

    /// Turns this connection into a stream of bad streaks.
    ///
    /// # Errors
    /// When the worker is gone or silent.
    pub async fn subscribe(mut self, what: BadStreak) -> Result<BadStreaks, WorkerCallError> {
        let reply = self.call(&Order::Subscribe(what)).await?;
        let told = out_of_step(&reply);
        let Reply::Subscribed = reply else { return Err(told) };
        Ok(BadStreaks { lines: self.lines, _writer: self.writer })
    }

    async fn call(&mut self, order: &Order) -> Result<Reply, WorkerCallError> {
        let exchange = async {
            wire::send(&mut self.writer, order).await?;
            self.lines.next().await
        };
        match tokio::time::timeout(self.patience, exchange).await {
            Ok(reply) => Ok(reply?),
            Err(_) => Err(WorkerCallError::TimedOut(self.patience)),
        }
    }
}

impl BadStreaks {
    /// Waits for the next one.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn next(&mut self) -> Result<BadStreakSeen, WorkerCallError> {
        let reply = self.lines.next().await?;
        let told = out_of_step(&reply);
        let Reply::Pushed { listener, revision, snapshot } = reply else { return Err(told) };
        Ok(BadStreakSeen { listener, revision, snapshot: *snapshot })
    }
}

fn out_of_step(reply: &Reply) -> WorkerCallError {
    let kind = match reply {
        Reply::Applied { .. } => "applied",
        Reply::Refused { .. } => "refused",
        Reply::Counts(_) => "counts",
        Reply::Subscribed => "subscribed",
        Reply::Pushed { .. } => "pushed",
        Reply::Draining => "draining",
        Reply::Health(_) => "health",
        Reply::Unreadable { .. } => "unreadable",
    };
    WorkerCallError::OutOfStep(kind)
}
