use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
};

use analysis::{
    AnyJudge,
    calibrate::PodsWindow,
    poll::{OfPods, PodCounts},
};
use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(line: &str) -> Args {
    Line::try_parse_from(std::iter::once("calibrate").chain(line.split_whitespace())).unwrap().args
}

fn file(address: &str, selector: &str) -> tempfile::NamedTempFile {
    let text = format!(
        r#"
apiVersion: serinus.dev/v1alpha1
kind: AnalysisTemplate
metadata: {{ name: golden }}
spec:
  metrics:
    - name: errors
      judge: {{ sequential: {{}} }}
      provider:
        prometheus:
          address: http://{address}
          bad: requests_total{{{selector},code="500"}}
          total: requests_total{{{selector}}}
"#
    );
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

const SELECTOR: &str = r#"pod=~"$(arm.pods)""#;

/// A Prometheus whose pods answer ten requests per second since 1970, one in a hundred of them with an error. It
/// scrapes every ten seconds.
fn prometheus() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(&mut stream.unwrap()));
        }
    });
    address
}

fn answer(stream: &mut std::net::TcpStream) {
    let mut bytes = vec![0; 8192];
    let n = stream.read(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
    let form: Vec<(String, String)> = ["?", "\r\n\r\n"]
        .iter()
        .filter_map(|it| text.split_once(it))
        .flat_map(|(_, form)| {
            let form = form.split_whitespace().next().unwrap_or_default();
            url::form_urlencoded::parse(form.as_bytes()).into_owned().collect::<Vec<_>>()
        })
        .collect();
    let of = |key: &str| form.iter().find(|it| it.0 == key).map(|it| it.1.clone()).unwrap();
    let (query, time) = (of("query"), of("time").parse::<f64>().unwrap() as i64);
    let seconds: i64 = query.split_once('[').unwrap().1.split_once(['s', 'm']).unwrap().0.parse().unwrap();
    let every = if query.contains("code=") { 10 } else { 1 };
    let samples: Vec<String> = (time - seconds..=time)
        .filter(|it| it % 10 == 0)
        .map(|it| format!(r#"[{it},"{}"]"#, it / every * if every == 1 { 10 } else { 1 }))
        .collect();
    let body = format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"pod":"x"}},"values":[{}]}}]}}}}"#,
        samples.join(",")
    );
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
}

#[test]
fn what_pods_did_is_asked_of_their_provider_window_by_window() {
    let file = file(&prometheus().to_string(), SELECTOR);
    let line = format!(
        "-f {} --pods a,b,c --start 2026-01-01T00:00:00Z --end 2026-01-01T01:00:00Z --weight 30% --run 5m",
        file.path().display()
    );
    let metrics = block_on(args(&line).metrics()).unwrap();
    let windows = &metrics[0].windows;
    let counts = PodCounts { total: 600, bad: 6 };
    for it in &windows[1..] {
        assert_eq!((it.seconds, &it.pods), (60.0, &OfPods::Counts(vec![counts; 3])), "{it:?}");
    }
    assert!((58..=60).contains(&windows.len()), "{}", windows.len());
    assert_eq!(args(&line).run().unwrap(), Exit::Done);
}

#[test]
fn a_query_that_does_not_tell_pods_apart_is_refused() {
    let file = file("127.0.0.1:1", r#"job="shop""#);
    let line = format!(
        "-f {} --pods a,b --start 2026-01-01T00:00:00Z --end 2026-01-01T01:00:00Z",
        file.path().display()
    );
    let failure = args(&line).run().unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(failure.to_string().contains("the same about every pod"), "{failure}");
}

#[test]
fn a_provider_that_says_nothing_leaves_nothing_to_try() {
    let file = file("127.0.0.1:1", SELECTOR);
    let line = format!(
        "-f {} --pods a,b --start 2026-01-01T00:00:00Z --end 2026-01-01T00:03:00Z",
        file.path().display()
    );
    assert_eq!(args(&line).run().unwrap(), Exit::Undecided);
}

#[test]
fn a_file_needs_pods_and_a_time() {
    for line in ["-f x.yaml", "-f x.yaml --pods a,b", "--pods a,b", "shop -f x.yaml"] {
        let words = std::iter::once("calibrate").chain(line.split_whitespace());
        assert!(Line::try_parse_from(words).is_err(), "{line}");
    }
}

/// Two days of three pods; `bad` says how many of a pod's thousand requests of a minute are.
fn history(judge: &str, bad: impl Fn(i64, usize) -> u64) -> MetricHistory {
    let at = |minute: i64| Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap();
    let counts = |minute| (0..3).map(|pod| PodCounts { total: 1000, bad: bad(minute, pod) }).collect();
    let window = |it| PodsWindow { at: at(it), seconds: 60.0, pods: OfPods::Counts(counts(it)) };
    MetricHistory {
        analysis: "golden".to_owned(),
        metric: "errors".to_owned(),
        judge: serde_json::from_str::<AnyJudge>(judge).unwrap(),
        part: 0.5,
        windows: (1..=2880).map(window).collect(),
    }
}

fn said(history: &MetricHistory) -> Said {
    let length = Duration::from_mins(10);
    let trial = Trial { judge: &history.judge, part: history.part, weight: 0.3, length };
    Said::of(vec![(history, aa(&history.windows, &trial))], length)
}

#[test]
fn a_promise_that_is_kept_is_said_with_what_the_history_can_show() {
    let it = said(&history(r#"{"sequential":{}}"#, |minute, pod| 10 + (minute as u64 + pod as u64) % 3));
    assert_eq!(it.exit(), Exit::Done);
    insta::assert_snapshot!(it.text());
}

#[test]
fn a_promise_that_is_broken_is_said() {
    // As good as stable is worse than half as bad.
    let judge = r#"{"sequential":{"rollBack":{"worseThan":"0.5x"},"warmUp":"0s"}}"#;
    let it = said(&history(judge, |minute, pod| 10 + (minute as u64 + pod as u64) % 3));
    assert_eq!(it.exit(), Exit::RolledBack);
    insta::assert_snapshot!(it.text());
}

#[test]
fn a_judge_that_promises_nothing_is_tried_all_the_same() {
    let it = said(&history(r#"{"threshold":{"pass":"result < 0.02"}}"#, |_, _| 10));
    insta::assert_snapshot!(it.text());
}
