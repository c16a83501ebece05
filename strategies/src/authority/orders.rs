use jiff::Timestamp;

use super::{Look, edits::go_on};
use crate::mutant::rule;
use crate::{
    Accepted, Action, Cause, Effect, Hold, LeaveBehavior, Order, Phase, Status, Verdict,
    status::{Said, Waited},
};

/// The abort that takes effect now: before anything else that anybody says.
pub(super) fn take_abort(look: &Look<'_>) -> Option<Status> {
    if rule!(AbortLast, false) {
        return None;
    }
    let mut aborts = open(look).filter(|it| it.action == Action::Abort && is_about(look, it));
    aborts.find_map(|order| {
        let (next, overrode) = take(look, order)?;
        Some(dealt_with(look, next, order, effect(overrode)))
    })
}

/// The first order that was not dealt with yet, with what it does. One that does nothing is dealt with as well: it must
/// not come as a surprise later.
pub(super) fn take_orders(look: &Look<'_>) -> Option<Status> {
    open(look).find_map(|order| {
        let taken = is_about(look, order).then(|| take(look, order)).flatten();
        if let Some((next, overrode)) = taken {
            let room = has_room(look) || order.action == Action::Abort;
            return room.then(|| dealt_with(look, next, order, effect(overrode)));
        }
        let closes = has_room(look) && !rule!(IdleOrdersStand, false);
        closes.then(|| dealt_with(look, look.status.clone(), order, Effect::Nothing))
    })
}

fn effect(overrode: bool) -> Effect {
    if overrode { Effect::Overrode } else { Effect::Took }
}

/// The orders of this attempt that are new. What is void by time is void for ever.
fn open<'a>(look: &'a Look<'_>) -> impl Iterator<Item = &'a Order> {
    let status = look.status;
    look.orders.0.iter().filter(move |order| {
        rule!(LateOrders, status.attempt == order.attempt)
            && order.not_after.is_none_or(|end| look.now <= end)
            && rule!(RepeatedOrders, !status.accepted.iter().any(|it| it.id == order.id))
    })
}

/// Whether an order can be remembered without forgetting one that still stands, which would count again then.
fn has_room(look: &Look<'_>) -> bool {
    look.status.accepted.len() < Status::ORDERS || look.status.accepted.iter().any(|it| !stands(look, it))
}

fn stands(look: &Look<'_>, dealt: &Accepted) -> bool {
    look.orders.0.iter().any(|it| it.id == dealt.id)
}

fn dealt_with(look: &Look<'_>, mut next: Status, order: &Order, effect: Effect) -> Status {
    if Status::ORDERS <= next.accepted.len()
        && let Some(oldest) = next.accepted.iter().position(|it| !stands(look, it))
    {
        next.accepted.remove(oldest);
    }
    let (id, action, by) = (order.id.clone(), order.action, order.by.clone());
    next.accepted.push(Accepted { id, action, by, at: look.now, effect });
    next
}

/// The orders that would go on from a hold.
pub(crate) fn open_orders(hold: &Hold) -> Vec<Action> {
    match hold {
        Hold::Ordered { .. } => vec![Action::Resume, Action::Abort],
        Hold::Verdict { .. } => vec![Action::Resume, Action::Promote, Action::Abort],
        Hold::ProgressDeadline => vec![Action::Resume, Action::Abort],
    }
}

/// An order about another revision or another step is about something else.
fn is_about(look: &Look<'_>, order: &Order) -> bool {
    let status = look.status;
    status.canary.as_ref() == Some(&order.revision)
        && order.step.as_ref().is_none_or(|it| Some(it) == status.phase.step())
}

/// What an order makes of the status, and whether it overrides a gate. `None`: it has nothing to do here.
fn take(look: &Look<'_>, order: &Order) -> Option<(Status, bool)> {
    match order.action {
        Action::Abort => abort(look, order).map(|it| (it, false)),
        Action::Retry => retry(look).map(|it| (it, false)),
        Action::Promote | Action::PromoteFull | Action::Approve | Action::Pause | Action::Resume => {
            look.status.phase.step()?;
            match look.status.place(look.plan) {
                Some(place) => steer(look, order, place),
                None => steer_without_step(look, order),
            }
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
    (refused && look.is_complete()).then(|| status.start(revision, look.plan, 0, look.now))
}

fn steer(look: &Look<'_>, order: &Order, step: usize) -> Option<(Status, bool)> {
    let mut next = look.status.clone();
    let gates_from = |first: usize| look.plan.steps.iter().skip(first);
    let passed = |at: usize| at == step && is_passed(look);
    let blind = !look.plan.lacks(look.status).is_empty();
    match order.action {
        Action::Pause if next.hold.is_none() => {
            next.hold = Some(Hold::Ordered { by: order.by.clone() });
            Some((next, false))
        }
        Action::Resume => {
            match next.hold.take()? {
                Hold::Ordered { .. } => {}
                Hold::ProgressDeadline => next.waited = Waited { since: Some(look.now), ..Waited::default() },
                Hold::Verdict { id, .. } => measure_again(&mut next, &id, look.now),
            }
            Some((next, false))
        }
        Action::Approve if next.said == Said::Nothing => {
            next.said = Said::Approved;
            Some((next, false))
        }
        Action::Promote if next.said != Said::Promoted && next.said != Said::PromotedFully => {
            let overrides = gates_from(step).take(1).any(|it| it.leave.gates()) && !passed(step);
            lift(&mut next, look.now);
            next.said = Said::Promoted;
            Some((next, overrides || blind))
        }
        Action::PromoteFull if next.said != Said::PromotedFully => {
            let mut left = gates_from(step).enumerate();
            let overrides = left.any(|(at, it)| it.leave.gates() && !passed(step + at));
            lift(&mut next, look.now);
            if step < look.plan.last_step() {
                next = next.enter_step(look.plan, look.plan.last_step(), look.now);
            }
            Some((all_the_way(look, next), overrides || blind))
        }
        Action::Pause
        | Action::Approve
        | Action::Promote
        | Action::PromoteFull
        | Action::Abort
        | Action::Retry => None,
    }
}

/// The plan has no step of the present one's name any more: a person says how to go on.
fn steer_without_step(look: &Look<'_>, order: &Order) -> Option<(Status, bool)> {
    let mut next = look.status.clone();
    let gated = next.doing.as_ref().is_some_and(|it| it.leave.gates());
    match order.action {
        Action::Pause if next.hold.is_none() => {
            next.hold = Some(Hold::Ordered { by: order.by.clone() });
            Some((next, false))
        }
        Action::Resume | Action::Promote => {
            let mut next = go_on(look);
            lift(&mut next, look.now);
            Some((next, gated))
        }
        Action::PromoteFull => {
            let mut left = look.plan.steps.iter().filter(|it| !next.has_passed(it));
            let overrides = gated || left.any(|it| it.leave.gates());
            lift(&mut next, look.now);
            let next = next.enter_step(look.plan, look.plan.last_step(), look.now);
            Some((all_the_way(look, next), overrides))
        }
        Action::Pause | Action::Approve | Action::Abort | Action::Retry => None,
    }
}

/// Every step is passed at a person's word.
fn all_the_way(look: &Look<'_>, mut next: Status) -> Status {
    next.said = Said::PromotedFully;
    look.plan.steps.iter().for_each(|it| next.pass(it));
    next
}

/// Lifts a hold for an order that goes on; a guard that could not see begins anew.
fn lift(status: &mut Status, now: Timestamp) {
    if let Some(Hold::Verdict { id, .. }) = status.hold.take() {
        measure_again(status, &id, now);
    }
}

fn measure_again(status: &mut Status, id: &crate::ActivityId, now: Timestamp) {
    match id.window {
        crate::Window::Step(_) => status.measure_step_again(now),
        crate::Window::From(_) => status.guards_again = status.guards_again.saturating_add(1),
    }
}

impl Status {
    /// What the present step must pass is measured from now on, and has its whole time.
    pub(crate) fn measure_step_again(&mut self, now: Timestamp) {
        self.again = self.again.saturating_add(1);
        if !rule!(AskedTooLate, false) {
            self.held = self.held.map(|_| now);
        }
    }
}

/// Whether the present step's own gate has passed.
fn is_passed(look: &Look<'_>) -> bool {
    let (Some(doing), Some(seen)) = (&look.status.doing, crate::activities::step_seen(look.status, look.now))
    else {
        return false;
    };
    let mut own = doing.leave.activities(&seen).into_iter().peekable();
    own.peek().is_some() && own.all(|it| seen.verdict(it.id()) == Verdict::Pass)
}
