//! The kinds and the rules of orders as the API server takes them.

use serde_json::{Value, json};

use crate::{
    engine::{OWN, made},
    lab::{Lab, Who},
};

fn rollout() -> Value {
    json!({ "apiVersion": "serinus.dev/v1alpha1", "kind": "Rollout", "metadata": { "name": "shop",
        // Whoever drives it writes another status.
        "labels": { OWN: "nobody" } },
        "spec": { "workloadRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" }, "replicas": 4,
            "strategy": { "canary": { "steps": [{ "weight": "25%", "approve": {} }] } } } })
}

fn patch_status(lab: &Lab, namespace: &str, status: &Value) {
    let patch = json!({ "status": status }).to_string();
    let arguments =
        ["-n", namespace, "patch", "srl", "shop", "--subresource=status", "--type=merge", "-p", &patch];
    lab.kubectl(Who::Admin, &arguments).unwrap();
}

pub(crate) fn shown(lab: &Lab, namespace: &str) {
    made(lab, namespace, &rollout());
    let stored = lab.get(namespace, "serinus.dev/v1alpha1/rollouts", "shop").unwrap();
    assert_eq!(stored["spec"]["profile"], 1, "what is left out keeps its meaning: {stored}");
    patch_status(
        lab,
        namespace,
        &json!({ "phase": "Stepping", "step": "weight-25", "weight": "25%", "stable": "6b4f", "canary": "9c2d",
            "waiting": ["an approval", "nothing else"], "replicas": 5, "selector": "app=shop" }),
    );
    let kubectl =
        |arguments: &[&str]| lab.kubectl(Who::User, &[&["-n", namespace], arguments].concat()).unwrap();
    let table = kubectl(&["get", "srl"]);
    let lines: Vec<Vec<&str>> =
        table.lines().map(|it| it.split("  ").map(str::trim).filter(|it| !it.is_empty()).collect()).collect();
    assert_eq!(
        lines[0],
        ["NAME", "STATUS", "STEP", "WEIGHT", "STABLE", "CANARY", "WAITING", "AGE"],
        "{table}"
    );
    assert_eq!(
        lines[1][..7],
        ["shop", "Stepping", "weight-25", "25%", "6b4f", "9c2d", "an approval"],
        "{table}"
    );
    assert!(kubectl(&["get", "serinus"]).contains("shop"), "by category");
    assert!(kubectl(&["get", "srl", "--field-selector=spec.workloadRef.name=other"]).is_empty());
    assert!(
        kubectl(&["get", "srl", "--field-selector=spec.workloadRef.name=shop", "-o", "name"])
            .contains("shop")
    );
    assert!(
        kubectl(&["explain", "rollout.spec.strategy.canary.steps.weight"]).contains("share of the requests")
    );
    kubectl(&["scale", "srl/shop", "--replicas=7"]);
    let scale = kubectl(&["get", "srl/shop", "--subresource=scale", "-o", "json"]);
    let scale: Value = serde_json::from_str(&scale).unwrap();
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["replicas"]), (&json!(7), &json!(5)), "{scale}");
    assert_eq!(scale["status"]["selector"], "app=shop");
}

pub(crate) fn written_apart(lab: &Lab, namespace: &str) {
    made(lab, namespace, &rollout());
    let of = || lab.get(namespace, "serinus.dev/v1alpha1/rollouts", "shop").unwrap();
    let (before, remembered) =
        (of(), json!({ "stable": null, "epoch": 7, "list": [{ "a": 1.5 }, "b", null] }));
    patch_status(
        lab,
        namespace,
        &json!({ "observedGeneration": 1, "phase": "Idle", "remembered": remembered, "shown": [1],
            "checkpoints": { "golden/1": { "sum": 0.25 } }, "workload": { "generation": 3, "revision": "6b4f" },
            "conditions": [{ "type": "Ready", "status": "True", "reason": "Idle", "message": "", "observedGeneration": 1,
                "lastTransitionTime": "2026-01-31T12:00:00Z" }] }),
    );
    let after = of();
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(
        after["metadata"]["generation"], before["metadata"]["generation"],
        "a status is no new generation"
    );
    let list = &after["status"]["remembered"]["list"];
    assert_eq!(list, &remembered["list"], "what is remembered is kept as it is");
    let status: serinus::spec::RolloutStatus = serde_json::from_value(after["status"].clone()).unwrap();
    assert_eq!(status.checkpoints["golden/1"], json!({ "sum": 0.25 }));
    assert!(status.condition("Ready").is_some());
    lab.kubectl(Who::User, &["-n", namespace, "wait", "srl/shop", "--for=condition=Ready", "--timeout=5s"])
        .unwrap();
    let mut spoilt = rollout();
    spoilt["status"] = json!({ "phase": "Promoted" });
    spoilt["spec"]["replicas"] = json!(5);
    lab.apply(Who::User, Some(namespace), &spoilt);
    assert_eq!(of()["status"]["phase"], "Idle", "who edits the spec does not write the status");
}

fn order(name: &str, action: &str) -> Value {
    json!({ "apiVersion": "serinus.dev/v1alpha1", "kind": "RolloutOrder", "metadata": { "name": name },
        "spec": { "rollout": "shop", "action": action, "revision": { "attempt": 1 } } })
}

/// Hands an order in as somebody; what the server says against it.
fn hands_in(lab: &Lab, namespace: &str, who: &str, order: &Value) -> Result<String, String> {
    let arguments = ["-n", namespace, &format!("--as={who}"), "apply", "-f", "-"];
    lab.kubectl_with(Who::Admin, &arguments, &order.to_string())
}

/// Lets `who` write orders and use these verbs on Rollouts.
fn grant(lab: &Lab, namespace: &str, who: &str, verbs: &[&str]) {
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": who },
        "rules": [
            { "apiGroups": ["serinus.dev"], "resources": ["rolloutorders"], "verbs": ["create", "get", "patch", "update"] },
            { "apiGroups": ["serinus.dev"], "resources": ["rollouts"], "resourceNames": ["shop"], "verbs": verbs },
        ] });
    let binding = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": who },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": who },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": who }] });
    lab.apply(Who::Admin, Some(namespace), &role);
    lab.apply(Who::Admin, Some(namespace), &binding);
    let can = ["-n", namespace, &format!("--as={who}"), "auth", "can-i", "create", "rolloutorders"];
    lab.until("the role is known", || lab.kubectl(Who::Admin, &can).ok());
}

fn by(lab: &Lab, namespace: &str, name: &str) -> Value {
    lab.get(namespace, "serinus.dev/v1alpha1/rolloutorders", name).unwrap()["spec"]["by"].clone()
}

pub(crate) fn authored(lab: &Lab, namespace: &str) {
    grant(lab, namespace, "mallory", &["abort", "pause"]);
    let mut forged = order("abort-1", "abort");
    forged["spec"]["by"] = json!("alice");
    // Policies are in force a moment after they were made.
    lab.until("orders are stamped", || {
        let probe = order("probe", "pause");
        hands_in(lab, namespace, "mallory", &probe).ok()?;
        let stamped = by(lab, namespace, "probe") == "mallory";
        lab.kubectl(Who::Admin, &["-n", namespace, "delete", "rolloutorder", "probe"]).unwrap();
        stamped.then_some(())
    });
    hands_in(lab, namespace, "mallory", &forged).unwrap();
    assert_eq!(by(lab, namespace, "abort-1"), "mallory", "whatever the order says");
    // The same file once more, by whoever may: a pipeline that applies all it has.
    hands_in(lab, namespace, "mallory", &forged).unwrap();
    lab.apply(Who::User, Some(namespace), &order("abort-1", "abort"));
    assert_eq!(by(lab, namespace, "abort-1"), "mallory", "who hands it in again is not its author");
    for (field, value) in
        [("action", json!("pause")), ("revision", json!({ "attempt": 2 })), ("reason", json!("x"))]
    {
        let mut other = order("abort-1", "abort");
        other["spec"][field] = value;
        let refused = hands_in(lab, namespace, "mallory", &other).unwrap_err();
        assert!(refused.contains("an order never changes"), "{field}: {refused}");
    }
}

pub(crate) fn allowed(lab: &Lab, namespace: &str) {
    grant(lab, namespace, "oncall", &["abort"]);
    let refused = lab.until("rights are asked for", || {
        let refused = hands_in(lab, namespace, "oncall", &order("all", "promoteFull"));
        if refused.is_ok() {
            lab.kubectl(Who::Admin, &["-n", namespace, "delete", "rolloutorder", "all"]).unwrap();
        }
        refused.err()
    });
    assert!(refused.contains("oncall may not promoteFull the Rollout shop"), "{refused}");
    hands_in(lab, namespace, "oncall", &order("back", "abort")).unwrap();
    let mut elsewhere = order("other", "abort");
    elsewhere["spec"]["rollout"] = json!("other");
    let refused = hands_in(lab, namespace, "oncall", &elsewhere).unwrap_err();
    assert!(refused.contains("may not abort the Rollout other"), "{refused}");
}
