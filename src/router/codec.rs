use std::collections::{BTreeMap, BTreeSet};

use strategies::{Arm, Dest, Epoch, Fence, Goal, Name, RouteId, Split};

use super::Ack;
use crate::object::{Misshapen, Need, ObjectRef, ObjectWrite, Objects, Towards, Trouble};

/// One route that is carried by objects of a cluster: how its split is read out of them and written into them. PURE.
///
/// What an adapter must keep: a write is computed from the objects of the very observation that the decision saw, and
/// the fences are theirs; it writes what it is given, observes, and asks again.
///
/// # Guarantees
///
/// The conformance suite holds every kind to these, whatever else stands in the object:
/// what was written is what is read; writing it again writes nothing; fields that are not ours keep their bytes; after
/// any writes, restoring gives every field that was changed its value of before.
pub trait RouteCodec: Send + Sync {
    /// How it says that a split is in force.
    fn ack(&self) -> Ack;

    /// The object that carries the route.
    fn object(&self) -> ObjectRef;

    /// What a runtime must watch for it.
    fn needs(&self) -> Vec<Need>;

    /// What it asks for and what is known of its data plane; `None`: there is no such object.
    ///
    /// # Errors
    /// An object that is not shaped as its kind says.
    fn read(&self, objects: &Objects, about: &About) -> Result<Option<RouteRead>, Misshapen>;

    /// The next write towards this.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn towards(
        &self,
        ask: &RouteAsk,
        objects: &Objects,
        about: &About,
    ) -> Result<Towards<ObjectWrite>, Misshapen>;

    /// Where it leads as its owner wrote it, whatever stands there now; `None`: it was not seen, or leads nowhere of ours.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn as_written(&self, objects: &Objects, about: &About) -> Result<Option<AsWritten>, Misshapen> {
        let _ = (objects, about);
        Ok(None)
    }

    /// The same before it was seen, by what the document says of it.
    fn expects(&self) -> AsWritten {
        AsWritten::Ours
    }

    /// What of a goal it cannot express, beside what its [`Capabilities`](super::Capabilities) say already.
    fn refuses(&self, goal: &Goal) -> Vec<String> {
        let _ = goal;
        vec![]
    }
}

/// Where a route leads as its owner wrote it: what it is given back as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AsWritten {
    /// To the Service that clients use.
    Users,
    /// To stable's Service; the canary's stands beside it and gets nothing.
    Stable,
    /// Neither, so that it is held as it has to be.
    Ours,
}

/// What is asked of a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteAsk {
    /// Split requests so, under this authority.
    Split(Split, Epoch),
    /// Every field that was changed has its stored value again, and nothing of ours is left.
    Restore,
}

/// What a route must know of the rollout that it serves.
#[derive(Clone, Debug, PartialEq)]
pub struct About {
    /// Of which Rollout.
    pub rollout: Name,
    /// Its `metadata.uid`: objects of ours are owned by it.
    pub uid: Name,
    /// The services whose clients are shifted.
    pub services: Vec<Service>,
    /// The main arms that have replicas, each with the value of their pods' `pod-template-hash`.
    pub hashes: BTreeMap<Arm, Name>,
    /// The ready pods of each arm, by name.
    pub pods: BTreeMap<Arm, BTreeSet<Name>>,
}

/// A user's Service and the two of ours beside it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// The user's own.
    pub name: Name,
    /// Ours: leads to stable.
    pub stable: Name,
    /// Ours: leads to the canary.
    pub canary: Name,
}

/// One route as read.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteRead {
    /// What the object asks for.
    pub asked: Split,
    /// The authority it was last written under.
    pub epoch: Option<Epoch>,
    /// The generation that asks for it; 0 for kinds without generations.
    pub generation: u64,
    /// The oldest generation that anything which serves it has taken up; `None`: nobody says.
    pub confirmed: Option<u64>,
    /// Who wrote it last, where the server says so and it was not the engine.
    pub manager: Option<Name>,
    /// The version of the object.
    pub fence: Fence,
    /// What a person should see.
    pub troubles: Vec<Trouble>,
}

/// The route that a Service is.
#[must_use]
pub fn service_route(name: &str) -> RouteId {
    RouteId::from(format!("Service/{name}"))
}

impl Service {
    /// Where stable is, for routes above these Services.
    #[must_use]
    pub fn to_stable(&self) -> Dest {
        Dest::Route(service_route(self.stable.as_str()))
    }

    /// Where the canary is.
    #[must_use]
    pub fn to_canary(&self) -> Dest {
        Dest::Route(service_route(self.canary.as_str()))
    }

    /// The user's own.
    #[must_use]
    pub fn through(&self) -> Dest {
        Dest::Route(service_route(self.name.as_str()))
    }
}
