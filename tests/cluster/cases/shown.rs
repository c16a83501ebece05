//! What people see of a rollout of a cluster.

use serde_json::{Value, json};
use strategies::Phase;

use super::deployment::{alone, deployment, push, rollout};
use crate::{
    engine::{Engine, Life},
    lab::{Lab, Who},
    pods::Pods,
};

/// A template that a guard names and nobody has made.
pub(crate) fn missing(lab: &Lab, namespace: &str) {
    let pods = Pods::watch(lab, namespace);
    lab.apply(Who::User, Some(namespace), &deployment("shop:1"));
    alone(lab, &pods, "shop:1");
    let mut rollout = rollout();
    rollout["spec"]["analyses"] = json!([{ "name": "errors", "templateRef": { "name": "errors" } }]);
    let engine = Engine::start(lab, namespace, &rollout, Life::WorksOn);
    engine.until_phase(&Phase::Idle);
    push(lab, namespace, "shop:2");
    let shown = lab.until("what is missing is shown", || {
        let table = lab.kubectl(Who::User, &["-n", namespace, "get", "srl", "shop", "-o", "yaml"]).unwrap();
        table.contains("AnalysisTemplate errors").then_some(table)
    });
    assert_eq!(engine.status().phase, Phase::Idle, "{shown}");
    assert_eq!(pods.born("shop:2"), 0, "nothing of it is tried before it can be judged");
    let template = json!({ "apiVersion": "serinus.dev/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": { "name": "errors" }, "spec": { "metrics": [{ "name": "errors", "every": "10s",
            "judge": { "sequential": {} },
            "provider": { "prometheus": { "address": "http://10.244.255.1:9090", "bad": "bad", "total": "all" } } }] } });
    lab.apply(Who::User, Some(namespace), &template);
    engine.until("the canary begins", |it| matches!(it.phase, Phase::Stepping { .. }));
}

/// A mistake that no schema and no expression can tell: before anything runs, and in the middle.
pub(crate) fn mistaken(lab: &Lab, namespace: &str) {
    let pods = Pods::watch(lab, namespace);
    lab.apply(Who::User, Some(namespace), &deployment("shop:1"));
    alone(lab, &pods, "shop:1");
    let template = json!({ "apiVersion": "serinus.dev/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": { "name": "errors" }, "spec": { "metrics": [{ "name": "errors", "every": "10s",
            "judge": { "sequential": {} }, "provider": { "prometheus":
                { "address": "http://10.244.255.1:9090", "bad": "bad", "total": "all" } } }] } });
    lab.apply(Who::User, Some(namespace), &template);
    let mut wrong = rollout();
    let argument = json!([{ "name": "nobody-knows", "value": "1" }]);
    wrong["spec"]["analyses"] =
        json!([{ "name": "errors", "templateRef": { "name": "errors" }, "args": argument }]);
    let engine = Engine::start(lab, namespace, &wrong, Life::WorksOn);
    let told = || {
        let said = engine.object()?["status"]["message"].as_str()?.to_owned();
        said.contains("nobody-knows").then_some(said)
    };
    lab.until("the mistake is told", told);
    let shown = engine.command(&["status", "shop", "--output", "json"]).unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let troubles = shown["troubles"].as_array().unwrap();
    assert!(troubles[0]["text"].as_str().unwrap().contains("nobody-knows"), "{shown}");
    assert_eq!(troubles.len(), 1, "{shown}");
    lab.apply(Who::User, Some(namespace), &rollout());
    engine.until_phase(&Phase::Idle);
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    lab.apply(Who::User, Some(namespace), &wrong);
    lab.until("the mistake is told in the middle", told);
    assert!(matches!(engine.status().phase, Phase::Stepping { .. }), "and what runs goes on");
    engine.order(strategies::Action::Abort);
    engine
        .until("it is turned back by the document before", |it| matches!(it.phase, Phase::RolledBack { .. }));
}

/// What people see of a rollout that waits for them.
pub(crate) fn as_on_a_machine(lab: &Lab, namespace: &str) {
    let pods = Pods::watch(lab, namespace);
    lab.apply(Who::User, Some(namespace), &deployment("shop:1"));
    alone(lab, &pods, "shop:1");
    let engine = Engine::start(lab, namespace, &rollout(), Life::WorksOn);
    engine.until_phase(&Phase::Idle);
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    let list = engine.command(&["get"]).unwrap();
    assert!(list.contains("shop") && list.contains("step 1 of 3 (fifth)"), "{list}");
    let all = engine.command(&["get", "-A"]).unwrap();
    assert!(all.contains(namespace), "{all}");
    let status = lab.until("it says whom it waits for", || {
        let status = engine.command(&["status", "shop"]).unwrap();
        status.contains("approve").then_some(status)
    });
    assert!(status.contains("20%") || status.contains("20 %"), "{status}");
    let history = engine.command(&["history", "shop"]).unwrap();
    assert!(history.contains("shop:1") && history.contains("shop:2"), "{history}");
    let refused = engine.command(&["retry", "shop"]).unwrap_err();
    assert!(refused.contains("no revision that was rolled back"), "{refused}");
    let unknown = engine.command(&["status", "nothing"]).unwrap_err();
    assert!(unknown.contains("there is no rollout `nothing`"), "{unknown}");
}
