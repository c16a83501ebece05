//! One line of polls as other programs write them: JSON objects, one per line.
//!
//! ```json
//! {"run":"r1","t":10,"signal":"errors","canary":{"total":50,"bad":1},"baseline":{"total":450,"bad":3},"weight":0.10}
//! ```
//!
//! Latency gives `"bounds"` and per arm cumulative `"buckets"` with all requests last; gauges give `"value"` or
//! `"values"`; `{"run":"r1","end":true}` closes a run.
//!
//! `"pods"` tells how the baseline's pods differ, always in the same order: `"total"` and `"bad"` of each, or for
//! latency its `"buckets"`. With `"phase":"before"` a line is from before the canary; beside a canary's poll they
//! count for later polls:
//!
//! ```json
//! {"run":"r1","t":-60,"signal":"latency","phase":"before","bounds":[0.1],"pods":[{"buckets":[80,90]},{"buckets":[70,90]}]}
//! {"run":"r1","t":10,"canary":{"total":50,"bad":1},"baseline":{"total":450,"bad":3},"pods":[{"total":225,"bad":3},{"total":225,"bad":0}]}
//! ```

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::poll::{Counts, Histogram, Measured, Missing, OfPods, PodCounts, Poll};

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
    /// What single pods of the baseline did, before the canary or beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Vec<Pod>>,
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

/// One pod of the baseline.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Pod {
    /// Requests in the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Bad ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad: Option<u64>,
    /// Cumulative requests per bound, all requests last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<Vec<u64>>,
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
        self.polls(poll_s).map(|(poll, _)| poll)
    }

    /// The line as a poll, and what it says of the baseline's pods beside it: to be read after the poll.
    ///
    /// # Errors
    ///
    /// What is missing, in one sentence.
    pub fn polls(self, poll_s: f64) -> Result<(Poll, Option<Poll>), String> {
        let at = self.at()?;
        if let Some(weight) = self.weight.filter(|it| !(0.0..=1.0).contains(it)) {
            return Err(format!("`weight` is {weight}, it must be a share from 0 to 1"));
        }
        let weight = self.weight;
        let pods = self.pods.map(|it| of_pods(it, self.bounds.as_deref())).transpose()?;
        if self.phase == Some(Phase::Before) {
            let pods = pods.ok_or("a line with \"phase\":\"before\" needs `pods`")?;
            return Ok((Poll { at, weight, measured: Measured::Before { seconds: poll_s, pods } }, None));
        }
        let canary = self.canary.ok_or("a line needs `canary`, or \"end\":true")?;
        let measured = measured(canary, self.baseline, self.bounds)?;
        let beside = pods.map(|pods| Measured::Beside { seconds: poll_s, pods });
        Ok((Poll { at, weight, measured }, beside.map(|measured| Poll { at, weight: None, measured })))
    }
}

fn of_pods(pods: Vec<Pod>, bounds: Option<&[f64]>) -> Result<OfPods, String> {
    let pods = match bounds {
        Some(bounds) => OfPods::Histograms {
            bounds: bounds.iter().copied().filter(|it| it.is_finite()).collect(),
            each: pods
                .into_iter()
                .map(|it| it.buckets.ok_or("with `bounds` each of `pods` needs `buckets`"))
                .collect::<Result<_, _>>()?,
        },
        None => OfPods::Counts(
            pods.into_iter()
                .map(|it| it.total.zip(it.bad).map(|(total, bad)| PodCounts { total, bad }))
                .collect::<Option<_>>()
                .ok_or("each of `pods` needs `total` and `bad`, or `buckets` together with `bounds`")?,
        ),
    };
    pods.check()?;
    Ok(pods)
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
        let latency =
            r#"{"t":-60,"phase":"before","bounds":[0.1],"pods":[{"buckets":[8,9]},{"buckets":[7,9]}]}"#;
        let each = vec![vec![8, 9], vec![7, 9]];
        let pods = OfPods::Histograms { bounds: vec![0.1], each };
        assert_eq!(read(latency).unwrap().measured, Measured::Before { seconds: 10.0, pods });
        let silent = read(r#"{"t":1,"canary":{"value":null}}"#).unwrap();
        assert_eq!(silent.measured, Measured::Missing(Missing::NoData));
    }

    #[test]
    fn pods_beside_a_poll_come_after_it() {
        let text = r#"{"t":10,"weight":0.1,"canary":{"total":5,"bad":1},"baseline":{"total":4,"bad":3},
            "pods":[{"total":2,"bad":2},{"total":2,"bad":1}]}"#;
        let (poll, beside) = serde_json::from_str::<Line>(text).unwrap().polls(10.0).unwrap();
        assert!(matches!(poll.measured, Measured::Counts { .. }));
        let pods = vec![PodCounts { total: 2, bad: 2 }, PodCounts { total: 2, bad: 1 }].into();
        assert_eq!(beside.unwrap().measured, Measured::Beside { seconds: 10.0, pods });
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
            (r#"{"t":1,"phase":"before","pods":[{"total":1,"bad":2}]}"#, "more bad requests than requests"),
            (r#"{"t":1,"phase":"before","pods":[{"buckets":[1,2]}]}"#, "together with `bounds`"),
            (r#"{"t":1,"phase":"before","bounds":[1],"pods":[{"buckets":[2,1]}]}"#, "must be cumulative"),
            (r#"{"t":1,"canray":{}}"#, "unknown field"),
        ] {
            let got = read(text).unwrap_err();
            assert!(got.contains(why), "{text}: {got}");
        }
    }
}
