//! One line of input. What is not a finite, possible number is refused here, so that it reaches no judge.

use std::{borrow::Cow, fmt};

use analysis::{
    Counts, Histogram, Measured, Missing,
    judge::Needs,
    poll::{OfPods, PodCounts},
};
use serde::{Deserialize, Deserializer, de};

/// More requests than this cannot be told apart in floating point, and no poll has so many.
const MOST: u64 = 1 << 53;

/// The largest number that is taken for a measurement or a time.
const LARGEST: f64 = 1e100;

/// Seconds on either side of 1970 that are taken for a time: some three thousand years.
const LATEST_S: f64 = 1e11;

/// A line as written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) run: Option<Text<'a>>,
    pub(super) t: Option<f64>,
    #[serde(borrow)]
    pub(super) signal: Option<Text<'a>>,
    pub(super) canary: Option<Arm>,
    pub(super) baseline: Option<Arm>,
    pub(super) weight: Option<f64>,
    pub(super) bounds: Option<Vec<f64>>,
    pub(super) phase: Option<Phase>,
    pub(super) pods: Option<Vec<Pod>>,
    #[serde(default)]
    pub(super) end: bool,
}

/// What the line is about, where it is not the canary at work.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) enum Phase {
    /// The baseline before the canary: calibration.
    Before,
    /// The canary at work.
    During,
}

/// What was measured of one arm.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arm {
    total: Option<Whole>,
    bad: Option<Whole>,
    buckets: Option<Vec<Whole>>,
    value: Option<f64>,
    values: Option<Vec<f64>>,
}

/// Requests of one pod of the baseline.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Pod {
    total: Option<Whole>,
    bad: Option<Whole>,
    buckets: Option<Vec<Whole>>,
}

/// A text that is borrowed where it has no escapes.
#[derive(Debug)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

/// A count: a whole number from 0 to 2^53, also if it is written `50.0`.
#[derive(Clone, Copy, Debug, Default)]
struct Whole(u64);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0 to 2^53")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
                if number <= MOST {
                    Ok(Whole(number))
                } else {
                    Err(E::invalid_value(de::Unexpected::Unsigned(number), &self))
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Whole, E> {
                Err(E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Whole, E> {
                if number.fract() == 0.0 && (0.0..=MOST as f64).contains(&number) {
                    Ok(Whole(number as u64))
                } else {
                    Err(E::invalid_value(de::Unexpected::Float(number), &self))
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The time, in nanoseconds.
pub(super) fn time_ns(t: Option<f64>) -> Result<i128, String> {
    match t {
        None => Err("`t` is missing: the end of the poll's interval, in seconds".to_owned()),
        Some(t) if t.abs() <= LATEST_S => Ok((t * 1e9).round() as i128),
        Some(t) => Err(format!("`t` is {t}: seconds, at most {LATEST_S:e}")),
    }
}

impl Line<'_> {
    /// The share of requests that was asked for.
    pub(super) fn share(&self) -> Result<Option<f64>, String> {
        match self.weight {
            Some(weight) if !(0.0..=1.0).contains(&weight) => {
                Err(format!("`weight` is {weight}: a share of requests from 0 to 1"))
            }
            weight => Ok(weight),
        }
    }

    /// What the line says was measured of the canary at work. `needs`: what its judge compares.
    pub(super) fn measured(self, needs: Needs) -> Result<Measured, String> {
        let (Some(canary), baseline) = (self.canary, self.baseline) else {
            return Ok(Measured::Missing(Missing::Partial));
        };
        if let Some(bounds) = self.bounds {
            return histogram(bounds, canary, baseline);
        }
        match canary.kind()? {
            Kind::Counts => {
                let baseline = baseline.map(|it| it.counts("baseline")).transpose()?;
                let canary = canary.counts("canary")?;
                match (baseline, needs) {
                    (None, Needs::Baseline) => Ok(Measured::Missing(Missing::Partial)),
                    (baseline, Needs::Baseline | Needs::CanaryOnly) => {
                        Ok(Measured::Counts { canary, baseline })
                    }
                }
            }
            Kind::Values => {
                let canary = canary.values("canary")?;
                let baseline = baseline.map_or_else(|| Ok(vec![]), |it| it.values("baseline"))?;
                Ok(Measured::Values { canary, baseline })
            }
            Kind::Buckets => Err("`buckets` need `bounds`: their upper bounds without +Inf".to_owned()),
            Kind::Nothing => Ok(Measured::Missing(Missing::NoData)),
        }
    }

    /// What the line says of the baseline's pods before the canary, over `seconds`.
    pub(super) fn calibration(self, seconds: f64) -> Result<Measured, String> {
        let pods = self.pods.ok_or("`pods` is missing: counts per pod, in the same order in every poll")?;
        Ok(Measured::Before { seconds, pods: of_pods(pods, self.bounds)? })
    }

    /// What the line says of the baseline's pods beside the canary, over `seconds`, if it says anything.
    pub(super) fn beside(&mut self, seconds: f64) -> Result<Option<Measured>, String> {
        let Some(pods) = self.pods.take() else { return Ok(None) };
        Ok(Some(Measured::Beside { seconds, pods: of_pods(pods, self.bounds.clone())? }))
    }
}

fn of_pods(pods: Vec<Pod>, bounds: Option<Vec<f64>>) -> Result<OfPods, String> {
    let pods =
        match bounds {
            Some(bounds) => {
                let buckets = |it: Pod| match it {
                    Pod { total: None, bad: None, buckets: Some(all) } => {
                        Ok(all.into_iter().map(|it| it.0).collect())
                    }
                    _ => Err("with `bounds` each of `pods` needs `buckets`: cumulative counts, +Inf last"
                        .to_owned()),
                };
                let each = pods.into_iter().map(buckets).collect::<Result<_, String>>()?;
                OfPods::Histograms { bounds, each }
            }
            None => {
                let count = |it: Pod| match it {
                    Pod { total: Some(total), bad: Some(bad), buckets: None } => {
                        Ok(PodCounts { total: total.0, bad: part(total, bad, "pod")? })
                    }
                    _ => Err("each of `pods` needs `total` and `bad`, or `buckets` together with `bounds`"
                        .to_owned()),
                };
                OfPods::Counts(pods.into_iter().map(count).collect::<Result<_, String>>()?)
            }
        };
    pods.check()?;
    Ok(pods)
}

enum Kind {
    Counts,
    Buckets,
    Values,
    Nothing,
}

impl Arm {
    fn kind(&self) -> Result<Kind, String> {
        let Self { total, bad, buckets, value, values } = self;
        let counts = total.is_some() || bad.is_some();
        match (counts, buckets.is_some(), value.is_some() || values.is_some()) {
            (true, false, false) => Ok(Kind::Counts),
            (false, true, false) => Ok(Kind::Buckets),
            (false, false, true) => Ok(Kind::Values),
            (false, false, false) => Ok(Kind::Nothing),
            _ => Err("an arm has either `total` and `bad`, or `buckets`, or `value` or `values`".to_owned()),
        }
    }

    fn counts(&self, name: &str) -> Result<Counts, String> {
        match (self.kind()?, self.total, self.bad) {
            (Kind::Counts, Some(total), Some(bad)) => Ok(Counts::new(total.0, part(total, bad, name)?)),
            (Kind::Counts, None, _) => Err(format!("`total` of the {name} is missing")),
            (Kind::Counts, _, None) => {
                Err(format!("`bad` of the {name} is missing: write 0 if there is none"))
            }
            (Kind::Buckets | Kind::Values | Kind::Nothing, _, _) => {
                Err(format!("the {name} needs `total` and `bad` as the other arm"))
            }
        }
    }

    fn values(self, name: &str) -> Result<Vec<f64>, String> {
        let values = match (self.kind()?, self.value, self.values) {
            (Kind::Values, Some(value), None) => vec![value],
            (Kind::Values, None, Some(values)) => values,
            (Kind::Values, _, _) => return Err(format!("the {name} has either `value` or `values`")),
            (Kind::Counts | Kind::Buckets | Kind::Nothing, _, _) => {
                return Err(format!("the {name} needs `value` or `values` as the other arm"));
            }
        };
        match values.iter().find(|it| it.is_nan() || it.abs() > LARGEST) {
            Some(absurd) => Err(format!("{absurd} is no measurement: at most {LARGEST:e}")),
            None => Ok(values),
        }
    }
}

/// Of `total`, the bad ones.
fn part(total: Whole, bad: Whole, of: &str) -> Result<u64, String> {
    if bad.0 <= total.0 {
        Ok(bad.0)
    } else {
        Err(format!("`bad` of the {of} is {}, more than its `total` of {}", bad.0, total.0))
    }
}

fn histogram(bounds: Vec<f64>, canary: Arm, baseline: Option<Arm>) -> Result<Measured, String> {
    let buckets = |arm: Arm, name: &str| match arm.kind()? {
        Kind::Buckets => Ok(arm.buckets.unwrap_or_default().into_iter().map(|it| it.0).collect()),
        Kind::Counts | Kind::Values | Kind::Nothing => {
            Err(format!("with `bounds` the {name} needs `buckets`: cumulative counts, +Inf last"))
        }
    };
    let canary = buckets(canary, "canary")?;
    let baseline = baseline.map_or_else(|| Ok(vec![]), |it| buckets(it, "baseline"))?;
    let histogram = Histogram { bounds, canary, baseline };
    histogram.check().map_err(str::to_owned)?;
    Ok(Measured::Histogram(histogram))
}
