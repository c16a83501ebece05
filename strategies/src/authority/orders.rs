use super::{Look, keep_latest};
use crate::mutant::rule;
use crate::{
    Accepted, Action, Cause, Hold, LeaveBehavior, Order, Phase, Status, Verdict,
    status::{Said, Waited},
};

/// The first order that takes effect now. An abort goes before all others.
pub(crate) fn take_orders(look: &Look<'_>) -> Option<Status> {
    let aborts_first = |order: &&Order| order.action != Action::Abort;
    let mut orders: Vec<&Order> = look.orders.0.iter().filter(|it| is_about(look, it)).collect();
    if !rule!(AbortLast, false) {
        orders.sort_by_key(aborts_first);
    }
    orders.into_iter().find_map(|order| {
        let (mut next, overrode) = take(look, order)?;
        next.accepted.push(Accepted {
            id: order.id.clone(),
            action: order.action,
            by: order.by.clone(),
            at: look.now,
            overrode,
        });
        keep_latest(&mut next.accepted, Status::ORDERS);
        Some(next)
    })
}

/// The orders that would go on from a hold.
pub(crate) fn open_orders(hold: &Hold) -> Vec<Action> {
    match hold {
        Hold::Ordered { .. } => vec![Action::Resume, Action::Abort],
        Hold::Verdict { .. } => vec![Action::Resume, Action::Promote, Action::Abort],
        Hold::ProgressDeadline => vec![Action::Resume, Action::Abort],
    }
}

/// A late, repeated or foreign order is about something else.
fn is_about(look: &Look<'_>, order: &Order) -> bool {
    let status = look.status;
    let step = status.phase.step().and_then(|step| look.plan.steps.get(step)).map(|it| &it.name);
    status.canary.as_ref() == Some(&order.revision)
        && rule!(LateOrders, status.attempt == order.attempt)
        && order.step.as_ref().is_none_or(|it| Some(it) == step)
        && order.not_after.is_none_or(|end| look.now <= end)
        && rule!(RepeatedOrders, !status.accepted.iter().any(|it| it.id == order.id))
}

/// What an order makes of the status, and whether it overrides a gate. `None`: it has nothing to do here.
fn take(look: &Look<'_>, order: &Order) -> Option<(Status, bool)> {
    match order.action {
        Action::Abort => abort(look, order).map(|it| (it, false)),
        Action::Retry => retry(look).map(|it| (it, false)),
        Action::Promote | Action::PromoteFull | Action::Approve | Action::Pause | Action::Resume => {
            let Phase::Stepping { step } = look.status.phase else { return None };
            steer(look, order, step)
        }
    }
}

fn abort(look: &Look<'_>, order: &Order) -> Option<Status> {
    let cause = Cause::Aborted { by: order.by.clone(), reason: order.reason.clone() };
    match &look.status.phase {
        Phase::Stepping { .. }
            if look.status.said == Said::PromotedFully && rule!(AbortAfterPromote, false) =>
        {
            None
        }
        Phase::Stepping { .. } => Some(look.status.abort(cause, look.now)),
        // Already on the way back to make room for another revision; this one is refused as well.
        Phase::Aborting { cause: Cause::Superseded { .. } } => {
            let mut next = look.status.clone();
            next.phase = Phase::Aborting { cause };
            Some(next)
        }
        Phase::Aborting { .. }
        | Phase::Adopting
        | Phase::Idle
        | Phase::Promoting
        | Phase::RolledBack { .. }
        | Phase::Leaving
        | Phase::Left => None,
    }
}

fn retry(look: &Look<'_>) -> Option<Status> {
    let (status, revision) = (look.status, &look.wanted.revision);
    let refused =
        matches!(status.phase, Phase::RolledBack { .. }) && status.canary.as_ref() == Some(revision);
    refused.then(|| status.start(revision, 0, look.now))
}

fn steer(look: &Look<'_>, order: &Order, step: usize) -> Option<(Status, bool)> {
    let mut next = look.status.clone();
    let gates_from = |first: usize| look.plan.steps.iter().skip(first);
    let passed = |at: usize| at == step && is_passed(look);
    match order.action {
        Action::Pause if next.hold.is_none() => {
            next.hold = Some(Hold::Ordered { by: order.by.clone() });
            Some((next, false))
        }
        Action::Resume => {
            match next.hold.take()? {
                Hold::Ordered { .. } => {}
                Hold::ProgressDeadline => next.waited = Waited { since: Some(look.now), ..Waited::default() },
                Hold::Verdict { id, .. } => measure_again(&mut next, &id),
            }
            Some((next, false))
        }
        Action::Approve if next.said == Said::Nothing => {
            next.said = Said::Approved;
            Some((next, false))
        }
        Action::Promote if next.said != Said::Promoted && next.said != Said::PromotedFully => {
            let overrides = gates_from(step).take(1).any(|it| it.leave.gates()) && !passed(step);
            lift(&mut next);
            next.said = Said::Promoted;
            Some((next, overrides))
        }
        Action::PromoteFull if next.said != Said::PromotedFully => {
            let mut left = gates_from(step).enumerate();
            let overrides = left.any(|(at, it)| it.leave.gates() && !passed(step + at));
            lift(&mut next);
            if step < look.plan.last_step() {
                next = next.enter(Phase::Stepping { step: look.plan.last_step() }, look.now);
            }
            next.said = Said::PromotedFully;
            Some((next, overrides))
        }
        Action::Pause
        | Action::Approve
        | Action::Promote
        | Action::PromoteFull
        | Action::Abort
        | Action::Retry => None,
    }
}

/// Lifts a hold for an order that goes on; a guard that could not see begins anew.
fn lift(status: &mut Status) {
    if let Some(Hold::Verdict { id, .. }) = status.hold.take() {
        measure_again(status, &id);
    }
}

fn measure_again(status: &mut Status, id: &crate::ActivityId) {
    match id.window {
        crate::Window::Step(_) => status.again = status.again.saturating_add(1),
        crate::Window::From(_) => status.guards_again = status.guards_again.saturating_add(1),
    }
}

/// Whether the present step's own gate has passed.
fn is_passed(look: &Look<'_>) -> bool {
    let Phase::Stepping { step } = look.status.phase else { return false };
    let Some(seen) = crate::activities::step_seen(look.plan, look.status, step, look.now) else {
        return false;
    };
    let mut own = look.plan.steps[step].leave.activities(&seen).into_iter().peekable();
    own.peek().is_some() && own.all(|it| seen.verdict(it.id()) == Verdict::Pass)
}
