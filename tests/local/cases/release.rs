use analysis::calibrate::PodsWindow;
use libtest_mimic::Trial;
use serinus::{
    api::view::{ArmRole, DocumentChange, Edit, PhaseName, RevisionState},
    local::load::Outcome,
};
use strategies::{Cause, End, Weight};

use super::case;
use crate::rig::{BY_HAND, BY_TIME, Rig, SHOP, Service, document, eventually, good};

pub(super) fn all() -> Vec<Trial> {
    vec![
        case("the_first_application_brings_it_up_and_the_second_runs_a_canary", first_and_second),
        case("a_bad_version_is_rolled_back_and_stable_serves_on", bad_is_rolled_back),
        case("a_version_that_never_gets_ready_gets_no_request", never_ready),
        case("a_version_that_dies_at_its_start_is_rolled_back_by_what_its_processes_do", dies_at_start),
        case("restart_undo_and_set_command_are_new_revisions", edits),
        case("a_deleted_rollout_leaves_nothing", deletion),
        case("a_document_with_mistakes_changes_nothing", mistakes),
    ]
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

    let of_two = |it: &PodsWindow| it.pods.errors().is_some_and(|it| it.len() == 2 && it[0].total > 0);
    let remembered = eventually("a window of both replicas", async || {
        let all = rig.client.calibration(&SHOP.into()).await.unwrap().metrics;
        all.iter().any(|it| it.windows.iter().any(of_two)).then_some(all)
    });
    let metrics: Vec<_> = remembered.await.into_iter().map(|it| (it.analysis, it.metric, it.part)).collect();
    let golden = |metric: &str| ("golden".to_owned(), metric.to_owned(), 0.5);
    assert_eq!(metrics, [golden("errors"), golden("latency")]);

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
    assert_eq!(
        report.failed(),
        0,
        "only the application's own errors: {:?} {:?}",
        report.outcomes,
        report.bad
    );
    assert!(report.count(Outcome::AppError) > 0);
    assert_eq!(rig.view().await.phase, PhaseName::RolledBack, "it stays refused");
}

async fn never_ready() {
    let short = "  deadlines: { progress: 2s }\n";
    let cause = without_a_request(&["--ready-after", "1h"], short).await;
    assert!(matches!(cause, Cause::ProgressDeadline), "{cause:?}");
}

async fn dies_at_start() {
    let cause = without_a_request(&["--crash-at-start"], "").await;
    let Cause::Analysis { id, because, .. } = cause else { panic!("{cause:?}") };
    assert_eq!(id.name.as_str(), "pods", "{because:?}");
}

/// Releases a second version that never gets ready, and answers why it was rolled back.
async fn without_a_request(more: &'static [&'static str], rest: &str) -> Cause {
    let rig = Rig::start().await;
    let applied = rig.apply(&document(&good("v1"), BY_TIME, rest), DocumentChange::Created).await;
    let address = applied.rollouts[0].addresses[0].address;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    let load = rig.load(address, 100.0);
    rig.apply(&document(&Service { version: "v2", more }, BY_TIME, rest), DocumentChange::NewRevision).await;
    let view = rig.until("the roll-back", |it| it.phase == PhaseName::RolledBack).await;
    let report = load.end().await;
    assert_eq!(report.failed(), 0, "{:?} {:?}", report.outcomes, report.bad);
    assert!(!report.versions.contains_key("v2"));
    view.cause.unwrap()
}

async fn edits() {
    let rig = Rig::start().await;
    let applied = rig.apply(&document(&good("v1"), BY_HAND, ""), DocumentChange::Created).await;
    let first = applied.rollouts[0].revision.clone();
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;

    let restarted = rig.client.edit(&SHOP.into(), &Edit::Restart).await.unwrap().rollouts[0].clone();
    assert_eq!(restarted.change, DocumentChange::NewRevision);
    assert_ne!(restarted.revision, first);
    rig.until("the canary", |it| it.canary.as_ref() == Some(&restarted.revision)).await;

    let undone = rig.client.edit(&SHOP.into(), &Edit::Undo { to: None }).await.unwrap().rollouts[0].clone();
    assert_eq!(undone.revision, first, "in mid-rollout it goes back to stable");
    let view = rig.until("stable alone", |it| it.phase == PhaseName::Idle && it.arms.len() == 1).await;
    assert_eq!(view.stable, Some(first.clone()));

    let command = ["parts", "sample", "--version", "v3"].map(str::to_owned).to_vec();
    let edit = Edit::SetCommand { command: command.clone() };
    let third = rig.client.edit(&SHOP.into(), &edit).await.unwrap().rollouts[0].clone();
    rig.until("the canary", |it| it.canary.as_ref() == Some(&third.revision)).await;
    let history = rig.client.history(&SHOP.into()).await.unwrap();
    let of = |revision: &strategies::Revision| {
        history.revisions.iter().find(|it| it.revision == *revision).unwrap()
    };
    assert_eq!((of(&third.revision).state, &of(&third.revision).runs), (RevisionState::Canary, &command));
    assert_eq!(of(&first).state, RevisionState::Stable);
    assert!(matches!(history.attempts[0].end, End::Superseded { .. }), "{:?}", history.attempts);
}

async fn deletion() {
    let rig = Rig::start().await;
    rig.apply(&document(&good("v1"), BY_TIME, ""), DocumentChange::Created).await;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    let mut events = rig.client.events(&SHOP.into()).await.unwrap();
    rig.client.delete(&SHOP.into()).await.unwrap();
    loop {
        let event = tokio::time::timeout(crate::rig::PATIENCE, events.next()).await.unwrap().unwrap();
        if event == Some(serinus::api::view::RolloutEvent::Gone) {
            break;
        }
        assert!(event.is_some(), "the stream says that it is gone before it ends");
    }
    let supervised = rig.supervised().await;
    crate::rig::eventually("nothing that runs or listens", async || {
        let seen = supervised.observe().await.unwrap();
        (seen.processes.is_empty() && seen.listeners.is_empty()).then_some(())
    })
    .await;
    assert!(rig.client.rollouts().await.unwrap().rollouts.is_empty());
    rig.apply(&document(&good("v1"), BY_TIME, ""), DocumentChange::Created).await;
    rig.until("the same name to serve again", |it| it.phase == PhaseName::Idle).await;
}

async fn mistakes() {
    let rig = Rig::start().await;
    let applied = rig.try_apply("apiVersion: serinus.dev/v1alpha1\nkind: Rollout\n").await.unwrap();
    assert!(applied.findings.iter().any(|it| it.is_error) && applied.rollouts.is_empty());
    let gone = document(&good("v1"), BY_TIME, "").replace("\"parts\"", "\"./not-there\"");
    let refused = rig.try_apply(&gone).await.unwrap_err().to_string();
    assert!(refused.contains("not-there"), "{refused}");
    assert!(rig.client.rollouts().await.unwrap().rollouts.is_empty());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = document(&good("v1"), BY_TIME, "").replace("127.0.0.1:0", &address);
    let refused = rig.try_apply(&text).await.unwrap_err().to_string();
    assert!(refused.contains(&address), "{refused}");
    assert!(rig.client.rollouts().await.unwrap().rollouts.is_empty());
}
