use analysis::provider::{AnyQuestion, Graphite};

use super::{Besides, Kind, Known, Points, number_behind};
use crate::classes::Taken;

pub(super) static KNOWN: Known = Known {
    name: "graphite",
    kind: "application/json",
    question: |timed| AnyQuestion::Graphite(Graphite(timed)),
    answer,
    unusual: |row, kind| match (row.name, kind) {
        // It has no words for them.
        ("warnings" | "partial answer", Kind::Value) => Some(Taken::Number(5.0)),
        ("warnings" | "partial answer", Kind::Counts) => Some(Taken::Counts(5, 5)),
        _ => None,
    },
    asked: |request| (number_behind(request, "from=") * 1000, number_behind(request, "&until=") * 1000),
    requests: || {
        // One bucket more, for how far apart points are; `from` itself is left out, `until` is not.
        vec![
            (
                "GET /below/render?target=bad+%221%22&from=1799999699&until=1799999939&format=json&noCache=1",
                "",
            ),
            ("GET /below/render?target=all&from=1799999699&until=1799999939&format=json&noCache=1", ""),
        ]
    },
};

fn answer(_kind: Kind, lines: &[Points], besides: Besides) -> String {
    let line = |it: &Points| {
        let first = it.first().map(|it| (it.0 - 60, "null".to_owned()));
        let points: Vec<String> = first.iter().chain(it).map(|it| format!("[{}, {}]", it.1, it.0)).collect();
        let again = if besides == Besides::KeyTwice { r#""target": "it", "# } else { "" };
        let points = points.join(", ");
        format!(r#"{{{again}"target": "hunter2", "tags": {{"name": "hunter2"}}, "datapoints": [{points}]}}"#)
    };
    match besides {
        Besides::Error => r#"{"error": "hunter2"}"#.to_owned(),
        Besides::WrongTypes => r#"[{"target": "hunter2", "datapoints": 5}]"#.to_owned(),
        Besides::Nothing | Besides::Warning | Besides::Partial | Besides::KeyTwice | Besides::OneForAll => {
            format!("[{}]", lines.iter().map(line).collect::<Vec<_>>().join(", "))
        }
    }
}
