//! How a Rollout stands, as the record behind its `/status`. PURE.

use jiff::Timestamp;
use strategies::{Phase, Weight};

use super::site::Scale;
use crate::{
    api::view::{PhaseName, cause as why, hold, words},
    rollout::Standing,
    spec::{Condition, ConditionStatus, Moment, RolloutStatus},
};

/// Bytes that a status may have.
pub(super) const MOST: usize = 256 << 10;
/// Bytes of a message that are kept.
const MOST_TEXT: usize = 1024;

/// Everything that a status tells, over what it told before.
pub(super) fn tell(
    before: &RolloutStatus,
    standing: &Standing,
    scale: Scale,
    wall: Timestamp,
) -> RolloutStatus {
    let status = &standing.status;
    let generation = i64::try_from(standing.generation).ok();
    let message = sentence(standing);
    let told = conditions(standing).map(|(kind, is, reason)| {
        let known = before.condition(kind).filter(|it| it.status == is);
        Condition {
            kind: kind.to_owned(),
            status: is,
            reason: reason.to_owned(),
            message: message.clone(),
            last_transition_time: known.map_or(Moment(wall), |it| it.last_transition_time),
            observed_generation: generation,
        }
    });
    let mut shown = standing.clone();
    // It is remembered once.
    shown.status = strategies::Status::new(status.since);
    RolloutStatus {
        observed_generation: generation,
        conditions: told.to_vec(),
        phase: PhaseName::from(&status.phase).to_string(),
        step: status.phase.step().map(ToString::to_string),
        weight: Some(weight(standing).to_string()),
        stable: status.stable.as_ref().map(ToString::to_string),
        canary: status.canary.as_ref().map(ToString::to_string),
        attempt: (status.attempt > 0).then_some(status.attempt),
        waiting: standing.waiting.iter().map(|it| cut(&words(&it.what))).take(8).collect(),
        hold: status.hold.as_ref().map(|it| cut(&hold(it))),
        message: Some(message),
        replicas: scale.replicas,
        selector: scale.selector,
        workload: scale.workload,
        dealt: before.dealt.clone(),
        remembered: serde_json::to_value(status).ok(),
        shown: serde_json::to_value(&shown).ok(),
        checkpoints: before.checkpoints.clone(),
    }
}

/// How it stands, from a record; `None`: nothing was told yet, or by a version that is not understood.
pub(super) fn standing(status: &RolloutStatus) -> Option<Standing> {
    let mut standing: Standing = serde_json::from_value(status.shown.clone()?).ok()?;
    standing.status = serde_json::from_value(status.remembered.clone()?).ok()?;
    Some(standing)
}

/// Takes out what can be done without until the record fits; whether it does.
pub(super) fn fit(status: &mut RolloutStatus) -> bool {
    let size = |it: &RolloutStatus| serde_json::to_vec(it).map_or(0, |it| it.len());
    if size(status) <= MOST {
        return true;
    }
    // Evidence begins anew; what was concluded from it is remembered.
    status.checkpoints.clear();
    if size(status) <= MOST {
        return true;
    }
    status.shown = None;
    size(status) <= MOST
}

/// What differs matters to people: times and counts that go on by themselves do not.
pub(super) fn differs(before: &RolloutStatus, now: &RolloutStatus) -> bool {
    let plain =
        |it: &RolloutStatus| RolloutStatus { shown: None, checkpoints: Default::default(), ..it.clone() };
    let said = |it: &RolloutStatus| {
        let of = |key: &str| it.shown.as_ref().and_then(|it| it.get(key)).cloned();
        [of("troubles"), of("failure"), of("orders"), of("arms")]
    };
    plain(before) != plain(now) || said(before) != said(now)
}

fn weight(standing: &Standing) -> Weight {
    standing.weight.settled.unwrap_or(standing.weight.asked)
}

/// How it stands, in a sentence.
pub(super) fn sentence(standing: &Standing) -> String {
    let status = &standing.status;
    let canary = status.canary.as_ref().map(ToString::to_string).unwrap_or_default();
    let stands = match &status.phase {
        Phase::Adopting => "taking the workload over".to_owned(),
        Phase::Idle => match &status.stable {
            Some(stable) => format!("revision {stable} serves all"),
            None => "nothing has been released yet".to_owned(),
        },
        Phase::Stepping { step } => {
            format!("revision {canary} is on trial: step {step}, {} of the requests", weight(standing))
        }
        Phase::Promoting => format!("revision {canary} has passed and takes over"),
        Phase::Aborting { cause } => format!("turning back from revision {canary}: {}", why(cause)),
        Phase::RolledBack { cause } => format!("revision {canary} was rolled back: {}", why(cause)),
        Phase::Leaving => "giving everything back".to_owned(),
        Phase::Left => "everything has been given back".to_owned(),
    };
    let trouble = standing.troubles.first().map(|it| format!("; {}", it.text)).unwrap_or_default();
    let waits =
        standing.waiting.first().map(|it| format!("; waits for {}", words(&it.what))).unwrap_or_default();
    cut(&format!("{stands}{waits}{trouble}"))
}

/// In the terms of kstatus: `Reconciling` and `Stalled` stand for a rollout under way and one that cannot go on by
/// itself; `Promoted` is for `kubectl wait`.
fn conditions(standing: &Standing) -> [(&'static str, ConditionStatus, &'static str); 4] {
    let is = |it: bool| if it { ConditionStatus::True } else { ConditionStatus::False };
    let status = &standing.status;
    let wanted = status.stable.as_ref() == Some(&standing.wanted);
    let phase = PhaseName::from(&status.phase);
    let reason = match phase {
        PhaseName::Adopting => "Adopting",
        PhaseName::Idle => "Promoted",
        PhaseName::Stepping => "Stepping",
        PhaseName::Promoting => "Promoting",
        PhaseName::Aborting => "Aborting",
        PhaseName::RolledBack => "RolledBack",
        PhaseName::Leaving => "Leaving",
        PhaseName::Left => "Left",
    };
    let promoted = phase == PhaseName::Idle && wanted;
    let stalled = phase == PhaseName::RolledBack;
    let reconciling = !promoted && !stalled && phase != PhaseName::Left;
    [
        ("Ready", is(promoted), reason),
        ("Reconciling", is(reconciling), reason),
        ("Stalled", is(stalled), reason),
        ("Promoted", is(promoted), reason),
    ]
}

fn cut(text: &str) -> String {
    if text.len() <= MOST_TEXT {
        return text.to_owned();
    }
    let end = (0..=MOST_TEXT).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}
