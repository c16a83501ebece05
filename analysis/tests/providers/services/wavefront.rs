use analysis::provider::{AnyQuestion, Wavefront};

use super::{Besides, Kind, Known, Points, number_behind};
use crate::classes::Taken;

pub(super) static KNOWN: Known = Known {
    name: "wavefront",
    kind: "application/json",
    question: |timed| AnyQuestion::Wavefront(Wavefront(timed)),
    answer,
    unusual: |row, kind| match (row.name, kind) {
        // It says only that there are warnings.
        ("partial answer", Kind::Value) => Some(Taken::Number(5.0)),
        ("partial answer", Kind::Counts) => Some(Taken::Counts(5, 5)),
        _ => None,
    },
    asked: |request| (number_behind(request, "&s="), number_behind(request, "&e=")),
    requests: || {
        vec![
            (
                "GET /below/api/v2/chart/api?q=bad+%221%22&s=1799999760000&e=1799999940000&g=m&summarization=SUM&strict=true\
                 &i=false&autoEvents=false&cached=false",
                "",
            ),
            (
                "GET /below/api/v2/chart/api?q=all&s=1799999760000&e=1799999940000&g=m&summarization=SUM&strict=true\
                 &i=false&autoEvents=false&cached=false",
                "",
            ),
        ]
    },
};

fn answer(_kind: Kind, lines: &[Points], besides: Besides) -> String {
    let line = |it: &Points| {
        let points: Vec<String> = it.iter().map(|it| format!("[{},{}]", it.0, it.1)).collect();
        format!(r#"{{"label":"hunter2","host":"a","tags":{{}},"data":[{}]}}"#, points.join(","))
    };
    let lines: Vec<String> = lines.iter().map(line).collect();
    let series = match besides {
        Besides::WrongTypes => r#""timeseries":{"data":5},"#.to_owned(),
        _ if lines.is_empty() => String::new(),
        _ => format!(r#""timeseries":[{}],"#, lines.join(",")),
    };
    let besides = match besides {
        Besides::Error => r#""errorType":"QuerySyntaxError","errorMessage":"hunter2","#,
        Besides::Warning => r#""warnings":"hunter2","#,
        Besides::KeyTwice => r#""granularity":1,"#,
        Besides::Nothing | Besides::Partial | Besides::WrongTypes | Besides::OneForAll => "",
    };
    format!(r#"{{"query":"hunter2","name":"it",{series}{besides}"granularity":60}}"#)
}
