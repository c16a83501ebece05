//! What a run says about itself.

use serde::{Deserialize, Serialize};

use super::{Ended, Reading, Run};
use crate::{
    finding::{Evidence, Finding, Verdict},
    judge::{AnyJudge, Judging},
    stats::log,
};

/// The run as a whole: the evidence of all metrics that weigh some.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Combined {
    /// Evidence of harm: the weighted mean of the metrics', valid whatever they have to do with each other.
    pub ln_e_bad: f64,
    /// What it must reach to fail.
    pub ln_e_bad_needed: f64,
    /// Evidence for promotion of the metric that has least, measured from what it needs.
    pub ln_e_good: f64,
    /// What that metric needs.
    pub ln_e_good_needed: f64,
}

/// The state of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What the evidence supports; pending while the run goes on.
    pub verdict: Verdict,
    /// When and why it ended, if it has.
    pub ended: Option<Ended>,
    /// Evidence of all metrics together, if any weighs some.
    pub combined: Option<Combined>,
    /// Each metric, in the document's order.
    pub metrics: Vec<MetricReport>,
}

/// The state of one metric.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricReport {
    /// Its name.
    pub name: String,
    /// What its judge says.
    pub finding: Finding,
    /// Whether it decides nothing.
    pub dry_run: bool,
    /// How many polls there were.
    pub polls: u64,
    /// How many of them could not be judged.
    pub missing: u64,
    /// The last readings, oldest first.
    pub readings: Vec<Reading>,
}

impl Run {
    /// The state of the run, with a sentence per metric.
    pub fn report(&self) -> Report {
        let metrics = self.spec.metrics.iter().zip(&self.judging).zip(&self.progress);
        Report {
            verdict: self.ended.as_ref().map_or(Verdict::Pending, |it| it.verdict),
            ended: self.ended.clone(),
            combined: self.combined(),
            metrics: metrics
                .map(|((metric, judging), progress)| MetricReport {
                    name: metric.name.clone(),
                    finding: judging.finding(),
                    dry_run: metric.dry_run,
                    polls: progress.polls,
                    missing: progress.missing,
                    readings: progress.readings.iter().copied().collect(),
                })
                .collect(),
        }
    }

    /// Evidence of all metrics together: `sum_j share_j alpha_j E_j` against one. Its expectation is at most
    /// `sum_j share_j alpha_j`, which is the allowance of the run.
    pub fn combined(&self) -> Option<Combined> {
        let weighing =
            || self.deciding().filter(|(metric, _)| matches!(metric.judge, AnyJudge::Sequential(_)));
        let all: Vec<Evidence> =
            weighing().filter_map(|(_, judging): (_, &Judging)| judging.evidence()).collect();
        let needed = -log::sum_exp(all.iter().map(|it| -it.ln_e_bad_needed));
        let least = all.iter().min_by(|a, b| {
            (a.ln_e_good - a.ln_e_good_needed).total_cmp(&(b.ln_e_good - b.ln_e_good_needed))
        })?;
        Some(Combined {
            ln_e_bad: log::sum_exp(all.iter().map(|it| it.ln_e_bad - it.ln_e_bad_needed)) + needed,
            ln_e_bad_needed: needed,
            ln_e_good: least.ln_e_good,
            ln_e_good_needed: least.ln_e_good_needed,
        })
    }

    /// The judge of metric number `metric` at work.
    pub fn judging(&self, metric: usize) -> &Judging {
        &self.judging[metric]
    }

    /// The interval that holds metric number `metric`'s true ratio with 95 % confidence. Costs milliseconds.
    pub fn interval(&self, metric: usize) -> Option<(f64, f64)> {
        self.judging[metric].interval()
    }
}
