//! Every provider against every kind of reply, over a real socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::wildcard_enum_match_arm, reason = "a test")]

mod classes;
mod command;
#[path = "../vectors/harness.rs"]
#[allow(dead_code, reason = "shared with the vectors")]
mod harness;
mod prometheus;
mod server;
mod services;
mod transport;
mod web;

use std::{process::ExitCode, sync::Arc, sync::atomic::Ordering, time::Duration};

use analysis::{
    AnyJudge, Measured, Poll, Setting, Verdict,
    provider::{
        AnyQuestion, AwsKeys, Credentials, Memory, PerArm, Polled, Secret, Source, SourceConfig, Span,
    },
};
use jiff::Timestamp;

use crate::{
    classes::{Class, Content, Row, TABLE, Taken},
    harness::{Outcome, Test},
    prometheus::Kind,
    server::{Script, Server},
};

/// The moment that all questions are about.
pub(crate) const NOW: i64 = 1_800_000_000;

/// The secret that must not be shown anywhere.
pub(crate) const SECRET: &str = "hunter2";

pub(crate) fn span() -> Span {
    let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
    Span { began: at(NOW - 120), from: at(NOW - 120), to: at(NOW) }
}

/// Runs `what` to its end on a runtime of its own.
pub(crate) fn run<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(what)
}

/// Asks `question` about the canary, as somebody with a secret.
pub(crate) async fn ask(question: AnyQuestion, address: String, timeout: Duration) -> Polled {
    let mut config = SourceConfig::new(address);
    config.limits.timeout = timeout;
    config.credentials = Some(credentials(&question));
    let source = Source::new(config).unwrap();
    let question = PerArm { canary: question, baseline: None };
    question.poll(Some(&source), span(), None, &mut [Memory::default(), Memory::default()]).await
}

/// As whom a question is asked.
pub(crate) fn credentials(question: &AnyQuestion) -> Credentials {
    match question {
        AnyQuestion::CloudWatch(_) => Credentials::Aws(AwsKeys {
            region: "eu-central-1".to_owned(),
            access_key: Secret::new("AKIDEXAMPLE"),
            secret_key: Secret::new(SECRET),
            session_token: Some(Secret::new(SECRET)),
        }),
        _ => Credentials::Bearer(Secret::new(SECRET)),
    }
}

fn taken(polled: &Polled) -> Taken {
    let Polled::Poll(poll, _) = polled else { return Taken::Values(0) };
    match &poll.measured {
        Measured::Values { canary, .. } if canary.len() == 1 => Taken::Number(canary[0]),
        Measured::Values { canary, .. } => Taken::Values(canary.len()),
        Measured::Counts { canary, .. } => Taken::Counts(canary.total, canary.bad),
        Measured::Histogram(it) => Taken::Histogram(*it.canary.last().unwrap()),
        Measured::Missing(why) => Taken::Not(*why),
        other => panic!("{other:?}"),
    }
}

/// What a threshold with its defaults says of one such poll, the kindest condition of three.
fn passes(poll: &Poll) -> bool {
    [
        "{\"pass\":\"result >= 0.0\",\"count\":1}",
        "{\"fail\":\"result > 1.0e9\",\"count\":1}",
        "{\"pass\":\"result < 1.0e9\",\"count\":1}",
    ]
    .iter()
    .any(|it| {
        let judge: AnyJudge = serde_json::from_str(&format!("{{\"threshold\":{it}}}")).unwrap();
        let mut judging = judge.begin(Setting::alone(poll.at, Duration::from_mins(10)));
        judging.observe(poll);
        judging.verdict() == Verdict::Pass
    })
}

fn check(row: &'static Row, kind: Kind) -> Outcome {
    let expected = match kind {
        Kind::Query => row.query,
        Kind::Value => row.value,
        Kind::Counts => row.counts,
        Kind::Histogram => row.histogram,
    };
    let body = move |content: Content| prometheus::body(kind, NOW, content);
    check_with(row, kind.question(), expected, body)
}

/// One row with one question, whose answers are JSON.
pub(crate) fn check_with(
    row: &'static Row,
    question: AnyQuestion,
    expected: Taken,
    body: impl Fn(Content) -> Vec<u8> + Send + Sync + 'static,
) -> Outcome {
    check_served(row, question, expected, "application/json", body)
}

/// One row with one question, whose answers are of this content type.
pub(crate) fn check_served(
    row: &'static Row,
    question: AnyQuestion,
    expected: Taken,
    kind: &'static str,
    body: impl Fn(Content) -> Vec<u8> + Send + Sync + 'static,
) -> Outcome {
    run(async move {
        let elsewhere = Server::start(Arc::new(|_| server::Reply::Silence)).await;
        let class = row.class;
        let other = elsewhere.url();
        let script: Script = Arc::new(move |_| class.reply(&body, kind, &other));
        let server = Server::start(script).await;
        let address = match class {
            Class::BadTls => format!("https://{}", server.address),
            // A port that was just free: nobody listens.
            Class::Refused => format!("http://{}", free_address().await),
            _ => server.url(),
        };
        let timeout = Duration::from_millis(if class.hangs() { 300 } else { 20_000 });
        let polled = ask(question, address, timeout).await;
        let mut wrong = vec![];
        let got = taken(&polled);
        if got != expected {
            wrong.push(format!("{expected:?} expected, got {polled:?}").replace(SECRET, "…"));
        }
        if format!("{polled:?}").contains(SECRET) || said(&polled).contains(SECRET) {
            wrong.push("what was replied or a secret is shown".to_owned());
        }
        let Polled::Poll(poll, _) = &polled else { return wrong };
        let one_number = matches!(got, Taken::Number(_) | Taken::Counts(1.., _));
        if passes(poll) && !one_number {
            wrong.push("a threshold passes on it".to_owned());
        }
        let requests = server.seen.requests.load(Ordering::SeqCst);
        if class != Class::Whole(Content::Many) && requests_of_one_question(requests, class) {
            wrong.push(format!("{requests} requests"));
        }
        if server.seen.body_bytes.load(Ordering::SeqCst) > 64 * 1024 * 1024 {
            wrong.push("an endless answer was read on and on".to_owned());
        }
        if elsewhere.seen.requests.load(Ordering::SeqCst) != 0 {
            wrong.push("a redirect was followed".to_owned());
        }
        wrong
    })
}

/// Whether one question was sent too often or too rarely; a counter is asked about twice where the first is answered.
fn requests_of_one_question(requests: usize, class: Class) -> bool {
    match class {
        Class::Whole(_) => !(1..=2).contains(&requests),
        // A longer time may be asked for in shorter pieces.
        Class::OneByteTooLong | Class::Flood => requests == 0 || 6 < requests,
        // Time may be over before the question is sent.
        _ if class.hangs() => 1 < requests,
        _ => requests != class.requests(),
    }
}

fn said(polled: &Polled) -> String {
    if let Polled::Poll(_, Some(failure)) = polled { failure.to_string() } else { String::new() }
}

async fn free_address() -> std::net::SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn main() -> ExitCode {
    let mut tests = vec![];
    for kind in Kind::ALL {
        tests.extend(TABLE.iter().map(|row| Test {
            name: format!("prometheus {}: {}", format!("{kind:?}").to_lowercase(), row.name),
            check: Box::new(move || check(row, kind)),
        }));
    }
    tests.extend(web::tests());
    tests.extend(services::tests());
    tests.extend(command::tests());
    tests.extend(transport::tests());
    harness::run(tests)
}
