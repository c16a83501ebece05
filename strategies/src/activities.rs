use jiff::Timestamp;

use crate::{
    Activity, ActivityId, Guard, LeaveBehavior, Plan, Purpose, Samples, Status, StepSeen, Watches, Window,
    mutant::rule, status::Said,
};

/// What should be running now, as far as it can be asked.
pub(crate) fn running(plan: &Plan, status: &Status, now: Timestamp, samples: Samples) -> Vec<Activity> {
    let mut all = activities(plan, status, now, samples);
    all.retain(|it| plan.can_ask(it));
    all
}

/// What the plan asks for now: the present step's analyses once its goal has been seen to hold, and the guards
/// whose step has begun, those of replicas from its first moment on.
pub(crate) fn activities(plan: &Plan, status: &Status, now: Timestamp, samples: Samples) -> Vec<Activity> {
    let Some(step) = status.phase.step() else { return vec![] };
    // Where one side answers nothing the split is none of the plan's.
    let samples = if status.fallen().is_some() { Samples::Withheld } else { samples };
    let guards = plan.guards.iter().filter(|guard| {
        guard.from == *step && (status.held.is_some() || begins_at_once(guard))
            || is_past(plan, status, guard)
    });
    let guards = guards.map(|guard| Activity::Analysis {
        id: guard_id(status, guard),
        purpose: Purpose::Guard,
        analyses: vec![guard.name.clone()],
        samples: if begins_at_once(guard) { Samples::Count } else { samples },
        min: crate::HumanDuration::default(),
        max: None,
    });
    let own = step_seen(status, now).zip(status.doing.as_ref()).filter(|_| plan.step_named(step).is_some());
    let own = own.map(|(seen, doing)| doing.leave.activities(&seen));
    guards.chain(own.into_iter().flatten().map(|it| with_samples(it, samples))).collect()
}

/// Whether the step that a guard begins with lies behind the present one. One that the plan does not have is taken to
/// be the first.
fn is_past(plan: &Plan, status: &Status, guard: &Guard) -> bool {
    let from = plan.step_named(&guard.from);
    match (from, status.place(plan)) {
        (_, Some(present)) => from.unwrap_or(0) < present || (from.is_none() && status.held.is_some()),
        (_, None) => status.passed.iter().any(|it| it.step == guard.from) || from.is_none(),
    }
}

fn begins_at_once(guard: &Guard) -> bool {
    match guard.watches {
        Watches::Traffic => false,
        Watches::Replicas => !rule!(ReplicasUnwatched, false),
    }
}

/// The id of a guard's run. Its window spans steps, so its evidence does too.
pub(crate) fn guard_id(status: &Status, guard: &Guard) -> ActivityId {
    ActivityId {
        attempt: status.attempt,
        revision: status.canary.clone().unwrap_or_else(|| "".into()),
        window: Window::From(guard.from.clone()),
        name: guard.name.clone(),
        again: status.guards_again,
    }
}

/// What the present step may look at; `None` before its goal was first seen to hold.
pub(crate) fn step_seen(status: &Status, now: Timestamp) -> Option<StepSeen<'_>> {
    Some(StepSeen {
        attempt: status.attempt,
        revision: status.canary.as_ref()?,
        step: status.phase.step()?,
        held: status.held?,
        now,
        verdicts: &status.verdicts,
        again: status.again,
        approved: status.said == Said::Approved,
    })
}

fn with_samples(activity: Activity, now: Samples) -> Activity {
    match activity {
        Activity::Analysis { id, purpose, analyses, samples: _, min, max } => {
            Activity::Analysis { id, purpose, analyses, samples: now, min, max }
        }
        other @ (Activity::Hook { .. } | Activity::Preflight { .. }) => other,
    }
}
