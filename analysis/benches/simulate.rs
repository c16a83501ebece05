//! Measures what the judges promise, on synthetic traffic, and prints the tables of `docs/statistics.md`:
//! `cargo bench -p analysis --bench simulate`. With a number behind `--`, runs per cell are divided by it; with words,
//! only those tables are made: `-- 10 equal damage`.

#![allow(clippy::expect_used, reason = "a command that fails loudly")]

#[path = "simulate/experiment.rs"]
mod experiment;
#[path = "simulate/guards.rs"]
mod guards;
#[path = "simulate/stalls.rs"]
mod stalls;
#[path = "simulate/traffic.rs"]
mod traffic;

use analysis::stats::planner::{self, Traffic};
use experiment::{
    Decider, Stopped, allowed, detections, largest_evidence, largest_latency_evidence, latency_detections,
    mean, median, promotions, sequential, share_reaching, wald,
};
use guards::{Different, Holds, answers, memory};
use stalls::{Service, Told, roll_backs};
use traffic::{Cell, POLL_S, POLLS, Shares, Slower};

const RATES: [(f64, f64); 8] = [
    (5.0, 0.001),
    (5.0, 0.01),
    (50.0, 0.001),
    (50.0, 0.01),
    (500.0, 0.001),
    (500.0, 0.01),
    (5000.0, 0.001),
    (5000.0, 0.01),
];

/// A table: its name on the command line, its runs per cell, and what makes it.
type Table = (&'static str, u64, fn(u64));

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let divide = arguments.iter().filter_map(|it| it.parse::<u64>().ok()).next().unwrap_or(1);
    let words: Vec<&String> = arguments.iter().filter(|it| it.parse::<u64>().is_err()).collect();
    let tables: [Table; 12] = [
        ("equal", 2000, equal_canaries),
        ("information", 400, information),
        ("damage", 400, damage),
        ("late", 400, late_onset),
        ("promotion", 400, promotion),
        ("latency", 600, latency),
        ("dispersion", 2000, dispersion),
        ("stalls", 400, stalling),
        ("answers", 1000, answering),
        ("memory", 1000, leaking),
        ("side", 200, side_by_side),
        ("planner", 200, planner_against_simulation),
    ];
    for (name, full, table) in tables {
        if words.is_empty() || words.iter().any(|it| *it == name) {
            table((full / divide).max(20));
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn equal_canaries(runs: u64) {
    println!(
        "\n## Equal canaries rolled back (drift, incidents; {runs} runs per cell, a look at every poll)\n"
    );
    println!(
        "| traffic, base rate | weight | worseThan | α = 5 % | α = 1 % | α = 0.1 % | within α + 3 s.e. |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut all = true;
    for worse_than in ["1x", "1.1x"] {
        for shares in [Shares::Fixed(0.1), Shares::Stepped] {
            for (per_s, rate) in RATES {
                let cell = Cell::new(per_s, rate).shares(shares).drifting();
                let largest = largest_evidence(cell, worse_than, runs, false);
                let got = [0.05, 0.01, 0.001].map(|alpha| share_reaching(&largest, alpha));
                let within =
                    [0.05, 0.01, 0.001].iter().zip(got).all(|(alpha, got)| got <= allowed(*alpha, runs));
                all &= within;
                let [a, b, c] = got.map(percent);
                let verdict = if within { "yes" } else { "NO" };
                println!(
                    "| {} | {} | {worse_than} | {a} | {b} | {c} | {verdict} |",
                    cell.name(),
                    shares.name()
                );
            }
        }
    }
    println!("\nEvery cell within its promise: {all}");
}

fn information(runs: u64) {
    println!("\n## Information at roll back / Wald's bound (clean traffic, 10 %, α = 1 %; {runs} runs)\n");
    for worse_than in ["1x", "1.1x"] {
        let judge = sequential(worse_than, 0.01);
        let mut ratios = Vec::new();
        println!(
            "| cell | factor | worseThan | Wald time | median time / Wald | information / bound | rolled back |"
        );
        println!("|---|---|---|---|---|---|---|");
        for (per_s, rate) in RATES {
            for psi in [1.5, 2.0, 5.0, 10.0] {
                let cell = Cell::new(per_s, rate).psi(psi);
                let (nats, seconds) = wald(cell, 0.01);
                if !(60.0..1500.0).contains(&seconds) {
                    continue;
                }
                let all = detections(cell, &judge, runs, POLLS);
                let power = all.iter().flatten().count() as f64 / all.len() as f64;
                let used = mean(all.iter().flatten().map(|it| it.bad * nats)) / -0.01f64.ln();
                let time = median(all.iter().map(|it| it.map(|it| it.seconds))) / seconds;
                if 0.95 < power {
                    ratios.push(used);
                }
                println!(
                    "| {} | {psi} | {worse_than} | {seconds:.0} s | {time:.2} | {used:.2} | {} |",
                    cell.name(),
                    percent(power)
                );
            }
        }
        let worst = ratios.iter().copied().fold(0.0, f64::max);
        println!("\nworseThan {worse_than}: mean {:.2}, worst {worst:.2}\n", mean(ratios.iter().copied()));
    }
}

fn damage(runs: u64) {
    println!("\n## Failed canary requests until roll back (500 /s, 0.1 %, 10 %, α = 1 %; {runs} runs)\n");
    println!("| factor | law | worseThan 1x | worseThan 1.1x |");
    println!("|---|---|---|---|");
    for psi in [1.5, 2.0, 3.0, 5.0, 10.0] {
        let cell = Cell::new(500.0, 0.001).psi(psi);
        let got = ["1x", "1.1x"].map(|worse_than| {
            let all = detections(cell, &sequential(worse_than, 0.01), runs, 4 * POLLS);
            mean(all.iter().flatten().map(|it| it.damage))
        });
        println!("| {psi} | {:.1} | {:.1} | {:.1} |", planner::damage(0.1, psi, 0.01), got[0], got[1]);
    }
}

fn late_onset(runs: u64) {
    println!("\n## Delay of a regression that begins late (×5, 500 /s, 0.1 %, 10 %, α = 1 %; {runs} runs)\n");
    println!("| onset | median delay | detected |");
    println!("|---|---|---|");
    for minutes in [0, 20, 40] {
        let cell = Cell { onset: minutes * 6, ..Cell::new(500.0, 0.001).psi(5.0).drifting() };
        let all = detections(cell, &sequential("1x", 0.01), runs, POLLS);
        let found = all.iter().flatten().count() as f64 / all.len() as f64;
        let delay = median(all.iter().map(|it| it.map(|it: Stopped| it.seconds)));
        println!("| {minutes} min | {delay:.0} s | {} |", percent(found));
    }
}

fn promotion(runs: u64) {
    println!("\n## Promotion (drift on, 10 %, margin 2x, α = 5 %; {runs} runs)\n");
    println!(
        "| cell | healthy: median time | promoted within the hour | at the margin: promoted | at twice the margin |"
    );
    println!("|---|---|---|---|---|");
    for (per_s, rate) in RATES {
        let cell = Cell::new(per_s, rate).drifting();
        let healthy = promotions(cell, "2x", runs);
        let share = |all: &[Option<f64>]| percent(all.iter().flatten().count() as f64 / all.len() as f64);
        println!(
            "| {} | {:.0} s | {} | {} | {} |",
            cell.name(),
            median(healthy.iter().copied()),
            share(&healthy),
            share(&promotions(cell.psi(2.0), "2x", runs)),
            share(&promotions(cell.psi(4.0), "2x", runs))
        );
    }
    println!("\nLargest share allowed at the margin: {}", percent(allowed(0.05, runs)));
}

fn latency(equal_runs: u64) {
    let runs = equal_runs / 4;
    println!("\n## Latency (Prometheus' default buckets, drift on, 10 %, α = 1 %)\n");
    println!("| traffic | equal canaries rolled back ({equal_runs} runs) | all +25 % | p99 alone +100 % |");
    println!("|---|---|---|---|");
    for per_s in [5.0, 50.0, 500.0] {
        let cell = Cell::new(per_s, 0.001).drifting();
        let equal = share_reaching(&largest_latency_evidence(cell, equal_runs), 0.01);
        let time = |slower| median(latency_detections(cell, slower, runs).into_iter());
        println!(
            "| {per_s} /s | {} | {:.0} s | {:.0} s |",
            percent(equal),
            time(Slower::All(1.25)),
            time(Slower::Tail(2.0))
        );
    }
}

fn dispersion(runs: u64) {
    println!("\n## Errors in clumps (500 /s, 10 %, drift on, an hour of history; {runs} runs)\n");
    println!("| mean clump | base rate | equal canaries rolled back at α = 1 %, without history | with |");
    println!("|---|---|---|---|");
    for rate in [0.001, 0.01] {
        for clump in [1.0, 1.5, 2.0, 5.0, 10.0] {
            let cell = Cell { clump, ..Cell::new(500.0, rate).drifting() };
            let got = [false, true]
                .map(|history| percent(share_reaching(&largest_evidence(cell, "1x", runs, history), 0.01)));
            println!("| {clump} | {} | {} | {} |", percent(rate), got[0], got[1]);
        }
    }
}

fn stalling(runs: u64) {
    let judge = |text: &str| serde_json::from_str(text).expect("a judge");
    let told = [
        ("nothing", Told::NOTHING),
        ("only what is beside", Told::BESIDE),
        ("7 s before, and beside", Told::both(7.0)),
        ("1 min before, and beside", Told::both(60.0)),
        ("1 h before, and beside", Told::both(3600.0)),
    ];
    let names = told.map(|it| it.0).join(" | ");
    let service = |stalls_every_s, median_s, slower| Service {
        per_s: 500.0,
        shares: Shares::Stepped,
        replicas: 2,
        median_s,
        stalls_every_s,
        slower,
    };
    println!("\n## Latency of processes that stall (500 /s, median 3 ms, two of stable and one canary)\n");
    println!("Equal canaries rolled back (stepped weight, the judge as it is by default; {runs} runs):\n");
    println!("| a process stalls every | {names} |\n|---|---|---|---|---|---|");
    for every in [f64::INFINITY, 60.0, 10.0, 3.0] {
        let share = |(_, told)| {
            let all =
                roll_backs(service(every, 0.003, Slower::No), told, &judge(r#"{"sequential":{}}"#), runs);
            percent(all.iter().flatten().count() as f64 / runs as f64)
        };
        let when = if every.is_finite() { format!("{every} s") } else { "never".to_owned() };
        println!("| {when} | {} |", told.map(share).join(" | "));
    }
    let runs = runs / 4;
    println!("\nMedian time to roll a slower canary back (10 %, worseThan 1x, no warm-up; {runs} runs):\n");
    println!("| slower, stalls, median | {names} |\n|---|---|---|---|---|---|");
    for (every, median_s) in [(f64::INFINITY, 0.080), (10.0, 0.080), (10.0, 0.003)] {
        for (name, slower) in [("all +25 %", Slower::All(1.25)), ("p99 alone +100 %", Slower::Tail(2.0))] {
            let service = Service { shares: Shares::Fixed(0.1), ..service(every, median_s, slower) };
            let time = |(_, told)| {
                let all = roll_backs(service, told, &sequential("1x", 0.01), runs);
                format!("{:.0} s", median(all.into_iter()))
            };
            let when = if every.is_finite() { format!("every {every} s") } else { "none".to_owned() };
            println!("| {name}, {when}, {:.0} ms | {} |", 1000.0 * median_s, told.map(time).join(" | "));
        }
    }
}

fn side_by_side(runs: u64) {
    println!("\n## Side by side on the same streams (10 %, drift on; {runs} runs)\n");
    println!(
        "| cell | judge | equal canary rolled back | ×2: detected, median, failed requests | ×5: the same |"
    );
    println!("|---|---|---|---|---|");
    for (per_s, rate) in [(5.0, 0.001), (50.0, 0.001), (500.0, 0.001), (500.0, 0.005), (500.0, 0.01)] {
        let cell = Cell::new(per_s, rate).drifting();
        for decider in [
            Decider::Sequential("1x"),
            Decider::Sequential("1.1x"),
            Decider::Argo,
            Decider::Flagger,
            Decider::Kayenta,
        ] {
            let of = |psi: f64| (0..runs).map(|seed| decider.decide(cell.psi(psi), seed)).collect::<Vec<_>>();
            let share =
                |all: &[Option<(f64, f64)>]| percent(all.iter().flatten().count() as f64 / runs as f64);
            let told = |all: &[Option<(f64, f64)>]| {
                let time = median(all.iter().map(|it| it.map(|it| it.0)));
                let failed = mean(all.iter().flatten().map(|it| it.1));
                format!("{}, {time:.0} s, {failed:.0}", share(all))
            };
            let (equal, double, fivefold) = (of(1.0), of(2.0), of(5.0));
            let name = decider.name();
            println!(
                "| {} | {name} | {} | {} | {} |",
                cell.name(),
                share(&equal),
                told(&double),
                told(&fivefold)
            );
        }
    }
}

fn planner_against_simulation(runs: u64) {
    println!("\n## Planner against simulation (clean traffic, α = 1 %; {runs} runs)\n");
    println!("| cell | weight | factor | predicted | simulated mean | predicted / simulated |");
    println!("|---|---|---|---|---|---|");
    let mut errors = Vec::new();
    for (per_s, rate) in RATES {
        for share in [0.05, 0.1, 0.25, 0.5] {
            for psi in [2.0, 5.0] {
                let traffic = Traffic { requests_per_s: per_s, bad_rate: rate, share, poll_s: POLL_S };
                let predicted = planner::seconds_to_detect(traffic, psi, 0.01);
                if !(30.0..1200.0).contains(&predicted) {
                    continue;
                }
                let cell = Cell::new(per_s, rate).psi(psi).shares(Shares::Fixed(share));
                let all = detections(cell, &sequential("1x", 0.01), runs, 6 * POLLS);
                let simulated = mean(all.iter().flatten().map(|it| it.seconds));
                let ratio = predicted / simulated;
                errors.push(ratio.ln().abs());
                println!(
                    "| {} | {} | {psi} | {predicted:.0} s | {simulated:.0} s | {ratio:.2} |",
                    cell.name(),
                    Shares::Fixed(share).name()
                );
            }
        }
    }
    println!("\nGeometric mean error: {}", percent(mean(errors.iter().copied()).exp_m1()));
}

/// How many of these came to an end, and when in the median.
fn came(runs: &[Option<f64>]) -> (String, String) {
    let failed = runs.iter().flatten().count() as f64 / runs.len() as f64;
    (percent(failed), format!("{:.0} s", median(runs.iter().copied())))
}

fn answering(runs: u64) {
    println!(
        "\n## How a canary answers (guard `answers`, looked at every second for an hour; {runs} runs)\n"
    );
    println!(
        "| traffic, weight | alike: rolled back | all 404 | 404 for one in ten more | lets in what stable refuses |"
    );
    println!("|---|---|---|---|---|");
    for per_s in [5.0, 50.0, 500.0] {
        for share in [0.05, 0.5] {
            let alike = came(&answers(per_s, share, Different::No, runs)).0;
            let each = [Different::NothingFound, Different::MoreNotFound, Different::LetsIn];
            let seen = each.map(|it| came(&answers(per_s, share, it, (runs / 10).max(20))));
            let cells = seen.map(|(failed, after)| format!("{failed}, {after}")).join(" | ");
            println!("| {per_s} /s, {:.0} % | {alike} | {cells} |", 100.0 * share);
        }
    }
}

fn leaking(runs: u64) {
    println!("\n## Memory (guard `memory`, two processes a side, an hour; {runs} runs)\n");
    println!("| the canary's processes | rolled back | in the median after |");
    println!("|---|---|---|");
    let same = Holds::AS_STABLE;
    let warm = |level: f64, tau_s: f64| Holds { level, from: 0.3, tau_s, ..same };
    let leak = |leak: f64, leaks_from_s: f64| Holds { leak, leaks_from_s, ..same };
    for (name, holds) in [
        ("as stable's", same),
        ("hold three times as much", Holds { level: 3.0, ..same }),
        ("warm up within a minute", warm(1.0, 20.0)),
        ("warm up over five minutes", warm(1.0, 100.0)),
        ("warm up over half an hour", warm(1.0, 600.0)),
        ("warm up over a minute, to twice as much", warm(2.0, 20.0)),
        ("warm up over five minutes, to twice as much", warm(2.0, 100.0)),
        ("warm up over half an hour, to twice as much", warm(2.0, 600.0)),
        ("warm up over half an hour, to three times as much", warm(3.0, 600.0)),
        ("leak all of it again every minute", leak(1.0, 0.0)),
        ("leak a fifth of it every minute", leak(0.2, 0.0)),
        ("leak a twentieth of it every minute", leak(0.05, 0.0)),
        ("leak a fiftieth of it every minute", leak(0.02, 0.0)),
        ("leak a fifth of it every minute, from minute 20 on", leak(0.2, 1200.0)),
    ] {
        let (failed, after) = came(&memory(holds, runs));
        println!("| {name} | {failed} | {after} |");
    }
}
