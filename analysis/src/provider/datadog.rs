//! Datadog, by its query for points over time across products.
//!
//! Source: Datadog API reference, "Query timeseries data across multiple products" (`POST /api/v2/query/timeseries`): it
//! takes the length of the buckets, which version 1 does not, and several queries at once. `.as_count()` makes a query add
//! up events instead of averaging rates.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Failure,
    service::{Line, Request, Service, Timed},
    slots::Stretch,
    source::Body,
};

/// What Datadog is asked about one arm: metric queries.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Datadog(pub Timed);

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    errors: Option<Value>,
}

#[derive(Deserialize)]
struct Data {
    attributes: Attributes,
}

/// A table: a row of values per series, a column per time.
#[derive(Deserialize)]
struct Attributes {
    series: Vec<Series>,
    times: Vec<i64>,
    values: Vec<Vec<Option<Value>>>,
}

#[derive(Deserialize)]
struct Series {
    query_index: usize,
}

impl Service for Datadog {
    fn timed(&self) -> &Timed {
        &self.0
    }

    fn requests(&self, queries: &[&str], stretch: Stretch) -> Result<Vec<Request>, Failure> {
        let name = |index: usize| format!("q{index}");
        let named = queries.iter().enumerate().map(
            |(index, query)| json!({"data_source": "metrics", "name": name(index), "query": query}),
        );
        let formulas = (0..queries.len()).map(|index| json!({"formula": name(index)}));
        let attributes = json!({
            "from": stretch.from,
            "to": stretch.until,
            "interval": stretch.bucket,
            "queries": named.collect::<Vec<_>>(),
            "formulas": formulas.collect::<Vec<_>>(),
        });
        let body = json!({"data": {"type": "timeseries_request", "attributes": attributes}});
        Ok(vec![Request::json("api/v2/query/timeseries", &body)])
    }

    fn read(&self, answer: &Body, _stretch: Stretch) -> Result<Vec<Line>, Failure> {
        let whole = Failure::NotThis("an answer of Datadog");
        let Answer { data, errors } = answer.shaped("an answer of Datadog")?;
        if errors.is_some() {
            return Err(Failure::Reported("`errors`"));
        }
        let Attributes { series, times, values } = data.ok_or(whole.clone())?.attributes;
        if series.len() != values.len() || values.iter().any(|it| it.len() != times.len()) {
            return Err(whole);
        }
        let line = |(series, values): (Series, &Vec<Option<Value>>)| {
            Line::of(series.query_index, times.iter().copied().zip(values))
        };
        series.into_iter().zip(&values).map(line).collect()
    }
}
