//! What a judge answers.

use serde::{Deserialize, Serialize};

use crate::{
    poll::{Counts, Missing},
    stats::ratio::FARTHEST,
};

/// What the evidence supports.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// More evidence is needed.
    Pending,
    /// The canary is no worse than allowed.
    Pass,
    /// The canary is worse than allowed.
    Fail,
    /// The evidence is exhausted and decides nothing.
    Inconclusive,
    /// It could not be measured. Never a reason to roll a fleet back by itself.
    Error,
}

impl Verdict {
    /// Lower case, as in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::Error => "error",
        }
    }
}

/// A judge's answer about one metric.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What the evidence supports.
    pub verdict: Verdict,
    /// Why, in one sentence with the numbers.
    pub because: String,
    /// What the verdict rests on, for judges that weigh evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What limits the verdict's meaning, in a fixed order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

impl Finding {
    /// A verdict with its reason, without weighed evidence.
    pub fn new(verdict: Verdict, because: String) -> Self {
        Self { verdict, because, evidence: None, warnings: Vec::new() }
    }
}

/// Weighed evidence, in natural logarithms.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Evidence that the canary is worse than allowed.
    pub ln_e_bad: f64,
    /// What it must reach to fail.
    pub ln_e_bad_needed: f64,
    /// Evidence that the canary is not worse than the margin of promotion.
    pub ln_e_good: f64,
    /// What it must reach to pass.
    pub ln_e_good_needed: f64,
    /// Requests of the canary so far (slow ones are counted in the bound with the most evidence).
    pub canary: Counts,
    /// Requests of the baseline so far.
    pub baseline: Counts,
    /// Estimated ratio of the rates of bad requests (gauges: of the means), canary to baseline. `None` before
    /// anything can be said.
    pub ratio: Option<f64>,
    /// The interval that holds the true ratio at every moment with 95 % confidence; only on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// Dispersion that the evidence was divided for; 1 when it is unknown or negligible.
    pub phi: f64,
    /// For latency: the bound, in the metric's own unit, at which most evidence was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// Seconds until the canary would be rolled back at the present rate. `None`: not on this course.
    pub seconds_to_fail: Option<f64>,
    /// Seconds until it would pass. `None`: not on this course.
    pub seconds_to_pass: Option<f64>,
    /// Probability that the canary is worse, where a prior probability was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability_bad: Option<f64>,
}

impl Evidence {
    /// The ratio, unless it only stands for "no limit found", as beside a baseline that has no bad request.
    #[must_use]
    pub fn ratio_found(&self) -> Option<f64> {
        self.ratio.filter(|it| *it < FARTHEST)
    }
}

/// What limits the meaning of a verdict.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Warning {
    /// Nothing is known of how errors or slow requests clump, because there are no counts per pod.
    DispersionUnknown,
    /// Errors clump: evidence is divided.
    Dispersed {
        /// By how much more they vary than independent ones.
        phi: f64,
    },
    /// Errors clump so much that single requests say nothing; whole polls are compared instead.
    TooClumped {
        /// By how much more they vary than independent ones.
        phi: f64,
    },
    /// Slow requests clump: evidence at this bound, and less of it at others, is divided.
    SlowOnesClump {
        /// The bound at which they clump most.
        bound: f64,
        /// By how much more they vary there than independent ones.
        phi: f64,
    },
    /// The canary does not get the share of requests that was asked for. Promotion is withheld.
    SampleRatioMismatch {
        /// The share asked for last.
        asked: f64,
        /// The share it got over the whole window.
        got: f64,
    },
    /// Stable itself violates the objective; sending traffic back to it would not help.
    StableViolatesObjective {
        /// Stable's share of bad requests.
        rate: f64,
    },
    /// Some polls could not be judged.
    Missing {
        /// How many.
        polls: u64,
        /// Why the last one could not.
        last: Missing,
    },
    /// The judge got a kind of reading that it cannot use.
    WrongKind,
    /// Bounds of the histogram changed in mid-run; evidence at vanished bounds stays as it was.
    BoundsChanged,
}

impl Warning {
    /// One sentence for people.
    pub fn describe(&self) -> String {
        match self {
            Self::DispersionUnknown => {
                "dispersion unknown: no counts of two pods of the baseline or more, before the canary or beside it"
                    .to_owned()
            }
            Self::Dispersed { phi } => {
                format!("errors clump (dispersion {phi:.2}): evidence is divided by {:.2}", 1.2 * phi)
            }
            Self::TooClumped { phi } => {
                format!(
                    "errors clump too much (dispersion {phi:.1}) to count single requests: polls are compared as wholes"
                )
            }
            Self::SlowOnesClump { bound, phi } => format!(
                "slow requests clump (dispersion {phi:.2} above {bound}): evidence there is divided by {:.2}",
                1.2 * phi
            ),
            Self::SampleRatioMismatch { asked, got } => format!(
                "the canary got {:.2} % of the requests, {:.2} % were asked for: promotion is withheld",
                100.0 * got,
                100.0 * asked
            ),
            Self::StableViolatesObjective { rate } => {
                format!(
                    "stable itself violates the objective ({:.3} % bad): going back to it would not help",
                    100.0 * rate
                )
            }
            Self::Missing { polls, last } => {
                format!("{polls} polls could not be judged, the last one for {}", last.describe())
            }
            Self::WrongKind => "the judge cannot use this kind of reading".to_owned(),
            Self::BoundsChanged => "the histogram's bounds changed in mid-run".to_owned(),
        }
    }
}
