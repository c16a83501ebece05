//! What people ask, as objects: read, and told what became of it. PURE.

use jiff::Timestamp;
use serde_json::{Value, json};
use strategies::{Name, Order, Phase, Status};

use crate::{
    clock::Timeline,
    object::{ObjectWrite, Verb, text, version},
    port::Ending,
    spec::{RevisionRef, RolloutOrderSpec},
};

/// What an order is about at present, and what is asked; `None`: nothing that is on trial now.
///
/// `images`: those of the template that the workload has now. Times of people are the wall's.
pub(super) fn read(object: &Value, status: &Status, images: &[String], timeline: &Timeline) -> Option<Order> {
    let name = text(object, "/metadata/name")?;
    let spec: RolloutOrderSpec = serde_json::from_value(object.get("spec")?.clone()).ok()?;
    let canary = status.canary.clone()?;
    let (revision, attempt) = match spec.revision {
        RevisionRef::Hash(it) if it.as_str() == canary.as_str() => (canary, status.attempt),
        RevisionRef::Image(it) if images.iter().any(|image| image == it.as_str()) => (canary, status.attempt),
        RevisionRef::Hash(_) | RevisionRef::Image(_) => return None,
        RevisionRef::Attempt(it) if it <= status.attempt => (canary, it),
        RevisionRef::Attempt(_) => return None,
    };
    Some(Order {
        id: name.into(),
        action: spec.action,
        revision,
        attempt,
        step: spec.step,
        by: spec.by.unwrap_or_else(|| "(unknown)".into()),
        reason: spec.reason,
        not_after: spec.not_after.map(|it| timeline.of_wall(it.0)),
    })
}

/// The name of an order of this Rollout that still stands; `None`: it is another's, or was dealt with.
pub(super) fn standing<'a>(object: &'a Value, rollout: &Name, dealt: &[String]) -> Option<&'a str> {
    let name = text(object, "/metadata/name")?;
    let own = text(object, "/spec/rollout") == Some(rollout.as_str());
    let closed = is_closed(object) || dealt.iter().any(|it| it == name);
    (own && !closed).then_some(name)
}

/// Whether it was told what became of it.
fn is_closed(object: &Value) -> bool {
    text(object, "/status/effect").is_some_and(|it| !it.is_empty())
}

/// Tells it what became of it.
pub(super) fn close(object: &Value, ending: Ending, now: Timestamp) -> Option<ObjectWrite> {
    let (effect, message) = match ending {
        Ending::Took => ("Accepted", "it took effect"),
        Ending::Void => ("Void", "there was nothing for it to do, or it came too late"),
    };
    let status = json!({ "effect": effect, "at": now.to_string(), "message": message });
    let body = json!([{ "op": "add", "path": "/status", "value": status }]);
    let of = crate::object::object_ref(object)?;
    Some(ObjectWrite { object: of, verb: Verb::PatchStatus, expected: version(object), body })
}

/// Whether anything can be ordered: of a rollout that has left nothing can.
pub(super) fn is_open(status: &Status) -> bool {
    status.phase != Phase::Left
}

/// The images of a workload's template.
pub(super) fn images(workload: &Value) -> Vec<String> {
    let containers = workload.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    containers.into_iter().flatten().filter_map(|it| text(it, "/image").map(str::to_owned)).collect()
}

/// The names of orders that were dealt with, and this one.
pub(super) fn remember(dealt: &mut Vec<String>, order: &Name) {
    const MOST: usize = 32;
    if !dealt.iter().any(|it| it == order.as_str()) {
        dealt.push(order.to_string());
    }
    dealt.drain(..dealt.len().saturating_sub(MOST));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn order(spec: &Value) -> Value {
        json!({ "apiVersion": "serinus.dev/v1alpha1", "kind": "RolloutOrder",
            "metadata": { "name": "one", "resourceVersion": "4" }, "spec": spec })
    }

    fn on_trial() -> Status {
        let mut status = Status::new(Timestamp::UNIX_EPOCH);
        status.canary = Some("abc".into());
        status.attempt = 3;
        status
    }

    fn asked(revision: Value) -> Option<Order> {
        let object =
            order(&json!({ "rollout": "shop", "action": "abort", "revision": revision, "by": "ann" }));
        read(&object, &on_trial(), &["shop:2".to_owned()], &clock::timeline())
    }

    #[test]
    fn an_order_is_about_what_is_on_trial_or_about_nothing() {
        for revision in [json!({ "hash": "abc" }), json!({ "image": "shop:2" }), json!({ "attempt": 3 })] {
            let order = asked(revision.clone()).unwrap_or_else(|| panic!("{revision}"));
            assert_eq!((order.revision.as_str(), order.attempt, order.by.as_str()), ("abc", 3, "ann"));
        }
        for revision in [json!({ "hash": "xyz" }), json!({ "image": "shop:1" }), json!({ "attempt": 4 })] {
            assert_eq!(asked(revision.clone()), None, "{revision}");
        }
        assert_eq!(
            asked(json!({ "attempt": 2 })).map(|it| it.attempt),
            Some(2),
            "the machine finds it too late"
        );
    }

    #[test]
    fn an_order_is_told_once_what_became_of_it() {
        let object = order(&json!({}));
        assert!(!is_closed(&object));
        let write = close(&object, Ending::Took, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(write.verb, Verb::PatchStatus);
        let mut closed = object;
        closed["status"] = write.body[0]["value"].clone();
        assert!(is_closed(&closed));
    }

    #[test]
    fn what_was_dealt_with_is_remembered_within_bounds() {
        let mut dealt = vec![];
        for it in 0..100 {
            remember(&mut dealt, &Name::from(format!("order-{it}").as_str()));
            remember(&mut dealt, &Name::from(format!("order-{it}").as_str()));
        }
        assert_eq!(dealt.len(), 32);
        assert_eq!(dealt.last().map(String::as_str), Some("order-99"));
    }
}
