//! Whether a replica can serve: asked again and again, as its document says.
//!
//! Each replica is asked by a task of its own. One that has not been ready yet is asked every tenth of a second, so
//! that a start is not made slow by the looking; afterwards as often as the document says. A process that was started
//! anew counts as not ready until it has answered again.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::mpsc, task::AbortHandle, time::timeout};

use crate::{
    clock,
    local::process::listening,
    workload::{HttpProbe, Readiness},
};

/// Longest pause between two questions to a replica that has never been ready.
const EAGER: Duration = Duration::from_millis(100);
/// How often it is looked where a process listens that cannot be asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One run of one replica: another run is another one to ask.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Run {
    /// Names the replica.
    pub replica: String,
    /// Process id, or 0 where it is not a process of ours.
    pub pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What is known of one run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// Whether it is ready; `None`: it ran before anybody here asked, and has not answered yet.
    pub ready: Option<bool>,
    /// Why the last question failed.
    pub because: Option<String>,
}

/// Asks the replicas of one rollout.
#[derive(Debug)]
pub struct Prober {
    asked: BTreeMap<Run, (AbortHandle, Answer)>,
    /// Whether what is to be asked has been said before: whatever comes later has just been started.
    begun: bool,
    tell: mpsc::UnboundedSender<(Run, Answer)>,
    told: mpsc::UnboundedReceiver<(Run, Answer)>,
}

impl Default for Prober {
    fn default() -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        Self { asked: BTreeMap::new(), begun: false, tell, told }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        for (task, _) in self.asked.values() {
            task.abort();
        }
    }
}

impl Prober {
    /// Asks exactly these from now on.
    pub fn ask(&mut self, runs: BTreeMap<Run, Readiness>) {
        self.asked.retain(|run, (task, _)| {
            let stays = runs.contains_key(run);
            if !stays {
                task.abort();
            }
            stays
        });
        let ready = self.begun.then_some(false);
        self.begun = true;
        for (run, readiness) in runs {
            let tell = self.tell.clone();
            self.asked.entry(run.clone()).or_insert_with(|| {
                let answer = Answer { ready, because: None };
                (tokio::spawn(keep_asking(run, readiness, tell)).abort_handle(), answer)
            });
        }
    }

    /// What is known of this run.
    #[must_use]
    pub fn answer(&self, run: &Run) -> Answer {
        self.asked.get(run).map(|(_, answer)| answer.clone()).unwrap_or_default()
    }

    /// Waits until something is known anew. Cancel safe.
    pub async fn changed(&mut self) {
        // `None` cannot be: this end holds a sender itself.
        if let Some(news) = self.told.recv().await {
            self.take(news);
        }
        while let Ok(news) = self.told.try_recv() {
            self.take(news);
        }
    }

    fn take(&mut self, (run, answer): (Run, Answer)) {
        if let Some((_, known)) = self.asked.get_mut(&run) {
            *known = answer;
        }
    }
}

/// Counts answers in a row.
#[derive(Debug, Default)]
struct Streak {
    ready: bool,
    other: u32,
}

impl Streak {
    /// Takes one answer; whether that turned the replica.
    fn take(&mut self, good: bool, readiness: &Readiness) -> bool {
        if good == self.ready {
            self.other = 0;
            return false;
        }
        self.other += 1;
        let needed = if good { readiness.successes } else { readiness.failures };
        if self.other < needed.max(1) {
            return false;
        }
        (self.ready, self.other) = (good, 0);
        true
    }
}

async fn keep_asking(run: Run, readiness: Readiness, tell: mpsc::UnboundedSender<(Run, Answer)>) {
    let every = readiness.every.0.max(Duration::from_millis(10));
    let (mut streak, mut was_ready, mut last) = (Streak::default(), false, None);
    let (mut looked, mut elsewhere) = (None::<Instant>, None);
    loop {
        let refused = bounded(&run, &readiness).await.err();
        let now = clock::instant();
        if refused.is_some() && run.pid != 0 && looked.is_none_or(|at| at + LOOK_EVERY <= now) {
            // Not at the first failure: a program that has just begun listens nowhere.
            elsewhere = looked.and_then(|_| listening::elsewhere(run.pid, run.address));
            looked = Some(now);
        }
        let because = refused.map(|it| match &elsewhere {
            Some(elsewhere) => format!("{it}: {elsewhere}"),
            None => it,
        });
        let turned = streak.take(because.is_none(), &readiness);
        was_ready |= streak.ready;
        if turned || (!streak.ready && last != because) {
            last.clone_from(&because);
            if tell.send((run.clone(), Answer { ready: Some(streak.ready), because })).is_err() {
                return;
            }
        }
        tokio::time::sleep(if was_ready { every } else { every.min(EAGER) }).await;
    }
}

async fn bounded(run: &Run, readiness: &Readiness) -> Result<(), String> {
    let within = readiness.timeout.0;
    let asked: std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>> = match &readiness.http {
        Some(http) => Box::pin(get(run.address, http)),
        None => Box::pin(connect(run.address)),
    };
    timeout(within, asked).await.unwrap_or_else(|_| Err(format!("no answer within {within:?}")))
}

async fn connect(address: SocketAddr) -> Result<(), String> {
    TcpStream::connect(address).await.map(drop).map_err(|error| format!("cannot connect: {error}"))
}

async fn get(address: SocketAddr, probe: &HttpProbe) -> Result<(), String> {
    let path = &probe.path;
    let stream = TcpStream::connect(address).await.map_err(|error| format!("cannot connect: {error}"))?;
    let broken = |error: hyper::Error| format!("no answer to GET {path}: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(broken)?;
    let request = question(address, probe).map_err(|error| format!("cannot ask {path}: {error}"))?;
    // It ends when the answer, or the question given up, is dropped; the body is nobody's concern.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    match status.is_success() || status.is_redirection() {
        true => Ok(()),
        false => Err(format!("GET {path} answered {status}{}", advice(status, probe))),
    }
}

fn question(address: SocketAddr, probe: &HttpProbe) -> Result<http::Request<Empty<Bytes>>, http::Error> {
    let named = |name: &str| probe.headers.iter().any(|it| it.name.eq_ignore_ascii_case(name));
    let mut request = http::Request::get(&probe.path).header(http::header::CONNECTION, "close");
    if !named("host") {
        let host = probe.host.clone().unwrap_or_else(|| address.to_string());
        request = request.header(http::header::HOST, host);
    }
    if !named("user-agent") {
        request = request.header(http::header::USER_AGENT, "serinus-readiness");
    }
    let given = probe.headers.iter();
    given.fold(request, |request, it| request.header(&it.name, &it.value)).body(Empty::new())
}

/// What to do about an answer that services give to a name they do not know.
fn advice(status: http::StatusCode, probe: &HttpProbe) -> &'static str {
    use http::StatusCode;
    let of_the_name = [StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
    let named = probe.host.is_some() || probe.headers.iter().any(|it| it.name.eq_ignore_ascii_case("host"));
    match of_the_name.contains(&status) || status == StatusCode::MISDIRECTED_REQUEST {
        true if !named => {
            "; if it answers to its own name only, write it in `readiness: { http: { host: … } }`"
        }
        true | false => "",
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::workload::ProbeHeader;

    fn probe(host: Option<&str>, headers: &[(&str, &str)]) -> HttpProbe {
        let header =
            |(name, value): &(&str, &str)| ProbeHeader { name: (*name).into(), value: (*value).into() };
        let headers = headers.iter().map(header).collect();
        HttpProbe { path: "/healthz".into(), host: host.map(Into::into), headers }
    }

    #[test]
    fn the_question_is_asked_by_the_name_that_was_said() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let host = |it: &HttpProbe| {
            let request = question(address, it).unwrap();
            let all: Vec<_> = request.headers().get_all("host").iter().cloned().collect();
            assert_eq!(all.len(), 1);
            all[0].to_str().unwrap().to_owned()
        };
        assert_eq!(host(&probe(None, &[])), "127.0.0.1:8080");
        assert_eq!(host(&probe(Some("shop.example"), &[])), "shop.example");
        assert_eq!(
            host(&probe(None, &[("host", "shop.example"), ("x-forwarded-proto", "https")])),
            "shop.example"
        );
    }

    #[test]
    fn who_refuses_a_name_it_does_not_know_is_suspected_of_that_only_where_none_was_said() {
        let status = http::StatusCode::BAD_REQUEST;
        assert!(advice(status, &probe(None, &[])).contains("host:"));
        assert_eq!(advice(status, &probe(Some("a"), &[])), "");
        assert_eq!(advice(status, &probe(None, &[("Host", "a")])), "");
        assert_eq!(advice(http::StatusCode::SERVICE_UNAVAILABLE, &probe(None, &[])), "");
    }

    #[test]
    fn a_replica_turns_only_after_enough_answers_in_a_row() {
        let readiness = Readiness { failures: 3, successes: 2, ..Readiness::default() };
        let mut streak = Streak::default();
        let turns: Vec<bool> = [true, false, true, true, false, false, true, false, false, false]
            .into_iter()
            .map(|good| streak.take(good, &readiness))
            .collect();
        assert_eq!(turns.iter().filter(|it| **it).count(), 2);
        assert!(turns[3] && turns[9], "{turns:?}");
    }

    /// Answers one connection with this, then closes.
    async fn server(answer: &'static str) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 512];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[track_caller]
    fn is(answer: &Result<(), String>, part: Option<&str>) {
        match (answer, part) {
            (Ok(()), None) => {}
            (Err(said), Some(part)) => assert!(said.contains(part), "{said}"),
            (Ok(()), Some(_)) | (Err(_), None) => panic!("{answer:?}, expected {part:?}"),
        }
    }

    #[tokio::test]
    async fn only_an_answer_from_200_to_399_is_ready() {
        let http = Readiness { http: Some(probe(None, &[])), ..Readiness::default() };
        let cases = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None),
            ("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", None),
            ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", Some("503")),
            ("SSH-2.0-server\r\n", Some("no answer to GET /healthz")),
            ("", Some("no answer to GET /healthz")),
        ];
        for (answer, part) in cases {
            let run = Run { replica: "a".into(), pid: 1, address: server(answer).await };
            is(&bounded(&run, &http).await, part);
        }
        let nobody = Run { replica: "a".into(), pid: 1, address: "127.0.0.1:1".parse().unwrap() };
        is(&bounded(&nobody, &http).await, Some("cannot connect"));
        is(&bounded(&nobody, &Readiness::default()).await, Some("cannot connect"));
    }
}
