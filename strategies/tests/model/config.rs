//! What is checked: a plan, a world it runs in, and how much may go wrong.

mod plans;
mod table;

use strategies::{Plan, Scaler};

pub use table::all;

use super::state::Budget;

/// One configuration of the model.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: &'static str,
    pub plan: Plan,
    /// What the plan may be edited to, in mid-rollout.
    pub edits: Vec<Plan>,
    /// Replicas that carry all traffic, and what they may be changed to.
    pub replicas: u8,
    pub scaled: u8,
    pub scaler: Option<Scaler>,
    /// Whether somebody else may size arms.
    pub resized: bool,
    /// Whether the Services that lead to one side do not exist at first, and may be deleted by somebody else.
    pub bare: bool,
    /// Whether an instance manager stands below.
    pub owner: bool,
    /// Writes that each of the instance manager's goals needs.
    pub owner_writes: u8,
    /// Whether nothing is stable at first.
    pub adopts: bool,
    /// Whether somebody else makes the arms, as soon as a revision is wanted.
    pub self_made: bool,
    pub controllers: u8,
    /// Whether a decision takes effect some time after it was made. Otherwise at once.
    pub flights: bool,
    /// Whether a save reaches the disk some time after it was made.
    pub store: bool,
    /// Whether the engine acts on a status that is not on the disk yet: a defect of the runtime, for its mutant.
    pub acts_unsynced: bool,
    /// Whether writes carry no version: a defect of an adapter, for its mutant.
    pub blind: bool,
    /// Revisions whose replicas never get ready again.
    pub broken: u8,
    /// Routes whose data plane never acknowledges what is asked.
    pub deaf: u8,
    /// Orders that people may give.
    pub actions: &'static [strategies::Action],
    pub budget: Budget,
    /// Whether the test run searches it whole: small, and for something that the others reach late.
    pub whole: bool,
    /// Whether every state must have a way to a good end.
    pub live: bool,
}
