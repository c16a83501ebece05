//! Who decides what the rollout is about: deletion, orders, verdicts, the wanted revision and the deadlines, in
//! that order. Each answer is a new status to save; nothing here looks at how the world gets there.

pub(crate) mod down;
mod edits;
mod orders;

use jiff::Timestamp;

use crate::mutant::rule;
use crate::{
    Cause, Consequence, End, Ended, Hold, LeaveBehavior, Measuring, Mode, Outcome, Phase, Plan, Purpose,
    Recent, Refused, Revision, Samples, Status, Verdict, Wanted, World,
    activities::activities,
    status::{Passed, Said, Waited},
    step::LAST_WORD,
};

pub(crate) use orders::open_orders;

/// Everything an authority may look at.
pub(crate) struct Look<'a> {
    pub plan: &'a Plan,
    pub status: &'a Status,
    pub orders: &'a crate::Orders,
    pub world: &'a World,
    pub wanted: &'a Wanted,
    pub now: Timestamp,
}

/// The status to save because somebody or something says so; `None`: nobody does.
pub(crate) fn next(look: &Look<'_>) -> Option<Status> {
    leaving(look)
        .or_else(|| orders::take_abort(look))
        .or_else(|| edits::follow_plan(look))
        .or_else(|| orders::take_orders(look))
        .or_else(|| measuring(look))
        .or_else(|| record_verdicts(look))
        .or_else(|| judge_guards(look))
        .or_else(|| wanted(look))
        .or_else(|| down::follow(look))
        .or_else(|| progress_deadline(look))
}

impl Status {
    /// The same rollout in another phase, or another step.
    pub(crate) fn enter(&self, phase: Phase, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.phase = phase;
        next.since = now;
        next.held = None;
        next.waited = Waited { before: std::time::Duration::ZERO, since: Some(now) };
        next.said = Said::Nothing;
        next.doing = None;
        next.measuring = Measuring::Possible;
        if next.phase.step().is_none() {
            next.passed.clear();
            next.down = None;
        }
        next
    }

    /// Turning back: a change of authority.
    pub(crate) fn abort(&self, cause: Cause, now: Timestamp) -> Self {
        let mut next = self.enter(Phase::Aborting { cause }, now);
        next.epoch = if rule!(AbortKeepsEpoch, false) { self.epoch } else { self.epoch.next() };
        next.hold = None;
        next
    }

    /// A new attempt with `revision`.
    pub(crate) fn start(&self, revision: &Revision, plan: &Plan, place: usize, now: Timestamp) -> Self {
        let mut next = self.enter_step(plan, place, now);
        next.epoch = if rule!(StartKeepsEpoch, false) { self.epoch } else { self.epoch.next() };
        let again = !rule!(OldEvidence, false) || self.canary.as_ref() != Some(revision);
        next.attempt = self.attempt.saturating_add(u32::from(again));
        next.canary = Some(revision.clone());
        next.refused.retain(|it| it.revision != *revision);
        next.hold = None;
        next.accepted.clear();
        next.verdicts.clear();
        next.passed = plan.steps.iter().take(place).map(Passed::of).collect();
        next.again = 0;
        next.guards_again = 0;
        next.repairs.clear();
        next.down = None;
        next
    }

    /// The canary is stable from now on.
    pub(crate) fn commit(&self, now: Timestamp) -> Self {
        let mut next = self.enter(Phase::Promoting, now);
        next.epoch = if rule!(CommitKeepsEpoch, false) { self.epoch } else { self.epoch.next() };
        next.hold = None;
        next.stable.clone_from(&self.canary);
        if let Some(revision) = &self.canary {
            next.remember_stable(revision.clone(), now);
            next.end_attempt(End::Promoted, now);
        }
        next
    }

    /// The abort is over: nothing comes to the canary any more.
    pub(crate) fn turned_back(&self, cause: &Cause, now: Timestamp) -> Self {
        let (phase, end) = match cause {
            Cause::Superseded { by } => (Phase::Idle, End::Superseded { by: by.clone() }),
            Cause::Leaving => (Phase::Leaving, End::RolledBack(cause.clone())),
            Cause::Aborted { .. }
            | Cause::Analysis { .. }
            | Cause::ProgressDeadline
            | Cause::NotApproved { .. } => {
                (Phase::RolledBack { cause: cause.clone() }, End::RolledBack(cause.clone()))
            }
        };
        let mut next = self.enter(phase, now);
        if let (Phase::RolledBack { cause }, Some(revision)) = (&next.phase, &self.canary) {
            let refused = Refused { revision: revision.clone(), cause: cause.clone(), at: now };
            next.refused.retain(|it| it.revision != refused.revision);
            next.refused.push(refused);
            keep_latest(&mut next.refused, Self::REVISIONS);
        }
        next.end_attempt(end, now);
        if next.phase == Phase::Idle {
            next.canary = None;
        }
        next
    }

    /// Marks `revision` as the latest that was stable.
    pub(crate) fn remember_stable(&mut self, revision: Revision, now: Timestamp) {
        self.recent.retain(|it| it.revision != revision);
        self.recent.push(Recent { revision, at: now });
        keep_latest(&mut self.recent, Self::REVISIONS);
    }

    fn end_attempt(&mut self, end: End, at: Timestamp) {
        if let Some(revision) = self.canary.clone() {
            self.last = Some(Ended { revision, attempt: self.attempt, end, at });
        }
    }
}

/// Drops the oldest until `most` are left.
pub(crate) fn keep_latest<T>(list: &mut Vec<T>, most: usize) {
    let surplus = list.len().saturating_sub(most);
    list.drain(..surplus);
}

fn leaving(look: &Look<'_>) -> Option<Status> {
    if !look.world.leaving {
        return None;
    }
    match look.status.phase {
        Phase::Stepping { .. } if rule!(LeavesAtOnce, false) => {
            Some(look.status.enter(Phase::Leaving, look.now))
        }
        Phase::Stepping { .. } => Some(look.status.abort(Cause::Leaving, look.now)),
        Phase::Adopting | Phase::Idle | Phase::RolledBack { .. } => {
            Some(look.status.enter(Phase::Leaving, look.now))
        }
        Phase::Promoting | Phase::Aborting { .. } | Phase::Leaving | Phase::Left => None,
    }
}

/// Follows whether what the present step must pass can be asked. Time that passed while it could not counts for nothing:
/// an analysis that nobody could ask has not been silent.
fn measuring(look: &Look<'_>) -> Option<Status> {
    let doing = look.status.doing.as_ref().filter(|_| look.status.phase.step().is_some())?;
    let mut next = look.status.clone();
    match (look.status.measuring, look.plan.can_ask_at(&doing.leave.gate())) {
        (Measuring::Possible, true) | (Measuring::Interrupted, false) => return None,
        (Measuring::Possible, false) => next.measuring = Measuring::Interrupted,
        (Measuring::Interrupted, true) => {
            next.measuring = Measuring::Possible;
            if !rule!(AbsenceCounts, false) {
                next.measure_step_again(look.now);
            }
        }
    }
    Some(next)
}

/// A verdict counts only once it is saved.
fn record_verdicts(look: &Look<'_>) -> Option<Status> {
    let running = activities(look.plan, look.status, look.now, Samples::Count);
    let ended = running.iter().filter(|it| !look.status.verdicts.contains_key(it.id())).filter_map(|it| {
        let said = look.world.ran.get(it.id()).filter(|it| it.verdict != Verdict::Pending);
        let outcome = said.cloned().or_else(|| silent(look, it))?;
        Some((it.id().clone(), outcome))
    });
    let ended: Vec<_> = ended.collect();
    if ended.is_empty() {
        return None;
    }
    let mut next = look.status.clone();
    next.verdicts.extend(ended);
    if Status::VERDICTS < next.verdicts.len() {
        // Whatever was measured before counts no more, so it makes room: what is found now is never too many.
        next.verdicts.retain(|id, _| running.iter().any(|it| it.id() == id));
    }
    Some(next)
}

/// An analysis that says nothing long after its end has no conclusion: nothing waits for it for ever.
fn silent(look: &Look<'_>, activity: &crate::Activity) -> Option<Outcome> {
    if look.status.fallen().is_some() || !look.plan.can_ask(activity) {
        return None;
    }
    let max = match activity {
        crate::Activity::Analysis { max, .. } => (*max)?,
        crate::Activity::Hook { .. } | crate::Activity::Preflight { .. } => return None,
    };
    let end = look.status.held?.checked_add(max.0.saturating_add(LAST_WORD)).ok()?;
    (end <= look.now).then(|| Outcome {
        verdict: Verdict::Inconclusive,
        because: Some("it said nothing until its time was over".into()),
    })
}

/// A guard must not have failed.
fn judge_guards(look: &Look<'_>) -> Option<Status> {
    let running = activities(look.plan, look.status, look.now, Samples::Count);
    let guards = running.iter().filter(|it| match it {
        crate::Activity::Analysis { purpose, .. } => *purpose == Purpose::Guard,
        crate::Activity::Hook { .. } | crate::Activity::Preflight { .. } => false,
    });
    let mut bad = guards.filter_map(|it| {
        let outcome = look.status.verdicts.get(it.id())?;
        match outcome.verdict {
            Verdict::Pending | Verdict::Pass => None,
            Verdict::Fail | Verdict::Inconclusive | Verdict::Error => {
                Some((it.id().clone(), outcome.verdict))
            }
        }
    });
    if rule!(GuardIgnored, false) {
        return None;
    }
    bad.find_map(|(id, verdict)| look.consequence(&id, verdict))
}

impl Look<'_> {
    /// What the plan says a verdict leads to; `None` where that has happened already.
    pub(crate) fn consequence(&self, id: &crate::ActivityId, verdict: Verdict) -> Option<Status> {
        let consequence = match verdict {
            Verdict::Pending | Verdict::Pass => return None,
            Verdict::Fail => self.plan.on_verdict.fail,
            Verdict::Inconclusive => self.plan.on_verdict.inconclusive,
            Verdict::Error => self.plan.on_verdict.error,
        };
        match consequence {
            Consequence::RollBack => {
                let because = self.status.verdicts.get(id).and_then(|it| it.because.clone());
                Some(self.status.abort(Cause::Analysis { id: id.clone(), verdict, because }, self.now))
            }
            Consequence::Pause => match self.status.hold {
                Some(_) => None,
                None => {
                    let mut next = self.status.clone();
                    next.hold = Some(Hold::Verdict { id: id.clone(), verdict });
                    Some(next)
                }
            },
        }
    }
}

/// What the user's objects ask for, against what the rollout is about.
fn wanted(look: &Look<'_>) -> Option<Status> {
    let (status, revision) = (look.status, &look.wanted.revision);
    let is_stable = status.stable.as_ref() == Some(revision);
    let is_canary = status.canary.as_ref() == Some(revision);
    match &status.phase {
        Phase::Stepping { .. } if !is_canary && !is_stable && rule!(Replaces, false) => {
            Some(status.start(revision, look.plan, 0, look.now))
        }
        Phase::Stepping { .. } if !is_canary => {
            Some(status.abort(Cause::Superseded { by: revision.clone() }, look.now))
        }
        Phase::RolledBack { .. } if is_stable => {
            let mut next = status.enter(Phase::Idle, look.now);
            next.canary = None;
            Some(next)
        }
        Phase::RolledBack { .. } if !is_canary => look.refuse_or_start(),
        Phase::Idle if !is_stable => look.refuse_or_start(),
        Phase::Adopting
        | Phase::Idle
        | Phase::Stepping { .. }
        | Phase::Promoting
        | Phase::Aborting { .. }
        | Phase::RolledBack { .. }
        | Phase::Leaving
        | Phase::Left => None,
    }
}

impl Look<'_> {
    fn refuse_or_start(&self) -> Option<Status> {
        let (status, revision) = (self.status, &self.wanted.revision);
        if let Some(refused) =
            status.refused.iter().find(|it| it.revision == *revision && !rule!(RefusedBegins, false))
        {
            let mut next = status.enter(Phase::RolledBack { cause: refused.cause.clone() }, self.now);
            next.canary = Some(revision.clone());
            return Some(next);
        }
        let may_start = match self.plan.mode {
            Mode::Active => true,
            Mode::Paused | Mode::Off => false,
        };
        let users_own = self.world.owner.get().is_some_and(|it| it.is == crate::OwnerIs::UsersOwn);
        let trusted = self.is_trusted(revision);
        (may_start && !users_own && (trusted || self.is_complete())).then(|| {
            let step = if trusted { self.plan.last_step() } else { 0 };
            let mut next = status.start(revision, self.plan, step, self.now);
            if trusted {
                next.said = Said::PromotedFully;
            }
            next
        })
    }

    /// Whether everything is there that a rollout from its beginning needs.
    pub(crate) fn is_complete(&self) -> bool {
        rule!(StartsBlind, self.plan.missing.is_empty())
    }

    /// Whether going back to `revision` may skip the steps.
    fn is_trusted(&self, revision: &Revision) -> bool {
        let Some(window) = self.plan.rollback_window else { return false };
        let present = |it: &&Recent| Some(&it.revision) != self.status.stable.as_ref();
        let back = usize::try_from(window.revisions).unwrap_or(usize::MAX);
        let mut recent = self.status.recent.iter().rev().filter(present).take(back);
        recent.any(|it| {
            it.revision == *revision && it.at.checked_add(window.age.0).is_ok_and(|end| self.now < end)
        })
    }
}

/// When the progress deadline passes; `None` while nothing counts towards it.
pub(crate) fn progress_ends(plan: &Plan, status: &Status) -> Option<Timestamp> {
    let left = plan.deadlines.progress.0.saturating_sub(status.waited.before);
    status.waited.since.and_then(|since| since.checked_add(left).ok())
}

fn progress_deadline(look: &Look<'_>) -> Option<Status> {
    let Phase::Stepping { .. } = look.status.phase else { return None };
    if rule!(NoProgressDeadline, progress_ends(look.plan, look.status).is_none_or(|end| look.now < end)) {
        return None;
    }
    // Whether stable only restarts is known first.
    if let Some(crate::Down::Suspected { since }) = look.status.down
        && look.now < down::ends(since)
    {
        return None;
    }
    // Nobody is sent back to what answers nothing, or to what a person decided against.
    let stays = look.status.fallen().is_some() || look.status.is_decided();
    let stays = stays && !rule!(BackToTheDead, false);
    let then = if stays { Consequence::Pause } else { look.plan.deadlines.then };
    match (then, &look.status.hold) {
        (Consequence::RollBack, _) => Some(look.status.abort(Cause::ProgressDeadline, look.now)),
        (Consequence::Pause, Some(_)) => None,
        (Consequence::Pause, None) => {
            let mut next = look.status.clone();
            next.hold = Some(Hold::ProgressDeadline);
            Some(next)
        }
    }
}
