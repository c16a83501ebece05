//! The proxy worker beside nginx and HAProxy: CPU per request, latency in open loop, memory.
//!
//! `cargo bench --bench proxy -- [--rounds 5] [--seconds 8] [--rate 2000]`. All proxies stand in front of the same
//! two backends, get the same schedule of requests (seeded, open loop, latency from when a request was due), take
//! turns within each round, and run with one worker or thread. Ratios are taken within a round; medians over rounds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to say"
)]

mod contestants;
mod measure;

use std::time::Duration;

use contestants::{Contestant, Kind};
use measure::{Round, memory_of_idle_connections, round};

struct Options {
    rounds: usize,
    seconds: u64,
    rate: f64,
}

impl Options {
    fn read() -> Self {
        let mut options = Self { rounds: 5, seconds: 8, rate: 2_000.0 };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut number =
                || args.next().and_then(|n| n.parse::<f64>().ok()).expect("a number after the option");
            match arg.as_str() {
                "--rounds" => options.rounds = number() as usize,
                "--seconds" => options.seconds = number() as u64,
                "--rate" => options.rate = number(),
                _ => {}
            }
        }
        options
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("role-backend") => return contestants::backend(&args.next().unwrap()),
        Some("role-worker") => return contestants::worker(),
        _ => {}
    }
    let missing = contestants::missing();
    if !missing.is_empty() {
        eprintln!("this bench compares with programs that are not installed: {}", missing.join(", "));
        eprintln!("install them first, on Debian and Ubuntu: apt-get install {}", missing.join(" "));
        std::process::exit(2);
    }
    raise_file_limit();
    let options = Options::read();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(bench(&options));
}

fn raise_file_limit() {
    let resource = rustix::process::Resource::Nofile;
    let limit = rustix::process::getrlimit(resource);
    let _ = rustix::process::setrlimit(resource, rustix::process::Rlimit { current: limit.maximum, ..limit });
}

async fn bench(options: &Options) {
    let dir = tempfile::tempdir().unwrap();
    let contestants = contestants::start(dir.path());
    println!(
        "{} rounds of {} s at {} requests/s, 90/10 split, one thread each; {} cores",
        options.rounds,
        options.seconds,
        options.rate,
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    let idle: Vec<u64> = contestants.iter().map(Contestant::rss_kib).collect();
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); contestants.len()];
    for number in 0..options.rounds {
        for (at, contestant) in contestants.iter().enumerate() {
            let duration = Duration::from_secs(options.seconds);
            rounds[at].push(round(contestant, options.rate, duration, number as u64).await);
        }
        eprintln!("round {} of {} done", number + 1, options.rounds);
    }
    let nginx = contestants.iter().position(|contestant| contestant.kind == Kind::Nginx).unwrap();
    println!(
        "\n{:<22}{:>10}{:>9}{:>10}{:>10}{:>9}{:>9}",
        "", "CPU/req", "× nginx", "p50", "p99", "× nginx", "failed"
    );
    for (contestant, own) in contestants.iter().zip(&rounds) {
        let cpu = median(own.iter().map(|round| round.cpu_us));
        let cpu_ratio = median(own.iter().zip(&rounds[nginx]).map(|(own, nginx)| own.cpu_us / nginx.cpu_us));
        let (p50, p99) = (median(own.iter().map(|r| r.p50_us)), median(own.iter().map(|r| r.p99_us)));
        let p99_ratio = p99 / median(rounds[nginx].iter().map(|round| round.p99_us));
        let failed: u64 = own.iter().map(|round| round.failed).sum();
        println!(
            "{:<22}{cpu:>7.1} µs{cpu_ratio:>9.2}{p50:>7.0} µs{p99:>7.0} µs{p99_ratio:>9.2}{failed:>9}",
            contestant.kind.name()
        );
    }
    println!("\ngoals: CPU ≤ 1.00 × nginx (everything on ≤ 1.15), p99 ≤ 1.50 × nginx, 0 failed");
    println!("\n{:<22}{:>12}{:>28}", "", "RSS at start", "per 1,000 idle connections");
    for (contestant, idle) in contestants.iter().zip(idle) {
        let each = memory_of_idle_connections(contestant, 1_000).await;
        println!("{:<22}{:>8.1} MiB{:>24.1} MiB", contestant.kind.name(), mib(idle), mib(each));
    }
    println!("\ngoal: a worker at rest ≤ 20 MB");
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
