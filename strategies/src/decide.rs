use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Activity, Orders, Plan, Status, Waiting, World, Write};

/// The outcome of one look at the world.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use = "a decision does nothing until it is saved or executed"]
pub struct Decision {
    /// What to do now: one thing.
    pub next: Next,
    /// What should be running now; whatever else runs is stopped.
    pub run: Vec<Activity>,
    /// What the rollout waits for.
    pub waiting: Vec<Waiting>,
}

/// What to do now. Two objects are two decisions.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Next {
    /// Nothing.
    Rest,
    /// Save this, then observe again.
    Save(Box<Status>),
    /// Write this, then observe again.
    Write(Box<Write>),
}

impl Decision {
    /// When to decide again even if nothing is observed to change.
    #[must_use]
    pub fn wake(&self) -> Option<Timestamp> {
        self.waiting.iter().filter_map(|it| it.until).min()
    }
}

/// Decides what to do now.
///
/// # Guarantees
///
/// - Deterministic and total: equal arguments give equal decisions, and every argument gives one.
/// - Quiet: where the world already is as wanted, it rests.
/// - Final: a revision that was rolled back is never given more traffic until someone orders a retry.
/// - One step forward at most per call.
pub fn decide(_plan: &Plan, _status: &Status, _orders: &Orders, _world: &World, _now: Timestamp) -> Decision {
    Decision { next: Next::Rest, run: vec![], waiting: vec![] }
}
