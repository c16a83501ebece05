//! What is known of the objects of a cluster, as they were told last. PURE: it asks nobody.
//!
//! Objects are told by watches and by the answers to writes of our own, in any order: of two the later version stays.
//! Versions of one object are compared as numbers, which the API allows since Kubernetes 1.35 and every server did
//! before. Whoever reads after a write has been answered sees that write.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;
use strategies::Name;

use super::selector::{Labels, Selector, labels};
use crate::object::{Kind, Need, ObjectRef, Objects, Which, object_ref, text};

/// Deletions that are remembered of one kind, so that an older answer does not bring an object back.
const DELETIONS: usize = 1024;

/// Where objects are looked at.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Scope {
    /// In all namespaces, and outside of them.
    Everywhere,
    /// In this namespace.
    Namespace(Name),
}

/// Where an object is: its namespace, empty outside of all, and its name.
pub(super) type Place = (Name, Name);

/// An object is another now, or is gone.
#[derive(Clone, Debug)]
pub(super) struct Changed {
    pub(super) kind: Kind,
    pub(super) place: Place,
    pub(super) controller: Option<Name>,
    pub(super) labels: Labels,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Cache {
    shelves: BTreeMap<Kind, Shelf>,
}

/// The objects of one kind.
#[derive(Debug, Default)]
struct Shelf {
    objects: BTreeMap<Place, Kept>,
    controlled: BTreeMap<Name, BTreeSet<Place>>,
    deleted: VecDeque<(Place, u64)>,
    /// What is being listed, and what of it has come.
    listing: BTreeMap<Scope, BTreeSet<Place>>,
    known: BTreeSet<Scope>,
}

/// One object, as text: a tree of it takes five times as much.
#[derive(Debug)]
struct Kept {
    version: u64,
    controller: Option<Name>,
    labels: Labels,
    text: Box<str>,
}

impl Cache {
    /// A list begins: what is there now and does not come in it is gone.
    pub(super) fn list(&mut self, kind: &Kind, scope: &Scope) {
        self.shelf(kind).listing.insert(scope.clone(), BTreeSet::new());
    }

    /// One object of a list.
    pub(super) fn listed(&mut self, scope: &Scope, object: &Value) -> Option<Changed> {
        let (of, place) = place(object)?;
        if let Some(listed) = self.shelf(&of.kind).listing.get_mut(scope) {
            listed.insert(place);
        }
        self.put(object)
    }

    /// A list is whole.
    pub(super) fn whole(&mut self, kind: &Kind, scope: &Scope) -> Vec<Changed> {
        let shelf = self.shelf(kind);
        let listed = shelf.listing.remove(scope).unwrap_or_default();
        shelf.known.insert(scope.clone());
        // What we wrote meanwhile is newer than the list, and comes with the watch.
        let newest = listed.iter().filter_map(|it| shelf.objects.get(it)).map(|it| it.version).max();
        let newest = newest.unwrap_or(u64::MAX);
        let within = |it: &&Place| scope.holds(it) && !listed.contains(*it);
        let lost: Vec<Place> = shelf.objects.keys().filter(within).cloned().collect();
        let lost = lost.into_iter().filter(|it| shelf.objects.get(it).is_some_and(|it| it.version <= newest));
        lost.collect::<Vec<_>>().into_iter().filter_map(|it| shelf.take(kind, &it)).collect()
    }

    /// An object as it is; `None`: that, or a later one, is known already.
    pub(super) fn put(&mut self, object: &Value) -> Option<Changed> {
        let (of, place) = place(object)?;
        let version = number(object);
        let shelf = self.shelf(&of.kind);
        let known = shelf.objects.get(&place).map(|it| it.version);
        let deleted = shelf.deleted.iter().find(|(it, _)| *it == place).map(|(_, version)| *version);
        if known.max(deleted).is_some_and(|it| version <= it) {
            return None;
        }
        shelf.take(&of.kind, &place);
        let controller = controller(object).map(Name::from);
        if let Some(uid) = &controller {
            shelf.controlled.entry(uid.clone()).or_default().insert(place.clone());
        }
        let labels = labels(object);
        let text = object.to_string().into_boxed_str();
        shelf.objects.insert(
            place.clone(),
            Kept { version, controller: controller.clone(), labels: labels.clone(), text },
        );
        Some(Changed { kind: of.kind, place, controller, labels })
    }

    /// An object is gone since this version.
    pub(super) fn delete(&mut self, object: &Value) -> Option<Changed> {
        let (of, place) = place(object)?;
        let version = number(object);
        let shelf = self.shelf(&of.kind);
        shelf.deleted.retain(|(it, _)| *it != place);
        if shelf.deleted.len() == DELETIONS {
            shelf.deleted.pop_front();
        }
        shelf.deleted.push_back((place.clone(), version));
        if shelf.objects.get(&place).is_some_and(|it| it.version > version) {
            return None;
        }
        shelf.take(&of.kind, &place)
    }

    /// The server says that there is no such object.
    pub(super) fn missing(&mut self, namespace: &Name, of: &ObjectRef) {
        let place = (namespace.clone(), of.name.clone());
        self.shelf(&of.kind).take(&of.kind, &place);
    }

    /// Nobody watches these any more.
    pub(super) fn forget(&mut self, kind: &Kind, scope: &Scope) {
        let shelf = self.shelf(kind);
        shelf.known.remove(scope);
        shelf.listing.remove(scope);
        let lost: Vec<Place> = shelf.objects.keys().filter(|it| scope.holds(it)).cloned().collect();
        lost.iter().for_each(|it| drop(shelf.take(kind, it)));
    }

    /// Whether all objects of this kind in this namespace are known.
    pub(super) fn knows(&self, kind: &Kind, namespace: &Name) -> bool {
        let scopes = [Scope::Everywhere, Scope::Namespace(namespace.clone())];
        self.shelves.get(kind).is_some_and(|it| scopes.iter().any(|scope| it.known.contains(scope)))
    }

    /// One object; outside of namespaces where that one is empty.
    pub(super) fn get(&self, kind: &Kind, namespace: &Name, name: &Name) -> Option<Value> {
        self.shelves.get(kind)?.objects.get(&(namespace.clone(), name.clone())).and_then(Kept::object)
    }

    /// All objects of a kind in a namespace.
    pub(super) fn all(&self, kind: &Kind, namespace: &Name) -> Vec<Value> {
        let shelf = self.shelves.get(kind);
        shelf.into_iter().flat_map(|it| it.within(namespace)).filter_map(|(_, it)| it.object()).collect()
    }

    /// How many objects are known of each kind.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&Kind, usize)> {
        self.shelves.iter().map(|(kind, it)| (kind, it.objects.len()))
    }

    /// Everything that is needed in a namespace. Of kinds that are not known nothing is said.
    pub(super) fn read(&self, namespace: &Name, needs: &[Need], owner: &Name) -> Objects {
        let mut objects = Objects::default();
        for need in needs {
            if !self.knows(&need.kind, namespace) {
                objects.unread(need.kind.clone());
                continue;
            }
            let found = self.find(namespace, need, owner);
            found.into_iter().for_each(|it| objects.insert(it));
        }
        objects
    }

    fn find(&self, namespace: &Name, need: &Need, owner: &Name) -> Vec<Value> {
        let Some(shelf) = self.shelves.get(&need.kind) else { return vec![] };
        let selected = |selector: &Selector| {
            let matching = shelf.within(namespace).filter(|(_, it)| selector.matches(&it.labels));
            matching.filter_map(|(_, it)| it.object()).collect()
        };
        match &need.which {
            Which::Named(name) => self.get(&need.kind, namespace, name).into_iter().collect(),
            Which::Labelled(key, value) => selected(&Selector::label(key.as_str(), value.as_str())),
            Which::All => self.all(&need.kind, namespace),
            Which::Ours => {
                let places = shelf.controlled.get(owner).into_iter().flatten();
                places.filter_map(|it| shelf.objects.get(it)?.object()).collect()
            }
            Which::SelectedBy(workload) => match self.selector(namespace, workload) {
                Some(selector) => selected(&selector),
                None => vec![],
            },
        }
    }

    /// The selector of a workload.
    pub(super) fn selector(&self, namespace: &Name, workload: &ObjectRef) -> Option<Selector> {
        let workload = self.get(&workload.kind, namespace, &workload.name)?;
        workload.pointer("/spec/selector").and_then(Selector::of)
    }

    fn shelf(&mut self, kind: &Kind) -> &mut Shelf {
        self.shelves.entry(kind.clone()).or_default()
    }
}

impl Scope {
    fn holds(&self, place: &Place) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Namespace(namespace) => *namespace == place.0,
        }
    }
}

impl Shelf {
    fn within(&self, namespace: &Name) -> impl Iterator<Item = (&Place, &Kept)> {
        let from = (namespace.clone(), Name::from(""));
        let namespace = namespace.clone();
        self.objects.range(from..).take_while(move |(place, _)| place.0 == namespace)
    }

    fn take(&mut self, kind: &Kind, place: &Place) -> Option<Changed> {
        let Kept { controller, labels, .. } = self.objects.remove(place)?;
        if let Some(uid) = &controller
            && let Some(places) = self.controlled.get_mut(uid)
        {
            places.remove(place);
            if places.is_empty() {
                self.controlled.remove(uid);
            }
        }
        Some(Changed { kind: kind.clone(), place: place.clone(), controller, labels })
    }
}

impl Kept {
    fn object(&self) -> Option<Value> {
        serde_json::from_str(&self.text).ok()
    }
}

fn place(object: &Value) -> Option<(ObjectRef, Place)> {
    let of = object_ref(object)?;
    let namespace = text(object, "/metadata/namespace").unwrap_or_default();
    let place = (Name::from(namespace), of.name.clone());
    Some((of, place))
}

/// The version as a number; one that is none is taken for the first.
fn number(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion").and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Uid of the object that controls it.
pub(super) fn controller(object: &Value) -> Option<&str> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().find(|it| it["controller"] == true).and_then(|it| text(it, "/uid"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Detail;

    fn set(name: &str, version: u64, owner: Option<&str>, app: &str) -> Value {
        let owners = owner.map(|uid| json!([{ "controller": true, "uid": uid }])).unwrap_or(json!([]));
        json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "namespace": "a", "name": name,
            "resourceVersion": version.to_string(), "labels": { "app": app }, "ownerReferences": owners } })
    }

    fn sets() -> Kind {
        Kind::new("apps/v1", "ReplicaSet")
    }

    fn here() -> Scope {
        Scope::Namespace("a".into())
    }

    fn names(cache: &Cache, which: Which) -> Vec<String> {
        let need = Need { kind: sets(), which, detail: Detail::Whole };
        let objects = cache.read(&"a".into(), &[need], &"ours".into());
        objects.of_kind(&sets()).map(|(name, _)| name.to_string()).collect()
    }

    fn filled() -> Cache {
        let mut cache = Cache::default();
        cache.list(&sets(), &here());
        for it in
            [set("one", 5, Some("ours"), "shop"), set("two", 6, None, "shop"), set("three", 7, None, "x")]
        {
            cache.listed(&here(), &it);
        }
        assert!(cache.whole(&sets(), &here()).is_empty());
        cache
    }

    #[test]
    fn what_is_not_listed_whole_is_not_known() {
        let mut cache = Cache::default();
        let need = Need { kind: sets(), which: Which::All, detail: Detail::Whole };
        let read = |cache: &Cache| cache.read(&"a".into(), std::slice::from_ref(&need), &"ours".into());
        assert!(read(&cache).is_unread(&sets()));
        cache.list(&sets(), &here());
        cache.listed(&here(), &set("one", 5, None, "shop"));
        assert!(read(&cache).is_unread(&sets()), "half a list is no list");
        cache.whole(&sets(), &here());
        assert!(!read(&cache).is_unread(&sets()));
        assert!(!cache.knows(&sets(), &"b".into()), "another namespace is not");
        cache.forget(&sets(), &here());
        assert!(read(&cache).is_unread(&sets()));
    }

    #[test]
    fn objects_are_found_as_they_are_asked_for() {
        let mut cache = filled();
        assert_eq!(names(&cache, Which::All), ["one", "three", "two"]);
        assert_eq!(names(&cache, Which::Ours), ["one"]);
        assert_eq!(names(&cache, Which::Named("two".into())), ["two"]);
        assert_eq!(names(&cache, Which::Labelled("app".into(), "shop".into())), ["one", "two"]);
        let workload = Kind::new("apps/v1", "Deployment").named("shop");
        assert!(names(&cache, Which::SelectedBy(workload.clone())).is_empty());
        cache.put(&json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "namespace": "a", "name": "shop", "resourceVersion": "9" },
            "spec": { "selector": { "matchLabels": { "app": "shop" } } } }));
        assert_eq!(names(&cache, Which::SelectedBy(workload)), ["one", "two"]);
        cache.put(&set("one", 10, None, "shop"));
        assert!(names(&cache, Which::Ours).is_empty(), "it was taken from us");
    }

    #[test]
    fn of_two_versions_the_later_stays_in_whatever_order_they_come() {
        let mut cache = filled();
        assert!(cache.put(&set("one", 9, None, "later")).is_some());
        assert!(cache.put(&set("one", 8, None, "older")).is_none());
        assert!(cache.delete(&set("one", 8, None, "older")).is_none(), "made again meanwhile");
        assert_eq!(names(&cache, Which::Labelled("app".into(), "later".into())), ["one"]);
        assert!(cache.delete(&set("one", 11, None, "later")).is_some());
        assert!(cache.put(&set("one", 10, None, "later")).is_none(), "an answer that comes late");
        assert!(cache.put(&set("one", 12, None, "later")).is_some(), "made again");
    }

    #[test]
    fn what_a_list_does_not_hold_any_more_is_gone_and_what_was_written_meanwhile_is_not() {
        let mut cache = filled();
        cache.list(&sets(), &here());
        cache.listed(&here(), &set("two", 6, None, "shop"));
        cache.put(&set("four", 20, Some("ours"), "shop"));
        let gone: Vec<Name> = cache.whole(&sets(), &here()).into_iter().map(|it| it.place.1).collect();
        assert_eq!(gone, [Name::from("one")]);
        assert_eq!(names(&cache, Which::Ours), ["four"]);
    }
}
