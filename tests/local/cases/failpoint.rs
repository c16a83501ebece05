//! One machine killed at each single place where something becomes durable or goes out.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use libtest_mimic::Trial;
use serinus::{api::view::PhaseName, local::supervisor::protocol::ProcessState};
use strategies::{Action, End, Weight};

use crate::{
    journal,
    kills::STEPS,
    rig::{BY_HAND, Rig, document, eventually, good},
    supervisor::Ended,
};

/// Machines at a time: they wait more than they work.
const AT_A_TIME: usize = 4;

/// Every failpoint that a machine can come by, and which part comes by it. `failpoint::reached` names them.
const CONTROL: [&str; 14] = [
    "store: before a save",
    "store: after a save",
    "engine: before a write",
    "engine: after a write",
    "proxy: before a configuration is kept",
    "proxy: after a configuration is kept",
    "revision: before a copy appears",
    "revision: after a copy appeared",
    "site: before a process is started",
    "site: after a process is started",
    "site: before a split is served",
    "site: after a split is served",
    "site: before a process is stopped",
    "site: after a process is stopped",
];
const SUPERVISOR: [&str; 2] =
    ["supervisor: before a child is started", "supervisor: after a child is started"];

pub(super) fn all() -> Vec<Trial> {
    let of = |part: &'static str, places: &'static [&'static str]| {
        let name = format!("a_rollout_ends_the_same_wherever_the_{part}_is_killed");
        Trial::test(name, move || {
            everywhere(part, places);
            Ok(())
        })
    };
    vec![of("control", &CONTROL), of("supervisor", &SUPERVISOR)]
}

/// Learns from an undisturbed run how many passages there are, then kills at every single one.
fn everywhere(part: &'static str, places: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("passages");
    let clean = told(&[("SERINUS_FAILPOINT_LOG", log.to_str().unwrap()), ("SERINUS_FAILPOINT_ROLE", part)]);
    let passages = names(&log);
    let met: BTreeSet<&str> = passages.iter().map(String::as_str).collect();
    assert_eq!(
        met,
        places.iter().copied().collect(),
        "a place that no kill meets, or one this test does not know"
    );
    let (next, killed) = (AtomicUsize::new(1), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let n = next.fetch_add(1, Ordering::SeqCst);
                let once = directory.path().join(format!("once-{n}"));
                let number = n.to_string();
                let ended = told(&[
                    ("SERINUS_FAILPOINT", number.as_str()),
                    ("SERINUS_FAILPOINT_ROLE", part),
                    ("SERINUS_FAILPOINT_ONCE", once.to_str().unwrap()),
                ]);
                assert_eq!(ended, clean, "{part} killed at passage {n} of about {}", passages.len());
                match once.exists() {
                    true => killed.fetch_add(1, Ordering::SeqCst),
                    // How many there are differs a little from run to run: the first one that is not met ends it.
                    false => return,
                };
            }
        };
        for _ in 0..AT_A_TIME {
            scope.spawn(work);
        }
    });
    let killed = killed.into_inner();
    println!("{part}: killed at each of {killed} passages through {} failpoints", places.len());
    assert!(killed >= passages.len() / 2, "{killed} kills at {} passages", passages.len());
}

fn names(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap();
    text.lines().map(|line| line.splitn(3, ' ').nth(2).unwrap().to_owned()).collect()
}

/// How a story ended: what must not depend on who was killed when.
#[derive(Debug, PartialEq)]
struct Told {
    phase: PhaseName,
    /// Whether it is stable, replicas asked for, replicas ready.
    arms: Vec<(bool, u32, Option<u32>)>,
    weight: Option<Weight>,
    attempt: u32,
    ends: Vec<String>,
    /// Whether it is stable, its ordinal, how it is.
    processes: Vec<(bool, u32, ProcessState)>,
    listeners: usize,
    served_by: String,
}

fn told(env: &[(&str, &str)]) -> Told {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(story(env))
}

/// A first version, one that is promoted, and one that is aborted half-way.
async fn story(env: &[(&str, &str)]) -> Told {
    let rig = Rig::start_under(env, Ended::IsStartedAgain).await;
    let apply = async |text: String| {
        eventually("an application that is answered", async || rig.try_apply(&text).await.ok()).await
    };
    let steps = STEPS.replace("300ms", "50ms");
    apply(document(&good("v1"), &steps, "")).await;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    apply(document(&good("v2"), &steps, "")).await;
    let promoted = rig
        .until("the promotion", |it| {
            let promoted = it.last.as_ref().is_some_and(|it| it.end == End::Promoted);
            it.phase == PhaseName::Idle && promoted && it.arms.len() == 1
        })
        .await;
    apply(document(&good("v3"), BY_HAND, "")).await;
    let half = Some(Weight::from_percent(50));
    rig.until("the canary's half", |it| it.weight.settled == half && it.attempt > promoted.attempt).await;
    eventually("an abort that is obeyed", async || {
        let _ = rig.try_order(Action::Abort).await;
        (rig.view().await.phase == PhaseName::RolledBack).then_some(())
    })
    .await;
    end(rig).await
}

async fn end(rig: Rig) -> Told {
    let view = rig
        .until("the canary to go and stable to be whole", |it| {
            it.arms.len() == 1 && it.arms[0].ready == Some(it.arms[0].desired)
        })
        .await;
    let stable = view.stable.clone().unwrap();
    let seen = eventually("surplus processes to be gone", async || {
        let seen = rig.supervised().await.observe().await.ok()?;
        (seen.processes.len() == view.arms[0].desired as usize).then_some(seen)
    })
    .await;
    // Control may be killed even now, at its last failpoint.
    let history =
        eventually("a history", async || rig.client.history(&crate::rig::SHOP.into()).await.ok()).await;
    let address = view.addresses[0].address;
    let answer = eventually("an answer", async || crate::sockets::ask(address).await).await;
    let told = Told {
        phase: view.phase,
        arms: view.arms.iter().map(|it| (it.revision == stable, it.desired, it.ready)).collect(),
        weight: view.weight.settled,
        attempt: view.attempt,
        ends: history
            .attempts
            .iter()
            .map(|it| format!("{} {:?}", it.attempt, std::mem::discriminant(&it.end)))
            .collect(),
        processes: seen
            .processes
            .iter()
            .map(|it| (it.process.revision == stable.as_str(), it.process.ordinal, it.state))
            .collect(),
        listeners: seen.listeners.len(),
        served_by: answer
            .lines()
            .last()
            .unwrap_or_default()
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" "),
    };
    let (store, _directory) = rig.end().await;
    journal::check(&store);
    told
}
