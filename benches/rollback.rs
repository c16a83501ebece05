//! What a rollout does to its users, simulated: whole rollouts in virtual time, decided by the machine and judged by
//! the judges as they are. Prints a table: `cargo bench --bench rollback [-- RUNS]`, default 1000 runs per row.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and its arguments, and fails loudly"
)]

#[path = "../tests/analyses/simulated.rs"]
#[allow(dead_code, reason = "the tests ask more of it")]
mod simulated;

use std::time::{Duration, Instant};

use simulated::{Ended, Service, Traffic, default_canary, errors_alone};

const HEALTHY: Traffic = Traffic { per_s: 500.0, base: 0.01, canary: 0.01, slower: 1.0 };
const SPARSE: Traffic = Traffic { base: 0.001, canary: 0.001, ..HEALTHY };
const AT_MOST: Duration = Duration::from_hours(3);

/// How a row's rollouts are judged.
#[derive(Clone, Copy)]
enum Judged {
    /// The default canary, by errors and latency.
    Default,
    /// One step at so many percent, by errors alone, rolled back if worse than so many times.
    Errors(u32, f64),
}

fn main() {
    let runs = std::env::args().filter_map(|it| it.parse::<u64>().ok()).next().unwrap_or(1000);
    println!("{runs} runs per row, polled every second; failed: requests of the canary, up to its end\n");
    println!(
        "| rollout | promoted | rolled back | neither | median s | p95 s | mean failed | p95 failed | after first poll |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let began = Instant::now();
    row("default, equal, 500/s, 1 %", runs, Judged::Default, HEALTHY);
    row("default, equal, 500/s, 0.1 %", runs / 4, Judged::Default, SPARSE);
    row("default, twice as slow", runs, Judged::Default, Traffic { slower: 2.0, ..HEALTHY });
    row("default, x5, 500/s, 0.1 %", runs, Judged::Default, Traffic { canary: 0.005, ..SPARSE });
    row("default, dead on arrival", runs, Judged::Default, Traffic { canary: 1.0, ..HEALTHY });
    for worse_than in [1.0, 1.1] {
        let judged = Judged::Errors(10, worse_than);
        let name = |what: &str| format!("errors alone, 10 %, {worse_than}x: {what}");
        row(&name("equal, 1 %"), runs, judged, HEALTHY);
        row(&name("x2, 0.1 %"), runs, judged, Traffic { canary: 0.002, ..SPARSE });
        row(&name("x5, 0.1 %"), runs, judged, Traffic { canary: 0.005, ..SPARSE });
        row(&name("x10, 0.1 %"), runs, judged, Traffic { canary: 0.01, ..SPARSE });
        row(&name("dead on arrival"), runs, judged, Traffic { canary: 1.0, ..SPARSE });
    }
    println!("\n{:.0} s", began.elapsed().as_secs_f64());
}

fn row(name: &str, runs: u64, judged: Judged, traffic: Traffic) {
    let runs = runs.max(1);
    let ended: Vec<Ended> = (0..runs)
        .map(|seed| {
            let (plan, definitions) = match judged {
                Judged::Default => default_canary(),
                Judged::Errors(percent, worse_than) => errors_alone(percent, worse_than),
            };
            Service::new(plan, definitions, traffic, seed).release(AT_MOST)
        })
        .collect();
    let share =
        |of: fn(&Ended) -> bool| 100.0 * ended.iter().filter(|it| of(it)).count() as f64 / runs as f64;
    let seconds = sorted(ended.iter().map(|it| it.seconds));
    let failed = sorted(ended.iter().map(|it| it.canary_failed as f64));
    let beyond = ended.iter().map(|it| (it.canary_failed - it.failed_before_first_poll) as f64);
    println!(
        "| {name} | {:.1} % | {:.1} % | {:.1} % | {:.0} | {:.0} | {:.1} | {:.0} | {:.1} |",
        share(Ended::promoted),
        share(Ended::rolled_back),
        share(|it| !it.promoted() && !it.rolled_back()),
        quantile(&seconds, 0.5),
        quantile(&seconds, 0.95),
        failed.iter().sum::<f64>() / runs as f64,
        quantile(&failed, 0.95),
        beyond.sum::<f64>() / runs as f64,
    );
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn quantile(sorted: &[f64], at: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((at * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
}
