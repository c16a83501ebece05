use analysis::provider::{AnyQuestion, CloudMonitoring};
use jiff::Timestamp;

use super::{Besides, Kind, Known, Points};

pub(super) static KNOWN: Known = Known {
    name: "cloud monitoring",
    kind: "application/json; charset=UTF-8",
    question: |timed| {
        let [align, reduce] = ["ALIGN_MAX", "REDUCE_MEAN"].map(str::to_owned);
        AnyQuestion::CloudMonitoring(CloudMonitoring { project: "shop-1".to_owned(), align, reduce, timed })
    },
    answer,
    unusual: |_, _| None,
    asked: |request| (time(request, "interval.startTime="), time(request, "interval.endTime=")),
    requests: || {
        vec![
            (
                "GET /below/v3/projects/shop-1/timeSeries?filter=bad+%221%22&interval.startTime=2027-01-15T07%3A56%3A00Z\
                 &interval.endTime=2027-01-15T07%3A59%3A00Z&aggregation.alignmentPeriod=60s\
                 &aggregation.perSeriesAligner=ALIGN_DELTA&aggregation.crossSeriesReducer=REDUCE_SUM",
                "",
            ),
            (
                "GET /below/v3/projects/shop-1/timeSeries?filter=all&interval.startTime=2027-01-15T07%3A56%3A00Z\
                 &interval.endTime=2027-01-15T07%3A59%3A00Z&aggregation.alignmentPeriod=60s\
                 &aggregation.perSeriesAligner=ALIGN_DELTA&aggregation.crossSeriesReducer=REDUCE_SUM",
                "",
            ),
        ]
    },
};

fn time(request: &str, before: &str) -> i64 {
    let written = request.split_once(before).unwrap().1.split_once('&').unwrap().0.replace("%3A", ":");
    written.parse::<Timestamp>().unwrap().as_millisecond()
}

/// The newest point first; whole numbers in quotes.
fn answer(_kind: Kind, lines: &[Points], besides: Besides) -> String {
    let point = |(at, number): &(i64, String)| {
        let [begin, end] = [*at, at + 60].map(|it| Timestamp::from_second(it).unwrap());
        let value = match number.parse::<i64>() {
            Ok(_) => format!(r#"{{"int64Value":"{number}"}}"#),
            Err(_) if number.starts_with('{') => format!(r#"{{"distributionValue":{number}}}"#),
            Err(_) => format!(r#"{{"doubleValue":{number}}}"#),
        };
        format!(r#"{{"interval":{{"startTime":"{begin}","endTime":"{end}"}},"value":{value}}}"#)
    };
    let line = |it: &Points| {
        let points: Vec<String> = it.iter().rev().map(point).collect();
        format!(
            r#"{{"metric":{{"labels":{{"note":"hunter2"}}}},"metricKind":"DELTA","valueType":"INT64","points":[{}]}}"#,
            points.join(",")
        )
    };
    let series: Vec<String> = lines.iter().map(line).collect();
    let besides = match besides {
        Besides::Error => {
            return r#"{"error":{"code":400,"message":"hunter2","status":"INVALID_ARGUMENT"}}"#.to_owned();
        }
        Besides::WrongTypes => return r#"{"timeSeries":{"points":5}}"#.to_owned(),
        Besides::Warning => r#","executionErrors":[{"code":4,"message":"hunter2"}]"#,
        Besides::Partial => r#","nextPageToken":"hunter2""#,
        Besides::KeyTwice => r#","timeSeries":[]"#,
        Besides::Nothing | Besides::OneForAll if series.is_empty() => return "{}".to_owned(),
        Besides::Nothing | Besides::OneForAll => "",
    };
    format!(r#"{{"timeSeries":[{}]{besides},"unit":"1"}}"#, series.join(","))
}
