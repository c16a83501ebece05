use std::{collections::BTreeMap, time::Duration};

use analysis::{
    AnyJudge,
    run::{Metric, Spec, Window},
    written::Span,
};
use serde::Deserialize;

/// What is judged and how, as written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    signals: BTreeMap<String, AnyJudge>,
    #[serde(default = "ten_seconds")]
    poll: Span,
    #[serde(default = "an_hour")]
    deadline: Span,
}

fn ten_seconds() -> Span {
    Span::seconds(10)
}

fn an_hour() -> Span {
    Span::seconds(3600)
}

/// What is judged and how.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// The signals in the order of their names, each a metric.
    pub(super) spec: Spec,
    /// Time between two polls: the first one covers so much.
    pub(super) poll: Duration,
    /// When a run that has not been decided is inconclusive.
    pub(super) deadline: Duration,
}

impl Config {
    /// Reads a configuration, YAML or JSON.
    ///
    /// # Errors
    /// Everything that is wrong with it, one sentence each.
    pub(super) fn read(text: &str) -> Result<Self, Vec<String>> {
        let written: Written = serde_saphyr::from_str(text).map_err(|error| vec![error.to_string()])?;
        let Written { signals, poll, deadline } = written;
        let metrics = signals.into_iter().map(|(name, judge)| Metric {
            name,
            every: poll,
            judge,
            weight: 1.0,
            dry_run: false,
        });
        let window = Window::Guard { planned: deadline.0 };
        let spec = Spec { metrics: metrics.collect(), window, delay: Duration::ZERO };
        let mut wrong: Vec<String> = spec
            .check(true)
            .into_iter()
            .map(|(signal, it)| {
                let path: Vec<&str> = std::iter::once(signal.as_str()).chain(it.path).collect();
                format!("signals.{}: {}", path.join("."), it.message)
            })
            .collect();
        if spec.metrics.is_empty() {
            wrong = vec!["signals: name at least one, such as `errors: { sequential: {} }`".to_owned()];
        }
        for metric in &spec.metrics {
            let what = match metric.judge {
                AnyJudge::Pods(_) => "pods are watched in a rollout only, no line says how they are",
                AnyJudge::Answers(_) => {
                    "classes of answers are counted in a rollout only, no line tells them"
                }
                AnyJudge::Leak(_) => "the memory of processes is watched in a rollout only, no line tells it",
                AnyJudge::Sequential(_)
                | AnyJudge::Threshold(_)
                | AnyJudge::Kayenta(_)
                | AnyJudge::FixedHorizon(_) => continue,
            };
            wrong.push(format!("signals.{}: {what}", metric.name));
        }
        for (key, span) in [("poll", poll), ("deadline", deadline)] {
            if span.0.is_zero() {
                wrong.push(format!("{key}: must be longer than 0s"));
            }
        }
        if deadline < poll {
            wrong.push(format!("deadline: {deadline} ends before the first poll, which takes {poll}"));
        }
        if wrong.is_empty() { Ok(Self { spec, poll: poll.0, deadline: deadline.0 }) } else { Err(wrong) }
    }

    /// The number of the signal of that name.
    pub(super) fn signal(&self, name: &str) -> Option<usize> {
        self.spec.metrics.iter().position(|it| it.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, part: &str) {
        let wrong = Config::read(text).unwrap_err().join("\n");
        assert!(wrong.contains(part), "{wrong}");
    }

    #[test]
    fn defaults_are_ten_seconds_and_an_hour() {
        let config = Config::read("signals: { errors: { sequential: {} } }").unwrap();
        assert_eq!((config.poll, config.deadline), (Duration::from_secs(10), Duration::from_hours(1)));
    }

    #[test]
    fn alpha_is_any_fraction_or_percentage() {
        for alpha in ["0.01", "1%", "1e-300", "0.999"] {
            let text = format!("signals: {{ e: {{ sequential: {{ rollBack: {{ alpha: {alpha} }} }} }} }}");
            Config::read(&text).unwrap();
        }
        for alpha in ["0", "1", "-0.1", "100%", "yes"] {
            let text = format!("signals: {{ e: {{ sequential: {{ rollBack: {{ alpha: {alpha} }} }} }} }}");
            refused(&text, "fraction");
        }
        for alpha in [".nan", ".inf"] {
            let text = format!("signals: {{ e: {{ sequential: {{ rollBack: {{ alpha: {alpha} }} }} }} }}");
            refused(&text, "non-finite");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        refused("signals: {}", "at least one");
        refused("{}", "signals");
        refused("signals: { e: { sequential: { rollback: {} } } }", "rollback");
        refused("signals: { e: { pods: {} } }", "pods are watched in a rollout only");
        refused("signals: { e: { sequential: {} } }\npoll: 10", "write 10s");
        refused("signals: { e: { sequential: {} } }\npoll: 2m\ndeadline: 1m", "ends before the first poll");
        refused(
            "signals: { e: { sequential: { promote: { notWorseThan: 1x } } } }",
            "signals.e.promote.notWorseThan",
        );
        refused("signals: { e: { threshold: {} } }", "needs `pass` or `fail`");
    }
}
