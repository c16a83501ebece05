//! What the Gateways that a route hangs on say of it.

use serde_json::{Map, Value};

use crate::object::{Trouble, object_ref};

/// What every parent together says.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Status {
    /// The oldest generation that any parent has taken up; `None`: one of them says nothing, or refuses.
    pub confirmed: Option<u64>,
    /// What a person should see.
    pub troubles: Vec<Trouble>,
}

pub(super) fn status(route: &Value) -> Status {
    let object = object_ref(route).map(|it| it.to_string()).unwrap_or_default();
    let trouble = |what: String| Trouble { object: object.as_str().into(), what };
    let list = |at: &str| route.pointer(at).and_then(Value::as_array).cloned().unwrap_or_default();
    let (wanted, said) = (list("/spec/parentRefs"), list("/status/parents"));
    if wanted.is_empty() {
        return Status {
            confirmed: None,
            troubles: vec![trouble("it hangs on no Gateway: parentRefs is empty".into())],
        };
    }
    let mut found = Status { confirmed: Some(u64::MAX), troubles: vec![] };
    for parent in &wanted {
        let all: Vec<&Value> =
            said.iter().filter(|it| it.get("parentRef").is_some_and(|it| same(it, parent))).collect();
        if all.is_empty() {
            found.confirmed = None;
        }
        for it in all {
            let refused = refusals(it);
            let oldest = if refused.is_empty() { observed(it) } else { None };
            let who = it["controllerName"].as_str().unwrap_or("its controller");
            let name = parent["name"].as_str().unwrap_or_default();
            found
                .troubles
                .extend(refused.into_iter().map(|why| trouble(format!("{who}, for {name}: {why}"))));
            found.confirmed = found.confirmed.zip(oldest).map(|(one, other)| one.min(other));
        }
    }
    found
}

/// The same parent, whatever of it is left to defaults.
fn same(one: &Value, other: &Value) -> bool {
    let normal = |it: &Value| -> Map<String, Value> {
        let mut map = it.as_object().cloned().unwrap_or_default();
        map.retain(|_, value| !value.is_null());
        map.entry("group").or_insert_with(|| "gateway.networking.k8s.io".into());
        map.entry("kind").or_insert_with(|| "Gateway".into());
        map
    };
    let (mut one, mut other) = (normal(one), normal(other));
    // The controller may fill the namespace in that the user left out, or the other way round.
    if one.contains_key("namespace") != other.contains_key("namespace") {
        one.remove("namespace");
        other.remove("namespace");
    }
    one == other
}

fn conditions(parent: &Value) -> impl Iterator<Item = &Value> {
    parent["conditions"].as_array().into_iter().flatten()
}

fn observed(parent: &Value) -> Option<u64> {
    let judged = |it: &&Value| matches!(it["type"].as_str(), Some("Accepted" | "ResolvedRefs"));
    let accepted = conditions(parent).any(|it| it["type"] == "Accepted" && it["status"] == "True");
    let oldest =
        conditions(parent).filter(judged).map(|it| it["observedGeneration"].as_u64().unwrap_or(0)).min();
    oldest.filter(|_| accepted)
}

/// Conditions that say no.
fn refusals(parent: &Value) -> Vec<String> {
    let no = |it: &&Value| {
        it["status"] == "False" && matches!(it["type"].as_str(), Some("Accepted" | "ResolvedRefs"))
    };
    let words = |it: &Value| {
        let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
        format!("{} is False, {}: {}", text("type"), text("reason"), text("message"))
    };
    conditions(parent).filter(no).map(words).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn route(parents: Value) -> Value {
        json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": { "name": "shop" },
                "spec": { "parentRefs": [{ "name": "a" }, { "name": "b", "sectionName": "web" }] },
                "status": { "parents": parents } })
    }

    fn said(name: &str, section: Option<&str>, accepted: &str, generation: u64) -> Value {
        let mut parent = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name });
        if let Some(section) = section {
            parent["sectionName"] = section.into();
        }
        json!({ "parentRef": parent, "controllerName": "x.io/y", "conditions": [
            { "type": "Accepted", "status": accepted, "reason": "R", "message": "m", "observedGeneration": generation },
            { "type": "Other", "status": "True", "observedGeneration": 0 } ] })
    }

    #[test]
    fn a_generation_counts_once_every_parent_has_taken_it_up() {
        let check = |parents: Value, confirmed: Option<u64>| {
            assert_eq!(status(&route(parents)).confirmed, confirmed);
        };
        check(json!([]), None);
        check(json!([said("a", None, "True", 3)]), None);
        check(json!([said("a", None, "True", 3), said("b", Some("web"), "True", 2)]), Some(2));
        check(
            json!([
                said("a", None, "True", 3),
                said("b", Some("web"), "True", 4),
                said("gone", None, "True", 1)
            ]),
            Some(3),
        );
        check(
            json!([
                said("a", None, "True", 3),
                said("a", None, "True", 2),
                said("b", Some("web"), "True", 4)
            ]),
            Some(2),
        );
    }

    #[test]
    fn a_parent_that_refuses_is_a_trouble_and_confirms_nothing() {
        let found = status(&route(json!([said("a", None, "False", 3), said("b", Some("web"), "True", 3)])));
        assert_eq!(found.confirmed, None);
        assert_eq!(found.troubles.len(), 1);
        assert!(found.troubles[0].what.contains("Accepted is False, R: m"), "{:?}", found.troubles);
    }
}
