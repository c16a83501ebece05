//! Counts of requests and of bad ones.

use serde::{Deserialize, Serialize};

use super::{Tables, flawless::Flawless, gauge::Gauge};
use crate::{
    poll::Counts,
    stats::{
        absolute,
        dispersion::TOO_CLUMPED,
        increment::{self, Stratum},
        log,
        mixture::{Mixture, Plain, Starts},
        ratio::Strata,
        sample_ratio::SampleRatio,
    },
};

/// Half of the allowance for false roll backs goes to the comparison, half to the objective.
const LN_HALF: f64 = -std::f64::consts::LN_2;

/// What is remembered of a metric of counts.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Errors {
    worse: Mixture,
    good: Plain,
    flawless: Flawless,
    objective: Option<AgainstObjective>,
    pub(super) assignment: SampleRatio,
    pub(super) strata: Strata,
    pub(super) canary: Counts,
    pub(super) baseline: Counts,
    /// The share of requests asked for last.
    pub(super) asked: Option<f64>,
    /// Whole polls, where single requests say nothing.
    clumped: Option<Gauge>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct AgainstObjective {
    worse: Mixture,
    better: Plain,
}

/// Evidence both ways after a poll.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Both {
    pub(super) bad: f64,
    pub(super) good: f64,
}

/// One poll, with where it belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    /// Stratum of the 10 s grid, from 0.
    pub(super) stratum: u32,
    /// The share of requests asked for the canary.
    pub(super) asked: Option<f64>,
    /// What increments are multiplied with.
    pub(super) tempering: f64,
}

impl Errors {
    pub(super) fn new(starts: Starts, tables: &Tables, phi: Option<f64>) -> Self {
        let objective = tables.objective.as_ref().map(|objective| AgainstObjective {
            worse: Mixture::new(starts),
            better: Plain::new(objective.alternatives().1),
        });
        Self {
            worse: Mixture::new(starts),
            good: Plain::new(tables.good.psi.len()),
            flawless: Flawless::new(),
            objective,
            assignment: SampleRatio::default(),
            strata: Strata::default(),
            canary: Counts::default(),
            baseline: Counts::default(),
            asked: None,
            clumped: phi.is_some_and(|it| TOO_CLUMPED < it).then(Gauge::default),
        }
    }

    pub(super) fn add(&mut self, tables: &Tables, at: At, canary: Counts, baseline: Option<Counts>) {
        self.canary.add(canary);
        self.asked = at.asked;
        if let (Some(objective), Some(against)) = (&mut self.objective, &tables.objective) {
            objective.worse.begin(at.stratum, against.alternatives().0);
            against.each_worse(canary.total, canary.bad, |i, it| objective.worse.add(i, at.tempering * it));
            against.each_better(canary.total, canary.bad, |i, it| objective.better.add(i, at.tempering * it));
        }
        let Some(baseline) = baseline else { return };
        self.baseline.add(baseline);
        let stratum = Stratum {
            canary_total: canary.total,
            canary_bad: canary.bad,
            baseline_total: baseline.total,
            baseline_bad: baseline.bad,
        };
        self.worse.begin(at.stratum, tables.errors.psi.len());
        if let Some(whole) = &mut self.clumped {
            let arm = |it: Counts| (it.bad as f64, it.total as f64);
            whole.add(at.stratum, arm(canary), arm(baseline), tables);
        } else {
            let (worse, good, by) = (&mut self.worse, &mut self.good, at.tempering);
            increment::each(stratum, tables.psi0, &tables.errors.psi, |i, it| worse.add(i, by * it));
            increment::each(stratum, tables.margin, &tables.good.psi, |i, it| good.add(i, by * it));
        }
        self.flawless.add(&tables.flawless, at, canary);
        self.strata.add(at.stratum, stratum, at.asked);
        if let Some(asked) = at.asked {
            self.assignment.add(canary.total, stratum.total(), asked, at.tempering);
        }
    }

    /// Whether whole polls are compared, because single requests say nothing.
    pub(super) fn as_wholes(&self) -> bool {
        self.clumped.is_some()
    }

    pub(super) fn evidence(&self, tables: &Tables) -> Both {
        let compared = match &self.clumped {
            Some(whole) => whole.evidence(tables),
            None => Both {
                bad: self.worse.ln_e(&tables.errors.ln_share),
                good: self.flawless.mixed_with(
                    &tables.flawless,
                    self.good.ln_e(&tables.good.ln_share),
                    self.baseline,
                ),
            },
        };
        let Some(objective) = &self.objective else { return compared };
        let violated = objective.worse.ln_e(&tables.errors.ln_share);
        let compared_only = compared.bad + LN_HALF;
        let bad = if self.stable_violates(tables) { compared_only } else { log::add_exp(compared_only, violated + LN_HALF) };
        let good = if self.baseline.total == 0 { self.kept(tables) } else { compared.good };
        Both { bad, good }
    }

    /// Evidence that the objective is kept.
    fn kept(&self, tables: &Tables) -> f64 {
        let ln_share = &tables.good.ln_share[..3];
        let whole = log::sum_exp(ln_share.iter().copied());
        self.objective.as_ref().map_or(0.0, |it| it.better.ln_e(ln_share) - whole)
    }

    /// Whether the baseline's own rate is above the objective's.
    pub(super) fn stable_violates(&self, tables: &Tables) -> bool {
        let allowed = tables.objective.as_ref().map(absolute::Objective::allowed);
        matches!((self.baseline.rate(), allowed), (Some(rate), Some(allowed)) if allowed < rate)
    }
}
