//! From an abort order to the last answer that a user gets from the canary.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serinus::{
    api::view::NewOrder,
    local::load::{LoadPlan, Record, generate},
};
use strategies::{Action, Name, Weight};
use tokio_util::sync::CancellationToken;

use crate::{
    instance::{Document, Instance, SHOP, program},
    quantile,
};

/// Requests per second; half of them go to the canary, so one is due every 4 ms.
const RATE: f64 = 500.0;
/// How long to look for answers of the canary after an order.
const WATCH: Duration = Duration::from_millis(500);

/// Who gives the order.
#[derive(Clone, Copy)]
enum By {
    Socket,
    Command,
}

/// Prints what `times` aborts took, once for each way to give the order.
pub(crate) fn measure(times: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let instance = Instance::start(2).await;
        let address = instance.first_version(&Document::BY_HAND).await;
        instance.apply(&Document { version: "v2", ..Document::BY_HAND }).await;
        let begun = Instant::now();
        let last_canary = Arc::new(AtomicU64::new(0));
        let seen = {
            let last_canary = Arc::clone(&last_canary);
            move |record: &Record| {
                if record.version.as_deref() == Some("v2") {
                    last_canary.store(since(begun), Relaxed);
                }
            }
        };
        let stop = CancellationToken::new();
        let load = tokio::spawn(generate(LoadPlan::new(address, RATE), stop.clone(), seen));
        println!(
            "{times} aborts each at {RATE} requests/s, half of them the canary's; milliseconds from the order"
        );
        println!("\n{:<26}{:>8}{:>8}{:>8}", "to the last canary answer", "p50", "p99", "max");
        for by in [By::Socket, By::Command] {
            let mut took = Vec::new();
            let mut answered = Vec::new();
            for _ in 0..times {
                let (last, order) = one(&instance, by, begun, &last_canary).await;
                took.push(last);
                answered.push(order);
            }
            let name = match by {
                By::Socket => "order on the control socket",
                By::Command => "`serinus abort`",
            };
            line(name, took);
            line("  the order's own answer", answered);
        }
        stop.cancel();
        let report = load.await.unwrap();
        println!("\n{} requests, {} failed; goal: p99 ≤ 100 ms", report.requests, report.failed());
    });
}

fn since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_micros()).unwrap()
}

/// Milliseconds to the canary's last answer, and to the answer to the order.
async fn one(instance: &Instance, by: By, begun: Instant, last_canary: &AtomicU64) -> (f64, f64) {
    let half = Some(Weight::from_percent(50));
    instance.until("the canary's half", |it| it.weight.settled == half).await;
    // Some requests are under way then.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = since(begun);
    match by {
        By::Socket => order(instance, Action::Abort).await,
        By::Command => {
            let mut command = tokio::process::Command::from(Command::new(program()));
            command.args(["abort", SHOP, "--state"]).arg(&instance.state).stdout(Stdio::null());
            assert!(command.status().await.unwrap().success());
        }
    }
    let answered = since(begun) - before;
    tokio::time::sleep(WATCH).await;
    let last = last_canary.load(Relaxed).saturating_sub(before);
    assert!(Duration::from_micros(last) < WATCH, "the canary still answers");
    order(instance, Action::Retry).await;
    (last as f64 / 1e3, answered as f64 / 1e3)
}

async fn order(instance: &Instance, action: Action) {
    let order = NewOrder {
        id: None,
        action,
        revision: None,
        attempt: None,
        step: None,
        reason: None,
        not_after: None,
    };
    let answer = instance.client.order(&Name::from(SHOP), &order).await.unwrap();
    assert!(answer.accepted, "{:?}", answer.because);
}

fn line(name: &str, mut took: Vec<f64>) {
    took.sort_by(f64::total_cmp);
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| quantile(&took, share));
    println!("{name:<28}{p50:>6.1}{p99:>8.1}{max:>8.1}");
}
