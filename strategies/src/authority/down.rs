//! A side that answers nothing gets no traffic while the other can answer. It is believed to be down only once that has
//! lasted, so that a restart is no change of authority, and what is measured meanwhile is about no split of the plan.

use std::time::Duration;

use jiff::Timestamp;

use super::Look;
use crate::mutant::rule;
use crate::{
    Arm, Load, Plan, Ready, Seen, Side, Sizing, Status, Steering, Weight, World, need, reach::asked_by_entry,
    status::Down,
};

/// Stable without a ready replica for so long is down; for less it may be restarting.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// What is known of one side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answers {
    Unknown,
    Nothing,
    /// So many replicas do; `None`: as many as it takes.
    Some(Option<u32>),
}

/// The status to save because a side went down or is back; `None`: nothing of that.
pub(super) fn follow(look: &Look<'_>) -> Option<Status> {
    let (plan, status, now) = (look.plan, look.status, look.now);
    status.phase.step()?;
    let total = look.wanted.replicas;
    let (stable, canary) = (answers(look.world, stable(status)?), answers(look.world, canary(status)?));
    match status.down {
        Some(Down::Certain { side, .. }) => {
            let goal = status.goal().weight;
            let (is, share) = match side {
                Side::Stable => (stable, goal.complement()),
                Side::Canary => (canary, goal),
            };
            let back = is_up(plan, total, is, share) && !rule!(NeverBack, false);
            back.then(|| turn(status, None))
        }
        Some(Down::Suspected { since }) => match (stable, canary) {
            (Answers::Some(_), _) => Some(Status { down: None, ..status.clone() }),
            (Answers::Nothing, Answers::Some(_)) => {
                let certain = rule!(DownAtABlip, ends(since) <= now);
                let served = rule!(DeadStableServed, false);
                (certain && !served)
                    .then(|| turn(status, Some(Down::Certain { side: Side::Stable, since: now })))
            }
            (Answers::Unknown | Answers::Nothing, _) => None,
        },
        None => {
            let arm = self::stable(status)?;
            let asked = || asked_by_entry(plan, look.world, &arm).iter().any(|it| it.share != Weight::ZERO);
            let serves = plan.stable_replicas(&status.goal(), total) > 0 || asked();
            let down = stable == Answers::Nothing && total > 0 && serves;
            down.then(|| Status { down: Some(Down::Suspected { since: now }), ..status.clone() })
        }
    }
}

/// The same where the workload is gone: what it leaves behind does not come back by itself.
pub(crate) fn follow_gone(status: &Status, world: &World, now: Timestamp) -> Option<Status> {
    status.phase.step()?;
    let (stable, canary) = (answers(world, stable(status)?), answers(world, canary(status)?));
    let side = match (stable, canary) {
        (Answers::Nothing, Answers::Some(_)) => Some(Side::Stable),
        (Answers::Some(_), Answers::Nothing) => Some(Side::Canary),
        (Answers::Some(_), Answers::Some(_)) => None,
        (Answers::Unknown | Answers::Nothing, _) | (_, Answers::Unknown) => status.fallen(),
    };
    if rule!(GoneStaysSplit, side == status.fallen()) {
        return None;
    }
    Some(turn(status, side.map(|side| Down::Certain { side, since: now })))
}

/// When a suspicion becomes certain.
pub(crate) fn ends(since: Timestamp) -> Timestamp {
    since.checked_add(GRACE).unwrap_or(Timestamp::MAX)
}

/// Another side of a change of authority: nothing that was measured or waited for counts under the new split.
fn turn(status: &Status, down: Option<Down>) -> Status {
    let mut next = status.clone();
    next.down = down;
    next.epoch = status.epoch.next();
    next.held = None;
    next.again = status.again.saturating_add(1);
    next.waited.since = None;
    next
}

fn stable(status: &Status) -> Option<Arm> {
    status.stable.clone().map(Arm::main)
}

fn canary(status: &Status) -> Option<Arm> {
    status.canary.clone().filter(|it| Some(it) != status.stable.as_ref()).map(Arm::main)
}

fn answers(world: &World, arm: Arm) -> Answers {
    match world.arm(&arm) {
        Seen::Unread => Answers::Unknown,
        Seen::Absent => Answers::Nothing,
        Seen::Is(seen) => match seen.ready {
            None => Answers::Unknown,
            Some(Ready::Elastic) => Answers::Some(None),
            Some(Ready::Replicas(0)) => Answers::Nothing,
            Some(Ready::Replicas(ready)) => Answers::Some(Some(ready)),
        },
    }
}

/// Whether it carries what the step gives it, or one request at least.
fn is_up(plan: &Plan, total: u32, is: Answers, share: Weight) -> bool {
    let routed = matches!(plan.steering, Steering::Routes(_));
    let sized = matches!(plan.sizing, Sizing::PerArm | Sizing::Partition);
    let load = Load { share, some: true, by_ready: false };
    match is {
        Answers::Unknown | Answers::Nothing => false,
        Answers::Some(None) => true,
        Answers::Some(Some(ready)) => {
            ready >= if routed && sized { need(plan, total, load).max(1) } else { 1 }
        }
    }
}
