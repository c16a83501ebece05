//! HTTP/2 towards backends, and what both sides of HTTP/2 have in common: the windows.
//!
//! Many requests share a connection, of different clients here and, behind a balancer, there. One whose reader takes
//! nothing must cost the others nothing, so streams have windows and the connection as good as none: it could be used up by
//! streams that rest. It also is what the h2 crate measures a flood of small frames by, which are none where a slow
//! reader meets a stream of small messages.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::TokioTimer;
use tokio::sync::Notify;

use super::{
    backend::{Endpoint, Failed, Failure, Lease, LeaseOn, head_within, is_repeatable, repeated},
    config::Timeouts,
    local_exec::LocalExec,
    request_body::{RequestBody, Upload},
    timer::Timer,
};

/// Bytes a sender may be ahead of its reader on one stream: HTTP/2's own default.
pub(super) const STREAM_WINDOW: u32 = 65_535;
/// The largest window that HTTP/2 knows. Source: RFC 9113 §6.9.1.
pub(super) const NO_CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Bytes of one stream that wait to be written.
pub(super) const SEND_BUFFER: usize = 16 * 1024;
/// Requests on one HTTP/2 connection before another is made.
const STREAMS_PER_CONNECTION: usize = 100;

/// The HTTP/2 connections to one backend.
#[derive(Default)]
pub(super) struct Http2Pool {
    connections: RefCell<Vec<Http2>>,
    connecting: Cell<bool>,
    connected: Notify,
}

#[derive(Clone)]
struct Http2 {
    sender: http2::SendRequest<RequestBody>,
    streams: Rc<Cell<usize>>,
}

impl Http2Pool {
    /// Makes no more use of any of them.
    pub(super) fn clear(&self) {
        self.connections.borrow_mut().clear();
    }

    fn with_room(&self) -> Option<Http2> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.sender.is_closed());
        connections.iter().find(|connection| connection.streams.get() < STREAMS_PER_CONNECTION).cloned()
    }
}

impl Endpoint {
    /// Sends one request on a connection with room for it, and waits for the head of its response.
    pub(super) async fn send_http2(
        self: &Rc<Self>,
        mut request: Request<RequestBody>,
        upload: Option<&Rc<Upload>>,
        timeouts: &Timeouts,
        lease: &mut Lease,
    ) -> Result<Response<Incoming>, Failed> {
        loop {
            let (mut connection, reused) = match Box::pin(self.http2_connection(timeouts)).await {
                Ok(connection) => connection,
                Err(failure) => return Err(Failed { failure, unsent: Some(Box::new(request)) }),
            };
            let again = (reused && is_repeatable(&request)).then(|| repeated(&request));
            connection.streams.set(connection.streams.get() + 1);
            lease.on = LeaseOn::Http2(Rc::clone(&connection.streams));
            let sending = connection.sender.try_send_request(request);
            match head_within(&mut Timer::default(), timeouts.response_head(), upload, sending).await {
                Some(Ok(response)) => return Ok(response),
                Some(Err(mut error)) => {
                    connection.streams.set(connection.streams.get().saturating_sub(1));
                    lease.on = LeaseOn::Nothing;
                    match (error.take_message(), again) {
                        (Some(back), _) if reused => request = back,
                        (Some(back), _) => {
                            return Err(Failed { failure: Failure::Connect, unsent: Some(Box::new(back)) });
                        }
                        (None, Some(again)) if was_not_served(error.error()) => request = again,
                        (None, _) => return Err(Failed { failure: Failure::Reset, unsent: None }),
                    }
                }
                None => return Err(Failed { failure: Failure::Timeout, unsent: None }),
            }
        }
    }

    /// A connection with room, and whether it was there before. One is made at a time.
    async fn http2_connection(&self, timeouts: &Timeouts) -> Result<(Http2, bool), Failure> {
        loop {
            let connected = self.http2.connected.notified();
            if let Some(connection) = self.http2.with_room() {
                return Ok((connection, true));
            }
            if self.http2.connecting.replace(true) {
                connected.await;
                continue;
            }
            let connecting = Connecting(&self.http2);
            let made = self.connect_http2(timeouts).await;
            if let Ok(connection) = &made {
                self.http2.connections.borrow_mut().push(connection.clone());
            }
            drop(connecting);
            return made.map(|connection| (connection, false));
        }
    }

    async fn connect_http2(&self, timeouts: &Timeouts) -> Result<Http2, Failure> {
        let io = self.connect(timeouts).await?;
        let mut builder = http2::Builder::new(LocalExec);
        builder.timer(TokioTimer::new());
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(NO_CONNECTION_WINDOW);
        builder.max_send_buf_size(SEND_BUFFER);
        builder.keep_alive_interval(Duration::from_secs(20)).keep_alive_timeout(Duration::from_secs(10));
        let (sender, connection) = builder.handshake(io).await.map_err(|_| Failure::Connect)?;
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Ok(Http2 { sender, streams: Rc::default() })
    }
}

/// Lets the others look again, however making the connection ended.
struct Connecting<'a>(&'a Http2Pool);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connecting.set(false);
        self.0.connected.notify_waiters();
    }
}

/// Whether the backend took no request off the connection, or was closing it.
fn was_not_served(error: &hyper::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_go_away() || error.is_io() || error.reason() == Some(h2::Reason::REFUSED_STREAM);
        }
        cause = error.source();
    }
    error.is_closed() || error.is_canceled()
}
