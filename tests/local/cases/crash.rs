use std::time::Duration;

use libtest_mimic::Trial;
use rand::{Rng, SeedableRng};
use serinus::api::view::{DocumentChange, PhaseName};
use strategies::{Action, End, Weight};

use super::case;
use crate::rig::{BY_HAND, Rig, document, eventually, good, kill};

pub(super) fn all() -> Vec<Trial> {
    vec![
        case("killing_the_control_process_fails_no_request_and_loses_nothing", control_under_load),
        case("a_rollout_ends_the_same_wherever_the_control_process_is_killed", at_every_failpoint),
    ]
}

/// Four steps that end by time, so that kills hit every phase.
const STEPS: &str = "[ { name: a, weight: 10%, pause: { for: 300ms } }, { name: b, weight: 30%, pause: { for: 300ms } }, \
                     { name: c, weight: 60%, pause: { for: 300ms } } ]";

async fn control_under_load() {
    const KILLS: u32 = 50;
    let rig = Rig::start().await;
    let applied = rig.apply(&document(&good("v0"), STEPS, ""), DocumentChange::Created).await;
    let address = applied.rollouts[0].addresses[0].address;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    let load = rig.load(address, 300.0);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let mut version = 0;
    for _ in 0..KILLS {
        // A new version whenever the last one is through: kills meet rollouts in all their phases.
        let view = rig.view().await;
        if view.phase == PhaseName::Idle {
            version += 1;
            let text = document(&good(&format!("v{version}")), STEPS, "");
            eventually("an application that is answered", async || rig.try_apply(&text).await.ok()).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        kill(rig.control().await);
    }
    let view = rig.until("rest", |it| it.phase == PhaseName::Idle && it.arms.len() == 1).await;
    assert!(version > 1, "{version} versions were tried");
    assert_eq!(view.last.unwrap().end, End::Promoted);
    let report = load.end().await;
    assert_eq!(report.failed(), 0, "{:?} {:?}", report.outcomes, report.bad);
    let newest = report.versions.keys().max_by_key(|it| it[1..].parse::<u32>().unwrap()).unwrap();
    assert_eq!(newest, &format!("v{version}"));
    let restarts = rig.client.health().await.unwrap().control_restarts;
    assert!(restarts >= u64::from(KILLS) / 2, "{restarts} restarts");
}

/// One whole rollout and its abort with the control process killed at passage `n` of its failpoints, for a sample of
/// all `n`: every one when `SERINUS_EVERY_FAILPOINT` is set.
async fn at_every_failpoint() {
    let log = tempfile::tempdir().unwrap();
    let path = log.path().join("passages");
    let clean =
        story(&[("SERINUS_FAILPOINT_LOG", path.to_str().unwrap()), ("SERINUS_FAILPOINT_ROLE", "control")])
            .await;
    let passages = std::fs::read_to_string(&path).unwrap().lines().count();
    assert!(passages > 60, "{passages} passages");
    let every = std::env::var("SERINUS_EVERY_FAILPOINT").is_ok();
    let step = if every { 1 } else { passages.div_ceil(12) };
    for n in (1..=passages).step_by(step) {
        let once = log.path().join(format!("once-{n}"));
        let number = n.to_string();
        let env = [
            ("SERINUS_FAILPOINT", number.as_str()),
            ("SERINUS_FAILPOINT_ROLE", "control"),
            ("SERINUS_FAILPOINT_ONCE", once.to_str().unwrap()),
        ];
        assert_eq!(story(&env).await, clean, "killed at passage {n} of {passages}");
    }
}

/// How a promotion followed by an aborted rollout ends.
async fn story(env: &[(&str, &str)]) -> (PhaseName, Vec<(bool, u32)>, Weight, u32) {
    let rig = Rig::start_with(env).await;
    let apply = async |text: String| {
        eventually("an application that is answered", async || rig.try_apply(&text).await.ok()).await
    };
    apply(document(&good("v1"), STEPS, "")).await;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    apply(document(&good("v2"), STEPS, "")).await;
    rig.until("the promotion", |it| {
        it.phase == PhaseName::Idle
            && it.last.as_ref().is_some_and(|it| it.end == End::Promoted)
            && it.arms.len() == 1
    })
    .await;
    apply(document(&good("v3"), BY_HAND, "")).await;
    rig.until("the canary's half", |it| it.weight.settled == Some(Weight::from_percent(50))).await;
    eventually("an abort that is answered", async || {
        rig.try_order(Action::Abort).await.ok();
        let phase = rig.view().await.phase;
        (phase == PhaseName::RolledBack).then_some(())
    })
    .await;
    let view = rig.until("the canary to go", |it| it.arms.len() == 1).await;
    let arms = view.arms.iter().map(|it| (Some(&it.revision) == view.stable.as_ref(), it.desired)).collect();
    (view.phase, arms, view.weight.asked, view.attempt)
}
