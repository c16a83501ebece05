use std::collections::BTreeMap;

use analysis::{
    Missing,
    provider::{AnyQuestion, Datadog},
};

use super::{Besides, Kind, Known, Points, number_behind};
use crate::classes::Taken;

pub(super) static KNOWN: Known = Known {
    name: "datadog",
    kind: "application/json",
    question: |timed| AnyQuestion::Datadog(Datadog(timed)),
    answer,
    unusual: |row, kind| match (row.name, kind) {
        // It has no words for them.
        ("warnings" | "partial answer", Kind::Value) => Some(Taken::Number(5.0)),
        ("warnings" | "partial answer", Kind::Counts) => Some(Taken::Counts(5, 5)),
        ("status error with 200", _) => Some(Taken::Not(Missing::Error)),
        _ => None,
    },
    asked: |request| (number_behind(request, "\"from\":"), number_behind(request, "\"to\":")),
    requests: || {
        vec![(
            "POST /below/api/v2/query/timeseries",
            "{\"data\":{\"type\":\"timeseries_request\",\"attributes\":{\"from\":1799999760000,\"to\":1799999940000,\
             \"interval\":60000,\"queries\":[{\"data_source\":\"metrics\",\"name\":\"q0\",\"query\":\"bad \\\"1\\\"\"},\
             {\"data_source\":\"metrics\",\"name\":\"q1\",\"query\":\"all\"}],\"formulas\":[{\"formula\":\"q0\"},\
             {\"formula\":\"q1\"}]}}}",
        )]
    },
};

/// A row per series, a column per time.
fn answer(kind: Kind, lines: &[Points], besides: Besides) -> String {
    match besides {
        Besides::Error => return r#"{"errors":"hunter2"}"#.to_owned(),
        Besides::WrongTypes => {
            return r#"{"data":{"attributes":{"series":5,"times":[],"values":[]}}}"#.to_owned();
        }
        _ => {}
    }
    let all: BTreeMap<i64, ()> = lines.iter().flatten().map(|it| (it.0, ())).collect();
    let times: Vec<String> = all.keys().map(|it| (it * 1000).to_string()).collect();
    let queries = if kind == Kind::Counts { 2 } else { 1 };
    let (mut series, mut values) = (vec![], vec![]);
    for query in 0..queries {
        for line in lines {
            series.push(format!(
                r#"{{"group_tags":["host:hunter2"],"query_index":{query},"unit":[null,null]}}"#
            ));
            let at = |time: &i64| line.iter().find(|it| it.0 == *time).map_or("null", |it| it.1.as_str());
            values.push(format!("[{}]", all.keys().map(at).collect::<Vec<_>>().join(",")));
        }
    }
    let again = if besides == Besides::KeyTwice { r#""times":[],"# } else { "" };
    format!(
        r#"{{"data":{{"id":"0","type":"timeseries_response","attributes":{{{again}"series":[{}],"times":[{}],"values":[{}]}}}}}}"#,
        series.join(","),
        times.join(","),
        values.join(",")
    )
}
