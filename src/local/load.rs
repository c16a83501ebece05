//! An open-loop load generator that never retries.
//!
//! When each request is due follows from the rate and the seed alone, whatever the answers do; latency counts from
//! when it was due, so a stall is seen by every request it delayed.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{HeaderValue, Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::proxy::PROXY_HEADER;
use crate::clock;

/// Largest body that is read, bytes.
const LARGEST_BODY: usize = 1 << 20;
/// Largest latency that is told apart, microseconds: ten minutes.
const SLOWEST_US: u64 = 600_000_000;
/// Bad records that are kept.
const MOST_KEPT: usize = 1_000;

/// What to send.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Where to connect.
    pub target: SocketAddr,
    /// `Host` of every request.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Further headers of every request.
    pub headers: Vec<(String, String)>,
    /// Requests per second, more than 0.
    pub rate: f64,
    /// How long; `None` until stopped.
    pub duration: Option<Duration>,
    /// When requests are due.
    pub arrivals: Arrivals,
    /// First word of every body the application sends; the word after it is taken as its version.
    pub token: String,
    /// Beyond this a good answer counts as late. Default 1 s.
    pub late_after: Duration,
    /// When a request is given up. Default 30 s.
    pub give_up_after: Duration,
    /// Share of requests that open a connection of their own instead of reusing one, `0 ..= 1`. Default 1 %.
    pub fresh_connections: f64,
    /// Decides arrivals and which requests open a connection.
    pub seed: u64,
}

impl LoadPlan {
    /// Poisson arrivals at `rate` on `target`, the sample service's token, defaults for the rest.
    #[must_use]
    pub fn new(target: SocketAddr, rate: f64) -> Self {
        Self {
            target,
            host: target.to_string(),
            path: "/".to_owned(),
            headers: Vec::new(),
            rate,
            duration: None,
            arrivals: Arrivals::Poisson,
            token: super::sample::SAMPLE_TOKEN.to_owned(),
            late_after: Duration::from_secs(1),
            give_up_after: Duration::from_secs(30),
            fresh_connections: 0.01,
            seed: 0,
        }
    }
}

/// When requests are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances.
    Even,
    /// At exponential distances, as of many independent users.
    Poisson,
}

/// What became of one request. All but `Ok` and `AppError` are failures that the application did not cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The application's own answer, below 500, in time.
    Ok,
    /// The application's own 5xx.
    AppError,
    /// No connection.
    Refused,
    /// The connection broke before the answer was complete.
    Reset,
    /// A status that the application did not send.
    ForeignStatus,
    /// A good status without the application's token.
    WrongBody,
    /// A good answer, more than `late_after` after it was due.
    Late,
    /// Given up.
    GivenUp,
}

impl Outcome {
    /// Failed in the sense of "a reset, a refusal, a status or a body that is not the application's, or late".
    #[must_use]
    pub fn is_failed(self) -> bool {
        match self {
            Self::Ok | Self::AppError => false,
            Self::Refused
            | Self::Reset
            | Self::ForeignStatus
            | Self::WrongBody
            | Self::Late
            | Self::GivenUp => true,
        }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Number in the schedule, from 0.
    pub number: u64,
    /// When it was due, microseconds from the start.
    pub due_us: u64,
    /// From when it was due to the end of its answer, microseconds.
    pub latency_us: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Status, if there was one.
    pub status: Option<u16>,
    /// The application's version, if the body named it.
    pub version: Option<String>,
    /// Local port of the connection it was sent on, if there was one.
    pub port: Option<u16>,
}

/// What became of all requests.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// Requests that were due.
    pub requests: u64,
    /// By outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// By version and outcome.
    pub versions: BTreeMap<String, BTreeMap<Outcome, u64>>,
    /// Latency of answered requests, microseconds.
    pub latency_us: Histogram<u64>,
    /// The first failed requests and application errors.
    pub bad: Vec<Record>,
}

impl LoadReport {
    fn new() -> Self {
        #[expect(clippy::expect_used, reason = "bounds and digits are within what the histogram takes")]
        let latency_us = Histogram::new_with_bounds(1, SLOWEST_US, 3).expect("valid bounds");
        Self {
            requests: 0,
            outcomes: BTreeMap::new(),
            versions: BTreeMap::new(),
            latency_us,
            bad: Vec::new(),
        }
    }

    /// Failed requests; application errors are not among them.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.outcomes.iter().filter(|(outcome, _)| outcome.is_failed()).map(|(_, n)| n).sum()
    }

    /// Requests with this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    fn add(&mut self, record: &Record) {
        self.requests += 1;
        *self.outcomes.entry(record.outcome).or_default() += 1;
        if let Some(version) = &record.version {
            *self.versions.entry(version.clone()).or_default().entry(record.outcome).or_default() += 1;
        }
        if record.status.is_some() {
            self.latency_us.saturating_record(record.latency_us.max(1));
        }
        if record.outcome != Outcome::Ok && self.bad.len() < MOST_KEPT {
            self.bad.push(record.clone());
        }
    }
}

type Sender = http1::SendRequest<Empty<Bytes>>;

struct Connection {
    sender: Sender,
    port: u16,
}

struct Generator {
    plan: LoadPlan,
    start: Instant,
    idle: Mutex<Vec<Connection>>,
}

/// Sends what is due until the plan is over or `stop` is cancelled, waits for what is in flight, and reports.
/// `seen` is called for every record as it comes in.
pub async fn generate(plan: LoadPlan, stop: CancellationToken, mut seen: impl FnMut(&Record)) -> LoadReport {
    let start = clock::instant();
    let (due, mut schedule) = mpsc::unbounded_channel();
    let pump = std::thread::spawn({
        let (plan, stop) = (plan.clone(), stop.clone());
        move || pump(&plan, start, &stop, &due)
    });
    let generator = Arc::new(Generator { plan, start, idle: Mutex::default() });
    let mut report = LoadReport::new();
    let mut running = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            biased;
            due = schedule.recv() => match due {
                Some(due) => {
                    running.spawn(Arc::clone(&generator).one(due));
                }
                None => break,
            },
            Some(record) = running.join_next() => note(&mut report, record.ok(), &mut seen),
        }
    }
    while let Some(record) = running.join_next().await {
        note(&mut report, record.ok(), &mut seen);
    }
    // The pump has closed its end of the schedule: it is over or about to be.
    let _ = pump.join();
    report
}

fn note(report: &mut LoadReport, record: Option<Record>, seen: &mut impl FnMut(&Record)) {
    if let Some(record) = record {
        report.add(&record);
        seen(&record);
    }
}

struct Due {
    number: u64,
    at: Instant,
    fresh: bool,
}

/// Says when requests are due. A thread of its own: the runtime's timer is too coarse to measure from.
fn pump(plan: &LoadPlan, start: Instant, stop: &CancellationToken, due: &mpsc::UnboundedSender<Due>) {
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut at_s = 0.0;
    for number in 0.. {
        let step = match plan.arrivals {
            Arrivals::Even => 1.0,
            Arrivals::Poisson => -(1.0 - random.random::<f64>()).ln(),
        };
        at_s += step / plan.rate;
        let fresh = random.random::<f64>() < plan.fresh_connections;
        let offset = Duration::from_secs_f64(at_s.min(1e9));
        if plan.duration.is_some_and(|duration| offset >= duration) {
            return;
        }
        let at = start + offset;
        loop {
            if stop.is_cancelled() {
                return;
            }
            let left = at.saturating_duration_since(clock::instant());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        if due.send(Due { number, at, fresh }).is_err() {
            return;
        }
    }
}

/// An answer, or how there was none.
struct Answered {
    outcome: Outcome,
    status: Option<u16>,
    version: Option<String>,
    port: Option<u16>,
}

impl Answered {
    fn none(outcome: Outcome, port: Option<u16>) -> Self {
        Self { outcome, status: None, version: None, port }
    }
}

impl Generator {
    async fn one(self: Arc<Self>, due: Due) -> Record {
        let left = (due.at + self.plan.give_up_after).saturating_duration_since(clock::instant());
        let exchange = tokio::time::timeout(left, self.exchange(due.fresh));
        let mut answered = exchange.await.unwrap_or_else(|_| Answered::none(Outcome::GivenUp, None));
        let latency = clock::instant().duration_since(due.at);
        if answered.outcome == Outcome::Ok && latency > self.plan.late_after {
            answered.outcome = Outcome::Late;
        }
        let Answered { outcome, status, version, port } = answered;
        let due_us = micros(due.at.duration_since(self.start));
        Record { number: due.number, due_us, latency_us: micros(latency), outcome, status, version, port }
    }

    async fn exchange(&self, fresh: bool) -> Answered {
        let Some(mut request) = self.request() else { return Answered::none(Outcome::Refused, None) };
        let mut fresh = fresh;
        loop {
            let reused = if fresh { None } else { self.take() };
            let was_reused = reused.is_some();
            let mut connection = match reused {
                Some(connection) => connection,
                None => match connect(self.plan.target).await {
                    Ok(connection) => connection,
                    Err(_) => return Answered::none(Outcome::Refused, None),
                },
            };
            match connection.sender.try_send_request(request).await {
                Ok(response) => return self.read(response, connection).await,
                Err(mut error) => match error.take_message() {
                    // Closed while it was idle: nothing was sent, so this is no retry.
                    Some(unsent) if was_reused => (request, fresh) = (unsent, true),
                    Some(_) | None => return Answered::none(Outcome::Reset, Some(connection.port)),
                },
            }
        }
    }

    fn request(&self) -> Option<Request<Empty<Bytes>>> {
        let mut request = Request::builder().uri(&self.plan.path).header(HOST, &self.plan.host);
        for (name, value) in &self.plan.headers {
            request = request.header(name, HeaderValue::from_str(value).ok()?);
        }
        request.body(Empty::new()).ok()
    }

    async fn read(
        &self,
        response: http::Response<hyper::body::Incoming>,
        connection: Connection,
    ) -> Answered {
        let (head, body) = response.into_parts();
        let (port, status) = (Some(connection.port), Some(head.status.as_u16()));
        let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
            return Answered { outcome: Outcome::Reset, status, version: None, port };
        };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        let body = body.to_bytes();
        let version = self.version(&body);
        let outcome = match (&version, head.headers.contains_key(PROXY_HEADER)) {
            (Some(_), false) if head.status.is_server_error() => Outcome::AppError,
            (Some(_), false) => Outcome::Ok,
            (None, false) if head.status == StatusCode::OK => Outcome::WrongBody,
            (Some(_) | None, _) => Outcome::ForeignStatus,
        };
        Answered { outcome, status, version, port }
    }

    /// The word after the token; `None` when the token is not there.
    fn version(&self, body: &[u8]) -> Option<String> {
        let rest = std::str::from_utf8(body).ok()?.strip_prefix(self.plan.token.as_str())?;
        Some(rest.split_whitespace().next().unwrap_or_default().to_owned())
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
        None
    }
}

async fn connect(target: SocketAddr) -> std::io::Result<Connection> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let port = stream.local_addr()?.port();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    tokio::spawn(async move {
        // How it ended is told to the request that used it.
        let _ = connection.await;
    });
    Ok(Connection { sender, port })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(plan: &LoadPlan) -> Vec<(u64, bool)> {
        let (due, mut schedule) = mpsc::unbounded_channel();
        let start = clock::instant();
        pump(plan, start, &CancellationToken::new(), &due);
        drop(due);
        std::iter::from_fn(|| schedule.try_recv().ok())
            .map(|due| (micros(due.at - start), due.fresh))
            .collect()
    }

    fn plan(rate: f64, arrivals: Arrivals) -> LoadPlan {
        let duration = Some(Duration::from_millis(50));
        LoadPlan { duration, arrivals, ..LoadPlan::new(SocketAddr::from(([127, 0, 0, 1], 1)), rate) }
    }

    #[test]
    fn the_schedule_follows_from_the_seed_alone() {
        let plan = plan(10_000.0, Arrivals::Poisson);
        let first = schedule(&plan);
        assert_eq!(first, schedule(&plan));
        assert_ne!(first, schedule(&LoadPlan { seed: 1, ..plan }));
        assert!((400..600).contains(&first.len()), "{}", first.len());
    }

    #[test]
    fn even_arrivals_are_equally_far_apart() {
        let due = schedule(&plan(1_000.0, Arrivals::Even));
        assert_eq!(due.len(), 49);
        assert!(due.windows(2).all(|pair| (990..=1_010).contains(&(pair[1].0 - pair[0].0))));
    }

    #[tokio::test]
    async fn nobody_listening_is_counted_as_refused_every_time() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let plan = LoadPlan { target: free, ..plan(1_000.0, Arrivals::Even) };
        let report = generate(plan, CancellationToken::new(), |_| {}).await;
        assert_eq!((report.requests, report.count(Outcome::Refused), report.failed()), (49, 49, 49));
    }
}
