//! What a rollout costs the API server, by its audit log.

use serde_json::Value;
use strategies::{Action, Phase};

use super::deployment::{alone, deployment, push, rollout};
use crate::{
    engine::{Engine, Life},
    lab::{Lab, Who},
    pods::Pods,
};

/// Requests of the engine about a namespace, watches left out: its verb and what it is about.
fn asked(lab: &Lab, namespace: &str) -> Vec<(String, String)> {
    let about = |it: &Value| {
        let text = |at: &str| it.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let subresource = it.pointer("/objectRef/subresource").and_then(Value::as_str);
        let of = format!(
            "{}{}",
            text("/objectRef/resource"),
            subresource.map(|it| format!("/{it}")).unwrap_or_default()
        );
        (text("/objectRef/namespace") == namespace && text("/verb") != "watch").then(|| (text("/verb"), of))
    };
    lab.audited(Who::Engine).iter().filter_map(about).collect()
}

/// Waits until the Lease was renewed so often: at rest nothing else happens in between.
fn renewals(lab: &Lab, count: usize) {
    let renewed = || {
        let lease = lab.get("serinus", "coordination.k8s.io/v1/leases", "serinus").unwrap();
        lease["spec"]["renewTime"].as_str().unwrap().to_owned()
    };
    for _ in 0..count {
        let before = renewed();
        lab.until("the lease is renewed", || (renewed() != before).then_some(()));
    }
}

pub(crate) fn bounded(lab: &Lab, namespace: &str) {
    let pods = Pods::watch(lab, namespace);
    lab.apply(Who::User, Some(namespace), &deployment("shop:1"));
    alone(lab, &pods, "shop:1");
    let engine = Engine::start(lab, namespace, &rollout(), Life::WorksOn);
    engine.until_phase(&Phase::Idle);
    renewals(lab, 3);
    let before = asked(lab, namespace);
    renewals(lab, 4);
    assert_eq!(asked(lab, namespace), before, "at rest nothing is asked and nothing is written");
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    engine.order(Action::Approve);
    engine.until_step("half");
    engine.order(Action::Approve);
    engine.until_phase(&Phase::Idle);
    alone(lab, &pods, "shop:2");
    renewals(lab, 3);
    let all = asked(lab, namespace);
    let canary = &all[before.len()..];
    let reads: Vec<_> = canary.iter().filter(|(verb, _)| verb == "get" || verb == "list").collect();
    assert!(reads.is_empty(), "everything is known from watches: {reads:?}");
    let events = canary.iter().filter(|(_, of)| of == "events").count();
    assert!(events <= 3, "{canary:?}");
    println!("a canary of two steps: {} writes, {events} of them events: {canary:?}", canary.len());
}
