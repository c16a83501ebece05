use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(line: &str) -> Args {
    Line::try_parse_from(std::iter::once("analyze").chain(line.split(' '))).unwrap().args
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

const TEMPLATE: &str = r#"
apiVersion: serinus.dev/v1alpha1
kind: AnalysisTemplate
metadata: { name: queue }
spec:
  args: [ { name: service } ]
  metrics:
    - name: queue
      every: 10s
      judge: { threshold: { pass: "result < 10.0", count: 3 } }
      provider: { prometheus: { address: "ADDRESS", query: "max(queue{service=\"$(args.service)\"})" } }
"#;

#[track_caller]
fn refused(line: &str, part: &str) {
    let failure = args(line).run().unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage, "{failure}");
    assert!(failure.to_string().contains(part), "{failure}");
}

#[test]
fn what_cannot_be_asked_is_refused_before_anybody_is_asked() {
    let file = file(&TEMPLATE.replace("ADDRESS", "http://127.0.0.1:1"));
    let path = file.path().display();
    refused(&format!("-f {path}"), "needs a value for `service`");
    refused(&format!("-f {path} --arg service=a --arg other=b"), "no argument `other`");
    refused(&format!("-f {path} --template absent"), "no AnalysisTemplate `absent`");
    refused(
        &format!("-f {path} --arg service=a --start 2026-01-02T00:00:00Z --end 2026-01-01T00:00:00Z"),
        "not after --start",
    );
    refused(
        &format!("-f {path} --arg service=a --start 2026-01-02T00:00:00Z --end 9000-01-01T00:00:00Z"),
        "has not come yet",
    );
}

/// A source that says the same number to every question, as of the time that it is asked about.
fn source(number: &'static str) -> std::net::SocketAddr {
    source_that_says(move |_| number)
}

/// A source that says a number of its own to each question.
fn source_that_says(number: impl Fn(usize) -> &'static str + Send + 'static) -> std::net::SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (asked, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let number = number(asked);
            let mut text = vec![0; 4096];
            let n = stream.read(&mut text).unwrap();
            let text = String::from_utf8_lossy(&text[..n]).into_owned();
            let time =
                text.split("time=").nth(1).and_then(|it| it.split([' ', '&']).next()).unwrap().to_owned();
            let body = format!(
                r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[{time},"{number}"]}}]}}}}"#
            );
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
    address
}

#[test]
fn a_time_that_has_passed_is_judged_at_once() {
    for (number, exit) in [("5", Exit::Done), ("50", Exit::RolledBack), ("NaN", Exit::Undecided)] {
        let file = file(&TEMPLATE.replace("ADDRESS", &format!("http://{}", source(number))));
        let line = format!(
            "-f {} --arg service=a --start 2026-01-01T00:00:00Z --end 2026-01-01T00:10:00Z --output json",
            file.path().display()
        );
        assert_eq!(args(&line).run().unwrap(), exit, "{number}");
    }
}

#[test]
fn nobody_there_is_undecided_and_never_a_pass() {
    let file = file(&TEMPLATE.replace("ADDRESS", "http://127.0.0.1:1"));
    let line = format!(
        "-f {} --arg service=a --start 2026-01-01T00:00:00Z --end 2026-01-01T00:01:00Z",
        file.path().display()
    );
    assert_eq!(args(&line).run().unwrap(), Exit::Undecided);
}

#[test]
fn a_metric_without_a_count_is_measured_to_the_end() {
    let judge = r#"{ threshold: { pass: "result < 10.0" } }"#;
    for (turns, exit) in [(40, Exit::RolledBack), (1000, Exit::Done)] {
        let source = source_that_says(move |asked| if asked < turns { "5" } else { "50" });
        let text = TEMPLATE.replace("ADDRESS", &format!("http://{source}"));
        let file = file(&text.replace(r#"{ threshold: { pass: "result < 10.0", count: 3 } }"#, judge));
        let line = format!(
            "-f {} --arg service=a --start 2026-01-01T00:00:00Z --end 2026-01-01T00:10:00Z",
            file.path().display()
        );
        assert_eq!(args(&line).run().unwrap(), exit, "bad from measurement {turns} on, of 60");
    }
}

#[test]
fn an_outage_passes_by_no_option_of_a_judge() {
    let judges = [
        r#"{ kayenta: { canary: { direction: increase, nanStrategy: replace }, step: 10s, lifetime: 60s } }"#,
        r#"{ threshold: { pass: "result < 10.0", noData: pass, count: 3, consecutiveErrorLimit: -1 } }"#,
        r#"{ fixedHorizon: { test: welch, after: 30s } }"#,
    ];
    for judge in judges {
        let text = TEMPLATE.replace(r#"{ threshold: { pass: "result < 10.0", count: 3 } }"#, judge);
        let text =
            text.replace("ADDRESS", "http://127.0.0.1:1").replace("queue{", r#"queue{pod=~\"$(arm.pods)\","#);
        let file = file(&text);
        let line = format!(
            "-f {} --arg service=a --canary pods=b --stable pods=a --start 2026-01-01T00:00:00Z --end 2026-01-01T00:01:00Z",
            file.path().display()
        );
        assert_eq!(args(&line).run().unwrap(), Exit::Undecided, "{judge}");
    }
}

#[test]
fn two_templates_that_disagree_are_told_apart() {
    let lax = TEMPLATE.replace("ADDRESS", &format!("http://{}", source("5")));
    let strict = lax.replace("name: queue }", "name: strict }").replace("result < 10.0", "result < 1.0");
    let file = file(&format!("{lax}---{strict}"));
    let judged = |against: &str| {
        let line = format!(
            "-f {} --template queue --against {against} --arg service=a --start 2026-01-01T00:00:00Z \
             --end 2026-01-01T00:10:00Z",
            file.path().display()
        );
        args(&line).run().unwrap()
    };
    assert_eq!(judged("strict"), Exit::Failed);
    assert_eq!(judged("queue"), Exit::Done);
}

#[test]
fn a_picture_of_nothing_is_refused() {
    let file = file(&TEMPLATE.replace("ADDRESS", &format!("http://{}", source("5"))));
    refused(
        &format!(
            "-f {} --arg service=a --start 2026-01-01T00:00:00Z --end 2026-01-01T00:01:00Z --picture /nonexistent/x.svg",
            file.path().display()
        ),
        "nothing to draw",
    );
}
