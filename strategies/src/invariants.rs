//! What must hold of every rollout, whatever happens: the safety properties S1–S23 and the liveness properties
//! L1–L11, as far as they speak of pure state.
//!
//! One module for the property tests, the model checker and the trace checker. It is written from the text of the
//! properties and shares no code with the machine that it judges: what may reach an arm, what an arm needs, when a
//! route has settled and what a plan authorises are computed here a second time, in another way. A mistake in the
//! machine can therefore not hide in its judge.
//!
//! Three kinds of predicate: on a decision before it takes effect ([`check_decision`], which calls
//! [`check_write`], [`check_save`] and the rest), on what users meet at one moment ([`check_serving`]), and on
//! whether a rollout has come to a good end ([`is_good`]), which "never stuck" and "eventually stable" are about.
//!
//! Deliberately absent, because they speak of processes, bytes or clocks and are checked where those are: S8 (effects
//! outside), S9's lease, S13 (what a provider can return), S15's foreign bytes, S16 to S18, S20, S21, L7, L8, L10's missing targets, L11.

mod exposure;
mod rest;
mod save;
mod serving;
mod write;

use std::fmt;

pub use self::{
    exposure::{Exposure, exposure, needed, ratio_allows, settled, shared_allows},
    rest::{check_decision, is_good},
    save::check_save,
    serving::{check_serving, serves},
    write::{after, check_write},
};

/// One broken property.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Violation {
    /// The property, as [`STATEMENTS`] lists it.
    pub id: &'static str,
    /// What was wrong, with the values.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.message)
    }
}

/// Every property that is checked here: its id and what it promises in one sentence.
pub const STATEMENTS: &[(&str, &str)] = &[
    (
        "S1",
        "No write gives an arm that is not stable more than the present step authorises, or than it has; by ratio its \
         replicas are no larger a part than the weight, and a part leaves stable one.",
    ),
    (
        "S2",
        "Traffic of an arm rises only if the arm is stamped with the present epoch and enough of it is ready; no request is \
         sent into nothing, or for long to what answers nothing while another arm answers.",
    ),
    ("S3", "Replicas are lowered only once every route is stamped, settled, and needs fewer of them."),
    (
        "S4",
        "A step ends, and a canary becomes stable, only after every gate passed, with no failed guard, and while everything is \
         there that judges it; nothing begins before it is.",
    ),
    ("S5", "An accepted abort is never erased and comes before anything else."),
    ("S6", "While a rollout turns back, the traffic of its canary never rises."),
    ("S7", "Every write carries the version that was seen and the present epoch, and the epoch never falls."),
    ("S9", "The status moves one step forward at most, and authority changes only with a new epoch."),
    (
        "S10",
        "A change of phase has a recorded cause: an order that exists, a verdict that was given, a time.",
    ),
    ("S11", "Stable is neither retired nor replaced, nor given away, before its successor is committed."),
    (
        "S12",
        "Weights sum to all requests, and replicas stay between what may be missing and what may be surplus.",
    ),
    (
        "S14",
        "Evidence counts only for its attempt and revision, that of traffic only while the split is authorised and settled, and \
         what is measured anew has its whole time.",
    ),
    ("S15", "What is not known, switched off, sized by its owner, or taken back by the user is not touched."),
    ("S19", "What is remembered is bounded."),
    (
        "S22",
        "A rollout that is deleted leaves all traffic on ready replicas of stable; where its workload is gone too, it leaves.",
    ),
    ("S23", "No effect outside is authorised by a status that a crash could still forget."),
    ("L2", "An abort ends: past its deadline it waits for nothing but one ready replica and the data plane."),
    ("L3", "Whoever rests says what for, and by when unless only a person or an observation can end it."),
    (
        "L4",
        "A rollout that waits longer than the progress deadline turns back, or holds if the plan says so.",
    ),
    ("L5", "A new or reverted revision is taken up in every phase."),
    ("L9", "Where nothing changes nothing is written, and no wake-up lies in the past."),
];

/// Collects violations of one decision.
struct Findings(Vec<Violation>);

impl Findings {
    /// Notes `message` under `id` unless `holds`.
    fn require(&mut self, holds: bool, id: &'static str, message: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation { id, message: message() });
        }
    }
}
