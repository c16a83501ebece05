//! The client's side of a connection: plain or TLS, first bytes read ahead, and what the reaper needs to know.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// Length of a tick of the worker's coarse clock, milliseconds.
pub(super) const TICK_MS: u64 = 100;

/// The coarse clock: ticks since the worker started. Reading it costs nothing, so every read and write may.
pub(super) type Ticks = Arc<AtomicU32>;

/// What a connection was told to do by others than its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kick {
    None,
    /// Finish what is in flight, then close.
    Graceful,
    /// Close now.
    Cut,
}

/// Where a connection stands. Atomic only because an upgraded connection must be `Send`; one thread uses it.
pub(super) struct ConnState {
    ticks: Ticks,
    http2: AtomicBool,
    /// Requests begun and not ended.
    streams: AtomicU32,
    /// A head, or the handshake, is being read.
    head: AtomicBool,
    /// Tick of the last change of the above, or of the last byte.
    since: AtomicU32,
    /// Tick since when the client takes nothing, plus one; 0 when it does.
    stalled: AtomicU32,
    /// A response of ours may still be on its way out.
    answering: AtomicBool,
    kick: AtomicU8,
    driver: AtomicWaker,
}

/// Deadlines in ticks.
pub(super) struct Patience {
    pub(super) head: u32,
    pub(super) idle: u32,
    pub(super) stalled: u32,
}

impl ConnState {
    pub(super) fn new(ticks: Ticks) -> Self {
        let now = ticks.load(Relaxed);
        Self {
            ticks,
            http2: AtomicBool::new(false),
            streams: AtomicU32::new(0),
            head: AtomicBool::new(true),
            since: AtomicU32::new(now),
            stalled: AtomicU32::new(0),
            answering: AtomicBool::new(false),
            kick: AtomicU8::new(0),
            driver: AtomicWaker::new(),
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    pub(super) fn speaks_http2(&self) {
        self.http2.store(true, Relaxed);
        self.rest();
    }

    fn rest(&self) {
        self.head.store(false, Relaxed);
        self.since.store(self.ticks.load(Relaxed), Relaxed);
    }

    fn got_bytes(&self) {
        if self.streams.load(Relaxed) > 0 {
            return;
        }
        if self.is_http2() {
            self.since.store(self.ticks.load(Relaxed), Relaxed);
        } else if !self.head.load(Relaxed) {
            self.head.store(true, Relaxed);
            self.since.store(self.ticks.load(Relaxed), Relaxed);
        }
    }

    fn begin(&self) {
        self.streams.fetch_add(1, Relaxed);
        self.head.store(false, Relaxed);
        self.answering.store(true, Relaxed);
    }

    fn end(&self) {
        if self.streams.fetch_sub(1, Relaxed) == 1 {
            self.rest();
        }
    }

    /// What to do about the connection now.
    pub(super) fn overdue(&self, patience: &Patience) -> Kick {
        let now = self.ticks.load(Relaxed);
        let stalled = self.stalled.load(Relaxed);
        if stalled > 0 && now.wrapping_sub(stalled - 1) > patience.stalled {
            return Kick::Cut;
        }
        if self.streams.load(Relaxed) > 0 {
            return Kick::None;
        }
        let age = now.wrapping_sub(self.since.load(Relaxed));
        match self.head.load(Relaxed) {
            true if age > patience.head => Kick::Cut,
            false if age > patience.idle => Kick::Graceful,
            true | false => Kick::None,
        }
    }

    pub(super) fn kick(&self, kick: Kick) {
        let level = match kick {
            Kick::None => return,
            Kick::Graceful => 1,
            Kick::Cut => 2,
        };
        if self.kick.fetch_max(level, Relaxed) < level {
            self.driver.wake();
        }
    }

    pub(super) fn kicked(&self) -> Kick {
        match self.kick.load(Relaxed) {
            0 => Kick::None,
            1 => Kick::Graceful,
            _ => Kick::Cut,
        }
    }

    /// Whom to wake on a kick.
    pub(super) fn driven_by(&self, waker: &std::task::Waker) {
        self.driver.register(waker);
    }
}

/// One request in flight on a connection, for the reaper.
pub(super) struct Busy(Arc<ConnState>);

impl Busy {
    pub(super) fn new(state: &Arc<ConnState>) -> Self {
        state.begin();
        Self(Arc::clone(state))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A client's byte stream.
pub(super) struct ClientIo {
    stream: Stream,
    /// Bytes that were read to learn the protocol.
    ahead: Bytes,
    state: Arc<ConnState>,
    marked: Option<Box<Marked>>,
}

/// An answer of hyper's own (to what it could not parse), with our mark added.
struct Marked {
    bytes: Vec<u8>,
    written: usize,
    /// Length without the mark.
    length: usize,
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl ClientIo {
    pub(super) fn new(stream: Stream, ahead: Bytes, state: Arc<ConnState>) -> Self {
        Self { stream, ahead, state, marked: None }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let n = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..n]);
            this.ahead.advance(n);
            if this.ahead.is_empty() {
                // What is empty would still hold its memory as long as the connection lasts.
                this.ahead = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if buf.filled().len() > before {
            this.state.got_bytes();
        }
        read
    }
}

impl ClientIo {
    /// Adds the proxy's header to an answer that was written before any request reached us. Every other answer
    /// that starts here belongs to a request, and carries what is needed.
    fn mark(&mut self, buf: &[u8]) {
        if self.marked.is_some() || self.state.is_http2() || self.state.streams.load(Relaxed) > 0 {
            return;
        }
        if self.state.answering.swap(false, Relaxed) || !buf.starts_with(b"HTTP/1.1 4") {
            return;
        }
        let Some(end) = buf.windows(2).position(|pair| pair == b"\r\n") else { return };
        let (line, rest) = buf.split_at(end + 2);
        let bytes = [line, b"serinus-proxy: malformed request\r\n", rest].concat();
        self.marked = Some(Box::new(Marked { bytes, written: 0, length: buf.len() }));
    }

    fn poll_marked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some(marked) = &mut self.marked {
            let left = &marked.bytes[marked.written..];
            let written = match &mut self.stream {
                Stream::Plain(stream) => ready!(Pin::new(stream).poll_write(cx, left)),
                Stream::Tls(stream) => ready!(Pin::new(stream).poll_write(cx, left)),
            }?;
            marked.written += written;
            if written == 0 || marked.written >= marked.bytes.len() {
                let length = marked.length;
                self.marked = None;
                return Poll::Ready(Ok(length));
            }
        }
        Poll::Ready(Ok(0))
    }

    fn wrote<T>(&self, written: Poll<T>) -> Poll<T> {
        let stalled = match written {
            Poll::Ready(_) => 0,
            Poll::Pending => match self.state.stalled.load(Relaxed) {
                0 => self.state.ticks.load(Relaxed).wrapping_add(1).max(1),
                since => since,
            },
        };
        self.state.stalled.store(stalled, Relaxed);
        written
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.mark(buf);
        if this.marked.is_some() {
            let written = this.poll_marked(cx);
            return this.wrote(written);
        }
        let written = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        this.wrote(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.marked.is_some() || this.state.streams.load(Relaxed) == 0 {
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
            this.mark(first);
            if this.marked.is_some() {
                let written = this.poll_marked(cx);
                return this.wrote(written);
            }
        }
        let written = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        this.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { head: 5, idle: 50, stalled: 20 };

    fn at(ticks: &Ticks, tick: u32) {
        ticks.store(tick, Relaxed);
    }

    #[test]
    fn each_deadline_counts_from_what_it_is_about() {
        let ticks = Ticks::default();
        let state = Arc::new(ConnState::new(Arc::clone(&ticks)));
        at(&ticks, 5);
        assert_eq!(state.overdue(&PATIENCE), Kick::None);
        at(&ticks, 6);
        assert_eq!(state.overdue(&PATIENCE), Kick::Cut, "no head at all");
        let busy = Busy::new(&state);
        at(&ticks, 1000);
        assert_eq!(state.overdue(&PATIENCE), Kick::None, "a request takes as long as it takes");
        drop(busy);
        at(&ticks, 1050);
        assert_eq!(state.overdue(&PATIENCE), Kick::None);
        at(&ticks, 1051);
        assert_eq!(state.overdue(&PATIENCE), Kick::Graceful, "idle");
        state.got_bytes();
        at(&ticks, 1056);
        assert_eq!(state.overdue(&PATIENCE), Kick::None);
        state.got_bytes();
        at(&ticks, 1057);
        assert_eq!(state.overdue(&PATIENCE), Kick::Cut, "a head that trickles is not prolonged by each byte");
    }

    #[test]
    fn a_kick_never_gets_weaker() {
        let state = ConnState::new(Ticks::default());
        state.kick(Kick::Cut);
        state.kick(Kick::Graceful);
        assert_eq!(state.kicked(), Kick::Cut);
    }
}
