use std::fmt::Write as _;

use analysis::{
    Missing,
    provider::{AnyQuestion, Flux},
};
use jiff::Timestamp;

use super::{Besides, Kind, Known, Points, in_words};
use crate::classes::Taken;

pub(super) static KNOWN: Known = Known {
    name: "flux",
    kind: "text/csv",
    question: |timed| {
        let words = |it: &str| {
            let name = it.replace('"', "\\\"");
            format!(
                "from(bucket: \"shop\") |> range(start: v.timeRangeStart, stop: v.timeRangeStop) |> filter(fn: (r) => r.q == \
                 \"{name}\") |> aggregateWindow(every: v.windowPeriod, fn: sum, createEmpty: false, timeSrc: \"_start\")"
            )
        };
        AnyQuestion::Flux(Flux { org: "my shop".to_owned(), timed: in_words(timed, words) })
    },
    answer,
    unusual: |row, kind| match (row.name, kind) {
        // It has no words for them.
        ("warnings" | "partial answer", Kind::Value) => Some(Taken::Number(5.0)),
        ("warnings" | "partial answer", Kind::Counts) => Some(Taken::Counts(5, 5)),
        // A column says that it holds texts.
        ("string", _) => Some(Taken::Not(Missing::NotOneNumber)),
        // An empty cell is none.
        ("empty string", _) => Some(Taken::Not(Missing::NoData)),
        _ => None,
    },
    asked: |request| {
        let time = |before: &str| {
            let rest = request.split_once(before).unwrap().1;
            rest.split([',', '}']).next().unwrap().parse::<Timestamp>().unwrap().as_millisecond()
        };
        // A bucket that begins at the end of the time asked for would be one that is named by its end.
        (time("timeRangeStart: "), time("timeRangeStop: ") - 60_000)
    },
    requests: || {
        vec![("POST /below/api/v2/query?org=my+shop", BAD), ("POST /below/api/v2/query?org=my+shop", ALL)]
    },
};

const BAD: &str = "{\"query\":\"option v = {timeRangeStart: 2027-01-15T07:56:00Z, timeRangeStop: 2027-01-15T07:59:00Z, \
                   windowPeriod: 60s}\\nfrom(bucket: \\\"shop\\\") |> range(start: v.timeRangeStart, stop: v.timeRangeStop) |> \
                   filter(fn: (r) => r.q == \\\"bad \\\\\\\"1\\\\\\\"\\\") |> aggregateWindow(every: v.windowPeriod, fn: sum, \
                   createEmpty: false, timeSrc: \\\"_start\\\")\",\"type\":\"flux\",\"dialect\":{\"annotations\":[\"datatype\",\
                   \"default\"],\"delimiter\":\",\",\"header\":true}}";

const ALL: &str = "{\"query\":\"option v = {timeRangeStart: 2027-01-15T07:56:00Z, timeRangeStop: 2027-01-15T07:59:00Z, \
                   windowPeriod: 60s}\\nfrom(bucket: \\\"shop\\\") |> range(start: v.timeRangeStart, stop: v.timeRangeStop) |> \
                   filter(fn: (r) => r.q == \\\"all\\\") |> aggregateWindow(every: v.windowPeriod, fn: sum, createEmpty: false, \
                   timeSrc: \\\"_start\\\")\",\"type\":\"flux\",\"dialect\":{\"annotations\":[\"datatype\",\"default\"],\
                   \"delimiter\":\",\",\"header\":true}}";

/// Annotated CSV, as the documentation shows it.
fn answer(_kind: Kind, lines: &[Points], besides: Besides) -> String {
    match besides {
        Besides::Error => {
            return "#datatype,string,string\r\n#default,,\r\n,error,reference\r\n,{hunter2},897\r\n"
                .to_owned();
        }
        Besides::WrongTypes => {
            return "#datatype,string,long,string,double\r\n,result,table,_time,_value\r\n,_result,0,{hunter2},5\r\n".to_owned();
        }
        Besides::Nothing | Besides::Warning | Besides::Partial | Besides::KeyTwice | Besides::OneForAll => {}
    }
    // A query that finds nothing.
    if lines.is_empty() {
        return "\r\n".to_owned();
    }
    let numbers =
        lines.iter().flatten().all(|it| cell(&it.1).is_empty() || cell(&it.1).parse::<f64>().is_ok());
    let kind = if numbers { "double" } else { "string" };
    let again = if besides == Besides::KeyTwice { "_value" } else { "note" };
    let mut text = format!(
        "#datatype,string,long,dateTime:RFC3339,{kind},string\r\n#default,_result,,,,\r\n,result,table,_time,_value,{again}\r\n"
    );
    for (table, line) in lines.iter().enumerate() {
        for (at, number) in line {
            let number = cell(number).replace('"', "\"\"");
            let number = if number.contains([',', '"']) { format!("\"{number}\"") } else { number };
            let at = Timestamp::from_second(*at).unwrap();
            write!(text, ",,{table},{at},{number},{{hunter2}}\r\n").unwrap();
        }
    }
    text
}

/// What is in a cell for a literal of JSON.
fn cell(literal: &str) -> String {
    if literal == "null" { String::new() } else { literal.trim_matches('"').to_owned() }
}
