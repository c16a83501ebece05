//! What every pod did, window by window, as providers know it.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use analysis::{
    Measured, Poll,
    calibrate::{MetricHistory, PodsWindow},
    poll::{OfPods, PodCounts},
    provider::{Memory, PerArm, Polled, Source, Span},
};
use futures_util::future::join_all;
use jiff::Timestamp;
use strategies::Name;

use super::{Failure, usage};
use crate::{
    measure::{Facts, Measuring, measuring, secret_of_this_machine},
    spec::compile::CompiledAnalysis,
    written::Fact,
};

/// One pod and what is remembered of it between two questions.
struct Pod {
    question: PerArm,
    source: Option<Arc<Source>>,
    memory: [Memory; 2],
}

/// Asks about each of `pods`, every `every` of `time`, for every metric that counts requests.
///
/// # Errors
/// A metric cannot be measured, or does not tell pods apart.
pub(super) async fn ask(
    name: &Name,
    compiled: &CompiledAnalysis,
    pods: &[String],
    time: Range<Timestamp>,
    every: Duration,
) -> Result<Vec<MetricHistory>, Failure> {
    let mut by_pod = vec![];
    for pod in pods {
        let of = BTreeMap::from([(Fact::Pods, pod.clone())]);
        let facts = Facts { canary: of.clone(), stable: of, weight: None };
        let ready = measuring(compiled, &facts, &secret_of_this_machine).map_err(|wrong| {
            let all: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            usage(&all.join("\n"), "only `$(arm.pods)` and the template's arguments are known here")
        })?;
        by_pod.push(ready);
    }
    let counted: f64 = compiled.metrics.iter().filter(|it| !it.dry_run).map(|it| it.weight).sum();
    let mut histories = vec![];
    for number in 0..compiled.metrics.len() {
        let mut of_pods: Vec<&Measuring> = by_pod.iter().filter_map(|it| it.get(number)).collect();
        let Some(first) = of_pods.pop() else { continue };
        let alike = of_pods.iter().any(|it| it.question.canary == first.question.canary);
        of_pods.push(first);
        if alike {
            return Err(usage(
                &format!("metric `{}` asks the same about every pod", first.metric.name),
                "let its query name `$(arm.pods)`",
            ));
        }
        let windows = windows(&of_pods, &time, every).await;
        histories.push(MetricHistory {
            analysis: name.to_string(),
            metric: first.metric.name.clone(),
            judge: first.metric.judge.clone(),
            part: if first.metric.dry_run { 1.0 } else { first.metric.weight / counted },
            windows,
        });
    }
    Ok(histories)
}

/// Windows in which every pod was counted. What one pod's provider could not say is left out for all.
async fn windows(pods: &[&Measuring], time: &Range<Timestamp>, every: Duration) -> Vec<PodsWindow> {
    let mut pods: Vec<Pod> = pods
        .iter()
        .map(|it| Pod {
            question: PerArm { canary: it.question.canary.clone(), baseline: None },
            source: it.source.clone(),
            memory: Default::default(),
        })
        .collect();
    let mut windows = vec![];
    let mut since = time.start;
    let mut sums: Vec<Option<Measured>> = vec![None; pods.len()];
    let mut now = time.start;
    while now < time.end {
        now = now.checked_add(every).unwrap_or(time.end).min(time.end);
        let span = Span { began: time.start, from: time.start, to: now };
        let answers = join_all(pods.iter_mut().map(|it| it.ask(span))).await;
        let mut lost = false;
        for (sum, polled) in sums.iter_mut().zip(answers) {
            match polled {
                Polled::NothingNew => {}
                Polled::Poll(Poll { measured, .. }, _) => lost |= !add(sum, measured),
            }
        }
        let all: Option<Vec<Measured>> = sums.iter().cloned().collect();
        let seconds = now.duration_since(since).as_secs_f64();
        let window = all.filter(|_| !lost).and_then(|it| of_pods(&it));
        if lost || window.is_some() {
            windows.extend(window.map(|pods| PodsWindow { at: now, seconds, pods }));
            since = now;
            sums.fill(None);
        }
    }
    windows
}

impl Pod {
    async fn ask(&mut self, span: Span) -> Polled {
        self.question.poll(self.source.as_deref(), span, None, &mut self.memory).await
    }
}

/// Adds what came on top; `false`: it is nothing that can be added.
fn add(sum: &mut Option<Measured>, more: Measured) -> bool {
    match (sum.as_mut(), more) {
        (None, it @ (Measured::Counts { .. } | Measured::Histogram(_))) => *sum = Some(it),
        (Some(Measured::Counts { canary, .. }), Measured::Counts { canary: more, .. }) => canary.add(more),
        (Some(Measured::Histogram(sum)), Measured::Histogram(more)) if sum.bounds == more.bounds => {
            sum.canary.iter_mut().zip(&more.canary).for_each(|(sum, more)| *sum += more);
        }
        _ => return false,
    }
    true
}

fn of_pods(all: &[Measured]) -> Option<OfPods> {
    let counts = all.iter().map(|it| {
        let Measured::Counts { canary, .. } = it else { return None };
        Some(PodCounts { total: canary.total, bad: canary.bad })
    });
    if let Some(counts) = counts.collect::<Option<Vec<_>>>() {
        return Some(OfPods::Counts(counts));
    }
    let Measured::Histogram(first) = all.first()? else { return None };
    let each = all.iter().map(|it| {
        let Measured::Histogram(it) = it else { return None };
        (it.bounds == first.bounds).then(|| it.canary.clone())
    });
    Some(OfPods::Histograms { bounds: first.bounds.clone(), each: each.collect::<Option<_>>()? })
}
