//! What a worker counts, per listener, revision and how the request was routed.
//!
//! Counters only rise while a worker lives. A reader takes differences between two snapshots with the same
//! `start`; another `start` means another process that began at zero.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use crate::analyses::Routed;

use super::{
    config::{ArmName, ListenerName},
    outcome::{GrpcCode, Outcome, OutcomeCounts, Outcomes},
};

/// Upper bounds of the latency buckets, in microseconds: Prometheus' defaults and finer ones between them, so
/// that a latency judge has a bound near any quantile. The bucket after the last has no bound.
pub const LATENCY_BOUNDS_US: [u64; 28] = [
    250, 500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000, 25_000, 35_000, 50_000, 75_000,
    100_000, 150_000, 200_000, 250_000, 350_000, 500_000, 750_000, 1_000_000, 1_500_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

const BUCKETS: usize = LATENCY_BOUNDS_US.len() + 1;

/// Requests that count as bad, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// The application answered 5xx, or with a gRPC code that means as much.
    pub status: u64,
    /// No connection could be made, and no other process of the revision took the request.
    pub connect: u64,
    /// The connection broke, or what came was not HTTP, after the request had been sent.
    pub reset: u64,
    /// No head, or no further byte of the body, within its deadline.
    pub timeout: u64,
}

impl Errors {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { status, connect, reset, timeout } = self;
        status + connect + reset + timeout
    }
}

/// Counts of one listener × revision × way of routing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesSnapshot {
    /// Socket.
    pub listener: ListenerName,
    /// Revision of the arm.
    pub revision: String,
    /// How the requests were routed.
    pub routed: Routed,
    /// Begun.
    pub requests: u64,
    /// Ended, one way or another: the denominator of an error rate.
    pub completed: u64,
    /// Response heads by class, 1xx first.
    pub responses: [u64; 5],
    /// Ended badly; at most one per request, so never more than `completed`.
    pub errors: Errors,
    /// Ended because the client went away; part of `completed`, not an error.
    pub cancelled: u64,
    /// Requests that met a connection failure and were served by another process of the same revision.
    pub reconnects: u64,
    /// Begun and not ended.
    pub in_flight: u64,
    /// Body bytes from clients.
    pub bytes_in: u64,
    /// Body bytes to clients.
    pub bytes_out: u64,
    /// Requests by latency: the time from the arrival of their head to the head of the answer, counted once that is
    /// there, or to the end of a request that got none. One count per bucket of [`LATENCY_BOUNDS_US`] and one above
    /// them; not cumulative.
    pub latency: Vec<u64>,
    /// Sum of those times, microseconds.
    pub latency_sum_us: u64,
    /// Ended requests by their life: from the arrival of their head to the end of the answer, of the stream, of the
    /// tunnel. Buckets as in `latency`.
    #[serde(default)]
    pub life: Vec<u64>,
    /// Sum of those times, microseconds.
    #[serde(default)]
    pub life_sum_us: u64,
    /// Ended requests by what their answer meant.
    #[serde(default)]
    pub outcomes: Outcomes,
    /// Ended gRPC calls by code, `0 ..= 16`; empty when there were none. A call that never said its code counts as
    /// Unknown (2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grpc: Vec<u64>,
}

/// The state of one backend process as this worker sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSnapshot {
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// Requests in flight on it, mirrored ones and tunnels included: at 0 it can be stopped without loss.
    pub in_flight: u64,
    /// Requests it ended, however they were routed, since a configuration first named it; tunnels excluded.
    pub completed: u64,
    /// Those of them that count as [`Errors`].
    pub failed: u64,
    /// All of them by latency, as in [`SeriesSnapshot::latency`].
    #[serde(default)]
    pub latency: Vec<u64>,
    /// Left out for now, after failures.
    pub ejected: bool,
    /// Whether the applied configuration names it.
    pub configured: bool,
}

/// What one listener counts besides its arms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSnapshot {
    /// Client connections open.
    pub connections: u64,
    /// Client connections accepted.
    pub accepted: u64,
    /// Requests answered by the proxy itself because no arm could serve them.
    pub unserved: u64,
    /// Requests refused because they broke HTTP or a limit.
    pub refused: u64,
    /// Copies not sent because of a bound.
    pub mirrors_skipped: u64,
    /// Connections closed at once, because their address had as many as it may.
    #[serde(default)]
    pub turned_away: u64,
}

/// Everything one worker has counted since it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Index of the worker.
    pub worker: u32,
    /// Names this run of the process; counters of another start began at zero.
    pub start: String,
    /// Generation of the configuration that is served; `None` before the first.
    pub generation: Option<u64>,
    /// Milliseconds since the worker started, monotone.
    pub uptime_ms: u64,
    /// By socket.
    pub listeners: BTreeMap<ListenerName, ListenerSnapshot>,
    /// Counts, ordered by listener, revision, routing. Series of replaced revisions stay for a while.
    pub series: Vec<SeriesSnapshot>,
    /// Backends, by arm name and listener: configured ones, and removed ones with requests in flight.
    pub endpoints: Vec<EndpointSnapshot>,
    /// Arms by listener: revision they stand for.
    pub arms: BTreeMap<ListenerName, BTreeMap<ArmName, String>>,
    /// What is wrong with a socket now: its certificate cannot be used, its part of the configuration was refused, no
    /// connection can be accepted. The others are served.
    #[serde(default)]
    pub troubles: BTreeMap<ListenerName, String>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Answered, and not as [`Self::Status`] says.
    Good,
    /// Answered 5xx, or with a gRPC code that means as much.
    Status,
    /// No connection.
    Connect,
    /// Broken after it was sent.
    Reset,
    /// Too late.
    Timeout,
    /// The client left.
    Cancelled,
}

impl End {
    pub(super) fn is_error(self) -> bool {
        match self {
            Self::Status | Self::Connect | Self::Reset | Self::Timeout => true,
            Self::Good | Self::Cancelled => false,
        }
    }
}

/// Requests by how long they took; one thread owns them.
pub(super) struct Buckets([Cell<u64>; BUCKETS]);

/// Number of a bucket.
#[derive(Clone, Copy)]
pub(super) struct Bucket(usize);

impl Default for Buckets {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Cell::new(0)))
    }
}

impl Buckets {
    fn add(&self, us: u64) -> Bucket {
        let bucket = Bucket(LATENCY_BOUNDS_US.partition_point(|&bound| bound < us));
        self.add_to(bucket);
        bucket
    }

    /// Adds one to a bucket that is known already.
    pub(super) fn add_to(&self, bucket: Bucket) {
        add(&self.0[bucket.0], 1);
    }

    /// One count per bucket, not cumulative.
    pub(super) fn snapshot(&self) -> Vec<u64> {
        self.0.iter().map(Cell::get).collect()
    }
}

/// Live counters of one series; one thread owns them.
pub(super) struct Series {
    requests: Cell<u64>,
    completed: Cell<u64>,
    responses: [Cell<u64>; 5],
    status: Cell<u64>,
    connect: Cell<u64>,
    reset: Cell<u64>,
    timeout: Cell<u64>,
    cancelled: Cell<u64>,
    reconnects: Cell<u64>,
    in_flight: Cell<u64>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    latency: Buckets,
    latency_sum_us: Cell<u64>,
    life: Buckets,
    life_sum_us: Cell<u64>,
    outcomes: OutcomeCounts,
}

/// How a request ended and what its answer meant.
#[derive(Clone, Copy)]
pub(super) struct Ended {
    pub(super) end: End,
    /// `None`: there was no answer.
    pub(super) outcome: Option<Outcome>,
    /// gRPC's code, if it was a call.
    pub(super) code: Option<GrpcCode>,
    /// From the arrival of its head.
    pub(super) life: Duration,
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn add(cell: &Cell<u64>, by: u64) {
    cell.set(cell.get().wrapping_add(by));
}

impl Series {
    fn new() -> Self {
        let zero = || Cell::new(0);
        Self {
            requests: zero(),
            completed: zero(),
            responses: std::array::from_fn(|_| zero()),
            status: zero(),
            connect: zero(),
            reset: zero(),
            timeout: zero(),
            cancelled: zero(),
            reconnects: zero(),
            in_flight: zero(),
            bytes_in: zero(),
            bytes_out: zero(),
            latency: Buckets::default(),
            latency_sum_us: zero(),
            life: Buckets::default(),
            life_sum_us: zero(),
            outcomes: OutcomeCounts::default(),
        }
    }

    pub(super) fn begin(&self) {
        add(&self.requests, 1);
        add(&self.in_flight, 1);
    }

    /// The head of the answer is here, or will never be; says which bucket the request belongs to.
    pub(super) fn latency(&self, took: Duration) -> Bucket {
        let us = micros(took);
        add(&self.latency_sum_us, us);
        self.latency.add(us)
    }

    /// Counts a request that ended.
    pub(super) fn end(&self, ended: Ended) {
        add(&self.completed, 1);
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        match ended.end {
            End::Good => {}
            End::Status => add(&self.status, 1),
            End::Connect => add(&self.connect, 1),
            End::Reset => add(&self.reset, 1),
            End::Timeout => add(&self.timeout, 1),
            End::Cancelled => add(&self.cancelled, 1),
        }
        if ended.end != End::Cancelled {
            self.outcomes.end(ended.outcome, ended.code);
        }
        let us = micros(ended.life);
        add(&self.life_sum_us, us);
        self.life.add(us);
    }

    pub(super) fn response(&self, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        add(&self.responses[class], 1);
    }

    pub(super) fn reconnected(&self) {
        add(&self.reconnects, 1);
    }

    pub(super) fn received(&self, bytes: usize) {
        add(&self.bytes_in, bytes as u64);
    }

    pub(super) fn sent(&self, bytes: usize) {
        add(&self.bytes_out, bytes as u64);
    }

    fn snapshot(&self, listener: &str, revision: &str, routed: Routed) -> SeriesSnapshot {
        SeriesSnapshot {
            listener: listener.to_owned(),
            revision: revision.to_owned(),
            routed,
            requests: self.requests.get(),
            completed: self.completed.get(),
            responses: std::array::from_fn(|class| self.responses[class].get()),
            errors: Errors {
                status: self.status.get(),
                connect: self.connect.get(),
                reset: self.reset.get(),
                timeout: self.timeout.get(),
            },
            cancelled: self.cancelled.get(),
            reconnects: self.reconnects.get(),
            in_flight: self.in_flight.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            latency: self.latency.snapshot(),
            latency_sum_us: self.latency_sum_us.get(),
            life: self.life.snapshot(),
            life_sum_us: self.life_sum_us.get(),
            outcomes: self.outcomes.snapshot(),
            grpc: self.outcomes.codes(),
        }
    }
}

/// Counters of one listener and revision, and its bad streak.
pub(super) struct RevisionCounts {
    by_routing: [Series; Routed::ALL.len()],
    /// Applied configurations since a configuration last named it.
    unnamed_for: Cell<u32>,
    pub(super) streak: Streak,
}

impl RevisionCounts {
    fn new() -> Self {
        Self {
            by_routing: std::array::from_fn(|_| Series::new()),
            unnamed_for: Cell::new(0),
            streak: Streak::default(),
        }
    }

    pub(super) fn of(&self, routed: Routed) -> &Series {
        match routed {
            Routed::Weight => &self.by_routing[0],
            Routed::Match => &self.by_routing[1],
            Routed::Sticky => &self.by_routing[2],
            Routed::Mirror => &self.by_routing[3],
            Routed::Retry => &self.by_routing[4],
        }
    }

    fn idle(&self) -> bool {
        self.by_routing.iter().all(|series| series.in_flight.get() == 0)
    }
}

/// Several failures of one revision within a short time.
#[derive(Default)]
pub(super) struct Streak {
    since: Cell<Option<std::time::Instant>>,
    failures: Cell<u32>,
}

impl Streak {
    /// Notes one failure; true when it completes a streak of `least` within `window`, which then begins anew.
    pub(super) fn failed(&self, now: std::time::Instant, least: u32, window: Duration) -> bool {
        match self.since.get() {
            Some(since) if now.duration_since(since) <= window => self.failures.set(self.failures.get() + 1),
            Some(_) | None => {
                self.since.set(Some(now));
                self.failures.set(1);
            }
        }
        let complete = self.failures.get() >= least;
        if complete {
            self.since.set(None);
        }
        complete
    }
}

/// Configurations after which the counts of a revision that is no longer named are dropped.
const KEEP_FOR: u32 = 64;

/// Every series of a worker.
#[derive(Default)]
pub(super) struct Registry {
    revisions: RefCell<BTreeMap<(ListenerName, String), Rc<RevisionCounts>>>,
}

impl Registry {
    /// The counters of a revision, made on first use.
    pub(super) fn revision(&self, listener: &str, revision: &str) -> Rc<RevisionCounts> {
        let mut revisions = self.revisions.borrow_mut();
        let key = (listener.to_owned(), revision.to_owned());
        let counts = revisions.entry(key).or_insert_with(|| Rc::new(RevisionCounts::new()));
        counts.unnamed_for.set(0);
        Rc::clone(counts)
    }

    /// Ages what the newest configuration did not ask for, so that memory stays bounded over many releases.
    pub(super) fn applied(&self, named: impl Fn(&str, &str) -> bool) {
        self.revisions.borrow_mut().retain(|(listener, revision), counts| {
            if named(listener, revision) {
                return true;
            }
            counts.unnamed_for.set(counts.unnamed_for.get() + 1);
            counts.unnamed_for.get() < KEEP_FOR || !counts.idle()
        });
    }

    /// All series that were ever used.
    pub(super) fn snapshot(&self) -> Vec<SeriesSnapshot> {
        let revisions = self.revisions.borrow();
        let mut all = Vec::with_capacity(revisions.len());
        for ((listener, revision), counts) in revisions.iter() {
            for routed in Routed::ALL {
                let series = counts.of(routed);
                if routed == Routed::Weight || series.requests.get() > 0 {
                    all.push(series.snapshot(listener, revision, routed));
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let series = Series::new();
        for us in [250, 251, 60_000_000, 60_000_001] {
            series.latency(Duration::from_micros(us));
        }
        let latency = series.snapshot("", "", Routed::Weight).latency;
        assert_eq!((latency[0], latency[1], latency[27], latency[28]), (1, 1, 1, 1));
    }

    #[test]
    fn bounds_rise_and_hold_every_default_of_prometheus() {
        assert!(LATENCY_BOUNDS_US.windows(2).all(|pair| pair[0] < pair[1]));
        for default in [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000] {
            assert!(LATENCY_BOUNDS_US.contains(&(default * 1_000)), "{default} ms");
        }
    }

    #[test]
    fn a_streak_needs_all_its_failures_within_the_window() {
        let start = crate::clock::instant();
        let at = |ms| start + Duration::from_millis(ms);
        let check = |times: &[u64]| {
            let streak = Streak::default();
            times.iter().filter(|&&ms| streak.failed(at(ms), 3, Duration::from_millis(100))).count()
        };
        assert_eq!(check(&[0, 10, 20]), 1);
        assert_eq!(check(&[0, 90, 110]), 0);
        assert_eq!(check(&[0, 1, 2, 3, 4, 5]), 2);
    }

    #[test]
    fn counts_of_forgotten_revisions_are_dropped_but_not_while_requests_run() {
        let registry = Registry::default();
        registry.revision("web", "v1").of(Routed::Weight).begin();
        registry.revision("web", "v2");
        for _ in 0..KEEP_FOR {
            registry.applied(|_, _| false);
        }
        let left: Vec<_> = registry.snapshot().into_iter().map(|series| series.revision).collect();
        assert_eq!(left, ["v1"]);
    }
}
