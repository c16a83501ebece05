//! Several instances of the engine, of which one acts.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use strategies::{Action, Phase};

use super::deployment::{alone, deployment, pipeline, push, rollout};
use crate::{
    engine::{Engine, Life, OWN},
    lab::{Lab, Who},
    pods::Pods,
};

/// Ends with the test.
struct Instance(Child);

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Instance {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

fn holder(lab: &Lab, namespace: &str) -> Option<String> {
    let lease = lab.get("serinus", "coordination.k8s.io/v1/leases", namespace)?;
    lease["spec"]["holderIdentity"].as_str().filter(|it| !it.is_empty()).map(str::to_owned)
}

/// A canary at its first step, driven by the first of two instances.
fn begun<'a>(lab: &'a Lab, namespace: &str) -> (Engine<'a>, Pods, Instance, Instance) {
    let pods = Pods::watch(lab, namespace);
    lab.apply(Who::User, Some(namespace), &deployment("shop:1"));
    alone(lab, &pods, "shop:1");
    let instance = |name: &str| {
        let more =
            ["--watch-namespace", namespace, "--selector", OWN, "--lease", namespace, "--identity", name];
        Instance(lab.engine(&more).spawn().unwrap())
    };
    let first = instance("first");
    lab.until("the first acts", || holder(lab, namespace).filter(|it| it == "first"));
    let second = instance("second");
    let mut rollout = rollout();
    rollout["metadata"]["labels"] = serde_json::json!({ OWN: namespace });
    let engine = Engine::start(lab, namespace, &rollout, Life::WorksOn);
    engine.until_phase(&Phase::Idle);
    pods.mark();
    push(lab, namespace, "shop:2");
    engine.until_step("fifth");
    (engine, pods, first, second)
}

/// The second instance goes on from where the first stood.
fn goes_on(lab: &Lab, namespace: &str, engine: &Engine<'_>, pods: &Pods) {
    lab.until("the second acts", || holder(lab, namespace).filter(|it| it == "second"));
    engine.order(Action::Approve);
    engine.until_step("half");
    engine.order(Action::Approve);
    engine.until_phase(&Phase::Idle);
    alone(lab, pods, "shop:2");
    pipeline(lab, namespace).unwrap();
    assert_eq!(pods.born("shop:2"), 10, "each of v2 was born once");
}

pub(crate) fn killed(lab: &Lab, namespace: &str) {
    let (engine, pods, first, _second) = begun(lab, namespace);
    first.signal(Signal::KILL);
    goes_on(lab, namespace, &engine, &pods);
}

pub(crate) fn frozen(lab: &Lab, namespace: &str) {
    let (engine, pods, first, _second) = begun(lab, namespace);
    first.signal(Signal::STOP);
    lab.until("the second acts", || holder(lab, namespace).filter(|it| it == "second"));
    // It wakes up in the middle, as one who believes to act.
    first.signal(Signal::CONT);
    goes_on(lab, namespace, &engine, &pods);
}

pub(crate) fn told_to_stop(lab: &Lab, namespace: &str) {
    let (engine, pods, mut first, _second) = begun(lab, namespace);
    first.signal(Signal::TERM);
    assert!(first.0.wait().unwrap().success(), "{}", lab.engine_said());
    goes_on(lab, namespace, &engine, &pods);
}

/// No engine is there: a person gives the workload back in the middle of a rollout.
fn ejected(lab: &Lab, namespace: &str, side: &str, image: &str) {
    let (engine, pods, mut first, mut second) = begun(lab, namespace);
    for it in [&mut second, &mut first] {
        it.0.kill().unwrap();
        it.0.wait().unwrap();
    }
    let said = engine.command(&["eject", "shop", "--to", side]).unwrap_or_else(|why| panic!("{why}"));
    assert!(said.contains("is given back"), "{said}");
    lab.until("the Deployment is its own again", || {
        let it = lab.get(namespace, "apps/v1/deployments", "shop").unwrap();
        let free = it["spec"]["paused"].as_bool() != Some(true);
        (free && it["status"]["availableReplicas"] == 10).then_some(())
    });
    alone(lab, &pods, image);
    let sets = lab.list(namespace, "apps/v1/replicasets");
    let own = |it: &serde_json::Value| it["metadata"]["ownerReferences"][0]["kind"] == "Deployment";
    assert!(sets.iter().all(own), "{sets:#?}");
    let rollout = engine.object().unwrap();
    assert_eq!(
        (&rollout["spec"]["mode"], &rollout["metadata"]["finalizers"]),
        (&"off".into(), &serde_json::Value::Null)
    );
    push(lab, namespace, "shop:3");
    pipeline(lab, namespace).unwrap();
    alone(lab, &pods, "shop:3");
}

pub(crate) fn ejected_to_canary(lab: &Lab, namespace: &str) {
    ejected(lab, namespace, "canary", "shop:2");
}

pub(crate) fn ejected_to_stable(lab: &Lab, namespace: &str) {
    ejected(lab, namespace, "stable", "shop:1");
}
