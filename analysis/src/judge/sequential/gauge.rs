//! Gauges, and counts whose errors clump too much: whole batches are compared.

use serde::{Deserialize, Serialize};

use super::{Tables, errors::Both};
use crate::stats::gauge::Moments;

/// What is remembered of a gauge.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Gauge {
    /// The batch that is being filled, and its sums: `(sum of values, number of values)` per arm.
    batch: u32,
    canary: (f64, f64),
    baseline: (f64, f64),
    /// `canary - psi0 baseline` and `margin baseline - canary` per batch.
    bad: Moments,
    good: Moments,
    /// Means of the batches of each arm.
    canary_mean: Moments,
    baseline_mean: Moments,
}

impl Gauge {
    /// Adds sums and numbers of values of both arms to batch `index`, which never falls.
    pub(super) fn add(&mut self, index: u32, canary: (f64, f64), baseline: (f64, f64), tables: &Tables) {
        if index != self.batch {
            self.close(tables);
            self.batch = index;
        }
        self.canary = (self.canary.0 + canary.0, self.canary.1 + canary.1);
        self.baseline = (self.baseline.0 + baseline.0, self.baseline.1 + baseline.1);
    }

    fn close(&mut self, tables: &Tables) {
        let (canary, baseline) = (std::mem::take(&mut self.canary), std::mem::take(&mut self.baseline));
        if canary.1 == 0.0 || baseline.1 == 0.0 {
            return;
        }
        let (c, b) = (canary.0 / canary.1, baseline.0 / baseline.1);
        self.bad.add(c - tables.psi0 * b);
        self.good.add(tables.margin * b - c);
        self.canary_mean.add(c);
        self.baseline_mean.add(b);
    }

    pub(super) fn evidence(&self, tables: &Tables) -> Both {
        Both {
            bad: self.bad.ln_e_above_zero(tables.alpha_bad),
            good: self.good.ln_e_above_zero(tables.alpha_good),
        }
    }

    /// Batches that were compared.
    pub(super) fn batches(&self) -> u64 {
        self.bad.count()
    }

    /// Means of both arms.
    pub(super) fn means(&self) -> (f64, f64) {
        (self.canary_mean.mean(), self.baseline_mean.mean())
    }
}
