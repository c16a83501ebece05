//! What holds for every judge in the registry.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::time::Duration;

use analysis::{AnyJudge, Counts, Measured, Missing, Poll, Setting, Verdict};
use jiff::Timestamp;

/// The shortest document of each judge.
fn examples() -> Vec<(&'static str, AnyJudge)> {
    AnyJudge::NAMES
        .iter()
        .map(|name| {
            let body = match *name {
                "threshold" => r#"{"fail":"result > 5.0"}"#,
                "fixedHorizon" => r#"{"test":"welch","after":"1m"}"#,
                _ => "{}",
            };
            let read = serde_json::from_str(&format!(r#"{{"{name}":{body}}}"#));
            (*name, read.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect()
}

/// Readings that nobody should call healthy: silence, nonsense, and the wrong kind.
fn worthless() -> Vec<Measured> {
    let values = |canary: f64| Measured::Values { canary: vec![canary], baseline: vec![canary] };
    let missing = [
        Missing::NoData,
        Missing::NotFinite,
        Missing::NotOneNumber,
        Missing::Stale,
        Missing::Partial,
        Missing::Error,
    ];
    let mut all: Vec<Measured> = missing.into_iter().map(Measured::Missing).collect();
    all.extend([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(values));
    all.push(Measured::Values { canary: vec![], baseline: vec![] });
    all.push(Measured::Counts { canary: Counts::default(), baseline: Some(Counts::default()) });
    all
}

fn poll(second: i64, measured: Measured) -> Poll {
    Poll { at: Timestamp::from_second(second).unwrap(), weight: Some(0.1), measured }
}

fn setting() -> Setting {
    Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(600))
}

/// A stream with something for everybody.
fn stream() -> impl Iterator<Item = Poll> {
    (1..=700i64).map(|t| {
        let arm = |by: u64| Counts::new(50 * by, (t as u64 * 7 + by) % 5);
        let wave = |by: f64| 1.0 + 0.1 * (t as f64 * by).sin();
        let measured = match t % 4 {
            0 => Measured::Missing(Missing::NoData),
            1 => Measured::Values { canary: vec![wave(1.3)], baseline: vec![wave(0.7)] },
            _ => Measured::Counts { canary: arm(1), baseline: Some(arm(9)) },
        };
        poll(t, measured)
    })
}

#[test]
fn no_judge_passes_on_worthless_readings() {
    for (name, judge) in examples() {
        for measured in worthless() {
            let mut it = judge.begin(setting());
            for second in 1..=1200 {
                it.observe(&poll(second, measured.clone()));
                assert!(it.verdict() != Verdict::Pass, "{name} passes on {measured:?}");
            }
        }
    }
}

#[test]
fn every_judge_goes_on_from_a_checkpoint_as_if_never_interrupted() {
    for (name, judge) in examples() {
        let (mut straight, mut resumed) = (judge.begin(setting()), judge.begin(setting()));
        for poll in stream() {
            straight.observe(&poll);
            resumed.observe(&poll);
            let stored = serde_json::to_string(&resumed.checkpoint()).unwrap();
            resumed =
                judge.resume(setting(), serde_json::from_str(&stored).unwrap()).expect("the same judge");
        }
        assert_eq!(straight.checkpoint(), resumed.checkpoint(), "{name}");
        assert_eq!(straight.finding(), resumed.finding(), "{name}");
    }
}

#[test]
fn every_checkpoint_is_bounded_in_size() {
    for (name, judge) in examples() {
        let mut it = judge.begin(setting());
        let mut sizes = Vec::new();
        for day in 0..12i64 {
            for t in 0..1440 {
                let minute = day * 1440 + t;
                let value = 1.0 + 0.1 * (minute as f64).sin();
                let values = Measured::Values {
                    canary: vec![value],
                    baseline: vec![1.0 + 0.1 * (minute as f64).cos()],
                };
                it.observe(&poll(60 * (minute + 1), values));
            }
            sizes.push(serde_json::to_vec(&it.checkpoint()).unwrap().len());
        }
        assert!(sizes[11] <= sizes[5] + 64, "{name}: {sizes:?}");
    }
}

#[test]
fn every_judge_is_written_under_its_name_and_refuses_unknown_fields() {
    for (name, judge) in examples() {
        let written = serde_json::to_value(&judge).unwrap();
        let fields: Vec<&String> = written.as_object().unwrap().keys().collect();
        assert_eq!(fields, [name]);
        assert_eq!(judge.check(), [], "{name}");
        let unknown = format!(r#"{{"{name}":{{"tpyo":1}}}}"#);
        let refusal = serde_json::from_str::<AnyJudge>(&unknown).unwrap_err().to_string();
        assert!(refusal.contains("tpyo"), "{name}: {refusal}");
    }
}
