//! How any web service says what the table's classes are about, and where it knows less than a Prometheus.

use analysis::{
    Missing,
    provider::{
        AnyQuestion, Web,
        web::{Pick, check_path},
    },
};

use crate::{
    NOW, check_with,
    classes::{Content, Row, TABLE, Taken},
    harness::Test,
};

fn question() -> AnyQuestion {
    AnyQuestion::Web(Web {
        path: "/stats?of=shop".to_owned(),
        pick: Pick::Value("$.data.value".to_owned()),
        time: Some("$.time".to_owned()),
    })
}

fn body(content: Content) -> Vec<u8> {
    let answer = |time: i64, value: &str, more: &str| {
        format!(r#"{{"time":{time},"note":"hunter2","data":{{"value":{value}}}{more}}}"#)
    };
    let now = |value: &str| answer(NOW - 10, value, "");
    let list = |n: usize| format!("[{}]", vec!["5"; n].join(","));
    let text = match content {
        Content::Scalar | Content::One => now("5"),
        Content::Text => now("\"hunter2\""),
        Content::Nothing => format!(r#"{{"time":{NOW},"data":{{}}}}"#),
        Content::Two => now(&list(2)),
        Content::Many => now(&list(10_000)),
        Content::OverTime => now("[[1,5],[2,5]]"),
        Content::NativeHistogram => now(r#"{"buckets":[1,2,3]}"#),
        Content::Value(number) => now(&format!("\"{number}\"")),
        Content::Literal(literal) => now(literal),
        Content::Away(seconds) => answer(NOW + seconds, "5", ""),
        Content::ErrorInside => r#"{"error":"hunter2"}"#.to_owned(),
        Content::Warnings => answer(NOW - 10, "5", r#","warnings":["hunter2"]"#),
        Content::PartialAnswer => answer(NOW - 10, "5", r#","isPartial":true"#),
        Content::Twice => answer(NOW - 10, "5", r#","time":1"#),
        Content::WrongTypes => format!(r#"{{"time":{NOW},"data":5}}"#),
    };
    text.into_bytes()
}

/// What a row is taken for here: as one number of a Prometheus, but for what a JSONPath cannot know.
fn expected(row: &Row) -> Taken {
    match row.name {
        "string" => Taken::Not(Missing::Error),
        // Nothing is where the path leads.
        "status error with 200" | "wrong types" => Taken::Not(Missing::NoData),
        // A web service has no word for it that is known.
        "warnings" | "partial answer" => Taken::Number(5.0),
        _ => row.query,
    }
}

fn paths_are_checked_when_they_are_read() -> Vec<String> {
    let mut wrong = vec![];
    for path in ["$.data.value", "$.a[0].b", "$['a b']", "$.items[?@.name=='shop'].rate"] {
        wrong.extend(check_path(path).err().map(|it| format!("{path}: {it}")));
    }
    for path in ["", "data.value", "$.", "$.a[", "$..[?(@.a=="] {
        wrong.extend(check_path(path).is_ok().then(|| format!("{path} is accepted")));
    }
    wrong
}

pub(crate) fn tests() -> Vec<Test> {
    let of_table = TABLE.iter().map(|row| Test {
        name: format!("web: {}", row.name),
        check: Box::new(move || check_with(row, question(), expected(row), body)),
    });
    let paths = Test {
        name: "web: paths are checked when they are read".to_owned(),
        check: Box::new(paths_are_checked_when_they_are_read),
    };
    of_table.chain([paths]).collect()
}
