//! Edits as writes to objects of the API server.

use serde_json::{Value, json};
use strategies::{Name, Revision};

use super::{
    super::{codec::Standing, template},
    facts::Edit,
    kind,
    read::{HELD, MADE, REVISION, ROLLED_BACK, surge},
    revisions, sets,
};
use crate::object::{
    EPOCH, Edits, Misshapen, ObjectRef, ObjectWrite, Objects, Verb, annotation, own_entry, pointer,
    short_hash, text, version,
};

/// By which the Deployment's controller knows how large it made a ReplicaSet, and what for.
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MOST: &str = "deployment.kubernetes.io/max-replicas";

struct Writing<'a> {
    objects: &'a Objects,
    standing: &'a Standing,
    deployment: &'a Value,
}

pub(super) fn write(edit: &Edit, objects: &Objects, standing: &Standing) -> Result<ObjectWrite, Misshapen> {
    let object = kind().named(standing.workload.as_str());
    let deployment = objects.get(&object).ok_or_else(|| missing(&object))?;
    let it = Writing { objects, standing, deployment };
    let stamp = || Some(standing.epoch.0.to_string());
    match edit {
        Edit::Pause => it.deployment(|edits| edits.set(&["spec", "paused"], json!(true))),
        Edit::Unpause => it.deployment(|edits| edits.unset(&["spec", "paused"])),
        Edit::Disown => it.disown(object),
        Edit::Scale(replicas) => it.deployment(|edits| edits.set(&["spec", "replicas"], json!(replicas))),
        Edit::Tell(revision) => it.condition(&json!({
            "status": "False", "reason": "ProgressDeadlineExceeded", "message": format!("{ROLLED_BACK}{revision}"),
        })),
        Edit::Untell => it.condition(&json!({
            "status": "Unknown", "reason": "DeploymentPaused", "message": "Deployment is paused",
        })),
        Edit::Keep(revision) => it.keep(revision),
        Edit::Detach(set) => it.set(set, |edits, seen| {
            it.ours(edits, seen);
            if seen.pointer("/spec/replicas") == Some(&json!(0)) {
                edits.annotate(EPOCH, None);
            }
        }),
        Edit::TakeOver { set, replicas } => it.set(set, |edits, seen| {
            it.ours(edits, seen);
            edits.set(&["spec", "replicas"], json!(replicas));
            edits.annotate(EPOCH, stamp());
        }),
        Edit::Offer { set, replicas } => it.set(set, |edits, seen| {
            nobodys(edits, seen);
            edits.annotate(MADE, None);
            edits.annotate(DESIRED, Some(replicas.to_string()));
            edits.annotate(MOST, Some(replicas.saturating_add(surge(deployment)).to_string()));
        }),
        Edit::Return(set) => it.set(set, |edits, seen| {
            nobodys(edits, seen);
            edits.annotate(EPOCH, None);
        }),
        Edit::Create { revision, replicas } => it.create(revision, *replicas, true),
        Edit::Revive { revision, replicas } => it.create(revision, *replicas, false),
        Edit::Resize { set, replicas } => it.set(set, |edits, _| {
            edits.set(&["spec", "replicas"], json!(replicas));
            edits.annotate(EPOCH, stamp());
        }),
        Edit::Stamp(set) => it.set(set, |edits, _| edits.annotate(EPOCH, stamp())),
        Edit::Unstamp(set) => it.set(set, |edits, _| edits.annotate(EPOCH, None)),
        Edit::Retire(set) => it.set(set, |edits, _| {
            edits.set(&["spec", "replicas"], json!(0));
            edits.annotate(EPOCH, None);
        }),
        Edit::Delete(set) => {
            let object = sets().named(set.as_str());
            let seen = objects.get(&object).ok_or_else(|| missing(&object))?;
            Ok(ObjectWrite::delete(object, seen))
        }
    }
}

fn missing(object: &ObjectRef) -> Misshapen {
    Misshapen { object: object.to_string().into(), at: String::new(), why: "it is not among what was read" }
}

/// Without the one that controls it.
fn without_controller(seen: &Value) -> Vec<Value> {
    let refs = seen.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    refs.into_iter().flatten().filter(|it| it["controller"] != true).cloned().collect()
}

fn nobodys(edits: &mut Edits<'_>, seen: &Value) {
    edits.annotate(HELD, None);
    match without_controller(seen) {
        rest if rest.is_empty() => edits.unset(&["metadata", "ownerReferences"]),
        rest => edits.set(&["metadata", "ownerReferences"], Value::Array(rest)),
    }
}

impl Writing<'_> {
    fn controller(&self) -> Value {
        json!({
            "apiVersion": "serinus.dev/v1alpha1", "kind": "Rollout", "name": self.standing.rollout.as_str(),
            "uid": self.standing.uid.as_str(), "controller": true, "blockOwnerDeletion": false,
        })
    }

    fn ours(&self, edits: &mut Edits<'_>, seen: &Value) {
        let mut refs = without_controller(seen);
        refs.push(self.controller());
        edits.set(&["metadata", "ownerReferences"], Value::Array(refs));
        edits.annotate(HELD, Some(self.standing.attempt.to_string()));
        // What it is called is recorded before anything but its template could say.
        if annotation(seen, REVISION).is_none()
            && let Some(it) = seen.pointer("/spec/template")
        {
            edits.annotate(REVISION, Some(self.revision_of(it)));
        }
    }

    fn revision_of(&self, it: &Value) -> String {
        let wanted = template::release(it, &self.standing.ignored);
        let kind = revisions();
        let mut kept = self
            .objects
            .of_kind(&kind)
            .filter_map(|(_, kept)| Some((kept.pointer("/data/template")?, annotation(kept, REVISION)?)));
        let known = kept.find(|(kept, _)| template::release(kept, &self.standing.ignored) == wanted);
        known.map_or_else(
            || template::revision(it, &self.standing.ignored).to_string(),
            |(_, it)| it.to_owned(),
        )
    }

    fn deployment(&self, change: impl FnOnce(&mut Edits<'_>)) -> Result<ObjectWrite, Misshapen> {
        let mut edits = Edits::of(self.deployment);
        change(&mut edits);
        Ok(edits.write(kind().named(self.standing.workload.as_str()), Verb::Patch))
    }

    fn set(
        &self,
        name: &Name,
        change: impl FnOnce(&mut Edits<'_>, &Value),
    ) -> Result<ObjectWrite, Misshapen> {
        let object = sets().named(name.as_str());
        let seen = self.objects.get(&object).ok_or_else(|| missing(&object))?;
        let mut edits = Edits::of(seen);
        change(&mut edits, seen);
        Ok(edits.write(object, Verb::Patch))
    }

    /// The server adds our entry again in the same patch that changes a field: so a patch of its own.
    fn disown(&self, object: ObjectRef) -> Result<ObjectWrite, Misshapen> {
        let at = own_entry(self.deployment).ok_or_else(|| missing(&object))?;
        let path = pointer(&["metadata", "managedFields", &at.to_string()]);
        let body = json!([{ "op": "remove", "path": path }]);
        Ok(ObjectWrite { object, verb: Verb::Patch, expected: version(self.deployment), body })
    }

    /// What `kubectl rollout status` and everything like it reads.
    fn condition(&self, change: &Value) -> Result<ObjectWrite, Misshapen> {
        let now = self.standing.now.to_string();
        let mut condition =
            json!({ "type": "Progressing", "lastUpdateTime": now, "lastTransitionTime": now });
        for (key, value) in change.as_object().into_iter().flatten() {
            condition[key] = value.clone();
        }
        let present = self.deployment.pointer("/status/conditions").and_then(Value::as_array);
        let mut all: Vec<Value> =
            present.into_iter().flatten().filter(|it| it["type"] != "Progressing").cloned().collect();
        all.push(condition);
        let mut edits = Edits::of(self.deployment);
        edits.set(&["status", "conditions"], Value::Array(all));
        Ok(edits.write(kind().named(self.standing.workload.as_str()), Verb::PatchStatus))
    }

    fn keep(&self, revision: &Revision) -> Result<ObjectWrite, Misshapen> {
        let template = self.template(revision)?;
        let digest = short_hash(&json!([revision.as_str(), template]));
        let object = revisions().named(&format!("{}-{digest}", self.standing.rollout));
        let body = json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": object.name.as_str(),
                "labels": { "serinus.dev/rollout": self.standing.rollout.as_str() },
                "annotations": { REVISION: revision.as_str() },
                "ownerReferences": [self.controller()],
            },
            "data": { "template": template },
            "revision": 1,
        });
        Ok(ObjectWrite::create(object, body))
    }

    /// The template of a revision: of the Deployment, of a ReplicaSet, or a kept one.
    fn template(&self, revision: &Revision) -> Result<Value, Misshapen> {
        let (sets, revisions) = (sets(), revisions());
        let wanted = revision.as_str();
        let own = self.deployment.pointer("/spec/template").into_iter();
        let of_sets = self.objects.of_kind(&sets).filter_map(|(_, it)| it.pointer("/spec/template"));
        let recorded = self.objects.of_kind(&sets).filter(|(_, it)| annotation(it, REVISION) == Some(wanted));
        let recorded = recorded.filter_map(|(_, it)| it.pointer("/spec/template"));
        let kept =
            self.objects.of_kind(&revisions).filter(|(_, it)| annotation(it, REVISION) == Some(wanted));
        let kept = kept.filter_map(|(_, it)| it.pointer("/data/template"));
        let same = own.filter(|it| self.revision_of(it) == wanted);
        let found = same
            .chain(recorded)
            .chain(kept)
            .chain(of_sets.filter(|it| self.revision_of(it) == wanted))
            .next();
        let object = format!("Deployment/{}", self.standing.workload).into();
        let mut it = found.cloned().ok_or(Misshapen {
            object,
            at: "/spec/template".to_owned(),
            why: "the template of the revision that is to be made",
        })?;
        if let Some(labels) = it.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.shift_remove(template::HASH);
        }
        Ok(it)
    }

    /// A ReplicaSet: ours, or one for the Deployment to adopt.
    fn create(&self, revision: &Revision, replicas: u32, ours: bool) -> Result<ObjectWrite, Misshapen> {
        let name = format!("{}-{revision}", self.standing.workload);
        let mut pods = self.template(revision)?;
        let labels = pods.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut labels = Value::Object(labels);
        labels[template::HASH] = json!(revision.as_str());
        pods["metadata"]["labels"] = labels.clone();
        let mut selector = self.deployment.pointer("/spec/selector").cloned().unwrap_or_else(|| json!({}));
        selector["matchLabels"][template::HASH] = json!(revision.as_str());
        let mut annotations = json!({ REVISION: revision.as_str() });
        let mut metadata = json!({ "name": name, "labels": labels });
        if ours {
            annotations[EPOCH] = json!(self.standing.epoch.0.to_string());
            annotations[MADE] = json!("true");
            metadata["ownerReferences"] = json!([self.controller()]);
        } else {
            annotations[DESIRED] = json!(replicas.to_string());
            annotations[MOST] = json!(replicas.saturating_add(surge(self.deployment)).to_string());
        }
        metadata["annotations"] = annotations;
        let mut spec = json!({ "replicas": replicas, "selector": selector, "template": pods });
        if let Some(it) = self.deployment.pointer("/spec/minReadySeconds") {
            spec["minReadySeconds"] = it.clone();
        }
        if let Some(it) = text(self.deployment, "/metadata/namespace") {
            metadata["namespace"] = json!(it);
        }
        let body =
            json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec });
        Ok(ObjectWrite::create(sets().named(&name), body))
    }
}
