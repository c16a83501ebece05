//! Deployments as users have them, for the conformance suite.

use serde_json::{Value, json};

use super::super::codec::WorkloadExample;

fn template(image: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": "shop" }, "annotations": { "team": "shop" } },
        "spec": { "containers": [{ "name": "shop", "image": image, "futureField": { "x": [1, null] } }],
            "volumes": [{ "name": "scratch", "emptyDir": {} }] },
    })
}

fn deployment(image: &str, spec: &Value) -> Value {
    let mut it = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "shop", "namespace": "prod", "uid": "deployment-uid", "labels": { "example.com/c": "d" },
            "annotations": { "deployment.kubernetes.io/revision": "2", "example.com/owner": "team" } },
        "spec": { "replicas": 4, "selector": { "matchLabels": { "app": "shop" } }, "template": template(image),
            "minReadySeconds": 5, "futureField": true },
        "status": { "replicas": 4, "availableReplicas": 4, "observedGeneration": 1, "conditions": [
            { "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "",
                "lastUpdateTime": "2026-11-28T10:00:00Z", "lastTransitionTime": "2026-11-28T10:00:00Z" } ] },
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        it["spec"][key] = value.clone();
    }
    it
}

fn set(hash: &str, image: &str, replicas: u32, age: u32) -> Value {
    let mut template = template(image);
    template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": { "name": format!("shop-{hash}"), "namespace": "prod", "uid": hash,
            "creationTimestamp": format!("2026-11-{:02}T10:00:00Z", 28 - age),
            "labels": { "app": "shop", "pod-template-hash": hash },
            "annotations": { "deployment.kubernetes.io/desired-replicas": "4",
                "deployment.kubernetes.io/max-replicas": "5", "example.com/owner": "team" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop",
                "uid": "deployment-uid", "controller": true, "blockOwnerDeletion": true }] },
        "spec": { "replicas": replicas, "minReadySeconds": 5, "template": template,
            "selector": { "matchLabels": { "app": "shop", "pod-template-hash": hash } } },
        "status": { "replicas": replicas, "availableReplicas": replicas },
    })
}

fn example(name: &'static str, spec: &Value, sets: Vec<Value>) -> WorkloadExample {
    let objects = std::iter::once(deployment("shop:2", spec)).chain(sets).collect();
    WorkloadExample { name, workload: "shop".into(), objects, changed: deployment("shop:3", spec) }
}

pub(super) fn all() -> Vec<WorkloadExample> {
    let (old, present) = (set("old", "shop:1", 0, 2), set("now", "shop:2", 4, 1));
    vec![
        example("with a history", &json!({}), vec![old, present.clone()]),
        example("with none", &json!({ "revisionHistoryLimit": 0 }), vec![present.clone()]),
        example(
            "all at once, with a surge of its own",
            &json!({ "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "100%", "maxUnavailable": 0 } } }),
            vec![present],
        ),
    ]
}
