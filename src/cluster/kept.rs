//! What survives of one Rollout in a cluster: its own status, and the orders beside it.
//!
//! Status, evidence and what is shown are one record behind `/status`, written together and fenced by the version that
//! was read. An order is dealt with by that same write, which remembers its name; that it is told so afterwards is for
//! people.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use strategies::{Name, Orders, Phase, Status};

use super::{api::Server as _, event, order, record, site::SeenWorkload, watches::Watched};
use crate::{
    clock,
    object::{ObjectRef, ObjectWrite, Verb, fence, text, version},
    port::{Closed, Durable, Notes, Saved, Saving, Show, Unavailable, WriteError},
    rollout::Standing,
    spec::RolloutStatus,
    telemetry::Outlet,
};

/// How often evidence is worth a write.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// How often what people are shown is worth a write, where nothing else is saved.
const SHOW_EVERY: Duration = Duration::from_secs(10);

/// The record of one Rollout.
pub(super) struct Kept {
    server: Watched,
    rollout: ObjectRef,
    uid: Name,
    workload: ObjectRef,
    seen: SeenWorkload,
    journal: Option<Outlet>,
    /// What this instance is called.
    instance: String,
    /// When it was written last.
    written: Option<Timestamp>,
    /// Why orders that took effect were given, by their id.
    reasons: BTreeMap<Name, Name>,
}

impl Kept {
    pub(super) fn new(
        server: Watched,
        rollout: &Name,
        uid: Name,
        workload: ObjectRef,
        seen: SeenWorkload,
        journal: Option<Outlet>,
        instance: String,
    ) -> Self {
        let rollout = super::rollouts().named(rollout.as_str());
        Self {
            server,
            rollout,
            uid,
            workload,
            seen,
            journal,
            instance,
            written: None,
            reasons: BTreeMap::new(),
        }
    }

    async fn own(&mut self) -> Result<Value, Unavailable> {
        let own = self.server.get(&self.rollout).await?;
        let own = own.filter(|it| text(it, "/metadata/uid") == Some(self.uid.as_str()));
        own.ok_or_else(|| Unavailable {
            what: "cannot read the status".to_owned(),
            why: format!("{} is gone", self.rollout),
        })
    }

    async fn put(&mut self, own: &Value, mut next: RolloutStatus) -> Result<(), WriteError> {
        if !record::fit(&mut next) {
            return Err(WriteError::Refused { why: "the status is larger than 256 KiB".to_owned() });
        }
        let value = serde_json::to_value(&next);
        let value = value.map_err(|it| Unavailable::new("cannot write the status", &it))?;
        let body = json!([{ "op": "add", "path": "/status", "value": value }]);
        let write = ObjectWrite {
            object: self.rollout.clone(),
            verb: Verb::PatchStatus,
            expected: version(own),
            body,
        };
        self.server.write(&write).await?;
        self.written = Some(clock::now());
        Ok(())
    }

    /// Orders of this Rollout that were not dealt with.
    fn orders(&self, before: &RolloutStatus) -> Vec<Value> {
        let watches = self.server.watches();
        let mut all = watches.all(&super::orders(), self.server.namespace());
        all.retain(|it| order::standing(it, &self.rollout.name, &before.dealt).is_some());
        all
    }

    /// Tells the orders what became of them. Who made them may have deleted them; they are dealt with either way.
    async fn close(&mut self, closed: &[Closed]) {
        for it in closed {
            let of = super::orders().named(it.order.as_str());
            let Ok(Some(object)) = self.server.get(&of).await else { continue };
            let Some(write) = order::close(&object, it.ending, clock::wall()) else { continue };
            if let Err(error) = self.server.write(&write).await {
                tracing::debug!(order = %it.order, %error, "an order was not told what became of it");
            }
        }
    }

    /// Tells the cluster what has become of the rollout. What cannot be told stands in the status.
    async fn tell(&self, own: &Value, before: &Status, standing: &Standing) {
        let Some(event) = event::of(own, before, standing, &self.instance, clock::wall()) else { return };
        if let Err(error) = self.server.tell(&event).await {
            tracing::debug!(rollout = %self.rollout.name, %error, "an event was not told");
        }
    }

    fn say(&self, at: Timestamp, record: &str) {
        let Some(journal) = &self.journal else { return };
        let body: Value = serde_json::from_str(record).unwrap_or_else(|_| Value::String(record.to_owned()));
        let line = json!({ "at": clock::timeline().wall(at).to_string(), "kind": "decision",
            "namespace": self.server.namespace().as_str(), "rollout": self.rollout.name.as_str(), "body": body });
        journal.say(format!("{line}\n").into_bytes());
    }
}

/// The record of a Rollout as it was read.
pub(super) fn told(rollout: &Value) -> RolloutStatus {
    rollout.get("status").and_then(|it| serde_json::from_value(it.clone()).ok()).unwrap_or_default()
}

/// What is remembered; one that begins now where nothing is.
pub(super) fn remembered(told: &RolloutStatus) -> Result<Status, Unavailable> {
    match &told.remembered {
        None => Ok(Status::new(clock::now())),
        Some(it) => serde_json::from_value(it.clone())
            .map_err(|it| Unavailable::new("what another version remembers is not understood", &it)),
    }
}

impl Durable for Kept {
    type Shown = Standing;

    async fn load(&mut self) -> Result<Saved, Unavailable> {
        let own = self.own().await?;
        let told = told(&own);
        let status = remembered(&told)?;
        let timeline = clock::timeline();
        let workload = self.server.get(&self.workload).await?;
        let images = workload.as_ref().map(order::images).unwrap_or_default();
        let orders = self.orders(&told);
        let read = orders.iter().filter_map(|it| order::read(it, &status, &images, &timeline));
        let orders = Orders(read.filter(|_| order::is_open(&status)).collect());
        let mut reasons = self.reasons.clone();
        reasons.extend(orders.0.iter().filter_map(|it| Some((it.id.clone(), it.reason.clone()?))));
        let strategies::Fence::At(fence) = fence(&own) else { unreachable!("it is there") };
        Ok(Saved { status, orders, reasons, fence })
    }

    async fn save(&mut self, seen: &Saved, saving: Saving<'_, Standing>) -> Result<(), WriteError> {
        let Saving { status, record, closed, shown } = saving;
        let own = self.own().await?;
        if fence(&own) != strategies::Fence::At(seen.fence) {
            return Err(WriteError::Conflict);
        }
        let mut standing = shown();
        standing.status = status.clone();
        let before = told(&own);
        let mut next = record::tell(&before, &standing, self.seen.get(), clock::wall());
        closed.iter().for_each(|it| order::remember(&mut next.dealt, &it.order));
        if status.phase == Phase::Left {
            next.checkpoints.clear();
        }
        if let Some(record) = record {
            self.say(clock::now(), record);
        }
        self.put(&own, next).await?;
        self.tell(&own, &seen.status, &standing).await;
        self.reasons = seen.reasons.clone();
        self.reasons.retain(|id, _| status.accepted.iter().any(|it| it.id == *id));
        self.close(&closed).await;
        Ok(())
    }

    async fn record(&mut self, at: Timestamp, record: &str) -> Result<(), WriteError> {
        self.say(at, record);
        Ok(())
    }
}

impl Notes for Kept {
    fn forget(&mut self) {}

    async fn show(&mut self, shown: Show<'_, Standing>) -> Option<Timestamp> {
        let own = self.own().await.ok()?;
        let before = told(&own);
        let standing = shown();
        let next = record::tell(&before, &standing, self.seen.get(), clock::wall());
        if !record::differs(&before, &next) {
            return None;
        }
        let due = self.written.map_or(Timestamp::MIN, |it| it + SHOW_EVERY);
        if clock::now() < due {
            return Some(due);
        }
        match self.put(&own, next).await {
            Ok(()) => None,
            Err(error) => {
                tracing::debug!(rollout = %self.rollout.name, %error, "how it stands was not shown");
                Some(clock::now() + SHOW_EVERY)
            }
        }
    }

    fn is_watched(&self) -> bool {
        false
    }

    async fn checkpoints(&mut self) -> Result<BTreeMap<String, Value>, Unavailable> {
        Ok(told(&self.own().await?).checkpoints)
    }

    async fn checkpoint(&mut self, parts: Vec<(&'static str, Option<Value>)>) -> Result<(), WriteError> {
        let own = self.own().await?;
        let mut next = told(&own);
        for (name, part) in parts {
            match part {
                Some(part) => drop(next.checkpoints.insert(name.to_owned(), part)),
                None => drop(next.checkpoints.remove(name)),
            }
        }
        self.put(&own, next).await
    }

    fn checkpoint_every(&self) -> Duration {
        CHECKPOINT_EVERY
    }
}
