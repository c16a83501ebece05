//! Promotion beside a baseline that has no bad request at all.
//!
//! "Not twice as bad as nothing" cannot be shown by counting bad requests: there are none. What can be shown is that
//! the canary's own share of them is below what is negligible, and that the baseline really has none. Against
//! "worse by the margin and not negligible" either way of showing the contrary will do, so the two are mixed into
//! one e-process; a single bad request of the baseline ends this one.

use serde::{Deserialize, Serialize};

use super::errors::At;
use crate::{
    poll::Counts,
    stats::{absolute::Objective, log, mixture::Plain},
};

/// Rates that are bet on, as multiples of the negligible one, and how much on each.
const BETTER: [f64; 3] = [0.02, 0.1, 0.3];
const SHARES: [f64; 3] = [0.4, 0.4, 0.2];

/// The share of the bet on promotion that goes here; the rest is the comparison's.
const SHARE: f64 = 0.03;

/// So many bad requests a baseline at a fifth of the negligible rate would have on average before its having none
/// counts: by chance it has none in 0.7 % of all cases.
const EXPECTED: f64 = 5.0;
const FIFTH: f64 = 5.0;

/// What is derived from the configuration once.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    against: Objective,
    ln_share: [f64; 3],
    /// Requests of the baseline, none of them bad, before this says anything.
    needed: u64,
}

/// What is remembered.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Flawless {
    negligible: Plain,
}

impl Tables {
    pub(super) fn new(negligible: f64) -> Self {
        Self {
            against: Objective::new(negligible, &[], &BETTER),
            ln_share: SHARES.map(f64::ln),
            needed: (EXPECTED * FIFTH / negligible).ceil() as u64,
        }
    }
}

impl Flawless {
    pub(super) fn new() -> Self {
        Self { negligible: Plain::new(BETTER.len()) }
    }

    pub(super) fn add(&mut self, tables: &Tables, at: At, canary: Counts) {
        let negligible = &mut self.negligible;
        tables.against.each_better(canary.total, canary.bad, |i, it| negligible.add(i, at.tempering * it));
    }

    /// The evidence of the comparison, `compared`, mixed with this one.
    pub(super) fn mixed_with(&self, tables: &Tables, compared: f64, baseline: Counts) -> f64 {
        let compared = compared + (1.0 - SHARE).ln();
        match baseline.bad == 0 && tables.needed <= baseline.total {
            true => log::add_exp(compared, self.negligible.ln_e(&tables.ln_share) + SHARE.ln()),
            false => compared,
        }
    }
}
