//! The default judge: a stratified conditional e-process with restarts.
//!
//! Inside each poll it asks: given how many requests of both arms were bad, how many of them are the canary's?
//! Whatever makes both arms worse at the same time cancels. The same machine compares errors, every bucket of a
//! latency histogram and, with a margin, decides promotion. It may be looked at after every poll: all its promises
//! hold for the whole window, however often one looks.

mod baseline;
mod clumping;
mod errors;
mod flawless;
mod gauge;
mod latency;
mod sentence;
mod state;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{baseline::Baseline, state::State};
use crate::{
    finding::{Evidence, Finding, Verdict},
    judge::{Judge, Needs, Problem, Setting, Standing},
    poll::{Measured, Poll},
    stats::{absolute::Objective, prior::Prior},
    written::{Fraction, Ratio, Span},
};

/// Compares canary and baseline by a sequential test.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Sequential {
    /// When the canary is rolled back.
    pub roll_back: RollBack,
    /// When it is promoted.
    pub promote: Promote,
    /// Share of good requests that the canary must keep whatever the baseline does: `99.5%`. For counts only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<Fraction>,
    /// How long after its first request a canary is neither promoted nor judged by its latency. Errors count from
    /// the first request on. Default 1m.
    pub warm_up: WarmUp,
    /// What the canary is compared with.
    pub baseline: Baseline,
    /// For gauges: the range of their values, such as 0 to 1 for a utilisation; what lies beyond counts as its ends.
    /// With it the promise holds exactly and from the second batch on; without it approximately, after twelve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
    /// Probability that a release of this service is bad, from its history; adds the probability that this one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior: Option<Fraction>,
}

/// When the canary is rolled back.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RollBack {
    /// Worse than the baseline by more than this factor. Default 1.1x: five per cent more errors on a huge service
    /// are left alone; 1x flags any true difference.
    pub worse_than: Ratio,
    /// Probability of rolling back a canary that is not worse, over the whole window. Default 1%.
    pub alpha: Fraction,
}

/// When the canary is promoted.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Promote {
    /// Not worse than the baseline by this factor. Default 2x.
    pub not_worse_than: Ratio,
    /// Probability of promoting a canary that is. Default 5%.
    pub alpha: Fraction,
    /// Where the baseline has no bad request at all, no factor can be shown: then a canary passes whose share of bad
    /// requests is shown to be below this. For counts only. Default 0.5%.
    pub negligible: Fraction,
}

/// The range of a gauge.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Range {
    /// Smallest value.
    pub from: f64,
    /// Largest value.
    pub to: f64,
}

/// Length of the warm-up.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(transparent)]
pub struct WarmUp(pub Span);

impl Default for WarmUp {
    fn default() -> Self {
        Self(Span::seconds(60))
    }
}

impl Default for RollBack {
    fn default() -> Self {
        Self { worse_than: ratio(1.1), alpha: fraction(0.01) }
    }
}

impl Default for Promote {
    fn default() -> Self {
        Self { not_worse_than: ratio(2.0), alpha: fraction(0.05), negligible: fraction(0.005) }
    }
}

fn ratio(times: f64) -> Ratio {
    Ratio::new(times).unwrap_or_else(|why| unreachable!("default ratio: {why}"))
}

fn fraction(of_one: f64) -> Fraction {
    Fraction::new(of_one).unwrap_or_else(|why| unreachable!("default fraction: {why}"))
}

/// What is derived from the configuration once.
#[derive(Clone, Debug)]
pub struct Tables {
    psi0: f64,
    margin: f64,
    alpha_bad: f64,
    needed_bad: f64,
    alpha_good: f64,
    needed_good: f64,
    errors: Prior,
    latency: Prior,
    good: Prior,
    objective: Option<Objective>,
    flawless: flawless::Tables,
    range: Option<Range>,
}

impl Sequential {
    /// What the combined evidence must reach: the logarithm of `1 / (share alpha)`.
    fn needed_bad(&self, setting: &Setting) -> f64 {
        -(self.roll_back.alpha.get() * setting.share).ln()
    }
}

impl Judge for Sequential {
    type Tables = Tables;
    type State = State;

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let (worse, margin) = (self.roll_back.worse_than, self.promote.not_worse_than);
        if worse.times() < 1.0 {
            let message = format!("`{worse}` would roll back a canary that is better than the baseline: use 1x or more");
            problems.push(Problem::new(&["rollBack", "worseThan"], message));
        }
        if margin <= worse {
            let message = format!("`{margin}` must be more than rollBack.worseThan, which is {worse}");
            problems.push(Problem::new(&["promote", "notWorseThan"], message));
        }
        if self.objective.is_some_and(|it| it.get() <= 0.5) {
            problems.push(Problem::new(&["objective"], "is the share of good requests, such as 99.5%: more than 50%"));
        }
        if self.range.is_some_and(|it| !(it.from.is_finite() && it.to.is_finite() && 0.0 <= it.from && it.from < it.to)) {
            problems.push(Problem::new(&["range"], "needs 0 <= from < to: a ratio of means means nothing below zero"));
        }
        problems
    }

    fn needs(&self) -> Needs {
        if self.objective.is_some() { Needs::CanaryOnly } else { Needs::Baseline }
    }

    fn reads(&self, measured: &Measured) -> bool {
        matches!(measured, Measured::Counts { .. } | Measured::Histogram(_) | Measured::Values { .. })
    }

    fn tables(&self, setting: &Setting) -> Tables {
        let psi0 = self.roll_back.worse_than.times();
        let margin = self.promote.not_worse_than.times();
        let errors = Prior::errors_of_any_size();
        let good = Prior::promotion(margin);
        let better = Prior::promotion(1.0);
        Tables {
            psi0,
            margin,
            alpha_bad: self.roll_back.alpha.get() * setting.share,
            needed_bad: self.needed_bad(setting),
            alpha_good: self.promote.alpha.get(),
            needed_good: -self.promote.alpha.get().ln(),
            objective: self.objective.map(|it| Objective::new(1.0 - it.get(), &errors.psi, &better.psi[..3])),
            flawless: flawless::Tables::new(self.promote.negligible.get()),
            errors: errors.scaled(psi0),
            latency: Prior::latency().scaled(psi0),
            range: self.range,
            good,
        }
    }

    fn begin(&self, setting: &Setting) -> State {
        State::new(setting, self.warm_up.0)
    }

    fn observe(&self, setting: &Setting, tables: &Tables, state: &mut State, poll: &Poll) {
        state.observe(setting, tables, poll);
    }

    fn verdict(&self, _setting: &Setting, state: &State) -> Verdict {
        state.verdict()
    }

    fn standing(&self, _state: &State) -> Standing {
        Standing::Enough
    }

    fn evidence(&self, setting: &Setting, tables: &Tables, state: &State) -> Option<Evidence> {
        let mut evidence = state.evidence(setting, tables);
        evidence.probability_bad = self.prior.map(|prior| {
            let ln_odds = (prior.get() / (1.0 - prior.get())).ln() + evidence.ln_e_bad;
            1.0 / (1.0 + (-ln_odds).exp())
        });
        Some(evidence)
    }

    fn finding(&self, setting: &Setting, tables: &Tables, state: &State) -> Finding {
        let evidence = self.evidence(setting, tables, state);
        let because = sentence::because(state, tables, evidence.as_ref());
        Finding { verdict: state.verdict(), because, evidence, warnings: state.warnings() }
    }

    fn interval(&self, state: &State) -> Option<(f64, f64)> {
        state.interval()
    }
}

#[cfg(test)]
mod tests;
