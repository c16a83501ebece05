use std::time::Duration;

use analysis::{Evidence, run::Combined};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strategies::{ActivityId, Name, Purpose, Verdict};

use super::{
    arms_now::Population,
    running::{Running, verdict},
};

/// Everything that is known of one analysis, for status, live view and explanations.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEvidence {
    /// Which run of which analysis.
    pub id: ActivityId,
    /// What its verdict is for.
    pub purpose: Purpose,
    /// The analyses of the document that it consists of.
    pub analyses: Vec<Name>,
    /// When it began.
    pub began: Timestamp,
    /// What it said so far.
    pub verdict: Verdict,
    /// When it ended, if it has.
    pub ended: Option<Timestamp>,
    /// Why, in one sentence with the numbers.
    pub because: String,
    /// Whether samples of now belong to it.
    pub counting: bool,
    /// Which requests it looks at.
    pub population: Option<Population>,
    /// Evidence of all metrics together, in natural logarithms, if any weighs some.
    pub combined: Option<Combined>,
    /// Each metric, in the document's order.
    pub metrics: Vec<MetricEvidence>,
    /// Seconds in which samples would have counted and nobody looked.
    pub unseen_s: f64,
    /// What limits the meaning of all this, one sentence each.
    pub notes: Vec<String>,
}

/// Everything that is known of one metric.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricEvidence {
    /// Its name.
    pub name: String,
    /// What its judge says.
    pub verdict: Verdict,
    /// Why, in one sentence with the numbers.
    pub because: String,
    /// What it rests on, for judges that weigh evidence.
    pub evidence: Option<Evidence>,
    /// What limits the verdict's meaning, one sentence each.
    pub warnings: Vec<String>,
    /// Measured and shown, and not counted.
    pub dry_run: bool,
    /// How often it was measured.
    pub polls: u64,
    /// How often it could not be.
    pub missing: u64,
}

impl RunEvidence {
    pub(super) fn of(id: &ActivityId, running: &Running, history: Duration) -> Self {
        let report = running.run.report();
        let mut metrics: Vec<MetricEvidence> = report.metrics.into_iter().map(MetricEvidence::of).collect();
        for (metric, why) in &running.sampling.failures {
            if let Some(it) = metrics.get_mut(*metric) {
                it.warnings.push(format!("asked for last, it could not be had: {why}"));
            }
        }
        let because = match &report.ended {
            Some(ended) => ended.because.clone(),
            None => {
                let each = metrics.iter().map(|it| format!("{}: {}", it.name, it.because));
                each.collect::<Vec<_>>().join("; ")
            }
        };
        Self {
            id: id.clone(),
            purpose: running.purpose,
            analyses: running.analyses.clone(),
            began: running.run.began(),
            verdict: verdict(report.verdict),
            ended: report.ended.map(|it| it.at),
            because,
            counting: running.listed && running.sampling.counts_since.is_some(),
            population: running.sampling.population,
            combined: report.combined,
            metrics,
            unseen_s: running.sampling.unseen.as_secs_f64(),
            notes: notes(running, history),
        }
    }
}

fn notes(running: &Running, history: Duration) -> Vec<String> {
    let sampling = &running.sampling;
    let mut notes = sampling.notes.clone();
    match sampling.population {
        Some(it @ (Population::WeightAlone | Population::Match | Population::Mirror)) => {
            notes.push(it.describe().to_owned());
        }
        Some(Population::Weight) | None => {}
    }
    if sampling.left_out != 0 {
        notes.push(format!(
            "{} requests of the canary were routed by a match or a cookie and are not compared",
            sampling.left_out
        ));
    }
    if !sampling.unseen.is_zero() {
        notes.push(format!(
            "nobody looked for {:.0} s in which samples would have counted",
            sampling.unseen.as_secs_f64()
        ));
    }
    if !history.is_zero() {
        notes.push(format!(
            "dispersion was measured on stable's replicas for {:.0} min",
            history.as_secs_f64() / 60.0
        ));
    }
    notes
}

impl MetricEvidence {
    fn of(report: analysis::run::MetricReport) -> Self {
        let analysis::run::MetricReport { name, finding, dry_run, polls, missing, readings: _ } = report;
        Self {
            name,
            verdict: verdict(finding.verdict),
            because: finding.because,
            evidence: finding.evidence,
            warnings: finding.warnings.iter().map(analysis::Warning::describe).collect(),
            dry_run,
            polls,
            missing,
        }
    }
}
