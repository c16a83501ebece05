//! What an API server does with writes: fences, patches, defaults, generations, managers. No more than codecs meet.

use serde_json::{Value, json};
use serinus::object::{MANAGER, ObjectRef, ObjectWrite, Objects, Verb, object_ref, version};

/// A write was not accepted.
#[derive(Debug, Eq, PartialEq)]
pub enum Rejected {
    /// The object is another one by now, is there already, or is gone.
    Conflict,
    /// A patch that fits nothing.
    Invalid(String),
}

#[derive(Clone, Debug, Default)]
pub struct Server {
    pub objects: Objects,
    clock: u64,
    pub writes: Vec<(ObjectRef, Verb)>,
}

impl Server {
    pub fn with(objects: impl IntoIterator<Item = Value>) -> Self {
        let mut server = Self::default();
        objects.into_iter().for_each(|it| server.apply(it));
        server
    }

    /// Somebody else puts an object as it is.
    pub fn apply(&mut self, mut object: Value) {
        let of = object_ref(&object).unwrap();
        self.clock += 1;
        let before = self.objects.remove(&of);
        default(&mut object);
        let generation = before.as_ref().map_or(0, |it| it["metadata"]["generation"].as_u64().unwrap_or(0));
        let same = before.as_ref().is_some_and(|it| it["spec"] == object["spec"]);
        object["metadata"]["generation"] = json!(generation + u64::from(!same));
        object["metadata"]["resourceVersion"] = json!(self.clock.to_string());
        self.objects.insert(object);
    }

    /// Somebody else changes an object.
    pub fn edit(&mut self, of: &ObjectRef, change: impl FnOnce(&mut Value)) {
        let mut object = self.objects.get(of).unwrap().clone();
        change(&mut object);
        self.apply(object);
    }

    pub fn write(&mut self, write: &ObjectWrite) -> Result<(), Rejected> {
        self.writes.push((write.object.clone(), write.verb));
        let present = self.objects.get(&write.object).cloned();
        match (write.verb, present) {
            (Verb::Create, None) => {
                self.apply(write.body.clone());
                Ok(())
            }
            (Verb::Create, Some(_)) | (Verb::Patch | Verb::PatchStatus | Verb::Delete, None) => {
                Err(Rejected::Conflict)
            }
            (_, Some(it)) if version(&it) != write.expected => Err(Rejected::Conflict),
            (Verb::Delete, Some(_)) => {
                self.objects.remove(&write.object);
                Ok(())
            }
            (Verb::Patch | Verb::PatchStatus, Some(mut it)) => {
                assert_eq!(write.guarded()[0]["path"], "/metadata/resourceVersion", "every patch is fenced");
                let disowns = write.body.to_string().contains("managedFields");
                patch(&mut it, &write.guarded()).map_err(Rejected::Invalid)?;
                if write.verb == Verb::Patch && !disowns {
                    own(&mut it);
                }
                self.apply(it);
                Ok(())
            }
        }
    }
}

/// The writer becomes a manager.
fn own(object: &mut Value) {
    let entry = json!({ "manager": MANAGER, "operation": "Update", "time": "2026-11-28T10:00:00Z",
        "fieldsV1": { "f:spec": { "f:rules": {}, "f:selector": {}, "f:paused": {} } } });
    let metadata = object["metadata"].as_object_mut().unwrap();
    let all = metadata.entry("managedFields").or_insert_with(|| json!([])).as_array_mut().unwrap();
    all.retain(|it| it["manager"] != MANAGER);
    all.push(entry);
}

/// Fills in what the Gateway API's schema does.
fn default(object: &mut Value) {
    if !object["apiVersion"].as_str().unwrap().starts_with("gateway.networking") {
        return;
    }
    let matches = matches!(object["kind"].as_str(), Some("HTTPRoute"));
    for rule in object["spec"]["rules"].as_array_mut().into_iter().flatten() {
        let rule = rule.as_object_mut().unwrap();
        if matches {
            rule.entry("matches")
                .or_insert_with(|| json!([{ "path": { "type": "PathPrefix", "value": "/" } }]));
        }
        for it in rule.get_mut("backendRefs").and_then(Value::as_array_mut).into_iter().flatten() {
            let it = it.as_object_mut().unwrap();
            it.entry("group").or_insert_with(|| json!(""));
            it.entry("kind").or_insert_with(|| json!("Service"));
            it.entry("weight").or_insert_with(|| json!(1));
        }
    }
}

/// RFC 6902, as far as it is used here.
pub fn patch(object: &mut Value, operations: &Value) -> Result<(), String> {
    for it in operations.as_array().unwrap() {
        let (op, path) = (it["op"].as_str().unwrap(), it["path"].as_str().unwrap());
        let (above, key) = path.rsplit_once('/').unwrap();
        let key = key.replace("~1", "/").replace("~0", "~");
        let missing = || format!("{op} {path}: there is no such place");
        if op == "test" {
            let same = object.pointer(path) == Some(&it["value"]);
            same.then_some(()).ok_or_else(|| format!("test {path}"))?;
            continue;
        }
        match (object.pointer_mut(above).ok_or_else(missing)?, op) {
            (Value::Object(map), "add") => drop(map.insert(key, it["value"].clone())),
            (Value::Object(map), "replace") => *map.get_mut(&key).ok_or_else(missing)? = it["value"].clone(),
            (Value::Object(map), "remove") => drop(map.shift_remove(&key).ok_or_else(missing)?),
            (Value::Array(all), "add") if key == "-" => all.push(it["value"].clone()),
            (Value::Array(all), "replace") => {
                *all.get_mut(key.parse::<usize>().unwrap()).ok_or_else(missing)? = it["value"].clone();
            }
            (Value::Array(all), "remove") => drop(all.remove(key.parse().unwrap())),
            _ => return Err(missing()),
        }
    }
    Ok(())
}
