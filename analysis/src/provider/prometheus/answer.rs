//! What a Prometheus answers, read strictly.
//!
//! The client library sends the questions; its types for answers know no native histogram, no warning and no mark of
//! an incomplete answer, and read the whole body whatever its size. So the body is read here.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};

use super::super::{Failure, Native};

#[derive(Deserialize)]
struct Envelope {
    status: String,
    data: Option<Data>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    #[serde(default)]
    warnings: Vec<IgnoredAny>,
    #[serde(rename = "isPartial", default)]
    is_partial: bool,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub(super) enum Data {
    Scalar(Point),
    String(IgnoredAny),
    Vector(Vec<Instant>),
    Matrix(Vec<Range>),
}

/// One series at one moment.
#[derive(Deserialize)]
pub(super) struct Instant {
    pub(super) metric: Labels,
    pub(super) value: Option<Point>,
}

/// One series over time.
#[derive(Deserialize)]
pub(super) struct Range {
    pub(super) metric: Labels,
    #[serde(default)]
    pub(super) values: Vec<Point>,
    #[serde(default)]
    pub(super) histograms: Vec<HistogramPoint>,
}

/// Seconds and value.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Point(pub(super) f64, #[serde(deserialize_with = "number")] pub(super) f64);

impl Point {
    pub(super) fn millis(self) -> i64 {
        (self.0 * 1000.0).round() as i64
    }
}

/// Seconds and a native histogram.
#[derive(Deserialize)]
pub(super) struct HistogramPoint(f64, HistogramValue);

#[derive(Deserialize)]
struct HistogramValue {
    #[serde(default)]
    buckets: Vec<Bucket>,
}

/// Which bounds belong to it, left and right bound, count.
#[derive(Deserialize)]
struct Bucket(
    IgnoredAny,
    #[serde(deserialize_with = "number")] f64,
    #[serde(deserialize_with = "number")] f64,
    #[serde(deserialize_with = "number")] f64,
);

impl HistogramPoint {
    pub(super) fn sample(&self) -> (i64, Native) {
        let buckets = self.1.buckets.iter().map(|it| (it.1, it.2, it.3)).collect();
        ((self.0 * 1000.0).round() as i64, Native(buckets))
    }
}

/// Labels; one that comes twice is a mistake.
#[derive(Clone)]
pub(super) struct Labels(pub(super) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if labels.insert(name, value).is_some() {
                        return Err(A::Error::custom("a label twice"));
                    }
                }
                Ok(Labels(labels))
            }
        }
        deserializer.deserialize_map(Seen)
    }
}

/// A number in quotes, as Prometheus writes it: NaN and infinite ones too.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// Reads an answer.
pub(super) fn read(body: &[u8]) -> Result<Data, Failure> {
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|_| Failure::NotThis("an answer of a Prometheus"))?;
    match (envelope.status.as_str(), envelope.data) {
        ("success", _) if envelope.is_partial || !envelope.warnings.is_empty() => Err(Failure::Incomplete),
        ("success", Some(data)) => Ok(data),
        ("error", _) => Err(Failure::Reported(class(envelope.error_type.as_deref()))),
        _ => Err(Failure::NotThis("an answer of a Prometheus")),
    }
}

/// The class of an error, if it is one of Prometheus' own words.
fn class(written: Option<&str>) -> &'static str {
    const KNOWN: [&str; 8] =
        ["timeout", "canceled", "execution", "bad_data", "internal", "unavailable", "not_found", "not_acceptable"];
    KNOWN.into_iter().find(|it| Some(*it) == written).unwrap_or("unknown class")
}
