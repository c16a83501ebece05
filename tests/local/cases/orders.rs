use std::time::Duration;

use libtest_mimic::Trial;
use serinus::{
    api::view::{DocumentChange, PhaseName},
    clock,
};
use strategies::{Action, Cause, End, Weight};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::case;
use crate::rig::{BY_HAND, Rig, document, good};

pub(super) fn all() -> Vec<Trial> {
    vec![
        case("an_abort_is_obeyed_and_remembered", abort),
        case("an_abort_ends_the_canarys_traffic_at_once", abort_is_fast),
        case("an_order_without_effect_is_no_surprise_later", no_surprise),
    ]
}

async fn on_trial(rig: &Rig) -> std::net::SocketAddr {
    let applied = rig.apply(&document(&good("v1"), BY_HAND, ""), DocumentChange::Created).await;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    rig.apply(&document(&good("v2"), BY_HAND, ""), DocumentChange::NewRevision).await;
    half(rig).await;
    applied.rollouts[0].addresses[0].address
}

async fn half(rig: &Rig) -> serinus::api::view::RolloutView {
    rig.until("the canary's half", |it| it.weight.settled == Some(Weight::from_percent(50))).await
}

async fn abort() {
    let rig = Rig::start().await;
    on_trial(&rig).await;
    let view = half(&rig).await;
    assert!(
        view.orders.contains(&Action::Abort) && view.orders.contains(&Action::Promote),
        "{:?}",
        view.orders
    );
    let answer = rig.order(Action::Abort).await;
    assert!(answer.accepted, "{:?}", answer.because);
    let view = rig.until("the roll-back", |it| it.phase == PhaseName::RolledBack).await;
    assert!(matches!(view.cause, Some(Cause::Aborted { .. })));
    let answer = rig.order(Action::Abort).await;
    assert!(!answer.accepted && answer.because.is_some(), "there is nothing left to abort");
    assert!(rig.order(Action::Retry).await.accepted);
    half(&rig).await;
    assert!(rig.order(Action::PromoteFull).await.accepted);
    rig.until("the promotion", |it| it.last.as_ref().is_some_and(|it| it.end == End::Promoted)).await;
}

/// Measures what users see: from the order's leaving to the last answer of the canary. Prints all of it; the bound in
/// the test is far above what a quiet machine needs.
async fn abort_is_fast() {
    let rig = Rig::start().await;
    let address = on_trial(&rig).await;
    let mut took = vec![];
    for _ in 0..20 {
        half(&rig).await;
        let begin = clock::instant();
        let order = async {
            assert!(rig.order(Action::Abort).await.accepted);
        };
        let watch = async {
            let mut last_of_canary = begin;
            while begin.elapsed() < Duration::from_millis(600) {
                let asked = clock::instant();
                if version(address).await.contains("v2") {
                    last_of_canary = asked;
                }
            }
            last_of_canary.duration_since(begin)
        };
        let ((), last) = tokio::join!(order, watch);
        took.push(last);
        assert!(rig.order(Action::Retry).await.accepted);
    }
    took.sort();
    println!("abort order to the last request of the canary: {took:?}");
    assert!(took[18] < Duration::from_millis(500), "{took:?}");
}

async fn version(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn no_surprise() {
    let rig = Rig::start().await;
    on_trial(&rig).await;
    let answer = rig.order(Action::Resume).await;
    assert!(!answer.accepted, "nothing is paused");
    assert!(rig.order(Action::Pause).await.accepted);
    let view = rig.view().await;
    assert!(view.hold.is_some(), "the earlier order does not lift the pause");
    assert!(rig.order(Action::Resume).await.accepted);
    assert!(rig.view().await.hold.is_none());
}
