//! Graphite, by its render API.
//!
//! Sources: Graphite documentation, "The Render URL API" and "Functions"; what it leaves open was seen on graphite-web
//! 1.1.8: `from` itself is left out and `until` is included, a target that does not parse is answered like one that finds
//! nothing, and an answer is kept for a minute for everybody who asks about the same minutes unless `noCache` is set.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Failure,
    service::{Line, Request, Service, Timed},
    slots::Stretch,
    source::Body,
};

/// What Graphite is asked about one arm: targets, whose points are as far apart as buckets are long.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Graphite(pub Timed);

#[derive(Deserialize)]
struct Series {
    datapoints: Vec<(Option<Value>, i64)>,
}

impl Service for Graphite {
    fn timed(&self) -> &Timed {
        &self.0
    }

    fn requests(&self, queries: &[&str], stretch: Stretch) -> Result<Vec<Request>, Failure> {
        // One bucket more: how far apart points are can be seen on two of them.
        let (after, until) = (stretch.from - stretch.bucket - 1000, stretch.until - 1000);
        let one = |query: &&str| {
            Request::get("render")
                .with("target", *query)
                .with("from", after / 1000)
                .with("until", until / 1000)
                .with("format", "json")
                .with("noCache", "1")
        };
        Ok(queries.iter().map(one).collect())
    }

    fn read(&self, answer: &Body, stretch: Stretch) -> Result<Vec<Line>, Failure> {
        let found: Vec<Series> = answer.shaped("an answer of Graphite")?;
        let line = |series: &Series| {
            let points: Vec<(i64, &Option<Value>)> =
                series.datapoints.iter().map(|(value, at)| (at.saturating_mul(1000), value)).collect();
            let together = |it: &[(i64, &Option<Value>)]| it[1].0 - it[0].0 == stretch.bucket;
            if points.len() < 2 || !points.windows(2).all(together) {
                return Err(Failure::NotThis("in buckets as long as `bucket` says"));
            }
            Line::of(0, points.into_iter().filter(|it| it.0 != stretch.from - stretch.bucket))
        };
        found.iter().map(line).collect()
    }
}
