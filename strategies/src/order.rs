use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Name, Revision};

/// The orders of people and pipelines that have not been withdrawn, oldest first.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Orders(pub Vec<Order>);

/// What a person asked. It names what it is about, so a late, repeated or replayed one is harmless.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Unique; an order is accepted once.
    pub id: Name,
    /// What to do.
    pub action: Action,
    /// The revision on trial that it is about.
    pub revision: Revision,
    /// The attempt it is about.
    pub attempt: u32,
    /// The step it is about; none: whichever is current.
    pub step: Option<Name>,
    /// Who asked.
    pub by: Name,
    /// Why, in the person's words.
    pub reason: Option<Name>,
    /// After this it is void.
    pub not_after: Option<Timestamp>,
}

/// What a person can ask of a rollout.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// End this step, whatever it waits for.
    Promote,
    /// End all steps and bakes.
    PromoteFull,
    /// Say yes where a step asks.
    Approve,
    /// Go no step further.
    Pause,
    /// Lift a pause; an inconclusive analysis is run again.
    Resume,
    /// Turn back.
    Abort,
    /// Try a revision again that was rolled back.
    Retry,
}

impl Action {
    /// Every action, in the order the documentation lists them.
    pub const ALL: [Self; 7] = [
        Self::Promote,
        Self::PromoteFull,
        Self::Approve,
        Self::Pause,
        Self::Resume,
        Self::Abort,
        Self::Retry,
    ];
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Promote => "promote",
            Self::PromoteFull => "promote --full",
            Self::Approve => "approve",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Retry => "retry",
        })
    }
}
