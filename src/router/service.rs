use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use strategies::{Arm, Dest, HumanDuration, Name, Role, RouteId, Share, Split};

use super::{
    Ack,
    codec::{About, RouteAsk, RouteCodec, RouteRead, Service, service_route},
};
use crate::object::{
    Detail, EPOCH, Edits, Kind, Misshapen, Need, ObjectRef, ObjectWrite, Objects, POD_HASH, Towards, Trouble,
    Verb, Which, epoch, fence, foreign_manager, object_ref, own_entry, pointer, text,
};

/// Says what a Service that we made is made for.
const PART: &str = "serinus.dev/part";

/// Which of a service's three Services.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// `-stable`, ours.
    Stable,
    /// `-canary`, ours.
    Canary,
    /// The user's own: while a rollout runs it is pinned by one more key in its selector.
    Users,
}

/// A Service as a route: its selector says which arms it leads to.
///
/// Pinned, it selects the pods of one revision by their hash; unpinned, all that the user's Service selects. Its data
/// plane has followed when its EndpointSlices list ready pods of the arms it leads to and of no other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceRoute {
    /// Of which service.
    pub of: Service,
    /// Which one.
    pub part: Part,
}

impl ServiceRoute {
    /// How long the data plane may lag behind the EndpointSlices.
    pub const SETTLE: HumanDuration = HumanDuration::from_secs(1);

    /// What a plan calls it.
    #[must_use]
    pub fn id(&self) -> RouteId {
        service_route(self.name().as_str())
    }

    fn name(&self) -> &Name {
        match self.part {
            Part::Stable => &self.of.stable,
            Part::Canary => &self.of.canary,
            Part::Users => &self.of.name,
        }
    }

    fn users(&self) -> ObjectRef {
        kind().named(self.of.name.as_str())
    }

    /// The arms that a selector leads to.
    fn split_of(selector: &Map<String, Value>, about: &About) -> Split {
        let Some(hash) = selector.get(POD_HASH).and_then(Value::as_str) else {
            return Split::by_ready(about.hashes.keys().cloned().collect());
        };
        let known = about.hashes.iter().find(|(_, it)| it.as_str() == hash).map(|(arm, _)| arm.clone());
        // One that nobody knows is nobody's: not stable's, not the canary's.
        Split::all_to(Dest::Arm(known.unwrap_or_else(|| Arm::main(hash.into()))))
    }

    /// The selector for a split, and the arm that it pins.
    fn selector(
        &self,
        split: &Split,
        objects: &Objects,
        about: &About,
    ) -> Result<Map<String, Value>, String> {
        let users = objects
            .get(&self.users())
            .ok_or_else(|| format!("there is no {}: `services` names it, so apply it first", self.users()))?;
        let mut selector =
            users.pointer("/spec/selector").and_then(Value::as_object).cloned().unwrap_or_default();
        if selector.is_empty() {
            return Err(format!(
                "{} selects no pods, so traffic cannot be told apart behind it",
                self.users()
            ));
        }
        // The user's own may be pinned: what it selects beside that is what they wrote.
        selector.shift_remove(POD_HASH);
        let plain = split.matches.is_empty() && split.mirrors.is_empty() && split.sticky.is_none();
        match &split.share {
            Share::ByReady(_) if plain => {}
            Share::Fixed(weights) if plain && weights.len() == 1 => {
                let Some(Dest::Arm(arm)) = weights.keys().next() else {
                    return Err("routes below a Service: it leads to pods".to_owned());
                };
                let hash = match about.hashes.get(arm) {
                    Some(hash) => hash.to_string(),
                    // Not yet made: ours are named by their revision.
                    None if arm.role == Role::Main => arm.revision.to_string(),
                    None => return Err(format!("{arm}: no pods of it are known")),
                };
                selector.insert(POD_HASH.to_owned(), json!(hash));
            }
            Share::Fixed(_) | Share::ByReady(_) => {
                return Err("weights, matches or copies: a Service leads to all or to one".to_owned());
            }
        }
        Ok(selector)
    }

    fn create(
        &self,
        selector: Map<String, Value>,
        under: strategies::Epoch,
        users: &Value,
        about: &About,
    ) -> ObjectWrite {
        let object = self.object();
        let port = |it: &Value| {
            let mut it = it.clone();
            if let Some(map) = it.as_object_mut() {
                map.shift_remove("nodePort");
            }
            it
        };
        let ports: Vec<Value> =
            users.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten().map(port).collect();
        let mut spec = json!({ "selector": selector, "ports": ports });
        for key in [
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
            "sessionAffinity",
            "trafficDistribution",
        ] {
            if let Some(value) = users.pointer(&pointer(&["spec", key])) {
                spec[key] = value.clone();
            }
        }
        if users.pointer("/spec/clusterIP").and_then(Value::as_str) == Some("None") {
            spec["clusterIP"] = json!("None");
        }
        let part = match self.part {
            Part::Stable => "stable",
            Part::Canary => "canary",
            Part::Users => "users",
        };
        // None of the user's labels: what scrapes the user's Service must not scrape an arm twice.
        let body = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": object.name.as_str(),
                "labels": { PART: part },
                "annotations": { EPOCH: under.0.to_string() },
                "ownerReferences": [{
                    "apiVersion": "serinus.dev/v1alpha1", "kind": "Rollout", "name": about.rollout.as_str(),
                    "uid": about.uid.as_str(), "controller": true, "blockOwnerDeletion": false,
                }],
            },
            "spec": spec,
        });
        ObjectWrite::create(object, body)
    }

    /// The ready pods that its EndpointSlices list; `None`: not one slice is there.
    fn listed(&self, objects: &Objects) -> Option<BTreeSet<Name>> {
        let (slices, mut any, mut pods) = (slices(), false, BTreeSet::new());
        for (_, slice) in objects.of_kind(&slices) {
            if text(slice, "/metadata/labels/kubernetes.io~1service-name") != Some(self.name().as_str()) {
                continue;
            }
            any = true;
            for it in slice["endpoints"].as_array().into_iter().flatten() {
                let ready = it.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false);
                if let (true, Some(pod)) = (ready, text(it, "/targetRef/name")) {
                    pods.insert(pod.into());
                }
            }
        }
        any.then_some(pods)
    }

    /// Whether the pods that are listed are those of the arms it leads to.
    fn follows(&self, split: &Split, objects: &Objects, about: &About) -> bool {
        if objects.is_unread(&slices()) {
            return false;
        }
        let arms: BTreeSet<Arm> = split
            .dests()
            .filter_map(|it| match it {
                Dest::Arm(arm) => Some(arm),
                Dest::Route(_) => None,
            })
            .collect();
        let of = |ours: bool| {
            let pods = about.pods.iter().filter(|(arm, _)| arms.contains(*arm) == ours);
            pods.flat_map(|(_, pods)| pods).collect::<BTreeSet<_>>()
        };
        let listed = self.listed(objects).unwrap_or_default();
        of(true).into_iter().all(|it| listed.contains(it))
            && !of(false).into_iter().any(|it| listed.contains(it))
    }
}

fn kind() -> Kind {
    Kind::new("v1", "Service")
}

fn slices() -> Kind {
    Kind::new("discovery.k8s.io/v1", "EndpointSlice")
}

impl RouteCodec for ServiceRoute {
    fn ack(&self) -> Ack {
        Ack::Endpoints
    }

    fn object(&self) -> ObjectRef {
        kind().named(self.name().as_str())
    }

    fn needs(&self) -> Vec<Need> {
        let named =
            |name: &Name| Need { kind: kind(), which: Which::Named(name.clone()), detail: Detail::Whole };
        let label: Name = "kubernetes.io/service-name".into();
        let slices = Need {
            kind: slices(),
            which: Which::Labelled(label, self.name().clone()),
            detail: Detail::Whole,
        };
        match self.part {
            Part::Users => vec![named(&self.of.name), slices],
            Part::Stable | Part::Canary => vec![named(self.name()), named(&self.of.name), slices],
        }
    }

    fn read(&self, objects: &Objects, about: &About) -> Result<Option<RouteRead>, Misshapen> {
        let object = self.object();
        let Some(service) = objects.get(&object) else { return Ok(None) };
        let mut troubles = vec![];
        let empty = Map::new();
        let selector = match service.pointer("/spec/selector") {
            Some(Value::Object(it)) => it,
            None | Some(Value::Null) => &empty,
            Some(_) => {
                let at = "/spec/selector".to_owned();
                return Err(Misshapen { object: object.to_string().into(), at, why: "a map of labels" });
            }
        };
        if selector.is_empty() {
            let what = "it selects no pods, so traffic cannot be told apart behind it".to_owned();
            troubles.push(Trouble { object: object.to_string().into(), what });
        }
        let asked = Self::split_of(selector, about);
        Ok(Some(RouteRead {
            confirmed: self.follows(&asked, objects, about).then_some(0),
            asked,
            epoch: epoch(service),
            generation: 0,
            manager: foreign_manager(service, &["f:spec", "f:selector"]),
            fence: fence(service),
            troubles,
        }))
    }

    fn towards(
        &self,
        ask: &RouteAsk,
        objects: &Objects,
        about: &About,
    ) -> Result<Towards<ObjectWrite>, Misshapen> {
        let object = self.object();
        let unpinned = (Split::by_ready(BTreeSet::new()), None);
        let (split, under) = match ask {
            RouteAsk::Split(split, under) => (split.clone(), Some(*under)),
            RouteAsk::Restore => unpinned,
        };
        let service = objects.get(&object);
        let selector = match (self.selector(&split, objects, about), service, under) {
            (Ok(it), _, _) => it,
            // Without the user's Service there is nothing to lead back to.
            (Err(_), None, None) => return Ok(Towards::Reached),
            (Err(why), _, _) => return Ok(Towards::Refused(format!("{object} cannot express {why}"))),
        };
        let Some(service) = service else {
            let users = objects.get(&self.users());
            return Ok(match (users, self.part, under) {
                (Some(users), Part::Stable | Part::Canary, Some(under)) => {
                    Towards::Write(self.create(selector, under, users, about))
                }
                (_, _, None) => Towards::Reached,
                (_, _, Some(_)) => Towards::Refused(format!("there is no {object}: apply it first")),
            });
        };
        let mut edits = Edits::of(service);
        match (self.part, selector.get(POD_HASH)) {
            // Of the user's own only the one key is ours.
            (Part::Users, Some(hash)) => edits.set(&["spec", "selector", POD_HASH], hash.clone()),
            (Part::Users, None) => edits.unset(&["spec", "selector", POD_HASH]),
            (Part::Stable | Part::Canary, _) if selector_of(service) == Some(&selector) => {}
            (Part::Stable | Part::Canary, _) => edits.set(&["spec", "selector"], Value::Object(selector)),
        }
        edits.annotate(EPOCH, under.map(|it| it.0.to_string()));
        if !edits.is_empty() {
            return Ok(Towards::Write(edits.write(object, Verb::Patch)));
        }
        match own_entry(service).filter(|_| self.part == Part::Users && under.is_none()) {
            Some(at) => {
                let path = pointer(&["metadata", "managedFields", &at.to_string()]);
                let body = json!([{ "op": "remove", "path": path }]);
                let expected = crate::object::version(service);
                Ok(Towards::Write(ObjectWrite { object, verb: Verb::Patch, expected, body }))
            }
            None => Ok(Towards::Reached),
        }
    }
}

fn selector_of(service: &Value) -> Option<&Map<String, Value>> {
    object_ref(service)?;
    service.pointer("/spec/selector")?.as_object()
}
