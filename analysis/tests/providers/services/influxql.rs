use analysis::provider::{AnyQuestion, Influxql};

use super::{Besides, Kind, Known, Points, in_words, number_behind};

pub(super) static KNOWN: Known = Known {
    name: "influxql",
    kind: "application/json",
    question: |timed| {
        let words = |it: &str| format!("SELECT sum(\"n\") FROM requests WHERE q = '{it}' OR x = 1");
        AnyQuestion::Influxql(Influxql { database: "shop".to_owned(), timed: in_words(timed, words) })
    },
    answer,
    unusual: |_, _| None,
    asked: |request| (number_behind(request, "time+%3E%3D+"), number_behind(request, "time+%3C+")),
    requests: || {
        vec![
            (
                "GET /below/query?db=shop&epoch=ms&q=SELECT+sum%28%22n%22%29+FROM+requests+WHERE+%28q+%3D+%27bad+%221%22%27\
                 +OR+x+%3D+1%29+AND+time+%3E%3D+1799999760000ms+AND+time+%3C+1799999940000ms\
                 +GROUP+BY+time%2860s%29+fill%28none%29",
                "",
            ),
            (
                "GET /below/query?db=shop&epoch=ms&q=SELECT+sum%28%22n%22%29+FROM+requests+WHERE+%28q+%3D+%27all%27\
                 +OR+x+%3D+1%29+AND+time+%3E%3D+1799999760000ms+AND+time+%3C+1799999940000ms\
                 +GROUP+BY+time%2860s%29+fill%28none%29",
                "",
            ),
        ]
    },
};

fn answer(_kind: Kind, lines: &[Points], besides: Besides) -> String {
    let line = |it: &Points| {
        let points: Vec<String> = it.iter().map(|it| format!("[{},{}]", it.0 * 1000, it.1)).collect();
        let points = points.join(",");
        format!(r#"{{"name":"requests","columns":["time","sum"],"values":[{points}]}}"#)
    };
    let series = match besides {
        Besides::WrongTypes => r#","series":{"values":5}"#.to_owned(),
        _ if lines.is_empty() => String::new(),
        _ => format!(r#","series":[{}]"#, lines.iter().map(line).collect::<Vec<_>>().join(",")),
    };
    let more = match besides {
        Besides::Error => r#","error":"hunter2""#,
        Besides::Warning => r#","messages":[{"level":"warning","text":"hunter2"}]"#,
        Besides::Partial => r#","partial":true"#,
        Besides::KeyTwice => r#","statement_id":0"#,
        Besides::Nothing | Besides::WrongTypes | Besides::OneForAll => "",
    };
    format!(r#"{{"results":[{{"statement_id":0{series}{more}}}]}}"#)
}
