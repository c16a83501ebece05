//! The pod template of a revision, as a user would write it.

use serde_json::Value;
use strategies::{Arm, Name, Revision};

use super::{
    Driven,
    api::{Api, Server as _},
    document, kept,
};
use crate::{
    clock,
    object::{Kind, POD_HASH, text},
    port::Unavailable,
};

/// The template of a revision whose ReplicaSet is still there; `None`: it is not.
///
/// # Errors
/// When the server does not say.
pub(super) async fn of(
    api: &mut Api,
    rollout: &Value,
    revision: &Revision,
) -> Result<Option<Value>, Unavailable> {
    let Ok(compiled) = document::understand(rollout, &[]) else { return Ok(None) };
    let uid = Name::from(text(rollout, "/metadata/uid").unwrap_or_default());
    let Ok(mut driven) = Driven::new(&compiled, uid.clone()) else { return Ok(None) };
    let objects = api.read(&driven.needs(true), &uid).await?;
    let status = kept::remembered(&kept::told(rollout))?;
    if driven.world(&objects, &status, false, clock::now()).is_err() {
        return Ok(None);
    }
    let hash = driven.look().and_then(|it| it.hashes.get(&Arm::main(revision.clone())).cloned());
    let sets = Kind::new("apps/v1", "ReplicaSet");
    let is_of = |it: &&Value| match &hash {
        Some(hash) => label(it) == Some(hash.as_str()),
        None => named(it).as_ref() == Some(revision),
    };
    let set = objects.of_kind(&sets).map(|(_, it)| it).find(is_of);
    let mut template = set.and_then(|it| it.pointer("/spec/template")).cloned();
    let labels = template.as_mut().and_then(|it| it.pointer_mut("/metadata/labels"));
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels.remove(POD_HASH);
    }
    Ok(template)
}

/// The revision that a ReplicaSet names; one that was never ours is called by its hash.
pub(super) fn named(set: &Value) -> Option<Revision> {
    text(set, "/metadata/annotations/serinus.dev~1revision").or_else(|| label(set)).map(Revision::from)
}

fn label(set: &Value) -> Option<&str> {
    set.pointer("/metadata/labels").and_then(|it| it.get(POD_HASH)).and_then(Value::as_str)
}
