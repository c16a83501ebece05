use serde_json::Value;

use super::*;

const ERRORS: &str = "signals: { errors: { sequential: { rollBack: { worseThan: 1x }, warmUp: 0s } } }";

/// What came of it: the exit code, the lines written, the complaints.
struct Came {
    code: u8,
    lines: Vec<Value>,
    complaints: String,
}

fn with(config: &str, flags: &[&str], input: &str) -> Came {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("judge.yaml");
    std::fs::write(&path, config).unwrap();
    let has = |flag| flags.contains(&flag);
    let output = if has("text") { Output::Text } else { Output::Json };
    let args = JudgeArgs { config: path, output, final_only: has("final-only"), ratio: has("ratio") };
    let (mut out, mut complaints) = (Vec::new(), Vec::new());
    let code = run(&args, &mut input.as_bytes(), &mut out, &mut complaints).code();
    let out = String::from_utf8(out).unwrap();
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| Value::from(line));
    Came { code, lines: out.lines().map(line).collect(), complaints: String::from_utf8(complaints).unwrap() }
}

fn poll(run: &str, t: u32, canary: (u64, u64), baseline: (u64, u64)) -> String {
    let ((n, x), (m, y)) = (canary, baseline);
    format!(
        r#"{{"run":"{run}","t":{t},"signal":"errors","canary":{{"total":{n},"bad":{x}}},"baseline":{{"total":{m},"bad":{y}}},"weight":0.10}}"#
    ) + "\n"
}

/// Polls of `run` every `step` seconds until `end`.
fn polls(run: &str, step: u32, end: u32, canary: (u64, u64), baseline: (u64, u64)) -> String {
    (step..=end).step_by(step as usize).map(|t| poll(run, t, canary, baseline)).collect()
}

fn verdicts(came: &Came) -> Vec<&str> {
    came.lines.iter().map(|it| it["verdict"].as_str().unwrap()).collect()
}

#[test]
fn a_healthy_run_passes_and_a_bad_one_fails() {
    let came = with(ERRORS, &[], &polls("r1", 10, 600, (500, 5), (4500, 45)));
    assert_eq!((came.code, *verdicts(&came).last().unwrap()), (0, "pass"), "{}", came.complaints);
    let came = with(ERRORS, &[], &polls("r1", 10, 600, (500, 25), (4500, 45)));
    assert_eq!((came.code, *verdicts(&came).last().unwrap()), (3, "fail"));
}

#[test]
fn every_poll_is_answered_with_its_numbers() {
    let came = with(ERRORS, &[], &poll("r1", 10, (50, 1), (450, 3)));
    assert_eq!(came.lines.len(), 2, "a poll and the end");
    let it = &came.lines[0];
    assert_eq!((it["run"].as_str(), it["t"].as_i64()), (Some("r1"), Some(10)));
    assert_eq!(it["lnEBad"], it["signals"]["errors"]["lnEBad"]);
    assert!(it["lnEGood"].is_f64() && it["signals"]["errors"]["phi"] == 1.0);
    assert_eq!(it["signals"]["errors"]["ratio"][0], Value::Null);
    assert_eq!(it["signals"]["errors"]["ratio"][1], 3.0);
    assert_eq!(it["verdict"], "pending");
    assert!(it["warnings"][0].as_str().unwrap().starts_with("dispersion unknown"));
    assert!(it.get("end").is_none());
}

#[test]
fn bounds_of_the_ratio_come_with_a_verdict_at_the_end_and_on_request() {
    let input = polls("r1", 10, 100, (500, 6), (4500, 45));
    let bounded = |came: &Came| -> Vec<bool> {
        came.lines.iter().map(|it| it["signals"]["errors"]["ratio"][0].is_f64()).collect()
    };
    let came = with(ERRORS, &[], &input);
    let passed = verdicts(&came).iter().position(|it| *it == "pass").unwrap();
    let expected: Vec<bool> =
        (0..came.lines.len()).map(|i| i == passed || i + 1 == came.lines.len()).collect();
    assert_eq!(bounded(&came), expected);
    assert!(bounded(&with(ERRORS, &["ratio"], &input)).iter().all(|it| *it));
}

#[test]
fn runs_are_independent_and_the_exit_code_of_several_is_zero() {
    let alone = with(ERRORS, &["final-only"], &polls("bad", 10, 300, (500, 25), (4500, 45)));
    let both: String = (10..=300)
        .step_by(10)
        .map(|t| poll("bad", t, (500, 25), (4500, 45)) + &poll("good", t, (500, 5), (4500, 45)))
        .collect();
    let both = with(ERRORS, &["final-only"], &both);
    assert_eq!(both.lines[0], alone.lines[0]);
    assert_eq!((both.code, verdicts(&both)), (0, vec!["fail", "pass"]));
}

#[test]
fn an_end_makes_pending_inconclusive_and_nothing_may_follow() {
    let input = poll("r1", 10, (50, 0), (450, 3)) + "{\"run\":\"r1\",\"end\":true}\n";
    let came = with(ERRORS, &[], &input);
    assert_eq!((came.code, verdicts(&came)), (4, vec!["pending", "inconclusive"]));
    assert_eq!(came.lines[1]["end"], true);
    let came = with(ERRORS, &[], &(input + &poll("r1", 20, (50, 0), (450, 3))));
    assert!(came.code == 2 && came.complaints.contains("line 3: run `r1` has ended"), "{}", came.complaints);
}

#[test]
fn a_run_that_only_stops_is_inconclusive_too() {
    let came = with(ERRORS, &["final-only"], &poll("r1", 10, (50, 0), (450, 3)));
    assert_eq!((came.code, verdicts(&came)), (4, vec!["inconclusive"]));
}

#[test]
fn the_deadline_makes_pending_inconclusive_and_what_follows_changes_nothing() {
    let config = format!("{ERRORS}\ndeadline: 60s");
    let input = polls("r1", 10, 60, (50, 0), (450, 0));
    let late: String = (70..=90).step_by(10).map(|t| poll("r1", t, (500, 500), (4500, 0))).collect();
    let came = with(&config, &[], &(input + &late));
    assert_eq!(
        verdicts(&came)[4..],
        ["pending", "inconclusive", "inconclusive", "inconclusive", "inconclusive", "inconclusive"]
    );
}

#[test]
fn a_pass_is_taken_back_when_the_canary_turns_bad() {
    let late: String = (610..=700).step_by(10).map(|t| poll("r1", t, (500, 50), (4500, 45))).collect();
    let came = with(ERRORS, &[], &(polls("r1", 10, 600, (500, 5), (4500, 45)) + &late));
    assert!(verdicts(&came).contains(&"pass"));
    assert_eq!(came.code, 3);
}

#[test]
fn a_second_is_judged_as_well_as_ten() {
    let fine = with(ERRORS, &[], &polls("r1", 1, 60, (50, 3), (450, 5)));
    let coarse = with(ERRORS, &[], &polls("r1", 10, 60, (500, 30), (4500, 50)));
    let first =
        |came: &Came| came.lines.iter().find(|it| it["verdict"] == "fail").unwrap()["t"].as_i64().unwrap();
    assert!(first(&fine) <= first(&coarse));
    let ln = |came: &Came| came.lines.last().unwrap()["lnEBad"].as_f64().unwrap();
    assert!(ln(&fine) >= 4.6 && ln(&coarse) >= 4.6);
}

#[test]
fn calibration_sets_the_dispersion_and_is_no_evidence() {
    let before: String = (1..=60)
        .map(|minute| {
            let pods = r#"[{"total":1000,"bad":80},{"total":1000,"bad":0},{"total":1000,"bad":0},{"total":1000,"bad":0}]"#;
            let t = -3600 + 60 * (minute - 1);
            format!(r#"{{"run":"r1","t":{t},"signal":"errors","phase":"before","pods":{pods}}}"#) + "\n"
        })
        .collect();
    let came = with(ERRORS, &[], &(before + &poll("r1", 10, (500, 30), (4500, 50))));
    assert_eq!(came.lines.len(), 2, "{}", came.complaints);
    assert!(came.lines[0]["signals"]["errors"]["phi"].as_f64().unwrap() > 20.0);
    assert_eq!(came.lines[0]["verdict"], "pending");
    assert!(came.lines[0]["warnings"][0].as_str().unwrap().contains("clump"));
}

#[test]
fn several_signals_are_answered_once_per_poll() {
    let config =
        "signals: { errors: { sequential: { warmUp: 0s } }, latency: { sequential: { warmUp: 0s } } }";
    let latency = |t: u32| {
        let arms = r#""bounds":[0.1,0.5],"canary":{"buckets":[400,480,500]},"baseline":{"buckets":[3600,4320,4500]}"#;
        format!(r#"{{"run":"r1","t":{t},"signal":"latency",{arms}}}"#) + "\n"
    };
    let input: String =
        (10..=600).step_by(10).map(|t| poll("r1", t, (500, 5), (4500, 45)) + &latency(t)).collect();
    let came = with(config, &[], &input);
    assert_eq!((came.code, came.lines.len()), (0, 61), "{}", came.complaints);
    assert!(came.lines[0]["signals"]["latency"]["lnEBad"].is_f64());
    // One that lags is said with what there is, as soon as the next poll begins.
    let came = with(config, &[], &(poll("r1", 10, (500, 5), (4500, 45)) + &latency(20)));
    assert_eq!(came.lines.iter().map(|it| it["t"].as_i64().unwrap()).collect::<Vec<_>>(), [10, 20, 20]);
}

#[test]
fn gauges_and_thresholds_are_judged() {
    let config = r#"signals: { cpu: { threshold: { pass: "result < 0.8", failureLimit: 2 } } }"#;
    let gauge = |t: u32, value: f64| {
        format!(r#"{{"run":"r1","t":{t},"signal":"cpu","canary":{{"value":{value}}}}}"#) + "\n"
    };
    let good: String = (1..9).map(|i| gauge(10 * i, 0.5)).collect();
    assert_eq!(with(config, &["final-only"], &good).code, 0);
    let bad: String = (1..9).map(|i| gauge(10 * i, 0.9)).collect();
    assert_eq!(with(config, &["final-only"], &bad).code, 3);
}

#[test]
fn what_was_not_measured_passes_by_no_option_of_a_judge() {
    let one_side = r#""canary":{"values":[]},"baseline":{"values":[1]}"#;
    let nothing = r#""canary":{"values":[]},"baseline":{"values":[]}"#;
    for judge in [
        "kayenta: { canary: { direction: increase, nanStrategy: replace }, step: 10s, lifetime: 60s }",
        "threshold: { pass: result < 10.0, noData: pass, count: 3, consecutiveErrorLimit: -1, inconclusiveLimit: -1 }",
    ] {
        for sides in [one_side, nothing] {
            let polls: String = (1..=30)
                .map(|i| format!(r#"{{"run":"r1","t":{},"signal":"e",{sides}}}"#, 10 * i) + "\n")
                .collect();
            let came = with(&format!("signals: {{ e: {{ {judge} }} }}"), &[], &polls);
            assert!(!verdicts(&came).contains(&"pass"), "{judge} {sides} {}", came.complaints);
            assert_eq!(verdicts(&came).last(), Some(&"inconclusive"), "{judge} {sides} {}", came.complaints);
        }
    }
}

#[test]
fn an_arm_that_is_missing_decides_nothing() {
    let lonely = r#"{"run":"r1","t":10,"signal":"errors","canary":{"total":500,"bad":500},"weight":0.1}"#;
    let came = with(ERRORS, &[], &format!("{lonely}\n"));
    assert_eq!(came.lines[0]["lnEBad"], 0.0);
    assert!(came.lines[0]["warnings"].to_string().contains("incomplete"), "{}", came.lines[0]);
}

#[track_caller]
fn wrong(line: &str, part: &str) {
    let input = polls("r1", 10, 600, (500, 5), (4500, 45)) + line + "\n";
    let came = with(ERRORS, &["final-only"], &input);
    assert_eq!(came.code, 2, "{line}");
    assert!(
        came.complaints.contains("line 61: ") && came.complaints.contains(part),
        "{line}\n{}",
        came.complaints
    );
}

#[test]
fn a_wrong_line_is_named_and_never_passes() {
    let arms = |canary: &str| {
        format!(
            r#"{{"run":"r1","t":610,"signal":"errors","canary":{canary},"baseline":{{"total":450,"bad":3}}}}"#
        )
    };
    wrong("nonsense", "column");
    wrong("[]", "column");
    wrong(r#"{"t":610,"signal":"errors"}"#, "`run` is missing");
    wrong(r#"{"run":"r1","t":610}"#, "`signal` is missing");
    wrong(r#"{"run":"r1","signal":"errors"}"#, "`t` is missing");
    wrong(r#"{"run":"r1","t":610,"signal":"eror"}"#, "there is no signal `eror`");
    wrong(r#"{"run":"r1","t":1e300,"signal":"errors"}"#, "`t` is");
    wrong(r#"{"run":"r1","t":1e999,"signal":"errors"}"#, "number out of range");
    wrong(r#"{"run":"r1","t":600,"signal":"errors"}"#, "`t` must rise");
    wrong(r#"{"run":"r1","t":610,"signal":"errors","weight":1.5}"#, "`weight` is 1.5");
    wrong(r#"{"run":"r1","t":610,"signal":"errors","wieght":0.5}"#, "unknown field");
    wrong(&arms(r#"{"total":50,"bad":51}"#), "more than its `total`");
    wrong(&arms(r#"{"total":50,"bad":-1}"#), "whole number");
    wrong(&arms(r#"{"total":50,"bad":0.5}"#), "whole number");
    wrong(&arms(r#"{"total":NaN,"bad":0}"#), "column");
    wrong(&arms(r#"{"total":1e40,"bad":0}"#), "whole number");
    wrong(&arms(r#"{"total":99999999999999999999,"bad":0}"#), "whole number");
    wrong(&arms(r#"{"total":50}"#), "`bad` of the canary is missing");
    wrong(&arms(r#"{"total":50,"bad":1,"value":3}"#), "either");
    wrong(&arms(r#"{"buckets":[1,2]}"#), "need `bounds`");
    wrong(r#"{"run":"r2","end":true}"#, "ends before it began");
    let bounds = r#"{"run":"r1","t":610,"signal":"errors","bounds":[2,1],"canary":{"buckets":[1,2,3]},"baseline":{"buckets":[1,2,3]}}"#;
    wrong(bounds, "bounds must rise");
    wrong(&format!(r#"{{"run":"{}"}}"#, "x".repeat(2 << 20)), "longer than");
}

#[test]
fn whole_numbers_may_be_written_with_decimals_and_names_with_escapes() {
    let line = r#"{"run":"r\u0031","t":10.0,"signal":"errors","canary":{"total":50.0,"bad":1.0},"baseline":{"total":450,"bad":3}}"#;
    let came = with(ERRORS, &[], &format!("\u{feff}{line}\n\n"));
    assert_eq!((came.lines[0]["run"].as_str(), came.complaints.as_str()), (Some("r1"), ""));
}

#[test]
fn nothing_to_judge_never_passes() {
    let came = with(ERRORS, &[], "\n\n");
    assert!(came.code == 4 && came.complaints.contains("nothing was judged"), "{}", came.complaints);
}

#[test]
fn a_wrong_configuration_is_said_before_anything_is_read() {
    let came = with("signals: { errors: { sequental: {} } }", &[], &poll("r1", 10, (1, 0), (1, 0)));
    assert!(
        came.code == 2 && came.lines.is_empty() && came.complaints.contains("sequental"),
        "{}",
        came.complaints
    );
}

#[test]
fn people_read_a_sentence_per_verdict() {
    let came = with(ERRORS, &["text"], &polls("r1", 10, 600, (500, 25), (4500, 45)));
    let text = came.lines[0].as_str().unwrap();
    assert!(text.starts_with("r1 at ") && text.contains("fail: errors: bad requests: canary"), "{text}");
    assert_eq!(came.lines.len(), 1);
}
