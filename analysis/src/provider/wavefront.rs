//! Wavefront, now Aria Operations for Applications, by its chart API.
//!
//! Sources: the API's reference, `GET /api/v2/chart/api` with `QueryResult` and `Timeseries` (points are pairs of seconds
//! since 1970 and a number; `granularity` is the length of the buckets in seconds), and "Customize your charts".

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Failure,
    service::{Line, Request, Service, Timed, Wanted},
    slots::Stretch,
    source::Body,
};

/// What Wavefront is asked about one arm: queries in its own language.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Wavefront(pub Timed);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    granularity: Option<i64>,
    timeseries: Option<Vec<Series>>,
    warnings: Option<String>,
    error_type: Option<Value>,
}

#[derive(Deserialize)]
struct Series {
    data: Vec<(f64, Option<Value>)>,
}

/// The lengths that buckets can have, in milliseconds, each with its letter.
pub const LENGTHS: &[(i64, &str)] = &[(1000, "s"), (60_000, "m"), (3_600_000, "h"), (86_400_000, "d")];

impl Service for Wavefront {
    fn timed(&self) -> &Timed {
        &self.0
    }

    fn requests(&self, queries: &[&str], stretch: Stretch) -> Result<Vec<Request>, Failure> {
        let letter = LENGTHS.iter().find(|it| it.0 == stretch.bucket).map(|it| it.1);
        let letter = letter.ok_or(Failure::Question("its buckets must be a second, minute, hour or day long"))?;
        let summed = match self.0.wanted {
            Wanted::Counts { .. } => "SUM",
            Wanted::Value(_) => "MEAN",
        };
        let one = |query: &&str| {
            Request::get("api/v2/chart/api")
                .with("q", *query)
                .with("s", stretch.from)
                .with("e", stretch.until)
                .with("g", letter)
                .with("summarization", summed)
                .with("strict", true)
                .with("i", false)
                .with("autoEvents", false)
                .with("cached", false)
        };
        Ok(queries.iter().map(one).collect())
    }

    fn read(&self, answer: &Body, stretch: Stretch) -> Result<Vec<Line>, Failure> {
        let Answer { granularity, timeseries, warnings, error_type } = answer.shaped("an answer of Wavefront")?;
        if error_type.is_some() {
            return Err(Failure::Reported("`errorType`"));
        }
        if warnings.is_some_and(|it| !it.trim().is_empty()) {
            return Err(Failure::Incomplete);
        }
        if granularity.is_some_and(|it| it * 1000 != stretch.bucket) {
            return Err(Failure::Contradictory("buckets of another length than asked for"));
        }
        let line = |it: Series| {
            let points = it.data.iter().map(|(at, value)| ((at * 1000.0).round() as i64, value));
            Line::of(0, points)
        };
        timeseries.unwrap_or_default().into_iter().map(line).collect()
    }
}
