//! Which Rollout a change concerns. PURE.

use std::collections::{BTreeMap, BTreeSet};

use strategies::Name;

use super::{
    cache::{Cache, Changed},
    selector::Selector,
};
use crate::object::{Kind, Need, Which};

/// A Rollout: its namespace and its name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Key {
    pub(super) namespace: Name,
    pub(super) name: Name,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What every Rollout wants to hear of.
#[derive(Debug, Default)]
pub(super) struct Interests {
    by_namespace: BTreeMap<Name, BTreeMap<Name, Vec<Interest>>>,
}

#[derive(Clone, Debug)]
struct Interest {
    kind: Kind,
    of: Of,
}

#[derive(Clone, Debug)]
enum Of {
    Named(Name),
    Selected(Selector),
    Controlled(Name),
    All,
}

impl Interests {
    /// What a Rollout needs from now on; `owner`: its uid.
    pub(super) fn set(&mut self, key: &Key, needs: &[Need], owner: &Name, cache: &Cache) {
        let one = |need: &Need| {
            let of = match &need.which {
                Which::Named(name) => Some(Of::Named(name.clone())),
                Which::Labelled(key, value) => {
                    Some(Of::Selected(Selector::label(key.as_str(), value.as_str())))
                }
                Which::Ours => Some(Of::Controlled(owner.clone())),
                Which::All => Some(Of::All),
                Which::SelectedBy(workload) => cache.selector(&key.namespace, workload).map(Of::Selected),
            };
            of.map(|of| Interest { kind: need.kind.clone(), of })
        };
        let all = needs.iter().filter_map(one).collect();
        self.by_namespace.entry(key.namespace.clone()).or_default().insert(key.name.clone(), all);
    }

    /// A Rollout is no more.
    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(all) = self.by_namespace.get_mut(&key.namespace) {
            all.remove(&key.name);
            if all.is_empty() {
                self.by_namespace.remove(&key.namespace);
            }
        }
    }

    /// Those that a change concerns; of an object outside of namespaces, all who need its kind.
    pub(super) fn of(&self, changed: &Changed) -> BTreeSet<Key> {
        let (namespace, name) = &changed.place;
        if namespace.as_str().is_empty() {
            return self.of_kind(&changed.kind, None).into_iter().collect();
        }
        let all = self.by_namespace.get(namespace).into_iter().flatten();
        let concerned = all.filter(|(_, interests)| {
            interests.iter().filter(|it| it.kind == changed.kind).any(|it| match &it.of {
                Of::Named(it) => it == name,
                Of::Selected(selector) => selector.matches(&changed.labels),
                Of::Controlled(uid) => changed.controller.as_ref() == Some(uid),
                Of::All => true,
            })
        });
        concerned.map(|(it, _)| Key { namespace: namespace.clone(), name: it.clone() }).collect()
    }

    /// Those that need this kind, in this namespace or in all.
    pub(super) fn of_kind(&self, kind: &Kind, namespace: Option<&Name>) -> Vec<Key> {
        let within = self.by_namespace.iter().filter(|(it, _)| namespace.is_none_or(|only| only == *it));
        let of = |(namespace, all): (&Name, &BTreeMap<Name, Vec<Interest>>)| {
            let needing = all.iter().filter(|(_, needs)| needs.iter().any(|it| it.kind == *kind));
            let key = |(name, _): (&Name, _)| Key { namespace: namespace.clone(), name: name.clone() };
            needing.map(key).collect::<Vec<_>>()
        };
        within.flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Detail;

    fn change(kind: &str, name: &str, app: &str, controller: Option<&str>) -> Changed {
        Changed {
            kind: Kind::new("apps/v1", kind),
            place: ("a".into(), name.into()),
            controller: controller.map(Name::from),
            labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        }
    }

    #[test]
    fn a_change_concerns_those_who_need_the_object_and_no_others() {
        let mut interests = Interests::default();
        let key = |name: &str| Key { namespace: "a".into(), name: name.into() };
        let need =
            |kind: &str, which| Need { kind: Kind::new("apps/v1", kind), which, detail: Detail::Whole };
        let labelled = Which::Labelled("app".into(), "shop".into());
        let shop = [
            need("Deployment", Which::Named("shop".into())),
            need("ReplicaSet", labelled),
            need("ControllerRevision", Which::Ours),
        ];
        interests.set(&key("shop"), &shop, &"uid-1".into(), &Cache::default());
        interests.set(&key("cart"), &[need("Deployment", Which::All)], &"uid-2".into(), &Cache::default());
        let heard =
            |it: &Changed| interests.of(it).into_iter().map(|it| it.name.to_string()).collect::<Vec<_>>();
        assert_eq!(heard(&change("Deployment", "shop", "x", None)), ["cart", "shop"]);
        assert_eq!(heard(&change("Deployment", "other", "x", None)), ["cart"]);
        assert_eq!(heard(&change("ReplicaSet", "shop-1", "shop", None)), ["shop"]);
        assert!(heard(&change("ReplicaSet", "shop-1", "cart", None)).is_empty());
        assert_eq!(heard(&change("ControllerRevision", "it", "", Some("uid-1"))), ["shop"]);
        assert!(heard(&change("ControllerRevision", "it", "", Some("uid-9"))).is_empty());
        let elsewhere =
            Changed { place: ("b".into(), "shop".into()), ..change("Deployment", "shop", "x", None) };
        assert!(interests.of(&elsewhere).is_empty());
        interests.remove(&key("shop"));
        assert_eq!(interests.of(&change("Deployment", "shop", "x", None)), BTreeSet::from([key("cart")]));
    }
}
