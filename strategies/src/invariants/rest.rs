use std::time::Duration;

use jiff::Timestamp;

use super::{
    Findings, Violation,
    exposure::{ALL, Of, answers_nothing, canary, exposure, exposure_of, has_ready, stable},
    save::{check_save, goal_holds, is_lost, is_new, is_open, within_authority},
    write::{all_settled, check_write},
};
use crate::{
    Action, Activity, Change, Decision, Down, Fence, Hold, Mode, Name, Next, Orders, OwnerIs, Phase, Plan,
    Purpose, Repair, RouteKind, Samples, Seen, Side, Sizing, Status, Steering, Waiting, WaitingFor, Watches,
    World,
};

/// What one decision breaks, whatever it is.
#[must_use]
pub fn check_decision(
    plan: &Plan,
    status: &Status,
    orders: &Orders,
    world: &World,
    decision: &Decision,
    now: Timestamp,
) -> Vec<Violation> {
    let judge = Judge { plan, status, orders, world, decision, now };
    let mut found = Findings(match &decision.next {
        Next::Rest => vec![],
        Next::Save(after) => check_save(plan, status, orders, world, after, now),
        Next::Write(write) => check_write(plan, status, world, write, now),
    });
    judge.runs(&mut found);
    judge.replicas_watched(&mut found);
    judge.authority(&mut found);
    if decision.next == Next::Rest {
        judge.rests(&mut found);
    }
    found.0
}

/// L1: promoted to what is wanted, or all on stable with the canary gone and refused, or paused at an authorised split
/// and awaiting a person who is told which orders go on, or left.
#[must_use]
pub fn is_good(plan: &Plan, status: &Status, world: &World, decision: &Decision, now: Timestamp) -> bool {
    if decision.next != Next::Rest {
        return false;
    }
    let Some(wanted) = world.wanted.get() else {
        // Whoever took the workload away brings it back, unless the Rollout goes too.
        let waits = |it: &Waiting| matches!(it.what, WaitingFor::Workload | WaitingFor::ModeOff);
        let held = decision.waiting.iter().any(waits) && !world.leaving;
        return status.phase == Phase::Left || (world.wanted == Seen::Absent && held);
    };
    let taken = |it: &Waiting| matches!(it.what, WaitingFor::ModeOff | WaitingFor::UsersOwn);
    let paused = |it: &Waiting| matches!(it.what, WaitingFor::ModePaused | WaitingFor::Missing { .. });
    if decision.waiting.iter().any(taken) {
        return true;
    }
    match &status.phase {
        Phase::Left => true,
        Phase::Idle | Phase::RolledBack { .. } if decision.waiting.iter().any(paused) => {
            alone(plan, status, world, now) || plan.mode != Mode::Active
        }
        Phase::Idle => status.stable.as_ref() == Some(&wanted.revision) && alone(plan, status, world, now),
        Phase::RolledBack { .. } => {
            status.canary.as_ref() == Some(&wanted.revision)
                && status.is_refused(&wanted.revision)
                && alone(plan, status, world, now)
        }
        Phase::Stepping { .. } => {
            decision.waiting.iter().any(|it| for_a_person(&it.what))
                && within_authority(plan, status, world, now)
        }
        Phase::Adopting | Phase::Promoting | Phase::Aborting { .. } | Phase::Leaving => false,
    }
}

/// Stable has everything that it should have, and nothing else is left.
fn alone(plan: &Plan, status: &Status, world: &World, now: Timestamp) -> bool {
    let (Some(home), Some(wanted)) = (stable(status), world.wanted.get()) else { return false };
    let others = world.arms.iter().any(|(arm, seen)| *arm != home && !matches!(seen, Seen::Absent));
    let sized = matches!(plan.sizing, Sizing::PerArm | Sizing::Partition);
    let whole = world.arm(&home).get().is_some_and(|it| !sized || it.desired == wanted.replicas);
    let met = exposure(plan, world, &home, now);
    // Where the user's own Service is gone only the user can make it again.
    let missing =
        |kind: &RouteKind| plan.routes().any(|(id, it)| it.kind == *kind && *world.route(id) == Seen::Absent);
    let users = missing(&RouteKind::Direct) || missing(&RouteKind::Proportional);
    let reached = met.share >= ALL || met.balanced || met.shared || users;
    let all = plan.steering == Steering::Ratio || reached;
    let lent = world.owner.get().is_some_and(|it| it.is == OwnerIs::Detached);
    let made = world.leaving || !(missing(&RouteKind::ToStable) || missing(&RouteKind::ToCanary));
    (!others || !sized) && whole && all && !lent && made && all_settled(plan, world, now)
}

/// Which parts of a world that a write may depend on are not known.
fn unread(plan: &Plan, world: &World) -> Vec<String> {
    let arms = world.arms.iter().filter(|(_, it)| it.is_unread()).map(|(arm, _)| arm.to_string());
    let routes = plan.routes().filter(|(id, _)| world.route(id).is_unread()).map(|(id, _)| id.to_string());
    arms.chain(routes).chain(world.owner.is_unread().then(|| "the owner".to_owned())).collect()
}

/// Whether only a person can end this wait, and is told how.
fn for_a_person(what: &WaitingFor) -> bool {
    match what {
        WaitingFor::Approval { .. } | WaitingFor::Contested { .. } => true,
        WaitingFor::Order { any_of } | WaitingFor::StepGone { any_of, .. } => !any_of.is_empty(),
        WaitingFor::UsersOwn | WaitingFor::ModePaused | WaitingFor::ModeOff => true,
        WaitingFor::AnotherRevision { .. } | WaitingFor::ScaledToZero | WaitingFor::Missing { .. } => true,
        WaitingFor::Observation { .. }
        | WaitingFor::Workload
        | WaitingFor::Replicas { .. }
        | WaitingFor::StableIsDown { .. }
        | WaitingFor::Settling { .. }
        | WaitingFor::RouteMissing { .. }
        | WaitingFor::Claim { .. }
        | WaitingFor::Pin { .. }
        | WaitingFor::InUse { .. }
        | WaitingFor::Room { .. }
        | WaitingFor::Owner { .. }
        | WaitingFor::Time
        | WaitingFor::Bake
        | WaitingFor::Evidence { .. }
        | WaitingFor::KeepingCanary { .. } => false,
    }
}

struct Judge<'a> {
    plan: &'a Plan,
    status: &'a Status,
    orders: &'a Orders,
    world: &'a World,
    decision: &'a Decision,
    now: Timestamp,
}

impl Judge<'_> {
    /// The status that what runs belongs to.
    fn saved(&self) -> &Status {
        match &self.decision.next {
            Next::Save(after) => after,
            Next::Rest | Next::Write(_) => self.status,
        }
    }

    /// S14: what runs belongs to this attempt, and samples count only at an authorised and settled split.
    fn runs(&self, found: &mut Findings) {
        let saved = self.saved();
        for activity in &self.decision.run {
            let id = activity.id();
            let own = id.attempt == saved.attempt && Some(&id.revision) == saved.canary.as_ref();
            found.require(own, "S14", || format!("{id:?} runs in attempt {}", saved.attempt));
            if let Activity::Analysis { analyses, .. } = activity {
                let lost = analyses.iter().find(|it| is_lost(self.plan, it));
                found.require(lost.is_none(), "S14", || format!("{id:?} runs, and {lost:?} is not there"));
            }
            let Activity::Analysis { samples: Samples::Count, purpose, .. } = activity else { continue };
            if *purpose == Purpose::Guard && self.watches_replicas(&id.name) {
                continue;
            }
            if let Err(why) = goal_holds(self.plan, saved, self.world, self.now) {
                found.require(false, "S14", || format!("samples of {id:?} count, and {why}"));
            }
        }
    }

    fn watches_replicas(&self, name: &Name) -> bool {
        self.plan.guards.iter().any(|it| it.name == *name && it.watches == Watches::Replicas)
    }

    /// S14: a guard on replicas looks from its step's first moment, whether or not they ever get traffic.
    fn replicas_watched(&self, found: &mut Findings) {
        let saved = self.saved();
        let Phase::Stepping { step } = &saved.phase else { return };
        if self.plan.mode == Mode::Off || self.world.wanted.get().is_none() {
            return;
        }
        let past = self.plan.steps.iter().map(|it| &it.name).take_while(|it| *it != step);
        let gone = !self.plan.steps.iter().any(|it| it.name == *step);
        let begun =
            past.filter(|it| !gone || saved.passed.iter().any(|passed| passed.step == **it)).chain([step]);
        let there = |it: &&crate::Guard| it.watches == Watches::Replicas && !is_lost(self.plan, &it.name);
        for guard in self.plan.guards.iter().filter(there) {
            let counts = |it: &Activity| {
                it.id().name == guard.name && matches!(it, Activity::Analysis { samples: Samples::Count, .. })
            };
            let due = begun.clone().any(|it| *it == guard.from);
            found.require(!due || self.decision.run.iter().any(counts), "S14", || {
                format!("nobody watches replicas in step {step}: {:?}", guard.name)
            });
        }
    }

    /// S5, S15: an open abort goes before everything, and what is not ours is not touched.
    fn authority(&self, found: &mut Findings) {
        let decision = self.decision;
        if self.world.wanted.get().is_none() {
            return self.without_workload(found);
        }
        if self.plan.mode == Mode::Off && !self.world.leaving {
            found
                .require(decision.next == Next::Rest, "S15", || format!("{:?} with mode off", decision.next));
            return;
        }
        let open = |it: &&crate::Order| it.action == Action::Abort && is_open(self.status, it, self.now);
        let abort = self.orders.0.iter().find(open);
        let turns =
            matches!(&decision.next, Next::Save(after) if matches!(after.phase, Phase::Aborting { .. }));
        let stepping = matches!(self.status.phase, Phase::Stepping { .. });
        found.require(abort.is_none() || !stepping || turns, "S5", || {
            format!("{abort:?} is open, and the decision is {:?}", decision.next)
        });
        let full = Status::ORDERS <= self.status.accepted.len();
        let mut open = self.orders.0.iter().filter(|it| is_new(self.status, it, self.now));
        let left = open
            .next()
            .filter(|_| !full && !matches!(decision.next, Next::Save(_)) && self.status.phase != Phase::Left);
        found.require(left.is_none(), "S10", || {
            format!("{left:?} stands, and would come as a surprise later: {:?}", decision.next)
        });
        if let Next::Write(write) = &decision.next
            && self.status.held.is_some()
            && write.fence != Fence::Absent
        {
            let known = |it: &Repair| {
                it.change == write.change && (it.fence == write.fence || matches!(it.change, Change::Own(_)))
            };
            found.require(self.status.repairs.iter().any(known), "S10", || {
                format!("{:?} sets a foreign change right that is not recorded", write.change)
            });
        }
        let writes = matches!(decision.next, Next::Write(_));
        let unread = unread(self.plan, self.world);
        found.require(!writes || unread.is_empty(), "S15", || {
            format!("{:?} without knowing {unread:?}", decision.next)
        });
        let users = self.world.owner.get().is_some_and(|it| it.is == OwnerIs::UsersOwn);
        let touches = matches!(&decision.next, Next::Write(it) if !matches!(
            it.change,
            crate::Change::Split(..) | crate::Change::Restore(_)
        ));
        found.require(!users || !touches, "S15", || {
            format!("{:?} of a workload that its user took back", decision.next)
        });
    }

    /// S15, S22: what is not known is not touched, nothing is made or sized for a workload that is gone, and a Rollout that is
    /// deleted after it waits for nobody.
    fn without_workload(&self, found: &mut Findings) {
        let (decision, gone) = (self.decision, self.world.wanted == Seen::Absent);
        found.require(gone || decision.next == Next::Rest, "S15", || {
            format!("{:?} without knowing what is wanted", decision.next)
        });
        if let Next::Write(write) = &decision.next {
            let routed = matches!(
                write.change,
                crate::Change::Split(..) | crate::Change::Restore(_) | crate::Change::Claim(_)
            );
            found.require(routed && write.fence != Fence::Absent, "S15", || {
                format!("{:?} of a workload that is gone", write.change)
            });
        }
        let over = self.status.phase == Phase::Left || !unread(self.plan, self.world).is_empty();
        found.require(!gone || !self.world.leaving || over || decision.next != Next::Rest, "S22", || {
            format!("the Rollout and its workload are gone, and it waits for {:?}", decision.waiting)
        });
    }

    /// S2: what has answered nothing for long is sent nothing while the other side can answer, and what is back is not
    /// said to be down.
    fn answering(&self, found: &mut Findings) {
        let status = self.status;
        let (Some(home), Some(tried)) = (stable(status), canary(status)) else { return };
        let (off, gone) = (self.plan.mode == Mode::Off, self.world.wanted == Seen::Absent);
        if status.phase.step().is_none() || off || self.plan.steering == Steering::Ratio {
            return;
        }
        if !(gone || self.world.wanted.get().is_some_and(|it| it.replicas > 0))
            || !unread(self.plan, self.world).is_empty()
        {
            return;
        }
        let sides = [(Side::Stable, &home, &tried), (Side::Canary, &tried, &home)];
        for (side, dead, alive) in sides {
            let share = exposure_of(self.plan, self.world, dead, Of::Asked).share;
            let lost = share > 0 && answers_nothing(self.world, dead) && has_ready(self.world, alive, 1);
            if !lost || (side == Side::Canary && !gone) || (gone && self.world.leaving) {
                continue;
            }
            let known = match status.down {
                Some(Down::Certain { side: down, .. }) => down == side,
                Some(Down::Suspected { since }) if !gone => {
                    self.now.duration_since(since).unsigned_abs() < Duration::from_secs(5)
                }
                Some(Down::Suspected { .. }) | None => false,
            };
            found.require(known, "S2", || {
                format!("{dead} answers nothing and gets {share}: {:?}", status.down)
            });
        }
        let total = u64::from(self.world.wanted.get().map_or(u32::MAX, |it| it.replicas)).max(1);
        let back = matches!(status.down, Some(Down::Certain { side: Side::Stable, .. }))
            && has_ready(self.world, &home, total);
        found.require(!back, "L3", || format!("{home} is ready, and is said to be down: {:?}", status.down));
    }

    fn rests(&self, found: &mut Findings) {
        self.answering(found);
        let decision = self.decision;
        for it in &decision.waiting {
            found.require(it.until.is_none_or(|until| self.now < until), "L9", || {
                format!("{:?} is to wake at {:?}, and it is {}", it.what, it.until, self.now)
            });
            found.require(it.since <= self.now, "L3", || format!("{:?} waits since the future", it.what));
            if let WaitingFor::Order { any_of } | WaitingFor::StepGone { any_of, .. } = &it.what {
                found.require(!any_of.is_empty(), "L3", || {
                    "a person is awaited and not told what to say".into()
                });
            }
        }
        let wanted = self.world.wanted.get();
        let at_rest = match self.status.phase {
            Phase::Left => true,
            Phase::Idle => wanted.map(|it| &it.revision) == self.status.stable.as_ref(),
            Phase::Adopting
            | Phase::Stepping { .. }
            | Phase::Promoting
            | Phase::Aborting { .. }
            | Phase::RolledBack { .. }
            | Phase::Leaving => false,
        };
        found.require(at_rest || !decision.waiting.is_empty(), "L3", || {
            format!("rests in {:?} and says nothing", self.status.phase)
        });
        let told = self.world.owner.get().and_then(|it| it.refused.as_ref());
        let on_trial = self.status.phase.step().is_some() && self.status.held.is_some();
        let for_owner = decision.waiting.iter().any(|it| {
            matches!(
                it.what,
                WaitingFor::Owner { .. }
                    | WaitingFor::UsersOwn
                    | WaitingFor::Observation { .. }
                    | WaitingFor::Contested { .. }
            )
        });
        found.require(told.is_none() || !on_trial || for_owner, "S10", || {
            format!("pipelines are told that {told:?} failed while {:?} is on trial", self.status.canary)
        });
        self.ends(found, &decision.waiting);
        self.deadlines(found, &decision.waiting);
        self.takes_up(found);
    }

    /// L3: whoever waits for replicas, a data plane or an owner says by when, unless that has passed where nothing can turn
    /// back.
    fn ends(&self, found: &mut Findings, waiting: &[Waiting]) {
        let person = waiting.iter().any(|it| for_a_person(&it.what));
        let open = waiting.iter().find(|it| {
            let machine = matches!(
                it.what,
                WaitingFor::Replicas { .. }
                    | WaitingFor::Settling { .. }
                    | WaitingFor::RouteMissing { .. }
                    | WaitingFor::Claim { .. }
                    | WaitingFor::Pin { .. }
                    | WaitingFor::InUse { .. }
                    | WaitingFor::Room { .. }
                    | WaitingFor::Owner { .. }
            );
            machine && it.until.is_none()
        });
        let gone = self.world.wanted == Seen::Absent;
        let length = match self.status.phase {
            Phase::Aborting { .. } => self.plan.deadlines.abort.0,
            Phase::Adopting
            | Phase::Idle
            | Phase::Stepping { .. }
            | Phase::Promoting
            | Phase::RolledBack { .. }
            | Phase::Leaving
            | Phase::Left => self.plan.deadlines.progress.0,
        };
        let overdue = self.status.phase.step().is_none()
            && self.now.duration_since(self.status.since).unsigned_abs() >= length;
        found.require(person || gone || overdue || open.is_none(), "L3", || {
            format!("{open:?} without an end")
        });
    }

    /// L2 and L4.
    fn deadlines(&self, found: &mut Findings, waiting: &[Waiting]) {
        let status = self.status;
        let since = |from: Timestamp| Duration::try_from(self.now.duration_since(from)).unwrap_or_default();
        let blind = waiting.iter().any(|it| {
            matches!(
                it.what,
                WaitingFor::Observation { .. }
                    | WaitingFor::Workload
                    | WaitingFor::ModeOff
                    | WaitingFor::UsersOwn
            )
        });
        if let (Phase::Stepping { .. }, Some(from)) = (&status.phase, status.waited.since) {
            let waited = status.waited.before.saturating_add(since(from));
            let over = waited >= self.plan.deadlines.progress.0;
            // Whether stable only restarts is known within seconds.
            let suspected = matches!(status.down, Some(Down::Suspected { since: from })
                if since(from) < Duration::from_secs(5));
            found.require(!over || status.hold.is_some() || blind || suspected, "L4", || {
                format!("waited {waited:?} for {waiting:?}, and the progress deadline has passed")
            });
            let person = waiting.iter().any(|it| for_a_person(&it.what));
            let wakes = waiting.iter().any(|it| it.until.is_some());
            let held = matches!(status.hold, Some(Hold::ProgressDeadline));
            found.require(over || wakes || held || person || blind, "L4", || {
                format!("{waiting:?} without an end")
            });
        }
        if let Phase::Aborting { .. } = status.phase {
            let over = since(status.since) >= self.plan.deadlines.abort.0;
            let alive = stable(status).is_some_and(|it| has_ready(self.world, &it, 1));
            let routed = canary(status)
                .filter(|_| self.plan.steering != Steering::Ratio)
                .map(|it| exposure(self.plan, self.world, &it, self.now));
            let data_plane = !all_settled(self.plan, self.world, self.now);
            let owner = waiting
                .iter()
                .any(|it| matches!(it.what, WaitingFor::Owner { .. } | WaitingFor::Contested { .. }));
            let stays = routed.is_some_and(|it| it.any());
            found.require(!(over && alive && stays) || data_plane || owner || blind, "L2", || {
                format!(
                    "the abort deadline has passed, stable has a ready replica, and it waits for {waiting:?}"
                )
            });
        }
    }

    /// L5.
    fn takes_up(&self, found: &mut Findings) {
        let Some(wanted) = self.world.wanted.get() else { return };
        let new = Some(&wanted.revision) != self.status.stable.as_ref()
            && !self.status.is_refused(&wanted.revision);
        let free = matches!(self.status.phase, Phase::Idle | Phase::RolledBack { .. });
        let users = self.world.owner.get().is_some_and(|it| it.is == OwnerIs::UsersOwn);
        let active = self.plan.mode == Mode::Active && self.plan.missing.is_empty();
        found.require(!(new && free && active) || users, "L5", || {
            format!("{} is wanted and not taken up: {:?}", wanted.revision, self.decision.waiting)
        });
    }
}
