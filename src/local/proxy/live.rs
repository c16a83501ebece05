//! One request's entry in the counts, from when its arm was chosen until the response ended.

use std::{rc::Rc, time::Instant};

use http::{HeaderMap, StatusCode};

use super::{
    backend::Endpoint,
    counts::{Bucket, End, Ended, Routed, Series},
    outcome::{GrpcCode, Outcome, Tells},
    request_body::Upload,
    streaks::Subscribers,
    table::Arm,
};
use crate::clock;

/// Counted as begun when made and as ended exactly once: by [`Live::end`], or as cancelled when it is dropped.
pub(super) struct Live {
    subscribers: Rc<Subscribers>,
    arm: Rc<Arm>,
    routed: Routed,
    started: Instant,
    upload: Option<Rc<Upload>>,
    endpoint: Option<Rc<Endpoint>>,
    /// What the head of the answer said; `None` before it is here.
    head: Option<Head>,
    ended: bool,
}

/// What is known of an answer since its head is here.
struct Head {
    /// Where the request's latency was counted.
    bucket: Bucket,
    outcome: Outcome,
    tells: Tells,
}

impl Live {
    pub(super) fn begin(
        subscribers: &Rc<Subscribers>,
        arm: &Rc<Arm>,
        routed: Routed,
        started: Instant,
    ) -> Self {
        arm.counts.of(routed).begin();
        Self {
            subscribers: Rc::clone(subscribers),
            arm: Rc::clone(arm),
            routed,
            started,
            upload: None,
            endpoint: None,
            head: None,
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

    /// The head of the answer is here: the latency ends.
    pub(super) fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        let series = self.series();
        series.response(status);
        let bucket = series.latency(clock::instant().duration_since(self.started));
        let head = Head { bucket, outcome: Outcome::of(status), tells: Tells::of(status, headers) };
        self.head = Some(head);
    }

    /// The answer ended with these trailers.
    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(head) = &mut self.head
            && let (Tells::Trailers, Some(code)) = (head.tells, GrpcCode::of(trailers))
        {
            head.tells = Tells::Code(code);
        }
    }

    /// The exchange has become a tunnel, which says nothing about how requests end on its process.
    pub(super) fn is_tunnel(&mut self) {
        self.endpoint = None;
    }

    /// A connection failed, and another process of the revision takes the request.
    pub(super) fn reconnected(&self) {
        self.series().reconnected();
    }

    /// Body bytes went to the client.
    pub(super) fn sent(&self, bytes: usize) {
        self.series().sent(bytes);
    }

    /// Ends as the answer said, which came whole.
    pub(super) fn end_as_answered(mut self) {
        let end = match self.answer() {
            (Some(Outcome::ServerError), _) => End::Status,
            (Some(_) | None, _) => End::Good,
        };
        self.settle(end);
    }

    /// What the answer meant, so far as it came.
    fn answer(&self) -> (Option<Outcome>, Option<GrpcCode>) {
        let Some(head) = &self.head else { return (None, None) };
        let code = match head.tells {
            Tells::Head => return (Some(head.outcome), None),
            Tells::Trailers => GrpcCode::NONE,
            Tells::Code(code) => code,
        };
        (Some(code.outcome()), Some(code))
    }

    /// Ends; what a client broke off is its own doing, whatever the backend made of it.
    pub(super) fn end(mut self, end: End) {
        let by_client = self.upload.as_ref().is_some_and(|upload| upload.fault().is_some());
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
        let life = now.duration_since(self.started);
        let bucket = self.head.as_ref().map_or_else(|| series.latency(life), |head| head.bucket);
        let (outcome, code) = match end {
            End::Good | End::Status => self.answer(),
            End::Connect | End::Reset | End::Timeout | End::Cancelled => (None, None),
        };
        series.end(Ended { end, outcome, code, life });
        if let Some(endpoint) = &self.endpoint {
            endpoint.end(end.is_error(), bucket);
        }
        if end.is_error() {
            let Arm { listener, revision, counts, .. } = &*self.arm;
            self.subscribers.failed(listener, revision, &counts.streak, now);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.settle(End::Cancelled);
    }
}
