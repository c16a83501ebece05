use serde_json::{Value, json};

use super::{ObjectRef, ObjectWrite, Verb, version};

/// A JSON patch in the making: changes of one object as it was seen, each of which says nothing where it is so already.
#[derive(Debug)]
pub struct Edits<'a> {
    seen: &'a Value,
    all: Vec<Value>,
    made: Vec<String>,
}

/// A JSON pointer: these keys, escaped.
#[must_use]
pub fn pointer(keys: &[&str]) -> String {
    keys.iter().map(|it| format!("/{}", it.replace('~', "~0").replace('/', "~1"))).collect()
}

impl<'a> Edits<'a> {
    /// No change of this object yet.
    #[must_use]
    pub fn of(seen: &'a Value) -> Self {
        Self { seen, all: vec![], made: vec![] }
    }

    /// This field has this value; maps above it are made where they are missing.
    pub fn set(&mut self, keys: &[&str], value: Value) {
        let at = pointer(keys);
        if self.seen.pointer(&at) == Some(&value) {
            return;
        }
        for depth in 1..keys.len() {
            let above = pointer(&keys[..depth]);
            if self.seen.pointer(&above).is_none() && !self.made.contains(&above) {
                self.all.push(json!({ "op": "add", "path": above, "value": {} }));
                self.made.push(above);
            }
        }
        let op = if self.seen.pointer(&at).is_some() { "replace" } else { "add" };
        self.all.push(json!({ "op": op, "path": at, "value": value }));
    }

    /// This field is not there.
    pub fn unset(&mut self, keys: &[&str]) {
        let at = pointer(keys);
        if self.seen.pointer(&at).is_some() {
            self.all.push(json!({ "op": "remove", "path": at }));
        }
    }

    /// An annotation has this value, or is not there.
    pub fn annotate(&mut self, name: &str, value: Option<String>) {
        let keys = ["metadata", "annotations", name];
        match value {
            Some(value) => self.set(&keys, Value::String(value)),
            None => self.unset(&keys),
        }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The write of these changes, to the object or to its status.
    #[must_use]
    pub fn write(self, object: ObjectRef, verb: Verb) -> ObjectWrite {
        ObjectWrite { object, verb, expected: version(self.seen), body: Value::Array(self.all) }
    }
}
