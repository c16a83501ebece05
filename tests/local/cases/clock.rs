use std::{fs, path::PathBuf, time::Duration};

use jiff::SignedDuration;
use libtest_mimic::Trial;
use serinus::{
    api::view::{DocumentChange, NewOrder, PhaseName, RolloutView},
    clock::Because,
};
use strategies::{Action, End, Name, WaitingFor, Weight};

use super::{case, disk::shim};
use crate::rig::{BY_TIME, Rig, SHOP, document, eventually, good, kill};

pub(super) fn all() -> Vec<Trial> {
    vec![
        case("a_clock_set_forward_ends_no_pause_also_over_a_restart", forward),
        case("a_clock_set_back_stalls_nothing", back),
    ]
}

/// A machine whose clock on the wall can be set.
struct Clock {
    rig: Rig,
    ahead: PathBuf,
    _directory: tempfile::TempDir,
}

impl Clock {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (shim, ahead) = (shim(directory.path(), "clock"), directory.path().join("ahead"));
        let env = [("LD_PRELOAD", shim.to_str().unwrap()), ("CLOCK_AHEAD", ahead.to_str().unwrap())];
        Self { rig: Rig::start_with(&env).await, ahead, _directory: directory }
    }

    /// Sets it, and waits until that has been noted.
    async fn set(&self, ahead: SignedDuration) {
        let next = self.ahead.with_extension("next");
        fs::write(&next, ahead.as_secs().to_string()).unwrap();
        fs::rename(&next, &self.ahead).unwrap();
        let by = ahead.as_secs();
        eventually("a note that the clock was set", async || {
            let step = self.rig.client.health().await.ok()?.clock?;
            (step.because == Because::Set && (step.by.as_secs() - by).abs() <= 2).then_some(())
        })
        .await;
    }
}

/// Since when and until when it pauses, from now on.
fn pause(view: &RolloutView) -> Option<(SignedDuration, SignedDuration)> {
    let wait = view.waiting.iter().find(|it| matches!(it.what, WaitingFor::Time))?;
    Some((view.at.duration_since(wait.since), wait.until?.duration_since(view.at)))
}

async fn forward() {
    let clock = Clock::start().await;
    let rig = &clock.rig;
    let steps = "[ { name: half, weight: 50%, pause: { for: 1h } } ]";
    rig.apply(&document(&good("v1"), steps, ""), DocumentChange::Created).await;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    rig.apply(&document(&good("v2"), steps, ""), DocumentChange::NewRevision).await;
    let before = rig.until("the pause", |it| pause(it).is_some()).await;

    clock.set(SignedDuration::from_hours(5)).await;
    let paused = |view: &RolloutView| {
        let (since, left) = pause(view).unwrap();
        assert!(left > SignedDuration::from_mins(55) && left <= SignedDuration::from_hours(1), "{left}");
        let told = view.at.duration_since(before.at);
        assert!(told > SignedDuration::from_hours(5), "people are told the time of the wall: {told}");
        since
    };
    // Told since when as the wall called it then, which is five hours and a little ago.
    let since = paused(&rig.view().await);
    assert!(since > SignedDuration::from_hours(5), "{since}");

    kill(rig.control().await);
    paused(&rig.until("the pause to go on", |it| pause(it).is_some()).await);
    assert_eq!(rig.view().await.weight.settled, Some(Weight::from_percent(50)));

    // What people say about time is about the wall.
    let order = |not_after| NewOrder {
        id: None,
        action: Action::Abort,
        revision: None,
        attempt: None,
        step: None,
        reason: None,
        not_after: Some(not_after),
    };
    let now = rig.view().await.at;
    let late = order(now - Duration::from_secs(60));
    let late = rig.client.order(&Name::from(SHOP), &late).await;
    assert!(late.is_err() || late.is_ok_and(|it| !it.accepted));
    let in_time = order(now + Duration::from_secs(600));
    assert!(rig.client.order(&Name::from(SHOP), &in_time).await.unwrap().accepted);
    rig.until("the roll-back", |it| it.phase == PhaseName::RolledBack).await;
}

async fn back() {
    let clock = Clock::start().await;
    let rig = &clock.rig;
    rig.apply(&document(&good("v1"), BY_TIME, ""), DocumentChange::Created).await;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    let paused = "[ { name: ten, weight: 10%, pause: { for: 30s } } ]";
    rig.apply(&document(&good("v2"), paused, ""), DocumentChange::NewRevision).await;
    rig.until("the pause", |it| pause(it).is_some()).await;
    clock.set(SignedDuration::from_hours(-7)).await;
    let view =
        rig.until("the promotion", |it| it.last.as_ref().is_some_and(|it| it.end == End::Promoted)).await;
    let ended = view.last.unwrap().at;
    assert!(view.at.duration_since(ended).abs() < SignedDuration::from_mins(2), "{ended} {}", view.at);
}
