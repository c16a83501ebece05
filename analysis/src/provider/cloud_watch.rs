//! Amazon CloudWatch.
//!
//! Sources: Amazon CloudWatch API reference, `GetMetricData`, in its JSON protocol (AWS JSON 1.0); AWS, "Signature Version
//! 4 for API requests". A bucket without any sample has no point.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Failure, json as strict,
    service::{Line, Request, Service, Timed},
    slots::Stretch,
    source::Body,
};

/// What CloudWatch is asked about one arm: a `MetricStat`, or a list of `MetricDataQuery` of which one returns data, as JSON
/// and without the length of buckets.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CloudWatch(pub Timed);

/// How its requests are named and signed.
const SERVICE: &str = "monitoring";
const TARGET: &str = "GraniteServiceVersion20100801.GetMetricData";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    metric_data_results: Vec<Found>,
    #[serde(default)]
    messages: Vec<Value>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    #[serde(default)]
    timestamps: Vec<Value>,
    #[serde(default)]
    values: Vec<Option<Value>>,
    status_code: Option<String>,
}

/// Reads a question, and sets the length of its buckets.
///
/// # Errors
/// What is wrong with it.
pub fn queries(text: &str, seconds: i64) -> Result<Vec<Value>, &'static str> {
    const SHAPE: &str = "it is neither a `MetricStat` nor a list of `MetricDataQuery`";
    let mut all = match strict::read(text.as_bytes()).map_err(|_| "it is not JSON, or a key comes twice")? {
        Value::Object(it) => vec![Value::Object(Map::from_iter([
            ("Id".to_owned(), "it".into()),
            ("MetricStat".to_owned(), Value::Object(it)),
        ]))],
        Value::Array(all) => all,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(SHAPE),
    };
    for query in &mut all {
        let query = query.as_object_mut().ok_or(SHAPE)?;
        let timed = match (query.get("MetricStat").is_some(), query.get("Expression").is_some()) {
            (true, false) => query.get_mut("MetricStat").and_then(Value::as_object_mut).ok_or(SHAPE)?,
            (false, true) => query,
            _ => return Err(SHAPE),
        };
        if timed.contains_key("Period") {
            return Err("it must not say its `Period`: `bucket` does");
        }
        timed.insert("Period".to_owned(), seconds.into());
    }
    let returns = |it: &&Value| it.get("ReturnData").is_none_or(|it| it == &Value::Bool(true));
    match all.iter().filter(returns).count() {
        1 => Ok(all),
        _ => Err("exactly one of its queries must return data: write `\"ReturnData\": false` at the others"),
    }
}

/// Whether the one number of a `MetricStat` adds up events; `None` where that cannot be told.
#[must_use]
pub fn adds_up(text: &str) -> Option<bool> {
    let stat = strict::read(text.as_bytes()).ok()?;
    let stat = stat.as_object()?.get("Stat")?.as_str()?.to_owned();
    Some(stat == "Sum" || stat == "SampleCount")
}

impl Service for CloudWatch {
    fn timed(&self) -> &Timed {
        &self.0
    }

    fn requests(&self, asked: &[&str], stretch: Stretch) -> Result<Vec<Request>, Failure> {
        let one = |text: &&str| {
            let body = json!({
                "StartTime": stretch.from / 1000,
                "EndTime": stretch.until / 1000,
                "ScanBy": "TimestampAscending",
                "MetricDataQueries": queries(text, stretch.seconds()).map_err(Failure::Question)?,
            });
            Ok(Request::aws(SERVICE, TARGET, &body))
        };
        asked.iter().map(one).collect()
    }

    fn read(&self, answer: &Body, _stretch: Stretch) -> Result<Vec<Line>, Failure> {
        let Answer { metric_data_results, messages, next_token } = answer.shaped("an answer of CloudWatch")?;
        if next_token.is_some_and(|it| !it.is_empty()) || !messages.is_empty() {
            return Err(Failure::Incomplete);
        }
        let mut lines = vec![];
        for Found { timestamps, values, status_code } in &metric_data_results {
            match status_code.as_deref() {
                Some("Complete") => {}
                Some("PartialData") => return Err(Failure::Incomplete),
                Some("InternalError") => return Err(Failure::Reported("`InternalError`")),
                Some("Forbidden") => return Err(Failure::Reported("`Forbidden`")),
                _ => return Err(Failure::NotThis("an answer of CloudWatch")),
            }
            if timestamps.len() != values.len() {
                return Err(Failure::NotThis("an answer of CloudWatch"));
            }
            let times = timestamps.iter().map(|it| Ok((strict::number(it)? * 1000.0).round() as i64));
            let times: Vec<i64> = times.collect::<Result<_, Failure>>()?;
            // A metric that is not there is answered by a line without points.
            if !times.is_empty() {
                lines.push(Line::of(0, times.into_iter().zip(values))?);
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_and_a_list_get_their_period() {
        let stat = r#"{"Metric":{"Namespace":"Shop","MetricName":"Requests"},"Stat":"Sum"}"#;
        let found = queries(stat, 60).unwrap();
        assert_eq!(
            Value::Array(found),
            json!([{"Id": "it", "MetricStat": {"Metric": {"Namespace": "Shop", "MetricName": "Requests"}, "Stat": "Sum", "Period": 60}}])
        );
        let list = format!(r#"[{{"Id":"a","MetricStat":{stat},"ReturnData":false}},{{"Id":"b","Expression":"a*2"}}]"#);
        let found = queries(&list, 300).unwrap();
        assert_eq!((&found[0]["MetricStat"]["Period"], &found[1]["Period"]), (&json!(300), &json!(300)));
    }

    #[test]
    fn what_asks_no_one_number_is_refused() {
        for text in [
            "",
            "5",
            "[]",
            "[5]",
            r#"[{"Id":"a"}]"#,
            r#"[{"Id":"a","Expression":"1","MetricStat":{}}]"#,
            r#"{"Stat":"Sum","Period":60}"#,
            r#"[{"Id":"a","Expression":"1"},{"Id":"b","Expression":"2"}]"#,
            r#"[{"Id":"a","Expression":"1","ReturnData":false}]"#,
            r#"{"Stat":"Sum","Stat":"Sum"}"#,
        ] {
            assert!(queries(text, 60).is_err(), "{text}");
        }
    }

    #[test]
    fn averages_do_not_count_events() {
        let of = |stat: &str| adds_up(&format!(r#"{{"Metric":{{}},"Stat":"{stat}"}}"#));
        assert_eq!((of("Sum"), of("SampleCount"), of("Average"), of("p99")), (Some(true), Some(true), Some(false), Some(false)));
        assert_eq!(adds_up("[]"), None);
    }
}
