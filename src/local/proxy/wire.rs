//! What is said on a worker's control socket: one JSON value per line in both directions.
//!
//! Every order is answered by one reply, in order; after `subscribe` replies of kind `pushed` come in between.
//! Several connections may be open; the configuration applied last is served, whoever sent it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};

use super::{
    config::{ListenerName, ProxyConfig},
    counts::Snapshot,
};

/// Longest line either side accepts, bytes.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// What the control process asks of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// Serve this from now on, each socket for itself. Answered by `applied` once every request that begins uses it, or
    /// by `refused`.
    Apply(Box<ProxyConfig>),
    /// Answered by `counts`.
    Counts,
    /// From now on this connection is also sent `pushed` counts on a bad streak. Answered by `subscribed`.
    Subscribe(BadStreak),
    /// Stop accepting, finish what is in flight, end the process within the deadline. Answered by `draining`.
    #[serde(rename_all = "camelCase")]
    Drain {
        /// Milliseconds until connections that are still open are cut.
        deadline_ms: u64,
    },
    /// Answered by `health`.
    Health,
}

/// What makes a worker push its counts: failures of one revision close together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BadStreak {
    /// Failed requests, at least 1. Default 5.
    pub failures: u32,
    /// Within so many milliseconds. Default 500.
    pub within_ms: u64,
}

impl Default for BadStreak {
    fn default() -> Self {
        Self { failures: 5, within_ms: 500 }
    }
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// Every request that begins from now on uses this configuration, on old connections too.
    Applied {
        /// Of the applied configuration.
        generation: u64,
    },
    /// Something of the configuration can't be served; what was served there before stays.
    Refused {
        /// Of the refused configuration.
        generation: u64,
        /// Why, and what to change.
        reason: String,
        /// The sockets it is about, each with its reason: all others are served as they were told to be. `None`, as
        /// earlier versions say it: nothing of it is served.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<BTreeMap<ListenerName, String>>,
    },
    /// Counts as asked for.
    Counts(Box<Snapshot>),
    /// Bad streaks will be pushed.
    Subscribed,
    /// Counts at a bad streak.
    #[serde(rename_all = "camelCase")]
    Pushed {
        /// Socket.
        listener: String,
        /// Revision that fails.
        revision: String,
        /// Counts at this moment.
        snapshot: Box<Snapshot>,
    },
    /// The worker takes no new connections.
    Draining,
    /// How the worker is.
    Health(Health),
    /// The order could not be understood. The connection ends if the line was too long.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// How a worker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Index of the worker.
    pub worker: u32,
    /// Process id.
    pub pid: u32,
    /// Names this run of the process, as in [`Snapshot::start`].
    pub start: String,
    /// Generation that is served; `None` before the first.
    pub generation: Option<u64>,
    /// Accepts no new connections.
    pub draining: bool,
    /// Client connections open.
    pub connections: u64,
    /// What is wrong with a socket, as in [`Snapshot::troubles`].
    #[serde(default)]
    pub troubles: BTreeMap<ListenerName, String>,
    /// Milliseconds since the worker started.
    pub uptime_ms: u64,
}

/// A line could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The socket failed.
    #[error("control socket failed")]
    Io(#[from] std::io::Error),
    /// The other side is gone.
    #[error("control socket was closed by the other side")]
    Closed,
    /// A line was longer than [`MAX_MESSAGE`].
    #[error("control message is longer than {MAX_MESSAGE} bytes; the connection is unusable")]
    TooLong,
    /// A line was not the JSON that was expected.
    #[error("control message is not understood: {0}")]
    Unreadable(#[source] serde_json::Error),
}

/// Reads one side's lines.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), line: Vec::new() }
    }

    /// The next message. After an error other than `Unreadable` the connection is over.
    pub(super) async fn next<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T, WireError> {
        read_line(&mut self.reader, &mut self.line).await?;
        let message = serde_json::from_slice(&self.line).map_err(WireError::Unreadable);
        if self.line.capacity() > 64 * 1024 {
            self.line = Vec::new();
        }
        message
    }
}

async fn read_line<R: AsyncBufRead + Unpin>(reader: &mut R, line: &mut Vec<u8>) -> Result<(), WireError> {
    line.clear();
    let read = reader.take(MAX_MESSAGE as u64 + 1).read_until(b'\n', line).await?;
    if read == 0 {
        return Err(WireError::Closed);
    }
    match line.last() {
        Some(b'\n') => Ok(()),
        Some(_) | None if read > MAX_MESSAGE => Err(WireError::TooLong),
        Some(_) | None => Err(WireError::Closed),
    }
}

/// Writes one message.
pub(super) async fn send<T: Serialize, W: AsyncWrite + Unpin>(
    writer: &mut W,
    message: &T,
) -> Result<(), WireError> {
    let mut line = serde_json::to_vec(message).map_err(WireError::Unreadable)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_cross_in_order_and_nonsense_does_not_end_the_connection() {
        let text = b"{\"counts\":null}\n\"counts\"\nnonsense\n\"health\"\n{\"drain\":{\"deadlineMs\":5}}\n";
        let mut lines = Lines::new(&text[..]);
        assert!(matches!(lines.next::<Order>().await, Ok(Order::Counts)));
        assert!(matches!(lines.next::<Order>().await, Ok(Order::Counts)));
        assert!(matches!(lines.next::<Order>().await, Err(WireError::Unreadable(_))));
        assert!(matches!(lines.next::<Order>().await, Ok(Order::Health)));
        assert!(matches!(lines.next::<Order>().await, Ok(Order::Drain { deadline_ms: 5 })));
        assert!(matches!(lines.next::<Order>().await, Err(WireError::Closed)));
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused_at_the_bound() {
        let endless = tokio::io::repeat(b'x');
        assert!(matches!(Lines::new(endless).next::<Order>().await, Err(WireError::TooLong)));
    }
}
