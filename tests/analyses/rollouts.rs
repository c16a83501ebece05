use std::time::{Duration, Instant};

use crate::simulated::{Ended, Service, Traffic, default_canary, errors_alone};

#[test]
fn explore() {
    let t = Instant::now();
    let mut times = vec![];
    for seed in 0..20 {
        let (plan, definitions) = default_canary();
        let traffic = Traffic { per_s: 500.0, base: 0.01, canary: 0.01, slower: 1.0 };
        let mut service = Service::new(plan, definitions, traffic, seed);
        let ended = service.release(Duration::from_secs(3600));
        times.push((ended.seconds, ended.promoted()));
    }
    println!("{:?} {times:?}", t.elapsed());
    let t = Instant::now();
    let runs: Vec<Ended> = (0..100)
        .map(|seed| {
            let (plan, definitions) = errors_alone(10, 1.0);
            let traffic = Traffic { per_s: 500.0, base: 0.001, canary: 0.005, slower: 1.0 };
            Service::new(plan, definitions, traffic, seed).release(Duration::from_secs(3600))
        })
        .collect();
    println!(
        "{:?} rolled back {} mean failed {} mean s {}",
        t.elapsed(),
        runs.iter().filter(|it| it.rolled_back()).count(),
        runs.iter().map(|it| it.canary_failed).sum::<u64>() as f64 / 100.0,
        runs.iter().map(|it| it.seconds).sum::<f64>() / 100.0
    );
    for percent in [5, 10, 50] {
        let (plan, definitions) = errors_alone(percent, 1.0);
        let traffic = Traffic { per_s: 500.0, base: 0.001, canary: 1.0, slower: 1.0 };
        let it = Service::new(plan, definitions, traffic, 1).release(Duration::from_secs(3600));
        println!("{percent} doa {it:?}");
    }
}
