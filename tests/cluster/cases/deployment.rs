//! A Deployment by the ratio of replicas.

use serde_json::{Value, json};
use strategies::{Action, Phase};

use crate::{
    engine::Engine,
    lab::{Lab, Who},
    pods::Pods,
};

const REPLICAS: u32 = 10;
const DEPLOYMENTS: &str = "apps/v1/deployments";

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" },
        "spec": { "replicas": REPLICAS, "selector": { "matchLabels": { "app": "shop" } },
            "template": { "metadata": { "labels": { "app": "shop" } },
                "spec": { "containers": [{ "name": "shop", "image": image }] } } },
    })
}

/// Two steps that wait for a person. The finalizer is what the product sets while a rollout runs.
fn rollout() -> Value {
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
fn at_rest<'a>(lab: &'a Lab, namespace: &str) -> (Engine<'a>, Pods) {
    let pods = Pods::watch(lab, namespace);
    lab.apply(Who::User, Some(namespace), &deployment("shop:1"));
    lab.until("all of v1 are ready", || (pods.ready("shop:1") == REPLICAS).then_some(()));
    let engine = Engine::start(lab, namespace, &rollout());
    engine.until_phase(&Phase::Idle);
    lab.until("the hold is in force", || {
        let pushed = lab.kubectl(
            Who::User,
            &[
                &ns(namespace)[..],
                &["set", "env", "deployment/shop", "PROBE=1", "--dry-run=server", "-o", "json"],
            ]
            .concat(),
        );
        let seen: Value = serde_json::from_str(&pushed.unwrap()).unwrap();
        (seen["spec"]["paused"] == true).then_some(())
    });
    (engine, pods)
}

fn ns(namespace: &str) -> [&str; 2] {
    ["-n", namespace]
}

fn push(lab: &Lab, namespace: &str, image: &str) {
    lab.kubectl(Who::User, &["-n", namespace, "set", "image", "deployment/shop", &format!("shop={image}")])
        .unwrap();
}

pub(crate) fn promoted(lab: &Lab, namespace: &str) {
    let (engine, pods) = at_rest(lab, namespace);
    pods.mark();
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    assert_eq!((pods.ready("shop:1"), pods.ready("shop:2")), (8, 2));
    engine.order(Action::Approve);
    engine.until_step("half");
    assert_eq!((pods.ready("shop:1"), pods.ready("shop:2")), (5, 5));
    engine.order(Action::Approve);
    engine.until_phase(&Phase::Idle);
    lab.until("only v2 is left", || {
        (pods.present() == REPLICAS && pods.ready("shop:2") == REPLICAS).then_some(())
    });
    let held =
        lab.kubectl(Who::User, &["-n", namespace, "rollout", "status", "deployment/shop", "--timeout=20s"]);
    assert!(held.is_ok(), "{held:?}");
    assert_eq!(pods.born("shop:2"), REPLICAS, "each of v2 was born once");
    assert_eq!(pods.least(), REPLICAS, "never were fewer ready");
    lab.until("the Deployment's own history has it", || {
        let history = lab
            .kubectl(Who::User, &[&ns(namespace)[..], &["rollout", "history", "deployment/shop"]].concat());
        history.unwrap().lines().any(|it| it.starts_with('2')).then_some(())
    });
}

pub(crate) fn aborted(lab: &Lab, namespace: &str) {
    let (engine, pods) = at_rest(lab, namespace);
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    engine.order(Action::Abort);
    engine.until("it is rolled back", |it| matches!(it.phase, Phase::RolledBack { .. }));
    lab.until("stable is whole and alone", || {
        (pods.present() == REPLICAS && pods.ready("shop:1") == REPLICAS).then_some(())
    });
    let object = lab.get(namespace, DEPLOYMENTS, "shop").unwrap();
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["image"], "shop:2", "Git is not fought");
    let told = lab.until("pipelines are told", || {
        lab.kubectl(Who::User, &["-n", namespace, "rollout", "status", "deployment/shop", "--timeout=5s"])
            .err()
    });
    assert!(told.contains("exceeded its progress deadline"), "{told}");
    let before = pods.born("shop:1");
    push(lab, namespace, "shop:1");
    engine.until_phase(&Phase::Idle);
    let told =
        lab.kubectl(Who::User, &["-n", namespace, "rollout", "status", "deployment/shop", "--timeout=20s"]);
    assert!(told.is_ok(), "{told:?}");
    assert_eq!(pods.born("shop:1"), before, "nothing was restarted");
}

pub(crate) fn deleted(lab: &Lab, namespace: &str) {
    let (engine, pods) = at_rest(lab, namespace);
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    let patch = r#"{"metadata":{"finalizers":["serinus.dev/rollout"]}}"#;
    let name = ["-n", namespace, "patch", "rollout", "shop", "--type=merge", "-p", patch];
    lab.kubectl(Who::Engine, &name).unwrap();
    lab.kubectl(Who::User, &["-n", namespace, "delete", "rollout", "shop", "--wait=false"]).unwrap();
    engine.until_phase(&Phase::Left);
    lab.until("the Deployment has its own again", || {
        let it = lab.get(namespace, DEPLOYMENTS, "shop").unwrap();
        (it["status"]["availableReplicas"] == REPLICAS && it["spec"]["paused"].as_bool() != Some(true))
            .then_some(())
    });
    lab.until("one version is left", || (pods.present() == REPLICAS).then_some(()));
    let sets = lab.list(namespace, "apps/v1/replicasets");
    assert!(sets.iter().all(|it| it["metadata"]["ownerReferences"][0]["kind"] == "Deployment"), "{sets:#?}");
}
