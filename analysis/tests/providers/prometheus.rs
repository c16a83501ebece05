//! How a Prometheus says what the table's classes are about.

use analysis::provider::{AnyQuestion, Prometheus};

use crate::classes::Content;

/// The four kinds of question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Query,
    Value,
    Counts,
    Histogram,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Query, Self::Value, Self::Counts, Self::Histogram];

    pub(crate) fn question(self) -> AnyQuestion {
        AnyQuestion::Prometheus(match self {
            Self::Query => Prometheus::Query("sum(up)".to_owned()),
            Self::Value => Prometheus::Value("up".to_owned()),
            Self::Counts => Prometheus::Counts { bad: "bad_total".to_owned(), total: "all_total".to_owned() },
            Self::Histogram => Prometheus::Histogram("seconds_bucket".to_owned()),
        })
    }

    fn over_time(self) -> bool {
        matches!(self, Self::Counts | Self::Histogram)
    }
}

fn success(kind: &str, result: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#)
}

/// One series: a number in the shape that the kind of question asks for, the number as a JSON literal.
fn series(kind: Kind, now: i64, number: &str, index: usize, away: i64) -> String {
    let at = now - 10;
    let labels = |more: &str| format!(r#"{{"__name__":"it","instance":"{index}","note":"hunter2"{more}}}"#);
    if !kind.over_time() {
        return format!(
            r#"{{"metric":{},"value":[{},{number}]}}"#,
            labels(""),
            if away == 0 { at } else { now + away }
        );
    }
    let values = match away {
        0 => format!(r#"[[{},"0"],[{},"0"],[{at},{number}]]"#, now - 130, now - 60),
        away => format!(r#"[[{},"0"],[{},{number}]]"#, now + away - 10, now + away),
    };
    if kind == Kind::Counts {
        return format!(r#"{{"metric":{},"values":{values}}}"#, labels(""));
    }
    let bucket =
        |le: &str| format!(r#"{{"metric":{},"values":{values}}}"#, labels(&format!(r#","le":"{le}""#)));
    format!("{},{}", bucket("0.1"), bucket("+Inf"))
}

/// The body of an answer at `now`, in seconds.
pub(crate) fn body(kind: Kind, now: i64, content: Content) -> Vec<u8> {
    let shape = if kind.over_time() { "matrix" } else { "vector" };
    let one = |number: &str, away: i64| success(shape, &format!("[{}]", series(kind, now, number, 1, away)));
    let several = |n: usize| {
        let all: Vec<String> = (0..n).map(|i| series(kind, now, "\"5\"", i, 0)).collect();
        success(shape, &format!("[{}]", all.join(",")))
    };
    let text = match content {
        Content::Scalar => success("scalar", &format!(r#"[{},"5"]"#, now - 10)),
        Content::Text => success("string", &format!(r#"[{},"hunter2"]"#, now - 10)),
        Content::One => one("\"5\"", 0),
        Content::Nothing => success(shape, "[]"),
        Content::Two => several(2),
        Content::Many => several(10_000),
        Content::OverTime => {
            success("matrix", &format!("[{}]", series(as_over_time(kind), now, "\"5\"", 1, 0)))
        }
        Content::NativeHistogram => native(kind, now),
        Content::Value(number) => one(&format!("\"{number}\""), 0),
        Content::Literal(literal) => one(literal, 0),
        Content::Away(seconds) => one("\"5\"", seconds),
        Content::ErrorInside => r#"{"status":"error","errorType":"hunter2","error":"hunter2"}"#.to_owned(),
        Content::Warnings => one("\"5\"", 0).replace("]}}", r#"]},"warnings":["hunter2"]}"#),
        Content::PartialAnswer => {
            one("\"5\"", 0).replacen(r#"{"status""#, r#"{"isPartial":true,"status""#, 1)
        }
        Content::Twice => one("\"5\"", 0).replacen(r#"{"status""#, r#"{"status":"error","status""#, 1),
        Content::WrongTypes => {
            r#"{"status":"success","data":{"resultType":"vector","result":{"metric":5}}}"#.to_owned()
        }
    };
    text.into_bytes()
}

fn as_over_time(kind: Kind) -> Kind {
    if kind.over_time() { kind } else { Kind::Counts }
}

fn native(kind: Kind, now: i64) -> String {
    let value =
        |at: i64, n: u32| format!(r#"[{at},{{"count":"{n}","sum":"1","buckets":[[0,"0.5","1","{n}"]]}}]"#);
    if kind.over_time() {
        let values = format!("[{},{},{}]", value(now - 130, 1), value(now - 60, 1), value(now - 10, 6));
        success("matrix", &format!(r#"[{{"metric":{{"instance":"1"}},"histograms":{values}}}]"#))
    } else {
        success("vector", &format!(r#"[{{"metric":{{"instance":"1"}},"histogram":{}}}]"#, value(now - 10, 5)))
    }
}
