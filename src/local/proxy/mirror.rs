//! Copies of requests, sent aside: they wait for nothing of the user's request and nothing of it waits for them.

use std::{rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Request, header::CONTENT_LENGTH, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{
    backend::Failure,
    counts::{End, Routed},
    headers::shape,
    live::Live,
    request_body::{RequestBody, Tee},
    table::{Arm, Table},
    worker::{Listener, Worker},
};
use crate::clock;

/// Tells a mirrored request from a user's; its value is `1`.
const MIRROR_HEADER: HeaderName = HeaderName::from_static("serinus-mirror");

/// One copy to be sent.
pub(super) struct Job {
    worker: Rc<Worker>,
    arm: Rc<Arm>,
    table: Rc<Table>,
    parts: Parts,
    _room: Room,
}

/// A place in the bounded number of mirrored requests.
struct Room(Rc<Worker>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.mirrors.set(self.0.mirrors.get().saturating_sub(1));
    }
}

/// Copies to be sent once the request's body is known whole.
pub(super) struct Copying {
    jobs: Vec<Job>,
    listener: Rc<Listener>,
    chunks: Vec<Bytes>,
    size: usize,
    most: usize,
}

/// The copies that the draw asks for; those beyond the bound are skipped and counted.
pub(super) fn jobs(
    worker: &Rc<Worker>,
    listener: &Listener,
    table: &Rc<Table>,
    arm: usize,
    parts: &Parts,
) -> Vec<Job> {
    let mut jobs = Vec::new();
    for to in table.mirrored(arm) {
        if worker.mirrors.get() >= table.limits.mirrors {
            listener.mirrors_skipped(1);
            continue;
        }
        worker.mirrors.set(worker.mirrors.get() + 1);
        let room = Room(Rc::clone(worker));
        let mut parts = parts.clone();
        parts.headers.insert(MIRROR_HEADER, HeaderValue::from_static("1"));
        jobs.push(Job {
            worker: Rc::clone(worker),
            arm: Rc::clone(&table.arms[to]),
            table: Rc::clone(table),
            parts,
            _room: room,
        });
    }
    jobs
}

impl Copying {
    pub(super) fn new(jobs: Vec<Job>, listener: &Rc<Listener>, most: usize) -> Self {
        Self { jobs, listener: Rc::clone(listener), chunks: Vec::new(), size: 0, most }
    }
}

impl Tee for Copying {
    fn data(&mut self, data: &Bytes) -> bool {
        self.size += data.len();
        if self.size > self.most {
            self.listener.mirrors_skipped(self.jobs.len() as u64);
            return false;
        }
        self.chunks.push(data.clone());
        true
    }

    fn whole(self: Box<Self>) {
        let mut whole = BytesMut::with_capacity(self.size);
        for chunk in &self.chunks {
            whole.extend_from_slice(chunk);
        }
        let body = whole.freeze();
        for job in self.jobs {
            job.launch(body.clone());
        }
    }
}

impl Job {
    /// Sends the copy in a task of its own.
    pub(super) fn launch(mut self, body: Bytes) {
        self.parts.headers.remove(http::header::TRAILER);
        self.parts.headers.remove(CONTENT_LENGTH);
        if !body.is_empty() {
            self.parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        tokio::task::spawn_local(async move { self.run(body).await });
    }

    async fn run(self, body: Bytes) {
        let Self { worker, arm, table, parts, _room } = self;
        let started = clock::instant();
        let mut live = Live::begin(&worker.subscribers, &arm, Routed::Mirror, started);
        let mut request = Request::from_parts(parts, RequestBody::whole(body));
        let mut tried = Vec::new();
        loop {
            let Some(endpoint) = arm.choose(clock::instant(), &tried) else {
                return live.end(End::Connect);
            };
            if shape(&mut request, arm.upstream).is_err() {
                return live.end(End::Cancelled);
            }
            live.sent_to(endpoint);
            match endpoint.send(request, None, &table.timeouts, &table.limits).await {
                Ok((response, lease)) => {
                    let (head, body) = response.into_parts();
                    live.head(head.status, &head.headers);
                    match drop_body(body, table.timeouts.response_head(), &mut live).await {
                        Ok(()) => {
                            lease.give_back();
                            return live.end_as_answered();
                        }
                        Err(end) => {
                            lease.failed();
                            return live.end(end);
                        }
                    }
                }
                Err(failed) => match (failed.failure, failed.unsent) {
                    (Failure::Connect, Some(unsent)) => {
                        tried.push(endpoint.address());
                        request = *unsent;
                    }
                    (Failure::Connect, None) => return live.end(End::Connect),
                    (Failure::Reset | Failure::Malformed(_), _) => return live.end(End::Reset),
                    (Failure::Timeout, _) => return live.end(End::Timeout),
                },
            }
        }
    }
}

/// Reads and forgets an answer, for a bounded time.
async fn drop_body(mut body: Incoming, limit: Duration, live: &mut Live) -> Result<(), End> {
    let read = async {
        while let Some(frame) = body.frame().await {
            if let Some(trailers) = frame.map_err(|_| End::Reset)?.trailers_ref() {
                live.trailers(trailers);
            }
        }
        Ok(())
    };
    tokio::time::timeout(limit, read).await.unwrap_or(Err(End::Timeout))
}
