//! What holds for every question by HTTP: retries and their budget, waiting, cancellation, turns, trust.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use analysis::{
    Measured, Missing,
    provider::{Failure, Memory, PerArm, Polled, Source, SourceConfig},
};

use crate::{
    NOW,
    classes::Content,
    harness::{Outcome, Test},
    prometheus::{self, Kind},
    run,
    server::{Reply, Script, Server},
    span,
};

fn good() -> Reply {
    Reply::Json(prometheus::body(Kind::Query, NOW, Content::One))
}

fn status(line: &str) -> Reply {
    Reply::Raw(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes())
}

/// The first replies, then good ones.
fn after(first: Vec<Reply>) -> Script {
    let asked = AtomicUsize::new(0);
    Arc::new(move |_| first.get(asked.fetch_add(1, Ordering::SeqCst)).cloned().unwrap_or_else(good))
}

async fn ask(source: &Source) -> Polled {
    let question = PerArm { canary: Kind::Query.question(), baseline: None };
    question.poll(Some(source), span(), None, &mut [Memory::default(), Memory::default()]).await
}

fn is_number(polled: &Polled) -> bool {
    matches!(polled, Polled::Poll(poll, None) if poll.measured == Measured::Values { canary: vec![5.0], baseline: vec![] })
}

fn failure(polled: Polled) -> Option<Failure> {
    if let Polled::Poll(_, failure) = polled { failure } else { None }
}

fn differs<T: PartialEq + std::fmt::Debug>(what: &str, expected: T, got: T) -> Outcome {
    if expected == got { vec![] } else { vec![format!("{what}: {expected:?} expected, got {got:?}")] }
}

fn a_passing_refusal_is_asked_again() -> Outcome {
    run(async {
        let server = Server::start(after(vec![status("503 x"), Reply::Reset])).await;
        let source = Source::new(SourceConfig::new(server.url())).unwrap();
        let polled = ask(&source).await;
        let mut wrong = differs("requests", 3, server.seen.requests.load(Ordering::SeqCst));
        wrong.extend(differs("a number", true, is_number(&polled)));
        wrong
    })
}

fn a_wait_that_is_asked_for_is_kept() -> Outcome {
    run(async {
        let server = Server::start(after(vec![status("429 x\r\nretry-after: 1")])).await;
        let source = Source::new(SourceConfig::new(server.url())).unwrap();
        #[allow(clippy::disallowed_methods, reason = "a test of waiting")]
        let began = std::time::Instant::now();
        let polled = ask(&source).await;
        let mut wrong = differs("a number", true, is_number(&polled));
        wrong.extend(differs("waited", true, Duration::from_millis(990) <= began.elapsed()));
        wrong
    })
}

fn a_source_in_trouble_is_not_asked_three_times_as_often() -> Outcome {
    run(async {
        let server = Server::start(Arc::new(|_| status("503 x"))).await;
        let source = Source::new(SourceConfig::new(server.url())).unwrap();
        for _ in 0..40 {
            ask(&source).await;
        }
        // Ten retries are saved up, and every ten questions earn one more.
        let requests = server.seen.requests.load(Ordering::SeqCst);
        differs("retries of 40 questions are 10 to 15", true, (50..=55).contains(&requests))
    })
}

fn whoever_stops_asking_closes_the_connection() -> Outcome {
    run(async {
        let server = Server::start(Arc::new(|_| Reply::Silence)).await;
        let source = Source::new(SourceConfig::new(server.url())).unwrap();
        let seen = server.seen.clone();
        let asked = async {
            while seen.requests.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        };
        let mut wrong = vec![];
        tokio::select! {
            _ = ask(&source) => wrong.push("silence was answered".to_owned()),
            () = asked => {}
        }
        // The question was dropped; the server notices that its connection is closed.
        let closed = async {
            while server.seen.closed.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), closed).await.is_err() {
            wrong.push("the connection stays open".to_owned());
        }
        wrong
    })
}

fn no_more_questions_at_once_than_allowed() -> Outcome {
    run(async {
        let server = Server::start(Arc::new(|_| good())).await;
        let mut config = SourceConfig::new(server.url());
        config.limits.concurrency = 2;
        let source = Arc::new(Source::new(config).unwrap());
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..32 {
            let source = source.clone();
            asked.spawn(async move { is_number(&ask(&source).await) });
        }
        let all = asked.join_all().await;
        let mut wrong = differs("answered", true, all.into_iter().all(|it| it));
        wrong.extend(differs(
            "at most two at once",
            true,
            server.seen.most_at_once.load(Ordering::SeqCst) <= 2,
        ));
        wrong
    })
}

fn who_gets_no_turn_in_time_says_so() -> Outcome {
    run(async {
        let server = Server::start(Arc::new(|_| Reply::Silence)).await;
        let mut config = SourceConfig::new(server.url());
        config.limits.concurrency = 1;
        config.limits.timeout = Duration::from_millis(300);
        let source = Source::new(config).unwrap();
        let (one, other) = tokio::join!(ask(&source), ask(&source));
        let both = [failure(one), failure(other)];
        let busy = both.iter().filter(|it| matches!(it, Some(Failure::Busy(_)))).count();
        let late = both.iter().filter(|it| matches!(it, Some(Failure::TimedOut(_)))).count();
        // Whoever waits for a turn and gets it has its own time to be answered in.
        differs("one is answered late, the other too or gets no turn", (2, true), (busy + late, 1 <= late))
    })
}

fn a_source_is_trusted_by_its_own_authority_and_name() -> Outcome {
    run(async {
        let (server, pem) = Server::start_tls(Arc::new(|_| good())).await;
        let of = |address: String, authorities: Option<&str>, name: Option<&str>, insecure: bool| {
            let mut config = SourceConfig::new(address);
            config.tls.authorities = authorities.map(|it| it.as_bytes().to_vec());
            config.tls.server_name = name.map(str::to_owned);
            config.tls.insecure_skip_verify = insecure;
            Source::new(config).unwrap()
        };
        let port = server.address.port();
        let by_name = format!("https://localhost:{port}");
        let by_number = format!("https://127.0.0.1:{port}");
        let mut wrong = vec![];
        for (what, source, trusted) in [
            ("its authority", of(by_name.clone(), Some(&pem), None, false), true),
            ("nobody's authority", of(by_name, None, None, false), false),
            ("another name", of(by_number.clone(), Some(&pem), None, false), false),
            ("the name it has", of(by_number.clone(), Some(&pem), Some("metrics.internal"), false), true),
            ("a name it has not", of(by_number.clone(), Some(&pem), Some("other.internal"), false), false),
            ("whoever answers", of(by_number, None, None, true), true),
        ] {
            let polled = ask(&source).await;
            wrong.extend(differs(what, trusted, is_number(&polled)));
            if !trusted {
                wrong.extend(differs(what, Some(Failure::Untrusted), failure(polled)));
            }
        }
        wrong
    })
}

fn a_failure_of_one_arm_makes_no_poll_of_the_other() -> Outcome {
    run(async {
        let script: Script = Arc::new(|text| if text.contains("absent") { status("400 x") } else { good() });
        let server = Server::start(script).await;
        let source = Source::new(SourceConfig::new(server.url())).unwrap();
        let absent = serde_json::from_str(r#"{"prometheus":{"query":"absent"}}"#).unwrap();
        let question = PerArm { canary: Kind::Query.question(), baseline: Some(absent) };
        let polled = question
            .poll(Some(&source), span(), Some(0.1), &mut [Memory::default(), Memory::default()])
            .await;
        match polled {
            Polled::Poll(poll, Some(Failure::Status { status: 400, .. })) => {
                differs("measured", Measured::Missing(Missing::Error), poll.measured)
            }
            other => vec![format!("{other:?}")],
        }
    })
}

pub(crate) fn tests() -> Vec<Test> {
    let test = |name: &str, check: fn() -> Outcome| Test {
        name: format!("every question: {name}"),
        check: Box::new(check),
    };
    vec![
        test("a passing refusal is asked again", a_passing_refusal_is_asked_again),
        test("a wait that is asked for is kept", a_wait_that_is_asked_for_is_kept),
        test(
            "a source in trouble is not asked three times as often",
            a_source_in_trouble_is_not_asked_three_times_as_often,
        ),
        test("whoever stops asking closes the connection", whoever_stops_asking_closes_the_connection),
        test("no more questions at once than allowed", no_more_questions_at_once_than_allowed),
        test("who gets no turn in time says so", who_gets_no_turn_in_time_says_so),
        test(
            "a source is trusted by its own authority and name",
            a_source_is_trusted_by_its_own_authority_and_name,
        ),
        test(
            "a failure of one arm makes no poll of the other",
            a_failure_of_one_arm_makes_no_poll_of_the_other,
        ),
    ]
}
