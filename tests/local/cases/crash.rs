use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use libtest_mimic::Trial;
use serinus::api::view::{DocumentChange, PhaseName};
use tokio_tungstenite::tungstenite::Message;

use super::case;
use crate::{
    kills::{self, Figures, Killing},
    rig::{BY_HAND, PATIENCE, Rig, document, eventually, good, kill},
};

pub(super) fn all() -> Vec<Trial> {
    vec![
        case("killing_the_control_process_fails_no_request_and_loses_nothing", control),
        case("killing_a_worker_fails_no_request_but_those_on_its_connections", worker),
        case("an_upgrade_under_load_fails_no_request", upgrade),
        case("a_websocket_outlives_the_control_process_and_an_upgrade", websocket),
        case("a_killed_supervisor_is_started_again_and_the_rollout_goes_on", supervisor),
    ]
}

/// How late an answer is depends on the machine that runs the tests, and how many it can carry while it runs other
/// tests beside them: `benches/kills.rs` counts lateness, at four times the rate.
fn killing(times: u32, seed: u64) -> Killing {
    Killing { times, rate: 500.0, late_after: Duration::MAX, seed }
}

#[track_caller]
fn none_failed(figures: &Figures) {
    let report = &figures.report;
    assert_eq!(report.failed(), 0, "{:?} {:#?}", report.outcomes, report.bad);
    assert!(figures.rollouts > 1, "{} rollouts", figures.rollouts);
    assert!(figures.checked.saves > 10, "{:?}", figures.checked);
}

async fn control() {
    none_failed(&kills::control(&killing(50, 11), |_| {}).await);
}

async fn worker() {
    let figures = kills::worker(&killing(10, 12), |_| {}).await;
    let report = &figures.report;
    assert!(report.failed() <= figures.may_fail, "{:?}: {:#?}", figures.may_fail, report.bad);
    assert!(figures.rollouts > 1, "{} rollouts", figures.rollouts);
}

async fn upgrade() {
    none_failed(&kills::upgrade(&killing(5, 13), |_| {}).await);
}

async fn websocket() {
    let rig = Rig::start().await;
    let backend = echo().await;
    let text = document(&good("v1"), BY_HAND, "");
    let (head, rest) = text.split_once("  replicas: 2").unwrap();
    let (_, traffic) = rest.split_once("  traffic:").unwrap();
    let release = format!("{{ revision: v1, addresses: [ \"{backend}\" ] }}");
    let workload = format!("  workload: {{ upstream: {{ current: v1, releases: [ {release} ] }} }}\n");
    rig.apply(&format!("{head}{workload}  traffic:{traffic}"), DocumentChange::Created).await;
    let view = rig.until("the release to serve", |it| it.phase == PhaseName::Idle).await;
    let url = format!("ws://{}/", view.addresses[0].address);
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    let mut said = 0;
    let mut answers = async || {
        said += 1;
        let text = format!("message {said}");
        socket.send(Message::text(text.clone())).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(answer.into_text().unwrap().as_str(), text);
    };
    answers().await;
    for restarts in 1..=3 {
        kill(rig.control().await);
        answers().await;
        eventually("the next control process", async || {
            rig.client.health().await.ok().filter(|it| restarts <= it.control_restarts)
        })
        .await;
        answers().await;
    }
    // The worker that holds it is told to end, and has some seconds for that.
    rig.supervised().await.upgrade(None).await.unwrap();
    answers().await;
}

/// Answers every message of every WebSocket with the same.
async fn echo() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // Whoever only looks whether somebody listens says nothing.
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

async fn supervisor() {
    let figures = kills::supervisor(&Killing { rate: 100.0, ..killing(5, 14) }, |_| {}).await;
    assert!(figures.rollouts > 0 && figures.outages.len() == 5, "{} rollouts", figures.rollouts);
    assert!(figures.report.failed() > 0, "nobody can be served while nobody is there");
}
