//! A request's body on its way to a backend: counted, watched for silence, never buffered.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    client_io::{ConnState, Kick},
    silence::Silence,
};
use crate::clock;

/// A body could not be passed on to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the sender of the body broke off")]
    Broken(#[source] hyper::Error),
    #[error("the trailers of the body end where they begin")]
    Trailers,
    #[error("the sender of the body said nothing for too long")]
    Silent,
}

/// Somebody who gets a copy of a body as it passes.
pub(super) trait Tee {
    /// One piece; false when no more is wanted.
    fn data(&mut self, data: &Bytes) -> bool;
    /// The body is complete.
    fn whole(self: Box<Self>);
}

/// What a client did wrong with its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It broke off, or is not framed as HTTP has it.
    Broken,
    /// It fell silent.
    Silent,
}

/// What is known about a request's body while it is sent.
pub(super) struct Upload {
    progress: Cell<Instant>,
    ended: Cell<bool>,
    fault: Cell<Option<Fault>>,
    waits_for_client: Cell<bool>,
    bytes: Cell<usize>,
    tee: RefCell<Option<Box<dyn Tee>>>,
}

impl Upload {
    pub(super) fn new(now: Instant, tee: Option<Box<dyn Tee>>) -> Self {
        Self {
            progress: Cell::new(now),
            ended: Cell::new(false),
            fault: Cell::new(None),
            waits_for_client: Cell::new(false),
            bytes: Cell::new(0),
            tee: RefCell::new(tee),
        }
    }

    /// Body bytes received so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// What the client did wrong: what follows is not the backend's fault.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// When the backend's turn began; `None` while the client's lasts.
    pub(super) fn backends_turn_since(&self) -> Option<Instant> {
        (self.ended.get() || !self.waits_for_client.get()).then(|| self.progress.get())
    }

    fn data(&self, data: &Bytes) {
        self.bytes.set(self.bytes.get() + data.len());
        let mut tee = self.tee.borrow_mut();
        if tee.as_mut().is_some_and(|tee| !tee.data(data)) {
            *tee = None;
        }
    }

    fn end(&self) {
        if !self.ended.replace(true)
            && let Some(tee) = self.tee.borrow_mut().take()
        {
            tee.whole();
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
    /// The connection it comes on, if that carries nothing else meanwhile.
    http1: Option<Arc<ConnState>>,
}

impl RequestBody {
    pub(super) fn stream(
        inner: Incoming,
        upload: Rc<Upload>,
        silence: Duration,
        http1: Option<Arc<ConnState>>,
    ) -> Self {
        Self::Stream(Box::new(Streamed { inner, upload, silence: Silence::new(silence), http1 }))
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
                if self.trailers_are_odd(&frame) {
                    self.upload.fault.set(Some(Fault::Broken));
                    return Poll::Ready(Some(Err(BodyError::Trailers)));
                }
                if self.inner.is_end_stream() {
                    self.upload.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.upload.fault.set(Some(Fault::Broken));
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
                self.upload.fault.set(Some(Fault::Silent));
                Poll::Ready(Some(Err(BodyError::Silent)))
            }
        }
    }

    /// Trailers of HTTP/1.1 are read up to an empty line that ends in CR LF. Where a bare LF ends a line, as others
    /// allow, they swallow what follows, a whole request it may be. So no request is read behind any trailers, and
    /// trailers that are there and hold nothing, which only such a line makes, are refused.
    fn trailers_are_odd(&self, frame: &Frame<Bytes>) -> bool {
        let (Some(state), Some(trailers)) = (&self.http1, frame.trailers_ref()) else { return false };
        state.kick(Kick::Graceful);
        trailers.is_empty()
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if let Some(state) = self.http1.as_ref().filter(|_| !self.upload.ended.get()) {
            state.leaves_unread();
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
