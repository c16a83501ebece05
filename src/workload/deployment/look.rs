//! What the machine gets to see of a Deployment.

use std::collections::{BTreeMap, BTreeSet};

use strategies::{Arm, ArmSeen, Behind, Owner, OwnerIs, Phase, Ready, Revision, Scaler};

use super::{
    super::codec::{Look, PodNames, Standing},
    facts::{Facts, SetOwner, SetSeen},
    owner::{self, Stable},
};
use crate::object::{Towards, Trouble};

pub(super) fn look(facts: &Facts, standing: &Standing) -> Look {
    let deployment = &facts.deployment;
    let owner = Owner {
        is: is(facts, standing),
        behind: behind(facts),
        refused: deployment.refused.clone(),
        fence: deployment.fence,
    };
    let listed: Vec<(&SetSeen, ArmSeen)> = arms(facts, standing);
    Look {
        revision: deployment.revision.clone(),
        replicas: standing.replicas.unwrap_or(deployment.replicas),
        scaler: facts.scaler,
        owner,
        hashes: listed.iter().map(|(set, _)| (Arm::main(set.revision.clone()), set.hash.clone())).collect(),
        arms: listed.into_iter().map(|(set, seen)| (Arm::main(set.revision.clone()), seen)).collect(),
        named: if deployment.short { PodNames::ByHash } else { PodNames::Listed },
        troubles: troubles(facts, standing),
    }
}

/// What it does, as the present phase asks. Moving: only while somebody else must act. Where the next write is ours, the
/// state it comes from.
fn is(facts: &Facts, standing: &Standing) -> OwnerIs {
    let deployment = &facts.deployment;
    if deployment.bypass {
        return OwnerIs::UsersOwn;
    }
    let scaled = standing.replicas.is_none_or(|it| it == deployment.replicas);
    let stable = standing.stable.clone();
    let wanted = stable.as_ref() == Some(&deployment.revision);
    let free = || match (owner::free(facts, standing), &stable) {
        (Towards::Reached, _) if scaled => OwnerIs::Free,
        (Towards::Theirs(_), _) => OwnerIs::Moving,
        (_, Some(stable)) if !deployment.paused => OwnerIs::HandedTo(stable.clone()),
        _ => OwnerIs::Held,
    };
    match (&standing.phase, &stable) {
        (Phase::Adopting | Phase::Leaving | Phase::Left, _) | (_, None) => free(),
        (Phase::Idle, _) if wanted => free(),
        (Phase::Promoting, Some(stable)) => match owner::handed_to(stable, facts) {
            Towards::Reached if scaled => OwnerIs::HandedTo(stable.clone()),
            Towards::Theirs(_) => OwnerIs::Moving,
            Towards::Reached | Towards::Write(_) | Towards::Refused(_) => OwnerIs::Held,
        },
        (
            Phase::Idle | Phase::Stepping { .. } | Phase::Aborting { .. } | Phase::RolledBack { .. },
            Some(stable),
        ) => match owner::hold(Stable::Deployments, facts, standing) {
            Towards::Reached => OwnerIs::Held,
            Towards::Theirs(_) => OwnerIs::Moving,
            // Stable is ours to size, and nobody else rolls anything out.
            Towards::Write(_) if owner::hold(Stable::Ours, facts, standing) == Towards::Reached => {
                OwnerIs::Detached
            }
            Towards::Write(_) | Towards::Refused(_) if deployment.paused => OwnerIs::HandedTo(stable.clone()),
            Towards::Write(_) | Towards::Refused(_) => OwnerIs::Free,
        },
    }
}

/// Its template against what it runs.
fn behind(facts: &Facts) -> Behind {
    let deployment = &facts.deployment;
    let mut own = facts.owned(SetOwner::Deployment).filter(|it| it.desired > 0 || deployment.replicas == 0);
    if own.clone().any(|it| it.template == deployment.template) {
        return Behind::No;
    }
    let release = own.any(|it| it.revision == deployment.revision);
    if release { Behind::IgnoredOnly } else { Behind::Template }
}

/// A ReplicaSet is an arm while it has pods, is to have some, or carries our stamp: the rest is the user's history.
fn arms<'a>(facts: &'a Facts, standing: &Standing) -> Vec<(&'a SetSeen, ArmSeen)> {
    let revisions: BTreeSet<&Revision> = facts.sets.iter().map(|it| &it.revision).collect();
    let counts = |it: &SetSeen| {
        it.desired > 0 || it.pods > 0 || it.epoch.is_some() || Some(&it.revision) == standing.stable.as_ref()
    };
    let listed = revisions.into_iter().filter_map(|it| facts.carrier(it)).filter(|it| counts(it));
    listed.map(|it| (it, seen(it, facts))).collect()
}

fn seen(set: &SetSeen, facts: &Facts) -> ArmSeen {
    // A rolling restart is one arm of two ReplicaSets.
    let restart = |it: &&SetSeen| {
        it.name != set.name
            && it.revision == set.revision
            && it.owner == SetOwner::Deployment
            && !facts.deployment.paused
    };
    let all: Vec<&SetSeen> = facts.sets.iter().filter(restart).chain([set]).collect();
    let sum = |of: fn(&SetSeen) -> u32| all.iter().map(|it| of(it)).fold(0, u32::saturating_add);
    let desired = sum(|it| it.desired);
    ArmSeen {
        desired,
        ready: Some(Ready::Replicas(sum(|it| it.available.min(it.desired)))),
        epoch: set.epoch,
        fence: set.fence,
    }
}

fn troubles(facts: &Facts, standing: &Standing) -> Vec<Trouble> {
    let object = format!("Deployment/{}", standing.workload);
    let mut all = BTreeMap::new();
    if facts.scaler == Some(Scaler::CanaryToo) {
        let what = "its HorizontalPodAutoscaler counts canary pods too: let it target the Rollout instead";
        all.insert("scaler", what.to_owned());
    }
    if facts.deployment.recreates {
        let what = "strategy Recreate: a template that gets past the hold restarts everything at once";
        all.insert("recreate", what.to_owned());
    }
    if let (Some(_), Towards::Refused(why)) =
        (&standing.stable, owner::hold(Stable::Deployments, facts, standing))
    {
        all.insert("hold", why);
    }
    all.into_values().map(|what| Trouble { object: object.as_str().into(), what }).collect()
}
