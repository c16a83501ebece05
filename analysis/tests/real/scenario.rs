//! Pods of two arms that are scraped every 15 seconds for ten minutes, and what they really counted.

use std::collections::BTreeMap;

use crate::remote_write::{Written, series};

/// Time between two scrapes.
const EVERY_MS: i64 = 15_000;

/// Scrapes of each pod.
const SCRAPES: i64 = 40;

/// What there is to be read, and what it must come to.
pub(crate) struct Scenario {
    pub(crate) written: Vec<Written>,
    /// All and bad events by arm, of the time when they count.
    pub(crate) expected: BTreeMap<&'static str, (u64, u64)>,
    pub(crate) began: i64,
    pub(crate) end: i64,
}

/// One counter: when it is scraped, and what it says then.
struct Counter {
    labels: Vec<(&'static str, String)>,
    samples: Vec<(i64, f64)>,
    /// What it adds from when counting began.
    counts: u64,
}

/// `pods` pods with `paths` counters for good and for bad events each, per arm: 500 series and more.
pub(crate) fn scenario(start: i64, pods: usize, paths: usize) -> Scenario {
    let began = start + 60_000;
    let mut all =
        Scenario { written: vec![], expected: BTreeMap::new(), began, end: start + SCRAPES * EVERY_MS };
    for arm in ["canary", "stable"] {
        for pod in 0..pods {
            for path in 0..paths {
                for code in ["200", "500"] {
                    let counter = counter(arm, pod, path, code, start, began);
                    let of_arm = all.expected.entry(arm).or_default();
                    of_arm.0 += counter.counts;
                    of_arm.1 += if code == "500" { counter.counts } else { 0 };
                    all.written.extend(written(pod, &counter));
                }
            }
        }
    }
    all
}

fn counter(arm: &str, pod: usize, path: usize, code: &str, start: i64, began: i64) -> Counter {
    let labels = vec![
        ("__name__", "http_requests_total".to_owned()),
        ("pod", format!("shop-{arm}-{pod}")),
        ("instance", format!("10.0.{}.{pod}:8080", usize::from(arm == "stable"))),
        ("job", "shop".to_owned()),
        ("service", "shop".to_owned()),
        ("path", format!("/{path}")),
        ("code", code.to_owned()),
    ];
    let offset = (pod as i64 * 1_237) % EVERY_MS;
    let step = if code == "200" { 7 + path as i64 } else { (pod + path) as i64 % 3 };
    let (mut value, mut counts, mut samples) = (1000 * pod as i64, 0, vec![]);
    for turn in 0..SCRAPES {
        // Pod 3 leaves, pod 6 comes late, one counter of pod 7 is born late, pods 4 and 5 restart.
        let away = (pod == 3 && turn > 20) || (pod == 6 && turn < 15) || (pod == 7 && path == 1 && turn < 12);
        if away {
            continue;
        }
        let born = samples.is_empty() && turn > 0;
        let restarts = (pod == 4 && turn == 18) || (pod == 5 && (turn == 25 || turn == 26));
        let before = value;
        value = match (born, restarts) {
            (true, _) => 3,
            // A second restart at once: what begins anew at the same value cannot be told from standing still.
            (false, true) => 2 - i64::from(turn == 26),
            (false, false) => before + step,
        };
        let at = start + offset + turn * EVERY_MS;
        let has_base = samples.last().is_some_and(|(before, _)| began <= *before);
        counts += match (born || restarts, has_base || (born && began < at)) {
            (_, false) => 0,
            (true, true) => value,
            (false, true) => value - before,
        };
        samples.push((at, value as f64));
    }
    Counter { labels, samples, counts: counts as u64 }
}

/// As it is scraped: pod 1 by two jobs, pod 2 by two Services of one job, each in its own rhythm.
fn written(pod: usize, counter: &Counter) -> Vec<Written> {
    let of = |other: &[(&str, &str)], shift: i64| {
        let replaced = |name: &str| other.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());
        let labels: Vec<(&str, String)> = counter
            .labels
            .iter()
            .map(|(name, it)| (*name, replaced(name).unwrap_or_else(|| it.clone())))
            .collect();
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, it)| (*name, it.as_str())).collect();
        // What a scrape in between finds is what was there at the scrape before.
        let samples = counter.samples.iter().map(|(at, value)| (at + shift, *value)).collect();
        series(&labels, samples)
    };
    match pod {
        1 => vec![of(&[], 0), of(&[("job", "shop-canary"), ("service", "shop-canary")], 6_001)],
        2 => vec![of(&[], 0), of(&[("service", "shop-canary")], 6_001)],
        _ => vec![of(&[], 0)],
    }
}
