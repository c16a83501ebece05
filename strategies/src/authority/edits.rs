//! A plan may be edited while a rollout runs. A step is known by its name; what was passed stays passed under its
//! name, and nothing else does: no gate, bake or approval is skipped because places have moved, and no time or
//! evidence counts that belongs to another goal.

use super::Look;
use crate::mutant::rule;
use crate::{
    Gate, Phase, Plan, Status, Step,
    status::{Passed, Said},
};

/// What the plan, as it is now, makes of the present step; `None`: nothing, or it has no step of that name any more,
/// which only a person can answer.
pub(super) fn follow_plan(look: &Look<'_>) -> Option<Status> {
    let (plan, status) = (look.plan, look.status);
    status.phase.step()?;
    if let Some(resolved) = status.resolved(plan) {
        return Some(resolved);
    }
    let Some(place) = status.place(plan) else {
        return rule!(GoneGoesOn, false).then(|| go_on(look));
    };
    back_to_what_was_not_passed(look, place).or_else(|| take_up_anew(look, place))
}

/// The first step that was not passed, where the present one is gone.
pub(super) fn go_on(look: &Look<'_>) -> Status {
    let plan = look.plan;
    let first = plan.steps.iter().position(|it| !look.status.has_passed(it));
    look.restart(first.unwrap_or(plan.last_step()))
}

/// A step that stands before the present one and was never passed comes first. The canary has no more there, or what
/// every step before it lets it have.
fn back_to_what_was_not_passed(look: &Look<'_>, place: usize) -> Option<Status> {
    if rule!(InsertedSkipped, look.status.said == Said::PromotedFully) {
        return None;
    }
    let first = look.plan.steps.iter().take(place).position(|it| !look.status.has_passed(it))?;
    Some(look.restart(first))
}

/// The present step asks for something else than it did.
fn take_up_anew(look: &Look<'_>, place: usize) -> Option<Status> {
    let status = look.status;
    let asks = look.plan.doing(place)?;
    if status.doing.as_ref() == Some(&asks) {
        return None;
    }
    let same_goal = status.doing.as_ref().is_some_and(|it| it.goal == asks.goal);
    if same_goal && asks.leave_is_open() {
        // Nothing but time is asked for, and it was spent under this very goal.
        return Some(Status { doing: Some(asks), ..status.clone() });
    }
    let mut next = look.restart(place);
    if rule!(EditKeepsYes, status.said == Said::PromotedFully) {
        next.said = status.said;
    }
    if rule!(EditKeepsTime, false) {
        next.held = status.held;
    }
    Some(next)
}

impl Look<'_> {
    /// Takes the step at `place` up from its beginning: what was measured in it or in another step counts no more, and
    /// what takes something away from the canary is a change of authority.
    fn restart(&self, place: usize) -> Status {
        let status = self.status;
        let mut next = status.enter_step(self.plan, place, self.now);
        if !rule!(EditKeepsEvidence, false) {
            next.again = status.again.saturating_add(1);
        }
        if !status.goal().within(&next.goal()) && !rule!(LoweredKeepsEpoch, false) {
            next.epoch = status.epoch.next();
        }
        next
    }
}

impl crate::Doing {
    fn leave_is_open(&self) -> bool {
        use crate::LeaveBehavior;
        self.leave.gate() == Gate::Open
    }
}

impl Status {
    /// Whether this step is over: a step of its name was passed, and its gate asks for nothing more than that one's.
    pub(crate) fn has_passed(&self, step: &Step) -> bool {
        let now = Passed::of(step);
        self.passed.iter().any(|it| it.step == now.step && it.gate.covers(&now.gate))
    }

    /// The step at `place` of `plan`, from its beginning.
    pub(crate) fn enter_step(&self, plan: &Plan, place: usize, now: jiff::Timestamp) -> Self {
        let name = plan.steps.get(place).map_or_else(|| "".into(), |it| it.name.clone());
        let mut next = self.enter(Phase::Stepping { step: name }, now);
        next.doing = plan.doing(place);
        next
    }

    /// Notes that a step is over.
    pub(crate) fn pass(&mut self, step: &Step) {
        self.passed.retain(|it| it.step != step.name);
        self.passed.push(Passed::of(step));
        super::keep_latest(&mut self.passed, Self::PASSED);
    }
}
