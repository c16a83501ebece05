//! Status, orders and records of one rollout in the store.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use strategies::{Effect, Epoch, Name, Order, Orders, Status};
use tokio::sync::broadcast;

use crate::{
    analyses,
    api::view::{FailureView, GivenOrder, JournalRecord},
    clock,
    journal::{NewRecord, Record},
    local::{
        adapter::site::Machine,
        store::{Change, OrderState, StoreError},
    },
    port::{Keep, Saved, Unavailable, WriteError},
    rollout::Traffic,
};

/// Name of the evidence among the checkpoints.
const EVIDENCE: &str = "analyses";
/// Name of the sums among the checkpoints.
const TRAFFIC: &str = "traffic";
/// Name of what the replicas on trial failed of among the checkpoints.
const FAILURE: &str = "failure";
/// Kind of a record of a decision.
const DECISION: &str = "decision";

/// What is known besides the status when a rollout is taken up again.
pub(super) struct Remembered {
    pub(super) evidence: Option<analyses::Checkpoint>,
    pub(super) traffic: Option<Traffic>,
    pub(super) failure: Option<FailureView>,
}

/// The store as the engine sees it. What was read is kept: nobody else writes it.
pub(super) struct StatusKeep {
    name: Name,
    machine: Machine,
    known: Option<Saved>,
    /// Why orders that took effect were given, by their id, where somebody said.
    reasons: BTreeMap<Name, Name>,
    decisions: broadcast::Sender<Arc<JournalRecord>>,
}

impl StatusKeep {
    pub(super) fn new(
        name: &Name,
        machine: Machine,
        decisions: broadcast::Sender<Arc<JournalRecord>>,
    ) -> Self {
        Self { name: name.clone(), machine, known: None, reasons: BTreeMap::new(), decisions }
    }

    /// The status; one that begins now where there is none.
    pub(super) async fn open(&mut self) -> Result<Status, Unavailable> {
        let rollout = self.name.to_string();
        let read =
            move |store: &crate::local::store::Store| store.orders::<Order>(&rollout, OrderState::Accepted);
        let accepted = self.machine.keeper.read(read).await;
        let accepted = accepted.map_err(|error| Unavailable::new("cannot read the orders", &error))?;
        self.reasons = reasons(accepted.into_iter().map(|it| it.order)).collect();
        Ok(self.load().await?.status)
    }

    /// The orders that took effect, as the status remembers them, with why they were given.
    pub(super) fn given(&self, status: &Status) -> Vec<GivenOrder> {
        let one = |it: &strategies::Accepted| GivenOrder {
            action: it.action,
            by: it.by.clone(),
            at: it.at,
            reason: self.reasons.get(&it.id).cloned(),
        };
        status.accepted.iter().filter(|it| it.effect != strategies::Effect::Nothing).map(one).collect()
    }

    /// Reads again at the next look: an order came, or somebody says that something has changed.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    pub(super) async fn checkpoints(&self) -> Result<Remembered, Unavailable> {
        let rollout = self.name.to_string();
        let read = self.machine.keeper.read(move |store| store.checkpoints::<serde_json::Value>(&rollout));
        let all = read.await.map_err(|error| Unavailable::new("cannot read the evidence", &error))?;
        let find = |name: &str| all.iter().find(|it| it.name == name).map(|it| it.checkpoint.clone());
        // Evidence of another version is not understood and begins anew; so do the sums.
        let evidence: Option<analyses::Checkpoint> =
            find(EVIDENCE).and_then(|it| serde_json::from_value(it).ok());
        // Sums and evidence go on from the same readings.
        let traffic = find(TRAFFIC).filter(|_| evidence.is_some());
        Ok(Remembered {
            evidence,
            traffic: traffic.and_then(|it| serde_json::from_value(it).ok()),
            failure: find(FAILURE).and_then(|it| serde_json::from_value(it).ok()),
        })
    }

    pub(super) async fn store(
        &self,
        checkpoint: analyses::Checkpoint,
        traffic: Traffic,
        failure: Option<FailureView>,
    ) -> Result<(), WriteError> {
        let (rollout, now) = (self.name.to_string(), clock::now());
        let save = move |it: &mut Change<'_>| {
            it.save_checkpoint(&rollout, EVIDENCE, now, &checkpoint)?;
            it.save_checkpoint(&rollout, TRAFFIC, now, &traffic)?;
            match &failure {
                Some(failure) => it.save_checkpoint(&rollout, FAILURE, now, failure),
                None => it.remove_checkpoint(&rollout, FAILURE),
            }
        };
        Ok(self.machine.keeper.commit(save).await?)
    }

    /// Tells those who follow what was recorded.
    async fn tell(&self, sequence: Option<u64>) {
        let Some(sequence) = sequence.filter(|_| self.decisions.receiver_count() > 0) else { return };
        let read = self.machine.keeper.read(move |store| store.journal(None, sequence, 1)).await;
        for record in read.unwrap_or_default() {
            // Nobody follows any more: fine.
            let _ = self.decisions.send(Arc::new(shown(&record)));
        }
    }

    /// A rollout made again under the name of a former one goes on above its epochs: whatever was told to the
    /// supervisor before is over.
    async fn first_status(&self) -> Result<Status, Unavailable> {
        let cannot = "the supervisor cannot be asked";
        let seen =
            self.machine.supervisor.observe().await.map_err(|error| Unavailable::new(cannot, &error))?;
        let mut status = Status::new(clock::now());
        if let Some(highest) = seen.epochs.get(self.name.as_str()) {
            status.epoch = status.epoch.max(Epoch(*highest).next());
        }
        Ok(status)
    }
}

/// A record as callers see it.
pub(in crate::local::control) fn shown(record: &Record) -> JournalRecord {
    JournalRecord {
        sequence: record.sequence,
        at: record.at,
        kind: record.kind.clone(),
        body: record.decode().unwrap_or_else(|_| serde_json::Value::String(record.body.clone())),
        digest: record.digest.to_string(),
    }
}

impl Keep for StatusKeep {
    async fn load(&mut self) -> Result<Saved, Unavailable> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        let rollout = self.name.to_string();
        let read = move |store: &crate::local::store::Store| {
            let status = store.status::<Status>(&rollout)?;
            let orders = store.orders::<Order>(&rollout, OrderState::Pending)?;
            Ok((status, orders))
        };
        let read = self.machine.keeper.read(read).await;
        let (status, orders) = read.map_err(|error| Unavailable::new("cannot read the status", &error))?;
        let timeline = clock::timeline();
        let until = |wall| timeline.of_wall(wall);
        let orders = orders.into_iter().map(|it| it.order);
        let orders = Orders(orders.map(|it| Order { not_after: it.not_after.map(until), ..it }).collect());
        let saved = match status {
            Some(it) => Saved { status: it.status, orders, fence: it.fence },
            None => Saved { status: self.first_status().await?, orders, fence: 0 },
        };
        self.known = Some(saved.clone());
        Ok(saved)
    }

    async fn save(&mut self, seen: &Saved, status: &Status, record: Option<&str>) -> Result<(), WriteError> {
        let (rollout, now, fence) = (self.name.to_string(), clock::now(), seen.fence);
        let (orders, left) = close(&seen.orders, status, now);
        self.reasons.extend(reasons(seen.orders.0.iter().cloned()));
        self.reasons.retain(|id, _| {
            status.accepted.iter().any(|it| it.id == *id) || left.0.iter().any(|it| it.id == *id)
        });
        let (body, next) = (record.map(str::to_owned), status.clone());
        let save = move |it: &mut Change<'_>| {
            let fence = it.save_status(&rollout, fence, now, &next)?;
            for (id, state) in &orders {
                it.close_order(id, *state, now)?;
            }
            let sequence = append(it, &rollout, now, body.as_deref())?;
            Ok((fence, sequence))
        };
        self.known = None;
        let (fence, sequence) = self.machine.keeper.commit(save).await?;
        self.known = Some(Saved { status: status.clone(), orders: left, fence });
        self.tell(sequence).await;
        Ok(())
    }

    async fn record(&mut self, at: Timestamp, record: &str) -> Result<(), WriteError> {
        let (rollout, body) = (self.name.to_string(), record.to_owned());
        let sequence = self.machine.keeper.commit(move |it| append(it, &rollout, at, Some(&body))).await?;
        self.tell(sequence).await;
        Ok(())
    }
}

fn reasons(orders: impl Iterator<Item = Order>) -> impl Iterator<Item = (Name, Name)> {
    orders.filter_map(|it| Some((it.id, it.reason?)))
}

fn append(
    change: &mut Change<'_>,
    rollout: &str,
    at: Timestamp,
    body: Option<&str>,
) -> Result<Option<u64>, StoreError> {
    let Some(body) = body else { return Ok(None) };
    change.append_journal(&NewRecord { rollout, at, kind: DECISION, body }).map(Some)
}

/// Orders that were dealt with in this status, orders that never will be, and those that are left.
fn close(orders: &Orders, status: &Status, now: Timestamp) -> (Vec<(String, OrderState)>, Orders) {
    let (mut closed, mut left) = (vec![], vec![]);
    for order in &orders.0 {
        let dealt = status.accepted.iter().find(|it| it.id == order.id).map(|it| it.effect);
        let past = order.attempt < status.attempt || order.not_after.is_some_and(|end| end < now);
        match (dealt, past) {
            (Some(Effect::Took | Effect::Overrode), _) => {
                closed.push((order.id.to_string(), OrderState::Accepted));
            }
            (Some(Effect::Nothing), _) | (None, true) => {
                closed.push((order.id.to_string(), OrderState::Expired));
            }
            (None, false) => left.push(order.clone()),
        }
    }
    (closed, Orders(left))
}
