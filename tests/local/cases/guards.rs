//! What rolls a bad canary back where a document says nothing of analyses: the guards that are always on.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::fs::symlink,
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use libtest_mimic::Trial;
use serinus::api::view::{PhaseName, RolloutView};
use strategies::Cause;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::case;
use crate::{product::Product, rig::eventually};

pub(super) fn all() -> Vec<Trial> {
    vec![
        // First: it sleeps for minutes, beside the others. A process counts from a minute of age on, a leak after two more.
        case("a_canary_that_leaks_memory_is_rolled_back", leaks),
        case("a_canary_that_finds_nothing_is_rolled_back", finds_nothing),
        case("a_canary_whose_grpc_calls_fail_is_rolled_back", fails_calls),
        case("a_shadow_that_fails_is_rolled_back_and_no_user_meets_it", fails_as_a_shadow),
    ]
}

/// Half of the requests to the canary, until a person says more.
const HALF: &str = "canary: { steps: [ { name: half, weight: 50%, pause: {} } ] }";
/// A copy of each request to the canary, until a person says more.
const COPIES: &str = "shadow: { mirror: 100%, leave: { approve: {} } }";

/// A release that is as good as any, one that is not, and who has to find out.
struct Release {
    good: &'static [&'static str],
    bad: &'static [&'static str],
    strategy: &'static str,
    /// Of the requests, if they have one.
    media_type: Option<&'static str>,
    guard: &'static str,
    because: &'static str,
    /// How often a user asks.
    every: Duration,
    /// Longer than it takes on a loaded machine.
    within: Duration,
}

const GOOD: &[&str] = &["status", "200"];
const OFTEN: Duration = Duration::from_millis(10);
const SOON: Duration = Duration::from_secs(60);

async fn leaks() {
    // So seldom that a machine which does other things, too, makes no difference in latency.
    let (every, within) = (Duration::from_secs(1), Duration::from_mins(8));
    let release = Release {
        good: GOOD,
        bad: &["leak", "1"],
        strategy: HALF,
        media_type: None,
        guard: "memory",
        because: "the canary leaks memory",
        every,
        within,
    };
    assert_eq!(release.is_rolled_back().await.bad, 0);
}

async fn finds_nothing() {
    let release = Release {
        good: GOOD,
        bad: &["status", "404"],
        strategy: HALF,
        media_type: None,
        guard: "answers",
        because: "404",
        every: OFTEN,
        within: SOON,
    };
    release.is_rolled_back().await;
}

async fn fails_calls() {
    let release = Release {
        good: &["grpc", "0"],
        bad: &["grpc", "13"],
        strategy: HALF,
        media_type: Some("application/grpc"),
        guard: "golden",
        because: "bad requests",
        every: OFTEN,
        within: SOON,
    };
    release.is_rolled_back().await;
}

async fn fails_as_a_shadow() {
    let release = Release {
        good: GOOD,
        bad: &["status", "503"],
        strategy: COPIES,
        media_type: None,
        guard: "golden",
        because: "bad requests",
        every: OFTEN,
        within: SOON,
    };
    assert_eq!(release.is_rolled_back().await.bad, 0, "its answers are for nobody");
}

impl Release {
    fn document(&self, listen: SocketAddr, words: &[&str]) -> String {
        let command: Vec<&str> = ["parts", "service"].into_iter().chain(words.iter().copied()).collect();
        let command = serde_json::to_string(&command).unwrap();
        format!(
            "apiVersion: serinus.dev/v1alpha1
kind: Rollout
metadata: {{ name: shop }}
spec:
  workload: {{ process: {{ command: {command} }} }}
  traffic: [ {{ proxy: {{ listen: [ {{ address: \"{listen}\" }} ] }} }} ]
  strategy: {{ {} }}
",
            self.strategy
        )
    }

    /// Brings the good one up, hands the bad one in, and waits for the way back; answers what users met.
    async fn is_rolled_back(&self) -> Met {
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let programs = tempfile::tempdir().unwrap();
        symlink(std::env::current_exe().unwrap(), programs.path().join("parts")).unwrap();
        let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
        let product = Product::run(&self.document(listen, self.good), |it| {
            it.env("PATH", path);
        })
        .await;
        let first = product.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
        let users = Users::come(listen, self.media_type, self.every).await;
        product.apply(&self.document(listen, self.bad)).await;
        let is_back = |it: &RolloutView| it.phase == PhaseName::RolledBack;
        let view = async {
            loop {
                let view = product.view().await;
                if is_back(&view) {
                    return view;
                }
                let promoted = view.last.as_ref().is_some_and(|it| it.end == strategies::End::Promoted);
                assert!(!promoted, "promoted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let Ok(view) = tokio::time::timeout(self.within, view).await else {
            panic!("still there:\n{}\n{}", product.say(&["status"]), product.say(&["explain"]));
        };
        let Some(Cause::Analysis { id, because: Some(because), .. }) = &view.cause else {
            panic!("{:?}", view.cause);
        };
        assert_eq!(id.name.as_str(), self.guard, "{because}");
        assert!(because.as_str().contains(self.because), "{because}");
        assert_eq!(view.stable, first.stable);
        let status = product.say(&["status"]);
        assert!(status.contains(self.guard) && status.contains(self.because), "a person is told: {status}");
        users.go().await
    }
}

/// What users met.
#[derive(Default)]
struct Met {
    requests: u64,
    /// Without an answer, with another status than 200, or with another gRPC code than 0.
    bad: u64,
}

/// A user who asks again and again.
struct Users {
    stop: CancellationToken,
    asking: JoinHandle<Met>,
}

impl Users {
    async fn come(address: SocketAddr, media_type: Option<&'static str>, every: Duration) -> Self {
        let stream = eventually("a connection", async || TcpStream::connect(address).await.ok()).await;
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let asking = tokio::spawn(async move {
            let mut met = Met::default();
            let mut due = tokio::time::interval(every);
            while !stopped.is_cancelled() {
                due.tick().await;
                met.requests += 1;
                met.bad += u64::from(!is_good(&mut sender, media_type).await);
            }
            met
        });
        Self { stop, asking }
    }

    async fn go(self) -> Met {
        self.stop.cancel();
        let met = self.asking.await.unwrap();
        assert!(met.requests > 0);
        met
    }
}

async fn is_good(sender: &mut SendRequest<Full<Bytes>>, media_type: Option<&str>) -> bool {
    let mut request = Request::builder().method("POST").uri("http://shop/package.Service/Method");
    if let Some(it) = media_type {
        request = request.header("content-type", it).header("te", "trailers");
    }
    let Ok(answer) = sender.send_request(request.body(Full::default()).unwrap()).await else { return false };
    let status = answer.status();
    let Ok(body) = answer.into_body().collect().await else { return false };
    let code = body.trailers().and_then(|it| it.get("grpc-status"));
    status == 200 && code.is_none_or(|it| it == "0")
}
