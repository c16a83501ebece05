use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    Acknowledged, Arm, ArmSeen, Change, Dest, Epoch, OwnerIs, Plan, Ready, RouteId, RouteRest, RouteSeen,
    Seen, Share, Split, Status, World, Write, target::dest_of_stable,
};

/// The world as it is asked to be once `write` is accepted and before anything has followed it.
///
/// Pessimistic where it matters: a new replica is not ready, and what the data plane still does is unchanged.
/// The safety rules are evaluated on this, so a write that moves several things at once needs no rule of its own.
#[must_use]
pub fn predict(plan: &Plan, status: &Status, world: &World, write: &Write) -> World {
    let mut after = world.clone();
    match &write.change {
        Change::Create(arm, replicas) => create(&mut after, arm, *replicas, write),
        Change::Size(sizes) => {
            for (arm, replicas) in sizes {
                size(&mut after, arm, *replicas, write);
            }
        }
        Change::Claim(arm) => {
            if let Some(Seen::Is(seen)) = after.arms.get_mut(arm) {
                seen.epoch = Some(write.epoch);
            }
        }
        Change::Remove(arm) => {
            after.arms.remove(arm);
            for split in splits(&mut after) {
                if let Share::ByReady(arms) = &mut split.share {
                    arms.remove(arm);
                }
            }
        }
        Change::Split(route, split) => ask(&mut after, route, split.clone(), Some(write.epoch), write),
        Change::Restore(route) => {
            let rest = rest_of(plan, status, world, route);
            ask(&mut after, route, rest, None, write);
        }
        Change::Own(_) => {
            if let Seen::Is(owner) = &mut after.owner {
                owner.is = OwnerIs::Moving;
            }
        }
    }
    after
}

/// What a route looks like when no rollout runs.
#[must_use]
pub(crate) fn rest_of(plan: &Plan, status: &Status, world: &World, route: &RouteId) -> Split {
    let rest = plan.routes().find(|(id, _)| *id == route).map(|(_, it)| (&it.rest, &it.kind));
    match rest {
        Some((RouteRest::Through(through), _)) => Split::all_to(Dest::Route(through.clone())),
        Some((RouteRest::OnStable, kind)) => match &status.stable {
            Some(stable) => Split::all_to(dest_of_stable(kind, stable)),
            None => Split::fixed(BTreeMap::new()),
        },
        Some((RouteRest::ByReady, _)) | None => {
            let main = |arm: &&Arm| arm.role == crate::Role::Main;
            let there = |(arm, seen): (&Arm, &Seen<ArmSeen>)| seen.get().map(|_| arm.clone());
            Split::by_ready(world.arms.iter().filter(|(arm, _)| main(arm)).filter_map(there).collect())
        }
    }
}

fn create(after: &mut World, arm: &Arm, replicas: u32, write: &Write) {
    let seen = ArmSeen {
        desired: replicas,
        ready: Some(Ready::Replicas(0)),
        epoch: Some(write.epoch),
        fence: write.fence,
    };
    after.arms.insert(arm.clone(), Seen::Is(seen));
    // A load balancer that is not pinned serves whatever gets ready.
    for split in splits(after) {
        if let Share::ByReady(arms) = &mut split.share {
            arms.insert(arm.clone());
        }
    }
}

fn size(after: &mut World, arm: &Arm, replicas: u32, write: &Write) {
    let Some(Seen::Is(seen)) = after.arms.get_mut(arm) else {
        return create(after, arm, replicas, write);
    };
    seen.desired = replicas;
    seen.epoch = Some(write.epoch);
    seen.ready = seen.ready.map(|ready| match ready {
        Ready::Replicas(ready) => Ready::Replicas(ready.min(replicas)),
        Ready::Elastic => Ready::Elastic,
    });
}

fn ask(after: &mut World, route: &RouteId, split: Split, epoch: Option<Epoch>, write: &Write) {
    match after.routes.get_mut(route) {
        Some(Seen::Is(seen)) => {
            seen.asked = split;
            seen.epoch = epoch;
        }
        Some(Seen::Unread | Seen::Absent) | None => {
            // Where there was no route there is nothing else that a data plane could follow.
            let acknowledged = Some(Acknowledged { split: split.clone(), since: Timestamp::MAX });
            let seen = RouteSeen { asked: split, epoch, acknowledged, manager: None, fence: write.fence };
            after.routes.insert(route.clone(), Seen::Is(seen));
        }
    }
}

/// Every split that a route asks for or that its data plane may still follow.
fn splits(world: &mut World) -> impl Iterator<Item = &mut Split> {
    world
        .routes
        .values_mut()
        .filter_map(|seen| match seen {
            Seen::Is(route) => Some(route),
            Seen::Unread | Seen::Absent => None,
        })
        .flat_map(|route| {
            let acknowledged = route.acknowledged.as_mut().map(|it| &mut it.split);
            std::iter::once(&mut route.asked).chain(acknowledged)
        })
}
