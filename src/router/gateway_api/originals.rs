//! What stood in a route before the first split, kept in a ControllerRevision.

use serde_json::{Value, json};

use super::{
    super::codec::About,
    rules::{Names, normal_rule},
};
use crate::object::{Kind, ObjectRef, ObjectWrite, Objects, annotation};

/// Says of which object a ControllerRevision keeps the originals.
const OF: &str = "serinus.dev/originals-of";

/// The label by which a Rollout finds what it keeps.
pub(super) const ROLLOUT: &str = "serinus.dev/rollout";

/// The rules of a route as their owner wrote them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Originals {
    pub rules: Vec<Value>,
}

pub(super) fn kind() -> Kind {
    Kind::new("apps/v1", "ControllerRevision")
}

impl Originals {
    /// Whether this very rule stood there.
    pub(super) fn holds(&self, rule: &Value) -> bool {
        let rule = normal_rule(rule.clone());
        self.rules.iter().any(|it| normal_rule(it.clone()) == rule)
    }

    /// What was stored of each of these rules: found by everything that a split does not change, or else by its place.
    pub(super) fn of<'a>(&'a self, rules: &[&Value]) -> Vec<Option<&'a Value>> {
        let mut free: Vec<&Value> = self.rules.iter().collect();
        let mut found: Vec<Option<&Value>> = rules
            .iter()
            .map(|rule| {
                let at = free.iter().position(|it| rest(it) == rest(rule))?;
                Some(free.remove(at))
            })
            .collect();
        if rules.len() == self.rules.len() {
            let lost: Vec<usize> = (0..rules.len()).filter(|it| found[*it].is_none()).collect();
            for at in lost {
                if let Some(index) = free.iter().position(|it| **it == self.rules[at]) {
                    found[at] = Some(free.remove(index));
                }
            }
        }
        found
    }

    /// Their name and what keeps them.
    pub(super) fn kept(&self, of: &ObjectRef, about: &About) -> (ObjectRef, ObjectWrite) {
        let data = json!({ "rules": self.rules });
        let digest = crate::object::short_hash(&json!([of.to_string(), data]));
        let object = kind().named(&format!("{}-{digest}", about.rollout));
        let body = json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": object.name.as_str(),
                "labels": { ROLLOUT: about.rollout.as_str() },
                "annotations": { OF: of.to_string() },
                "ownerReferences": [{
                    "apiVersion": "serinus.dev/v1alpha1",
                    "kind": "Rollout",
                    "name": about.rollout.as_str(),
                    "uid": about.uid.as_str(),
                    "controller": true,
                    "blockOwnerDeletion": false,
                }],
            },
            "data": data,
            "revision": 1,
        });
        (object.clone(), ObjectWrite::create(object, body))
    }
}

/// Every kept original of this object, by name.
pub(super) fn all<'a>(objects: &'a Objects, of: &ObjectRef, kind: &'a Kind) -> Vec<(ObjectRef, &'a Value)> {
    let of = of.to_string();
    let ours = |it: &Value| annotation(it, OF) == Some(of.as_str());
    objects
        .of_kind(kind)
        .filter(|(_, it)| ours(it))
        .map(|(name, it)| (kind.named(name.as_str()), it))
        .collect()
}

/// The one of this name, or the only one there is.
pub(super) fn find(objects: &Objects, of: &ObjectRef, named: Option<&str>) -> Option<Originals> {
    let kind = kind();
    let all = all(objects, of, &kind);
    let named = all.iter().find(|(it, _)| Some(it.name.as_str()) == named);
    let (_, found) = named.or(if all.len() == 1 { all.first() } else { None })?;
    let rules = found.pointer("/data/rules")?.as_array()?.clone();
    Some(Originals { rules })
}

/// The rules that can be kept: those that do not lead to the canary or to stable by backends of ours.
pub(super) fn taken(names: &Names<'_>, rules: &[Value], weights_only: bool) -> Option<Originals> {
    let ours = |rule: &Value| {
        super::rules::backends(rule)
            .iter()
            .any(|it| matches!(names.of(it).0, super::rules::Backend::Stable | super::rules::Backend::Canary))
    };
    (weights_only || !rules.iter().any(ours)).then(|| Originals { rules: rules.to_vec() })
}

/// A rule without what a split changes.
fn rest(rule: &Value) -> Value {
    let mut rule = normal_rule(rule.clone());
    if let Some(map) = rule.as_object_mut() {
        map.shift_remove("backendRefs");
        map.shift_remove("filters");
    }
    rule
}
