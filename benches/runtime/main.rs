//! What the running product does, measured from outside on the real program: how fast an abort ends the canary's
//! traffic, what an instance at rest costs, and whom a bad version hurts.
//!
//! `cargo bench --bench runtime -- abort [TIMES]`, `-- idle [SECONDS]`, `-- rollback [RUNS]`, `-- dead [RUNS]`,
//! `-- healthy [RUNS]`. Each prints its own table; without arguments all but the last run, at a small size.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on has nothing to say, and reads the clock"
)]

mod abort;
mod idle;
mod instance;
mod release;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let number = |usual: u64| arguments.get(1).map_or(usual, |it| it.parse().expect("a number"));
    match arguments.first().map(String::as_str) {
        Some("abort") => abort::measure(number(100)),
        Some("idle") => idle::measure(number(30)),
        Some("rollback") => release::rollback(number(10)),
        Some("dead") => release::dead_on_arrival(number(10)),
        Some("healthy") => release::healthy(number(3)),
        None => {
            abort::measure(10);
            idle::measure(10);
            release::rollback(2);
            release::dead_on_arrival(2);
        }
        Some(other) => {
            eprintln!("there is no figure named {other}; there are abort, idle, rollback, dead and healthy");
            std::process::exit(2);
        }
    }
}

/// The smallest value that this share of the sorted values does not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
