use super::{ActivityId, Deserialize, Name, Purpose, Serialize, Timestamp, Verdict};
use crate::analyses;

/// What one running analysis says.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisView {
    /// Which run.
    pub id: ActivityId,
    /// What its verdict is for.
    pub purpose: Purpose,
    /// What it says so far.
    pub verdict: Verdict,
    /// One sentence with the numbers.
    pub because: Option<String>,
    /// When it began.
    pub since: Option<Timestamp>,
    /// Whether what is measured now belongs to it.
    pub counting: bool,
    /// The evidence of all its metrics together.
    pub combined: Option<Combined>,
    /// Metric by metric.
    pub metrics: Vec<MetricView>,
}

/// What errors a step can see at the traffic of this attempt, by the planner's laws.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SightView {
    /// Requests per second of both sides.
    pub requests_per_s: f64,
    /// Share of stable's requests that fail.
    pub error_rate: f64,
    /// The factor of errors that the next two are about.
    pub matters: f64,
    /// The expected time until a version as bad as that is rolled back. Seconds.
    pub detect_s: Option<f64>,
    /// Failed requests of users until then.
    pub damage: f64,
    /// The smallest factor that is seen within the step's time; `None`: not even a hundred, or the time is open.
    pub smallest: Option<f64>,
}

/// What is remembered of stable's replicas, so that stable can be judged beside itself.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CalibrationView {
    /// Metrics that count requests, analysis by analysis.
    pub metrics: Vec<analysis::calibrate::MetricHistory>,
}

/// The evidence of several metrics together, as natural logarithms.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Combined {
    /// Evidence of harm.
    pub ln_e_bad: f64,
    /// What it must reach to fail; `None`: it can't fail.
    pub ln_e_bad_needed: Option<f64>,
    /// Evidence for promotion of the metric that has least.
    pub ln_e_good: f64,
    /// What that must reach to pass; `None`: it can't pass.
    pub ln_e_good_needed: Option<f64>,
}

/// What one metric says.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricView {
    /// Its name.
    pub name: Name,
    /// What its judge says.
    pub verdict: Verdict,
    /// One sentence with the numbers.
    pub because: String,
    /// Whether it decides nothing.
    pub dry_run: bool,
    /// How often it was measured.
    pub polls: u64,
    /// How many of those could not be judged.
    pub missing: u64,
    /// What the verdict rests on, for judges that weigh evidence.
    pub evidence: Option<EvidenceView>,
    /// What limits the verdict's meaning, as sentences.
    pub warnings: Vec<String>,
}

/// Weighed evidence; a draw between two thresholds. Numbers that are not finite are left out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceView {
    /// Natural logarithm of the evidence that the canary is worse than allowed.
    pub ln_e_bad: f64,
    /// What it must reach to roll back.
    pub ln_e_bad_needed: Option<f64>,
    /// Natural logarithm of the evidence that the canary is no worse than the margin of promotion.
    pub ln_e_good: f64,
    /// What it must reach to pass.
    pub ln_e_good_needed: Option<f64>,
    /// Requests of the canary so far.
    pub canary: Counts,
    /// Requests of the baseline so far.
    pub baseline: Counts,
    /// Estimated ratio of the rates, canary to baseline.
    pub ratio: Option<f64>,
    /// The interval that holds the true ratio at every moment with 95 % confidence, where it was computed.
    pub interval: Option<(f64, f64)>,
    /// For latency: the bound at which most evidence was found.
    pub bound: Option<f64>,
    /// Seconds until it would be rolled back at the present rate.
    pub seconds_to_fail: Option<f64>,
    /// Seconds until it would pass at the present rate.
    pub seconds_to_pass: Option<f64>,
    /// Probability that the canary is worse, where a prior one was given.
    pub probability_bad: Option<f64>,
}

/// Requests as a judge counts them.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// All.
    pub total: u64,
    /// Bad ones.
    pub bad: u64,
}

impl From<analyses::RunEvidence> for AnalysisView {
    fn from(it: analyses::RunEvidence) -> Self {
        Self {
            id: it.id,
            purpose: it.purpose,
            verdict: it.verdict,
            because: Some(it.because),
            since: Some(it.began),
            counting: it.counting,
            combined: it.combined.map(|it| Combined {
                ln_e_bad: finite(it.ln_e_bad).unwrap_or(0.0),
                ln_e_bad_needed: finite(it.ln_e_bad_needed),
                ln_e_good: finite(it.ln_e_good).unwrap_or(0.0),
                ln_e_good_needed: finite(it.ln_e_good_needed),
            }),
            metrics: it.metrics.into_iter().map(MetricView::from).collect(),
        }
    }
}

impl From<analyses::MetricEvidence> for MetricView {
    fn from(it: analyses::MetricEvidence) -> Self {
        Self {
            name: it.name.into(),
            verdict: it.verdict,
            because: it.because,
            dry_run: it.dry_run,
            polls: it.polls,
            missing: it.missing,
            evidence: it.evidence.as_ref().map(EvidenceView::from),
            warnings: it.warnings,
        }
    }
}

impl From<&analysis::Evidence> for EvidenceView {
    fn from(it: &analysis::Evidence) -> Self {
        let counts = |it: &analysis::Counts| Counts { total: it.total, bad: it.bad };
        Self {
            ln_e_bad: finite(it.ln_e_bad).unwrap_or(0.0),
            ln_e_bad_needed: finite(it.ln_e_bad_needed),
            ln_e_good: finite(it.ln_e_good).unwrap_or(0.0),
            ln_e_good_needed: finite(it.ln_e_good_needed),
            canary: counts(&it.canary),
            baseline: counts(&it.baseline),
            ratio: it.ratio_found().and_then(finite),
            interval: it.interval.filter(|(low, high)| low.is_finite() && high.is_finite()),
            bound: it.bound.and_then(finite),
            seconds_to_fail: it.seconds_to_fail.and_then(finite),
            seconds_to_pass: it.seconds_to_pass.and_then(finite),
            probability_bad: it.probability_bad.and_then(finite),
        }
    }
}

fn finite(it: f64) -> Option<f64> {
    it.is_finite().then_some(it)
}
