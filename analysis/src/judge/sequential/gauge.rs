//! Gauges, and counts whose errors clump too much: whole batches are compared.

use serde::{Deserialize, Serialize};

use super::{Range, Tables, errors::Both};
use crate::stats::{gauge::Moments, sequence::betting::Hedged};

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
    /// Bets on the same differences, where the range of the values is known.
    bets: Option<(Hedged, Hedged)>,
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
        let within = |it: f64| tables.range.map_or(it, |range| it.clamp(range.from, range.to));
        let (c, b) = (within(canary.0 / canary.1), within(baseline.0 / baseline.1));
        self.bad.add(c - tables.psi0 * b);
        self.good.add(tables.margin * b - c);
        if let Some(range) = tables.range {
            let (bad, good) = (Scale::new(range, tables.psi0), Scale::new(range, tables.margin));
            let (up, down) =
                self.bets.get_or_insert_with(|| (Hedged::against(bad.zero()), Hedged::against(1.0 - good.zero())));
            up.add(bad.place(c - tables.psi0 * b));
            down.add(1.0 - good.place(c - tables.margin * b));
        }
        self.canary_mean.add(c);
        self.baseline_mean.add(b);
    }

    pub(super) fn evidence(&self, tables: &Tables) -> Both {
        if let Some((up, down)) = &self.bets {
            return Both { bad: up.ln_e_above(), good: down.ln_e_above() };
        }
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

/// Where a difference `canary - factor baseline` lies between its extremes, from 0 to 1.
#[derive(Clone, Copy, Debug)]
struct Scale {
    least: f64,
    width: f64,
}

impl Scale {
    fn new(range: Range, factor: f64) -> Self {
        let least = range.from - factor * range.to;
        Self { least, width: range.to - factor * range.from - least }
    }

    fn place(self, difference: f64) -> f64 {
        ((difference - self.least) / self.width).clamp(0.0, 1.0)
    }

    /// The place of no difference.
    fn zero(self) -> f64 {
        self.place(0.0)
    }
}
