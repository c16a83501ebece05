//! Google Cloud Monitoring, once Stackdriver, by its list of time series.
//!
//! Source: Cloud Monitoring API reference, `projects.timeSeries.list` (version 3) with `Aggregation`: the points of a series
//! are aligned to buckets of at least a minute, each stamped with its beginning and end, the newest first; whole numbers
//! are written in quotes. Its query language MQL is deprecated and is not asked.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Failure,
    service::{Line, Request, Service, Timed, Wanted},
    slots::Stretch,
    source::Body,
};

/// What Cloud Monitoring is asked about one arm: filters of time series.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudMonitoring {
    /// The project, by its name or number.
    pub project: String,
    /// How the points of one bucket become one number, in the API's words; of a value only. Counts are `ALIGN_DELTA`.
    pub align: String,
    /// How the series become one, in the API's words; of a value only. Counts are `REDUCE_SUM`.
    pub reduce: String,
    /// What is asked.
    pub timed: Timed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    time_series: Vec<Series>,
    next_page_token: Option<String>,
    #[serde(default)]
    execution_errors: Vec<Value>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    points: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    interval: Interval,
    value: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interval {
    end_time: Timestamp,
}

/// Whether a text can name a project: nothing in it leads elsewhere.
#[must_use]
pub fn is_project(text: &str) -> bool {
    let letter = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "-.:".contains(it);
    !text.is_empty() && text.chars().all(letter) && !text.contains("..")
}

impl Service for CloudMonitoring {
    fn timed(&self) -> &Timed {
        &self.timed
    }

    fn requests(&self, queries: &[&str], stretch: Stretch) -> Result<Vec<Request>, Failure> {
        if stretch.bucket < 60_000 {
            return Err(Failure::Question("its buckets must be a minute long or longer"));
        }
        if !is_project(&self.project) {
            return Err(Failure::Question("its project is none"));
        }
        let time = |millis| {
            let at = Timestamp::from_millisecond(millis);
            at.map(|it| it.to_string()).map_err(|_| Failure::Question("its time is none"))
        };
        let (from, to, seconds) = (time(stretch.from)?, time(stretch.until)?, stretch.seconds());
        let (align, reduce) = match self.timed.wanted {
            Wanted::Counts { .. } => ("ALIGN_DELTA", "REDUCE_SUM"),
            Wanted::Value(_) => (self.align.as_str(), self.reduce.as_str()),
        };
        let one = |query: &&str| {
            Request::get(format!("v3/projects/{}/timeSeries", self.project))
                .with("filter", *query)
                .with("interval.startTime", &from)
                .with("interval.endTime", &to)
                .with("aggregation.alignmentPeriod", format!("{seconds}s"))
                .with("aggregation.perSeriesAligner", align)
                .with("aggregation.crossSeriesReducer", reduce)
        };
        Ok(queries.iter().map(one).collect())
    }

    fn read(&self, answer: &Body, stretch: Stretch) -> Result<Vec<Line>, Failure> {
        let Answer { time_series, next_page_token, execution_errors, error } =
            answer.shaped("an answer of Cloud Monitoring")?;
        if error.is_some() {
            return Err(Failure::Reported("`error`"));
        }
        if next_page_token.is_some_and(|it| !it.is_empty()) || !execution_errors.is_empty() {
            return Err(Failure::Incomplete);
        }
        let line = |series: &Series| {
            let mut points = vec![];
            for it in &series.points {
                points.push((it.interval.end_time.as_millisecond() - stretch.bucket, number(&it.value)?));
            }
            Line::of(0, points)
        };
        time_series.iter().map(line).collect()
    }
}

/// The number in a value that says its type by its key. A whole one counts as well as any other.
fn number(value: &Map<String, Value>) -> Result<Option<&Value>, Failure> {
    let mut entries = value.iter();
    match (entries.next(), entries.next()) {
        (Some((key, it)), None) if key == "int64Value" || key == "doubleValue" => Ok(Some(it)),
        (Some((key, _)), None) if key == "distributionValue" => Err(Failure::NotOneNumber("a distribution")),
        (Some((key, _)), None) if key == "stringValue" => Err(Failure::NotOneNumber("a text")),
        (Some((key, _)), None) if key == "boolValue" => Err(Failure::NotOneNumber("a yes or no")),
        _ => Err(Failure::NotThis("an answer of Cloud Monitoring")),
    }
}
