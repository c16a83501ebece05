//! A Deployment by the ratio of replicas.

use serde_json::{Value, json};
use strategies::{Action, Phase};

use crate::{
    engine::{Engine, Life},
    lab::{Lab, Who},
    pods::Pods,
};

const REPLICAS: u32 = 10;
const DEPLOYMENTS: &str = "apps/v1/deployments";

pub(super) fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" },
        "spec": { "replicas": REPLICAS,
            "strategy": { "rollingUpdate": { "maxSurge": 3, "maxUnavailable": 0 } }, "selector": { "matchLabels": { "app": "shop" } },
            "template": { "metadata": { "labels": { "app": "shop" } },
                "spec": { "containers": [{ "name": "shop", "image": image }] } } },
    })
}

/// Two steps that wait for a person.
pub(super) fn rollout() -> Value {
    let step = |name: &str, weight: &str| json!({ "name": name, "weight": weight, "approve": {} });
    json!({
        "apiVersion": "serinus.dev/v1alpha1", "kind": "Rollout",
        "metadata": { "name": "shop" },
        "spec": {
            "workloadRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" },
            "strategy": { "canary": { "steps": [step("fifth", "20%"), step("half", "50%")] } },
        },
    })
}

/// A Deployment at rest whose first version the engine has met.
fn at_rest<'a>(lab: &'a Lab, namespace: &str, life: Life) -> (Engine<'a>, Pods) {
    let pods = Pods::watch(lab, namespace);
    lab.apply(Who::User, Some(namespace), &deployment("shop:1"));
    alone(lab, &pods, "shop:1");
    let engine = Engine::start(lab, namespace, &rollout(), life);
    engine.until_phase(&Phase::Idle);
    (engine, pods)
}

/// The same where the policy holds.
fn held<'a>(lab: &'a Lab, namespace: &str, life: Life) -> (Engine<'a>, Pods) {
    let (engine, pods) = at_rest(lab, namespace, life);
    lab.until("the hold is in force", || {
        let tried = ["set", "env", "deployment/shop", "PROBE=1", "--dry-run=server", "-o", "json"];
        let tried: Value = serde_json::from_str(&user(lab, namespace, &tried).unwrap()).unwrap();
        (tried["spec"]["paused"] == true).then_some(())
    });
    (engine, pods)
}

fn user(lab: &Lab, namespace: &str, arguments: &[&str]) -> Result<String, String> {
    lab.kubectl(Who::User, &[&["-n", namespace], arguments].concat())
}

pub(super) fn push(lab: &Lab, namespace: &str, image: &str) {
    user(lab, namespace, &["set", "image", "deployment/shop", &format!("shop={image}")]).unwrap();
}

/// What a pipeline that waits for the Deployment is told.
pub(super) fn pipeline(lab: &Lab, namespace: &str) -> Result<String, String> {
    user(lab, namespace, &["rollout", "status", "deployment/shop", "--timeout=20s"])
}

/// Until all replicas are ready, of this version, and no pod of another is left.
#[track_caller]
pub(super) fn alone(lab: &Lab, pods: &Pods, image: &str) {
    lab.until(&format!("only {image} is left, and whole"), || {
        (pods.present() == REPLICAS && pods.ready(image) == REPLICAS).then_some(())
    });
}

/// Until so many of both versions are ready: whoever watches pods may hear of them later than the engine.
#[track_caller]
fn shared(lab: &Lab, pods: &Pods, stable: u32, canary: u32) {
    lab.until(&format!("{stable} of shop:1 and {canary} of shop:2 are ready"), || {
        ((pods.ready("shop:1"), pods.ready("shop:2")) == (stable, canary)).then_some(())
    });
}

fn promotes(lab: &Lab, namespace: &str, life: Life) {
    let (engine, pods) = held(lab, namespace, life);
    pods.mark();
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    shared(lab, &pods, 8, 2);
    engine.order(Action::Approve);
    engine.until_step("half");
    shared(lab, &pods, 5, 5);
    engine.order(Action::Approve);
    engine.until_phase(&Phase::Idle);
    alone(lab, &pods, "shop:2");
    pipeline(lab, namespace).unwrap();
    assert_eq!(pods.born("shop:2"), REPLICAS, "each of v2 was born once");
    assert_eq!(pods.least(), REPLICAS, "never were fewer ready");
    lab.until("the Deployment's own history has it", || {
        let history = user(lab, namespace, &["rollout", "history", "deployment/shop"]).unwrap();
        history.lines().any(|it| it.starts_with('2')).then_some(())
    });
}

pub(crate) fn promoted(lab: &Lab, namespace: &str) {
    promotes(lab, namespace, Life::WorksOn);
}

pub(crate) fn killed(lab: &Lab, namespace: &str) {
    promotes(lab, namespace, Life::KilledAfterEveryWrite);
}

/// The controller may be faster than the engine: how many pods that costs is not promised, only how it ends.
pub(crate) fn caught(lab: &Lab, namespace: &str) {
    let (engine, pods) = at_rest(lab, namespace, Life::WorksOn);
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    shared(lab, &pods, 8, 2);
    pods.mark();
    engine.order(Action::Approve);
    engine.until_step("half");
    engine.order(Action::Approve);
    engine.until_phase(&Phase::Idle);
    alone(lab, &pods, "shop:2");
    pipeline(lab, namespace).unwrap();
    assert_eq!(pods.least(), REPLICAS, "never were fewer ready once it was caught");
}

pub(crate) fn aborted(lab: &Lab, namespace: &str) {
    let (engine, pods) = at_rest(lab, namespace, Life::WorksOn);
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    engine.order(Action::Abort);
    engine.until("it is rolled back", |it| matches!(it.phase, Phase::RolledBack { .. }));
    alone(lab, &pods, "shop:1");
    let object = lab.get(namespace, DEPLOYMENTS, "shop").unwrap();
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["image"], "shop:2", "Git is not fought");
    lab.until("pipelines are told", || {
        pipeline(lab, namespace).is_err_and(|it| it.contains("exceeded its progress deadline")).then_some(())
    });
    let before = pods.born("shop:1");
    push(lab, namespace, "shop:1");
    engine.until_phase(&Phase::Idle);
    pipeline(lab, namespace).unwrap();
    assert_eq!(pods.born("shop:1"), before, "nothing was restarted");
}

pub(crate) fn deleted(lab: &Lab, namespace: &str) {
    let (engine, pods) = held(lab, namespace, Life::WorksOn);
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    user(lab, namespace, &["delete", "rollout", "shop", "--wait=false"]).unwrap();
    engine.until_gone();
    lab.until("the Deployment has its own again", || {
        let it = lab.get(namespace, DEPLOYMENTS, "shop").unwrap();
        let free = it["spec"]["paused"].as_bool() != Some(true);
        (it["status"]["availableReplicas"] == REPLICAS && free).then_some(())
    });
    lab.until("one version is left", || (pods.present() == REPLICAS).then_some(()));
    let sets = lab.list(namespace, "apps/v1/replicasets");
    let own = |it: &Value| it["metadata"]["ownerReferences"][0]["kind"] == "Deployment";
    assert!(sets.iter().all(own), "{sets:#?}");
}

pub(crate) fn superseded(lab: &Lab, namespace: &str) {
    let (engine, pods) = held(lab, namespace, Life::WorksOn);
    pods.mark();
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    engine.order(Action::Approve);
    engine.until_step("half");
    push(lab, namespace, "shop:3");
    let before = engine.status().attempt;
    engine.until("the third is on trial", |it| {
        it.attempt > before && matches!(it.phase, Phase::Stepping { .. })
    });
    engine.until_step("fifth");
    engine.order(Action::Approve);
    engine.until_step("half");
    engine.order(Action::Approve);
    engine.until_phase(&Phase::Idle);
    alone(lab, &pods, "shop:3");
    pipeline(lab, namespace).unwrap();
    assert_eq!(pods.born("shop:3"), REPLICAS);
    assert_eq!(pods.least(), REPLICAS, "never were fewer ready");
}

pub(crate) fn restarted(lab: &Lab, namespace: &str) {
    let (engine, pods) = held(lab, namespace, Life::WorksOn);
    let attempt = engine.status().attempt;
    user(lab, namespace, &["rollout", "restart", "deployment/shop"]).unwrap();
    lab.until("every pod is another one", || (pods.born("shop:1") == 2 * REPLICAS).then_some(()));
    alone(lab, &pods, "shop:1");
    pipeline(lab, namespace).unwrap();
    let status = engine.status();
    assert_eq!((status.phase, status.attempt), (Phase::Idle, attempt));
}

pub(crate) fn undone(lab: &Lab, namespace: &str) {
    promotes(lab, namespace, Life::WorksOn);
    // The Rollout is made again: whatever was remembered of it is gone.
    user(lab, namespace, &["delete", "rollout", "shop"]).unwrap();
    let pods = Pods::watch(lab, namespace);
    let engine = Engine::start(lab, namespace, &rollout(), Life::WorksOn);
    engine.until_phase(&Phase::Idle);
    alone(lab, &pods, "shop:2");
    let sets = lab.list(namespace, "apps/v1/replicasets").len();
    user(lab, namespace, &["rollout", "undo", "deployment/shop"]).unwrap();
    engine.until_step("fifth");
    engine.order(Action::Approve);
    engine.until_step("half");
    engine.order(Action::Approve);
    engine.until_phase(&Phase::Idle);
    alone(lab, &pods, "shop:1");
    pipeline(lab, namespace).unwrap();
    assert_eq!(pods.born("shop:1"), REPLICAS);
    assert_eq!(
        lab.list(namespace, "apps/v1/replicasets").len(),
        sets,
        "the one that was there was taken over"
    );
}

pub(crate) fn scaled(lab: &Lab, namespace: &str) {
    let (engine, pods) = held(lab, namespace, Life::WorksOn);
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    engine.order(Action::Approve);
    engine.until_step("half");
    pods.mark();
    user(lab, namespace, &["scale", "deployment/shop", "--replicas=20"]).unwrap();
    lab.until("both halves have grown", || {
        (pods.ready("shop:1") == 10 && pods.ready("shop:2") == 10).then_some(())
    });
    user(lab, namespace, &["scale", "deployment/shop", "--replicas=10"]).unwrap();
    lab.until("both halves have shrunk", || {
        (pods.ready("shop:1") == 5 && pods.ready("shop:2") == 5).then_some(())
    });
    engine.order(Action::Approve);
    engine.until_phase(&Phase::Idle);
    alone(lab, &pods, "shop:2");
    pipeline(lab, namespace).unwrap();
    assert_eq!(pods.least(), REPLICAS, "never were fewer ready than were wished");
}
