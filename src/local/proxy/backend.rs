//! One backend process: its idle connections, its health, and sending one request to it.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use http::{Request, Response, Version};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{
    bounded_io::BoundedIo,
    client_io::{TICK_MS, Ticks},
    config::{Limits, Timeouts},
    counts::{Bucket, Buckets, End},
    http2::Http2Pool,
    request_body::{RequestBody, Upload},
    timer::Timer,
};
use crate::clock;

/// First time a failing backend is left out; doubles with every further failure.
const FIRST_EJECTION: Duration = Duration::from_millis(100);
/// Longest time a failing backend is left out.
const LAST_EJECTION: Duration = Duration::from_secs(10);
/// Broken or late answers in a row after which a backend is left out. A failed connection needs only one.
const BAD_ANSWERS: u32 = 3;
/// Idle HTTP/1 connections kept per backend.
const MOST_IDLE: usize = 1024;

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection could be made.
    Connect,
    /// The connection broke after the request had been sent, at least in part.
    Reset,
    /// What came is not HTTP, or more than the limits allow; the text says which.
    Malformed(&'static str),
    /// No response head in time.
    Timeout,
}

impl Failure {
    /// What it is counted as.
    pub(super) fn end(self) -> End {
        match self {
            Self::Connect => End::Connect,
            Self::Reset | Self::Malformed(_) => End::Reset,
            Self::Timeout => End::Timeout,
        }
    }

    /// What a request that was sent ended with.
    pub(super) fn of(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::Malformed("its head is larger than `limits` allow (`headerSize`, `answerHeaders`)")
        } else if error.is_parse() {
            Self::Malformed("not HTTP")
        } else {
            Self::Reset
        }
    }
}

/// Whether a request may be sent once more if the connection was closed before anything came back: it has no body, and
/// twice does what once does. Source: RFC 9110 §9.2.2.
pub(super) fn is_repeatable(request: &Request<RequestBody>) -> bool {
    request.method().is_idempotent() && matches!(request.body(), RequestBody::Empty)
}

/// The same request once more.
pub(super) fn repeated(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut again = Request::new(RequestBody::Empty);
    request.method().clone_into(again.method_mut());
    request.uri().clone_into(again.uri_mut());
    *again.version_mut() = request.version();
    request.headers().clone_into(again.headers_mut());
    request.extensions().clone_into(again.extensions_mut());
    again
}

/// A failed request; `unsent` is there when not a byte of it left, so that it may be sent elsewhere.
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) unsent: Option<Box<Request<RequestBody>>>,
}

/// A backend process. It outlives configurations, so that its connections and health do.
pub(super) struct Endpoint {
    address: SocketAddr,
    ticks: Ticks,
    idle: RefCell<Vec<Idle>>,
    pub(super) http2: Http2Pool,
    in_flight: Cell<u64>,
    completed: Cell<u64>,
    failed: Cell<u64>,
    latency: Buckets,
    failures: Cell<u32>,
    bad_answers: Cell<u32>,
    ejected_until: Cell<Option<Instant>>,
    configured: Cell<bool>,
}

/// A connection that carries one request at a time.
pub(super) struct Http1 {
    sender: http1::SendRequest<RequestBody>,
    timer: Timer,
}

struct Idle {
    connection: Http1,
    since: u32,
}

/// The use of one backend connection by one request.
pub(super) struct Lease {
    endpoint: Rc<Endpoint>,
    pub(super) on: LeaseOn,
}

pub(super) enum LeaseOn {
    /// Being acquired, or not to be used again.
    Nothing,
    Http1(Http1),
    /// One of the streams that are counted so.
    Http2(Rc<Cell<usize>>),
}

impl Lease {
    fn new(endpoint: &Rc<Endpoint>) -> Self {
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        Self { endpoint: Rc::clone(endpoint), on: LeaseOn::Nothing }
    }

    /// The exchange is complete; the connection can carry another.
    pub(super) fn give_back(mut self) {
        if let LeaseOn::Http1(connection) = std::mem::replace(&mut self.on, LeaseOn::Nothing) {
            self.endpoint.keep(connection);
        }
    }

    /// The exchange broke in the middle of the response.
    pub(super) fn failed(self) {
        self.endpoint.answered_badly(clock::instant());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.in_flight.set(self.endpoint.in_flight.get().saturating_sub(1));
        if let LeaseOn::Http2(streams) = &self.on {
            streams.set(streams.get().saturating_sub(1));
        }
    }
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, ticks: Ticks) -> Self {
        Self {
            address,
            ticks,
            idle: RefCell::default(),
            http2: Http2Pool::default(),
            in_flight: Cell::new(0),
            completed: Cell::new(0),
            failed: Cell::new(0),
            latency: Buckets::default(),
            failures: Cell::new(0),
            bad_answers: Cell::new(0),
            ejected_until: Cell::new(None),
            configured: Cell::new(true),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    /// Requests it ended, and those of them that ended badly.
    pub(super) fn ended(&self) -> (u64, u64) {
        (self.completed.get(), self.failed.get())
    }

    /// Requests it ended by how long they took.
    pub(super) fn latency(&self) -> Vec<u64> {
        self.latency.snapshot()
    }

    /// A request that was sent here, or could not be, has ended.
    pub(super) fn end(&self, badly: bool, took: Bucket) {
        self.completed.set(self.completed.get() + 1);
        self.failed.set(self.failed.get() + u64::from(badly));
        self.latency.add_to(took);
    }

    pub(super) fn is_configured(&self) -> bool {
        self.configured.get()
    }

    /// Whether a configuration names it; if none does, its idle connections are closed.
    pub(super) fn set_configured(&self, configured: bool) {
        self.configured.set(configured);
        if !configured {
            self.idle.borrow_mut().clear();
            self.http2.clear();
        }
    }

    pub(super) fn ejected_until(&self) -> Option<Instant> {
        self.ejected_until.get()
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.get().is_some_and(|until| now < until)
    }

    /// After its time a backend is tried with one request; others leave it out until that one succeeds.
    pub(super) fn is_tried_now(&self, now: Instant) {
        if self.ejected_until.get().is_some_and(|until| now >= until) {
            self.ejected_until.set(Some(now + ejection(self.failures.get())));
        }
    }

    fn eject(&self, now: Instant) {
        self.failures.set(self.failures.get().saturating_add(1));
        self.ejected_until.set(Some(now + ejection(self.failures.get())));
    }

    fn answered(&self) {
        if self.ejected_until.get().is_some() || self.bad_answers.get() > 0 {
            self.failures.set(0);
            self.bad_answers.set(0);
            self.ejected_until.set(None);
        }
    }

    fn answered_badly(&self, now: Instant) {
        self.bad_answers.set(self.bad_answers.get() + 1);
        if self.bad_answers.get() >= BAD_ANSWERS {
            self.eject(now);
        }
    }

    fn keep(&self, connection: Http1) {
        let mut idle = self.idle.borrow_mut();
        if self.configured.get() && idle.len() < MOST_IDLE && !connection.sender.is_closed() {
            idle.push(Idle { connection, since: self.ticks.load(std::sync::atomic::Ordering::Relaxed) });
        }
    }

    /// Closes what has rested too long; the oldest are at the bottom.
    pub(super) fn close_idle(&self, longest: Duration) {
        let now = self.ticks.load(std::sync::atomic::Ordering::Relaxed);
        let longest = u32::try_from(longest.as_millis() / u128::from(TICK_MS)).unwrap_or(u32::MAX);
        let mut idle = self.idle.borrow_mut();
        let old = idle.partition_point(|idle| now.wrapping_sub(idle.since) > longest);
        idle.drain(..old);
    }

    pub(super) fn has_idle(&self) -> bool {
        !self.idle.borrow().is_empty()
    }

    fn take_idle(&self) -> Option<Http1> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, .. }) = idle.pop() {
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    /// Sends one request and waits for the head of its response.
    pub(super) async fn send(
        self: &Rc<Self>,
        request: Request<RequestBody>,
        upload: Option<&Rc<Upload>>,
        timeouts: &Timeouts,
        limits: &Limits,
    ) -> Result<(Response<Incoming>, Lease), Failed> {
        let mut lease = Lease::new(self);
        let sent = if request.version() == Version::HTTP_2 {
            self.send_http2(request, upload, timeouts, &mut lease).await
        } else {
            self.send_http1(request, upload, (timeouts, limits), &mut lease).await
        };
        match sent {
            Ok(response) => {
                self.answered();
                Ok((response, lease))
            }
            Err(failed) => {
                let clients_fault = upload.is_some_and(|upload| upload.fault().is_some());
                match failed.failure {
                    _ if clients_fault => {}
                    Failure::Connect => self.eject(clock::instant()),
                    Failure::Reset | Failure::Malformed(_) | Failure::Timeout => {
                        self.answered_badly(clock::instant())
                    }
                }
                Err(failed)
            }
        }
    }

    async fn send_http1(
        self: &Rc<Self>,
        mut request: Request<RequestBody>,
        upload: Option<&Rc<Upload>>,
        (timeouts, limits): (&Timeouts, &Limits),
        lease: &mut Lease,
    ) -> Result<Response<Incoming>, Failed> {
        let mut anew = false;
        loop {
            let kept = if anew { None } else { self.take_idle() };
            let (mut connection, reused) = match kept {
                Some(connection) => (connection, true),
                None => match Box::pin(self.connect_http1(timeouts, limits)).await {
                    Ok(connection) => (connection, false),
                    Err(failure) => return Err(Failed { failure, unsent: Some(Box::new(request)) }),
                },
            };
            // A service closes kept connections when it likes, and a request may be on its way just then.
            let again = (reused && is_repeatable(&request)).then(|| repeated(&request));
            let Http1 { sender, timer } = &mut connection;
            let sending = sender.try_send_request(request);
            match head_within(timer, timeouts.response_head(), upload, sending).await {
                Some(Ok(response)) => {
                    lease.on = LeaseOn::Http1(connection);
                    return Ok(response);
                }
                Some(Err(mut error)) => match (error.take_message(), again) {
                    // A reused connection was closed before a byte was written: nothing was sent.
                    (Some(back), _) if reused => request = back,
                    (Some(back), _) => {
                        return Err(Failed { failure: Failure::Connect, unsent: Some(Box::new(back)) });
                    }
                    (None, again) => match (Failure::of(error.error()), again) {
                        (Failure::Reset, Some(again)) => (request, anew) = (again, true),
                        (failure, _) => return Err(Failed { failure, unsent: None }),
                    },
                },
                None => return Err(Failed { failure: Failure::Timeout, unsent: None }),
            }
        }
    }

    pub(super) async fn connect(&self, timeouts: &Timeouts) -> Result<TokioIo<BoundedIo>, Failure> {
        match tokio::time::timeout(timeouts.connect(), TcpStream::connect(self.address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                Ok(TokioIo::new(BoundedIo::new(stream)))
            }
            Ok(Err(_)) | Err(_) => Err(Failure::Connect),
        }
    }

    async fn connect_http1(&self, timeouts: &Timeouts, limits: &Limits) -> Result<Http1, Failure> {
        let io = self.connect(timeouts).await?;
        let mut builder = http1::Builder::new();
        builder.max_headers(limits.answer_headers).max_buf_size(limits.header_bytes.max(8192));
        let (sender, connection) = builder.handshake(io).await.map_err(|_| Failure::Connect)?;
        tokio::task::spawn_local(async move {
            // How it ended is told to whoever uses it.
            let _ = connection.with_upgrades().await;
        });
        Ok(Http1 { sender, timer: Timer::default() })
    }
}

fn ejection(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_EJECTION.saturating_mul(1 << doublings).min(LAST_EJECTION)
}

/// Waits for a head, not counting the time the client took to send its body; `None` when it is too late.
pub(super) async fn head_within<F: Future>(
    timer: &mut Timer,
    limit: Duration,
    upload: Option<&Rc<Upload>>,
    sending: F,
) -> Option<F::Output> {
    let mut sending = pin!(sending);
    let mut left = limit;
    loop {
        if let Some(head) = timer.within(left, sending.as_mut()).await {
            return Some(head);
        }
        left = match upload?.backends_turn_since() {
            None => limit,
            Some(since) => match limit.checked_sub(clock::instant().duration_since(since)) {
                Some(left) if !left.is_zero() => left,
                Some(_) | None => return None,
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::new(SocketAddr::from(([127, 0, 0, 1], 9)), Ticks::default())
    }

    #[test]
    fn ejection_doubles_up_to_its_bound_and_ends_with_an_answer() {
        let endpoint = endpoint();
        let now = clock::instant();
        for (failures, ms) in [(1, 100), (2, 200), (3, 400)] {
            endpoint.eject(now);
            assert_eq!(endpoint.failures.get(), failures);
            assert!(endpoint.is_ejected(now + Duration::from_millis(ms - 1)));
            assert!(!endpoint.is_ejected(now + Duration::from_millis(ms)));
        }
        assert_eq!(ejection(40), LAST_EJECTION);
        endpoint.answered();
        assert!(!endpoint.is_ejected(now));
        assert_eq!(endpoint.failures.get(), 0);
    }

    #[test]
    fn one_request_tries_a_backend_whose_time_is_over() {
        let endpoint = endpoint();
        let now = clock::instant();
        endpoint.eject(now);
        let later = now + FIRST_EJECTION;
        assert!(!endpoint.is_ejected(later));
        endpoint.is_tried_now(later);
        assert!(endpoint.is_ejected(later), "the next request leaves it out until the trial succeeded");
    }

    #[test]
    fn bad_answers_eject_only_in_a_row() {
        let endpoint = endpoint();
        let now = clock::instant();
        for _ in 0..10 {
            endpoint.answered_badly(now);
            endpoint.answered_badly(now);
            endpoint.answered();
        }
        assert!(!endpoint.is_ejected(now));
        for _ in 0..BAD_ANSWERS {
            endpoint.answered_badly(now);
        }
        assert!(endpoint.is_ejected(now));
    }
}
