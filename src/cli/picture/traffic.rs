//! The way ahead, the sides with their traffic, and the last minute.

use ratatui::{
    style::Style,
    text::{Line, Span},
};
use strategies::{Revision, Weight};

use super::{Theme, bar};
use crate::{
    api::view::{ArmRole, ArmView, PhaseName, RolloutView, Second, TrafficView},
    cli::{changes::role, words},
};

/// The weights of all steps, with the present one marked.
pub(super) fn way(view: &RolloutView, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let Some(step) = view.step.as_ref().filter(|_| view.phase == PhaseName::Stepping) else { return vec![] };
    let mut spans = vec![];
    for (index, weight) in step.weights.iter().enumerate() {
        if index > 0 {
            spans.push(Span::styled(" ─ ", theme.dim()));
        }
        spans.push(match index.cmp(&step.index) {
            std::cmp::Ordering::Less => Span::styled(format!("{weight} ✓"), theme.good()),
            std::cmp::Ordering::Equal => Span::styled(format!("▶ {weight}"), theme.strong()),
            std::cmp::Ordering::Greater => Span::styled(weight.to_string(), theme.dim()),
        });
    }
    let line = Line::from(spans);
    if line.width() <= width { vec![line] } else { vec![] }
}

/// Stable and canary: share, replicas, requests.
pub(super) fn arms(view: &RolloutView, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![];
    for (role, revision) in sides(view) {
        let arm = view.arms.iter().find(|it| &it.revision == revision && it.role == role);
        // Requests of fresh replicas are counted as stable's.
        let counted = role != ArmRole::Baseline;
        let traffic = view.traffic.iter().find(|it| counted && &it.revision == revision);
        if role == ArmRole::Former && arm.is_none_or(|it| it.replicas.is_empty()) {
            continue;
        }
        lines.push(side(view, (role, revision), arm, width, theme));
        lines.extend(traffic.and_then(|it| numbers(it, width, theme)));
        lines.extend(arm.and_then(|it| unwell(it, theme)));
    }
    lines.extend(matched(view, theme));
    lines
}

/// Canary first: it is what people look at.
fn sides(view: &RolloutView) -> Vec<(ArmRole, &Revision)> {
    let mut all: Vec<(ArmRole, &Revision)> = vec![];
    let arms = view.arms.iter().map(|it| (it.role, &it.revision));
    let known = arms.chain(view.traffic.iter().map(|it| (it.role, &it.revision)));
    for (role, revision) in known {
        let known = |it: &&(ArmRole, &Revision)| {
            it.1 == revision && (it.0 == ArmRole::Baseline) == (role == ArmRole::Baseline)
        };
        if !all.iter().any(|it| known(&it)) {
            all.push((role, revision));
        }
    }
    let place = |role| match role {
        ArmRole::Canary => 0,
        ArmRole::Stable => 1,
        ArmRole::Baseline => 2,
        ArmRole::Former => 3,
    };
    all.sort_by_key(|it| place(it.0));
    all
}

fn style(role: ArmRole, theme: Theme) -> Style {
    match role {
        ArmRole::Canary => theme.canary(),
        ArmRole::Stable | ArmRole::Baseline => theme.stable(),
        ArmRole::Former => theme.dim(),
    }
}

fn share(view: &RolloutView, role: ArmRole) -> (Weight, Option<Weight>) {
    let of = |weight: Weight| match role {
        ArmRole::Canary => weight,
        ArmRole::Stable => weight.complement().saturating_sub(view.weight.baseline),
        ArmRole::Baseline => view.weight.baseline,
        ArmRole::Former => Weight::ZERO,
    };
    (of(view.weight.asked), view.weight.settled.map(of))
}

fn side(
    view: &RolloutView,
    (side, revision): (ArmRole, &Revision),
    arm: Option<&ArmView>,
    width: usize,
    theme: Theme,
) -> Line<'static> {
    let style = style(side, theme);
    let (asked, settled) = share(view, side);
    let room = width.saturating_sub(52).clamp(8, 40);
    let (full, empty) = bar::bar(settled.unwrap_or(asked).fraction(), room);
    let weight = match settled {
        Some(settled) if settled == asked => asked.to_string(),
        Some(settled) => format!("{settled} → {asked}"),
        None => format!("→ {asked}"),
    };
    let replicas = arm.map(|it| {
        let ready = it.ready.map_or("?".to_owned(), |ready| ready.to_string());
        format!("{ready}/{} ready", it.desired)
    });
    Line::from(vec![
        Span::styled(format!("{:<7}", role(side)), style),
        Span::styled(format!("{revision:<11}"), theme.strong()),
        Span::styled(full, style),
        Span::styled(empty, theme.dim()),
        Span::raw(format!(" {weight:<12}")),
        Span::styled(replicas.unwrap_or_default(), theme.dim()),
    ])
}

fn numbers(traffic: &TrafficView, width: usize, theme: Theme) -> Option<Line<'static>> {
    if traffic.requests == 0 && traffic.rate < 0.05 {
        return None;
    }
    let failed_style = if traffic.failed > 0 { theme.bad() } else { theme.dim() };
    let mut spans = vec![
        Span::raw(format!("       {}", words::counted(traffic.requests, "request"))),
        Span::styled(
            format!(
                ", {} failed ({})",
                words::count(traffic.failed),
                words::percentage(traffic.failed, traffic.requests)
            ),
            failed_style,
        ),
    ];
    let failing = if traffic.failed_rate >= 0.05 {
        format!(", {:.1}/s fail", traffic.failed_rate)
    } else {
        String::new()
    };
    spans.push(Span::styled(format!("  {:.0}/s{failing}", traffic.rate), theme.dim()));
    if width >= 76
        && let (Some(p50), Some(p99)) = (traffic.p50_ms, traffic.p99_ms)
    {
        spans.push(Span::styled(format!("  p50 {}  p99 {}", millis(p50), millis(p99)), theme.dim()));
    }
    Some(Line::from(spans))
}

fn millis(milliseconds: f64) -> String {
    match milliseconds {
        it if it < 9.95 => format!("{it:.1} ms"),
        it if it < 9_950.0 => format!("{it:.0} ms"),
        it => format!("{:.0} s", it / 1e3),
    }
}

/// Why a replica is not ready, or how often it had to be started again.
fn unwell(arm: &ArmView, theme: Theme) -> Option<Line<'static>> {
    let restarts: u64 = arm.replicas.iter().map(|it| it.restarts).sum();
    let sick = arm.replicas.iter().find(|it| !it.ready && it.because.is_some());
    let because = sick.and_then(|it| it.because.clone());
    let text = match (restarts, because) {
        (0, None) => return None,
        (0, Some(because)) => because,
        (restarts, None) => words::counted(restarts, "restart"),
        (restarts, Some(because)) => format!("{}: {because}", words::counted(restarts, "restart")),
    };
    Some(Line::from(Span::styled(format!("       {text}"), theme.warn())))
}

fn matched(view: &RolloutView, theme: Theme) -> Option<Line<'static>> {
    let mut parts = vec![];
    if !view.weight.matches.is_empty() {
        let names: Vec<_> = view.weight.matches.iter().map(ToString::to_string).collect();
        parts.push(format!("matched to the canary: {}", names.join(", ")));
    }
    if view.weight.mirror != Weight::ZERO {
        parts.push(format!("copied to the canary: {}", view.weight.mirror));
    }
    let text = parts.join("; ");
    (!text.is_empty()).then(|| Line::from(Span::styled(text, theme.dim())))
}

/// One column per second: requests of each side, and failures.
pub(super) fn recent(view: &RolloutView, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let columns = width.saturating_sub(28).min(60);
    let seconds = &view.recent[view.recent.len().saturating_sub(columns)..];
    if seconds.is_empty() || columns == 0 {
        return vec![];
    }
    let mut lines = vec![];
    for (side, revision) in sides(view).into_iter().filter(|it| it.0 != ArmRole::Baseline) {
        let of = |count: fn(&crate::api::view::Tally) -> u64| {
            move |it: &Second| it.by.get(revision).map_or(0, count)
        };
        let totals: Vec<u64> = seconds.iter().map(of(|it| it.total)).collect();
        let failed: Vec<u64> = seconds.iter().map(of(|it| it.failed)).collect();
        let (most, worst) =
            (totals.iter().max().copied().unwrap_or(0), failed.iter().max().copied().unwrap_or(0));
        if most == 0 {
            continue;
        }
        let row = |name: String, values: &[u64], largest: u64, style: Style| {
            Line::from(vec![
                Span::styled(format!("{name:<15}"), style),
                Span::styled(bar::spark(values, largest), style),
                Span::styled(format!(" ≤ {}/s", words::count(largest)), theme.dim()),
            ])
        };
        lines.push(row(role(side).to_owned(), &totals, most, style(side, theme)));
        if worst > 0 {
            lines.push(row(format!("{} failed", role(side)), &failed, worst, theme.bad()));
        }
    }
    lines
}
