//! The workload is gone, and perhaps everything around it goes too. Nothing is made then and nothing is sized; a Rollout
//! that is deleted gives back what is left and waits for nobody.

use jiff::Timestamp;

use crate::mutant::rule;
use crate::{
    Change, Decision, Fence, Mode, Next, Phase, Plan, RouteRest, Samples, Seen, Sizing, Status, Waiting,
    WaitingFor, Wanted, World, Write,
    activities::running,
    approach::{approach, rests},
    authority::down,
    decide::idle,
    predict::rest_of,
    status::Waited,
    target::target,
};

/// What to do without a workload.
pub(crate) fn gone(plan: &Plan, status: &Status, world: &World, now: Timestamp) -> Decision {
    if status.phase == Phase::Left {
        return Decision { next: Next::Rest, run: vec![], waiting: vec![] };
    }
    if world.leaving && !rule!(GoneNeverLeaves, false) {
        return leave(plan, status, world, now);
    }
    if plan.mode == Mode::Off {
        return idle(status, WaitingFor::ModeOff);
    }
    let stopped = Waited { since: None, ..status.waited };
    let stopped = (status.phase.step().is_some() && status.waited != stopped)
        .then(|| Status { waited: stopped, ..status.clone() });
    match down::follow_gone(status, world, now).or(stopped) {
        Some(next) => save(next),
        None => serve(plan, status, world, now),
    }
}

fn save(next: Status) -> Decision {
    Decision { next: Next::Save(Box::new(next)), run: vec![], waiting: vec![] }
}

/// Requests go where something answers, as far as they may. Replicas are nobody's to size now.
fn serve(plan: &Plan, status: &Status, world: &World, now: Timestamp) -> Decision {
    let mut decision = idle(status, WaitingFor::Workload);
    decision.run = running(plan, status, now, Samples::Withheld);
    let moves = match status.phase {
        Phase::Stepping { .. } => status.doing.is_some(),
        Phase::Aborting { .. } | Phase::Promoting => true,
        Phase::Adopting | Phase::Idle | Phase::RolledBack { .. } | Phase::Leaving | Phase::Left => false,
    };
    if !moves || status.held.is_some() || plan.sizing == Sizing::Partition {
        return decision;
    }
    let desired = world.arms.values().filter_map(Seen::get).map(|it| it.desired);
    let revision = status.canary.clone().or_else(|| status.stable.clone()).unwrap_or_else(|| "".into());
    let wanted = Wanted { revision, replicas: desired.max().unwrap_or(0), scaler: None };
    let Some(mut target) = target(plan, status, world, &wanted) else { return decision };
    target.kept = world.arms.keys().cloned().collect();
    target.sizes.clear();
    target.owner = None;
    let approach = approach(plan, status, world, now, &target);
    match approach.write.filter(|it| it.fence != Fence::Absent) {
        Some(write) => decision.next = Next::Write(Box::new(write)),
        None => decision.waiting.extend(approach.waiting.into_iter().map(|(what, until)| Waiting {
            what,
            since: status.since,
            until: until.filter(|it| *it > now),
        })),
    }
    decision
}

/// Gives the user's routes their own values back; what is ours goes with the Rollout.
fn leave(plan: &Plan, status: &Status, world: &World, now: Timestamp) -> Decision {
    if status.phase != Phase::Leaving {
        let mut next = status.enter(Phase::Leaving, now);
        next.epoch = status.epoch.next();
        return save(next);
    }
    for (id, route) in plan.written() {
        let seen = match world.route(id) {
            Seen::Is(seen) => seen,
            Seen::Absent => continue,
            Seen::Unread => return idle(status, WaitingFor::Observation { of: id.as_str().into() }),
        };
        let users = matches!(route.rest, RouteRest::ByReady | RouteRest::Through(_));
        if users && !rests(route, seen, &rest_of(plan, status, world, id)) {
            let write = Write { change: Change::Restore(id.clone()), fence: seen.fence, epoch: status.epoch };
            return Decision { next: Next::Write(Box::new(write)), ..idle(status, WaitingFor::Workload) };
        }
    }
    save(status.enter(Phase::Left, now))
}
