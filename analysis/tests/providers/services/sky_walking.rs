use analysis::provider::{AnyQuestion, SkyWalking, sky_walking::Entity};
use jiff::{civil::DateTime, tz::Offset};

use super::{Besides, Kind, Known, Points};
use crate::classes::Taken;

pub(super) static KNOWN: Known = Known {
    name: "sky walking",
    kind: "application/json",
    question: |timed| {
        let entity = Entity {
            service_name: "agent::shop".to_owned(),
            service_instance_name: Some("shop-b-1".to_owned()),
            endpoint_name: None,
            normal: true,
        };
        AnyQuestion::SkyWalking(SkyWalking { entity, offset_minutes: 330, timed })
    },
    answer,
    unusual: |row, kind| match (row.name, kind) {
        // It has no words for them.
        ("warnings" | "partial answer", Kind::Value) => Some(Taken::Number(5.0)),
        ("warnings" | "partial answer", Kind::Counts) => Some(Taken::Counts(5, 5)),
        _ => None,
    },
    asked: |request| (minute(request, "\"start\":\""), minute(request, "\"end\":\"") + 60_000),
    requests: || {
        vec![(
            "POST /below/graphql",
            "{\"query\":\"query($entity:Entity!,$duration:Duration!,$q0:String!,$q1:String!){ \
             q0:execExpression(expression:$q0,entity:$entity,duration:$duration){type error results{values{id value}}} \
             q1:execExpression(expression:$q1,entity:$entity,duration:$duration){type error results{values{id value}}}}\",\
             \"variables\":{\"entity\":{\"serviceName\":\"agent::shop\",\"serviceInstanceName\":\"shop-b-1\",\
             \"normal\":true},\"duration\":{\"start\":\"2027-01-15 1326\",\"end\":\"2027-01-15 1328\",\
             \"step\":\"MINUTE\"},\"q0\":\"bad \\\"1\\\"\",\"q1\":\"all\"}}",
        )]
    },
};

/// A minute of the server's clock, half past five ahead of UTC, in milliseconds.
fn minute(request: &str, before: &str) -> i64 {
    let written = request.split_once(before).unwrap().1.split_once('"').unwrap().0;
    let at = DateTime::strptime("%Y-%m-%d %H%M", written).unwrap();
    Offset::from_seconds(330 * 60).unwrap().to_timestamp(at).unwrap().as_millisecond()
}

fn answer(kind: Kind, lines: &[Points], besides: Besides) -> String {
    let point = |it: &(i64, String)| match besides {
        Besides::OneForAll => format!(r#"{{"id":null,"value":{}}}"#, it.1),
        _ => format!(r#"{{"id":"{}","value":{}}}"#, it.0 * 1000, it.1),
    };
    let line =
        |it: &Points| format!(r#"{{"values":[{}]}}"#, it.iter().map(point).collect::<Vec<_>>().join(","));
    let lines: Vec<String> = lines.iter().map(line).collect();
    let result = match besides {
        Besides::Error => r#"{"type":"UNKNOWN","error":"hunter2","results":[]}"#.to_owned(),
        Besides::WrongTypes => r#"{"type":"TIME_SERIES_VALUES","error":null,"results":5}"#.to_owned(),
        Besides::KeyTwice => {
            format!(
                r#"{{"type":"SINGLE_VALUE","type":"TIME_SERIES_VALUES","error":null,"results":[{}]}}"#,
                lines.join(",")
            )
        }
        Besides::OneForAll => {
            format!(r#"{{"type":"SINGLE_VALUE","error":null,"results":[{}]}}"#, lines.join(","))
        }
        Besides::Nothing | Besides::Warning | Besides::Partial => {
            format!(r#"{{"type":"TIME_SERIES_VALUES","error":null,"results":[{}]}}"#, lines.join(","))
        }
    };
    match kind {
        Kind::Value => format!(r#"{{"data":{{"q0":{result}}}}}"#),
        Kind::Counts => format!(r#"{{"data":{{"q0":{result},"q1":{result}}}}}"#),
    }
}
