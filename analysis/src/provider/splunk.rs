//! Splunk Observability Cloud, by SignalFlow over HTTP.
//!
//! Sources: Splunk Observability Cloud API reference, "SignalFlow" (`POST /v2/signalflow/execute`), and the messages that
//! its public client libraries read: a program over a time that has passed is answered by server-sent events up to
//! `END_OF_CHANNEL`. Whether a point is stamped with the beginning or the end of its bucket is said nowhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Failure,
    service::{Line, Request, Service, Timed},
    slots::Stretch,
    source::Body,
};

/// What Splunk is asked about one arm: SignalFlow expressions of one stream, not yet published.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Splunk(pub Timed);

/// Notices after which numbers are missing.
const INCOMPLETE: &[&str] = &["FIND_LIMITED_RESULT_SET", "FETCH_LIMITED_RESULT_SET", "GROUPBY_MISSING_PROPERTY"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    ts_id: String,
    properties: Properties,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "sf_streamLabel")]
    label: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    logical_timestamp_ms: i64,
    data: Vec<Datum>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Datum {
    ts_id: String,
    value: Option<Value>,
}

#[derive(Deserialize)]
struct Control {
    event: String,
}

#[derive(Deserialize)]
struct Notice {
    message: Told,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    message_code: Option<String>,
    contents: Option<Contents>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Contents {
    resolution_ms: Option<i64>,
}

impl Service for Splunk {
    const STAMPS_EITHER_END: bool = true;

    fn timed(&self) -> &Timed {
        &self.0
    }

    fn requests(&self, queries: &[&str], stretch: Stretch) -> Result<Vec<Request>, Failure> {
        let line = |(index, query): (usize, &&str)| format!("({query}).publish(label='q{index}')\n");
        let program: String = queries.iter().enumerate().map(line).collect();
        let request = Request::text("v2/signalflow/execute", program)
            .with("start", stretch.from)
            .with("stop", stretch.until)
            .with("resolution", stretch.bucket)
            .with("immediate", true);
        Ok(vec![request])
    }

    fn read(&self, answer: &Body, stretch: Stretch) -> Result<Vec<Line>, Failure> {
        let mut labels = BTreeMap::new();
        let mut points: BTreeMap<String, Vec<(i64, Option<Value>)>> = BTreeMap::new();
        let mut ended = false;
        for (event, data) in events(answer.text("text/event-stream")?) {
            match event.as_str() {
                "metadata" => {
                    let Metadata { ts_id, properties } = answer_part(&data)?;
                    labels.insert(ts_id, properties.label);
                }
                "data" => {
                    let Data { logical_timestamp_ms: at, data } = answer_part(&data)?;
                    for it in data {
                        points.entry(it.ts_id).or_default().push((at, it.value));
                    }
                }
                "error" => return Err(Failure::Reported("`error`")),
                "control-message" => match answer_part::<Control>(&data)?.event.as_str() {
                    "CHANNEL_ABORT" => return Err(Failure::Reported("`CHANNEL_ABORT`")),
                    "END_OF_CHANNEL" => ended = true,
                    _ => {}
                },
                "message" => notice(&answer_part::<Notice>(&data)?.message, stretch)?,
                _ => {}
            }
        }
        if !ended {
            return Err(Failure::BrokenOff);
        }
        let line = |(id, points): (&String, &Vec<(i64, Option<Value>)>)| {
            let index = labels.get(id).and_then(|it| it.strip_prefix('q')?.parse().ok());
            let index = index.ok_or(Failure::NotThis("an answer of SignalFlow"))?;
            Line::of(index, points.iter().map(|(at, value)| (*at, value)))
        };
        points.iter().map(line).collect()
    }
}

fn notice(told: &Told, stretch: Stretch) -> Result<(), Failure> {
    let code = told.message_code.as_deref().unwrap_or_default();
    if INCOMPLETE.contains(&code) {
        return Err(Failure::Incomplete);
    }
    let resolution = told.contents.as_ref().and_then(|it| it.resolution_ms);
    if code == "JOB_RUNNING_RESOLUTION" && resolution.is_some_and(|it| it != stretch.bucket) {
        return Err(Failure::Contradictory("buckets of another length than asked for"));
    }
    Ok(())
}

fn answer_part<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, Failure> {
    super::json::shaped(data.as_bytes(), "an answer of SignalFlow")
}

/// Server-sent events (WHATWG HTML, section 9.2): their names and data. An event that no blank line ends is dropped.
fn events(text: &str) -> Vec<(String, String)> {
    let (mut all, mut name, mut data) = (vec![], String::new(), vec![]);
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                if !data.is_empty() {
                    all.push((std::mem::take(&mut name), data.join("\n")));
                }
                name.clear();
                data.clear();
            }
            "event" => value.clone_into(&mut name),
            "data" => data.push(value),
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_end_with_a_blank_line_and_data_may_take_several() {
        let text = ": hello\nevent: data\ndata: {\ndata:  \"a\":1}\nid: 5\n\ndata: x\n\nevent: data\ndata: lost";
        let found = events(text);
        assert_eq!(found, [("data".to_owned(), "{\n \"a\":1}".to_owned()), (String::new(), "x".to_owned())]);
    }
}
