//! What was decided and on what, so that it can be explained and decided again.
//!
//! The inputs of a decision are kept as changes: each of their parts is written only when it differs from the record
//! before, and all of them now and then, so that a record can be read without its whole past. The digest is over all
//! parts, written or not.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use strategies::{Activity, Decision, Next, Orders, Plan, Status, Waiting, WaitingFor, World};

/// Records between two whole ones.
const WHOLE_EVERY: u32 = 64;

/// One decision with its inputs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// When it was decided: the time it was decided with.
    pub now: Timestamp,
    /// Whether every part of the inputs is here.
    pub whole: bool,
    /// The parts of the inputs that differ from the record before: `plan`, `status`, `orders`, `leaving`, `wanted`,
    /// `arms`, `routes`, `owner`, `ran`.
    pub inputs: BTreeMap<String, Value>,
    /// SHA-256 over all parts, hexadecimal.
    pub digest: String,
    /// What was decided.
    pub next: Next,
    /// What should be running.
    pub run: Vec<Activity>,
    /// What is waited for.
    pub waiting: Vec<Waiting>,
}

/// Everything a decision looked at.
pub(super) struct Inputs<'a> {
    pub(super) plan: &'a Plan,
    pub(super) status: &'a Status,
    pub(super) orders: &'a Orders,
    pub(super) world: &'a World,
    pub(super) now: Timestamp,
}

impl Inputs<'_> {
    fn parts(&self) -> BTreeMap<String, Value> {
        let world = serde_json::to_value(self.world).unwrap_or(Value::Null);
        let mut parts: BTreeMap<String, Value> = match world {
            Value::Object(fields) => fields.into_iter().collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                BTreeMap::new()
            }
        };
        let mut add = |name: &str, value: Result<Value, serde_json::Error>| {
            parts.insert(name.to_owned(), value.unwrap_or(Value::Null));
        };
        add("plan", serde_json::to_value(self.plan));
        add("status", serde_json::to_value(self.status));
        add("orders", serde_json::to_value(self.orders));
        parts
    }
}

fn digest(parts: &BTreeMap<String, Value>) -> String {
    let mut hash = Sha256::new();
    for (name, value) in parts {
        let text = value.to_string();
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What makes a decision news: readiness counts and reasons, not the times.
#[derive(Clone, Debug, PartialEq)]
struct Gist {
    next: Next,
    run: Vec<Activity>,
    waiting: Vec<WaitingFor>,
}

/// SHA-256 of one part.
type Mark = [u8; 32];

/// Writes down decisions that differ from the last.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Of each part of the last record: its digest. The parts themselves are in the journal.
    kept: BTreeMap<String, Mark>,
    pending: Option<(BTreeMap<String, Mark>, Gist, u32)>,
    last: Option<Gist>,
    since_whole: u32,
}

impl Recorder {
    /// The record of this decision as JSON; `None`: it is the same as the last one.
    pub(super) fn record(&mut self, inputs: &Inputs<'_>, decided: &Decision) -> Option<String> {
        let waiting = decided.waiting.iter().map(|it| it.what.clone()).collect();
        let gist = Gist { next: decided.next.clone(), run: decided.run.clone(), waiting };
        if gist.next == Next::Rest && self.last.as_ref() == Some(&gist) {
            return None;
        }
        let parts = inputs.parts();
        let whole = self.kept.is_empty() || self.since_whole >= WHOLE_EVERY;
        let marks: BTreeMap<String, Mark> = parts
            .iter()
            .map(|(name, value)| (name.clone(), Sha256::digest(value.to_string()).into()))
            .collect();
        let changed = |(name, _): &(&String, &Value)| whole || self.kept.get(*name) != marks.get(*name);
        let record = DecisionRecord {
            now: inputs.now,
            whole,
            inputs: parts.iter().filter(changed).map(|(name, value)| (name.clone(), value.clone())).collect(),
            digest: digest(&parts),
            next: decided.next.clone(),
            run: decided.run.clone(),
            waiting: decided.waiting.clone(),
        };
        let since_whole = if whole { 0 } else { self.since_whole + 1 };
        self.pending = Some((marks, gist, since_whole));
        serde_json::to_string(&record).ok()
    }

    /// The last record is durable.
    pub(super) fn kept(&mut self) {
        if let Some((marks, gist, since_whole)) = self.pending.take() {
            (self.kept, self.last, self.since_whole) = (marks, Some(gist), since_whole);
        }
    }

    /// Nobody knows whether the last record is durable: the next one is whole.
    pub(super) fn lost(&mut self) {
        *self = Self::default();
    }
}

/// A record with its inputs put together again.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// What the decision looked at.
    pub plan: Plan,
    /// What was remembered.
    pub status: Status,
    /// What was ordered.
    pub orders: Orders,
    /// What was observed.
    pub world: World,
    /// When.
    pub now: Timestamp,
    /// What was decided then.
    pub decided: Decision,
}

impl Replayed {
    /// What this program decides on the same inputs.
    pub fn today(&self) -> Decision {
        super::decide_all(&self.plan, &self.status, &self.orders, &self.world, self.now)
    }
}

/// Why a record cannot be decided again.
#[derive(Debug, thiserror::Error)]
pub enum NotReplayable {
    /// The records before it are gone, and it is not whole.
    #[error("the records before it are no longer there")]
    NoStart,
    /// The parts do not fit the digest.
    #[error("its inputs are not what was decided on")]
    Altered,
    /// It was written by another version.
    #[error("its inputs are not understood")]
    NotUnderstood(#[source] serde_json::Error),
}

/// Puts the inputs of consecutive records of one rollout together again.
#[derive(Debug, Default)]
pub struct Replayer {
    parts: BTreeMap<String, Value>,
}

impl Replayer {
    /// Takes the next record.
    ///
    /// # Errors
    /// [`NotReplayable`]; later records may be fine again.
    pub fn take(&mut self, record: &DecisionRecord) -> Result<Replayed, NotReplayable> {
        if record.whole {
            self.parts.clear();
        } else if self.parts.is_empty() {
            return Err(NotReplayable::NoStart);
        }
        self.parts.extend(record.inputs.clone());
        if digest(&self.parts) != record.digest {
            self.parts.clear();
            return Err(NotReplayable::Altered);
        }
        self.put_together(record).map_err(NotReplayable::NotUnderstood)
    }

    fn put_together(&self, record: &DecisionRecord) -> Result<Replayed, serde_json::Error> {
        let part = |name: &str| self.parts.get(name).cloned().unwrap_or(Value::Null);
        let world =
            self.parts.iter().filter(|(name, _)| !["plan", "status", "orders"].contains(&name.as_str()));
        let world = world.map(|(name, value)| (name.clone(), value.clone())).collect();
        let plan: Plan = serde_json::from_value(part("plan"))?;
        let status: Status = serde_json::from_value(part("status"))?;
        // Earlier versions remembered a step by its place in the plan.
        let status = status.resolved(&plan).unwrap_or(status);
        let next = match &record.next {
            Next::Save(saved) => Next::Save(saved.resolved(&plan).map_or_else(|| saved.clone(), Box::new)),
            other @ (Next::Rest | Next::Write(_)) => other.clone(),
        };
        Ok(Replayed {
            plan,
            status,
            orders: serde_json::from_value(part("orders"))?,
            world: serde_json::from_value(Value::Object(world))?,
            now: record.now,
            decided: Decision { next, run: record.run.clone(), waiting: record.waiting.clone() },
        })
    }
}
