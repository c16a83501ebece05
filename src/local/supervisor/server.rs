//! The supervisor's socket: connections become inputs of its one loop, answers go back over bounded queues.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::channel;
use super::protocol::Call;

/// A connection, for as long as it lasts.
pub(super) type ConnectionId = u64;

/// Messages a slow reader may leave waiting before it is cut off.
pub(super) const OUTBOX: usize = 1024;

/// One message on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) line: Vec<u8>,
    pub(super) files: Vec<OwnedFd>,
    /// Told when the kernel has it.
    pub(super) sent: Option<oneshot::Sender<()>>,
}

/// What connections bring.
#[derive(Debug)]
pub(super) enum FromPeers {
    Connected { connection: ConnectionId, pid: u32, outbox: mpsc::Sender<Outgoing> },
    Said { connection: ConnectionId, call: Result<Box<Call>, String> },
    Gone { connection: ConnectionId },
}

/// Takes connections for ever; each gets a number that none had before.
pub(super) async fn accept(
    listener: Arc<UnixListener>,
    inbox: mpsc::Sender<FromPeers>,
    numbers: Arc<AtomicU64>,
) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match channel::admit(&stream) {
                Ok(pid) => {
                    let connection = numbers.fetch_add(1, Relaxed) + 1;
                    tokio::spawn(serve(stream, connection, pid, inbox.clone()));
                }
                Err(error) => tracing::warn!(%error, "connection refused"),
            },
            Err(error) => {
                // Out of descriptors, most likely; the next one may have more luck.
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, connection: ConnectionId, pid: u32, inbox: mpsc::Sender<FromPeers>) {
    let (mut reader, mut writer) = channel::split(stream);
    let (outbox, mut outgoing) = mpsc::channel::<Outgoing>(OUTBOX);
    if inbox.send(FromPeers::Connected { connection, pid, outbox }).await.is_err() {
        return;
    }
    let write = async move {
        while let Some(Outgoing { line, files, sent }) = outgoing.recv().await {
            let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
            if writer.send(&line, &files).await.is_err() {
                return;
            }
            if let Some(sent) = sent {
                let _ = sent.send(());
            }
        }
    };
    let read = async {
        loop {
            let line = match reader.line().await {
                Ok(Some(line)) => line,
                Ok(None) | Err(_) => return,
            };
            let call = serde_json::from_slice(&line).map_err(|error| error.to_string());
            if inbox.send(FromPeers::Said { connection, call }).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
    let _ = inbox.send(FromPeers::Gone { connection }).await;
}

/// A handle on the listening end that an upgrade passes on.
pub(super) fn copy_of(listener: &UnixListener) -> io::Result<OwnedFd> {
    listener.as_fd().try_clone_to_owned()
}
