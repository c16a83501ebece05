//! The schemas: what they say, that the reader understands all of it, and that both agree.

use std::collections::BTreeSet;

use serde_json::Value;
use serinus::spec::{Kind, schema};

#[test]
fn schemas_are_those_that_are_written_down() {
    for kind in Kind::ALL {
        let text = serde_json::to_string_pretty(schema::of(*kind)).unwrap();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("schemas");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(kind.name(), text));
    }
}

/// Calls `look` with every schema in `schema`.
fn each(schema: &Value, look: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    let Some(object) = schema.as_object() else { return };
    look(object);
    for word in ["properties", "$defs"] {
        for (_, it) in object.get(word).and_then(Value::as_object).into_iter().flatten() {
            each(it, look);
        }
    }
    for word in ["oneOf", "anyOf"] {
        for it in object.get(word).and_then(Value::as_array).into_iter().flatten() {
            each(it, look);
        }
    }
    for word in ["items", "additionalProperties"] {
        object.get(word).into_iter().for_each(|it| each(it, look));
    }
}

#[test]
fn the_reader_understands_every_word_of_every_schema() {
    let understood = BTreeSet::from([
        "$ref",
        "$defs",
        "type",
        "properties",
        "required",
        "additionalProperties",
        "unevaluatedProperties",
        "items",
        "oneOf",
        "anyOf",
        "enum",
        "const",
        "pattern",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "maxProperties",
        "minimum",
        "maximum",
    ]);
    // They say something to people and editors, and nothing about what is allowed.
    let silent = BTreeSet::from(["$schema", "$id", "title", "description", "examples", "default", "format"]);
    // Bounds of fields with a reader of their own, which knows them itself.
    let of_leaves = BTreeSet::from(["exclusiveMinimum", "exclusiveMaximum"]);
    for kind in Kind::ALL {
        each(schema::of(*kind), &mut |object| {
            for word in object.keys() {
                let known = [&understood, &silent, &of_leaves].iter().any(|it| it.contains(word.as_str()));
                assert!(known, "{}: the reader does not know `{word}`", kind.name());
            }
        });
    }
}

#[test]
fn every_field_says_what_it_is() {
    for kind in Kind::ALL {
        each(schema::of(*kind), &mut |object| {
            for (field, it) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let described = it.get("description").is_some()
                    || it.get("$ref").is_some()
                    || object.get("description").is_some();
                assert!(described, "{}: `{field}` has no description", kind.name());
            }
        });
    }
}

#[test]
fn records_are_closed() {
    for kind in Kind::ALL {
        each(schema::of(*kind), &mut |object| {
            let open = object.contains_key("properties")
                && !object.contains_key("additionalProperties")
                && !object.contains_key("unevaluatedProperties");
            // The branches of a choice among a record's fields are closed by the record itself.
            let branch = object.get("required").and_then(Value::as_array).is_some_and(|it| it.len() == 1)
                && object.get("properties").and_then(Value::as_object).is_some_and(|it| it.len() == 1);
            assert!(!open || branch, "{}: {object:?}", kind.name());
        });
    }
}
