//! Status, orders, records and checkpoints of one rollout in the store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use strategies::{Epoch, Name, Order, Orders, Status};

use crate::{
    api::view::JournalRecord,
    clock,
    journal::{NewRecord, Record},
    local::{
        adapter::site::Machine,
        store::{Commit, OrderState, Store, StoreError},
    },
    port::{Closed, Durable, Ending, Notes, Saved, Saving, Show, Unavailable, WriteError},
    rollout::{Standing, Told, view},
};

/// How often evidence is stored.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// Kind of a record of a decision.
const DECISION: &str = "decision";

/// The store as a rollout sees it. What was read is kept: nobody else writes it.
pub(super) struct Stored {
    name: Name,
    machine: Machine,
    known: Option<Saved>,
    /// Why orders that took effect were given, by their id, where somebody said.
    reasons: BTreeMap<Name, Name>,
    told: Told,
}

impl Stored {
    pub(super) fn new(name: &Name, machine: Machine, told: Told) -> Self {
        Self { name: name.clone(), machine, known: None, reasons: BTreeMap::new(), told }
    }

    /// The status; one that begins now where there is none.
    pub(super) async fn open(&mut self) -> Result<Status, Unavailable> {
        let rollout = self.name.to_string();
        let read = move |store: &Store| store.orders::<Order>(&rollout, OrderState::Accepted);
        let accepted = self.machine.store.read(read).await;
        let accepted = accepted.map_err(|error| Unavailable::new("cannot read the orders", &error))?;
        self.reasons = reasons(accepted.into_iter().map(|it| it.order)).collect();
        Ok(self.load().await?.status)
    }

    /// Tells those who follow what was recorded.
    async fn tell(&self, sequence: Option<u64>) {
        let decisions = &self.told.decisions;
        let Some(sequence) = sequence.filter(|_| decisions.receiver_count() > 0) else { return };
        let read = self.machine.store.read(move |store| store.journal(None, sequence, 1)).await;
        for record in read.unwrap_or_default() {
            // Nobody follows any more: fine.
            let _ = decisions.send(Arc::new(shown(&record)));
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
        body: record.decode().unwrap_or_else(|_| Value::String(record.body.clone())),
        digest: record.digest.to_string(),
    }
}

impl Durable for Stored {
    type Shown = Standing;

    async fn load(&mut self) -> Result<Saved, Unavailable> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        let rollout = self.name.to_string();
        let read = move |store: &Store| {
            let status = store.status::<Status>(&rollout)?;
            let orders = store.orders::<Order>(&rollout, OrderState::Pending)?;
            Ok((status, orders))
        };
        let read = self.machine.store.read(read).await;
        let (status, orders) = read.map_err(|error| Unavailable::new("cannot read the status", &error))?;
        let timeline = clock::timeline();
        let until = |wall| timeline.of_wall(wall);
        let orders = orders.into_iter().map(|it| it.order);
        let orders = Orders(orders.map(|it| Order { not_after: it.not_after.map(until), ..it }).collect());
        let (status, fence) = match status {
            Some(it) => (it.status, it.fence),
            None => (self.first_status().await?, 0),
        };
        let mut known = self.reasons.clone();
        known.extend(reasons(orders.0.iter().cloned()));
        let saved = Saved { status, orders, reasons: known, fence };
        self.known = Some(saved.clone());
        Ok(saved)
    }

    async fn save(&mut self, seen: &Saved, saving: Saving<'_, Standing>) -> Result<(), WriteError> {
        // How it stands is published, not saved.
        let Saving { status, record, closed, shown: _ } = saving;
        let (rollout, now, fence) = (self.name.to_string(), clock::now(), seen.fence);
        let left = seen.orders.0.iter().filter(|it| closed.iter().all(|closed| closed.order != it.id));
        let left = Orders(left.cloned().collect());
        self.reasons.extend(reasons(seen.orders.0.iter().cloned()));
        self.reasons.retain(|id, _| {
            status.accepted.iter().any(|it| it.id == *id) || left.0.iter().any(|it| it.id == *id)
        });
        let (body, next) = (record.map(str::to_owned), status.clone());
        let save = move |it: &mut Commit<'_>| {
            let fence = it.save_status(&rollout, fence, now, &next)?;
            for Closed { order, ending } in &closed {
                let state = match ending {
                    Ending::Took => OrderState::Accepted,
                    Ending::Void => OrderState::Expired,
                };
                it.close_order(order.as_str(), state, now)?;
            }
            let sequence = append(it, &rollout, now, body.as_deref())?;
            Ok((fence, sequence))
        };
        self.known = None;
        let (fence, sequence) = self.machine.store.commit(save).await?;
        self.known =
            Some(Saved { status: status.clone(), orders: left, reasons: self.reasons.clone(), fence });
        self.tell(sequence).await;
        Ok(())
    }

    async fn record(&mut self, at: Timestamp, record: &str) -> Result<(), WriteError> {
        let (rollout, body) = (self.name.to_string(), record.to_owned());
        let sequence = self.machine.store.commit(move |it| append(it, &rollout, at, Some(&body))).await?;
        self.tell(sequence).await;
        Ok(())
    }
}

impl Notes for Stored {
    fn forget(&mut self) {
        self.known = None;
    }

    async fn show(&mut self, shown: Show<'_, Standing>) -> Option<Timestamp> {
        self.told.view.send_replace(Some(Arc::new(view(&shown()))));
        None
    }

    fn is_watched(&self) -> bool {
        self.told.view.receiver_count() > 0
    }

    async fn checkpoints(&mut self) -> Result<BTreeMap<String, Value>, Unavailable> {
        let rollout = self.name.to_string();
        let read = self.machine.store.read(move |store| store.checkpoints::<Value>(&rollout));
        let all = read.await.map_err(|error| Unavailable::new("cannot read the evidence", &error))?;
        Ok(all.into_iter().map(|it| (it.name, it.checkpoint)).collect())
    }

    async fn checkpoint(&mut self, parts: Vec<(&'static str, Option<Value>)>) -> Result<(), WriteError> {
        let (rollout, now) = (self.name.to_string(), clock::now());
        let save = move |it: &mut Commit<'_>| {
            for (name, part) in &parts {
                match part {
                    Some(part) => it.save_checkpoint(&rollout, name, now, part)?,
                    None => it.remove_checkpoint(&rollout, name)?,
                }
            }
            Ok(())
        };
        Ok(self.machine.store.commit(save).await?)
    }

    fn checkpoint_every(&self) -> Duration {
        CHECKPOINT_EVERY
    }
}

fn reasons(orders: impl Iterator<Item = Order>) -> impl Iterator<Item = (Name, Name)> {
    orders.filter_map(|it| Some((it.id, it.reason?)))
}

fn append(
    change: &mut Commit<'_>,
    rollout: &str,
    at: Timestamp,
    body: Option<&str>,
) -> Result<Option<u64>, StoreError> {
    let Some(body) = body else { return Ok(None) };
    change.append_journal(&NewRecord { rollout, at, kind: DECISION, body }).map(Some)
}
