//! Evidence as two bars per metric: towards roll back, and towards promotion.

use std::collections::BTreeMap;

use ratatui::text::{Line, Span};
use strategies::{Name, Verdict};

use super::{Theme, bar};
use crate::{
    api::view::{AnalysisView, EvidenceView, MetricView, RolloutView},
    cli::words,
    spec::forecast::number,
};

/// A metric as all analyses that weigh it see it.
struct Row<'a> {
    metric: &'a MetricView,
    /// How far it is to a roll back, `0.0 ..= 1.0`; `None`: it cannot cause one.
    bad: Option<f64>,
    /// How far it is to a promotion; `None`: it cannot cause one.
    good: Option<f64>,
}

pub(super) fn evidence(view: &RolloutView, width: usize, theme: Theme) -> Vec<Line<'static>> {
    if !view.phase.is_moving() {
        return vec![];
    }
    let rows = rows(&view.analyses);
    let mut lines = vec![];
    let room = width.saturating_sub(32).checked_div(2).unwrap_or(0).clamp(4, 24);
    if rows.values().any(|it| it.bad.is_some() || it.good.is_some()) {
        let left = format!("{:<14}{:<wide$}", "", "towards roll back", wide = room + 8);
        lines.push(Line::from(Span::styled(format!("{left}towards promotion"), theme.dim())));
    }
    for row in rows.values() {
        lines.extend(metric(row, room, theme));
    }
    lines.extend(sight(view, theme));
    lines
}

fn rows(analyses: &[AnalysisView]) -> BTreeMap<&Name, Row<'_>> {
    let running = analyses.iter().any(|it| it.verdict == Verdict::Pending);
    let mut rows: BTreeMap<&Name, Row<'_>> = BTreeMap::new();
    for analysis in analyses.iter().filter(|it| !running || it.verdict == Verdict::Pending) {
        for metric in &analysis.metrics {
            let (bad, good) = metric.evidence.as_ref().map_or((None, None), |it| (bad(it), good(it)));
            let row = rows.entry(&metric.name).or_insert(Row { metric, bad: None, good: None });
            row.bad = larger(row.bad, bad);
            row.good = larger(row.good, good);
            if metric.polls > row.metric.polls {
                row.metric = metric;
            }
        }
    }
    rows
}

fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

fn bad(evidence: &EvidenceView) -> Option<f64> {
    evidence.ln_e_bad_needed.map(|needed| (evidence.ln_e_bad / needed).clamp(0.0, 1.0))
}

fn good(evidence: &EvidenceView) -> Option<f64> {
    // What needs nothing promotes nothing.
    let needed = evidence.ln_e_good_needed.filter(|needed| 0.0 < *needed);
    needed.map(|needed| (evidence.ln_e_good / needed).clamp(0.0, 1.0))
}

fn metric(row: &Row<'_>, room: usize, theme: Theme) -> Vec<Line<'static>> {
    let name = format!("{:<14.13}", row.metric.name);
    let mut lines = vec![];
    if row.bad.is_none() && row.good.is_none() {
        let style = match row.metric.verdict {
            Verdict::Fail => theme.bad(),
            Verdict::Inconclusive | Verdict::Error => theme.warn(),
            Verdict::Pending | Verdict::Pass => theme.dim(),
        };
        lines.push(Line::from(vec![Span::raw(name), Span::styled(row.metric.because.clone(), style)]));
    } else {
        let mut spans = vec![Span::raw(name)];
        for (share, style) in [(row.bad, theme.bad()), (row.good, theme.good())] {
            match share {
                Some(share) => {
                    let (full, empty) = bar::bar(share, room);
                    spans.push(Span::styled(full, style));
                    spans.push(Span::styled(empty, theme.dim()));
                    spans.push(Span::raw(format!(" {:>3.0} %  ", (100.0 * share).floor())));
                }
                None => spans.push(Span::styled(format!("{:<wide$}", "–", wide = room + 8), theme.dim())),
            }
        }
        spans.push(Span::styled(ahead(row), theme.dim()));
        lines.push(Line::from(spans));
        lines.extend(row.metric.evidence.as_ref().and_then(|it| compared(row, it, theme)));
    }
    for warning in &row.metric.warnings {
        lines.push(Line::from(Span::styled(format!("  {warning}"), theme.warn())));
    }
    lines
}

/// What the present step can see, in one line.
fn sight(view: &RolloutView, theme: Theme) -> Option<Line<'static>> {
    let it = view.sight?;
    let span = |seconds: f64| {
        let length = std::time::Duration::try_from_secs_f64(seconds.ceil()).ok()?;
        Some(words::span(length))
    };
    let mut text = match it.detect_s.and_then(span) {
        Some(time) => format!(
            "can see: {}x the errors after about {time}, at {} failed requests",
            number(it.matters),
            number(it.damage.round())
        ),
        None => format!("can not see {}x the errors", number(it.matters)),
    };
    if let Some(smallest) = it.smallest {
        text += &format!("; {smallest:.2}x within this step");
    }
    Some(Line::from(Span::styled(text, theme.dim())))
}

/// When it is over at the present rate.
fn ahead(row: &Row<'_>) -> String {
    let Some(evidence) = &row.metric.evidence else { return String::new() };
    let at = |seconds: Option<f64>| {
        // What is there already needs no time.
        let seconds = seconds.filter(|it| 0.0 < *it && *it < 86_400.0)?;
        Some(words::span(std::time::Duration::from_secs_f64(seconds.ceil())))
    };
    match (row.bad.and(at(evidence.seconds_to_fail)), row.good.and(at(evidence.seconds_to_pass))) {
        (Some(fail), _) if row.bad > Some(0.0) => format!("fails in ~{fail}"),
        (_, Some(pass)) => format!("~{pass}"),
        (_, None) => String::new(),
    }
}

/// What is compared.
fn compared(row: &Row<'_>, evidence: &EvidenceView, theme: Theme) -> Option<Line<'static>> {
    if row.good.is_none() {
        // No requests, but pods: what happened to them is said in words.
        return Some(Line::from(Span::styled(format!("  {}", row.metric.because), theme.dim())));
    }
    let side = |it: &crate::api::view::Counts| {
        format!("{} of {}", words::percentage(it.bad, it.total), words::count(it.total))
    };
    if evidence.canary.total == 0 {
        return Some(Line::from(Span::styled(format!("  {}", row.metric.because), theme.dim())));
    }
    // Of latency, a bound that everybody or nobody keeps says nothing.
    if evidence.bound.is_some() && evidence.ratio.is_none() {
        return None;
    }
    let bound = evidence.bound.map(|it| format!(" slower than {}", words::latency(it))).unwrap_or_default();
    let ratio = evidence.ratio.map(|it| format!(", ×{it:.2}")).unwrap_or_default();
    let text =
        format!("  canary {}, stable {}{bound}{ratio}", side(&evidence.canary), side(&evidence.baseline));
    Some(Line::from(Span::styled(text, theme.dim())))
}
