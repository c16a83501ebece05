//! JSON Schema of every kind of document, from the types that read it.

use std::{collections::BTreeMap, sync::LazyLock};

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::Value;

use super::Kind;

static SCHEMAS: LazyLock<BTreeMap<Kind, Value>> =
    LazyLock::new(|| Kind::ALL.iter().map(|kind| (*kind, generate(*kind))).collect());

/// The schema of one kind, draft 2020-12.
#[must_use]
pub fn of(kind: Kind) -> &'static Value {
    static NONE: Value = Value::Null;
    SCHEMAS.get(&kind).unwrap_or(&NONE)
}

/// A schema that any document fits that fits one of its kind.
#[must_use]
pub fn of_all() -> Value {
    let branch = |kind: &Kind| {
        serde_json::json!({
            "if": { "properties": { "kind": { "const": kind.name() } }, "required": ["kind"] },
            "then": of(*kind),
        })
    };
    let kinds: Vec<&str> = Kind::ALL.iter().map(|it| it.name()).collect();
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Serinus",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": { "kind": { "enum": kinds } },
        "allOf": Kind::ALL.iter().map(branch).collect::<Vec<_>>(),
    })
}

/// The schema of one type.
pub(super) fn of_type<T: schemars::JsonSchema>() -> Value {
    generator().into_root_schema_for::<T>().to_value()
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .for_deserialize()
        .with_transform(RecursiveTransform(tidied))
        .into_generator()
}

fn generate(kind: Kind) -> Value {
    let mut schema = kind.schema_from(generator());
    schema.insert("$id".into(), format!("https://serinus.dev/schemas/v1alpha1/{}.json", kind.name()).into());
    schema.to_value()
}

/// A field that may be left out is left out, not null: `bake:` with nothing behind it says nothing.
fn tidied(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    // A record with a choice among its fields is as closed as any other.
    if object.contains_key("properties") && object.contains_key("oneOf") {
        object.entry("unevaluatedProperties").or_insert(false.into());
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|it| it != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    let Some(Value::Array(branches)) = object.get_mut("anyOf") else { return };
    let null = serde_json::json!({ "type": "null" });
    let before = branches.len();
    branches.retain(|it| *it != null);
    if let ([Value::Object(only)], true) = (branches.as_slice(), branches.len() < before) {
        let only = only.clone();
        object.remove("anyOf");
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
    object.remove("default").filter(|it| !it.is_null()).map(|it| object.insert("default".into(), it));
}
