//! Whole releases on the running product: real processes behind the real proxy, an open loop of requests, and what
//! its users got from the new version.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serinus::{
    api::view::{PhaseName, RolloutView},
    local::load::{LoadPlan, Outcome, Record, generate},
};
use strategies::Revision;
use tokio_util::sync::CancellationToken;

use crate::{
    instance::{Document, Instance},
    quantile,
};

const RATE: f64 = 500.0;
/// Longer than any of these releases takes.
const PATIENCE: Duration = Duration::from_mins(20);
/// One step at 10 %, judged by errors alone; any true difference counts.
const BY_ERRORS: Document<'static> = Document {
    strategy: "{ canary: { steps: [ { name: look, weight: 10%, until: { evidence: {} } } ] } }",
    more: "  analyses: [ { name: errors, templateRef: { name: errors } } ]
---
apiVersion: serinus.dev/v1alpha1
kind: AnalysisTemplate
metadata: { name: errors }
spec:
  metrics:
    - name: errors
      judge: { sequential: { rollBack: { worseThan: 1x } } }
      provider: { proxy: { signal: errors } }
",
    ..Document::BY_HAND
};

/// What the users got from one version since its release.
#[derive(Clone, Default)]
struct Got {
    version: String,
    answers: u64,
    errors: u64,
    /// Lost on the way, whoever was to answer.
    lost: u64,
}

/// Prints whom a version hurts that fails five times as often.
pub(crate) fn rollback(runs: u64) {
    println!(
        "\n×5 errors (0.1 % → 0.5 %), {RATE} requests/s, 10 %, errors alone, worseThan 1x; {runs} releases"
    );
    let hurt = bad(runs, "0.001", "0.005");
    println!("goal: ≤ 11 failed canary requests on average");
    print_of(hurt);
}

/// Prints whom a version hurts that fails always.
pub(crate) fn dead_on_arrival(runs: u64) {
    println!("\ndead on arrival, {RATE} requests/s, 10 %, errors alone, worseThan 1x; {runs} releases");
    let hurt = bad(runs, "0.001", "1");
    println!("goal: ≤ 20 failed requests beyond the first poll; all of them are counted here");
    print_of(hurt);
}

fn print_of(mut hurt: Vec<f64>) {
    let mean = hurt.iter().sum::<f64>() / hurt.len() as f64;
    hurt.sort_by(f64::total_cmp);
    println!(
        "failed canary requests: mean {mean:.1}, median {:.0}, most {:.0}",
        quantile(&hurt, 0.5),
        quantile(&hurt, 1.0)
    );
}

/// Failed canary requests of every release of a bad version.
fn bad(runs: u64, base: &str, canary: &str) -> Vec<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let instance = Instance::start(2).await;
        let first = Document { errors: base, ..BY_ERRORS };
        let address = instance.first_version(&first).await;
        let users = Users::begin(address);
        tokio::time::sleep(Duration::from_secs(5)).await;
        println!("{:>4}{:>10}{:>12}{:>10}{:>8}", "", "seconds", "requests", "failed", "lost");
        let mut hurt = Vec::new();
        for run in 1..=runs {
            let version = format!("bad-{run}");
            let document = Document { version: &version, seed: run, errors: canary, ..BY_ERRORS };
            let (seconds, got) = users.release(&instance, &document, PhaseName::RolledBack).await;
            println!("{run:>4}{seconds:>10.1}{:>12}{:>10}{:>8}", got.answers, got.errors, got.lost);
            hurt.push(got.errors as f64);
        }
        users.end().await;
        hurt
    })
}

/// Prints how long the default canary takes when nothing is wrong.
pub(crate) fn healthy(runs: u64) {
    println!("\nthe default canary of an equal version, {RATE} requests/s, 1 % errors; {runs} releases");
    let usual = Document { errors: "0.01", ..Document::DEFAULT };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let instance = Instance::start(2).await;
        let address = instance.first_version(&usual).await;
        let users = Users::begin(address);
        let mut took = Vec::new();
        for run in 1..=runs {
            let version = format!("good-{run}");
            let document = Document { version: &version, seed: run, ..usual };
            let (seconds, got) = users.release(&instance, &document, PhaseName::Idle).await;
            println!("{run:>4}{seconds:>10.1} s{:>8} lost", got.lost);
            took.push(seconds);
        }
        users.end().await;
        took.sort_by(f64::total_cmp);
        println!(
            "median {:.0} s, longest {:.0} s; goal: ≤ 300 s",
            quantile(&took, 0.5),
            quantile(&took, 1.0)
        );
    });
}

struct Users {
    got: Arc<Mutex<Got>>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Users {
    fn begin(address: SocketAddr) -> Self {
        let got = Arc::new(Mutex::new(Got::default()));
        let stop = CancellationToken::new();
        let seen = {
            let got = Arc::clone(&got);
            move |record: &Record| got.lock().unwrap().add(record)
        };
        let plan = LoadPlan::new(address, RATE);
        let stopped = stop.clone();
        let running = tokio::spawn(async move { drop(generate(plan, stopped, seen).await) });
        Self { got, stop, running }
    }

    /// Releases a version and waits until it has ended in `phase`; answers how long that took and what users got.
    async fn release(&self, instance: &Instance, document: &Document<'_>, phase: PhaseName) -> (f64, Got) {
        *self.got.lock().unwrap() = Got { version: document.version.to_owned(), ..Got::default() };
        instance.apply(document).await;
        let wanted = instance.view().await.wanted;
        let begun = Instant::now();
        let over = |it: &RolloutView| it.phase == phase && ended(it, wanted.as_ref());
        instance.until_within("the end of the release", PATIENCE, over).await;
        let seconds = begun.elapsed().as_secs_f64();
        // What the canary still answers belongs to it.
        tokio::time::sleep(Duration::from_secs(1)).await;
        (seconds, self.got.lock().unwrap().clone())
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

fn ended(view: &RolloutView, wanted: Option<&Revision>) -> bool {
    view.last.as_ref().is_some_and(|it| Some(&it.revision) == wanted)
}

impl Got {
    fn add(&mut self, record: &Record) {
        self.lost += u64::from(record.outcome.is_failed());
        if record.version.as_deref() == Some(&self.version) {
            self.answers += 1;
            self.errors += u64::from(record.outcome == Outcome::AppError);
        }
    }
}
