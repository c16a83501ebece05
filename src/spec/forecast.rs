//! What a plan will do before it does it: how long, with how many replicas, and what each step can see.
//!
//! Deliberately absent: a guess at the traffic. What cannot be known without it is left open, not made up.

use std::time::Duration;

use analysis::{
    AnyJudge,
    judge::{Baseline, Sequential},
    stats::planner,
};
use serde::{Serialize, Serializer};
use strategies::{Goal, Leave, Name, Plan, Step, Weight};

use super::{
    Compiled, CompiledAnalysis, CompiledMetric,
    compile::{BUILT_IN, MetricFrom, Reference, Referrer, peak_replicas},
    provider::{Provider, Signal, Yields},
};
use crate::written::list_of;

/// The traffic that a plan will meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Requests per second of both sides together, above 0.
    pub requests_per_s: f64,
    /// Share of them that is bad on stable, `0 < share < 1`.
    pub error_rate: f64,
    /// How many times as many errors the canary must have to matter, above 1.
    pub matters: f64,
}

impl Expected {
    /// Whether a canary can be as bad as matters at all: beside a stable that fails altogether no ratio says anything.
    fn compares(self) -> bool {
        planner::is_possible(self.error_rate, self.matters)
    }
}

/// What a plan will do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The Rollout.
    pub rollout: Name,
    /// Replicas that carry all the traffic; `None`: only the cluster knows.
    pub replicas: Option<u32>,
    /// The most replicas at the same time, both sides together.
    pub peak_replicas: Option<u32>,
    /// The steps, in order.
    pub steps: Vec<StepForecast>,
    /// What runs beside the steps, and from which one on.
    pub guards: Vec<GuardForecast>,
    /// The least time until all traffic is on the canary for good, replicas' starts not counted. Seconds.
    #[serde(rename = "leastS", serialize_with = "seconds")]
    pub least: Duration,
    /// The most, replicas' starts not counted; `None`: a person decides. Seconds.
    #[serde(rename = "mostS", serialize_with = "maybe_seconds")]
    pub most: Option<Duration>,
    /// What a pipeline that waits for the end must allow, replicas' starts and the way back counted; `None`: a person
    /// decides. Seconds.
    #[serde(rename = "timeoutS", serialize_with = "maybe_seconds")]
    pub timeout: Option<Duration>,
    /// The expected time for a version as good as stable at the given traffic; `None`: not known. Seconds.
    #[serde(rename = "expectedS", serialize_with = "maybe_seconds")]
    pub expected: Option<Duration>,
    /// What is not as one would wish, with what would cure it.
    pub warnings: Vec<String>,
    /// What cannot be said, and why.
    pub unknown: Vec<String>,
}

/// What one step will do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepForecast {
    /// Its name.
    pub name: Name,
    /// The canary's share of the requests.
    pub weight: Weight,
    /// Requests that go to the canary whatever the weight, by id.
    pub matches: Vec<Name>,
    /// Share of the requests that is copied.
    pub mirror: Weight,
    /// Replicas of stable in this step.
    pub stable_replicas: Option<u32>,
    /// Replicas of the canary in this step.
    pub canary_replicas: Option<u32>,
    /// What ends it, in words.
    pub waits_for: String,
    /// Its least time. Seconds.
    #[serde(rename = "leastS", serialize_with = "seconds")]
    pub least: Duration,
    /// Its most; `None`: a person decides, or the analysis by itself. Seconds.
    #[serde(rename = "mostS", serialize_with = "maybe_seconds")]
    pub most: Option<Duration>,
    /// What is expected at the given traffic.
    pub sight: Option<Sight>,
}

/// What errors one step can see at the given traffic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sight {
    /// The expected time until a version as good as stable passes; `None`: this step does not wait for that. Seconds.
    #[serde(rename = "passS", serialize_with = "maybe_seconds")]
    pub pass: Option<Duration>,
    /// The expected time until one is rolled back that is as bad as matters. Seconds.
    #[serde(rename = "detectS", serialize_with = "maybe_seconds")]
    pub detect: Option<Duration>,
    /// The smallest factor that is seen within the step's time; `None`: not even a hundred, or the time is open.
    pub smallest: Option<f64>,
    /// Failed requests of users until then, where the version is as bad as matters.
    pub damage: f64,
}

/// A guard and where it begins.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardForecast {
    /// Its name.
    pub name: Name,
    /// What it looks at.
    pub metrics: Vec<Name>,
    /// The step it begins with.
    pub from: Name,
}

/// What `compiled` will do, at this traffic where it is known.
#[must_use]
pub fn forecast(compiled: &Compiled, expected: Option<Expected>) -> Forecast {
    let plan = &compiled.plan;
    let mut warnings = Vec::new();
    let errors = errors_judge(compiled);
    let steps: Vec<StepForecast> = (0..plan.steps.len())
        .filter_map(|index| {
            let step = plan.steps.get(index)?;
            let goal = plan.goal_at(index);
            let (least, most) = bounds(step);
            let sight = expected.zip(errors).and_then(|(it, judged)| sight(step, &goal, most, it, judged));
            if let (Some(sight), Some(expected)) = (sight, expected) {
                warnings.extend(warn(step, &goal, most, sight, expected));
            }
            Some(StepForecast {
                name: step.name.clone(),
                weight: goal.weight,
                matches: goal.matches.keys().cloned().collect(),
                mirror: goal.mirror,
                stable_replicas: compiled.replicas.map(|it| plan.stable_replicas(&goal, it)),
                canary_replicas: compiled.replicas.map(|it| plan.canary_replicas(&goal, it)),
                waits_for: words(step),
                least,
                most,
                sight,
            })
        })
        .collect();
    let total = |each: &dyn Fn(&StepForecast) -> Option<Duration>| {
        steps.iter().try_fold(Duration::ZERO, |sum, it| Some(sum.saturating_add(each(it)?)))
    };
    let most = total(&|it| it.most);
    // A step may spend its whole progress deadline on replicas, the last one may turn back at its end.
    let count = u32::try_from(steps.len()).unwrap_or(u32::MAX).saturating_add(1);
    let waits = plan.deadlines.progress.0.saturating_mul(count).saturating_add(plan.deadlines.abort.0);
    let timeout = most.map(|it| it.saturating_add(waits));
    Forecast {
        rollout: compiled.name.clone(),
        replicas: compiled.replicas,
        peak_replicas: compiled.replicas.map(|it| peak_replicas(plan, it) + fresh_replicas(compiled, it)),
        guards: guards(compiled),
        least: total(&|it| Some(it.least)).unwrap_or_default(),
        most,
        timeout,
        expected: expected.and_then(|_| total(&|it| time_expected(it))),
        unknown: unknown(compiled, expected, errors.is_some()),
        warnings,
        steps,
    }
}

/// How long it takes to notice a version with `factor` times the errors, by the canary's weight: percent of the
/// requests, and seconds. Empty where no metric compares errors.
#[must_use]
pub fn power(compiled: &Compiled, expected: Expected, factor: f64) -> Vec<(u32, f64)> {
    let Some(judged) = errors_judge(compiled) else { return vec![] };
    let at = |percent: u32| {
        let share = f64::from(percent) / 100.0;
        (percent, judged.seconds_to_detect(judged.traffic(expected, share), factor))
    };
    (1..=50).map(at).collect()
}

fn time_expected(step: &StepForecast) -> Option<Duration> {
    match step.sight.and_then(|it| it.pass) {
        Some(pass) => Some(pass.max(step.least).min(step.most.unwrap_or(Duration::MAX))),
        None => step.most.filter(|most| *most == step.least),
    }
}

fn unknown(compiled: &Compiled, expected: Option<Expected>, judged: bool) -> Vec<String> {
    let mut unknown = Vec::new();
    if compiled.replicas.is_none() {
        unknown.push(
            "how many replicas: the workload of the cluster says it; write `replicas` to see it here".into(),
        );
    }
    match (expected, judged) {
        (None, true) => unknown.push(
            "what each step can see, and how long it takes: that depends on the traffic; add `--traffic 500/s \
             --error-rate 0.1%`"
                .into(),
        ),
        (Some(it), true) if !it.compares() => unknown.push(format!(
            "what each step can see: where {} of stable's answers are errors nothing can have {} times as many",
            percentage(it.error_rate),
            number(it.matters)
        )),
        (Some(_), false) => unknown.push("what each step can see: no metric compares errors of stable and canary".into()),
        (None, false) | (Some(_), true) => {}
    }
    unknown.extend(compiled.missing.iter().map(|it| not_here(it, &compiled.plan)));
    unknown.push("how long replicas take to start and the data plane to settle".into());
    unknown
}

fn not_here(reference: &Reference, plan: &Plan) -> String {
    let one = |it: &Referrer| match it {
        Referrer::Guard(name) => format!("guard {name}"),
        Referrer::Step(name) => format!("step {name}"),
    };
    let who: Vec<String> = reference.referrers(plan).iter().map(one).collect();
    let who = list_of(who.iter().map(String::as_str), "and").replace('`', "");
    format!(
        "{} {}, which {who} asks: it is not in this file, and nothing starts before the cluster has it",
        reference.kind, reference.name
    )
}

fn guards(compiled: &Compiled) -> Vec<GuardForecast> {
    let metrics = |name: &Name| {
        let analysis = compiled.analyses.get(name);
        analysis.into_iter().flat_map(|it| &it.metrics).map(|it| it.name.clone()).collect()
    };
    let guard = |it: &strategies::Guard| GuardForecast {
        name: it.name.clone(),
        metrics: metrics(&it.name),
        from: it.from.clone(),
    };
    compiled.plan.guards.iter().map(guard).collect()
}

/// The most fresh replicas of stable beside the canary: as many as it has while stable serves too.
fn fresh_replicas(compiled: &Compiled, replicas: u32) -> u32 {
    if compiled.baseline() == Baseline::Stable {
        return 0;
    }
    let goals = (0..compiled.plan.steps.len()).map(|it| compiled.plan.goal_at(it));
    let beside = goals.filter(|it| it.weight != Weight::FULL);
    beside.map(|it| compiled.plan.canary_replicas(&it, replicas)).max().unwrap_or(0)
}

/// The least and the most time a step takes once its goal holds.
fn bounds(step: &Step) -> (Duration, Option<Duration>) {
    let none = Duration::ZERO;
    match &step.leave {
        Leave::AtOnce(_) => (none, Some(none)),
        Leave::Until(it) => (it.min.0, Some(it.max.0)),
        Leave::Pause(it) => it.length.map_or((none, None), |length| (length.0, Some(length.0))),
        Leave::Approve(it) => (none, it.within.map(|it| it.0)),
        Leave::Analyze(it) => it.length.map_or((none, None), |length| (length.0, Some(length.0))),
        Leave::Bake(it) => (it.length.0, Some(it.length.0)),
    }
}

fn words(step: &Step) -> String {
    let of = |names: &[Name]| list_of(names.iter().map(Name::as_str), "and").replace('`', "");
    match &step.leave {
        Leave::AtOnce(_) => "replicas and data plane".into(),
        Leave::Until(it) => format!("evidence of {}", of(&it.analyses)),
        Leave::Analyze(it) => format!("{} to pass", of(&it.analyses)),
        Leave::Pause(it) if it.length.is_some() => "time".into(),
        Leave::Pause(_) => "a person: serinus promote".into(),
        Leave::Approve(_) => "a person: serinus approve".into(),
        Leave::Bake(_) => "time, with stable kept".into(),
    }
}

/// The judge of errors: the first that compares counts.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// The judge.
    pub judge: &'a Sequential,
    /// Its part in the combined evidence, `0 < part <= 1`.
    pub part: f64,
    /// The time between two of its looks, seconds.
    pub poll_s: f64,
}

impl Judged<'_> {
    /// The requests that are compared when the canary gets this share of all.
    fn traffic(&self, expected: Expected, weight: f64) -> planner::Traffic {
        let compared = match self.judge.baseline {
            Baseline::Stable => 1.0,
            Baseline::Fresh => weight + weight.min(1.0 - weight),
        };
        planner::Traffic {
            requests_per_s: expected.requests_per_s * compared,
            bad_rate: expected.error_rate,
            share: weight / compared,
            poll_s: self.poll_s,
        }
    }

    fn alpha(&self) -> f64 {
        self.judge.roll_back.alpha.get() * self.part
    }

    /// The judge asks whether the canary is worse by more than this factor, so only what is beyond counts.
    fn tolerated(&self) -> f64 {
        self.judge.roll_back.worse_than.times().max(1.0)
    }

    fn seconds_to_detect(&self, traffic: planner::Traffic, factor: f64) -> f64 {
        planner::seconds_to_detect(traffic, factor / self.tolerated(), self.alpha())
    }
}

fn errors_judge(compiled: &Compiled) -> Option<Judged<'_>> {
    let guards =
        compiled.plan.guards.iter().filter(|it| !BUILT_IN.contains(&it.name.as_str())).map(|it| &it.name);
    let gates = compiled.plan.steps.iter().flat_map(|it| match &it.leave {
        Leave::Until(it) => it.analyses.as_slice(),
        Leave::Analyze(it) => it.analyses.as_slice(),
        Leave::AtOnce(_) | Leave::Pause(_) | Leave::Approve(_) | Leave::Bake(_) => &[],
    });
    guards.chain(gates).filter_map(|it| compiled.analyses.get(it)).find_map(errors_of)
}

/// Whether these counts are of requests that failed, rather than of some other answer.
fn counts_failures(provider: &Provider) -> bool {
    !matches!(provider, Provider::Proxy(it) if it.signal != Signal::Errors)
}

fn errors_of(analysis: &CompiledAnalysis) -> Option<Judged<'_>> {
    let counted = || analysis.metrics.iter().filter(|it| !it.dry_run);
    let total: f64 = counted().map(|it| it.weight).sum();
    counted().find_map(|it: &CompiledMetric| match (&it.judge, &it.from) {
        (AnyJudge::Sequential(judge), MetricFrom::Provider { provider, .. })
            if provider.yields() == Yields::Counts && counts_failures(provider) =>
        {
            Some(Judged { judge, part: it.weight / total, poll_s: it.every.0.as_secs_f64() })
        }
        _ => None,
    })
}

/// What step number `index` of `plan` can see at the given traffic; `None`: it compares nothing.
#[must_use]
pub fn sight_of_step(plan: &Plan, index: usize, expected: Expected, judged: Judged<'_>) -> Option<Sight> {
    let step = plan.steps.get(index)?;
    sight(step, &plan.goal_at(index), bounds(step).1, expected, judged)
}

fn sight(
    step: &Step,
    goal: &Goal,
    most: Option<Duration>,
    expected: Expected,
    judged: Judged<'_>,
) -> Option<Sight> {
    if goal.weight == Weight::ZERO || goal.weight == Weight::FULL || !expected.compares() {
        return None;
    }
    let traffic = judged.traffic(expected, goal.weight.fraction());
    let (alpha, tolerated) = (judged.alpha(), judged.tolerated());
    let pass = match &step.leave {
        Leave::Until(_) => {
            let margin = judged.judge.promote.not_worse_than.times();
            finite(planner::seconds_to_promote(traffic, margin, judged.judge.promote.alpha.get()))
        }
        Leave::AtOnce(_) | Leave::Pause(_) | Leave::Approve(_) | Leave::Analyze(_) | Leave::Bake(_) => None,
    };
    let smallest = most.and_then(|it| planner::detectable_within(traffic, it.as_secs_f64(), alpha));
    Some(Sight {
        pass,
        detect: finite(judged.seconds_to_detect(traffic, expected.matters)),
        smallest: smallest.map(|it| it * tolerated),
        damage: planner::damage(traffic.share, expected.matters / tolerated, alpha),
    })
}

fn percentage(share: f64) -> String {
    format!("{}%", number(share * 100.0))
}

fn finite(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

fn warn(
    step: &Step,
    goal: &Goal,
    most: Option<Duration>,
    sight: Sight,
    expected: Expected,
) -> Option<String> {
    let most = most.filter(|it| !it.is_zero())?;
    let name = &step.name;
    // Both laws are linear in the number of requests.
    let factor = |needed: Duration| needed.as_secs_f64() / most.as_secs_f64();
    if let Some(pass) = sight.pass.filter(|pass| most < *pass) {
        let rate = expected.requests_per_s * factor(pass);
        return Some(format!(
            "`{name}` will most likely end inconclusive: a version as good as stable needs {} at {} and {} requests/s; \
             raise `max`, or have {} requests/s",
            rounded(pass),
            goal.weight,
            number(expected.requests_per_s),
            number(rate)
        ));
    }
    let detect = sight.detect.filter(|detect| most < *detect)?;
    let rate = expected.requests_per_s * factor(detect);
    Some(format!(
        "`{name}` cannot see {} times the errors within {}: that needs {} here, or {} requests/s",
        number(expected.matters),
        rounded(most),
        rounded(detect),
        number(rate)
    ))
}

/// A time as people say it: no more than two units.
#[must_use]
pub fn rounded(time: Duration) -> String {
    let seconds = time.as_secs();
    let coarse = match seconds {
        0 if !time.is_zero() => {
            return humantime::format_duration(Duration::from_millis(time.as_millis() as u64)).to_string();
        }
        0..3_600 => seconds,
        3_600..86_400 => seconds.div_ceil(60) * 60,
        _ => seconds.div_ceil(3_600) * 3_600,
    };
    humantime::format_duration(Duration::from_secs(coarse)).to_string()
}

/// A number with as many digits as matter.
#[must_use]
pub fn number(it: f64) -> String {
    match it {
        it if it < 10.0 => {
            let text = format!("{it:.1}");
            text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
        }
        it => format!("{it:.0}"),
    }
}

fn seconds<S: Serializer>(it: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(it.as_secs_f64())
}

fn maybe_seconds<S: Serializer>(it: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match it {
        Some(it) => serializer.serialize_some(&it.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}
