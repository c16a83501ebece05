//! Compares each measurement with fixed conditions, as Argo Rollouts and Flagger do, for those who want it.
//!
//! It knows nothing of chance: one error in thirty requests is "3.3 %". What is not one finite number never counts
//! as a success unless the document says so for missing data, and even then nothing passes before something was measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    condition::{Condition, Vars},
    finding::{Evidence, Finding, Verdict, Warning},
    judge::{Judge, Needs, Problem, Setting, Standing},
    poll::{Counts, Measured, Missing, Poll},
    written::Span,
};

/// Fixed conditions on each measurement.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Threshold {
    /// When a measurement is a success. Without it: when `fail` does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Condition>,
    /// When a measurement is a failure. Without it: when `pass` does not hold. With both, a measurement for which
    /// neither holds is inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<Condition>,
    /// Measurements to take. Without it: as long as the window lasts; the metric then passes while its last
    /// measurement was a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Time between two measurements, instead of the metric's own `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// Failures that are tolerated over the whole window; -1: any number. Default 0.
    #[serde(default)]
    pub failure_limit: i32,
    /// Inconclusive measurements that are tolerated; -1: any number. Default 0.
    #[serde(default)]
    pub inconclusive_limit: i32,
    /// Successes in a row that suffice to pass; they are needed even when `count` is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_success_limit: Option<u32>,
    /// Measurements in a row that may go wrong before the metric is in error; -1: any number. Default 4.
    #[serde(default = "four")]
    pub consecutive_error_limit: i32,
    /// What it means when there is no data. Default inconclusive.
    #[serde(default)]
    pub no_data: NoData,
    /// Time before the first measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<Span>,
}

fn four() -> i32 {
    4
}

/// What it means when the provider answers that there is no data.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NoData {
    /// The measurement is inconclusive.
    #[default]
    Inconclusive,
    /// It is a success: for counters that do not exist before the first error. A pass needs a measured number besides:
    /// let the query answer 0 where there is nothing, as with `or vector(0)`.
    Pass,
    /// It is a failure.
    Fail,
    /// It is an error.
    Error,
    /// It did not happen.
    Ignore,
}

/// How one measurement came out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    Success,
    Failure,
    Inconclusive,
    Error,
}

/// Tallies of measurements.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    successes: u32,
    failures: u32,
    inconclusive: u32,
    errors: u32,
    successes_in_a_row: u32,
    errors_in_a_row: u32,
    last: Option<Outcome>,
    last_value: Option<f64>,
    last_missing: Option<Missing>,
    missing: u64,
    decided: Option<Verdict>,
}

impl Threshold {
    fn outcome(&self, measured: &Measured) -> Result<(Outcome, f64), Missing> {
        let vars = vars(measured)?;
        let holds = |condition: &Option<Condition>| condition.as_ref().map(|it| holds(it, vars)).transpose();
        if [&self.fail, &self.pass].into_iter().any(|it| matches!(holds(it), Err(Unclear::NotMeasured))) {
            return Err(Missing::Partial);
        }
        let outcome = match (holds(&self.fail), holds(&self.pass)) {
            (Err(_), _) | (_, Err(_)) => Outcome::Error,
            (Ok(Some(true)), Ok(_)) | (Ok(None), Ok(Some(false))) => Outcome::Failure,
            (Ok(_), Ok(Some(true))) | (Ok(Some(false)), Ok(None)) => Outcome::Success,
            (Ok(Some(false)), Ok(Some(false))) | (Ok(None), Ok(None)) => Outcome::Inconclusive,
        };
        Ok((outcome, vars.result))
    }

    fn missing(&self, why: Missing) -> Option<Outcome> {
        match (why, self.no_data) {
            (Missing::Error, _) | (_, NoData::Error) => Some(Outcome::Error),
            (Missing::NoData, NoData::Pass) => Some(Outcome::Success),
            (Missing::NoData, NoData::Ignore) => None,
            (_, NoData::Fail) => Some(Outcome::Failure),
            // What came is not "no data": leave to pass or to ignore speaks of nothing else.
            (_, NoData::Inconclusive | NoData::Pass | NoData::Ignore) => Some(Outcome::Inconclusive),
        }
    }

    fn decide(&self, state: &State) -> Option<Verdict> {
        if exceeds(state.failures, self.failure_limit) {
            return Some(Verdict::Fail);
        }
        if exceeds(state.errors_in_a_row, self.consecutive_error_limit) {
            return Some(Verdict::Error);
        }
        if exceeds(state.inconclusive, self.inconclusive_limit) {
            return Some(Verdict::Inconclusive);
        }
        let row = self.consecutive_success_limit.map(|limit| limit <= state.successes_in_a_row);
        let measured = state.successes + state.failures + state.inconclusive;
        let complete = self.count.is_some_and(|count| count <= measured);
        match (row, complete) {
            (Some(true), _) | (None, true) if state.last_value.is_some() => Some(Verdict::Pass),
            (_, true) => Some(Verdict::Inconclusive),
            (_, false) => None,
        }
    }
}

/// Why a condition is neither true nor false.
enum Unclear {
    /// It depends on something that was not measured.
    NotMeasured,
    /// It cannot be evaluated.
    Wrong,
}

/// Whether the condition holds, whatever the numbers would be that were not measured.
fn holds(condition: &Condition, vars: Vars) -> Result<bool, Unclear> {
    let with = |sign: f64| {
        let of = |it: f64, extreme: f64| if it.is_nan() { sign * extreme } else { it };
        let Vars { result, baseline, total, bad } = vars;
        let baseline = of(baseline, f64::MAX);
        Vars { result, baseline, total: of(total, f64::MAX / 2.0), bad: of(bad, f64::MAX / 4.0) }
    };
    match (condition.holds(with(1.0)), condition.holds(with(-1.0))) {
        (Ok(much), Ok(little)) if much == little => Ok(much),
        (Ok(_), Ok(_)) => Err(Unclear::NotMeasured),
        (Err(_), _) | (_, Err(_)) => Err(Unclear::Wrong),
    }
}

fn exceeds(count: u32, limit: i32) -> bool {
    u32::try_from(limit).is_ok_and(|limit| limit < count)
}

fn vars(measured: &Measured) -> Result<Vars, Missing> {
    let vars = match measured {
        Measured::Counts { canary, baseline } => Vars {
            result: canary.rate().ok_or(Missing::NoData)?,
            baseline: baseline.and_then(Counts::rate).unwrap_or(f64::NAN),
            total: canary.total as f64,
            bad: canary.bad as f64,
        },
        Measured::Values { canary, baseline } => match canary.as_slice() {
            [] => return Err(Missing::NoData),
            [result] => {
                let baseline = if let [one] = baseline.as_slice() { *one } else { f64::NAN };
                Vars { result: *result, baseline, total: f64::NAN, bad: f64::NAN }
            }
            [_, _, ..] => return Err(Missing::NotOneNumber),
        },
        Measured::Histogram(_)
        | Measured::Pods { .. }
        | Measured::Answers { .. }
        | Measured::Memory { .. }
        | Measured::Before { .. }
        | Measured::Beside { .. } => return Err(Missing::NotOneNumber),
        Measured::Missing(why) => return Err(*why),
    };
    if vars.result.is_finite() { Ok(vars) } else { Err(Missing::NotFinite) }
}

impl Judge for Threshold {
    type Tables = ();
    type State = State;

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.pass.is_none() && self.fail.is_none() {
            problems.push(Problem::new(&[], "a threshold needs `pass` or `fail`: without a condition nothing is judged"));
        }
        if self.count == Some(0) {
            problems.push(Problem::new(&["count"], "must be at least 1: without a measurement nothing passes"));
        }
        if self.consecutive_success_limit == Some(0) {
            problems.push(Problem::new(&["consecutiveSuccessLimit"], "must be at least 1"));
        }
        if self.interval == Some(Span::seconds(0)) {
            problems.push(Problem::new(&["interval"], "must be longer than 0s"));
        }
        for (name, limit) in [
            ("failureLimit", self.failure_limit),
            ("inconclusiveLimit", self.inconclusive_limit),
            ("consecutiveErrorLimit", self.consecutive_error_limit),
        ] {
            if limit < -1 {
                problems.push(Problem::new(&[name], format!("`{limit}` must be 0 or more, or -1 for any number")));
            }
        }
        problems
    }

    fn needs(&self) -> Needs {
        Needs::CanaryOnly
    }

    fn reads(&self, measured: &Measured) -> bool {
        vars(measured).is_ok()
    }

    fn tables(&self, _setting: &Setting) {}

    fn begin(&self, _setting: &Setting) -> State {
        State::default()
    }

    fn observe(&self, _setting: &Setting, _tables: &(), state: &mut State, poll: &Poll) {
        if state.decided.is_some() || poll.measured.calibrates() {
            return;
        }
        let outcome = match self.outcome(&poll.measured) {
            Ok((outcome, value)) => {
                state.last_value = Some(value);
                Some(outcome)
            }
            Err(why) => {
                state.missing += 1;
                state.last_missing = Some(why);
                self.missing(why)
            }
        };
        let Some(outcome) = outcome else { return };
        state.last = Some(outcome);
        state.successes_in_a_row = if outcome == Outcome::Success { state.successes_in_a_row + 1 } else { 0 };
        state.errors_in_a_row = if outcome == Outcome::Error { state.errors_in_a_row + 1 } else { 0 };
        match outcome {
            Outcome::Success => state.successes += 1,
            Outcome::Failure => state.failures += 1,
            Outcome::Inconclusive => state.inconclusive += 1,
            Outcome::Error => state.errors += 1,
        }
        state.decided = self.decide(state);
    }

    fn verdict(&self, _setting: &Setting, state: &State) -> Verdict {
        let passing = self.count.is_none()
            && self.consecutive_success_limit.is_none()
            && state.last_value.is_some()
            && state.last == Some(Outcome::Success);
        state.decided.unwrap_or(if passing { Verdict::Pass } else { Verdict::Pending })
    }

    fn standing(&self, state: &State) -> Standing {
        if state.decided.is_some() { Standing::Final } else { Standing::Latest }
    }

    fn evidence(&self, _setting: &Setting, _tables: &(), _state: &State) -> Option<Evidence> {
        None
    }

    fn finding(&self, setting: &Setting, _tables: &(), state: &State) -> Finding {
        let limit = |limit: i32| if limit < 0 { "any".to_owned() } else { limit.to_string() };
        let last = state.last_value.map_or_else(|| "nothing was measured yet".to_owned(), |it| format!("last value {it}"));
        let because = format!(
            "{last}; {} successes, {} failures ({} tolerated), {} inconclusive ({}), {} errors in a row ({})",
            state.successes,
            state.failures,
            limit(self.failure_limit),
            state.inconclusive,
            limit(self.inconclusive_limit),
            state.errors_in_a_row,
            limit(self.consecutive_error_limit)
        );
        let mut finding = Finding::new(self.verdict(setting, state), because);
        if let Some(last) = state.last_missing {
            finding.warnings.push(Warning::Missing { polls: state.missing, last });
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn threshold(yaml_as_json: &str) -> Threshold {
        serde_json::from_str(yaml_as_json).unwrap()
    }

    fn verdict(judge: &Threshold, readings: &[Measured]) -> Verdict {
        let setting = Setting::alone(Timestamp::UNIX_EPOCH, std::time::Duration::from_secs(600));
        let mut state = judge.begin(&setting);
        for measured in readings {
            let poll = Poll { at: Timestamp::UNIX_EPOCH, weight: None, measured: measured.clone() };
            judge.observe(&setting, &(), &mut state, &poll);
        }
        judge.verdict(&setting, &state)
    }

    #[track_caller]
    fn check(judge: &str, values: &[f64], expected: Verdict) {
        let readings: Vec<Measured> =
            values.iter().map(|it| Measured::Values { canary: vec![*it], baseline: vec![] }).collect();
        assert_eq!(verdict(&threshold(judge), &readings), expected, "{judge} {values:?}");
    }

    #[test]
    fn one_failure_more_than_tolerated_fails() {
        check(r#"{"pass":"result >= 0.99"}"#, &[1.0, 0.9], Verdict::Fail);
        check(r#"{"pass":"result >= 0.99","failureLimit":1}"#, &[1.0, 0.9, 1.0], Verdict::Pass);
        check(r#"{"pass":"result >= 0.99","failureLimit":1}"#, &[0.9, 1.0, 0.9], Verdict::Fail);
        check(r#"{"pass":"result >= 0.99","failureLimit":-1}"#, &[0.9; 50], Verdict::Pending);
    }

    #[test]
    fn count_and_successes_in_a_row_end_it() {
        check(r#"{"pass":"result > 1","count":3}"#, &[2.0, 2.0], Verdict::Pending);
        check(r#"{"pass":"result > 1","count":3}"#, &[2.0, 2.0, 2.0], Verdict::Pass);
        check(r#"{"pass":"result > 1","failureLimit":9,"consecutiveSuccessLimit":2}"#, &[2.0, 0.0, 2.0], Verdict::Pending);
        check(r#"{"pass":"result > 1","failureLimit":9,"consecutiveSuccessLimit":2}"#, &[0.0, 2.0, 2.0], Verdict::Pass);
        check(
            r#"{"pass":"result > 1","failureLimit":9,"consecutiveSuccessLimit":2,"count":3}"#,
            &[2.0, 0.0, 2.0],
            Verdict::Inconclusive,
        );
    }

    #[test]
    fn between_pass_and_fail_is_inconclusive() {
        let judge = r#"{"pass":"result < 1","fail":"result > 2","inconclusiveLimit":1}"#;
        check(judge, &[1.5], Verdict::Pending);
        check(judge, &[1.5, 1.5], Verdict::Inconclusive);
        check(judge, &[2.5], Verdict::Fail);
        check(judge, &[0.5], Verdict::Pass);
    }

    #[test]
    fn what_is_not_a_finite_number_never_passes_by_default() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            check(r#"{"pass":"result >= 0.0","count":1}"#, &[value], Verdict::Inconclusive);
            check(r#"{"fail":"result > 5.0","count":1}"#, &[value], Verdict::Inconclusive);
            check(r#"{"fail":"result > 5.0","count":1,"noData":"pass"}"#, &[value], Verdict::Inconclusive);
        }
        let judge = threshold(r#"{"fail":"result > 5.0","count":1}"#);
        for why in [Missing::NoData, Missing::NotOneNumber, Missing::Stale, Missing::Partial, Missing::Error] {
            let got = verdict(&judge, &[Measured::Missing(why)]);
            assert!(matches!(got, Verdict::Inconclusive | Verdict::Pending), "{why:?}: {got:?}");
        }
        let two = Measured::Values { canary: vec![1.0, 1.0], baseline: vec![] };
        assert_eq!(verdict(&judge, &[two]), Verdict::Inconclusive);
    }

    #[test]
    fn no_data_means_what_the_document_says() {
        for (policy, expected) in [
            ("pass", Verdict::Inconclusive),
            ("fail", Verdict::Fail),
            ("inconclusive", Verdict::Inconclusive),
            ("ignore", Verdict::Pending),
            ("error", Verdict::Pending),
        ] {
            let judge = threshold(&format!(r#"{{"fail":"result > 5.0","count":1,"noData":"{policy}"}}"#));
            assert_eq!(verdict(&judge, &[Measured::Missing(Missing::NoData)]), expected, "{policy}");
        }
    }

    #[test]
    fn no_data_is_a_success_beside_something_that_was_measured() {
        let judge = threshold(r#"{"fail":"result > 5.0","count":2,"noData":"pass"}"#);
        let one = Measured::Values { canary: vec![1.0], baseline: vec![] };
        let none = Measured::Missing(Missing::NoData);
        assert_eq!(verdict(&judge, &[one, none.clone()]), Verdict::Pass);
        assert_eq!(verdict(&judge, &[none.clone(), none]), Verdict::Inconclusive);
    }

    #[test]
    fn a_condition_on_what_was_not_measured_is_inconclusive() {
        let one = Measured::Values { canary: vec![0.5], baseline: vec![] };
        for text in ["result > baseline", "!(baseline < 1.0)", "total > bad"] {
            let judge = threshold(&format!(r#"{{"fail":"{text}","count":1}}"#));
            assert_eq!(verdict(&judge, std::slice::from_ref(&one)), Verdict::Inconclusive, "{text}");
        }
        let either = threshold(r#"{"pass":"result < 1.0 || result < 2.0 * baseline","count":1}"#);
        assert_eq!(verdict(&either, &[one]), Verdict::Pass);
    }

    #[test]
    fn the_fifth_error_in_a_row_is_an_error() {
        let judge = threshold(r#"{"fail":"result > 5.0"}"#);
        let error = Measured::Missing(Missing::Error);
        assert_eq!(verdict(&judge, &vec![error.clone(); 4]), Verdict::Pending);
        assert_eq!(verdict(&judge, &vec![error.clone(); 5]), Verdict::Error);
        let good = Measured::Values { canary: vec![1.0], baseline: vec![] };
        let mixed = [vec![error.clone(); 4], vec![good], vec![error; 4]].concat();
        assert_eq!(verdict(&judge, &mixed), Verdict::Pending);
    }

    #[test]
    fn counts_are_judged_by_their_share_of_bad_requests() {
        let judge = threshold(r#"{"pass":"result <= 0.01 && total >= 100.0","count":1}"#);
        let counts = |total, bad| Measured::Counts { canary: Counts { total, bad }, baseline: None };
        assert_eq!(verdict(&judge, &[counts(1000, 5)]), Verdict::Pass);
        assert_eq!(verdict(&judge, &[counts(50, 0)]), Verdict::Fail);
        assert_eq!(verdict(&judge, &[counts(0, 0)]), Verdict::Inconclusive);
    }

    #[test]
    fn a_threshold_without_a_condition_is_refused() {
        assert!(threshold("{}").check()[0].message.contains("needs `pass` or `fail`"));
        assert_eq!(threshold(r#"{"pass":"result > 1","failureLimit":-2}"#).check()[0].path, ["failureLimit"]);
        assert!(serde_json::from_str::<Threshold>(r#"{"passs":"result > 1"}"#).is_err());
    }
}
