use std::time::Duration;

use libtest_mimic::Trial;
use serinus::{
    api::view::{DocumentChange, PhaseName},
    clock,
};
use strategies::Name;

use super::case;
use crate::rig::{BY_TIME, Rig, document, eventually, good, kill};

pub(super) fn all() -> Vec<Trial> {
    vec![case("two_rollouts_do_not_touch_each_other", two), case("an_idle_machine_is_small_and_sleeps", idle)]
}

async fn two() {
    let rig = Rig::start().await;
    let first = rig.apply(&document(&good("v1"), BY_TIME, ""), DocumentChange::Created).await;
    let other = document(&good("w1"), BY_TIME, "").replace("name: shop", "name: other");
    let second = rig.apply(&other, DocumentChange::Created).await;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    let name = Name::from("other");
    eventually("the other one to serve", async || {
        rig.client.rollout(&name).await.ok().filter(|it| it.phase == PhaseName::Idle)
    })
    .await;
    let loads = [&first, &second].map(|it| rig.load(it.rollouts[0].addresses[0].address, 100.0));
    kill(rig.control().await);
    eventually("an answer", async || {
        rig.try_apply(&document(&good("v2"), BY_TIME, "")).await.ok().filter(|it| !it.rollouts.is_empty())
    })
    .await;
    rig.until("the promotion", |it| it.last.is_some() && it.phase == PhaseName::Idle).await;
    assert!(rig.client.rollout(&name).await.unwrap().last.is_none());
    rig.client.delete(&name).await.unwrap();
    let [mine, others] = loads;
    let others = others.end().await;
    eventually("the other one to be gone", async || rig.client.rollout(&name).await.err()).await;
    let mine = mine.end().await;
    assert_eq!(mine.failed(), 0, "{:?} {:?}", mine.outcomes, mine.bad);
    assert!(others.versions.keys().all(|it| it == "w1"), "{:?}", others.versions);
}

/// Prints what it uses; the bounds leave room for a build that is not optimised.
async fn idle() {
    let rig = Rig::start().await;
    rig.apply(&document(&good("v1"), BY_TIME, ""), DocumentChange::Created).await;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    let control = rig.control().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, begin) = (switches(control), clock::instant());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let rate = (switches(control) - before) as f64 / begin.elapsed().as_secs_f64();
    let resident = rig.client.health().await.unwrap().control_rss.unwrap();
    println!("idle control process: {:.1} MB, {rate:.1} wake-ups per second", resident as f64 / 1e6);
    // Two replicas are asked ten times a second each in this test, twice over: connect and answer.
    assert!(rate < 200.0, "{rate} wake-ups per second");
    assert!(resident < 80_000_000, "{resident} bytes");
}

/// How often the threads of a process have gone to sleep by themselves.
fn switches(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |path: std::path::PathBuf| {
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let line = status.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|it| it.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    tasks.map(|it| of(it.unwrap().path())).sum()
}
