//! Apache SkyWalking, by its metrics query expressions.
//!
//! Sources: SkyWalking documentation, "Query Protocol" (`execExpression`, `Duration`) and "Metrics Query Expression (MQE)
//! Syntax". Its buckets are minutes. A duration is written in the time zone of the server that is asked.

use jiff::{Timestamp, tz::Offset};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Failure,
    service::{Line, Request, Service, Timed},
    slots::Stretch,
    source::Body,
};

/// What a SkyWalking is asked about one arm: expressions about one entity.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SkyWalking {
    /// Whose metrics.
    pub entity: Entity,
    /// How far the server's clock on the wall is ahead of UTC, in minutes.
    pub offset_minutes: i32,
    /// What is asked.
    pub timed: Timed,
}

/// Whose metrics, in SkyWalking's words.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entity {
    /// The service.
    pub service_name: String,
    /// One of its replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_instance_name: Option<String>,
    /// One of its endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_name: Option<String>,
    /// Whether an agent reports it, or only its callers do.
    pub normal: bool,
}

/// The only length of buckets, in milliseconds.
pub const BUCKET_MS: i64 = 60_000;

#[derive(Deserialize)]
struct Answer {
    data: Option<serde_json::Map<String, Value>>,
    errors: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Result_ {
    #[serde(rename = "type")]
    kind: String,
    error: Option<String>,
    results: Vec<Values>,
}

#[derive(Deserialize)]
struct Values {
    values: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    id: Option<String>,
    value: Option<Value>,
}

impl Service for SkyWalking {
    fn timed(&self) -> &Timed {
        &self.timed
    }

    fn requests(&self, queries: &[&str], stretch: Stretch) -> Result<Vec<Request>, Failure> {
        if stretch.bucket != BUCKET_MS {
            return Err(Failure::Question("its buckets must be a minute long"));
        }
        let offset = Offset::from_seconds(self.offset_minutes * 60);
        let offset = offset.map_err(|_| Failure::Question("its time zone is none"))?;
        let minute = |millis: i64| {
            let at = Timestamp::from_millisecond(millis).map_err(|_| Failure::Question("its time is none"))?;
            Ok::<_, Failure>(offset.to_datetime(at).strftime("%Y-%m-%d %H%M").to_string())
        };
        let numbers = 0..queries.len();
        let declared: String = numbers.clone().map(|it| format!(",$q{it}:String!")).collect();
        let field = |it: usize| {
            format!(
                " q{it}:execExpression(expression:$q{it},entity:$entity,duration:$duration)\
                 {{type error results{{values{{id value}}}}}}"
            )
        };
        let fields: String = numbers.map(field).collect();
        // The end is the last minute that is asked for.
        let duration = json!({
            "start": minute(stretch.from)?,
            "end": minute(stretch.until - BUCKET_MS)?,
            "step": "MINUTE",
        });
        let mut variables = json!({"entity": self.entity, "duration": duration});
        for (index, query) in queries.iter().enumerate() {
            variables[format!("q{index}")] = (*query).into();
        }
        let query = format!("query($entity:Entity!,$duration:Duration!{declared}){{{fields}}}");
        Ok(vec![Request::json("graphql", &json!({"query": query, "variables": variables}))])
    }

    fn read(&self, answer: &Body, stretch: Stretch) -> Result<Vec<Line>, Failure> {
        let Answer { data, errors } = answer.shaped("an answer of SkyWalking")?;
        if errors.is_some_and(|it| !it.is_empty()) {
            return Err(Failure::Reported("`errors`"));
        }
        let whole = || Failure::NotThis("an answer of SkyWalking");
        let mut lines = vec![];
        for (name, result) in data.ok_or_else(whole)? {
            let index = name.strip_prefix('q').and_then(|it| it.parse().ok()).ok_or_else(whole)?;
            let result: Result_ = serde_json::from_value(result).map_err(|_| whole())?;
            if result.error.is_some_and(|it| !it.is_empty()) {
                return Err(Failure::Reported("`error`"));
            }
            let one_for_all = match result.kind.as_str() {
                "TIME_SERIES_VALUES" => false,
                "SINGLE_VALUE" => true,
                "UNKNOWN" => return Err(Failure::Reported("the expression's type is unknown")),
                _ => return Err(Failure::NotOneNumber("a list")),
            };
            for it in result.results {
                let mut points = vec![];
                for one in &it.values {
                    let at = match &one.id {
                        _ if one_for_all => stretch.from,
                        Some(id) => id.parse().map_err(|_| Failure::NotThis("numbers by time"))?,
                        None => return Err(Failure::NotThis("numbers by time")),
                    };
                    points.push((at, &one.value));
                }
                lines.push(Line::of(index, points)?);
            }
        }
        Ok(lines)
    }
}
