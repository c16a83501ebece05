//! From the schema that documents are read by to the structural one that an API server keeps objects by.
//!
//! A structural schema is one tree: it has no references and says of every value exactly one type; what belongs together
//! is said by rules beside it. Nothing is filled in: what a default means is a matter of the spec's `profile`.

use serde_json::{Map, Value, json};

use super::super::rules;

/// What the cluster keeps whole and does not look into.
const FREE: &str = "x-kubernetes-preserve-unknown-fields";
const NUMBER_OR_TEXT: &str = "x-kubernetes-int-or-string";
/// Bounds that stand for the value itself, whatever its type.
const BOUNDS: [&str; 10] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "maxProperties",
];

/// What is other in a cluster than in the schema that documents are read by.
pub(super) trait Differs {
    /// Whether this field of this record has no place in a cluster. It is kept unread, so that a rule can say so.
    fn is_elsewhere(&self, record: &str, field: &str) -> bool;

    /// The value that the cluster writes where this field is left out.
    fn default(&self, record: &str, field: &str) -> Option<Value>;

    /// The largest number of entries that a reader takes in this list of this record, where its schema says none.
    fn most(&self, record: &str, field: &str) -> Option<usize>;

    /// The longest text of this name, where its schema says none.
    fn longest(&self, name: &str) -> Option<usize>;

    /// What a text of this name must look like, where its schema does not say.
    fn pattern(&self, name: &str) -> Option<String>;

    /// The fields that tell the entries of this list of this record apart; empty: they are a whole.
    fn keys(&self, record: &str, field: &str) -> &'static [&'static str];
}

/// `part`, a place in the schema `root`, as a structural schema.
pub(super) fn structural(root: &Value, part: &Value, differs: &dyn Differs) -> Value {
    let none = Map::new();
    let defs = root.get("$defs").and_then(Value::as_object).unwrap_or(&none);
    Value::Object(Walk { defs, differs }.value(part, None))
}

struct Walk<'a> {
    defs: &'a Map<String, Value>,
    differs: &'a dyn Differs,
}

impl Walk<'_> {
    /// `name`: what the schema is called where it is referred to.
    fn value(&self, schema: &Value, name: Option<&str>) -> Map<String, Value> {
        let mut out = self.shape(schema, name);
        if let Some(text) = schema.get("description").and_then(Value::as_str) {
            out.insert("description".into(), paragraph(text).into());
        }
        out
    }

    fn shape(&self, schema: &Value, name: Option<&str>) -> Map<String, Value> {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let last = reference.rsplit('/').next().unwrap_or_default();
            let mut out = self.defs.get(last).map(|it| self.value(it, Some(last))).unwrap_or_default();
            bounds(schema, &mut out);
            return out;
        }
        let mut out = if schema.get("anyOf").is_some() {
            several_types(schema)
        } else if let Some(words) = words(schema) {
            record([("type", "string".into()), ("enum", words.into())])
        } else if schema.get("oneOf").is_some() || schema.get("properties").is_some() {
            self.record(schema, name.unwrap_or_default())
        } else {
            self.plain(schema)
        };
        let none = Map::new();
        let fields = out.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let said = name.map(|it| rules::of(it, fields)).unwrap_or_default();
        if !said.is_empty() {
            let rules = out.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
            rules.as_array_mut().into_iter().for_each(|it| it.extend(said.clone()));
        }
        if let Some(longest) = name.and_then(|it| self.differs.longest(it)) {
            out.entry("maxLength").or_insert_with(|| longest.into());
        }
        if let Some(pattern) = name.and_then(|it| self.differs.pattern(it)) {
            out.insert("pattern".into(), pattern.into());
        }
        out
    }

    fn plain(&self, schema: &Value) -> Map<String, Value> {
        let Some(kind) = schema.get("type").and_then(Value::as_str) else {
            return record([(FREE, true.into())]);
        };
        let mut out = record([("type", kind.into())]);
        if let Some(format) = schema.get("format").and_then(Value::as_str) {
            number_format(format, &mut out);
        }
        bounds(schema, &mut out);
        if let Some(items) = schema.get("items") {
            out.insert("items".into(), self.value(items, None).into());
            out.insert("x-kubernetes-list-type".into(), "atomic".into());
        }
        match schema.get("additionalProperties") {
            Some(more @ Value::Object(_)) => {
                out.insert("additionalProperties".into(), self.value(more, None).into());
            }
            Some(Value::Bool(true)) => drop(out.insert(FREE.into(), true.into())),
            _ => {}
        }
        out
    }

    /// A record, whether its fields are given one by one or as a choice.
    fn record(&self, schema: &Value, name: &str) -> Map<String, Value> {
        let mut properties = Map::new();
        let own = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        properties.extend(own.map(|(key, it)| (key.clone(), self.field(it, name, key))));
        let (mut choices, mut here) = (vec![], vec![]);
        for branch in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            for (key, it) in branch.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let mut field = self.field(it, name, key);
                if let (Some(text), Some(field)) =
                    (branch.get("description").and_then(Value::as_str), field.as_object_mut())
                {
                    field.insert("description".into(), paragraph(text).into());
                }
                properties.insert(key.clone(), field);
                choices.push(key.as_str());
                here.extend((!self.differs.is_elsewhere(name, key)).then_some(key.as_str()));
            }
        }
        let mut out = record([("type", "object".into())]);
        if !properties.is_empty() {
            out.insert("properties".into(), properties.into());
        }
        if let Some(required) =
            schema.get("required").filter(|it| it.as_array().is_some_and(|it| !it.is_empty()))
        {
            out.insert("required".into(), required.clone());
        }
        if !choices.is_empty() {
            let rule = rules::exactly_one(&choices, &here);
            out.insert("x-kubernetes-validations".into(), json!([rule]));
        }
        out
    }

    fn field(&self, schema: &Value, record_name: &str, key: &str) -> Value {
        let mut out = self.value(schema, None);
        if self.differs.is_elsewhere(record_name, key) && out.get("type") != Some(&"string".into()) {
            let description = out.remove("description");
            out = record([("type", "object".into()), (FREE, true.into())]);
            out.extend(description.map(|it| ("description".to_owned(), it)));
        }
        if let Some(default) = self.differs.default(record_name, key) {
            out.insert("default".into(), default);
        }
        if out.get("type") == Some(&"string".into())
            && !out.contains_key("enum")
            && let Some(longest) = self.differs.longest(key)
        {
            out.entry("maxLength").or_insert_with(|| longest.into());
        }
        if let Some(most) = self.differs.most(record_name, key) {
            out.insert("maxItems".into(), most.into());
        }
        let keys = self.differs.keys(record_name, key);
        if !keys.is_empty() {
            out.insert("x-kubernetes-list-type".into(), "map".into());
            out.insert("x-kubernetes-list-map-keys".into(), keys.into());
        }
        Value::Object(out)
    }
}

fn record<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The words of which a text must be one.
fn words(schema: &Value) -> Option<Vec<Value>> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return Some(words.clone());
    }
    if let Some(word) = schema.get("const") {
        return Some(vec![word.clone()]);
    }
    let branches =
        schema.get("oneOf").and_then(Value::as_array).filter(|_| schema.get("properties").is_none())?;
    let each: Option<Vec<Vec<Value>>> = branches.iter().map(words).collect();
    each.map(|it| it.concat())
}

/// What may be a number as well as a text. Only whole numbers have a word of their own beside texts.
fn several_types(schema: &Value) -> Map<String, Value> {
    let branches = || schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    let whole = branches().any(|it| it.get("type").is_some_and(|it| it == "integer"));
    let mut out = record([(if whole { NUMBER_OR_TEXT } else { FREE }, true.into())]);
    for branch in branches() {
        bounds(branch, &mut out);
    }
    // Lists and records have no place here, and a schema without a type can say so only by what none of them is.
    if !whole {
        out.extend(record([
            ("minItems", 1.into()),
            ("maxItems", 0.into()),
            ("minProperties", 1.into()),
            ("maxProperties", 0.into()),
        ]));
    }
    out
}

fn bounds(schema: &Value, out: &mut Map<String, Value>) {
    for word in BOUNDS {
        let Some(bound) = schema.get(word) else { continue };
        match word.strip_prefix("exclusive") {
            None => drop(out.insert(word.into(), bound.clone())),
            Some(inclusive) => {
                out.insert(inclusive.to_lowercase(), bound.clone());
                out.insert(word.into(), true.into());
            }
        }
    }
}

/// Formats that an API server knows, and the bounds of those that it does not.
fn number_format(format: &str, out: &mut Map<String, Value>) {
    match format {
        "uint32" => drop(out.insert("maximum".into(), u32::MAX.into())),
        "int32" | "int64" | "double" | "date-time" => drop(out.insert("format".into(), format.into())),
        _ => {}
    }
}

/// The text without the line ends of its source: one line for each paragraph.
fn paragraph(text: &str) -> String {
    text.split("\n\n").map(|it| it.replace('\n', " ")).collect::<Vec<_>>().join("\n")
}
