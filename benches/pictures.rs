//! Draws the pictures of `docs/judges.md` with the judges themselves: `cargo bench --bench pictures`. Seeded: the same
//! command draws the same.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a command that stops at the first mistake")]

#[path = "../analysis/benches/simulate/traffic.rs"]
#[allow(dead_code, reason = "shared with the simulator")]
mod traffic;

use std::{path::PathBuf, time::Duration};

use analysis::{
    AnyJudge, Counts, Measured, Poll, Setting, Verdict,
    stats::planner::{self, Traffic},
};
use serinus::chart::{Chart, Line};

use self::traffic::{Cell, POLL_S, POLLS, Run, at};

/// Equal canaries in the picture of looking often.
const EQUAL: u64 = 300;

fn judge(text: &str) -> AnyJudge {
    serde_json::from_str(text).unwrap()
}

fn setting() -> Setting {
    Setting::alone(at(0), Duration::from_secs_f64(POLLS as f64 * POLL_S))
}

fn poll(number: usize, run: &mut Run) -> Poll {
    let (weight, canary, baseline) = run.counts();
    Poll {
        at: at(number),
        weight: Some(weight),
        measured: Measured::Counts { canary, baseline: Some(baseline) },
    }
}

const ONE: &str = r#"{"sequential":{"rollBack":{"worseThan":"1x","alpha":0.01}}}"#;

/// Evidence of harm over time, for three canaries.
fn evidence() -> Chart {
    let mut lines = vec![];
    for (name, psi) in
        [("five times as many errors", 5.0), ("twice as many", 2.0), ("no more than stable", 1.0)]
    {
        let mut run = Run::new(Cell::new(500.0, 0.001).psi(psi), 11);
        let mut judging = judge(ONE).begin(setting());
        let mut points = vec![(0.0, 0.0)];
        for number in 1..=POLLS {
            judging.observe(&poll(number, &mut run));
            let evidence = judging.evidence().unwrap();
            points.push((number as f64 * POLL_S / 60.0, evidence.ln_e_bad.clamp(-3.0, 9.0)));
            if judging.verdict() == Verdict::Fail {
                break;
            }
        }
        lines.push(Line { name: name.to_owned(), points });
    }
    Chart {
        title: "Evidence that the canary is worse (500 requests/s, 0.1 % errors, 10 % weight)".to_owned(),
        x: "minutes",
        y: "ln E",
        mark: Some((100.0f64.ln(), "roll back at α = 1 %".to_owned())),
        lines,
    }
}

/// How many equal canaries were called worse by then: a test made for one look, and one made for many.
fn looking() -> Chart {
    let mut naive = vec![0u32; POLLS + 1];
    let mut sequential = vec![0u32; POLLS + 1];
    for seed in 0..EQUAL {
        let mut run = Run::new(Cell::new(500.0, 0.001), 1_000 + seed);
        let mut judging = judge(ONE).begin(setting());
        let (mut canary, mut baseline) = (Counts::default(), Counts::default());
        let (mut first_naive, mut first_sequential) = (None, None);
        for number in 1..=POLLS {
            let poll = poll(number, &mut run);
            if let Measured::Counts { canary: c, baseline: Some(b) } = &poll.measured {
                canary.add(*c);
                baseline.add(*b);
            }
            judging.observe(&poll);
            if first_naive.is_none() && z(canary, baseline) > 2.326 {
                first_naive = Some(number);
            }
            if first_sequential.is_none() && judging.verdict() == Verdict::Fail {
                first_sequential = Some(number);
            }
        }
        for (tally, first) in [(&mut naive, first_naive), (&mut sequential, first_sequential)] {
            if let Some(first) = first {
                tally[first..].iter_mut().for_each(|it| *it += 1);
            }
        }
    }
    let line = |name: &str, tally: &[u32]| Line {
        name: name.to_owned(),
        points: tally
            .iter()
            .enumerate()
            .map(|(n, it)| (n as f64 * POLL_S / 60.0, 100.0 * f64::from(*it) / EQUAL as f64))
            .collect(),
    };
    Chart {
        title: "Equal canaries called worse, in per cent, looking every ten seconds".to_owned(),
        x: "minutes",
        y: "% so far",
        mark: Some((1.0, "α = 1 %".to_owned())),
        lines: vec![line("a test for one look (z-test)", &naive), line("the sequential test", &sequential)],
    }
}

/// The z-score of the canary's rate against the baseline's.
fn z(canary: Counts, baseline: Counts) -> f64 {
    let (Some(c), Some(b)) = (canary.rate(), baseline.rate()) else { return 0.0 };
    let all = (canary.bad + baseline.bad) as f64 / (canary.total + baseline.total) as f64;
    let spread = (all * (1.0 - all) * (1.0 / canary.total as f64 + 1.0 / baseline.total as f64)).sqrt();
    if spread > 0.0 { (c - b) / spread } else { 0.0 }
}

/// The interval of the ratio as it narrows, for a canary that is three times as bad and is not rolled back.
fn interval() -> Chart {
    let never = r#"{"sequential":{"rollBack":{"worseThan":"1x","alpha":1e-300}}}"#;
    let mut run = Run::new(Cell::new(500.0, 0.001).psi(3.0), 5);
    let mut judging = judge(never).begin(setting());
    let mut lines = [("upper limit", vec![]), ("estimate", vec![]), ("lower limit", vec![])];
    for number in 1..=POLLS {
        judging.observe(&poll(number, &mut run));
        if number % 6 != 0 {
            continue;
        }
        let minutes = number as f64 * POLL_S / 60.0;
        let ratio = judging.evidence().and_then(|it| it.ratio);
        if let (Some((low, high)), Some(ratio)) = (judging.interval(), ratio) {
            for (line, value) in lines.iter_mut().zip([high, ratio, low]) {
                line.1.push((minutes, value.clamp(0.0, 12.0)));
            }
        }
    }
    Chart {
        title: "How many times as many errors the canary makes (true: 3)".to_owned(),
        x: "minutes",
        y: "ratio",
        mark: Some((3.0, "the truth".to_owned())),
        lines: lines.into_iter().map(|(name, points)| Line { name: name.to_owned(), points }).collect(),
    }
}

/// What a weight can see: minutes until a doubling of errors is noticed.
fn weight() -> Chart {
    let line = |requests_per_s: f64| Line {
        name: format!("{requests_per_s} requests/s"),
        points: (1..=50)
            .map(|percent| {
                let traffic = Traffic {
                    requests_per_s,
                    bad_rate: 0.001,
                    share: f64::from(percent) / 100.0,
                    poll_s: POLL_S,
                };
                (f64::from(percent), (planner::seconds_to_detect(traffic, 2.0, 0.01) / 60.0).min(120.0))
            })
            .collect(),
    };
    Chart {
        title: "Minutes until twice as many errors are noticed (0.1 % errors, α = 1 %)".to_owned(),
        x: "weight in %",
        y: "minutes",
        mark: Some((60.0, "one hour".to_owned())),
        lines: [50.0, 200.0, 500.0, 5000.0].map(line).into(),
    }
}

fn main() {
    let folder = PathBuf::from("docs/pictures");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, chart) in
        [("evidence", evidence()), ("looking", looking()), ("interval", interval()), ("weight", weight())]
    {
        std::fs::write(folder.join(format!("{name}.svg")), chart.svg()).unwrap();
    }
}
