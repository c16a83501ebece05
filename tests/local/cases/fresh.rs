use libtest_mimic::Trial;
use serinus::api::view::{ArmRole, ArmView, DocumentChange, PhaseName, RolloutView};
use strategies::{Action, Cause, End, Weight};

use super::case;
use crate::rig::{Rig, Service, document, good, kill};

pub(super) fn all() -> Vec<Trial> {
    vec![
        case("fresh_replicas_of_stable_are_compared_and_gone_with_the_canary", compared),
        case("a_canary_worse_than_fresh_replicas_of_stable_is_rolled_back", worse),
        case("fresh_replicas_of_stable_outlive_the_control_process", outlives),
    ]
}

/// A document whose canary is compared with fresh replicas of stable.
fn compared_with_fresh(service: &Service<'_>, steps: &str) -> String {
    let own = "  analyses: [ { name: own, templateRef: { name: own } } ]\n";
    let text = document(service, steps, own);
    format!(
        "{text}---\napiVersion: serinus.dev/v1alpha1\nkind: AnalysisTemplate\nmetadata: {{ name: own }}\nspec:\n  \
         metrics:\n    - {{ name: errors, every: 1s, provider: {{ proxy: {{ signal: errors }} }}, judge: {{ sequential: \
         {{ baseline: fresh, warmUp: 0s, promote: {{ negligible: 5% }} }} }} }}\n"
    )
}

fn fresh(view: &RolloutView) -> Option<&ArmView> {
    view.arms.iter().find(|it| it.role == ArmRole::Baseline)
}

/// Requests of the canary and of what it is compared with.
fn counted(view: &RolloutView) -> Option<(u64, u64)> {
    let own = view.analyses.iter().find(|it| it.id.name.as_str() == "own")?;
    let evidence = own.metrics[0].evidence.as_ref()?;
    Some((evidence.canary.total, evidence.baseline.total))
}

/// A fifth of the requests to the canary, on one of two replicas, until a person says more.
const FIFTH: &str = "[ { name: fifth, weight: 20%, pause: {} } ]";

async fn compared() {
    let rig = Rig::start().await;
    let applied = rig.apply(&compared_with_fresh(&good("v1"), FIFTH), DocumentChange::Created).await;
    let (address, stable) = (applied.rollouts[0].addresses[0].address, applied.rollouts[0].revision.clone());
    let view = rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    assert_eq!(fresh(&view), None, "without a canary there is nothing to compare");
    let load = rig.load(address, 200.0);
    rig.apply(&compared_with_fresh(&good("v2"), FIFTH), DocumentChange::NewRevision).await;
    let enough = |it: &RolloutView| counted(it).is_some_and(|(canary, baseline)| canary.min(baseline) > 200);
    let view = rig.until("enough to compare", enough).await;
    let (canary, baseline) = counted(&view).unwrap();
    assert!(canary.abs_diff(baseline) < canary.max(baseline) / 4, "{canary} and {baseline} are of one size");
    assert_eq!(view.weight.baseline, Weight::from_percent(20));
    let arm = fresh(&view).unwrap();
    let of_canary = view.arms.iter().find(|it| it.role == ArmRole::Canary).unwrap();
    assert_eq!((&arm.revision, arm.desired, arm.ready), (&stable, of_canary.desired, of_canary.ready));
    let of_stable: Vec<u64> =
        view.traffic.iter().filter(|it| it.revision == stable).map(|it| it.requests).collect();
    assert!(matches!(of_stable[..], [all] if all > 3 * baseline), "stable's are one: {of_stable:?}");

    rig.order(Action::Promote).await;
    let view = rig.until("the promotion", |it| it.phase == PhaseName::Idle && it.last.is_some()).await;
    assert_eq!(view.last.unwrap().end, End::Promoted);
    rig.until("one version", |it| it.arms.len() == 1).await;
    let report = load.end().await;
    assert_eq!(report.failed(), 0, "{:?} {:?}", report.outcomes, report.bad);
}

async fn worse() {
    let rig = Rig::start().await;
    let until = "[ { name: half, weight: 50%, until: { evidence: {}, min: 1s, max: 5m } } ]";
    let applied = rig.apply(&compared_with_fresh(&good("v1"), until), DocumentChange::Created).await;
    let address = applied.rollouts[0].addresses[0].address;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    let load = rig.load(address, 200.0);
    let bad = Service { version: "v2", more: &["--error-rate", "0.3"] };
    rig.apply(&compared_with_fresh(&bad, until), DocumentChange::NewRevision).await;
    let view = rig.until("the roll-back", |it| it.phase == PhaseName::RolledBack).await;
    let Some(Cause::Analysis { id, .. }) = view.cause else { panic!("{:?}", view.cause) };
    assert_eq!(id.name.as_str(), "own");
    rig.until("stable alone", |it| it.arms.len() == 1).await;
    let report = load.end().await;
    assert_eq!(report.failed(), 0, "only the application's own: {:?} {:?}", report.outcomes, report.bad);
}

async fn outlives() {
    let rig = Rig::start().await;
    rig.apply(&compared_with_fresh(&good("v1"), FIFTH), DocumentChange::Created).await;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    rig.apply(&compared_with_fresh(&good("v2"), FIFTH), DocumentChange::NewRevision).await;
    let served =
        |it: &RolloutView| it.weight.baseline != Weight::ZERO && it.weight.settled == Some(it.weight.asked);
    let before = rig.until("the fresh replicas to serve", served).await;
    let pids = |it: &RolloutView| -> Vec<Option<u32>> {
        it.arms.iter().flat_map(|it| &it.replicas).map(|it| it.pid).collect()
    };
    kill(rig.control().await);
    let after = rig.until("the fresh replicas to serve again", served).await;
    assert_eq!(pids(&after), pids(&before), "nobody was started twice");
}
