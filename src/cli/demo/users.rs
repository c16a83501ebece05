//! The users of a demo: an open-loop load that never retries, and what became of their requests.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use hdrhistogram::Histogram;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::words,
    local::load::{LoadPlan, Outcome, Record, generate},
};

/// What became of the users' requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// All.
    pub(super) requests: u64,
    /// Reset, refused, a status or body that is not the application's, or more than a second late.
    pub(super) failed: u64,
    /// The application's own 5xx.
    pub(super) errors: u64,
    /// By the version that answered.
    pub(super) versions: BTreeMap<String, OfVersion>,
}

/// What one version answered.
#[derive(Clone, Debug)]
pub(super) struct OfVersion {
    /// All answers.
    pub(super) requests: u64,
    /// Its own 5xx.
    pub(super) errors: u64,
    latency_us: Histogram<u64>,
}

impl OfVersion {
    /// The time that half of its answers took at most, milliseconds.
    pub(super) fn median_ms(&self) -> f64 {
        self.latency_us.value_at_quantile(0.5) as f64 / 1e3
    }
}

impl Counted {
    fn add(&mut self, record: &Record) {
        self.requests += 1;
        self.failed += u64::from(record.outcome.is_failed());
        let error = u64::from(record.outcome == Outcome::AppError);
        self.errors += error;
        let Some(version) = &record.version else { return };
        #[expect(clippy::expect_used, reason = "two digits are within what the histogram takes")]
        let new = || OfVersion { requests: 0, errors: 0, latency_us: Histogram::new(2).expect("two digits") };
        let of = self.versions.entry(version.clone()).or_insert_with(new);
        of.requests += 1;
        of.errors += error;
        // It grows as it must; only what no clock can measure does not fit.
        let _ = of.latency_us.record(record.latency_us.max(1));
    }
}

/// The users, while they send.
pub(super) struct Users {
    counted: Arc<Mutex<Counted>>,
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Users {
    /// Sends from now on, on a thread of its own: drawing must not delay a request.
    pub(super) fn begin(target: SocketAddr, rate: f64, seed: u64) -> Self {
        let counted = Arc::new(Mutex::new(Counted::default()));
        let stop = CancellationToken::new();
        let (tell, ended) = oneshot::channel();
        let plan = LoadPlan { seed, ..LoadPlan::new(target, rate) };
        std::thread::spawn({
            let (counted, stop) = (Arc::clone(&counted), stop.clone());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                if let Ok(runtime) = runtime {
                    let note = |record: &Record| lock(&counted).add(record);
                    runtime.block_on(generate(plan, stop, note));
                }
                // Nobody waits any more.
                let _ = tell.send(());
            }
        });
        Self { counted, stop, ended }
    }

    /// Forgets what was counted so far.
    pub(super) fn count_from_now(&self) {
        *lock(&self.counted) = Counted::default();
    }

    /// One line about them, whenever it is asked for.
    pub(super) fn banner(&self) -> Box<dyn Fn() -> String> {
        let counted = Arc::clone(&self.counted);
        Box::new(move || {
            let counted = lock(&counted);
            format!(
                "users: {} sent, {} failed, {} answered with an error of the service",
                words::counted(counted.requests, "request"),
                words::count(counted.failed),
                words::count(counted.errors)
            )
        })
    }

    /// Stops sending, waits for what is under way, and answers what became of all.
    pub(super) async fn end(self) -> Counted {
        self.stop.cancel();
        // The other end is dropped at the latest when the thread ends.
        let _ = self.ended.await;
        lock(&self.counted).clone()
    }
}

fn lock(counted: &Mutex<Counted>) -> std::sync::MutexGuard<'_, Counted> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}
