//! Pods as the guard on crashes, the views and the failures see them. PURE.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use jiff::Timestamp;
use serde_json::Value;
use strategies::{Arm, Name};

use crate::{
    analyses::PodHealth,
    api::view::ReplicaView,
    object::{Objects, POD_HASH, text},
    rollout::{Failed, Trial},
};

/// Pods by the arm whose label they carry, oldest first.
pub(super) fn by_arm<'a>(
    objects: &'a Objects,
    hashes: &BTreeMap<Arm, Name>,
) -> BTreeMap<Arm, Vec<&'a Value>> {
    let kind = super::driven::pods();
    let mut all: BTreeMap<Arm, Vec<&Value>> = BTreeMap::new();
    for (_, pod) in objects.iter().filter(|(of, _)| of.kind == kind) {
        let hash = pod.pointer("/metadata/labels").and_then(|it| it.get(POD_HASH)).and_then(Value::as_str);
        if let Some((arm, _)) = hashes.iter().find(|(_, it)| Some(it.as_str()) == hash) {
            all.entry(arm.clone()).or_default().push(pod);
        }
    }
    for pods in all.values_mut() {
        pods.sort_by_key(|it| (text(it, "/metadata/creationTimestamp"), text(it, "/metadata/name")));
    }
    all
}

/// What the guard on crashes looks at.
pub(super) fn health(arm: &Arm, pod: &Value) -> PodHealth {
    let containers = || containers(pod);
    let killed = |it: &&Value| text(it, "/lastState/terminated/reason") == Some("OOMKilled");
    PodHealth {
        revision: arm.revision.clone(),
        pod: name(pod).into(),
        ready: super::driven::is_ready(pod),
        leaving: pod.pointer("/metadata/deletionTimestamp").is_some(),
        restarts: containers().map(restarts).sum(),
        oom_kills: containers().filter(killed).map(|it| restarts(it).min(1)).sum(),
        crash_looping: containers().any(|it| waits_for(it) == Some("CrashLoopBackOff")),
        usage: None,
    }
}

/// One row of a view.
pub(super) fn replica(ordinal: usize, pod: &Value) -> ReplicaView {
    let ready = super::driven::is_ready(pod);
    let port = pod.pointer("/spec/containers/0/ports/0/containerPort").and_then(Value::as_u64);
    let address = text(pod, "/status/podIP").and_then(|it| it.parse::<IpAddr>().ok());
    let state = match (pod.pointer("/metadata/deletionTimestamp"), text(pod, "/status/phase")) {
        (Some(_), _) => "stopping".to_owned(),
        (None, Some("Running")) => "running".to_owned(),
        (None, Some("Pending") | None) => "starting".to_owned(),
        (None, Some("Failed" | "Succeeded")) => "exited".to_owned(),
        (None, Some(other)) => other.to_lowercase(),
    };
    ReplicaView {
        ordinal: u32::try_from(ordinal).unwrap_or(u32::MAX),
        address: address.map(|it| SocketAddr::new(it, port.and_then(|it| it.try_into().ok()).unwrap_or(0))),
        ready,
        state,
        pid: None,
        restarts: containers(pod).map(restarts).sum(),
        because: trouble(pod).map(|it| it.0),
        log: None,
    }
}

/// How pods do that have to get ready.
pub(super) fn trial(pods: &[&Value], desired: u32, now: Timestamp) -> Trial {
    let living = || pods.iter().filter(|it| it.pointer("/metadata/deletionTimestamp").is_none());
    if living().count() == 0 {
        return Trial::Absent;
    }
    if let Some((because, ended)) = living().find_map(|it| trouble(it)) {
        return Trial::Fails(Failed { because, at: now, ended, said: vec![], log: None });
    }
    let ready = living().filter(|it| super::driven::is_ready(it)).count();
    Trial::Well { ready: usize::try_from(desired).is_ok_and(|it| it <= ready) }
}

/// What stands against a pod, in one sentence, and whether something of it ended.
fn trouble(pod: &Value) -> Option<(String, bool)> {
    let pod_name = name(pod);
    for it in containers(pod) {
        let container = text(it, "/name").unwrap_or_default();
        let said = text(it, "/state/waiting/message").map(|it| format!(": {it}")).unwrap_or_default();
        match waits_for(it) {
            Some("CrashLoopBackOff") => {
                let code = it.pointer("/lastState/terminated/exitCode").and_then(Value::as_i64);
                let how = match (text(it, "/lastState/terminated/reason"), code) {
                    (Some("OOMKilled"), _) => "it used more memory than its limit".to_owned(),
                    (_, Some(code)) => format!("it exited with code {code}"),
                    (_, None) => "it exited".to_owned(),
                };
                let times = restarts(it);
                let look = format!("kubectl logs {pod_name} -c {container} --previous");
                return Some((
                    format!(
                        "pod {pod_name}: container {container} fails again and again, {times} restarts so far; {how}; look at `{look}`"
                    ),
                    true,
                ));
            }
            Some(
                reason @ ("ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull"),
            ) => {
                let image = text(it, "/image").unwrap_or("its image");
                return Some((format!("pod {pod_name}: {image} cannot be pulled ({reason}){said}"), false));
            }
            Some(reason @ ("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError")) => {
                return Some((
                    format!("pod {pod_name}: container {container} cannot be started ({reason}){said}"),
                    false,
                ));
            }
            Some(_) | None => {}
        }
    }
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let refused = |it: &&Value| {
        text(it, "/type") == Some("PodScheduled") && text(it, "/reason") == Some("Unschedulable")
    };
    if let Some(it) = conditions.into_iter().find(refused) {
        let why = text(it, "/message").unwrap_or("no node takes it");
        return Some((format!("pod {pod_name} has no node: {why}"), false));
    }
    match (text(pod, "/status/phase"), text(pod, "/status/reason")) {
        (Some("Failed"), reason) => {
            let why = text(pod, "/status/message").or(reason).unwrap_or("no reason is given");
            Some((format!("pod {pod_name} failed: {why}"), true))
        }
        _ => None,
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let of = |at: &str| pod.pointer(at).and_then(Value::as_array).into_iter().flatten();
    of("/status/initContainerStatuses").chain(of("/status/containerStatuses"))
}

fn restarts(container: &Value) -> u64 {
    container.get("restartCount").and_then(Value::as_u64).unwrap_or(0)
}

fn waits_for(container: &Value) -> Option<&str> {
    text(container, "/state/waiting/reason")
}

fn name(pod: &Value) -> &str {
    text(pod, "/metadata/name").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, container: &Value, ready: bool) -> Value {
        let ready = if ready { "True" } else { "False" };
        json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": { POD_HASH: "abc" }, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "status": { "phase": "Running", "podIP": "10.244.0.7",
                "conditions": [{ "type": "Ready", "status": ready }], "containerStatuses": [container] } })
    }

    fn arm() -> Arm {
        Arm::main("r1".into())
    }

    #[test]
    fn a_container_that_crashes_is_counted_and_told_with_what_to_do() {
        let loops = json!({ "name": "shop", "restartCount": 4, "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "reason": "OOMKilled", "exitCode": 137 } } });
        let pod = pod("shop-abc-1", &loops, false);
        let health = health(&arm(), &pod);
        assert_eq!(
            (health.restarts, health.oom_kills, health.crash_looping, health.ready),
            (4, 1, true, false)
        );
        let Trial::Fails(failed) = trial(&[&pod], 1, Timestamp::UNIX_EPOCH) else { panic!("it fails") };
        assert!(failed.ended);
        assert!(failed.because.contains("more memory than its limit"), "{}", failed.because);
        assert!(failed.because.contains("kubectl logs shop-abc-1 -c shop --previous"), "{}", failed.because);
    }

    #[test]
    fn what_keeps_a_pod_from_running_is_named() {
        let waits = |reason: &str| {
            json!({ "name": "shop", "image": "shop:9", "restartCount": 0,
                "state": { "waiting": { "reason": reason, "message": "no such thing" } } })
        };
        let mut unplaced = pod("a", &json!({}), false);
        unplaced["status"]["conditions"] = json!([{ "type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/3 nodes are available" }]);
        let mut evicted = pod("a", &json!({}), false);
        evicted["status"]["phase"] = json!("Failed");
        evicted["status"]["message"] = json!("The node was low on resource: memory.");
        for (pod, word) in [
            (pod("a", &waits("ImagePullBackOff"), false), "shop:9 cannot be pulled"),
            (pod("a", &waits("CreateContainerConfigError"), false), "no such thing"),
            (unplaced, "0/3 nodes are available"),
            (evicted, "low on resource"),
        ] {
            let Trial::Fails(failed) = trial(&[&pod], 1, Timestamp::UNIX_EPOCH) else { panic!("{word}") };
            assert!(failed.because.contains(word), "{}", failed.because);
        }
    }

    #[test]
    fn pods_belong_to_the_arm_whose_label_they_carry() {
        let objects: Objects =
            [pod("shop-abc-2", &json!({}), true), pod("shop-abc-1", &json!({}), false)].into_iter().collect();
        let hashes = BTreeMap::from([(arm(), Name::from("abc")), (Arm::main("r2".into()), "xyz".into())]);
        let all = by_arm(&objects, &hashes);
        assert_eq!(all.len(), 1);
        let pods = &all[&arm()];
        assert_eq!(trial(pods, 1, Timestamp::UNIX_EPOCH), Trial::Well { ready: true });
        assert_eq!(trial(pods, 2, Timestamp::UNIX_EPOCH), Trial::Well { ready: false });
        assert_eq!(replica(0, pods[1]).address, Some("10.244.0.7:0".parse().unwrap()));
    }
}
