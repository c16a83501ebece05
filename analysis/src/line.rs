//! One line of polls as other programs write them: JSON objects, one per line.
//!
//! ```json
//! {"run":"r1","t":10,"signal":"errors","canary":{"total":50,"bad":1},"baseline":{"total":450,"bad":3},"weight":0.10}
//! ```
//!
//! Latency gives `"bounds"` and per arm cumulative `"buckets"` with all requests last; gauges give `"value"` or
//! `"values"`; calibration polls have `"phase":"before"` and `"pods"`; `{"run":"r1","end":true}` closes a run.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::poll::{Counts, Histogram, Measured, Missing, PodCounts, Poll};

/// A line.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Line {
    /// Which run it belongs to; runs have nothing to do with each other.
    pub run: String,
    /// Seconds since the run began, at the end of the interval. Negative before the canary.
    pub t: f64,
    /// Which signal; may be left out where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Arm>,
    /// What it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Arm>,
    /// The share of requests asked for the canary, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Bounds of latency buckets, rising; `+Inf` may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Vec<f64>>,
    /// Whether this is from before the canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Counts per pod of the baseline, before the canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Vec<PodCounts>>,
    /// Whether the run is over.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub end: bool,
}

/// One arm of a line.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Arm {
    /// Requests in the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Bad ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad: Option<u64>,
    /// Cumulative requests per bound, all requests last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<Vec<u64>>,
    /// One value of a gauge; `null` where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<f64>>,
}

/// When a line is from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Before the canary got its first request.
    Before,
    /// Since then.
    Canary,
}

impl Line {
    /// When the line was taken; a run begins at the epoch.
    ///
    /// # Errors
    ///
    /// What is allowed, when `t` is not a number of seconds.
    pub fn at(&self) -> Result<Timestamp, String> {
        let wrong = || format!("`t` is {}, it must be seconds since the run began", self.t);
        if !self.t.is_finite() || 1e9 < self.t.abs() {
            return Err(wrong());
        }
        Timestamp::from_microsecond((self.t * 1e6).round() as i64).map_err(|_| wrong())
    }

    /// The line as a poll; `poll_s` is the length of an interval, for calibration.
    ///
    /// # Errors
    ///
    /// What is missing, in one sentence.
    pub fn poll(self, poll_s: f64) -> Result<Poll, String> {
        let at = self.at()?;
        if let Some(weight) = self.weight.filter(|it| !(0.0..=1.0).contains(it)) {
            return Err(format!("`weight` is {weight}, it must be a share from 0 to 1"));
        }
        let weight = self.weight;
        let measured = if self.phase == Some(Phase::Before) {
            let pods = self.pods.ok_or("a line with \"phase\":\"before\" needs `pods`")?;
            Measured::Before { seconds: poll_s, pods }
        } else {
            let canary = self.canary.ok_or("a line needs `canary`, or \"end\":true")?;
            measured(canary, self.baseline, self.bounds)?
        };
        Ok(Poll { at, weight, measured })
    }
}

fn measured(canary: Arm, baseline: Option<Arm>, bounds: Option<Vec<f64>>) -> Result<Measured, String> {
    if let Some(mut bounds) = bounds {
        bounds.retain(|it| it.is_finite());
        let canary = canary.buckets.ok_or("a line with `bounds` needs `buckets` of the canary")?;
        let baseline = baseline.and_then(|it| it.buckets).unwrap_or_default();
        let histogram = Histogram { bounds, canary, baseline };
        histogram.check()?;
        return Ok(Measured::Histogram(histogram));
    }
    if canary.total.is_some() || canary.bad.is_some() {
        let counts = |arm: &Arm, name: &str| match (arm.total, arm.bad) {
            (Some(total), Some(bad)) if bad <= total => Ok(Counts { total, bad }),
            (Some(total), Some(bad)) => Err(format!("{name}: {bad} bad requests of {total}")),
            (None, _) | (_, None) => Err(format!("{name} needs `total` and `bad`")),
        };
        let baseline = baseline.map(|it| counts(&it, "baseline")).transpose()?;
        return Ok(Measured::Counts { canary: counts(&canary, "canary")?, baseline });
    }
    let values = |arm: Arm| arm.values.or(arm.value.map(|it| vec![it])).unwrap_or_default();
    let (canary, baseline) = (values(canary), baseline.map(values).unwrap_or_default());
    // JSON has no word for NaN: an arm without a value is one that could not be read.
    if canary.is_empty() {
        return Ok(Measured::Missing(Missing::NoData));
    }
    Ok(Measured::Values { canary, baseline })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Poll, String> {
        serde_json::from_str::<Line>(text).map_err(|error| error.to_string())?.poll(10.0)
    }

    #[test]
    fn counts_buckets_values_and_calibration_are_read() {
        let counts = read(
            r#"{"run":"r1","t":10,"signal":"errors","canary":{"total":50,"bad":1},"baseline":{"total":450,"bad":3},"weight":0.10}"#,
        )
        .unwrap();
        assert_eq!((counts.at.as_second(), counts.weight), (10, Some(0.1)));
        assert_eq!(
            counts.measured,
            Measured::Counts { canary: Counts::new(50, 1), baseline: Some(Counts::new(450, 3)) }
        );
        let latency =
            r#"{"t":1.5,"bounds":[0.1,0.5],"canary":{"buckets":[3,4,5]},"baseline":{"buckets":[30,40,50]}}"#;
        assert!(matches!(read(latency).unwrap().measured, Measured::Histogram(_)));
        let gauge = read(r#"{"t":1,"canary":{"value":0.5},"baseline":{"values":[0.4,0.6]}}"#).unwrap();
        assert_eq!(gauge.measured, Measured::Values { canary: vec![0.5], baseline: vec![0.4, 0.6] });
        let before =
            read(r#"{"t":-60,"phase":"before","pods":[{"total":9,"bad":1},{"total":9,"bad":0}]}"#).unwrap();
        assert!(matches!(before.measured, Measured::Before { seconds: 10.0, .. }));
        let silent = read(r#"{"t":1,"canary":{"value":null}}"#).unwrap();
        assert_eq!(silent.measured, Measured::Missing(Missing::NoData));
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        for (text, why) in [
            (r#"{"t":1}"#, "needs `canary`"),
            (r#"{"t":1,"canary":{"total":1,"bad":2}}"#, "2 bad requests of 1"),
            (r#"{"t":1,"canary":{"total":1}}"#, "needs `total` and `bad`"),
            (r#"{"t":1,"weight":10,"canary":{"total":1,"bad":0}}"#, "share from 0 to 1"),
            (r#"{"t":1e300,"canary":{"total":1,"bad":0}}"#, "seconds since the run began"),
            (r#"{"t":1,"bounds":[1.0],"canary":{"buckets":[1]}}"#, "one count per bound"),
            (r#"{"t":1,"phase":"before"}"#, "needs `pods`"),
            (r#"{"t":1,"canray":{}}"#, "unknown field"),
        ] {
            let got = read(text).unwrap_err();
            assert!(got.contains(why), "{text}: {got}");
        }
    }
}
