//! What the running product does, measured from outside on the real program: how fast an abort ends the canary's
//! traffic, what an instance at rest costs, and whom a bad version hurts.
//!
//! `cargo bench --bench runtime -- abort [TIMES]`, `-- idle [SECONDS]`, `-- many [ROLLOUTS] [SECONDS]`,
//! `-- rollback [RUNS]`, `-- dead [RUNS]`, `-- healthy [RUNS]`. Each prints its own table; without arguments most of them
//! run, at a small size. `SERINUS` names another program to measure than the one built here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on has nothing to say, and reads the clock"
)]

mod abort;
mod idle;
mod instance;
mod many;
mod release;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let nth = |n: usize, usual: u64| arguments.get(n).map_or(usual, |it| it.parse().expect("a number"));
    let number = |usual: u64| nth(1, usual);
    match arguments.first().map(String::as_str) {
        Some("abort") => abort::measure(number(100)),
        Some("idle") => idle::measure(number(30)),
        Some("many") => many::measure(nth(1, 200), nth(2, 20)),
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
            eprintln!(
                "there is no figure named {other}; there are abort, idle, many, rollback, dead and healthy"
            );
            std::process::exit(2);
        }
    }
}

/// The smallest value that this share of the sorted values does not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
