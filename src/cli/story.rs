//! The story of one attempt, from the statuses that were saved in its course. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use strategies::{Accepted, Effect, Name, Phase, Status, Verdict};

use super::{changes::Tone, words};

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Chapter {
    /// When.
    pub(super) at: Timestamp,
    /// How it is to be taken.
    pub(super) tone: Tone,
    /// In words.
    pub(super) text: String,
}

/// What happened in this attempt, oldest first. Empty: nothing is known of it.
#[must_use]
pub(super) fn story(statuses: &[Status], attempt: u32, reasons: &BTreeMap<Name, Name>) -> Vec<Chapter> {
    let mut told = vec![];
    for (index, status) in statuses.iter().enumerate() {
        let before = index.checked_sub(1).map(|it| &statuses[it]);
        // What follows on an end belongs to its attempt: the old replicas go.
        if status.attempt == attempt {
            told.extend(between(before.filter(|it| it.attempt == attempt), status, reasons));
        }
    }
    told
}

fn between(before: Option<&Status>, now: &Status, reasons: &BTreeMap<Name, Name>) -> Vec<Chapter> {
    let mut told = vec![];
    let at = latest(now);
    let chapter = |tone, text| Chapter { at, tone, text };
    if before.is_none() && now.attempt > 0 {
        let canary = now.canary.as_ref().map(ToString::to_string).unwrap_or_default();
        let stable = now.stable.as_ref().map(|it| format!(" against stable {it}")).unwrap_or_default();
        told.push(chapter(Tone::Plain, format!("revision {canary} went on trial{stable}")));
    }
    let ordered = |it: &&Accepted| before.is_none_or(|before| !before.accepted.contains(it));
    told.extend(now.accepted.iter().filter(ordered).map(|it| order(it, reasons.get(&it.id))));
    for (id, outcome) in &now.verdicts {
        if before.is_some_and(|it| it.verdicts.contains_key(id)) {
            continue;
        }
        let because = outcome.because.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        let tone = match outcome.verdict {
            Verdict::Pass | Verdict::Pending => Tone::Good,
            Verdict::Fail => Tone::Bad,
            Verdict::Inconclusive | Verdict::Error => Tone::Warn,
        };
        told.push(chapter(tone, format!("analysis `{}` {}{because}", id.name, words::said(outcome.verdict))));
    }
    if let (Some(hold), true) = (&now.hold, before.is_none_or(|it| it.hold != now.hold)) {
        told.push(chapter(Tone::Warn, format!("paused: {}", words::hold(hold))));
    }
    let held = before.is_none_or(|it| it.held.is_none() || it.phase != now.phase);
    if before.is_none_or(|it| it.phase != now.phase) {
        told.extend(phase(before, now).map(|(tone, text)| Chapter { at: now.since, tone, text }));
    } else if let (Some(held), Phase::Stepping { step }, true) = (now.held, &now.phase, held) {
        let text = format!("step `{step}`: its share of the requests had settled");
        told.push(Chapter { at: held, tone: Tone::Plain, text });
    }
    told
}

/// When it was saved, as far as the status itself tells.
fn latest(status: &Status) -> Timestamp {
    let accepted = status.accepted.iter().map(|it| it.at).max();
    let known = [Some(status.since), status.held, accepted, status.last.as_ref().map(|it| it.at)];
    known.into_iter().flatten().max().unwrap_or(status.since)
}

fn order(it: &Accepted, reason: Option<&Name>) -> Chapter {
    let (tone, effect) = match it.effect {
        Effect::Took => (Tone::Plain, ""),
        Effect::Overrode => (Tone::Warn, ", past a gate that had not passed"),
        Effect::Nothing => (Tone::Plain, ", which had nothing to do"),
    };
    let reason = reason.map(|it| format!(": {it}")).unwrap_or_default();
    Chapter { at: it.at, tone, text: format!("{} ordered: {}{effect}{reason}", it.by, it.action) }
}

fn phase(before: Option<&Status>, now: &Status) -> Option<(Tone, String)> {
    match &now.phase {
        Phase::Stepping { step } => Some((Tone::Plain, format!("step `{step}` began"))),
        Phase::Promoting => Some((Tone::Good, "promoted: the canary is stable".to_owned())),
        Phase::Aborting { cause } => Some((Tone::Bad, format!("turned back: {}", words::cause(cause)))),
        Phase::RolledBack { .. } => {
            Some((Tone::Bad, "rolled back: nothing comes to the canary any more".to_owned()))
        }
        Phase::Idle => {
            before.map(|_| (Tone::Plain, "at rest: what was left of the other revision is gone".to_owned()))
        }
        Phase::Adopting => Some((Tone::Plain, "the first revision was brought up".to_owned())),
        Phase::Leaving => Some((Tone::Warn, "the rollout was deleted".to_owned())),
        Phase::Left => None,
    }
}

#[cfg(test)]
mod tests {
    use strategies::Cause;

    use super::*;

    #[test]
    fn an_attempt_is_told_from_its_beginning_to_its_end() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut all = vec![Status::new(at(0))];
        let mut status = Status { stable: Some("a".into()), phase: Phase::Idle, ..Status::new(at(1)) };
        all.push(status.clone());
        status.attempt = 1;
        status.canary = Some("b".into());
        status.phase = Phase::Stepping { step: "ten".into() };
        status.since = at(2);
        all.push(status.clone());
        status.held = Some(at(4));
        all.push(status.clone());
        status.phase = Phase::Aborting { cause: Cause::ProgressDeadline };
        status.since = at(5);
        all.push(status.clone());
        let told: Vec<_> = story(&all, 1, &BTreeMap::new()).into_iter().map(|it| it.text).collect();
        assert_eq!(
            told,
            [
                "revision b went on trial against stable a",
                "step `ten` began",
                "step `ten`: its share of the requests had settled",
                "turned back: replicas, data plane or hand-over took longer than the progress deadline allows",
            ]
        );
        assert_eq!(story(&all, 7, &BTreeMap::new()), []);
    }
}
