//! The control socket: who may call, and as whom.

use std::{io, time::Duration};

use axum::serve::Listener;
use tokio::net::{UnixListener, UnixStream};

/// A process of this machine that calls.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Process id, where the kernel tells.
    pub pid: Option<i32>,
}

/// Accepts connections of the engine's own user and of root, and no others.
#[derive(Debug)]
pub struct Guarded(UnixListener);

impl Guarded {
    /// Guards this socket.
    #[must_use]
    pub fn new(socket: UnixListener) -> Self {
        Self(socket)
    }
}

impl Listener for Guarded {
    type Io = UnixStream;
    type Addr = Caller;

    async fn accept(&mut self) -> (UnixStream, Caller) {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => {
                    if let Some(caller) = admitted(&stream) {
                        return (stream, caller);
                    }
                }
                // Most likely no file descriptors: others have to end before one can begin.
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a caller could not be accepted"
                    );
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Caller> {
        Ok(Caller { uid: rustix::process::geteuid().as_raw(), pid: None })
    }
}

fn admitted(stream: &UnixStream) -> Option<Caller> {
    let peer = stream.peer_cred().ok()?;
    let (own, uid) = (rustix::process::geteuid().as_raw(), peer.uid());
    if uid == own || uid == 0 {
        return Some(Caller { uid, pid: peer.pid() });
    }
    tracing::warn!(uid, "a caller of another user was turned away");
    None
}
