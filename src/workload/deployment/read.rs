//! Objects of the API server as facts.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use strategies::{Revision, Scaler};

use super::{
    super::{
        codec::Standing,
        template::{normal, release, revision},
    },
    autoscalers,
    facts::{DeploymentSeen, Facts, SetOwner, SetSeen, Template},
    kind, revisions, sets,
};
use crate::object::{Misshapen, Objects, annotation, epoch, fence, own_entry, text};

/// Says which revision a ReplicaSet or a kept template is of: recorded once, never computed again.
pub(super) const REVISION: &str = "serinus.dev/revision";
/// Says that we made a ReplicaSet.
pub(super) const MADE: &str = "serinus.dev/made";
/// Says for which attempt a ReplicaSet was taken away from the Deployment.
pub(super) const HELD: &str = "serinus.dev/held";
/// Lifts the hold without the engine.
pub(super) const BYPASS: &str = "serinus.dev/bypass";
/// How the message of a condition begins by which pipelines are told of a roll-back.
pub(super) const ROLLED_BACK: &str = "rolled back by Serinus: ";
/// Names that are longer leave no room for the hash in the names of pods.
const LONGEST: usize = 46;

/// Templates that were met, and the revisions that were recorded of them.
struct Known<'a> {
    ignored: &'a [String],
    templates: Vec<Value>,
    recorded: Vec<(Value, Revision)>,
}

impl Known<'_> {
    fn template(&mut self, template: &Value) -> Template {
        let wanted = normal(template);
        let at = self.templates.iter().position(|it| *it == wanted).unwrap_or_else(|| {
            self.templates.push(wanted);
            self.templates.len() - 1
        });
        Template(u32::try_from(at).unwrap_or(u32::MAX))
    }

    fn record(&mut self, template: &Value, revision: &str) {
        self.recorded.push((release(template, self.ignored), revision.into()));
    }

    fn revision(&self, template: &Value) -> Revision {
        let wanted = release(template, self.ignored);
        let known = self.recorded.iter().find(|(it, _)| *it == wanted).map(|(_, it)| it.clone());
        known.unwrap_or_else(|| revision(template, self.ignored))
    }
}

pub(super) fn read(objects: &Objects, standing: &Standing) -> Result<Option<Facts>, Misshapen> {
    let Some(deployment) = objects.get(&kind().named(standing.workload.as_str())) else { return Ok(None) };
    if deployment.pointer("/metadata/deletionTimestamp").is_some() {
        return Ok(None);
    }
    let misshapen = |at: &str, why| Misshapen {
        object: format!("Deployment/{}", standing.workload).into(),
        at: at.to_owned(),
        why,
    };
    let template = deployment.pointer("/spec/template").filter(|it| it.is_object());
    let template = template.ok_or_else(|| misshapen("/spec/template", "a pod template"))?;
    let mut known = Known { ignored: &standing.ignored, templates: vec![], recorded: vec![] };
    let (set_kind, kept_kind) = (sets(), revisions());
    let mut all: Vec<&Value> =
        objects.of_kind(&set_kind).map(|(_, it)| it).filter(|it| selects(deployment, it)).collect();
    let age = |it: &Value| {
        (
            text(it, "/metadata/creationTimestamp").map(str::to_owned),
            text(it, "/metadata/name").map(str::to_owned),
        )
    };
    all.sort_by_key(|it| age(it));
    let mut kept = BTreeSet::new();
    for (_, it) in objects.of_kind(&kept_kind) {
        if let (Some(revision), Some(template)) = (annotation(it, REVISION), it.pointer("/data/template")) {
            known.record(template, revision);
            kept.insert(revision.into());
        }
    }
    for it in &all {
        if let (Some(revision), Some(template)) = (annotation(it, REVISION), it.pointer("/spec/template")) {
            known.record(template, revision);
        }
    }
    let seen = seen(deployment, template, &mut known);
    let sets = all.into_iter().filter_map(|it| set(it, deployment, standing, &mut known)).collect();
    Ok(Some(Facts { deployment: seen, sets, kept, scaler: scaler(objects, standing) }))
}

fn number(object: &Value, at: &str) -> Option<u32> {
    object.pointer(at).and_then(Value::as_u64).and_then(|it| u32::try_from(it).ok())
}

fn seen(deployment: &Value, template: &Value, known: &mut Known<'_>) -> DeploymentSeen {
    let failed =
        deployment.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten().find_map(
            |it| {
                let told = it["type"] == "Progressing"
                    && it["status"] == "False"
                    && it["reason"] == "ProgressDeadlineExceeded";
                it["message"].as_str().filter(|_| told)?.strip_prefix(ROLLED_BACK).map(Revision::from)
            },
        );
    DeploymentSeen {
        template: known.template(template),
        revision: known.revision(template),
        paused: deployment.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or(false),
        replicas: number(deployment, "/spec/replicas").unwrap_or(1),
        surge: surge(deployment),
        recreates: text(deployment, "/spec/strategy/type") == Some("Recreate"),
        refused: failed,
        managed: own_entry(deployment).is_some(),
        bypass: annotation(deployment, BYPASS).is_some(),
        fence: fence(deployment),
        short: text(deployment, "/metadata/name").is_some_and(|it| it.len() <= LONGEST),
    }
}

/// Replicas that its strategy allows above the wanted number: a share is rounded up.
pub(super) fn surge(deployment: &Value) -> u32 {
    if text(deployment, "/spec/strategy/type") == Some("Recreate") {
        return 0;
    }
    let replicas = number(deployment, "/spec/replicas").unwrap_or(1);
    let percent = |it: &str| it.trim_end_matches('%').parse::<u64>().ok();
    let share =
        |percent: u64| u32::try_from((u64::from(replicas) * percent).div_ceil(100)).unwrap_or(u32::MAX);
    match deployment.pointer("/spec/strategy/rollingUpdate/maxSurge") {
        Some(Value::String(it)) => percent(it).map_or(0, share),
        Some(it) => it.as_u64().and_then(|it| u32::try_from(it).ok()).unwrap_or(0),
        None => share(25),
    }
}

fn set(it: &Value, deployment: &Value, standing: &Standing, known: &mut Known<'_>) -> Option<SetSeen> {
    let template = it.pointer("/spec/template")?;
    let name = text(it, "/metadata/name")?;
    let recorded = annotation(it, REVISION).map(Revision::from);
    Some(SetSeen {
        name: name.into(),
        template: known.template(template),
        revision: recorded.unwrap_or_else(|| known.revision(template)),
        owner: owner(it, deployment, standing),
        desired: number(it, "/spec/replicas").unwrap_or(1),
        pods: number(it, "/status/replicas").unwrap_or(0),
        available: number(it, "/status/availableReplicas").unwrap_or(0),
        epoch: epoch(it),
        held: annotation(it, HELD).and_then(|it| it.parse().ok()),
        made: annotation(it, MADE).is_some(),
        hash: text(it, "/metadata/labels/pod-template-hash").unwrap_or(name).into(),
        fence: fence(it),
    })
}

fn owner(set: &Value, deployment: &Value, standing: &Standing) -> SetOwner {
    let refs = set.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let Some(it) = refs.into_iter().flatten().find(|it| it["controller"] == true) else {
        return SetOwner::Nobody;
    };
    match (it["kind"].as_str(), it["uid"].as_str()) {
        (Some("Deployment"), uid) if uid == text(deployment, "/metadata/uid") => SetOwner::Deployment,
        (Some("Rollout"), Some(uid)) if uid == standing.uid.as_str() => SetOwner::Rollout,
        _ => SetOwner::Other,
    }
}

/// Whether the Deployment's selector matches the labels of a ReplicaSet.
fn selects(deployment: &Value, set: &Value) -> bool {
    let empty = Map::new();
    let map = |it: &Value, at: &str| {
        it.pointer(at).and_then(Value::as_object).cloned().unwrap_or_else(|| empty.clone())
    };
    let labels = map(set, "/metadata/labels");
    let exact = map(deployment, "/spec/selector/matchLabels");
    let expressions = deployment.pointer("/spec/selector/matchExpressions").and_then(Value::as_array);
    let mut expressions = expressions.into_iter().flatten();
    let meets = |it: &Value| {
        let label = it["key"].as_str().and_then(|key| labels.get(key));
        let listed =
            label.is_some_and(|label| it["values"].as_array().is_some_and(|all| all.contains(label)));
        match it["operator"].as_str() {
            Some("In") => listed,
            Some("NotIn") => !listed,
            Some("Exists") => label.is_some(),
            Some("DoesNotExist") => label.is_none(),
            Some(_) | None => false,
        }
    };
    exact.iter().all(|(key, value)| labels.get(key) == Some(value)) && expressions.all(meets)
}

fn scaler(objects: &Objects, standing: &Standing) -> Option<Scaler> {
    let autoscalers = autoscalers();
    let targets = |kind: &str, name: &str| {
        objects.of_kind(&autoscalers).any(|(_, it)| {
            text(it, "/spec/scaleTargetRef/kind") == Some(kind)
                && text(it, "/spec/scaleTargetRef/name") == Some(name)
        })
    };
    if targets("Deployment", standing.workload.as_str()) {
        return Some(Scaler::CanaryToo);
    }
    targets("Rollout", standing.rollout.as_str()).then_some(Scaler::StableOnly)
}
