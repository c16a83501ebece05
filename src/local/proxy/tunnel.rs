//! Upgraded connections (WebSocket and others): bytes both ways until one side ends.

use std::{
    cell::Cell,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, split};

use super::{backend::Lease, counts::End, live::Live, worker::Worker};

/// Joins both sides in a task of its own; the request stays in flight until the tunnel ends.
pub(super) fn join(
    worker: &Rc<Worker>,
    client: OnUpgrade,
    backend: OnUpgrade,
    silence: Duration,
    mut live: Live,
    lease: Lease,
) {
    live.is_tunnel();
    let open = Open::new(worker);
    tokio::task::spawn_local(async move {
        let _open = open;
        let (Ok(client), Ok(backend)) = tokio::join!(client, backend) else {
            return live.end(End::Reset);
        };
        copy(client, backend, silence).await;
        // How a tunnel ends says nothing about the application: either side may hang up.
        live.end_as_answered();
        drop(lease);
    });
}

/// A tunnel that must end before the worker does.
struct Open(Rc<Worker>);

impl Open {
    fn new(worker: &Rc<Worker>) -> Self {
        worker.tunnels.set(worker.tunnels.get() + 1);
        Self(Rc::clone(worker))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.tunnels.set(self.0.tunnels.get().saturating_sub(1));
        self.0.something_ended.notify_waiters();
    }
}

/// Once the backend has ended its side the tunnel is over; what the client still says is passed on so long.
const LINGER: Duration = Duration::from_secs(1);

/// A client may end its side first and still wait for output, as `docker attach` does.
async fn copy(client: Upgraded, backend: Upgraded, silence: Duration) {
    let moved = Rc::new(Cell::new(false));
    let client = Watched { io: TokioIo::new(client), moved: Rc::clone(&moved) };
    let backend = Watched { io: TokioIo::new(backend), moved: Rc::clone(&moved) };
    let ((mut from_client, mut to_client), (mut from_backend, mut to_backend)) =
        (split(client), split(backend));
    let up = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_backend).await;
        let _ = to_backend.shutdown().await;
    };
    let down = async {
        let _ = tokio::io::copy(&mut from_backend, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    let both_ways = async {
        let mut up = pin!(up);
        let mut down = pin!(down);
        tokio::select! {
            () = down.as_mut() => drop(tokio::time::timeout(LINGER, up).await),
            () = up.as_mut() => down.await,
        }
    };
    let mut both_ways = pin!(both_ways);
    loop {
        match tokio::time::timeout(silence, both_ways.as_mut()).await {
            Ok(()) => return,
            Err(_) if moved.replace(false) => {}
            Err(_) => return,
        }
    }
}

/// Notes that bytes came.
struct Watched {
    io: TokioIo<Upgraded>,
    moved: Rc<Cell<bool>>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.moved.set(true);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
