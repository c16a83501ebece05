use analysis::provider::{AnyQuestion, CloudWatch};

use super::{Besides, Kind, Known, Points, in_words, number_behind};

pub(super) static KNOWN: Known = Known {
    name: "cloud watch",
    kind: "application/x-amz-json-1.0",
    question: |timed| {
        let words = |it: &str| {
            let name = it.replace('"', "\\\"");
            format!(r#"{{"Metric":{{"Namespace":"Shop","MetricName":"{name}"}},"Stat":"Sum"}}"#)
        };
        AnyQuestion::CloudWatch(CloudWatch(in_words(timed, words)))
    },
    answer,
    unusual: |_, _| None,
    asked: |request| {
        (number_behind(request, "\"StartTime\":") * 1000, number_behind(request, "\"EndTime\":") * 1000)
    },
    requests: || {
        vec![
            (
                "POST /below/",
                "{\"StartTime\":1799999760,\"EndTime\":1799999940,\"ScanBy\":\"TimestampAscending\",\"MetricDataQueries\":\
                 [{\"Id\":\"it\",\"MetricStat\":{\"Metric\":{\"Namespace\":\"Shop\",\"MetricName\":\"bad \\\"1\\\"\"},\
                 \"Stat\":\"Sum\",\"Period\":60}}]}",
            ),
            (
                "POST /below/",
                "{\"StartTime\":1799999760,\"EndTime\":1799999940,\"ScanBy\":\"TimestampAscending\",\"MetricDataQueries\":\
                 [{\"Id\":\"it\",\"MetricStat\":{\"Metric\":{\"Namespace\":\"Shop\",\"MetricName\":\"all\"},\"Stat\":\"Sum\",\
                 \"Period\":60}}]}",
            ),
        ]
    },
};

fn answer(_kind: Kind, lines: &[Points], besides: Besides) -> String {
    let status = match besides {
        Besides::Error => "InternalError",
        Besides::Partial => "PartialData",
        _ => "Complete",
    };
    let again = if besides == Besides::KeyTwice { r#""Id":"it","# } else { "" };
    let line = |it: &Points| {
        let times: Vec<String> = it.iter().map(|it| it.0.to_string()).collect();
        let values: Vec<String> = it.iter().map(|it| it.1.clone()).collect();
        let (times, values) = (times.join(","), values.join(","));
        format!(
            r#"{{{again}"Id":"it","Label":"hunter2","Timestamps":[{times}],"Values":[{values}],"StatusCode":"{status}"}}"#
        )
    };
    // A metric that is not there has a line without points.
    let lines: Vec<String> =
        if lines.is_empty() { vec![line(&vec![])] } else { lines.iter().map(line).collect() };
    let results = match besides {
        Besides::WrongTypes => r#"{"Values":5}"#.to_owned(),
        _ => format!("[{}]", lines.join(",")),
    };
    let messages =
        if besides == Besides::Warning { r#"[{"Code":"hunter2","Value":"hunter2"}]"# } else { "[]" };
    format!(r#"{{"MetricDataResults":{results},"Messages":{messages}}}"#)
}
