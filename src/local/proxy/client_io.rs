//! The client's side of a connection: plain or TLS, first bytes read ahead, and what the reaper needs to know.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
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
    /// Answers that are on their way to the client, HTTP/2.
    sending: AtomicU32,
    /// Tick of the last piece of an answer that the client had room for.
    sent: AtomicU32,
    /// The body of a request was not read to its end: whoever closes now may reset what was answered.
    unread: AtomicBool,
    /// Tick since when the connection is closed for writing and read only to be emptied, plus one; 0 before.
    lingering: AtomicU32,
    /// Interim answers (1xx) to be written before the next head.
    interim: Mutex<Vec<u8>>,
    has_interim: AtomicBool,
    kick: AtomicU8,
    driver: AtomicWaker,
}

/// Ticks a closing connection is read without a byte, and in all. Source: nginx's `lingering_timeout` and
/// `lingering_time`.
const LINGER: (u32, u32) = (50, 300);
/// Ticks a client has for closing a connection after it was asked to.
const CLOSING: u32 = 20;
/// Interim answers that wait for the client, bytes; further ones are left out.
const MOST_INTERIM: usize = 16 * 1024;

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
            sending: AtomicU32::new(0),
            sent: AtomicU32::new(now),
            unread: AtomicBool::new(false),
            lingering: AtomicU32::new(0),
            interim: Mutex::default(),
            has_interim: AtomicBool::new(false),
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
        // Neither pings nor half a head are a request: HTTP/2 rests since its last one ended.
        if !self.is_http2() && !self.head.load(Relaxed) {
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
        let lingering = self.lingering.load(Relaxed);
        if lingering > 0 {
            let silent = now.wrapping_sub(self.since.load(Relaxed)) > LINGER.0;
            return if silent || now.wrapping_sub(lingering - 1) > LINGER.1 { Kick::Cut } else { Kick::None };
        }
        let streams = self.streams.load(Relaxed);
        if streams > 0 {
            // Every stream waits for the client to take something, which it has refused for too long. Twice: the
            // silence of a backend ends its stream by itself.
            let refused = self.sending.load(Relaxed) == streams
                && now.wrapping_sub(self.sent.load(Relaxed)) > patience.stalled.saturating_mul(2);
            return if self.is_http2() && refused { Kick::Cut } else { Kick::None };
        }
        let age = now.wrapping_sub(self.since.load(Relaxed));
        match self.head.load(Relaxed) {
            true if age > patience.head => Kick::Cut,
            false if age > patience.idle.saturating_add(CLOSING) => Kick::Cut,
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

    /// The body of a request will not be read to its end.
    pub(super) fn leaves_unread(&self) {
        self.unread.store(true, Relaxed);
    }

    /// Something that came before the answer, to be written before it. Left out where the client takes nothing now:
    /// an answer to an earlier request may be half written.
    pub(super) fn interim(&self, head: &[u8]) {
        if self.stalled.load(Relaxed) > 0 {
            return;
        }
        let mut interim = self.interim.lock().unwrap_or_else(PoisonError::into_inner);
        if interim.len() + head.len() <= MOST_INTERIM {
            interim.extend_from_slice(head);
            self.has_interim.store(true, Relaxed);
            self.driver.wake();
        }
    }

    /// Whom to wake on a kick.
    pub(super) fn driven_by(&self, waker: &std::task::Waker) {
        self.driver.register(waker);
    }
}

/// One request in flight on a connection, for the reaper.
pub(super) struct Busy {
    state: Arc<ConnState>,
    sends: bool,
}

impl Busy {
    pub(super) fn new(state: &Arc<ConnState>) -> Self {
        state.begin();
        Self { state: Arc::clone(state), sends: false }
    }

    /// From now on the client's turn is to take the answer.
    pub(super) fn sends(mut self) -> Self {
        if !std::mem::replace(&mut self.sends, true) {
            self.state.sending.fetch_add(1, Relaxed);
            self.state.sent.store(self.state.ticks.load(Relaxed), Relaxed);
        }
        self
    }

    /// Ready when the client takes what it gets. One that does not is given no more than what was under way when it
    /// stopped; HTTP/2 has its windows for that.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let state = &self.state;
        if state.is_http2() {
            state.sent.store(state.ticks.load(Relaxed), Relaxed);
        } else if state.stalled.load(Relaxed) > 0 {
            state.driven_by(cx.waker());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.sends {
            self.state.sending.fetch_sub(1, Relaxed);
        }
        self.state.end();
    }
}

/// A client's byte stream.
pub(super) struct ClientIo {
    stream: Stream,
    /// Bytes that were read to learn the protocol.
    ahead: Bytes,
    state: Arc<ConnState>,
    marked: Option<Box<Marked>>,
    /// Interim answers that are being written.
    interim: Bytes,
    shut: bool,
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
        Self { stream, ahead, state, marked: None, interim: Bytes::new(), shut: false }
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
        self.state.leaves_unread();
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

    /// Writes interim answers, which come before anything else.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.has_interim.swap(false, Relaxed) {
            let mut said = self.state.interim.lock().unwrap_or_else(PoisonError::into_inner);
            let said = std::mem::take(&mut *said);
            self.interim =
                if self.interim.is_empty() { said } else { [&self.interim, &*said].concat() }.into();
        }
        while !self.interim.is_empty() {
            let written = match &mut self.stream {
                Stream::Plain(stream) => ready!(Pin::new(stream).poll_write(cx, &self.interim)),
                Stream::Tls(stream) => ready!(Pin::new(stream).poll_write(cx, &self.interim)),
            }?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads and forgets what a client still sends, so that closing does not reset what it has not read yet.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.state.ticks.load(Relaxed);
        if self.state.lingering.load(Relaxed) == 0 {
            self.state.lingering.store(now.wrapping_add(1).max(1), Relaxed);
            self.state.since.store(now, Relaxed);
        }
        let mut scratch = [0; 16 * 1024];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            let read = match &mut self.stream {
                Stream::Plain(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buf)),
                Stream::Tls(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buf)),
            };
            if read.is_err() || buf.filled().is_empty() {
                return Poll::Ready(());
            }
            self.state.since.store(self.state.ticks.load(Relaxed), Relaxed);
        }
    }

    fn wrote<T>(&self, cx: &Context<'_>, written: Poll<T>) -> Poll<T> {
        let stalled = match written {
            Poll::Ready(_) => 0,
            Poll::Pending => match self.state.stalled.load(Relaxed) {
                0 => self.state.ticks.load(Relaxed).wrapping_add(1).max(1),
                since => since,
            },
        };
        if self.state.stalled.swap(stalled, Relaxed) > 0 && stalled == 0 {
            // Whoever waits for room is polled by the same task.
            cx.waker().wake_by_ref();
        }
        written
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim(cx))?;
        this.mark(buf);
        if this.marked.is_some() {
            let written = this.poll_marked(cx);
            return this.wrote(cx, written);
        }
        let written = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        this.wrote(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim(cx))?;
        if this.marked.is_some() || this.state.streams.load(Relaxed) == 0 {
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
            this.mark(first);
            if this.marked.is_some() {
                let written = this.poll_marked(cx);
                return this.wrote(cx, written);
            }
        }
        let written = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        this.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_interim(cx))?;
        match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.shut {
            match &mut this.stream {
                Stream::Plain(stream) => ready!(Pin::new(stream).poll_shutdown(cx)),
                Stream::Tls(stream) => ready!(Pin::new(stream).poll_shutdown(cx)),
            }?;
            this.shut = true;
        }
        if this.state.unread.load(Relaxed) {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
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
    fn an_http2_connection_is_cut_when_it_does_not_end_by_itself() {
        let ticks = Ticks::default();
        let state = Arc::new(ConnState::new(Arc::clone(&ticks)));
        state.speaks_http2();
        for tick in 0..50 {
            at(&ticks, tick);
            state.got_bytes();
            assert_eq!(state.overdue(&PATIENCE), Kick::None, "{tick}");
        }
        at(&ticks, 51);
        assert_eq!(state.overdue(&PATIENCE), Kick::Graceful, "pings do not prolong its rest");
        at(&ticks, 51 + CLOSING);
        assert_eq!(state.overdue(&PATIENCE), Kick::Cut);
    }

    #[test]
    fn a_client_that_takes_nothing_of_any_stream_is_cut() {
        let ticks = Ticks::default();
        let state = Arc::new(ConnState::new(Arc::clone(&ticks)));
        state.speaks_http2();
        let (sending, waiting) = (Busy::new(&state).sends(), Busy::new(&state));
        at(&ticks, 1000);
        assert_eq!(state.overdue(&PATIENCE), Kick::None, "one still waits for its backend");
        drop(waiting);
        assert_eq!(state.overdue(&PATIENCE), Kick::Cut);
        assert!(sending.poll_room(&Context::from_waker(std::task::Waker::noop())).is_ready());
        assert_eq!(state.overdue(&PATIENCE), Kick::None, "it took something");
    }

    #[test]
    fn a_closing_connection_is_read_for_a_bounded_time() {
        let ticks = Ticks::default();
        let state = ConnState::new(Arc::clone(&ticks));
        state.lingering.store(1, Relaxed);
        at(&ticks, LINGER.0);
        assert_eq!(state.overdue(&PATIENCE), Kick::None);
        at(&ticks, LINGER.0 + 1);
        assert_eq!(state.overdue(&PATIENCE), Kick::Cut, "silent");
        for tick in 0..=LINGER.1 {
            at(&ticks, tick);
            state.since.store(tick, Relaxed);
            assert_eq!(state.overdue(&PATIENCE), Kick::None, "{tick}");
        }
        at(&ticks, LINGER.1 + 1);
        assert_eq!(state.overdue(&PATIENCE), Kick::Cut, "it never ends");
    }

    #[test]
    fn a_kick_never_gets_weaker() {
        let state = ConnState::new(Ticks::default());
        state.kick(Kick::Cut);
        state.kick(Kick::Graceful);
        assert_eq!(state.kicked(), Kick::Cut);
    }
}
