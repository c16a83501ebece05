//! What came of an analysis, in words and as data.

use std::collections::BTreeMap;

use analysis::{
    Finding, Verdict,
    run::{Combined, Ended, Reading},
};
use jiff::Timestamp;
use serde::Serialize;

use super::course::Done;
use crate::{
    chart::{Chart, Line},
    cli::{color, words},
};

/// What came of an analysis. Stable.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Said {
    began: Timestamp,
    verdict: Verdict,
    ended: Option<Ended>,
    combined: Option<Combined>,
    metrics: Vec<Metric>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    name: String,
    dry_run: bool,
    polls: u64,
    missing: u64,
    /// Why it could not be measured, and how often.
    failures: BTreeMap<String, u64>,
    /// After how long its judge had decided. Seconds.
    decided_s: Option<f64>,
    finding: Finding,
    readings: Vec<Reading>,
}

impl Said {
    pub(super) fn of(done: Done) -> Self {
        let Done { began, report, intervals, failures, paths } = done;
        let beside = intervals.into_iter().zip(failures).zip(paths);
        let metrics = report.metrics.into_iter().zip(beside).map(|(it, ((interval, failures), path))| {
            let mut finding = it.finding;
            if let Some(evidence) = &mut finding.evidence {
                evidence.interval = evidence.interval.or(interval);
            }
            Metric {
                name: it.name,
                dry_run: it.dry_run,
                polls: it.polls,
                missing: it.missing,
                failures,
                decided_s: path.decided,
                finding,
                readings: it.readings,
            }
        });
        Self {
            began,
            verdict: report.verdict,
            ended: report.ended,
            combined: report.combined,
            metrics: metrics.collect(),
        }
    }

    /// The verdict of the whole.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Metric by metric: name, verdict, and seconds until it was there.
    pub(super) fn decided(&self) -> impl Iterator<Item = (&str, Verdict, Option<f64>)> {
        self.metrics.iter().map(|it| (it.name.as_str(), it.finding.verdict, it.decided_s))
    }

    /// Seconds until the whole was decided.
    pub(super) fn ended(&self) -> Option<f64> {
        self.ended.as_ref().map(|it| it.at.duration_since(self.began).as_secs_f64())
    }

    pub(super) fn text(&self) -> String {
        let mut lines = vec![];
        for it in &self.metrics {
            let dry = if it.dry_run { " (dry run)" } else { "" };
            let verdict = color::paint(style(it.finding.verdict), it.finding.verdict.name());
            lines.push(format!(
                "{}{dry}: {verdict}: {}",
                color::paint(color::STRONG, &it.name),
                it.finding.because
            ));
            if let Some(evidence) = &it.finding.evidence {
                lines.push(format!(
                    "  canary {} bad of {}, baseline {} bad of {}{}",
                    words::count(evidence.canary.bad),
                    words::count(evidence.canary.total),
                    words::count(evidence.baseline.bad),
                    words::count(evidence.baseline.total),
                    ratio(evidence.ratio, evidence.interval)
                ));
            }
            for (why, times) in &it.failures {
                lines.push(format!("  {}: {why}", words::counted(*times, "time")));
            }
            lines.extend(it.finding.warnings.iter().map(|it| format!("  note: {}", it.describe())));
        }
        let because = self.ended.as_ref().map(|it| format!(": {}", it.because)).unwrap_or_default();
        lines.push(format!("{}{because}", color::paint(style(self.verdict), self.verdict.name())));
        lines.join("\n")
    }
}

/// The ways of all metrics that weigh evidence, as percent of what decides.
pub(super) fn picture(done: &Done) -> Option<Chart> {
    let paths = done.report.metrics.iter().zip(&done.paths).filter(|(_, path)| !path.points.is_empty());
    let lines = paths.flat_map(|(metric, path)| {
        let line = |(side, what): (usize, &str)| Line {
            name: format!("{}, {what}", metric.name),
            points: std::iter::once((0.0, 0.0))
                .chain(path.points.iter().map(|(after, shares)| (after / 60.0, 100.0 * shares[side])))
                .collect(),
        };
        [(0, "roll back"), (1, "promote")].map(line)
    });
    let lines: Vec<Line> = lines.collect();
    (!lines.is_empty()).then(|| Chart {
        title: format!("Evidence since {}: {}", done.began, done.report.verdict.name()),
        x: "minutes",
        y: "% of what is needed",
        mark: Some((100.0, "decided".to_owned())),
        lines,
    })
}

fn ratio(ratio: Option<f64>, interval: Option<(f64, f64)>) -> String {
    match (ratio, interval) {
        (Some(it), Some((low, high))) => format!("; ratio {it:.2}, between {low:.2} and {high:.2}"),
        (Some(it), None) => format!("; ratio {it:.2}"),
        (None, _) => String::new(),
    }
}

pub(super) fn style(verdict: Verdict) -> anstyle::Style {
    match verdict {
        Verdict::Pass => color::GOOD,
        Verdict::Fail => color::BAD,
        Verdict::Inconclusive | Verdict::Error => color::WARN,
        Verdict::Pending => anstyle::Style::new(),
    }
}
