use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::mutant::rule;
use crate::{
    Action, Activity, Change, Down, Fence, Hold, LeaveBehavior, Mode, Name, Of, Orders, Phase, Plan,
    Progress, Repair, Samples, Seen, Side, Sizing, Status, Steering, Waiting, WaitingFor, World, Write,
    activities::{running, step_seen},
    approach::{Approach, approach},
    authority::{self, Look, down, keep_latest, open_orders, progress_ends},
    gone::gone,
    status::Said,
    target::target,
};

/// The outcome of one look at the world.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use = "a decision does nothing until it is saved or executed"]
pub struct Decision {
    /// What to do now: one thing.
    pub next: Next,
    /// What should be running now; whatever else runs is stopped.
    pub run: Vec<Activity>,
    /// What the rollout waits for.
    pub waiting: Vec<Waiting>,
}

/// What to do now. Two objects are two decisions.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Next {
    /// Nothing.
    Rest,
    /// Save this, then observe again.
    Save(Box<Status>),
    /// Write this, then observe again.
    Write(Box<Write>),
}

impl Decision {
    /// When to decide again even if nothing is observed to change.
    #[must_use]
    pub fn wake(&self) -> Option<Timestamp> {
        self.waiting.iter().filter_map(|it| it.until).min()
    }
}

/// Decides what to do now.
///
/// # Guarantees
///
/// - Deterministic and total: equal arguments give equal decisions, and every argument gives one.
/// - Quiet: where the world already is as wanted, it rests.
/// - Final: a revision that was rolled back is never given more traffic until someone orders a retry.
/// - One step forward at most per call.
pub fn decide(plan: &Plan, status: &Status, orders: &Orders, world: &World, now: Timestamp) -> Decision {
    let wanted = match &world.wanted {
        Seen::Is(wanted) => wanted,
        Seen::Unread => return idle(status, WaitingFor::Observation { of: "workload".into() }),
        Seen::Absent => return gone(plan, status, world, now),
    };
    if status.phase == Phase::Left {
        return Decision { next: Next::Rest, run: vec![], waiting: vec![] };
    }
    if plan.mode == Mode::Off && !rule!(OffActs, false) && !world.leaving {
        return idle(status, WaitingFor::ModeOff);
    }
    let look = Look { plan, status, orders, world, wanted, now };
    if let Some(next) = authority::next(&look) {
        return save(&look, next);
    }
    if let (Some(step), None) = (status.phase.step(), &status.doing) {
        // Nobody knows any more what was asked for, so everything stays as it is.
        return Decision { next: Next::Rest, run: vec![], waiting: vec![step_gone(&look, step)] };
    }
    let Some(target) = target(plan, status, world, wanted) else {
        return idle(status, WaitingFor::Workload);
    };
    let approach = approach(plan, status, world, now, &target);
    let mut decision = match approach.arrived() {
        true => arrived(&look),
        false => under_way(&look, approach),
    };
    if decision.next == Next::Rest {
        decision.waiting.extend(suspicion(status, now));
    }
    decision
}

/// Whoever suspects that stable is down looks again when it would be certain.
fn suspicion(status: &Status, now: Timestamp) -> Option<Waiting> {
    let Some(Down::Suspected { since }) = status.down else { return None };
    let arm = crate::Arm::main(status.stable.clone()?);
    let until = Some(down::ends(since)).filter(|it| *it > now);
    Some(Waiting { what: WaitingFor::StableIsDown { arm }, since, until })
}

/// Nothing can be done until something is observed.
pub(crate) fn idle(status: &Status, what: WaitingFor) -> Decision {
    let waiting = Waiting { what, since: status.since, until: None };
    Decision { next: Next::Rest, run: vec![], waiting: vec![waiting] }
}

/// Activities follow the status as it will be once saved.
fn save(look: &Look<'_>, next: Status) -> Decision {
    save_with(look, next, Samples::Withheld)
}

fn save_with(look: &Look<'_>, next: Status, samples: Samples) -> Decision {
    let run = running(look.plan, &next, look.now, samples);
    Decision { next: Next::Save(Box::new(next)), run, waiting: vec![] }
}

/// Whether what is measured now belongs to the step though the world is not as its goal wants it: once the goal was
/// seen to hold and while the split stays as it is, replicas that fail are what an analysis is there to see.
fn samples_under_way(look: &Look<'_>, approach: &Approach) -> Samples {
    let replicas_only = approach.waiting.keys().all(|it| matches!(it, WaitingFor::Replicas { .. }));
    // A route that somebody moved is not as it was, even if only replicas keep it from being set right.
    let routes_hold = rule!(StrayEvidence, !approach.routes_move);
    // Where replicas are the split, a replica that fails moves it.
    let apart = look.plan.steering != Steering::Ratio;
    let counts =
        look.status.held.is_some() && apart && routes_hold && replicas_only && approach.write.is_none();
    if rule!(EvidenceUnsettled, counts) { Samples::Count } else { Samples::Withheld }
}

/// The world is not yet as the phase wants it.
fn under_way(look: &Look<'_>, approach: Approach) -> Decision {
    let status = look.status;
    let counts = counts_towards_progress(&approach);
    let samples = samples_under_way(look, &approach);
    if counts && status.waited.since.is_none() && is_timed(&status.phase) {
        let mut next = status.clone();
        next.waited.since = Some(look.now);
        return save_with(look, next, samples);
    }
    let mut waiting: Vec<Waiting> =
        approach.waiting.into_iter().map(|(what, until)| under_way_waiting(look, what, until)).collect();
    // Whatever the machine waits for beside it, a person is told what to say.
    if let Some(step) = status.phase.step().filter(|it| look.plan.step_named(it).is_none()) {
        waiting.push(step_gone(look, step));
    } else if let (Phase::Stepping { .. }, Some(hold)) = (&status.phase, &status.hold) {
        waiting.push(person(look, open_orders(hold)));
    }
    let next = match approach.write {
        None => Next::Rest,
        Some(write) => match contest(look, &write) {
            Contest::None => Next::Write(Box::new(write)),
            Contest::Repair(next) => Next::Save(next),
            Contest::Contested(it) => {
                waiting.push(it);
                Next::Rest
            }
        },
    };
    if let Next::Save(next) = next {
        return save(look, *next);
    }
    Decision { next, run: running(look.plan, status, look.now, samples), waiting }
}

/// Every wait for the machine has a deadline. One that has passed where nothing can turn back is overdue: from then on only
/// what is observed ends it.
fn under_way_waiting(look: &Look<'_>, what: WaitingFor, until: Option<Timestamp>) -> Waiting {
    let (status, deadlines) = (look.status, &look.plan.deadlines);
    let ends = |length: Duration| status.since.checked_add(length).ok().filter(|it| *it > look.now);
    let deadline = match &status.phase {
        Phase::Stepping { .. } => {
            let running = status.hold != Some(Hold::ProgressDeadline);
            // First it is known whether stable only restarts.
            let known = |end: Timestamp| match status.down {
                Some(Down::Suspected { since }) => end.max(down::ends(since)),
                Some(Down::Certain { .. }) | None => end,
            };
            progress_ends(look.plan, status).map(known).filter(|it| running && *it > look.now)
        }
        Phase::Aborting { .. } => ends(deadlines.abort.0),
        Phase::Adopting
        | Phase::Idle
        | Phase::Promoting
        | Phase::RolledBack { .. }
        | Phase::Leaving
        | Phase::Left => ends(deadlines.progress.0),
    };
    let deadline = deadline.filter(|_| !rule!(WaitsForEver, false));
    let until = [until, deadline].into_iter().flatten().min();
    Waiting { what, since: status.waited.since.unwrap_or(status.since), until }
}

fn is_timed(phase: &Phase) -> bool {
    phase.step().is_some()
}

fn counts_towards_progress(approach: &Approach) -> bool {
    approach.write.is_some() || approach.waiting.keys().any(|it| *it != WaitingFor::UsersOwn)
}

enum Contest {
    None,
    Repair(Box<Status>),
    Contested(Waiting),
}

/// Once a goal was seen to hold, only somebody else can have moved an object away from it, unless something else is
/// wanted of it. That is repaired, and recorded first; after three repairs of one object in ten minutes, all to the same,
/// the engine stops fighting.
fn contest(look: &Look<'_>, write: &Write) -> Contest {
    let (status, of) = (look.status, write.change.of());
    let of_this = |it: &&Repair| it.change.of() == of && it.change == write.change;
    let recorded = status.repairs.iter().rfind(of_this).is_some_and(|it| match of {
        // One goal of an owner may need several writes, each of which makes another version.
        Some(Of::Owner) => !it.over,
        Some(Of::Arm(_) | Of::Route(_)) | None => it.fence == write.fence,
    });
    let sized = matches!(of, Some(Of::Arm(_) | Of::Owner)) && rule!(SizesFought, false);
    if status.held.is_none() || recorded || write.fence == Fence::Absent || sized {
        return Contest::None;
    }
    let lately =
        |it: &&Repair| of_this(it) && it.at.checked_add(CONTEST_WINDOW).is_ok_and(|end| look.now < end);
    let repairs: Vec<&Repair> = status.repairs.iter().filter(lately).collect();
    if let (Some(oldest), true) = (repairs.first(), repairs.len() >= CONTEST_REPAIRS) {
        let until = oldest.at.checked_add(CONTEST_WINDOW).ok();
        return Contest::Contested(Waiting { what: contested(look, &write.change), since: oldest.at, until });
    }
    let mut next = status.clone();
    let (mut same, others): (Vec<Repair>, _) = next.repairs.into_iter().partition(|it| it.change.of() == of);
    next.repairs = others;
    same.retain(|it| it.change == write.change);
    same.push(Repair { change: write.change.clone(), fence: write.fence, at: look.now, over: false });
    keep_latest(&mut same, CONTEST_REPAIRS);
    next.repairs.extend(same);
    keep_latest(&mut next.repairs, Status::REPAIRS);
    Contest::Repair(Box::new(next))
}

fn contested(look: &Look<'_>, change: &Change) -> WaitingFor {
    let field = match change {
        Change::Split(..) | Change::Restore(_) => "split",
        Change::Create(..) | Change::Size(_) | Change::Remove(_) => "replicas",
        Change::Claim(_) => "stamp",
        Change::Own(_) => "owner",
    };
    let (object, manager) = match change.of() {
        Some(Of::Route(route)) => {
            (Name::from(route.as_str()), look.world.route(route).get().and_then(|it| it.manager.clone()))
        }
        Some(Of::Arm(arm)) => (arm.to_string().into(), None),
        Some(Of::Owner) | None => ("workload".into(), None),
    };
    WaitingFor::Contested { object, field: field.into(), manager }
}

/// Whatever was repaired is as it should be.
fn repairs_over(mut next: Status) -> Status {
    next.repairs.iter_mut().for_each(|it| it.over = true);
    next
}

/// So many repairs of one field ...
const CONTEST_REPAIRS: usize = 3;
/// ... within so long are a fight, not a repair.
const CONTEST_WINDOW: Duration = Duration::from_mins(10);

/// The world is as the phase wants it.
fn arrived(look: &Look<'_>) -> Decision {
    let status = look.status;
    if let Some(since) = status.waited.since {
        let mut next = status.clone();
        next.waited.since = None;
        next.waited.before += Duration::try_from(look.now.duration_since(since)).unwrap_or_default();
        let samples = if next.held.is_some() { Samples::Count } else { Samples::Withheld };
        next.held = next.held.or(Some(look.now));
        return save_with(look, repairs_over(next), samples);
    }
    if status.held.is_none() || status.repairs.iter().any(|it| !it.over) {
        let mut next = repairs_over(status.clone());
        next.held = status.held.or(Some(look.now));
        return save(look, next);
    }
    match &status.phase {
        Phase::Adopting => {
            let mut next = status.enter(Phase::Idle, look.now);
            next.stable = Some(look.wanted.revision.clone());
            next.remember_stable(look.wanted.revision.clone(), look.now);
            save(look, next)
        }
        Phase::Promoting => {
            let mut next = status.enter(Phase::Idle, look.now);
            next.canary = None;
            save(look, next)
        }
        Phase::Leaving => save(look, status.enter(Phase::Left, look.now)),
        Phase::Aborting { cause } => save(look, status.turned_back(cause, look.now)),
        Phase::Idle | Phase::RolledBack { .. } | Phase::Left => at_home(look),
        Phase::Stepping { step } => progress(look, step),
    }
}

fn at_home(look: &Look<'_>) -> Decision {
    let (status, wanted) = (look.status, &look.wanted.revision);
    let what = match status.stable.as_ref() == Some(wanted) {
        true => None,
        false if status.is_refused(wanted) => Some(WaitingFor::AnotherRevision { refused: wanted.clone() }),
        false if look.plan.mode == Mode::Active => None,
        false => Some(WaitingFor::ModePaused),
    };
    let missing = look.plan.missing.iter().map(|it| it.what.clone()).collect();
    let missing = WaitingFor::Missing { what: missing };
    let missing =
        (status.stable.as_ref() != Some(wanted) && !look.plan.missing.is_empty()).then_some(missing);
    let waiting =
        what.into_iter().chain(missing).map(|what| Waiting { what, since: status.since, until: None });
    Decision { next: Next::Rest, run: vec![], waiting: waiting.collect() }
}

/// The step's goal holds: is the step over?
fn progress(look: &Look<'_>, step: &Name) -> Decision {
    let status = look.status;
    let place = status.place(look.plan);
    let (Some(place), Some(seen), Some(doing)) = (place, step_seen(status, look.now), &status.doing) else {
        return rest(look, step_gone(look, step));
    };
    if status.fallen().is_some() && status.said == Said::Nothing {
        return answers_nothing(look);
    }
    let answer = match status.said {
        Said::Promoted | Said::PromotedFully => Progress::Done,
        Said::Nothing | Said::Approved => doing.leave.progress(&seen),
    };
    match (answer, held_back(look)) {
        (Progress::Failed(cause), _) => save(look, status.abort(cause, look.now)),
        (Progress::Ended(id, verdict), hold) => match (look.consequence(&id, verdict), hold) {
            (Some(next), _) => save(look, next),
            (None, Some(waiting)) => rest(look, waiting),
            (None, None) => rest(look, person(look, open_orders(&Hold::Verdict { id, verdict }))),
        },
        (Progress::Done | Progress::Waiting(..), Some(waiting)) => rest(look, waiting),
        (Progress::Done, None) => save(look, forward(look, place)),
        (Progress::Waiting(what, until), None) => rest(look, Waiting { what, since: seen.held, until }),
    }
}

/// What is seen now is about no split of the plan, so only a person goes on before the other side is back.
fn answers_nothing(look: &Look<'_>) -> Decision {
    let any_of = vec![Action::Promote, Action::PromoteFull, Action::Abort];
    let mut decision = rest(look, person(look, any_of));
    if let (Some(stable), Some(Down::Certain { side: Side::Stable, since })) =
        (look.status.stable.clone(), look.status.down)
    {
        let what = WaitingFor::StableIsDown { arm: crate::Arm::main(stable) };
        decision.waiting.insert(0, Waiting { what, since, until: None });
    }
    decision
}

/// Why no step is taken even if the present one is over.
fn held_back(look: &Look<'_>) -> Option<Waiting> {
    match look.status.hold.as_ref().filter(|_| !rule!(HoldIgnored, false)) {
        Some(hold) => Some(person(look, open_orders(hold))),
        None if look.plan.mode == Mode::Paused => {
            Some(Waiting { what: WaitingFor::ModePaused, since: look.status.since, until: None })
        }
        None if lacks(look).is_some() => lacks(look),
        None if scaled_to_zero(look) && !rule!(StepsAtZero, false) => {
            Some(Waiting { what: WaitingFor::ScaledToZero, since: look.status.since, until: None })
        }
        None => None,
    }
}

/// Nobody but a person can say which step goes on where the plan has none of the present one's name.
fn step_gone(look: &Look<'_>, step: &Name) -> Waiting {
    let what = WaitingFor::StepGone { step: step.clone(), any_of: vec![Action::Resume, Action::Abort] };
    Waiting { what, since: look.status.held.unwrap_or(look.status.since), until: None }
}

/// Nobody is judged by what is not there, unless a person says how to go on.
fn lacks(look: &Look<'_>) -> Option<Waiting> {
    let what = look.plan.lacks(look.status);
    let ordered = matches!(look.status.said, Said::Promoted | Said::PromotedFully);
    let held = !what.is_empty() && !ordered && !rule!(StepsBlind, false);
    let since = look.status.held.unwrap_or(look.status.since);
    held.then_some(Waiting { what: WaitingFor::Missing { what }, since, until: None })
}

/// Of what does not run nothing can be said, unless a person does.
fn scaled_to_zero(look: &Look<'_>) -> bool {
    let sized = matches!(look.plan.sizing, Sizing::PerArm | Sizing::Partition);
    let ordered = matches!(look.status.said, Said::Promoted | Said::PromotedFully);
    sized && look.wanted.replicas == 0 && !ordered
}

fn person(look: &Look<'_>, any_of: Vec<crate::Action>) -> Waiting {
    let since = look.status.held.unwrap_or(look.status.since);
    Waiting { what: WaitingFor::Order { any_of }, since, until: None }
}

fn rest(look: &Look<'_>, waiting: Waiting) -> Decision {
    let run = running(look.plan, look.status, look.now, Samples::Count);
    Decision { next: Next::Rest, run, waiting: vec![waiting] }
}

/// One step forward, or the commit.
fn forward(look: &Look<'_>, place: usize) -> Status {
    let (plan, status) = (look.plan, look.status);
    if place >= plan.last_step() {
        return status.commit(look.now);
    }
    let to = if rule!(TwoSteps, false) { plan.last_step() } else { place + 1 };
    let mut next = status.enter_step(plan, to, look.now);
    next.pass(&plan.steps[place]);
    if !status.goal().within(&next.goal()) {
        // A step back takes something away from the canary: nothing decided before may land after it.
        next.epoch = status.epoch.next();
    }
    next
}
