use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use libtest_mimic::Trial;
use serinus::api::view::{DocumentChange, PhaseName};
use strategies::{Action, Weight};
use tempfile::TempDir;

use super::case;
use crate::rig::{BY_HAND, Rig, document, eventually, good};

pub(super) fn all() -> Vec<Trial> {
    vec![
        case("a_full_disk_stops_the_acting_and_not_the_serving", || stops("enospc-while", "disk is full")),
        case("a_failing_sync_stops_the_acting_and_not_the_serving", || stops("sync-eio-while", "disk fails")),
        case("an_abort_ordered_while_the_disk_is_full_is_saved_when_there_is_room", an_abort_waits_for_room),
        case("a_read_only_disk_stops_the_acting_and_not_the_serving", || stops("erofs-while", "disk fails")),
    ]
}

/// A machine in the middle of a rollout, and the file that makes its disk fail in this way while it is there.
async fn half_way(fault: &str) -> (Rig, SocketAddr, PathBuf, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let (shim, failing) = (shim(directory.path(), "faults"), directory.path().join("failing"));
    let rig = Rig::start_with(&[
        ("LD_PRELOAD", shim.to_str().unwrap()),
        ("FAULT_PATH", "/store.db"),
        ("FAULT_KIND", fault),
        ("FAULT_WHILE", failing.to_str().unwrap()),
    ])
    .await;
    let applied = rig.apply(&document(&good("v1"), BY_HAND, ""), DocumentChange::Created).await;
    let address = applied.rollouts[0].addresses[0].address;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    rig.apply(&document(&good("v2"), BY_HAND, ""), DocumentChange::NewRevision).await;
    let half = Some(Weight::from_percent(50));
    rig.until("the canary's half", |it| it.weight.settled == half).await;
    (rig, address, failing, directory)
}

/// The disk is full when it is ordered, and has room again before anybody gives up.
async fn an_abort_waits_for_room() {
    let (rig, _, failing, _directory) = half_way("enospc-while").await;
    std::fs::write(&failing, "").unwrap();
    let ordering = rig.try_order(Action::Abort);
    let room = async {
        // As soon as the engine has met the full disk.
        eventually("the trouble", async || rig.client.health().await.ok().filter(|it| it.store.is_some()))
            .await;
        std::fs::remove_file(&failing).unwrap();
    };
    let (answer, ()) = tokio::join!(ordering, room);
    assert!(answer.unwrap().accepted);
    rig.until("the roll-back", |it| it.phase == PhaseName::RolledBack).await;
}

/// While `fault` is there, an order is refused for this reason, nothing is acted on, and everything serves on.
async fn stops(fault: &str, reason: &str) {
    let (rig, address, failing, _directory) = half_way(fault).await;
    let load = rig.load(address, 100.0);
    std::fs::write(&failing, "").unwrap();
    let refused = rig.try_order(Action::Abort).await.unwrap_err();
    assert!(refused.to_string().contains(reason), "{refused}");
    let health = rig.client.health().await.unwrap();
    assert!(health.store.unwrap().contains(reason));
    let metrics = rig.client.metrics().await.unwrap();
    assert!(metrics.contains("serinus_store_good 0"), "{metrics}");
    assert_eq!(rig.view().await.weight.asked, Weight::from_percent(50), "nothing is acted on");

    std::fs::remove_file(&failing).unwrap();
    eventually("a store that saves again", async || {
        rig.client.health().await.ok().filter(|it| it.store.is_none())
    })
    .await;
    // Of an order whose save failed nobody knew whether it was saved; now the store says, and it is obeyed at most once.
    let answer = rig.try_order(Action::Abort).await.unwrap();
    assert!(answer.accepted || fault.starts_with("sync"), "{:?}", answer.because);
    rig.until("the roll-back", |it| it.phase == PhaseName::RolledBack).await;
    let report = load.end().await;
    assert_eq!(report.failed(), 0, "{:?} {:?}", report.outcomes, report.bad);
}

/// The library of `tests/shim` that makes something fail.
pub(super) fn shim(directory: &Path, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim").join(name).with_extension("c");
    let target = directory.join(name).with_extension("so");
    let built = Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(&target).arg(source).status();
    assert!(built.unwrap().success(), "the C compiler that linked this test has to build the shim too");
    target
}
