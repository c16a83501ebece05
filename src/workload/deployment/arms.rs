//! What is asked of one arm.

use std::collections::BTreeMap;

use strategies::{Arm, Phase, Role};

use super::{
    super::codec::Standing,
    facts::{Edit, Facts, SetOwner, SetSeen},
};
use crate::object::Towards::{self, Reached, Refused, Theirs, Write};

/// Makes an arm, or takes over what the Deployment has of the same template: two of one template must never be.
pub(super) fn create(arm: &Arm, replicas: u32, facts: &Facts, standing: &Standing) -> Towards<Edit> {
    if arm.role != Role::Main {
        return Refused(format!("{arm}: a Deployment has no fresh replicas of stable beside it"));
    }
    match facts.carrier(&arm.revision) {
        Some(set) => match set.owner {
            SetOwner::Deployment | SetOwner::Rollout => at_size(set, replicas, standing),
            SetOwner::Nobody => Theirs("the Deployment adopts the ReplicaSet"),
            SetOwner::Other => foreign(set),
        },
        None if facts.deployment.revision == arm.revision || facts.kept.contains(&arm.revision) => {
            Write(Edit::Create { revision: arm.revision.clone(), replicas })
        }
        None => Refused(format!("the template of {arm} is neither in the Deployment nor kept")),
    }
}

fn at_size(set: &SetSeen, replicas: u32, standing: &Standing) -> Towards<Edit> {
    let so = set.owner == SetOwner::Rollout && set.desired == replicas && set.epoch == Some(standing.epoch);
    if so { Reached } else { Write(Edit::TakeOver { set: set.name.clone(), replicas }) }
}

pub(super) fn size(sizes: &BTreeMap<Arm, u32>, facts: &Facts, standing: &Standing) -> Towards<Edit> {
    for (arm, replicas) in sizes {
        let Some(set) = facts.carrier(&arm.revision) else { return gone(arm) };
        match set.owner {
            SetOwner::Nobody => return Theirs("the Deployment adopts the ReplicaSet"),
            SetOwner::Other => return foreign(set),
            // Whoever sizes it owns it, or its number would be the Deployment's to write. Never while that could make
            // another one in its place, nor what it has just been handed.
            SetOwner::Deployment if facts.deployment.paused && standing.phase != Phase::Promoting => {
                return Write(Edit::Detach(set.name.clone()));
            }
            SetOwner::Deployment => return Theirs("the Deployment sizes it"),
            SetOwner::Rollout if set.desired != *replicas || set.epoch != Some(standing.epoch) => {
                return Write(Edit::Resize { set: set.name.clone(), replicas: *replicas });
            }
            SetOwner::Rollout => {}
        }
    }
    Reached
}

pub(super) fn claim(arm: &Arm, facts: &Facts, standing: &Standing) -> Towards<Edit> {
    match facts.carrier(&arm.revision) {
        None => gone(arm),
        Some(set) if set.epoch == Some(standing.epoch) => Reached,
        Some(set) => Write(Edit::Stamp(set.name.clone())),
    }
}

pub(super) fn remove(arm: &Arm, facts: &Facts, standing: &Standing) -> Towards<Edit> {
    let Some(set) = facts.carrier(&arm.revision) else { return Reached };
    if standing.stable.as_ref() == Some(&arm.revision) {
        return Refused(format!("{arm} is stable"));
    }
    match set.owner {
        SetOwner::Rollout if set.made => Write(Edit::Delete(set.name.clone())),
        SetOwner::Rollout if set.desired > 0 || set.epoch.is_some() => Write(Edit::Retire(set.name.clone())),
        SetOwner::Rollout => Theirs("its pods end"),
        SetOwner::Deployment if set.desired == 0 && set.epoch.is_some() => {
            Write(Edit::Unstamp(set.name.clone()))
        }
        SetOwner::Deployment | SetOwner::Nobody => Theirs("the Deployment scales it down"),
        SetOwner::Other => foreign(set),
    }
}

fn gone(arm: &Arm) -> Towards<Edit> {
    Refused(format!("there is no ReplicaSet of {arm}"))
}

fn foreign(set: &SetSeen) -> Towards<Edit> {
    Refused(format!("the ReplicaSet {} is controlled by somebody else: remove its ownerReference", set.name))
}
