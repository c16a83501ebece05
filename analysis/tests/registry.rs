//! What holds for every judge in the registry.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::time::Duration;

use analysis::{
    Answers, AnyJudge, Counts, Histogram, Measured, Missing, PodsSeen, Poll, Setting, Verdict,
    judge::Needs,
    poll::{Drawn, Grown},
};
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

/// Every option of each judge that says what becomes of what is missing, or when a pass is due.
fn documents() -> Vec<AnyJudge> {
    let of = |name: &str| -> Vec<String> {
        match name {
            "sequential" => ["{}", r#"{"warmUp":"0s"}"#, r#"{"objective":"99%","warmUp":"0s"}"#]
                .into_iter()
                .chain([
                    r#"{"range":{"from":0,"to":1},"warmUp":"0s"}"#,
                    r#"{"promote":{"negligible":"50%"}}"#,
                ])
                .map(str::to_owned)
                .collect(),
            "threshold" => thresholds(),
            "kayenta" => kayentas(),
            "fixedHorizon" => ["mannWhitney", "welch", "kolmogorovSmirnov", "rateRatio", "fisher"]
                .into_iter()
                .flat_map(|test| ["higher", "lower", "different"].map(|fails| (test, fails)))
                .map(|(test, fails)| format!(r#"{{"test":"{test}","after":"1m","failsWhen":"{fails}"}}"#))
                .collect(),
            "answers" => vec!["{}".to_owned(), r#"{"moreThan":"1x","negligible":"50%"}"#.to_owned()],
            "leak" => vec!["{}".to_owned(), r#"{"moreThan":"1.01x","alpha":"50%"}"#.to_owned()],
            _ => vec!["{}".to_owned()],
        }
    };
    let read = |name: &str, body: &str| {
        let read = serde_json::from_str(&format!(r#"{{"{name}":{body}}}"#));
        read.unwrap_or_else(|error| panic!("{name} {body}: {error}"))
    };
    AnyJudge::NAMES.iter().flat_map(|name| of(name).into_iter().map(|body| read(name, &body))).collect()
}

fn thresholds() -> Vec<String> {
    let mut all = Vec::new();
    for condition in [r#""fail":"result > 5.0""#, r#""pass":"result < 5.0""#, r#""fail":"result > baseline""#]
    {
        for no_data in ["inconclusive", "pass", "fail", "error", "ignore"] {
            for end in ["", r#","count":3"#, r#","consecutiveSuccessLimit":2"#] {
                let limits = r#""failureLimit":-1,"inconclusiveLimit":-1,"consecutiveErrorLimit":-1"#;
                all.push(format!(r#"{{{condition},"noData":"{no_data}",{limits}{end}}}"#));
            }
        }
    }
    all
}

fn kayentas() -> Vec<String> {
    let mut all = Vec::new();
    for nan in ["remove", "replace"] {
        for direction in ["increase", "decrease", "either"] {
            for flag in ["", r#","critical":true"#, r#","mustHaveData":true"#, r#","muted":true"#] {
                for look in ["", r#","interval":"5m""#, r#","lifetime":"6m","lookback":"2m""#] {
                    let canary = format!(r#"{{"nanStrategy":"{nan}","direction":"{direction}"{flag}}}"#);
                    all.push(format!(
                        r#"{{"canary":{canary},"scoreThresholds":{{"pass":1,"marginal":0}}{look}}}"#
                    ));
                }
            }
        }
    }
    all
}

/// What comes when nothing, or only one side, is measured.
fn worthless() -> Vec<Measured> {
    let both = |value: f64| Measured::Values { canary: vec![value], baseline: vec![value] };
    let missing = [
        Missing::NoData,
        Missing::NotFinite,
        Missing::NotOneNumber,
        Missing::Stale,
        Missing::Partial,
        Missing::Error,
    ];
    let mut all: Vec<Measured> = missing.into_iter().map(Measured::Missing).collect();
    all.extend([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(both));
    all.push(Measured::Values { canary: vec![], baseline: vec![] });
    all.push(Measured::Counts { canary: Counts::default(), baseline: Some(Counts::default()) });
    all.extend(one_sided(false));
    all
}

/// Readings of the canary alone, or of what it is compared with alone.
fn one_sided(of_canary: bool) -> Vec<Measured> {
    let (some, none) = (vec![1.0], vec![]);
    let (counted, nothing) = (Counts::new(100, 0), Counts::default());
    let (ended, quiet) = (vec![90, 100], vec![0, 0]);
    let bounds = vec![0.1];
    let (answered, silent) = (Answers { success: 100, ..Answers::default() }, Answers::default());
    let some_memory = Grown { processes: 1, level: 1e8, grown: 0.0 };
    match of_canary {
        true => vec![
            Measured::Values { canary: some, baseline: none },
            Measured::Values { canary: vec![1.0], baseline: vec![f64::NAN] },
            Measured::Counts { canary: counted, baseline: Some(nothing) },
            Measured::Counts { canary: counted, baseline: None },
            Measured::Histogram(Histogram { bounds, canary: ended, baseline: quiet }),
            Measured::Answers { canary: answered, baseline: Some(silent), drawn: Drawn::Alike },
            Measured::Answers { canary: answered, baseline: None, drawn: Drawn::Alike },
            Measured::Memory { canary: some_memory, stable: Grown::default() },
        ],
        false => vec![
            Measured::Values { canary: none, baseline: some },
            Measured::Counts { canary: nothing, baseline: Some(counted) },
            Measured::Histogram(Histogram { bounds, canary: quiet, baseline: ended }),
            Measured::Answers { canary: silent, baseline: Some(answered), drawn: Drawn::Alike },
            Measured::Memory { canary: Grown::default(), stable: some_memory },
        ],
    }
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

#[track_caller]
fn never_passes(judge: &AnyJudge, readings: &[Measured]) {
    let mut it = judge.begin(setting());
    for second in 1..=1200i64 {
        it.observe(&poll(second, readings[second as usize % readings.len()].clone()));
        assert!(it.verdict() != Verdict::Pass, "{judge:?} passes on {readings:?}");
        assert!(it.finding().verdict == it.verdict(), "{judge:?}");
    }
}

/// A pass needs samples of every side that is compared, whatever the judge, its options, and the kind of silence;
/// also where one silence follows another.
#[test]
fn what_was_not_measured_never_passes() {
    for judge in documents() {
        let mut worthless = worthless();
        if judge.needs() == Needs::Baseline {
            worthless.extend(one_sided(true));
        }
        for measured in &worthless {
            never_passes(&judge, std::slice::from_ref(measured));
        }
        let of_canary = |it: &Measured| it.sides().canary;
        let mixed: Vec<Measured> = worthless.into_iter().filter(|it| !of_canary(it)).collect();
        never_passes(&judge, &mixed);
    }
}

/// The property above would hold of judges that never pass.
#[test]
fn every_kind_of_judge_passes_what_was_measured_and_is_good() {
    for name in AnyJudge::NAMES {
        let passes = documents().iter().filter(|it| it.name() == *name).any(|judge| {
            let readings = [
                Measured::Counts { canary: Counts::new(500, 0), baseline: Some(Counts::new(4500, 0)) },
                Measured::Values { canary: vec![1.0], baseline: vec![1.0] },
                Measured::Answers {
                    canary: Answers { success: 500, ..Answers::default() },
                    baseline: Some(Answers { success: 500, ..Answers::default() }),
                    drawn: Drawn::Alike,
                },
                Measured::Memory {
                    canary: Grown { processes: 1, level: 1e8, grown: 0.0 },
                    stable: Grown { processes: 1, level: 1e8, grown: 0.0 },
                },
                Measured::Pods {
                    canary: PodsSeen { desired: 1, ready: 1, ..PodsSeen::default() },
                    baseline: PodsSeen { desired: 1, ready: 1, ..PodsSeen::default() },
                },
            ];
            readings.iter().any(|measured| {
                let mut it = judge.begin(setting());
                (1..=1200).any(|second| {
                    it.observe(&poll(second, measured.clone()));
                    it.verdict() == Verdict::Pass
                })
            })
        });
        assert!(passes, "{name}");
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
