use std::fmt::Write as _;

use analysis::provider::{AnyQuestion, Splunk};

use super::{Besides, Kind, Known, Points, number_behind};
use crate::classes::Taken;

pub(super) static KNOWN: Known = Known {
    name: "splunk",
    kind: "text/event-stream",
    question: |timed| AnyQuestion::Splunk(Splunk(timed)),
    answer,
    unusual: |row, kind| match (row.name, kind) {
        // A message that says nothing about what is missing.
        ("warnings", Kind::Value) => Some(Taken::Number(5.0)),
        ("warnings", Kind::Counts) => Some(Taken::Counts(5, 5)),
        _ => None,
    },
    asked: |request| (number_behind(request, "start="), number_behind(request, "&stop=")),
    requests: || {
        vec![(
            // Not from 1799999760000 on: a number of that time may be of the minute before it.
            "POST /below/v2/signalflow/execute?start=1799999820000&stop=1799999940000&resolution=60000&immediate=true",
            "(bad \"1\").publish(label='q0')\n(all).publish(label='q1')\n",
        )]
    },
};

fn answer(kind: Kind, lines: &[Points], besides: Besides) -> String {
    let mut text = "event: control-message\ndata: {\ndata:   \"event\" : \"STREAM_START\",\ndata:   \"timestampMs\" : 1\ndata: }\n\n"
        .to_owned();
    let mut event = |name: &str, data: &str| write!(text, "event: {name}\ndata: {data}\n\n").unwrap();
    event("control-message", r#"{"event":"JOB_START","handle":"hunter2","timestampMs":1}"#);
    event(
        "message",
        r#"{"logicalTimestampMs":1,"message":{"messageCode":"JOB_RUNNING_RESOLUTION","contents":{"resolutionMs":60000}}}"#,
    );
    match besides {
        Besides::Error => event("error", r#"{"error":400,"message":"hunter2","errors":[]}"#),
        Besides::Warning => {
            event(
                "message",
                r#"{"logicalTimestampMs":1,"message":{"messageCode":"ID_NUM_TIMESERIES","messageLevel":"INFO"}}"#,
            );
        }
        Besides::Partial => {
            event(
                "message",
                r#"{"logicalTimestampMs":1,"message":{"messageCode":"FIND_LIMITED_RESULT_SET"}}"#,
            );
        }
        Besides::WrongTypes => event("data", r#"{"logicalTimestampMs":1,"data":{"tsId":5}}"#),
        Besides::KeyTwice => event("data", r#"{"logicalTimestampMs":1,"logicalTimestampMs":2,"data":[]}"#),
        Besides::Nothing | Besides::OneForAll => {}
    }
    for query in 0..if kind == Kind::Counts { 2 } else { 1 } {
        for (index, line) in lines.iter().enumerate() {
            let id = format!("AAAA{query}{index}");
            event(
                "metadata",
                &format!(
                    r#"{{"tsId":"{id}","properties":{{"sf_streamLabel":"q{query}","host":"hunter2"}}}}"#
                ),
            );
            for (at, number) in line {
                let data = format!(r#"[{{"tsId":"{id}","value":{number}}}]"#);
                event(
                    "data",
                    &format!(r#"{{"data":{data},"logicalTimestampMs":{},"maxDelayMs":1}}"#, at * 1000),
                );
            }
        }
    }
    event("control-message", r#"{"event":"END_OF_CHANNEL","timestampMs":1}"#);
    text
}
