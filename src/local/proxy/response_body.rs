//! A response's body on its way to a client: counted, watched for silence, never buffered.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    backend::Lease, client_io::Busy, counts::End, live::Live, request_body::BodyError, silence::Silence,
};

/// A response's body on its way to a client. While it lives, its connection counts as busy.
pub(super) struct ResponseBody {
    kind: Kind,
    busy: Busy,
}

enum Kind {
    Own(Option<Bytes>),
    Backend { inner: Incoming, silence: Silence, open: Option<(Live, Lease)> },
}

impl ResponseBody {
    pub(super) fn own(bytes: Bytes, busy: Busy) -> Self {
        Self { kind: Kind::Own((!bytes.is_empty()).then_some(bytes)), busy }
    }

    /// Passes `inner` on; at its end the exchange ends as it said and the connection is given back.
    pub(super) fn backend(inner: Incoming, silence: Duration, live: Live, lease: Lease, busy: Busy) -> Self {
        let mut open = Some((live, lease));
        if inner.is_end_stream() {
            end_well(&mut open);
        }
        let busy = busy.sends();
        Self { kind: Kind::Backend { inner, silence: Silence::new(silence), open }, busy }
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
        let this = self.get_mut();
        match &mut this.kind {
            Kind::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Backend { inner, silence, open } => {
                ready!(this.busy.poll_room(cx));
                poll_backend(inner, silence, open, cx)
            }
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
