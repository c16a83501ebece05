//! The last thing that `demo`, `run --until-done` and `wait` say.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strategies::{Name, Revision};

use super::{color, ending::Ending, words};
use crate::api::view::{ArmRole, RolloutView, TrafficView};

/// The last line of `--output json`. Fields may be added, never changed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    /// Always `summary`.
    pub(super) kind: String,
    /// Name of the rollout.
    pub(super) rollout: Name,
    /// The revision that was waited for.
    pub(super) revision: Option<Revision>,
    /// How it ended.
    pub(super) phase: Ending,
    /// Seconds that the attempt took; of waits for something that needed none, seconds waited.
    pub(super) seconds: f64,
    /// Requests of users in that time.
    pub(super) requests: u64,
    /// Of those, failed. In the demo its load generator counts: reset, refused, a status or body that is not the
    /// application's, more than a second late. Elsewhere the proxy does: answered 5xx, reset, never answered.
    pub(super) failed: u64,
    /// Requests that went to the canary.
    pub(super) canary_requests: u64,
    /// Of those, failed as the proxy counts: the application's own 5xx too.
    pub(super) canary_failed: u64,
    /// Why it ended so, in one sentence.
    pub(super) reason: String,
    /// The last lines that a failed process of this revision printed, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) said: Vec<String>,
    /// The file with all that it printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<std::path::PathBuf>,
}

impl Summary {
    /// What the proxy counted is taken from `traffic`: of the attempt, as it ended.
    #[must_use]
    pub(super) fn new(
        view: &RolloutView,
        revision: Option<Revision>,
        (phase, reason): (Ending, String),
        took: Duration,
        traffic: &[TrafficView],
    ) -> Self {
        let sum = |count: fn(&TrafficView) -> u64| traffic.iter().map(count).sum();
        let canary = canary_of(traffic, revision.as_ref());
        let failure = view.failure.as_ref().filter(|it| {
            let tried = revision.as_ref().is_none_or(|revision| *revision == it.revision);
            tried && phase != Ending::Promoted && phase != Ending::Superseded
        });
        let reason = match failure {
            Some(it) if !reason.contains(&it.because) => format!("{reason}; its process: {}", it.because),
            Some(_) | None => reason,
        };
        Self {
            kind: "summary".to_owned(),
            rollout: view.name.clone(),
            revision,
            phase,
            seconds: (took.as_secs_f64() * 1e3).round() / 1e3,
            requests: sum(|it| it.requests),
            failed: sum(|it| it.failed),
            canary_requests: canary.map_or(0, |it| it.requests),
            canary_failed: canary.map_or(0, |it| it.failed),
            reason,
            said: failure.map(|it| it.said.clone()).unwrap_or_default(),
            log: failure.and_then(|it| it.log.clone()),
        }
    }

    /// For people, several lines.
    #[must_use]
    pub(super) fn text(&self) -> String {
        let (style, word) = verdict(self.phase);
        let revision = self.revision.as_ref().map(|it| format!(" {it}")).unwrap_or_default();
        let took = words::span(Duration::from_secs_f64(self.seconds.max(0.0)));
        let mut text = format!(
            "{} {}{revision} after {took}: {}",
            color::paint(style, word),
            color::paint(color::STRONG, &self.rollout),
            self.reason
        );
        if self.requests > 0 {
            text.push_str(&format!(
                "\n{}, {} failed; the canary got {}, {} failed",
                words::counted(self.requests, "request"),
                words::count(self.failed),
                words::count(self.canary_requests),
                words::count(self.canary_failed)
            ));
        }
        for line in &self.said {
            text.push_str(&color::paint(color::DIM, format!("\n  | {line}")));
        }
        if let Some(log) = &self.log {
            text.push_str(&format!("\nits log: {}", log.display()));
        }
        text
    }
}

/// The traffic of the revision that was tried.
#[must_use]
pub(super) fn canary_of<'a>(
    traffic: &'a [TrafficView],
    revision: Option<&Revision>,
) -> Option<&'a TrafficView> {
    traffic
        .iter()
        .find(|it| Some(&it.revision) == revision && it.role != ArmRole::Stable)
        .or_else(|| traffic.iter().find(|it| it.role == ArmRole::Canary))
}

/// An ending as a person reads it.
#[must_use]
pub(super) fn verdict(ending: Ending) -> (anstyle::Style, &'static str) {
    match ending {
        Ending::Promoted => (color::GOOD, "promoted"),
        Ending::RolledBack => (color::BAD, "rolled back"),
        Ending::Inconclusive => (color::WARN, "undecided"),
        Ending::Paused => (color::WARN, "paused"),
        Ending::Superseded => (color::WARN, "superseded"),
        Ending::Unfinished => (color::WARN, "not over"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{traffic, view};

    #[test]
    fn the_last_words_of_a_process_stand_beside_the_reason() {
        let mut view = view();
        view.failure = Some(crate::api::view::FailureView {
            revision: "b".into(),
            attempt: 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            because: "exit code 1: no config".into(),
            ended: true,
            said: vec!["no config".into()],
            log: Some("/logs/b.log".into()),
        });
        let summary = |ending, revision: &str| {
            Summary::new(&view, Some(revision.into()), (ending, "why".to_owned()), Duration::ZERO, &[])
        };
        let told = summary(Ending::RolledBack, "b");
        assert_eq!(told.reason, "why; its process: exit code 1: no config");
        let text = told.text();
        assert!(text.contains("| no config") && text.ends_with("\nits log: /logs/b.log"), "{text}");
        assert_eq!(summary(Ending::Promoted, "b").reason, "why");
        assert_eq!(summary(Ending::RolledBack, "c").reason, "why");
    }

    #[test]
    fn programs_find_the_documented_fields() {
        let all = [traffic("a", ArmRole::Stable, 900, 2), traffic("b", ArmRole::Canary, 100, 1)];
        let ended = (Ending::RolledBack, "why".to_owned());
        let summary = Summary::new(&view(), Some("b".into()), ended, Duration::from_millis(1_500), &all);
        let expected = serde_json::json!({
            "kind": "summary", "rollout": "shop", "revision": "b", "phase": "RolledBack", "seconds": 1.5,
            "requests": 1000, "failed": 3, "canaryRequests": 100, "canaryFailed": 1, "reason": "why",
        });
        assert_eq!(serde_json::to_value(summary).unwrap(), expected);
    }
}
