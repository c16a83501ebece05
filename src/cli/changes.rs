//! What changed between two looks at a rollout, one line each: the view of those who have no terminal, and the log
//! of those who have. Pure.

use strategies::{Action, Verdict};

use super::words;
use crate::api::view::{AnalysisView, ArmRole, ArmView, GivenOrder, PhaseName, RolloutView};

/// How a change is to be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Tone {
    /// It goes its way.
    Plain,
    /// A good end.
    Good,
    /// A bad one.
    Bad,
    /// Worth a look.
    Warn,
}

/// One change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Change {
    /// How it is to be taken.
    pub(super) tone: Tone,
    /// In words.
    pub(super) text: String,
}

/// What changed since `before`; without one, how it stands.
#[must_use]
pub(super) fn changes(before: Option<&RolloutView>, now: &RolloutView) -> Vec<Change> {
    let Some(before) = before else {
        return [Some(Change { tone: Tone::Plain, text: format!("{}: {}", now.name, words::stands(now)) })]
            .into_iter()
            .flatten()
            .chain(failure(None, now))
            .chain(troubles(None, now))
            .collect();
    };
    let mut all = vec![];
    all.extend(attempt(before, now));
    all.extend(phase(before, now));
    all.extend(weight(before, now));
    let failed = failure(Some(before), now);
    all.extend(replicas(before, now, failed.is_none()));
    all.extend(failed);
    // A verdict that is already told as the reason of something is not told again.
    let told: Vec<_> = verdicts(before, now)
        .into_iter()
        .filter(|verdict| !all.iter().any(|it: &Change| it.text.contains(&verdict.text)))
        .collect();
    all.extend(told);
    all.extend(given(before, now));
    all.extend(hold(before, now));
    all.extend(troubles(Some(before), now));
    all
}

fn plain(text: String) -> Change {
    Change { tone: Tone::Plain, text }
}

fn attempt(before: &RolloutView, now: &RolloutView) -> Option<Change> {
    let began = now.attempt > before.attempt;
    let canary = now.canary.as_ref().filter(|_| began)?;
    let stable = now.stable.as_ref().map(|it| format!(" against stable {it}")).unwrap_or_default();
    Some(plain(format!("attempt {}: revision {canary} is on trial{stable}", now.attempt)))
}

fn phase(before: &RolloutView, now: &RolloutView) -> Vec<Change> {
    let mut all = vec![];
    if now.last != before.last
        && let Some(last) = &now.last
    {
        let tone = match last.end {
            strategies::End::Promoted => Tone::Good,
            strategies::End::RolledBack(_) => Tone::Bad,
            strategies::End::Superseded { .. } => Tone::Warn,
        };
        all.push(Change { tone, text: format!("revision {} {}", last.revision, words::end(last)) });
    }
    let place = |view: &RolloutView| (view.phase, view.step.as_ref().map(|it| it.index), view.attempt);
    if place(before) == place(now) {
        return all;
    }
    match now.phase {
        PhaseName::Aborting => {
            let why = now.cause.as_ref().map(words::cause).unwrap_or_default();
            all.push(Change { tone: Tone::Bad, text: format!("turning back: {why}") });
        }
        PhaseName::Stepping => {
            let goal = now.weight.goal.map(|it| format!(": {it} of the requests")).unwrap_or_default();
            all.push(plain(format!("{}{goal}", words::stands(now))));
        }
        PhaseName::RolledBack => {}
        PhaseName::Adopting
        | PhaseName::Idle
        | PhaseName::Promoting
        | PhaseName::Leaving
        | PhaseName::Left => all.push(plain(words::stands(now))),
    }
    all
}

fn weight(before: &RolloutView, now: &RolloutView) -> Option<Change> {
    if now.weight.settled == before.weight.settled {
        return None;
    }
    let settled = now.weight.settled?;
    Some(plain(format!("the canary gets {settled} of the requests")))
}

fn failure(before: Option<&RolloutView>, now: &RolloutView) -> Option<Change> {
    let is = now.failure.as_ref()?;
    let was = before.and_then(|it| it.failure.as_ref());
    if was.is_some_and(|was| {
        (&was.because, &was.revision, was.attempt) == (&is.because, &is.revision, is.attempt)
    }) {
        return None;
    }
    let text = format!(
        "revision {} {}: {}",
        is.revision,
        if is.ended { "fails" } else { "is not ready" },
        words::failure(is)
    );
    Some(Change { tone: Tone::Warn, text })
}

fn replicas(before: &RolloutView, now: &RolloutView, with_reason: bool) -> Vec<Change> {
    let restarts = |view: &RolloutView, of: &ArmView| {
        let arm = view.arms.iter().find(|it| (&it.revision, it.role) == (&of.revision, of.role));
        arm.map_or(0, |it| it.replicas.iter().map(|it| it.restarts).sum::<u64>())
    };
    let news = now.arms.iter().filter_map(|arm| {
        let more = restarts(now, arm).saturating_sub(restarts(before, arm));
        if more == 0 {
            return None;
        }
        let because = arm.replicas.iter().find_map(|it| it.because.clone()).filter(|_| with_reason);
        let because = because.map(|it| format!(": {it}")).unwrap_or_default();
        let role = role(arm.role);
        let text = format!("{role} {}: {}{because}", arm.revision, words::counted(more, "restart"));
        Some(Change { tone: Tone::Warn, text })
    });
    news.collect()
}

/// What the replicas of a revision are there for, as a word.
#[must_use]
pub(super) fn role(role: ArmRole) -> &'static str {
    match role {
        ArmRole::Stable => "stable",
        ArmRole::Baseline => "fresh",
        ArmRole::Canary => "canary",
        ArmRole::Former => "former",
    }
}

fn verdicts(before: &RolloutView, now: &RolloutView) -> Vec<Change> {
    let was = |analysis: &AnalysisView| {
        before.analyses.iter().find(|it| it.id == analysis.id).map_or(Verdict::Pending, |it| it.verdict)
    };
    let news = now.analyses.iter().filter(|it| it.verdict != was(it) && it.verdict != Verdict::Pending);
    let tell = |it: &AnalysisView| {
        let because = it.because.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        let tone = match it.verdict {
            Verdict::Pass | Verdict::Pending => Tone::Good,
            Verdict::Fail => Tone::Bad,
            Verdict::Inconclusive | Verdict::Error => Tone::Warn,
        };
        Change { tone, text: format!("analysis `{}` {}{because}", it.id.name, words::said(it.verdict)) }
    };
    news.map(tell).collect()
}

/// Orders that somebody gave a reason for; what they lead to is told anyway.
fn given(before: &RolloutView, now: &RolloutView) -> Vec<Change> {
    let told = |it: &&GivenOrder| {
        let shown_elsewhere = matches!(it.action, Action::Pause | Action::Abort);
        it.reason.is_some() && !shown_elsewhere && !before.given.contains(it)
    };
    let tell = |it: &GivenOrder| {
        let reason = it.reason.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        plain(format!("{} ordered: {}{reason}", it.by, it.action))
    };
    now.given.iter().filter(told).map(tell).collect()
}

fn hold(before: &RolloutView, now: &RolloutView) -> Option<Change> {
    match (&before.hold, &now.hold) {
        (was, Some(is)) if was.as_ref() != Some(is) => {
            let held = words::held(now).unwrap_or_default();
            Some(Change { tone: Tone::Warn, text: format!("paused: {held}") })
        }
        (Some(_), None) if now.phase == PhaseName::Stepping => Some(plain("it goes on".to_owned())),
        (Some(_) | None, Some(_) | None) => None,
    }
}

fn troubles(before: Option<&RolloutView>, now: &RolloutView) -> Vec<Change> {
    let known = |text: &str| before.is_some_and(|it| it.troubles.iter().any(|it| it.text == text));
    let news = now.troubles.iter().filter(|it| !known(&it.text));
    news.map(|it| Change { tone: Tone::Warn, text: it.text.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use strategies::{Cause, End, Ended, Weight};

    use super::*;
    use crate::cli::testing::view;

    #[track_caller]
    fn check(change: impl FnOnce(&mut RolloutView), expected: &[&str]) {
        let before = view();
        let mut now = view();
        change(&mut now);
        let lines: Vec<_> = changes(Some(&before), &now).into_iter().map(|it| it.text).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_a_replica_fails_of_is_told_once_with_its_log() {
        let failure = crate::api::view::FailureView {
            revision: "b".into(),
            attempt: 1,
            at: jiff::Timestamp::UNIX_EPOCH,
            because: "exit code 1: no config".into(),
            ended: true,
            said: vec!["no config".into()],
            log: Some("/state/logs/shop/b-main-0.log".into()),
        };
        let told = "revision b fails: exit code 1: no config; its log: /state/logs/shop/b-main-0.log";
        check(|it| it.failure = Some(failure.clone()), &[told]);
        let (mut before, mut now) = (view(), view());
        (before.failure, now.failure) = (Some(failure.clone()), Some(failure));
        assert_eq!(changes(Some(&before), &now), []);
        assert!(changes(None, &now).iter().any(|it| it.text == told));
    }

    #[test]
    fn each_change_is_told_once() {
        check(|_| {}, &[]);
        check(
            |it| it.weight.settled = Some(Weight::from_percent(10)),
            &["the canary gets 10% of the requests"],
        );
        check(|it| it.weight.settled = None, &[]);
        check(
            |it| {
                it.phase = PhaseName::Aborting;
                it.cause = Some(Cause::ProgressDeadline);
            },
            &[
                "turning back: replicas, data plane or hand-over took longer than the progress deadline allows",
            ],
        );
        check(
            |it| {
                it.phase = PhaseName::RolledBack;
                let end = End::RolledBack(Cause::NotApproved { step: "five".into() });
                it.last =
                    Some(Ended { revision: "b".into(), attempt: 1, end, at: jiff::Timestamp::UNIX_EPOCH });
            },
            &["revision b rolled back: nobody approved step `five` in time"],
        );
    }
}
