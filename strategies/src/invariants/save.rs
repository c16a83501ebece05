use std::time::Duration;

use jiff::Timestamp;

use super::{
    Findings, Violation,
    exposure::{
        Of, answers_nothing, authorised, canary, evaded, exposure, exposure_of, has_ready, is_shared, loose,
        place_of, ratio_allows, stable,
    },
};
use crate::{
    Accepted, Action, ActivityId, Cause, Change, Consequence, Dest, Down, Effect, Gate, Goal, Hold, Leave,
    Measuring, Mode, Name, Order, Orders, OwnerIs, Phase, Plan, Repair, Role, RouteKind, RouteRest, Said,
    Seen, Side, Sizing, Status, Steering, Step, Verdict, Window, World,
};

/// What saving `after` over `before` breaks, judged on the orders and the world it was decided on.
#[must_use]
pub fn check_save(
    plan: &Plan,
    before: &Status,
    orders: &Orders,
    world: &World,
    after: &Status,
    now: Timestamp,
) -> Vec<Violation> {
    let judge = Judge { plan, before, orders, world, after, now };
    let mut found = Findings(vec![]);
    found.require(before != after, "L9", || "a save that changes nothing".into());
    judge.bounds(&mut found);
    judge.authority(&mut found);
    judge.orders(&mut found);
    judge.evidence(&mut found);
    judge.course(&mut found);
    judge.plan_followed(&mut found);
    judge.repairs(&mut found);
    judge.down(&mut found);
    judge.interrupted(&mut found);
    judge.resumed(&mut found);
    found.0
}

/// Whether `order` is of this attempt and was not dealt with.
pub(super) fn is_new(status: &Status, order: &Order, now: Timestamp) -> bool {
    let in_time = order.not_after.is_none_or(|it| now <= it);
    in_time && status.attempt == order.attempt && status.accepted.iter().all(|it| it.id != order.id)
}

/// Whether `order` is about this rollout as it stands, and new to it.
pub(super) fn is_open(status: &Status, order: &Order, now: Timestamp) -> bool {
    let step = match &status.phase {
        Phase::Stepping { step } => Some(step.clone()),
        Phase::Adopting
        | Phase::Idle
        | Phase::Promoting
        | Phase::Aborting { .. }
        | Phase::RolledBack { .. }
        | Phase::Leaving
        | Phase::Left => None,
    };
    let here = order.step.is_none() || order.step == step;
    is_new(status, order, now) && here && status.canary.as_ref() == Some(&order.revision)
}

/// Whether the world is exactly as the present step wants it: no more and no less on the canary, stamped and settled.
pub(super) fn goal_holds(plan: &Plan, status: &Status, world: &World, now: Timestamp) -> Result<(), String> {
    let Some(arm) = canary(status) else { return Err("there is no canary".into()) };
    let goal = authorised(plan, status);
    if plan.steering == Steering::Ratio {
        let desired = world.arm(&arm).get().map_or(0, |it| u64::from(it.desired));
        let total = world.wanted.get().map_or(0, |it| it.replicas);
        return match desired <= ratio_allows(u64::from(goal.weight.ppm()), total) {
            true => Ok(()),
            false => Err(format!("{arm} has {desired} replicas behind the balancer")),
        };
    }
    let loose: Vec<_> = loose(plan, status, world, now).collect();
    if !loose.is_empty() {
        return Err(format!("{loose:?} are not stamped with {:?} or not settled", status.epoch));
    }
    let met = exposure_of(plan, world, &arm, Of::Possible(now));
    let matched =
        goal.matches.keys().all(|it| met.matches.contains(it)) && met.matches.len() == goal.matches.len();
    let weighted = met.share == u64::from(goal.weight.ppm()) && met.copies == u64::from(goal.mirror.ppm());
    match weighted && matched && !met.balanced {
        true => Ok(()),
        false => Err(format!("{arm} gets {met:?}, the step wants {goal:?}")),
    }
}

/// Whether the canary has nothing that the present step does not authorise, and every data plane follows.
pub(super) fn within_authority(plan: &Plan, status: &Status, world: &World, now: Timestamp) -> bool {
    let Some(arm) = canary(status).filter(|_| plan.steering != Steering::Ratio) else { return true };
    let goal = authorised(plan, status);
    let met = exposure(plan, world, &arm, now);
    let matched = met.matches.iter().all(|it| goal.matches.contains_key(it));
    let weighted = met.share <= u64::from(goal.weight.ppm()) && met.copies <= u64::from(goal.mirror.ppm());
    weighted && matched && !met.balanced
}

/// Whether an analysis of the plan refers to something that is not there.
pub(super) fn is_lost(plan: &Plan, analysis: &Name) -> bool {
    plan.missing.iter().any(|it| it.analyses.contains(analysis))
}

/// The analyses that must pass before a step may end.
fn asks(leave: &Leave) -> &[Name] {
    match leave {
        Leave::Until(it) => &it.analyses,
        Leave::Analyze(it) => &it.analyses,
        Leave::AtOnce(_) | Leave::Pause(_) | Leave::Approve(_) | Leave::Bake(_) => &[],
    }
}

/// For less than this a side may only be restarting.
const LONG: Duration = Duration::from_secs(5);

struct Judge<'a> {
    plan: &'a Plan,
    before: &'a Status,
    orders: &'a Orders,
    world: &'a World,
    after: &'a Status,
    now: Timestamp,
}

impl Judge<'_> {
    /// S19.
    fn bounds(&self, found: &mut Findings) {
        let it = self.after;
        let sizes = [
            ("passed", it.passed.len(), Status::PASSED),
            ("accepted", it.accepted.len(), Status::ORDERS + 2),
            ("verdicts", it.verdicts.len(), Status::VERDICTS),
            ("refused", it.refused.len(), Status::REVISIONS),
            ("recent", it.recent.len(), Status::REVISIONS),
            ("repairs", it.repairs.len(), Status::REPAIRS),
        ];
        for (what, size, most) in sizes {
            found.require(size <= most, "S19", || format!("{size} {what}, at most {most} are remembered"));
        }
    }

    /// S9: authority changes only with a new epoch, and neither epochs nor attempts fall.
    fn authority(&self, found: &mut Findings) {
        let (before, after) = (self.before, self.after);
        found.require(before.epoch <= after.epoch, "S7", || {
            format!("the epoch falls from {:?} to {:?}", before.epoch, after.epoch)
        });
        found.require(before.attempt <= after.attempt, "S9", || "the attempt falls".into());
        let turns = |it: &Status| matches!(it.phase, Phase::Aborting { .. });
        let back = matches!((&before.phase, &after.phase), (Phase::Stepping { .. }, Phase::Stepping { .. }))
            && before.doing.is_some()
            && self.loses(&self.authorised_before(), &authorised(self.plan, after));
        let starts =
            matches!(after.phase, Phase::Stepping { .. }) && !matches!(before.phase, Phase::Stepping { .. });
        let committed = before.stable.is_some() && before.stable != after.stable;
        let changes = committed
            || starts
            || back
            || (turns(after) && !turns(before))
            || before.attempt != after.attempt;
        found.require(!changes || before.epoch < after.epoch, "S9", || {
            format!("authority changes under {:?}: {:?} to {:?}", before.epoch, before.phase, after.phase)
        });
    }

    fn authorised_before(&self) -> Goal {
        let goal = self.before.doing.as_ref().map(|it| it.goal.clone());
        evaded(self.plan, self.before, goal.unwrap_or_default())
    }

    /// S10: a side is taken to be down only if it has answered nothing for long, or its workload is gone, while the other
    /// answers, and to be back only if it is. Either is a change of authority under which nothing seen before counts.
    fn down(&self, found: &mut Findings) {
        let (before, after) = (self.before, self.after);
        let same = before.attempt == after.attempt && after.phase.step().is_some();
        if before.down == after.down || !same {
            return;
        }
        let arm = |side| match side {
            Side::Stable => stable(before),
            Side::Canary => canary(before),
        };
        let dead = |side| arm(side).is_some_and(|it| answers_nothing(self.world, &it));
        let alive = |side| arm(side).is_some_and(|it| has_ready(self.world, &it, 1));
        let gone = self.world.wanted == Seen::Absent;
        let lasted = |since: jiff::Timestamp| self.now.duration_since(since).unsigned_abs() >= LONG;
        let real = match (before.down, after.down) {
            (_, Some(Down::Suspected { .. })) => dead(Side::Stable),
            (was, Some(Down::Certain { side: Side::Stable, .. })) => {
                let long = matches!(was, Some(Down::Suspected { since }) if lasted(since));
                dead(Side::Stable) && alive(Side::Canary) && (long || gone)
            }
            (_, Some(Down::Certain { side: Side::Canary, .. })) => {
                dead(Side::Canary) && alive(Side::Stable) && gone
            }
            (Some(Down::Certain { side, .. }), None) => alive(side),
            (Some(Down::Suspected { .. }) | None, None) => alive(Side::Stable),
        };
        found
            .require(real, "S10", || format!("{:?} becomes {:?}, and it is not so", before.down, after.down));
        let certain = |it: &Status| matches!(it.down, Some(Down::Certain { .. }));
        let fresh = before.epoch < after.epoch && after.held.is_none();
        found.require(fresh || !(certain(before) || certain(after)), "S9", || {
            format!("{:?} becomes {:?} under {:?}", before.down, after.down, after.epoch)
        });
    }

    /// S10: a fight is known by what is remembered of it; that of one object is not forgotten for another's.
    fn repairs(&self, found: &mut Findings) {
        let (before, after) = (self.before, self.after);
        let object = |it: &Repair| match &it.change {
            Change::Split(id, _) | Change::Restore(id) => id.to_string(),
            Change::Create(arm, _) | Change::Claim(arm) | Change::Remove(arm) => arm.to_string(),
            Change::Size(sizes) => sizes.keys().next().map(ToString::to_string).unwrap_or_default(),
            Change::Own(_) => "the owner".to_owned(),
        };
        let same = |a: &Repair, b: &Repair| a.change == b.change && a.fence == b.fence && a.at == b.at;
        let new: Vec<String> = after
            .repairs
            .iter()
            .filter(|it| !before.repairs.iter().any(|was| same(was, it)))
            .map(object)
            .collect();
        let mut lost = before.repairs.iter().filter(|it| !after.repairs.iter().any(|is| same(is, it)));
        let lost = lost.find(|it| !new.contains(&object(it)));
        found.require(before.attempt != after.attempt || lost.is_none(), "S10", || {
            format!("{lost:?} is forgotten for {new:?}")
        });
    }

    /// Orders that take effect with this save.
    fn accepted(&self, action: Action) -> bool {
        let known = |id| self.before.accepted.iter().any(|it| it.id == id);
        self.after
            .accepted
            .iter()
            .any(|it| it.action == action && it.effect != Effect::Nothing && !known(it.id.clone()))
    }

    /// S5, S10: orders that took effect exist, and are not forgotten while their attempt lasts.
    fn orders(&self, found: &mut Findings) {
        let (before, after) = (self.before, self.after);
        for it in &after.accepted {
            let known = before.accepted.contains(it);
            let real = self.orders.0.iter().any(|order| {
                order.id == it.id
                    && order.action == it.action
                    && order.by == it.by
                    && if it.effect == Effect::Nothing {
                        is_new(before, order, self.now)
                    } else {
                        is_open(before, order, self.now)
                    }
            });
            found.require(known || real, "S10", || format!("{it:?} was accepted and nobody ordered it"));
        }
        let stands = |it: &&Accepted| self.orders.0.iter().any(|order| order.id == it.id);
        let full = after.accepted.len() >= Status::ORDERS;
        let mut erased = before.accepted.iter().filter(|it| !after.accepted.contains(it));
        let erased = erased.find(|it| !full || stands(it));
        found.require(before.attempt != after.attempt || erased.is_none(), "S5", || {
            format!("{erased:?} was accepted and is forgotten")
        });
        let person = |any_of: &[Action]| any_of.iter().any(|it| self.accepted(*it));
        let same_step = before.attempt == after.attempt && before.phase == after.phase;
        let lifted = same_step && before.hold.is_some() && after.hold != before.hold;
        let lifts = [Action::Resume, Action::Promote, Action::PromoteFull];
        found.require(!lifted || person(&lifts), "S10", || format!("{:?} was lifted by nobody", before.hold));
        if let Some(Hold::Ordered { by }) = after.hold.as_ref().filter(|_| before.hold != after.hold) {
            found.require(self.accepted(Action::Pause), "S10", || format!("held for {by}, who did not ask"));
        }
        let needs: &[Action] = match after.said {
            _ if same_step && after.said == before.said => &[],
            Said::Nothing => &[],
            Said::Approved => &[Action::Approve],
            Said::Promoted => &[Action::Promote],
            Said::PromotedFully if self.trusted() => &[],
            Said::PromotedFully => &[Action::PromoteFull],
        };
        found.require(needs.is_empty() || person(needs), "S10", || format!("nobody said {:?}", after.said));
        let open = |it: &&Order| it.action == Action::Abort && is_open(before, it, self.now);
        let abort = self.orders.0.iter().find(open);
        let turns = matches!(after.phase, Phase::Aborting { .. });
        let stepping = matches!(before.phase, Phase::Stepping { .. });
        let gone = self.world.wanted == Seen::Absent;
        found.require(abort.is_none() || !stepping || turns || gone, "S5", || {
            format!("{abort:?} is open, and what is saved is {:?}", after.phase)
        });
    }

    /// Whether what begins was stable not long ago, and may skip the steps.
    fn trusted(&self) -> bool {
        let Some(window) = self.plan.rollback_window else { return false };
        let recent = self.before.recent.iter().find(|it| Some(&it.revision) == self.after.canary.as_ref());
        recent.is_some_and(|it| self.now.duration_since(it.at).unsigned_abs() < window.age.0)
    }

    /// S14: verdicts are of this attempt and revision, were given, and do not change.
    fn evidence(&self, found: &mut Findings) {
        let (before, after) = (self.before, self.after);
        for (id, outcome) in &after.verdicts {
            let old = (before.attempt == after.attempt).then(|| before.verdicts.get(id)).flatten();
            if let Some(old) = old.filter(|it| it.verdict != Verdict::Pending) {
                found
                    .require(old == outcome, "S14", || format!("{id:?} was {old:?} and becomes {outcome:?}"));
                continue;
            }
            // Nobody has to say that there was no conclusion: it is never a pass, and ends a wait for the silent.
            let given = self.world.ran.get(id) == Some(outcome) || outcome.verdict == Verdict::Inconclusive;
            found.require(given, "S14", || format!("{id:?} is recorded as {outcome:?}, which nothing said"));
            let own = id.attempt == after.attempt && Some(&id.revision) == after.canary.as_ref();
            found.require(own, "S14", || format!("{id:?} is of another attempt than {}", after.attempt));
        }
        if before.attempt == after.attempt {
            let full = before.verdicts.len() >= Status::VERDICTS;
            let mut lost = before.verdicts.keys().filter(|it| !after.verdicts.contains_key(it));
            let lost = lost.find(|it| !full || self.is_current(it));
            found.require(lost.is_none(), "S14", || format!("{lost:?} is forgotten"));
        }
    }

    /// S14: what a person lets measure again has its whole time.
    fn resumed(&self, found: &mut Findings) {
        let (before, after) = (self.before, self.after);
        let of_step = matches!(
            &before.hold,
            Some(Hold::Verdict { id: ActivityId { window: Window::Step(_), .. }, .. })
        );
        if of_step && before.phase == after.phase && after.hold.is_none() && self.accepted(Action::Resume) {
            found.require(after.held.is_none_or(|it| it == self.now), "S14", || {
                format!("{:?} is measured again, and has its time since {:?}", before.hold, after.held)
            });
        }
    }

    /// S4, S5, S9: from where to where.
    fn course(&self, found: &mut Findings) {
        let (before, after) = (self.before, self.after);
        let moved = before.stable != after.stable;
        let may_move = match (&before.phase, &after.phase) {
            (Phase::Stepping { .. }, Phase::Promoting) => after.stable == before.canary,
            (Phase::Adopting, Phase::Idle) => before.stable.is_none(),
            _ => false,
        };
        found.require(!moved || may_move, "S4", || {
            format!(
                "stable becomes {:?} on the way from {:?} to {:?}",
                after.stable, before.phase, after.phase
            )
        });
        let ok = match (&before.phase, &after.phase) {
            // There is nothing to turn back to.
            (_, Phase::Leaving) if self.world.wanted == Seen::Absent => self.leaving(),
            (Phase::Stepping { step }, Phase::Stepping { step: to }) if before.attempt == after.attempt => {
                self.stays_or_steps(found, step, to)
            }
            // Only a start takes another revision up, and it starts where nothing is on trial.
            (Phase::Stepping { .. }, Phase::Stepping { .. }) => false,
            (Phase::Stepping { step }, Phase::Promoting) => {
                found.require(moved, "S9", || "promoting, and stable is the old one".into());
                self.step_ends(found, step);
                self.plan.steps.last().is_some_and(|it| it.name == *step)
            }
            (Phase::Stepping { .. }, Phase::Aborting { cause }) => {
                self.caused(found, cause);
                before.canary == after.canary
            }
            (Phase::Aborting { .. }, Phase::Aborting { cause }) => {
                before.phase == after.phase
                    || matches!((&before.phase, cause), (Phase::Aborting { cause: Cause::Superseded { .. } }, Cause::Aborted { .. })
                        if self.accepted(Action::Abort))
            }
            (Phase::Aborting { cause }, end) => self.turned_back(found, cause, end),
            (Phase::Idle | Phase::RolledBack { .. }, Phase::Stepping { .. }) => {
                self.begins(found);
                after.attempt == before.attempt.saturating_add(1)
            }
            (Phase::Idle | Phase::RolledBack { .. }, Phase::RolledBack { .. }) => {
                before.phase == after.phase || after.canary.as_ref().is_some_and(|it| before.is_refused(it))
            }
            (Phase::RolledBack { .. }, Phase::Idle) => self.wanted_is_stable(),
            (Phase::Adopting | Phase::Idle | Phase::RolledBack { .. }, Phase::Leaving) => self.leaving(),
            (Phase::Promoting, Phase::Idle) => self.at_home(found),
            (Phase::Leaving, Phase::Left) => self.at_home(found) && self.given_back(found),
            (Phase::Adopting, Phase::Idle) => after.stable.is_some(),
            (from, to) => from == to,
        };
        found.require(ok, "S9", || format!("from {:?} to {:?}", before.phase, after.phase));
    }

    fn leaving(&self) -> bool {
        self.world.leaving
    }

    fn wanted_is_stable(&self) -> bool {
        self.world.wanted.get().map(|it| &it.revision) == self.before.stable.as_ref()
    }

    fn stays_or_steps(&self, found: &mut Findings, from: &Name, to: &Name) -> bool {
        if from == to {
            return self.before.canary == self.after.canary;
        }
        let (from_place, to_place) = (place_of(self.plan, from), place_of(self.plan, to));
        let last = self.plan.steps.last().is_some_and(|it| it.name == *to);
        if self.accepted(Action::PromoteFull) {
            return last;
        }
        let Some(to_place) = to_place else { return false };
        let unpassed = |step: &Step| !self.is_passed(step);
        let first = self.plan.steps.iter().position(unpassed).unwrap_or(self.plan.steps.len() - 1);
        match from_place {
            // Known by its place in a plan, as it once was.
            None if from.as_str() == format!("#{to_place}") => true,
            None => {
                let person = self.accepted(Action::Resume) || self.accepted(Action::Promote);
                found.require(person, "S4", || format!("{from} is gone, and {to} begins at nobody's word"));
                to_place == first
            }
            Some(from_place) if to_place < from_place => to_place == first,
            Some(from_place) => {
                self.step_ends(found, from);
                to_place == from_place + 1
            }
        }
    }

    /// Whether this step is remembered as passed, with a gate that asked for as much as it asks for.
    fn is_passed(&self, step: &Step) -> bool {
        let covers = |gate: &Gate| match &step.leave {
            Leave::AtOnce(_) | Leave::Bake(_) => true,
            Leave::Pause(it) => it.length.is_some() || *gate == Gate::Person,
            Leave::Approve(_) => *gate == Gate::Person,
            Leave::Until(it) => asked_for(gate, &it.analyses),
            Leave::Analyze(it) => asked_for(gate, &it.analyses),
        };
        self.before.passed.iter().any(|it| it.step == step.name && covers(&it.gate))
    }

    /// Whether the canary has something under the first goal that it does not have under the second.
    fn loses(&self, was: &Goal, is: &Goal) -> bool {
        let matches = was.matches.iter().any(|(id, any_of)| is.matches.get(id) != Some(any_of));
        was.weight > is.weight || was.mirror > is.mirror || matches
    }

    /// S4, S14, S9: an edited plan is followed from where the rollout stands. What a step asks for is remembered as the
    /// plan says it, nothing that was waited, measured or said under another goal is kept, and a step counts as passed
    /// only because it ended, or at a person's word.
    fn plan_followed(&self, found: &mut Findings) {
        let (before, after) = (self.before, self.after);
        let Phase::Stepping { step } = &after.phase else { return };
        if let (Some(place), true) = (place_of(self.plan, step), before.doing != after.doing) {
            let asks = Some((self.plan.goal_at(place), self.plan.steps[place].leave.clone()));
            let kept = after.doing.as_ref().map(|it| (it.goal.clone(), it.leave.clone()));
            found.require(kept == asks, "S4", || format!("{step} asks for {asks:?}, remembered is {kept:?}"));
        }
        let resolved = matches!(&before.phase, Phase::Stepping { step } if step.as_str().starts_with('#'));
        if before.attempt == after.attempt && !resolved {
            self.nothing_kept(found, step);
            let person = self.accepted(Action::PromoteFull);
            let new = after.passed.iter().filter(|it| !before.passed.contains(it));
            for it in new {
                let ended = before.phase.step() == Some(&it.step) && before.phase != after.phase;
                found.require(ended || person, "S4", || format!("{it:?} counts as passed and is not over"));
            }
        }
        if after.said == Said::PromotedFully || resolved {
            return;
        }
        let all = Judge { before: after, ..*self };
        let skipped = self.plan.steps.iter().take_while(|it| it.name != *step).find(|it| !all.is_passed(it));
        let gone = place_of(self.plan, step).is_none();
        found.require(gone || skipped.is_none(), "S4", || {
            format!("{step} goes on, and {skipped:?} was never passed")
        });
    }

    /// Whether a verdict of this id may still be asked for.
    fn is_current(&self, id: &ActivityId) -> bool {
        match &id.window {
            Window::Step(step) => Some(step) == self.before.phase.step() && id.again == self.before.again,
            Window::From(_) => id.again == self.before.guards_again,
        }
    }

    fn nothing_kept(&self, found: &mut Findings, step: &Name) {
        let (before, after) = (self.before, self.after);
        let (Some(was), Some(is)) = (&before.doing, &after.doing) else { return };
        let same = before.phase == after.phase && was.goal == is.goal;
        let timed = match &is.leave {
            Leave::AtOnce(_) | Leave::Bake(_) => true,
            Leave::Pause(it) => it.length.is_some(),
            Leave::Until(_) | Leave::Approve(_) | Leave::Analyze(_) => false,
        };
        if before.phase == after.phase && was == is || same && timed {
            return;
        }
        found.require(after.held.is_none(), "S4", || {
            format!("{step} is another than it was, and the time since {:?} counts", after.held)
        });
        let said = matches!(after.said, Said::Nothing | Said::PromotedFully);
        found.require(said, "S4", || format!("{:?} was said of another {step}", after.said));
        // What has begun to be measured under a name goes on under it, recorded or not.
        let measured = before.again == after.again && before.phase == after.phase;
        let recorded = before
            .verdicts
            .keys()
            .any(|it| it.window == Window::Step(step.clone()) && it.again == after.again);
        found.require(!measured && !recorded, "S14", || {
            format!("what was measured for another {step} counts: {:?}", before.verdicts)
        });
    }

    /// S4: a step ends only when its goal was seen to hold and still does, and its gate passed or a person said so.
    fn step_ends(&self, found: &mut Findings, step: &Name) {
        let before = self.before;
        let Some(place) = place_of(self.plan, step) else {
            return found.require(false, "S4", || format!("{step} ends, and is not of the plan"));
        };
        if let Err(why) = goal_holds(self.plan, before, self.world, self.now) {
            found.require(false, "S4", || format!("step {step} ends, and {why}"));
        }
        found.require(before.hold.is_none() && self.plan.mode == Mode::Active, "S4", || {
            format!("step {step} ends while held: {:?}, {:?}", before.hold, self.plan.mode)
        });
        let overridden = matches!(before.said, Said::Promoted | Said::PromotedFully);
        let sized = matches!(self.plan.sizing, Sizing::PerArm | Sizing::Partition);
        let nothing = sized && self.world.wanted.get().is_some_and(|it| it.replicas == 0);
        found.require(overridden || !nothing, "S4", || {
            format!("step {step} ends while nothing is wanted to run")
        });
        let lost: Vec<&Name> = self.still_asked(place).filter(|it| is_lost(self.plan, it)).collect();
        let whole = self.plan.missing.iter().all(|it| !it.analyses.is_empty());
        found.require(overridden || (lost.is_empty() && whole), "S4", || {
            format!("step {step} ends, and of what judges it there is not: {:?}", self.plan.missing)
        });
        found.require(overridden || self.gate_passed(place), "S4", || {
            format!("step {step} ends before {:?}: {:?}", self.plan.steps.get(place), before.verdicts)
        });
        for guard in &self.plan.guards {
            let window = Window::From(guard.from.clone());
            let from = self.plan.steps.iter().position(|it| it.name == guard.from).unwrap_or(0);
            let id = self.activity(window, guard.name.as_str(), before.guards_again);
            let recorded = before.verdicts.get(&id).or_else(|| self.world.ran.get(&id)).map(|it| it.verdict);
            let clear = matches!(recorded, None | Some(Verdict::Pending | Verdict::Pass));
            found.require(from > place || clear, "S4", || {
                format!("step {step} ends with {id:?} {recorded:?}")
            });
        }
    }

    /// Every analysis that has a say from this place on.
    fn still_asked(&self, place: usize) -> impl Iterator<Item = &Name> {
        let steps = self.plan.steps.get(place..).unwrap_or_default();
        let present = self.before.doing.iter().flat_map(|it| asks(&it.leave));
        let guards = self.plan.guards.iter().map(|it| &it.name);
        steps.iter().flat_map(|it| asks(&it.leave)).chain(present).chain(guards)
    }

    /// S14: what could not be asked for a while is asked anew, and has its whole time.
    fn interrupted(&self, found: &mut Findings) {
        let (before, after) = (self.before, self.after);
        let there =
            |it: &Status| !it.doing.iter().flat_map(|it| asks(&it.leave)).any(|it| is_lost(self.plan, it));
        let same = before.attempt == after.attempt && before.phase == after.phase;
        if before.measuring == after.measuring
            || after.phase.step().is_none()
            || !same
            || before.doing != after.doing
        {
            return;
        }
        let real = (after.measuring == Measuring::Possible) == there(after);
        found.require(real, "S14", || format!("measuring is {:?}, which is not so", after.measuring));
        let anew = after.again > before.again && after.held.is_none_or(|it| it == self.now);
        found.require(after.measuring == Measuring::Interrupted || anew, "S14", || {
            format!("what was interrupted counts since {:?}", after.held)
        });
    }

    fn gate_passed(&self, step: usize) -> bool {
        let Some(step) = self.plan.steps.get(step) else { return false };
        let Some(held) = self.before.held else { return false };
        let age = Duration::try_from(self.now.duration_since(held)).unwrap_or_default();
        let passed = |name: &str| {
            let id = self.activity(Window::Step(step.name.clone()), name, self.before.again);
            self.before.verdicts.get(&id).is_some_and(|it| it.verdict == Verdict::Pass)
        };
        match &step.leave {
            Leave::AtOnce(_) => true,
            Leave::Until(it) => passed("evidence") && age >= it.min.0,
            Leave::Analyze(_) => passed("analyze"),
            Leave::Approve(_) => self.before.said == Said::Approved,
            Leave::Pause(it) => it.length.is_some_and(|length| age >= length.0),
            Leave::Bake(it) => age >= it.length.0,
        }
    }

    fn activity(&self, window: Window, name: &str, again: u32) -> ActivityId {
        let revision = self.before.canary.clone().unwrap_or_else(|| "".into());
        ActivityId { attempt: self.before.attempt, revision, window, name: name.into(), again }
    }

    /// S10: a rollout turns back for a reason that exists.
    fn caused(&self, found: &mut Findings, cause: &Cause) {
        let before = self.before;
        let wanted = self.world.wanted.get();
        let real = match cause {
            Cause::Aborted { .. } => self.accepted(Action::Abort),
            Cause::Superseded { by } => {
                wanted.is_some_and(|it| it.revision == *by) && before.canary.as_ref() != Some(by)
            }
            Cause::Leaving => self.leaving(),
            Cause::ProgressDeadline => {
                let since = before.waited.since.map_or(Duration::ZERO, |it| {
                    Duration::try_from(self.now.duration_since(it)).unwrap_or_default()
                });
                let decided = before
                    .accepted
                    .iter()
                    .any(|it| it.action == Action::PromoteFull && it.effect != Effect::Nothing);
                let dead = matches!(before.down, Some(Down::Certain { .. }));
                before.waited.before.saturating_add(since) >= self.plan.deadlines.progress.0
                    && !decided
                    && !dead
                    && self.plan.deadlines.then == Consequence::RollBack
            }
            Cause::NotApproved { step } => {
                let asked = self.plan.steps.iter().find(|it| it.name == *step).map(|it| &it.leave);
                matches!(asked, Some(Leave::Approve(it)) if it.on_timeout == Consequence::RollBack)
                    && !matches!(before.said, Said::Approved | Said::Promoted | Said::PromotedFully)
            }
            Cause::Analysis { id, verdict, .. } => {
                let consequence = match verdict {
                    Verdict::Fail => self.plan.on_verdict.fail,
                    Verdict::Inconclusive => self.plan.on_verdict.inconclusive,
                    Verdict::Error => self.plan.on_verdict.error,
                    Verdict::Pending | Verdict::Pass => Consequence::Pause,
                };
                consequence == Consequence::RollBack
                    && before.verdicts.get(id).is_some_and(|it| it.verdict == *verdict)
            }
        };
        found.require(real, "S10", || format!("turns back for {cause:?}, which is not so"));
    }

    /// S5, S6: an abort ends where it should, and only once nothing can come to the canary any more.
    fn turned_back(&self, found: &mut Findings, cause: &Cause, end: &Phase) -> bool {
        if let Some(arm) = canary(self.before).filter(|_| self.plan.steering != Steering::Ratio) {
            let met = exposure(self.plan, self.world, &arm, self.now);
            found.require(!met.any(), "S5", || format!("the abort ends, and {arm} may still get {met:?}"));
            let left = self.world.arm(&arm).get().map_or(0, |it| it.desired);
            let shared = is_shared(self.plan) && self.plan.sizing == Sizing::PerArm;
            found.require(!shared || left == 0, "S5", || {
                format!("the abort ends, and {left} of {arm} stand behind a Service that is never written")
            });
            let loose: Vec<_> = loose(self.plan, self.before, self.world, self.now).collect();
            found
                .require(loose.is_empty(), "S5", || format!("the abort ends, and {loose:?} are not settled"));
        }
        match (cause, end) {
            (Cause::Superseded { .. }, Phase::Idle) | (Cause::Leaving, Phase::Leaving) => true,
            (Cause::Superseded { .. } | Cause::Leaving, _) => false,
            (_, Phase::RolledBack { cause: kept }) => {
                kept == cause && self.before.canary.as_ref().is_some_and(|it| self.after.is_refused(it))
            }
            _ => false,
        }
    }

    /// A new attempt: of what is wanted, and never of a refused revision unless a person ordered a retry.
    fn begins(&self, found: &mut Findings) {
        let revision = self.after.canary.as_ref();
        let refused = revision.is_some_and(|it| self.before.is_refused(it));
        found.require(!refused || self.accepted_retry(), "S6", || {
            format!("{revision:?} was refused and begins")
        });
        found.require(self.world.wanted.get().map(|it| &it.revision) == revision, "S9", || {
            format!("{revision:?} begins and is not wanted")
        });
        found.require(self.plan.mode == Mode::Active || self.accepted_retry(), "S9", || {
            format!("{revision:?} begins in {:?}", self.plan.mode)
        });
        found.require(self.plan.missing.is_empty() || self.trusted(), "S4", || {
            format!("{revision:?} begins, and there is not: {:?}", self.plan.missing)
        });
        let Phase::Stepping { step } = &self.after.phase else { return };
        let first = place_of(self.plan, step) == Some(0);
        found.require(first || self.trusted(), "S4", || format!("{revision:?} begins with step {step}"));
        found.require(self.after.verdicts.is_empty(), "S14", || "a new attempt with old evidence".into());
        found.require(self.after.said == Said::Nothing || self.trusted(), "S4", || {
            format!("a new attempt begins with {:?}", self.after.said)
        });
    }

    fn accepted_retry(&self) -> bool {
        let retry = |it: &Order| it.action == Action::Retry && is_open(self.before, it, self.now);
        self.orders.0.iter().any(retry)
    }

    /// S3, S22: everything is on stable and nothing else is left.
    fn at_home(&self, found: &mut Findings) -> bool {
        let Some(home) = stable(self.before).filter(|_| self.world.wanted != Seen::Absent) else {
            return true;
        };
        let others =
            self.world.arms.iter().filter(|(arm, seen)| {
                **arm != home && arm.role == Role::Main && !matches!(seen, Seen::Absent)
            });
        // Past the deletion the owner rolls its own template out.
        let given_back = self.leaving() && self.world.owner.get().is_some_and(|it| it.is == OwnerIs::Free);
        for (arm, _) in others.filter(|_| self.plan.steering != Steering::Ratio && !given_back) {
            let met = exposure(self.plan, self.world, arm, self.now);
            found.require(!met.any(), "S22", || format!("it is over, and {arm} may still get {met:?}"));
        }
        true
    }

    /// S22: routes are as they are when no rollout runs, as far as what they lead to exists.
    fn given_back(&self, found: &mut Findings) -> bool {
        let gone = self.world.wanted == Seen::Absent;
        for (id, route) in self.plan.routes() {
            if gone && route.rest == RouteRest::OnStable || route.kind == RouteKind::Proportional {
                continue;
            }
            let (Some(seen), Some(rest)) =
                (self.world.route(id).get(), super::write::at_rest(self.plan, self.before, self.world, id))
            else {
                continue;
            };
            let gone = |dest| matches!(dest, Dest::Route(below) if *self.world.route(&below) == Seen::Absent);
            let stamped = seen.epoch.is_some() && route.rest != RouteRest::OnStable;
            found.require((seen.asked == rest && !stamped) || rest.dests().any(gone), "S22", || {
                format!("left, and {id} asks for {:?} under {:?}", seen.asked, seen.epoch)
            });
        }
        true
    }
}

/// Whether a gate that was passed asked for all of these analyses.
fn asked_for(gate: &Gate, analyses: &[Name]) -> bool {
    matches!(gate, Gate::Evidence(passed) if analyses.iter().all(|it| passed.contains(it)))
}
