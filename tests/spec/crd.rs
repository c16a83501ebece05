//! The kinds as a cluster knows them.

use serde_json::{Map, Value};
use serinus::spec::{Kind, crd};

/// Calls `look` with every schema in `schema` and where it stands.
fn each(schema: &Value, at: &str, look: &mut impl FnMut(&str, &Map<String, Value>)) {
    let Some(object) = schema.as_object() else { return };
    look(at, object);
    for (key, it) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        each(it, &format!("{at}.{key}"), look);
    }
    for word in ["items", "additionalProperties"] {
        object.get(word).into_iter().for_each(|it| each(it, &format!("{at}[]"), look));
    }
}

fn schemas() -> impl Iterator<Item = (Kind, Value)> {
    let of = |kind: &Kind| {
        let definition = crd::definition(*kind);
        (*kind, definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
    };
    Kind::ALL.iter().map(of)
}

#[test]
fn what_is_shipped_is_what_the_types_say() {
    let shipped = include_str!("../../deploy/crds.yaml");
    let made = crd::manifest().unwrap();
    assert!(shipped == made, "write `serinus crd > deploy/crds.yaml`");
}

#[test]
fn every_schema_is_structural() {
    for (kind, schema) in schemas() {
        each(&schema, kind.name(), &mut |at, it| {
            let free = it.contains_key("x-kubernetes-preserve-unknown-fields");
            let either = it.contains_key("x-kubernetes-int-or-string");
            assert!(it.contains_key("type") || free || either, "{at} has no type");
            for word in ["$ref", "$defs", "oneOf", "anyOf", "allOf", "const", "nullable", "examples", "title"]
            {
                assert!(!it.contains_key(word), "{at} has `{word}`");
            }
            let default = it.get("default");
            assert!(default.is_none() || at == "Rollout.spec.profile", "{at} has a default");
            for word in ["exclusiveMinimum", "exclusiveMaximum"] {
                assert!(it.get(word).is_none_or(Value::is_boolean), "{at}: `{word}` is no boolean");
            }
        });
    }
}

#[test]
fn every_list_is_bounded_so_that_rules_over_it_can_be_afforded() {
    for (kind, schema) in schemas() {
        each(&schema["properties"]["spec"], kind.name(), &mut |at, it| {
            let bounded = it.contains_key("maxItems") || it.get("type").is_none_or(|it| it != "array");
            assert!(bounded, "{at} has no `maxItems`");
        });
    }
}

#[test]
fn entries_that_are_told_apart_by_a_key_have_it() {
    let mut lists = 0;
    for (kind, schema) in schemas() {
        each(&schema, kind.name(), &mut |at, it| {
            for key in it.get("x-kubernetes-list-map-keys").and_then(Value::as_array).into_iter().flatten() {
                lists += 1;
                let required = it["items"]["required"].as_array().is_some_and(|it| it.contains(key));
                assert!(required, "{at}: {key} may be missing");
            }
        });
    }
    assert!(8 <= lists, "{lists}");
}

#[test]
fn an_object_fits_the_limit_of_what_kubectl_remembers_of_it() {
    // `kubectl apply` keeps a copy in an annotation, and annotations have 256 KiB together.
    for kind in Kind::ALL {
        let size = crd::definition(*kind).to_string().len();
        assert!(size < 250 * 1024, "{}: {size}", kind.name());
    }
}
