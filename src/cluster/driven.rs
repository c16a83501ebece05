//! What one Rollout drives: objects of a cluster on one side, the machine's world on the other. PURE but for the memory
//! of what the data plane has acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use strategies::{Arm, Change, Epoch, Name, Phase, RouteId, RouteSeen, Seen, Status, Wanted, World, Write};

use crate::{
    object::{
        Detail, Kind, Misshapen, Need, ObjectRef, ObjectWrite, Objects, POD_HASH, Towards, Trouble, Which,
        text,
    },
    router::{About, Acks, Part, RouteAsk, RouteCodec, Service, ServiceRoute, Traffic},
    spec::compile::{Compiled, Facts, Runtime},
    workload::{Ask, Look, Standing, WorkloadRef, Workloads},
};

/// The workload and the routes of one Rollout.
pub struct Driven {
    rollout: Name,
    uid: Name,
    workload: Name,
    codec: &'static dyn Workloads,
    services: Vec<Service>,
    routes: BTreeMap<RouteId, Route>,
    replicas: Option<u32>,
    ignored: Vec<String>,
    troubles: Vec<Trouble>,
    look: Option<Look>,
}

struct Route {
    codec: Box<dyn RouteCodec>,
    acks: Acks,
}

/// Why a document is not driven in a cluster.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotDriven {
    /// It is about this machine.
    #[error("the Rollout `{0}` names a `workload` of one machine; in a cluster it names a `workloadRef`")]
    OneMachine(Name),
    /// There is no codec.
    #[error("workloads of kind {kind} ({api_version}) are not driven; these are: {driven}")]
    Kind {
        /// The kind.
        kind: String,
        /// Its group and version.
        api_version: String,
        /// Those that are.
        driven: String,
    },
}

impl Driven {
    /// What a Rollout drives; `uid` is its `metadata.uid`.
    ///
    /// # Errors
    /// [`NotDriven`].
    pub fn new(compiled: &Compiled, uid: Name) -> Result<Self, NotDriven> {
        let Runtime::Cluster { workload, traffic, services, ignored } = &compiled.runtime else {
            return Err(NotDriven::OneMachine(compiled.name.clone()));
        };
        let codec = workload.codec().ok_or_else(|| NotDriven::Kind {
            kind: workload.kind.clone(),
            api_version: workload.api_version.clone(),
            driven: WorkloadRef::driven(),
        })?;
        let parts = [Part::Stable, Part::Canary, Part::Users];
        let of = |of: &Service| parts.map(|part| ServiceRoute { of: of.clone(), part });
        let services_as_routes = services.iter().flat_map(of).map(|it| {
            let id = it.id();
            (id, Box::new(it) as Box<dyn RouteCodec>)
        });
        let all = traffic.iter().flat_map(Traffic::codecs).chain(services_as_routes);
        let known = all.filter(|(id, _)| compiled.plan.routes().any(|(it, _)| it == id));
        Ok(Self {
            rollout: compiled.name.clone(),
            uid,
            workload: workload.name.clone(),
            codec,
            services: services.clone(),
            routes: known.map(|(id, codec)| (id, Route { codec, acks: Acks::default() })).collect(),
            replicas: compiled.replicas,
            ignored: ignored.clone(),
            troubles: vec![],
            look: None,
        })
    }

    /// What has to be watched; less while no rollout runs.
    #[must_use]
    pub fn needs(&self, active: bool) -> Vec<Need> {
        let mut all = self.codec.needs(&self.workload, active);
        let routes = self.routes.values().flat_map(|it| it.codec.needs());
        let workload = self.codec.kind().named(self.workload.as_str());
        let pods = Need { kind: pods(), which: Which::SelectedBy(workload), detail: Detail::Whole };
        for need in routes.chain([pods]).filter(|_| active) {
            if !all.contains(&need) {
                all.push(need);
            }
        }
        all
    }

    /// What a person should see of the last observation.
    #[must_use]
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// By another document from now on; what routes have acknowledged stays.
    pub(super) fn replace(&mut self, by: Self) {
        let mut known = std::mem::take(&mut self.routes);
        *self = by;
        for (id, route) in &mut self.routes {
            if let Some(before) = known.remove(id) {
                route.acks = before.acks;
            }
        }
    }

    /// What the last observation showed of the workload; `None`: there is none.
    pub(super) fn look(&self) -> Option<&Look> {
        self.look.as_ref()
    }

    /// The workload.
    #[must_use]
    pub fn workload(&self) -> ObjectRef {
        self.codec.kind().named(self.workload.as_str())
    }

    /// The Services whose clients are moved.
    pub(super) fn services(&self) -> &[Service] {
        &self.services
    }

    /// Everything as it is in these objects. Whether the Rollout itself is being deleted is not in them.
    ///
    /// # Errors
    /// An object that is not shaped as its kind says.
    pub fn world(
        &mut self,
        objects: &Objects,
        status: &Status,
        leaving: bool,
        now: Timestamp,
    ) -> Result<World, Misshapen> {
        let standing = self.standing(status, now);
        let look = self.codec.look(objects, &standing)?;
        let about = self.about(look.get(), objects);
        self.troubles = look.get().map(|it| it.troubles.clone()).unwrap_or_default();
        self.look = look.get().cloned();
        let mut routes = BTreeMap::new();
        for (id, route) in &mut self.routes {
            routes.insert(id.clone(), route.seen(objects, &about, now, &mut self.troubles)?);
        }
        let mut world = World { leaving, routes, ..World::default() };
        match look {
            Seen::Unread => {}
            Seen::Absent => (world.wanted, world.owner) = (Seen::Absent, Seen::Absent),
            Seen::Is(look) => {
                world.wanted = Seen::Is(Wanted {
                    revision: look.revision,
                    replicas: look.replicas,
                    scaler: look.scaler,
                });
                world.arms = look.arms.into_iter().map(|(arm, it)| (arm, Seen::Is(it))).collect();
                world.owner = Seen::Is(look.owner);
            }
        }
        Ok(world)
    }

    /// What these objects say that a plan depends on: see [`Compiled::with_facts`].
    ///
    /// # Errors
    /// As [`Self::world`].
    pub fn facts(&self, objects: &Objects, status: &Status, now: Timestamp) -> Result<Facts, Misshapen> {
        let look = self.codec.look(objects, &self.standing(status, now))?;
        let about = self.about(look.get(), objects);
        let mut routes = BTreeMap::new();
        for (id, route) in &self.routes {
            if let Some(written) = route.codec.as_written(objects, &about)? {
                routes.insert(id.clone(), written);
            }
        }
        Ok(Facts { workload: self.codec.declared(objects, &self.workload)?, routes })
    }

    /// The one write to one object that brings these objects nearer to what was decided on them.
    ///
    /// # Errors
    /// As [`Self::world`].
    pub fn towards(
        &self,
        write: &Write,
        objects: &Objects,
        status: &Status,
        now: Timestamp,
    ) -> Result<Towards<ObjectWrite>, Misshapen> {
        let mut standing = self.standing(status, now);
        standing.epoch = write.epoch;
        if let Some(ask) = Ask::of(&write.change) {
            return self.codec.towards(&ask, objects, &standing);
        }
        let (id, ask) = match &write.change {
            Change::Split(id, split) => (id, RouteAsk::Split(split.clone(), write.epoch)),
            Change::Restore(id) => (id, RouteAsk::Restore),
            Change::Create(..) | Change::Size(_) | Change::Claim(_) | Change::Remove(_) | Change::Own(_) => {
                return Ok(Towards::Reached);
            }
        };
        let Some(route) = self.routes.get(id) else {
            return Ok(Towards::Refused(format!("{id} is no route of this Rollout any more")));
        };
        let look = self.codec.look(objects, &standing)?;
        route.codec.towards(&ask, objects, &self.about(look.get(), objects))
    }

    fn standing(&self, status: &Status, now: Timestamp) -> Standing {
        Standing {
            workload: self.workload.clone(),
            rollout: self.rollout.clone(),
            uid: self.uid.clone(),
            stable: None,
            canary: None,
            phase: Phase::Adopting,
            epoch: Epoch::default(),
            attempt: 0,
            replicas: self.replicas,
            ignored: self.ignored.clone(),
            now,
        }
        .with(status)
    }

    fn about(&self, look: Option<&Look>, objects: &Objects) -> About {
        let hashes = look.map(|it| it.hashes.clone()).unwrap_or_default();
        let mut pods: BTreeMap<Arm, BTreeSet<Name>> = BTreeMap::new();
        for (name, pod) in objects.of_kind(&self::pods()) {
            let hash =
                pod.pointer("/metadata/labels").and_then(|it| it.get(POD_HASH)).and_then(Value::as_str);
            let arm = hashes.iter().find(|(_, it)| Some(it.as_str()) == hash).map(|(arm, _)| arm);
            if let (Some(arm), true) = (arm, is_ready(pod)) {
                pods.entry(arm.clone()).or_default().insert(name.clone());
            }
        }
        About {
            rollout: self.rollout.clone(),
            uid: self.uid.clone(),
            services: self.services.clone(),
            hashes,
            pods,
        }
    }

    /// The objects that the routes are, for whoever shows them.
    #[must_use]
    pub fn route_objects(&self) -> Vec<ObjectRef> {
        self.routes.values().map(|it| it.codec.object()).collect()
    }
}

impl Route {
    fn seen(
        &mut self,
        objects: &Objects,
        about: &About,
        now: Timestamp,
        troubles: &mut Vec<Trouble>,
    ) -> Result<Seen<RouteSeen>, Misshapen> {
        if objects.is_unread(&self.codec.object().kind) {
            return Ok(Seen::Unread);
        }
        let Some(read) = self.codec.read(objects, about)? else {
            self.acks.ask_nothing();
            return Ok(Seen::Absent);
        };
        self.acks.ask(&read.asked, read.generation);
        if let Some(confirmed) = read.confirmed {
            self.acks.confirm(confirmed, now);
        }
        troubles.extend(read.troubles);
        Ok(Seen::Is(RouteSeen {
            asked: read.asked,
            epoch: read.epoch,
            acknowledged: self.acks.acknowledged().cloned(),
            manager: read.manager,
            fence: read.fence,
        }))
    }
}

pub(super) fn pods() -> Kind {
    Kind::new("v1", "Pod")
}

/// A pod that its Services lead to.
pub(super) fn is_ready(pod: &Value) -> bool {
    let ready = |it: &Value| text(it, "/type") == Some("Ready") && text(it, "/status") == Some("True");
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(ready) && pod.pointer("/metadata/deletionTimestamp").is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use strategies::{Amount, RouteRest};

    use super::*;
    use crate::{
        router::{AsWritten, service_route},
        spec::{self, compile::compile},
        workload::OwnUpdate,
    };

    const ROLLOUT: &str = "apiVersion: serinus.dev/v1alpha1\nkind: Rollout\nmetadata: { name: shop }\nspec:\n  \
                           workloadRef: { apiVersion: apps/v1, kind: Deployment, name: shop }\n  \
                           services: [ { name: shop } ]\n  \
                           traffic: [ { gatewayApi: { routes: [ { name: shop } ] } } ]\n  \
                           strategy: { canary: { steps: [ { name: half, weight: 50%, approve: {} } ] } }\n";

    fn deployment() -> Value {
        json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "shop", "uid": "d", "resourceVersion": "1" },
            "spec": { "replicas": 3, "selector": { "matchLabels": { "app": "shop" } },
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } },
                "template": { "metadata": { "labels": { "app": "shop" } }, "spec": {} } } })
    }

    fn route(names: &[(&str, u32)]) -> Value {
        let one = |(name, weight): &(&str, u32)| json!({ "name": name, "port": 80, "weight": weight });
        let backends: Vec<Value> = names.iter().map(one).collect();
        json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": "shop", "resourceVersion": "1" }, "spec": { "rules": [{ "backendRefs": backends }] } })
    }

    #[test]
    fn a_plan_is_completed_by_the_workload_and_the_routes_that_are_there() {
        let read = spec::read("shop.yaml", ROLLOUT.as_bytes());
        let compiled = compile(&read.documents, None).unwrap();
        let driven = Driven::new(&compiled, "r".into()).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let facts = |objects: &Objects| driven.facts(objects, &Status::new(now), now).unwrap();
        assert_eq!(facts(&Objects::default()), Facts::default(), "nothing is there");
        for (backends, written, through) in [
            (vec![("shop", 1)], AsWritten::Users, "shop"),
            (vec![("shop-stable", 1), ("shop-canary", 0)], AsWritten::Stable, "shop-stable"),
        ] {
            let mut objects = Objects::default();
            objects.insert(deployment());
            objects.insert(route(&backends));
            let found = facts(&objects);
            let update = found.workload.map(|it| it.update);
            let (surge, unavailable) = (Amount::Replicas(0), Amount::Replicas(1));
            assert_eq!(update, Some(OwnUpdate::Rolling { surge, unavailable }));
            assert_eq!(found.routes, [("HTTPRoute/shop".into(), written)].into());
            let plan = compiled.with_facts(&found);
            let rest = plan.routes().find(|(id, _)| id.as_str() == "HTTPRoute/shop").map(|(_, it)| &it.rest);
            assert_eq!(rest, Some(&RouteRest::Through(service_route(through))));
            assert_eq!(plan.capacity.max_unavailable, unavailable);
        }
    }
}
