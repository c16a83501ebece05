//! A Rollout of the cluster and what it refers to, read as a file is read. PURE.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use strategies::Name;

use crate::{
    object::{Kind, text},
    spec::{self, API_VERSION, Compiled, Severity, compile::compile},
};

/// An object of ours that another refers to, by its kind and name.
pub(super) type Referred = (Kind, Name);

/// What a Rollout means, with the objects that it refers to.
///
/// # Errors
/// Every mistake in it, as sentences.
pub(super) fn understand(rollout: &Value, referred: &[Value]) -> Result<Compiled, Vec<String>> {
    let name = text(rollout, "/metadata/name").unwrap_or_default();
    let all: Vec<String> =
        std::iter::once(rollout).chain(referred).map(|it| written(it).to_string()).collect();
    let read = spec::read(name, all.join("\n---\n").as_bytes());
    let errors = read.diagnostics.iter().filter(|it| it.severity == Severity::Error);
    let errors: Vec<String> = errors
        .map(|it| match it.help.first() {
            Some(help) => format!("{}: {help}", it.message),
            None => it.message.clone(),
        })
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    compile(&read.documents, Some(name)).map_err(|it| vec![it.to_string()])
}

/// What a user wrote of an object.
fn written(object: &Value) -> Value {
    let mut metadata = Map::new();
    for key in ["name", "namespace", "labels"] {
        if let Some(it) = object.pointer("/metadata").and_then(|it| it.get(key)) {
            metadata.insert(key.to_owned(), it.clone());
        }
    }
    let mut all = Map::new();
    for key in ["apiVersion", "kind", "spec"] {
        if let Some(it) = object.get(key) {
            all.insert(key.to_owned(), it.clone());
        }
    }
    all.insert("metadata".to_owned(), Value::Object(metadata));
    Value::Object(all)
}

/// The templates and sources that an object names.
pub(super) fn references(object: &Value) -> BTreeSet<Referred> {
    let mut all = BTreeSet::new();
    gather(object.get("spec").unwrap_or(&Value::Null), &mut all);
    all
}

fn gather(value: &Value, all: &mut BTreeSet<Referred>) {
    match value {
        Value::Object(fields) => {
            for (key, it) in fields {
                match key.as_str() {
                    "templateRef" => all.extend(reference(it, "AnalysisTemplate")),
                    "templates" => {
                        let entries = it.as_array().into_iter().flatten();
                        all.extend(entries.filter_map(|it| reference(it, "AnalysisTemplate")));
                    }
                    "sourceRef" => all.extend(reference(it, "MetricSource")),
                    _ => gather(it, all),
                }
            }
        }
        Value::Array(entries) => entries.iter().for_each(|it| gather(it, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn reference(it: &Value, kind: &str) -> Option<Referred> {
    let kind = text(it, "/kind").unwrap_or(kind);
    Some((Kind::new(API_VERSION, kind), text(it, "/name")?.into()))
}

/// A Secret by its namespace and name. No source can name one of another namespace: the first part is always ours.
pub(super) fn secret_name(namespace: &str, name: &str) -> Name {
    format!("{namespace}/{name}").as_str().into()
}

/// A source whose Secrets are named with the namespace that they are in, so that those of equal names elsewhere are
/// others.
pub(super) fn qualified(source: &Value, namespace: &str) -> Value {
    fn name_all(value: &mut Value, namespace: &str) {
        match value {
            Value::Object(fields) => {
                for (key, it) in fields.iter_mut() {
                    let name = text(it, "/name").map(|it| secret_name(namespace, it).to_string());
                    match (key.as_str(), name, text(it, "/key")) {
                        ("secret", Some(name), Some(_)) => it["name"] = Value::String(name),
                        _ => name_all(it, namespace),
                    }
                }
            }
            Value::Array(entries) => entries.iter_mut().for_each(|it| name_all(it, namespace)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut source = source.clone();
    if let Some(spec) = source.get_mut("spec") {
        name_all(spec, namespace);
    }
    source
}

/// The Secrets that a source needs.
pub(super) fn secrets(source: &Value) -> BTreeSet<Name> {
    fn gather(value: &Value, all: &mut BTreeSet<Name>) {
        match value {
            Value::Object(fields) => {
                for (key, it) in fields {
                    match (key.as_str(), text(it, "/name"), text(it, "/key")) {
                        ("secret", Some(name), Some(_)) => drop(all.insert(name.into())),
                        _ => gather(it, all),
                    }
                }
            }
            Value::Array(entries) => entries.iter().for_each(|it| gather(it, all)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut all = BTreeSet::new();
    gather(source.get("spec").unwrap_or(&Value::Null), &mut all);
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollout(spec: &Value) -> Value {
        json!({ "apiVersion": API_VERSION, "kind": "Rollout", "metadata": { "name": "shop", "namespace": "a",
            "uid": "1", "generation": 3, "managedFields": [{ "manager": "kubectl" }] },
            "spec": spec, "status": { "phase": "Idle", "whatever": 1 } })
    }

    #[test]
    fn what_the_server_adds_is_no_part_of_the_document() {
        let steps = json!([{ "name": "half", "weight": "50%", "approve": {} }]);
        let spec = json!({ "workloadRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" },
            "strategy": { "canary": { "steps": steps } } });
        let compiled = understand(&rollout(&spec), &[]).unwrap();
        assert_eq!(compiled.name, Name::from("shop"));
        assert_eq!(compiled.namespace, Some(Name::from("a")));
    }

    #[test]
    fn every_mistake_is_told_with_what_helps() {
        let spec = json!({ "workloadRef": { "apiVersion": "apps/v1", "kind": "Deploymnt", "name": "shop" },
            "strategy": { "canary": { "steps": [{ "name": "a", "weight": "5", "approve": {} }] } }, "nonsense": 1 });
        let wrong = understand(&rollout(&spec), &[]).unwrap_err();
        assert!(wrong.len() > 1, "{wrong:?}");
    }

    #[test]
    fn references_are_found_wherever_they_stand() {
        let spec = json!({ "analyses": [{ "name": "a", "templateRef": { "name": "golden" } },
                { "name": "b", "templateRef": { "kind": "ClusterAnalysisTemplate", "name": "wide" } }],
            "strategy": { "canary": { "steps": [{ "name": "x", "analyze": { "templates": [{ "name": "deep" }] } }] } } });
        let found: Vec<String> =
            references(&rollout(&spec)).iter().map(|(kind, name)| format!("{}/{name}", kind.kind)).collect();
        assert_eq!(
            found,
            ["AnalysisTemplate/deep", "AnalysisTemplate/golden", "ClusterAnalysisTemplate/wide"]
        );
        let source =
            json!({ "spec": { "credentials": { "bearer": { "secret": { "name": "token", "key": "t" } } } } });
        assert_eq!(secrets(&source), BTreeSet::from([Name::from("token")]));
    }

    #[test]
    fn secrets_of_equal_names_in_two_namespaces_are_two() {
        let source = |name: &str| json!({ "spec": { "credentials": { "bearer": { "secret": { "name": name, "key": "t" } } } } });
        let named =
            |name: &str, namespace: &str| secrets(&qualified(&source(name), namespace)).into_iter().next();
        assert_eq!(named("token", "serinus"), Some("serinus/token".into()));
        assert_ne!(named("token", "shop"), named("token", "serinus"));
        assert_ne!(named("serinus/token", "shop"), named("token", "serinus"), "nobody reaches into another");
        let steps = json!([{ "name": "half", "weight": "50%", "approve": {} }]);
        let own = rollout(
            &json!({ "workloadRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" },
            "strategy": { "canary": { "steps": steps } } }),
        );
        let source = json!({ "apiVersion": API_VERSION, "kind": "MetricSource", "metadata": { "name": "p" }, "spec": {
            "address": "https://p:9090", "credentials": { "bearer": { "secret": { "name": "token", "key": "t" } } } } });
        understand(&own, &[qualified(&source, "shop")]).unwrap();
    }
}
