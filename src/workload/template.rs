//! Pod templates, compared as their own controllers do: by meaning, and without the label that tells their pods apart.

use serde_json::Value;
use strategies::Revision;

use crate::object::short_hash;

/// The label that a controller adds to the pods of each template.
pub(super) const HASH: &str = crate::object::POD_HASH;

/// A template without what has no meaning: the hash label, nulls and empty maps and lists.
#[must_use]
pub(super) fn normal(template: &Value) -> Value {
    let mut it = template.clone();
    if let Some(labels) = it.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.shift_remove(HASH);
    }
    prune(&mut it);
    it
}

fn prune(value: &mut Value) {
    let empty = |it: &Value| match it {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(prune);
            // An empty map can have a meaning of its own, such as `emptyDir: {}`, but never in metadata.
            let metadata = |key: &str| matches!(key, "labels" | "annotations");
            map.retain(|key, it| !(it.is_null() || metadata(key) && empty(it)));
        }
        Value::Array(all) => all.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A template without fields that make no release.
#[must_use]
pub(super) fn release(template: &Value, ignored: &[String]) -> Value {
    let mut it = template.clone();
    for at in ignored {
        let Some((above, key)) = at.rsplit_once('/') else { continue };
        let key = key.replace("~1", "/").replace("~0", "~");
        if let Some(map) = it.pointer_mut(above).and_then(Value::as_object_mut) {
            map.shift_remove(&key);
        }
    }
    normal(&it)
}

/// The revision of a template that nobody has met before.
#[must_use]
pub(super) fn revision(template: &Value, ignored: &[String]) -> Revision {
    short_hash(&release(template, ignored)).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_are_the_same_without_the_hash_label_and_what_means_nothing() {
        let check = |one: Value, other: Value, same: bool| {
            assert_eq!(normal(&one) == normal(&other), same, "{one} {other}");
        };
        let plain = || json!({ "metadata": { "labels": { "app": "a" } }, "spec": { "containers": [{ "image": "x" }] } });
        let mut hashed = plain();
        hashed["metadata"]["labels"][HASH] = json!("abc");
        hashed["metadata"]["creationTimestamp"] = Value::Null;
        hashed["metadata"]["annotations"] = json!({});
        check(plain(), hashed, true);
        let mut other = plain();
        other["spec"]["containers"][0]["image"] = json!("y");
        check(plain(), other, false);
        check(
            json!({ "spec": { "volumes": [{ "emptyDir": {} }] } }),
            json!({ "spec": { "volumes": [{}] } }),
            false,
        );
    }

    #[test]
    fn a_restart_is_no_release_and_a_new_image_is() {
        let ignored = ["/metadata/annotations/kubectl.kubernetes.io~1restartedAt".to_owned()];
        let plain = json!({ "metadata": { "labels": { "app": "a" } }, "spec": { "image": "x" } });
        let mut restarted = plain.clone();
        restarted["metadata"]["annotations"] = json!({ "kubectl.kubernetes.io/restartedAt": "now" });
        assert_eq!(revision(&plain, &ignored), revision(&restarted, &ignored));
        assert_ne!(revision(&plain, &[]), revision(&restarted, &[]));
        let mut other = plain.clone();
        other["spec"]["image"] = json!("y");
        assert_ne!(revision(&plain, &ignored), revision(&other, &ignored));
    }
}
