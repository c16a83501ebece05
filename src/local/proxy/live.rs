//! One request's entry in the counts, from when its arm was chosen until the response ended.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use http::StatusCode;

use super::{
    backend::Endpoint,
    body::Upload,
    counts::{End, Routed, Series},
    table::Arm,
    worker::Worker,
};
use crate::clock;

/// Counted as begun when made and as ended exactly once: by [`Live::end`], or as cancelled when it is dropped.
pub(super) struct Live {
    worker: Rc<Worker>,
    arm: Rc<Arm>,
    routed: Routed,
    started: Instant,
    upload: Option<Rc<Upload>>,
    endpoint: Option<Rc<Endpoint>>,
    promised: End,
    took: Option<Duration>,
    ended: bool,
}

impl Live {
    pub(super) fn begin(worker: &Rc<Worker>, arm: &Rc<Arm>, routed: Routed, started: Instant) -> Self {
        arm.counts.of(routed).begin();
        Self {
            worker: Rc::clone(worker),
            arm: Rc::clone(arm),
            routed,
            started,
            upload: None,
            endpoint: None,
            promised: End::Good,
            took: None,
            ended: false,
        }
    }

    /// The request has a body, whose bytes and fate count.
    pub(super) fn with_upload(&mut self, upload: &Rc<Upload>) {
        self.upload = Some(Rc::clone(upload));
    }

    /// Whose doing the end will be.
    pub(super) fn sent_to(&mut self, endpoint: &Rc<Endpoint>) {
        self.endpoint = Some(Rc::clone(endpoint));
    }

    fn series(&self) -> &Series {
        self.arm.counts.of(self.routed)
    }

    /// The head of the response is here.
    pub(super) fn head(&mut self, status: StatusCode) {
        self.series().response(status);
        if status.is_server_error() {
            self.promised = End::Status;
        }
    }

    /// The time it took is known now, though it goes on: a tunnel's length is no latency.
    pub(super) fn clock_stops(&mut self) {
        self.took = Some(clock::instant().duration_since(self.started));
    }

    /// A connection failed, and another process of the revision takes the request.
    pub(super) fn reconnected(&self) {
        self.series().reconnected();
    }

    /// Body bytes went to the client.
    pub(super) fn sent(&self, bytes: usize) {
        self.series().sent(bytes);
    }

    /// Ends good, or bad if the status was.
    pub(super) fn end_as_head_said(mut self) {
        self.settle(self.promised);
    }

    /// Ends; what a client broke off is its own doing, whatever the backend made of it.
    pub(super) fn end(mut self, end: End) {
        let by_client = self.upload.as_ref().is_some_and(|upload| upload.broken());
        self.settle(if by_client { End::Cancelled } else { end });
    }

    fn settle(&mut self, end: End) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let now = clock::instant();
        let series = self.series();
        if let Some(upload) = &self.upload {
            series.received(upload.bytes());
        }
        let bucket = series.end(end, self.took.unwrap_or_else(|| now.duration_since(self.started)));
        // A tunnel, whose clock was stopped, says nothing about how requests end.
        if let Some(endpoint) = self.endpoint.as_ref().filter(|_| self.took.is_none()) {
            endpoint.end(end.is_error(), bucket);
        }
        if end.is_error() {
            self.worker.failed(&self.arm, now);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.settle(End::Cancelled);
    }
}
