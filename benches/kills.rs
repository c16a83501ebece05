//! Parts of a machine killed by SIGKILL at random moments, under load and in the middle of rollouts; what users met.
//!
//! `cargo bench --bench kills -- [--kills 1000] [--rate 2000] [--seed 1] [--part control|worker|upgrade|supervisor]`.
//! The load is an open loop that never retries. Failed: a reset, a refusal, a status or a body that the application
//! did not send, or an answer more than a second after it was due. When the load is over the machine is killed, and
//! every decision in its journal is decided again and checked against the invariants.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to say"
)]

#[path = "../tests/local/journal.rs"]
mod journal;
#[path = "../tests/local/kills.rs"]
mod kills;
#[path = "../tests/local/rig.rs"]
#[allow(dead_code, reason = "the tests ask more of it")]
mod rig;
#[path = "../tests/local/roles.rs"]
mod roles;
#[path = "../tests/local/sockets.rs"]
mod sockets;
#[path = "../tests/local/supervisor.rs"]
mod supervisor;

use std::{io::Write, process::ExitCode, time::Duration};

use kills::{Figures, Killing};
use serinus::{clock, local::load::Outcome};

const PARTS: [&str; 4] = ["control", "worker", "upgrade", "supervisor"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(code) = roles::play(&arguments[1..]) {
        return code;
    }
    let after = |option: &str| {
        let at = arguments.iter().position(|it| it == option)?;
        arguments.get(at + 1).cloned()
    };
    let number = |option: &str, default: u32| {
        after(option).map_or(default, |it| it.parse().expect("a whole number after the option"))
    };
    let rate = f64::from(number("--rate", 2_000));
    let (times, seed) = (number("--kills", 1_000), number("--seed", 1).into());
    let asked = Killing { times, rate, late_after: Duration::from_secs(1), seed };
    println!("{rate} requests/s, open loop, never retried\n");
    println!(
        "| what | times | requests | failed | may fail | late | rollouts | decisions checked | outage, median and longest | s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let wanted = after("--part");
    for part in PARTS.into_iter().filter(|it| wanted.as_deref().is_none_or(|wanted| wanted == *it)) {
        row(part, &asked);
    }
    ExitCode::SUCCESS
}

fn row(part: &str, asked: &Killing) {
    let begin = clock::instant();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let progress = |n: u32| {
        if n.is_multiple_of(10) {
            eprint!("\r{part}: {n} of {}", asked.times);
            let _ = std::io::stderr().flush();
        }
    };
    let figures: Figures = runtime.block_on(async {
        match part {
            "control" => kills::control(asked, progress).await,
            "worker" => kills::worker(asked, progress).await,
            "upgrade" => kills::upgrade(asked, progress).await,
            _ => kills::supervisor(asked, progress).await,
        }
    });
    eprint!("\r\x1b[K");
    let report = &figures.report;
    let late = report.count(Outcome::Late);
    println!(
        "| {part} | {} | {} | {} | {} | {late} | {} | {} | {} | {:.0} |",
        asked.times,
        report.requests,
        report.failed() - late,
        figures.may_fail,
        figures.rollouts,
        figures.checked.decisions,
        outage(figures.outages),
        begin.elapsed().as_secs_f64(),
    );
    for record in report.bad.iter().filter(|it| it.outcome.is_failed()).take(5) {
        eprintln!("{record:?}");
    }
}

fn outage(mut outages: Vec<Duration>) -> String {
    outages.sort();
    let ms = |it: &Duration| format!("{} ms", it.as_millis());
    match (outages.get(outages.len() / 2), outages.last()) {
        (Some(median), Some(longest)) => format!("{}, {}", ms(median), ms(longest)),
        _ => "none".to_owned(),
    }
}
