//! The world of one Rollout in a cluster.

mod environment;

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use strategies::{Name, Phase, Status, World, Write};

use super::{Driven, Server};
use crate::{
    clock,
    object::{ObjectRef, ObjectWrite, Objects, POD_HASH, Towards, Trouble, Verb, text, version},
    port::{Outside, Unavailable, WriteError},
    spec::{WorkloadStatus, compile::Facts},
};

/// Keeps a Rollout that has something to give back from going before it has.
pub(super) const FINALIZER: &str = "serinus.dev/rollout";

/// What one Rollout sees and writes of a cluster.
///
/// # Crash safety
/// It holds nothing that a restart may not lose: a write is computed from the objects of the last look and carries
/// their versions; what the data plane has acknowledged is waited for again. Before the first write the Rollout gets a
/// finalizer, so whatever is written is given back.
pub struct Site<S> {
    server: S,
    rollout: ObjectRef,
    uid: Name,
    driven: Driven,
    /// The last look: a write is computed from what the decision saw.
    seen: Option<(Objects, Status, Timestamp)>,
    workload: SeenWorkload,
    purpose: Purpose,
    /// What is wrong with a later document than the one that is followed.
    mistakes: Vec<String>,
}

/// What a site is there for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// To drive the workload while the Rollout is there.
    Drive,
    /// To give it back.
    GiveBack,
}

/// What the last look showed of the workload, for whoever keeps the status. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenWorkload(Arc<Mutex<Scale>>);

/// The workload as autoscalers and pipelines want to know it.
#[derive(Clone, Debug, Default)]
pub(super) struct Scale {
    pub(super) workload: Option<WorkloadStatus>,
    pub(super) replicas: Option<u32>,
    pub(super) selector: Option<String>,
}

impl SeenWorkload {
    pub(super) fn get(&self) -> Scale {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, scale: Scale) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = scale;
    }
}

impl<S: Server> Site<S> {
    /// The world of the Rollout of this name and uid.
    #[must_use]
    pub fn new(server: S, rollout: &Name, uid: Name, driven: Driven) -> Self {
        let rollout = super::rollouts().named(rollout.as_str());
        Self {
            server,
            rollout,
            uid,
            driven,
            seen: None,
            workload: SeenWorkload::default(),
            purpose: Purpose::Drive,
            mistakes: vec![],
        }
    }

    /// What a person should see.
    #[must_use]
    pub fn troubles(&self) -> &[Trouble] {
        self.driven.troubles()
    }

    pub(super) fn seen_workload(&self) -> SeenWorkload {
        self.workload.clone()
    }

    /// The document was changed.
    pub(super) fn drive(&mut self, driven: Driven) {
        self.mistakes.clear();
        self.driven.replace(driven);
    }

    /// From now on it is there for this.
    pub(super) fn serve(&mut self, purpose: Purpose) {
        self.purpose = purpose;
    }

    /// The document was changed to one that cannot be followed.
    pub(super) fn keep_to(&mut self, mistakes: Vec<String>) {
        self.mistakes = mistakes;
    }

    pub(super) fn driven(&self) -> &Driven {
        &self.driven
    }

    /// What the last look says that a plan depends on.
    pub(super) fn facts(&self) -> Facts {
        let facts = self.seen.as_ref().map(|(objects, status, now)| self.driven.facts(objects, status, *now));
        facts.and_then(Result::ok).unwrap_or_default()
    }

    fn objects(&self) -> Option<&Objects> {
        self.seen.as_ref().map(|(it, _, _)| it)
    }

    /// With a finalizer, or without.
    async fn guard(&mut self, own: &Value, guarded: Guarded) -> Result<(), WriteError> {
        let held = own.pointer("/metadata/finalizers").and_then(Value::as_array);
        let at = held.into_iter().flatten().position(|it| it == FINALIZER);
        let body = match (guarded, at, held) {
            (Guarded::Yes, Some(_), _) | (Guarded::No, None, _) => return Ok(()),
            (Guarded::Yes, None, None) => {
                json!([{ "op": "add", "path": "/metadata/finalizers", "value": [FINALIZER] }])
            }
            (Guarded::Yes, None, Some(_)) => {
                json!([{ "op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER }])
            }
            (Guarded::No, Some(at), _) => {
                json!([{ "op": "remove", "path": format!("/metadata/finalizers/{at}") }])
            }
        };
        let write =
            ObjectWrite { object: self.rollout.clone(), verb: Verb::Patch, expected: version(own), body };
        self.server.write(&write).await
    }

    /// The Rollout, if it still is this one.
    async fn own(&mut self) -> Result<Option<Value>, Unavailable> {
        let own = self.server.get(&self.rollout).await?;
        Ok(own.filter(|it| text(it, "/metadata/uid") == Some(self.uid.as_str())))
    }

    /// Lets the Rollout go; whether it is.
    pub(super) async fn let_go(&mut self) -> Result<bool, Unavailable> {
        let Some(own) = self.own().await? else { return Ok(true) };
        match self.guard(&own, Guarded::No).await {
            Ok(()) => Ok(true),
            Err(WriteError::Conflict) => Ok(false),
            Err(error) => Err(Unavailable::new("cannot take the finalizer off", &error)),
        }
    }
}

/// Whether a Rollout may go before it is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Guarded {
    Yes,
    No,
}

impl<S: Server> Outside for Site<S> {
    async fn observe(&mut self, status: &Status) -> Result<World, Unavailable> {
        let own = self.own().await?;
        let deleted = |it: &Value| it.pointer("/metadata/deletionTimestamp").is_some();
        let leaving = self.purpose == Purpose::GiveBack || own.as_ref().is_none_or(deleted);
        let objects = self.server.read(&self.driven.needs(true), &self.uid).await?;
        let now = clock::now();
        let world = self.driven.world(&objects, status, leaving, now);
        let world = world
            .map_err(|it| Unavailable { what: "cannot read the workload".to_owned(), why: it.to_string() })?;
        self.workload.set(scale(&self.driven, &objects, status));
        self.seen = Some((objects, status.clone(), now));
        Ok(world)
    }

    async fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        let Some((objects, status, now)) = &self.seen else { return Err(WriteError::Conflict) };
        let next = self.driven.towards(write, objects, status, *now);
        let next = match next.map_err(|it| WriteError::Refused { why: it.to_string() })? {
            Towards::Write(it) => it,
            Towards::Refused(why) => return Err(WriteError::Refused { why }),
            // It is so already, or somebody else acts first: what was decided was decided on an older look.
            Towards::Reached | Towards::Theirs(_) => return Err(WriteError::Conflict),
        };
        let leaves = matches!(status.phase, Phase::Leaving | Phase::Left);
        if let Some(own) = self.own().await?.filter(|_| !leaves) {
            self.guard(&own, Guarded::Yes).await?;
        }
        self.server.write(&next).await
    }
}

/// What an autoscaler of the Rollout measures: the pods of the side with the larger share, against the number that is
/// wished.
fn scale(driven: &Driven, objects: &Objects, status: &Status) -> Scale {
    let Some(look) = driven.look() else { return Scale::default() };
    let workload = objects.get(&driven.workload());
    let number = |at: &str| workload.and_then(|it| it.pointer(at)).and_then(Value::as_i64);
    let selector = workload.and_then(|it| it.pointer("/spec/selector")).and_then(super::Selector::of);
    let larger = match &status.canary {
        Some(canary) if status.goal().weight > status.goal().weight.complement() => Some(canary),
        _ => status.stable.as_ref(),
    };
    let hash = larger.and_then(|it| look.hashes.get(&strategies::Arm::main(it.clone())));
    let selector = match (selector, hash) {
        (Some(selector), Some(hash)) => Some(format!("{},{POD_HASH}={hash}", selector.query())),
        (selector, None) => selector.map(|it| it.query()),
        (None, Some(_)) => None,
    };
    Scale {
        workload: Some(WorkloadStatus {
            generation: number("/metadata/generation"),
            observed_generation: number("/status/observedGeneration"),
            revision: Some(look.revision.to_string()),
        }),
        replicas: Some(look.replicas),
        selector,
    }
}
