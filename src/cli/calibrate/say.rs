//! What came of trying stable beside itself, in words and as data.

use std::time::Duration;

use analysis::{
    AnyJudge,
    calibrate::{Calibrated, CannotTry, MetricHistory, runs_needed},
};
use serde::Serialize;

use crate::{
    cli::{Exit, color, output::table, words},
    spec::forecast::number,
};

/// What came of it. Stable.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Said {
    /// How long a run was. Seconds.
    run_s: f64,
    metrics: Vec<Metric>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    analysis: String,
    metric: String,
    /// The rate of false roll backs that the judge promises; `None`: it promises none.
    promised: Option<f64>,
    /// Length of the history. Seconds.
    history_s: f64,
    #[serde(flatten)]
    tried: Tried,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Tried {
    Runs(Runs),
    #[serde(rename_all = "camelCase")]
    Nothing {
        not_tried: String,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Runs {
    rolled_back: u64,
    promoted: u64,
    /// The true rate of false roll backs lies in it with 95 % confidence.
    rate: (f64, f64),
    /// Half of those that were promoted were so within this. Seconds.
    median_to_promotion_s: Option<f64>,
    /// The share of requests that the pods had which played the canary, on average.
    weight: f64,
    #[serde(flatten)]
    calibrated: Calibrated,
}

impl Said {
    pub(super) fn of(tried: Vec<(&MetricHistory, Result<Calibrated, CannotTry>)>, run: Duration) -> Self {
        Self {
            run_s: run.as_secs_f64(),
            metrics: tried.into_iter().map(|(it, tried)| Metric::of(it, tried)).collect(),
        }
    }

    /// Whether a promise is seen to be broken.
    pub(super) fn exit(&self) -> Exit {
        let runs = || self.metrics.iter().filter_map(|it| Some((it.promised, it.runs()?)));
        if runs().any(|(promised, it)| promised.is_some_and(|promised| promised < it.rate.0)) {
            return Exit::RolledBack;
        }
        if runs().next().is_some() { Exit::Done } else { Exit::Undecided }
    }

    pub(super) fn text(&self) -> String {
        let mut rows = vec![
            ["METRIC", "RUNS", "CANARY", "ROLLED BACK", "RATE (95 %)", "PROMISED", "PROMOTED", "DISPERSION"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(self.metrics.iter().filter_map(|it| Some(it.row(it.runs()?))));
        let mut lines = vec![];
        if 1 < rows.len() {
            lines.push(table(&rows).trim_end().to_owned());
        }
        for it in &self.metrics {
            lines.extend(it.notes(self.run_s).into_iter().map(|note| format!("{}: {note}", it.name())));
        }
        if self.metrics.is_empty() {
            lines.push("no metric counts requests: there is nothing to try".to_owned());
        }
        lines.join("\n")
    }
}

impl Metric {
    fn of(it: &MetricHistory, tried: Result<Calibrated, CannotTry>) -> Self {
        let promised = match &it.judge {
            AnyJudge::Sequential(judge) => Some(judge.roll_back.alpha.get() * it.part),
            AnyJudge::Threshold(_)
            | AnyJudge::Pods(_)
            | AnyJudge::Answers(_)
            | AnyJudge::Leak(_)
            | AnyJudge::Kayenta(_)
            | AnyJudge::FixedHorizon(_) => None,
        };
        let tried = match tried {
            Ok(it) => Tried::Runs(Runs {
                rolled_back: it.rolled_back(),
                promoted: it.promoted(),
                rate: it.interval(),
                median_to_promotion_s: it.median_to_promotion(),
                weight: it.runs.iter().map(|it| it.weight).sum::<f64>() / it.runs.len() as f64,
                calibrated: it,
            }),
            Err(why) => Tried::Nothing { not_tried: why.to_string() },
        };
        let (analysis, metric) = (it.analysis.clone(), it.metric.clone());
        Self { analysis, metric, promised, history_s: it.windows.iter().map(|it| it.seconds).sum(), tried }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.analysis, self.metric)
    }

    fn runs(&self) -> Option<&Runs> {
        match &self.tried {
            Tried::Runs(it) => Some(it),
            Tried::Nothing { .. } => None,
        }
    }

    fn row(&self, it: &Runs) -> Vec<String> {
        let broken = self.promised.is_some_and(|promised| promised < it.rate.0);
        let style = if broken { color::BAD } else { color::GOOD };
        let rate = format!("{} – {}", percent(it.rate.0), percent(it.rate.1));
        let promoted = match it.median_to_promotion_s {
            Some(median) => format!("{}, median {}", it.promoted, span(median)),
            None => it.promoted.to_string(),
        };
        vec![
            self.name(),
            it.calibrated.runs.len().to_string(),
            format!("{} of {} pods, {}", it.calibrated.canary_pods, it.calibrated.pods, percent(it.weight)),
            color::paint(style, it.rolled_back).to_string(),
            rate,
            self.promised.map_or_else(|| "–".to_owned(), percent),
            promoted,
            it.calibrated.phi.map_or_else(|| "unknown".to_owned(), |it| format!("{it:.2}")),
        ]
    }

    /// What is to be known besides the figures.
    fn notes(&self, run_s: f64) -> Vec<String> {
        let it = match &self.tried {
            Tried::Nothing { not_tried } => return vec![format!("not tried: {not_tried}")],
            Tried::Runs(it) => it,
        };
        let mut notes = vec![];
        let runs = it.calibrated.runs.len() as u64;
        if let Some(promised) = self.promised {
            let needed = runs_needed(promised);
            if promised < it.rate.0 {
                notes.push(
                    "more are rolled back than promised: pods differ in a way that was not there before; \
                     raise `worseThan` above that difference, or set `dryRun`"
                        .to_owned(),
                );
            } else if runs < needed {
                notes.push(format!(
                    "{} cannot show {}: {} without any roll back could, {} of history",
                    words::counted(runs, "run"),
                    percent(promised),
                    words::count(needed),
                    span(needed as f64 * run_s)
                ));
            }
        } else {
            notes.push("this judge promises no rate of false roll backs".to_owned());
        }
        if it.calibrated.phi.is_none() {
            notes.push("too few bad requests to tell whether they clump".to_owned());
        }
        notes
    }
}

fn percent(share: f64) -> String {
    format!("{} %", number_of_percent(100.0 * share))
}

fn number_of_percent(it: f64) -> String {
    if it == 0.0 || 1.0 <= it { number(it) } else { format!("{it:.2}") }
}

fn span(seconds: f64) -> String {
    words::span(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
