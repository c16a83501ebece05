//! Dynatrace, by its metrics API.
//!
//! Sources: Dynatrace documentation, "Metrics API v2 – GET metric data points" (`GET /api/v2/metrics/query`) and "Metrics
//! API – FAQ": the times of points are the ends of their buckets, whose least length is a minute.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Failure,
    service::{Line, Request, Service, Timed},
    slots::Stretch,
    source::Body,
};

/// What Dynatrace is asked about one arm: metric selectors.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dynatrace {
    /// Whose metrics, as an entity selector. `None`: all that the metric selector leaves.
    pub entities: Option<String>,
    /// What is asked.
    pub timed: Timed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    next_page_key: Option<Value>,
    resolution: Option<String>,
    #[serde(default)]
    warnings: Vec<Value>,
    result: Option<Vec<Metric>>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Metric {
    data: Vec<Series>,
    #[serde(default)]
    warnings: Vec<Value>,
}

#[derive(Deserialize)]
struct Series {
    timestamps: Vec<i64>,
    values: Vec<Option<Value>>,
}

impl Service for Dynatrace {
    fn timed(&self) -> &Timed {
        &self.timed
    }

    fn requests(&self, queries: &[&str], stretch: Stretch) -> Result<Vec<Request>, Failure> {
        let resolution = resolution(stretch)?;
        let one = |query: &&str| {
            let request = Request::get("api/v2/metrics/query")
                .with("metricSelector", *query)
                .with("from", stretch.from)
                .with("to", stretch.until)
                .with("resolution", &resolution);
            match &self.entities {
                Some(it) => request.with("entitySelector", it),
                None => request,
            }
        };
        Ok(queries.iter().map(one).collect())
    }

    fn read(&self, answer: &Body, stretch: Stretch) -> Result<Vec<Line>, Failure> {
        let Answer { next_page_key, resolution: given, warnings, result, error } =
            answer.shaped("an answer of Dynatrace")?;
        if error.is_some() {
            return Err(Failure::Reported("`error`"));
        }
        let metrics = result.ok_or(Failure::NotThis("an answer of Dynatrace"))?;
        let warned = !warnings.is_empty() || metrics.iter().any(|it| !it.warnings.is_empty());
        if warned || next_page_key.is_some() {
            return Err(Failure::Incomplete);
        }
        if given.is_some_and(|it| Some(it) != resolution(stretch).ok()) {
            return Err(Failure::Contradictory("buckets of another length than asked for"));
        }
        let line = |it: &Series| {
            if it.timestamps.len() != it.values.len() {
                return Err(Failure::NotThis("an answer of Dynatrace"));
            }
            let begins = it.timestamps.iter().map(|end| end - stretch.bucket);
            Line::of(0, begins.zip(&it.values))
        };
        metrics.iter().flat_map(|it| &it.data).map(line).collect()
    }
}

fn resolution(stretch: Stretch) -> Result<String, Failure> {
    match (stretch.bucket % 60_000, stretch.bucket / 60_000) {
        (0, minutes @ 1..) => Ok(format!("{minutes}m")),
        _ => Err(Failure::Question("its buckets must be whole minutes")),
    }
}
