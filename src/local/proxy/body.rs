//! Bodies on their way through: counted, watched for silence, never buffered.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::{backend::Lease, client_io::Busy, counts::End, live::Live, mirror::Copying};
use crate::clock;

/// A body could not be passed on to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the sender of the body broke off")]
    Broken(#[source] hyper::Error),
    #[error("the sender of the body said nothing for too long")]
    Silent,
}

/// Longest silence within a body. Its timer exists only once somebody had to wait.
struct Silence {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Silence {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: None, waiting: false }
    }

    fn broken(&mut self) {
        self.waiting = false;
    }

    /// Ready when it lasted too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().reset(tokio::time::Instant::from_std(clock::instant()) + limit);
        }
        timer.as_mut().poll(cx)
    }
}

/// What is known about a request's body while it is sent.
pub(super) struct Upload {
    progress: Cell<Instant>,
    ended: Cell<bool>,
    broken: Cell<bool>,
    waits_for_client: Cell<bool>,
    bytes: Cell<usize>,
    copy: RefCell<Option<Copying>>,
}

impl Upload {
    pub(super) fn new(now: Instant, copy: Option<Copying>) -> Self {
        Self {
            progress: Cell::new(now),
            ended: Cell::new(false),
            broken: Cell::new(false),
            waits_for_client: Cell::new(false),
            bytes: Cell::new(0),
            copy: RefCell::new(copy),
        }
    }

    /// Body bytes received so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// The client broke off or fell silent: what follows is not the backend's fault.
    pub(super) fn broken(&self) -> bool {
        self.broken.get()
    }

    /// When the backend's turn began; `None` while the client's lasts.
    pub(super) fn backends_turn_since(&self) -> Option<Instant> {
        (self.ended.get() || !self.waits_for_client.get()).then(|| self.progress.get())
    }

    fn data(&self, data: &Bytes) {
        self.bytes.set(self.bytes.get() + data.len());
        let mut copy = self.copy.borrow_mut();
        if copy.as_mut().is_some_and(|copying| !copying.add(data)) {
            *copy = None;
        }
    }

    fn end(&self) {
        if !self.ended.replace(true)
            && let Some(copying) = self.copy.borrow_mut().take()
        {
            copying.launch();
        }
    }
}

/// A request's body on its way to a backend.
pub(super) enum RequestBody {
    Empty,
    Whole(Option<Bytes>),
    /// Boxed: most requests have no body, and every request is moved several times.
    Stream(Box<Streamed>),
}

pub(super) struct Streamed {
    inner: Incoming,
    upload: Rc<Upload>,
    silence: Silence,
}

impl RequestBody {
    pub(super) fn stream(inner: Incoming, upload: Rc<Upload>, silence: Duration) -> Self {
        Self::Stream(Box::new(Streamed { inner, upload, silence: Silence::new(silence) }))
    }

    pub(super) fn whole(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Whole(Some(bytes)) }
    }
}

impl Streamed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence.broken();
                self.upload.waits_for_client.set(false);
                self.upload.progress.set(clock::instant());
                if let Some(data) = frame.data_ref() {
                    self.upload.data(data);
                }
                if self.inner.is_end_stream() {
                    self.upload.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.upload.broken.set(true);
                Poll::Ready(Some(Err(BodyError::Broken(error))))
            }
            Poll::Ready(None) => {
                self.upload.progress.set(clock::instant());
                self.upload.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.upload.waits_for_client.set(true);
                ready!(self.silence.poll(cx));
                self.upload.broken.set(true);
                Poll::Ready(Some(Err(BodyError::Silent)))
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(streamed) => streamed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(streamed) => streamed.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream(streamed) => streamed.inner.size_hint(),
        }
    }
}

/// A response's body on its way to a client. While it lives, its connection counts as busy.
pub(super) struct ResponseBody {
    kind: Kind,
    _busy: Busy,
}

enum Kind {
    Own(Option<Bytes>),
    Backend { inner: Incoming, silence: Silence, open: Option<(Live, Lease)> },
}

impl ResponseBody {
    pub(super) fn own(bytes: Bytes, busy: Busy) -> Self {
        Self { kind: Kind::Own((!bytes.is_empty()).then_some(bytes)), _busy: busy }
    }

    /// Passes `inner` on; at its end the exchange ends as it said and the connection is given back.
    pub(super) fn backend(inner: Incoming, silence: Duration, live: Live, lease: Lease, busy: Busy) -> Self {
        let mut open = Some((live, lease));
        if inner.is_end_stream() {
            end_well(&mut open);
        }
        Self { kind: Kind::Backend { inner, silence: Silence::new(silence), open }, _busy: busy }
    }
}

fn end_well(open: &mut Option<(Live, Lease)>) {
    if let Some((live, lease)) = open.take() {
        lease.give_back();
        live.end_as_answered();
    }
}

fn end_badly(open: &mut Option<(Live, Lease)>, end: End) {
    if let Some((live, lease)) = open.take() {
        lease.failed();
        live.end(end);
    }
}

fn poll_backend(
    inner: &mut Incoming,
    silence: &mut Silence,
    open: &mut Option<(Live, Lease)>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    match Pin::new(&mut *inner).poll_frame(cx) {
        Poll::Ready(Some(Ok(frame))) => {
            silence.broken();
            if let Some((live, _)) = open {
                if let Some(data) = frame.data_ref() {
                    live.sent(data.len());
                } else if let Some(trailers) = frame.trailers_ref() {
                    live.trailers(trailers);
                }
            }
            if inner.is_end_stream() {
                end_well(open);
            }
            Poll::Ready(Some(Ok(frame)))
        }
        Poll::Ready(Some(Err(error))) => {
            end_badly(open, End::Reset);
            Poll::Ready(Some(Err(BodyError::Broken(error))))
        }
        Poll::Ready(None) => {
            end_well(open);
            Poll::Ready(None)
        }
        Poll::Pending => {
            ready!(silence.poll(cx));
            end_badly(open, End::Timeout);
            Poll::Ready(Some(Err(BodyError::Silent)))
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().kind {
            Kind::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Backend { inner, silence, open } => poll_backend(inner, silence, open, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(bytes) => bytes.is_none(),
            Kind::Backend { inner, .. } => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Backend { inner, .. } => inner.size_hint(),
        }
    }
}
