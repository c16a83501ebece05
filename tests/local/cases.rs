//! What a machine promises.

use libtest_mimic::{Failed, Trial};
use serinus::{
    api::view::{ArmRole, DocumentChange, PhaseName},
    local::load::Outcome,
};
use strategies::{Action, Cause, End, Weight};

use crate::rig::{BY_HAND, BY_TIME, Rig, Service, document, good};

/// Every case. Each has a machine of its own.
pub(crate) fn all() -> Vec<Trial> {
    vec![
        case("the_first_application_brings_it_up_and_the_second_runs_a_canary", first_and_second),
        case("a_bad_version_is_rolled_back_and_stable_serves_on", bad_is_rolled_back),
        case("an_abort_is_obeyed_and_remembered", abort),
    ]
}

fn case<F: Future<Output = ()> + 'static>(name: &str, test: fn() -> F) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(test());
        Ok::<(), Failed>(())
    })
}

async fn first_and_second() {
    let rig = Rig::start().await;
    let applied = rig.apply(&document(&good("v1"), BY_TIME, ""), DocumentChange::Created).await;
    let address = applied.rollouts[0].addresses[0].address;
    let view = rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    assert_eq!(view.stable.as_ref(), Some(&applied.rollouts[0].revision));
    assert_eq!((view.arms[0].desired, view.arms[0].ready), (2, Some(2)));
    rig.apply(&document(&good("v1"), BY_TIME, ""), DocumentChange::Unchanged).await;

    let load = rig.load(address, 200.0);
    let applied = rig.apply(&document(&good("v2"), BY_TIME, ""), DocumentChange::NewRevision).await;
    let second = &applied.rollouts[0];
    rig.until("a tenth of the requests", |it| it.weight.settled == Some(Weight::from_percent(10))).await;
    let view = rig.until("the promotion", |it| it.last.is_some() && it.phase == PhaseName::Idle).await;
    let ended = view.last.clone().unwrap();
    assert_eq!((ended.end, ended.attempt), (End::Promoted, second.next_attempt));
    assert_eq!(view.stable.as_ref(), Some(&second.revision));
    let view = rig.until("the old version to go", |it| it.arms.len() == 1).await;
    assert_eq!(view.arms[0].revision, second.revision);
    let canary = view.last_traffic.iter().find(|it| it.role == ArmRole::Canary).unwrap();
    assert!(canary.requests > 50 && canary.failed == 0, "{canary:?}");

    let report = load.end().await;
    assert_eq!(report.failed(), 0, "{:?} {:?}", report.outcomes, report.bad);
    let answered = |version: &str| report.versions[version].values().sum::<u64>();
    assert!(answered("v1") > 100 && answered("v2") > 100, "{:?}", report.versions);
}

async fn bad_is_rolled_back() {
    let rig = Rig::start().await;
    let patient = "[ { name: half, weight: 50%, until: { evidence: {}, min: 1s, max: 5m } } ]";
    let applied = rig.apply(&document(&good("v1"), patient, ""), DocumentChange::Created).await;
    let address = applied.rollouts[0].addresses[0].address;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    let load = rig.load(address, 200.0);
    let bad = Service { version: "v2", more: &["--error-rate", "0.3"] };
    rig.apply(&document(&bad, patient, ""), DocumentChange::NewRevision).await;
    let view = rig.until("the roll-back", |it| it.phase == PhaseName::RolledBack).await;
    assert!(matches!(view.cause, Some(Cause::Analysis { .. })), "{:?}", view.cause);
    rig.until("the bad version to go", |it| it.arms.len() == 1).await;
    let report = load.end().await;
    assert_eq!(report.failed(), 0, "only the application's own errors: {:?} {:?}", report.outcomes, report.bad);
    assert!(report.count(Outcome::AppError) > 0);
    assert_eq!(rig.view().await.phase, PhaseName::RolledBack, "it stays refused");
}

async fn abort() {
    let rig = Rig::start().await;
    rig.apply(&document(&good("v1"), BY_HAND, ""), DocumentChange::Created).await;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    rig.apply(&document(&good("v2"), BY_HAND, ""), DocumentChange::NewRevision).await;
    let half = Some(Weight::from_percent(50));
    let view = rig.until("the canary's half", |it| it.weight.settled == half).await;
    assert!(view.orders.contains(&Action::Abort) && view.orders.contains(&Action::Promote), "{:?}", view.orders);
    let answer = rig.order(Action::Abort).await;
    assert!(answer.accepted, "{:?}", answer.because);
    let view = rig.until("the roll-back", |it| it.phase == PhaseName::RolledBack).await;
    assert!(matches!(view.cause, Some(Cause::Aborted { .. })));
    let answer = rig.order(Action::Abort).await;
    assert!(!answer.accepted && answer.because.is_some(), "there is nothing left to abort");
    assert!(rig.order(Action::Retry).await.accepted);
    rig.until("the canary's half again", |it| it.weight.settled == half).await;
    assert!(rig.order(Action::PromoteFull).await.accepted);
    rig.until("the promotion", |it| it.last.as_ref().is_some_and(|it| it.end == End::Promoted)).await;
}
