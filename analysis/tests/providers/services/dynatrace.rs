use analysis::provider::{AnyQuestion, Dynatrace};

use super::{Besides, Kind, Known, Points, number_behind};

pub(super) static KNOWN: Known = Known {
    name: "dynatrace",
    kind: "application/json; charset=utf-8",
    question: |timed| {
        AnyQuestion::Dynatrace(Dynatrace { entities: Some("type(\"SERVICE\")".to_owned()), timed })
    },
    answer,
    unusual: |_, _| None,
    asked: |request| (number_behind(request, "from="), number_behind(request, "&to=")),
    requests: || {
        vec![
            (
                "GET /below/api/v2/metrics/query?metricSelector=bad+%221%22&from=1799999760000&to=1799999940000\
                 &resolution=1m&entitySelector=type%28%22SERVICE%22%29",
                "",
            ),
            (
                "GET /below/api/v2/metrics/query?metricSelector=all&from=1799999760000&to=1799999940000\
                 &resolution=1m&entitySelector=type%28%22SERVICE%22%29",
                "",
            ),
        ]
    },
};

/// The times are the ends of the buckets.
fn answer(_kind: Kind, lines: &[Points], besides: Besides) -> String {
    let line = |it: &Points| {
        let times: Vec<String> = it.iter().map(|it| ((it.0 + 60) * 1000).to_string()).collect();
        let values: Vec<&str> = it.iter().map(|it| it.1.as_str()).collect();
        format!(
            r#"{{"dimensions":["hunter2"],"dimensionMap":{{}},"timestamps":[{}],"values":[{}]}}"#,
            times.join(","),
            values.join(",")
        )
    };
    let lines: Vec<String> = lines.iter().map(line).collect();
    let data = if besides == Besides::WrongTypes { "5".to_owned() } else { format!("[{}]", lines.join(",")) };
    let warned = if besides == Besides::Warning { r#","warnings":["hunter2"]"# } else { "" };
    let next = if besides == Besides::Partial { "\"hunter2\"" } else { "null" };
    let again = if besides == Besides::KeyTwice { r#""resolution":"1h","# } else { "" };
    match besides {
        Besides::Error => r#"{"error":{"code":400,"message":"hunter2"}}"#.to_owned(),
        _ => format!(
            r#"{{"totalCount":1,"nextPageKey":{next},{again}"resolution":"1m","result":[{{"metricId":"it","dataPointCountRatio":0.01,"dimensionCountRatio":0.01,"data":{data}{warned}}}]}}"#
        ),
    }
}
