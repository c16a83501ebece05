//! Services that keep numbers by buckets of time: how each of them says what the table's classes are about, what exactly
//! it is asked, and that polls in any rhythm count every event once. Replies have the shapes of the services' public
//! documentation.

use std::{sync::Arc, time::Duration};

use analysis::{
    Measured, Missing,
    provider::{AnyQuestion, Memory, PerArm, Polled, Slots, Source, SourceConfig, Span, Timed, Wanted},
};
use jiff::Timestamp;

use crate::{
    NOW, check_served,
    classes::{Content, Row, TABLE, Taken},
    credentials,
    harness::{Outcome, Test},
    run,
    server::{Reply, Script, Server},
};

mod cloud_monitoring;
mod cloud_watch;
mod datadog;
mod dynatrace;
mod flux;
mod graphite;
mod influxql;
mod new_relic;
mod sky_walking;
mod splunk;
mod wavefront;

/// The kind of question.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Value,
    Counts,
}

/// The beginning of a bucket in seconds, and what is written where its number belongs.
type Points = Vec<(i64, String)>;

/// What else an answer says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Besides {
    Nothing,
    Error,
    Warning,
    Partial,
    KeyTwice,
    WrongTypes,
    OneForAll,
}

/// A service, as it is known from its documentation.
struct Known {
    name: &'static str,
    /// The content type of its answers.
    kind: &'static str,
    question: fn(Timed) -> AnyQuestion,
    /// Its answer to one request of such a question: the same series for each query.
    answer: fn(Kind, &[Points], Besides) -> String,
    /// What a row is taken for, where it is another than usual.
    unusual: fn(&Row, Kind) -> Option<Taken>,
    /// The times that a request is about, in milliseconds.
    asked: fn(&str) -> (i64, i64),
    /// What the question about both is: method and path with its query, and the body.
    requests: fn() -> Vec<(&'static str, &'static str)>,
}

static ALL: [&Known; 11] = [
    &graphite::KNOWN,
    &influxql::KNOWN,
    &flux::KNOWN,
    &cloud_watch::KNOWN,
    &datadog::KNOWN,
    &new_relic::KNOWN,
    &wavefront::KNOWN,
    &sky_walking::KNOWN,
    &dynatrace::KNOWN,
    &splunk::KNOWN,
    &cloud_monitoring::KNOWN,
];

const MINUTE: Duration = Duration::from_secs(60);

fn timed(kind: Kind, delay: u64) -> Timed {
    let wanted = match kind {
        Kind::Value => Wanted::Value("it".to_owned()),
        Kind::Counts => Wanted::Counts { bad: "bad \"1\"".to_owned(), total: "all".to_owned() },
    };
    Timed { wanted, slots: Slots { bucket: MINUTE, delay: Duration::from_secs(delay) } }
}

fn body(known: &Known, kind: Kind, content: Content) -> Vec<u8> {
    let newest = |number: &str| vec![vec![(NOW - 60, number.to_owned())]];
    let (lines, besides) = match content {
        Content::Scalar => (newest("5"), Besides::OneForAll),
        Content::One => (newest("5"), Besides::Nothing),
        Content::Text => (newest("\"hunter2\""), Besides::Nothing),
        Content::Nothing => (vec![], Besides::Nothing),
        Content::Two => (vec![newest("5").remove(0); 2], Besides::Nothing),
        Content::Many => (vec![newest("5").remove(0); 10_000], Besides::Nothing),
        Content::OverTime => {
            (vec![vec![(NOW - 120, "0".to_owned()), (NOW - 60, "5".to_owned())]], Besides::Nothing)
        }
        Content::NativeHistogram => (newest("{\"buckets\":[1,2,3]}"), Besides::Nothing),
        Content::Value(number) => (newest(&format!("\"{number}\"")), Besides::Nothing),
        Content::Literal(literal) => (newest(literal), Besides::Nothing),
        Content::Away(seconds) => (vec![vec![(NOW + seconds, "5".to_owned())]], Besides::Nothing),
        Content::ErrorInside => (newest("5"), Besides::Error),
        Content::Warnings => (newest("5"), Besides::Warning),
        Content::PartialAnswer => (newest("5"), Besides::Partial),
        Content::Twice => (newest("5"), Besides::KeyTwice),
        Content::WrongTypes => (newest("5"), Besides::WrongTypes),
    };
    (known.answer)(kind, &lines, besides).into_bytes()
}

/// What a row is taken for by such a service: as one number or as counters of a Prometheus, with a few differences.
fn expected(known: &Known, row: &Row, kind: Kind) -> Taken {
    if let Some(taken) = (known.unusual)(row, kind) {
        return taken;
    }
    match (row.name, kind) {
        // A bucket may be without a number.
        ("null", _) => Taken::Not(Missing::NoData),
        // Where a number belongs.
        ("string", _) => Taken::Not(Missing::Error),
        // Numbers over time are what is asked for, and the newest is wanted.
        ("scalar" | "matrix", Kind::Value) => Taken::Number(5.0),
        ("scalar" | "matrix", Kind::Counts) => Taken::Counts(5, 5),
        // Longer than what is read.
        ("vector of ten thousand", _) if 1024 * 1024 < body(known, kind, Content::Many).len() => {
            Taken::Not(Missing::Error)
        }
        ("vector of ten thousand", Kind::Counts) => Taken::Counts(50_000, 50_000),
        (_, Kind::Value) => row.query,
        (_, Kind::Counts) => row.counts,
    }
}

/// One row with one question.
fn of_table(known: &'static Known, kind: Kind) -> impl Iterator<Item = Test> {
    TABLE.iter().map(move |row| Test {
        name: format!("{} {}: {}", known.name, format!("{kind:?}").to_lowercase(), row.name),
        check: Box::new(move || {
            let question = (known.question)(timed(kind, 0));
            check_served(row, question, expected(known, row, kind), known.kind, move |content| {
                body(known, kind, content)
            })
        }),
    })
}

fn whole(kind: &str, body: &str) -> Reply {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    Reply::Raw([head.as_bytes(), body.as_bytes()].concat())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// The same question in the words of a language that has no others.
fn in_words(timed: Timed, words: fn(&str) -> String) -> Timed {
    let wanted = match timed.wanted {
        Wanted::Value(it) => Wanted::Value(words(&it)),
        Wanted::Counts { bad, total } => Wanted::Counts { bad: words(&bad), total: words(&total) },
    };
    Timed { wanted, ..timed }
}

fn source(known: &Known, address: String) -> Source {
    let mut config = SourceConfig::new(address);
    config.credentials = Some(credentials(&(known.question)(timed(Kind::Value, 0))));
    Source::new(config).unwrap()
}

fn question(known: &Known, timed: Timed) -> PerArm {
    PerArm { canary: (known.question)(timed), baseline: None }
}

/// What a question about counts sends, to the letter. The buckets that are not settled are not asked for.
fn asks_as_documented(known: &'static Known) -> Outcome {
    run(async {
        let script: Script = Arc::new(move |_| {
            whole(
                known.kind,
                &(known.answer)(Kind::Counts, &[vec![(NOW - 120, "5".to_owned())]], Besides::Nothing),
            )
        });
        let server = Server::start(script).await;
        let source = source(known, format!("{}/below/", server.url()));
        // Half a minute into a bucket, and buckets settle for a minute.
        let span = Span { began: at(NOW - 240), from: at(NOW - 240), to: at(NOW + 30) };
        let mut memory = [Memory::default(), Memory::default()];
        let polled =
            question(known, timed(Kind::Counts, 60)).poll(Some(&source), span, None, &mut memory).await;
        let mut wrong = vec![];
        if !matches!(&polled, Polled::Poll(poll, None) if matches!(poll.measured, Measured::Counts { .. })) {
            wrong.push(format!("{polled:?}"));
        }
        let texts = server.seen.texts.lock().unwrap();
        let sent: Vec<(&str, &str)> = texts
            .iter()
            .filter_map(|text| {
                let (head, body) = text.split_once("\r\n\r\n")?;
                Some((head.lines().next()?.strip_suffix(" HTTP/1.1")?, body))
            })
            .collect();
        if sent != (known.requests)() {
            wrong.push(format!("asked {sent:#?}, and not {:#?}", (known.requests)()));
        }
        wrong
    })
}

/// Polls a service whose minutes hold 100, 101, … events, every seventh of them one bad one.
fn counts_every_event_once(known: &'static Known) -> Outcome {
    run(async {
        let script: Script = Arc::new(move |request| {
            let (from, until) = (known.asked)(request);
            let minutes = (from.div_euclid(60_000) - 1)..=until.div_euclid(60_000);
            let number = |minute: i64| 100 + minute - NOW / 60;
            let points: Points = minutes.map(|it| (it * 60, number(it).to_string())).collect();
            whole(known.kind, &(known.answer)(Kind::Counts, &[points], Besides::Nothing))
        });
        let server = Server::start(script).await;
        let source = source(known, server.url());
        let question = question(known, timed(Kind::Counts, 20));
        let mut memory = [Memory::default(), Memory::default()];
        let (mut sum, mut polls, mut last) = (0, 0, NOW);
        for step in [10, 65, 5, 130, 700, 15, 59, 61, 3600, 20, 45, 60] {
            let now = last + step;
            let span = Span { began: at(NOW + 1), from: at(last), to: at(now) };
            match question.poll(Some(&source), span, None, &mut memory).await {
                Polled::Poll(poll, None) => {
                    let Measured::Counts { canary, .. } = poll.measured else {
                        panic!("{:?}", poll.measured)
                    };
                    sum += canary.total;
                    polls += 1;
                }
                Polled::NothingNew => {}
                other => return vec![format!("after {} s: {other:?}", now - NOW)],
            }
            last = now;
        }
        // The first whole minute after counting began is that from 60 s on, or the one after it where it is not known
        // which end of a minute a time is; the last one is over 20 s ago.
        let first = if known.name == "splunk" { 2 } else { 1 };
        let minutes = first..(last - NOW - 20) / 60;
        let expected: i64 = minutes.map(|it| 100 + it).sum();
        if i64::try_from(sum) == Ok(expected) && 4 < polls {
            vec![]
        } else {
            vec![format!("{sum} of {expected} in {polls} polls")]
        }
    })
}

/// The value of a bucket is given once, and a newer one when it is complete.
fn a_value_is_judged_once(known: &'static Known) -> Outcome {
    run(async {
        let script: Script = Arc::new(move |request| {
            let (from, until) = (known.asked)(request);
            let minutes = from.div_euclid(60_000)..=until.div_euclid(60_000);
            let points: Points = minutes.map(|it| (it * 60, (it - NOW / 60).to_string())).collect();
            whole(known.kind, &(known.answer)(Kind::Value, &[points], Besides::Nothing))
        });
        let server = Server::start(script).await;
        let source = source(known, server.url());
        let question = question(known, timed(Kind::Value, 0));
        let mut memory = [Memory::default(), Memory::default()];
        let mut got = vec![];
        for seconds in [190, 200, 241, 299, 600] {
            let span = Span { began: at(NOW), from: at(NOW), to: at(NOW + seconds) };
            got.push(match question.poll(Some(&source), span, None, &mut memory).await {
                Polled::Poll(poll, None) => match poll.measured {
                    Measured::Values { canary, .. } => canary.first().copied(),
                    other => return vec![format!("{other:?}")],
                },
                Polled::NothingNew => None,
                other => return vec![format!("{other:?}")],
            });
        }
        let expected = [Some(2.0), None, Some(3.0), None, Some(9.0)];
        if got == expected { vec![] } else { vec![format!("{got:?}, and not {expected:?}")] }
    })
}

/// A number in the text of a request, behind `before`.
fn number_behind(text: &str, before: &str) -> i64 {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}")).1;
    let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().unwrap_or_else(|_| panic!("no number behind {before} in {text}"))
}

pub(crate) fn tests() -> Vec<Test> {
    let of = |known: &'static Known| {
        let named = |what: &str, check: fn(&'static Known) -> Outcome| Test {
            name: format!("{}: {what}", known.name),
            check: Box::new(move || check(known)),
        };
        of_table(known, Kind::Value).chain(of_table(known, Kind::Counts)).chain([
            named("asks as documented", asks_as_documented),
            named("counts every event once", counts_every_event_once),
            named("a value is judged once", a_value_is_judged_once),
        ])
    };
    ALL.into_iter().flat_map(of).collect()
}
