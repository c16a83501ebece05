//! What delivery asks of the Deployment, one edit at a time.

use strategies::{Phase, Revision};

use super::{
    super::codec::Standing,
    facts::{Edit, Facts, SetOwner, SetSeen},
};
use crate::object::Towards::{self, Reached, Refused, Theirs, Write};

/// Who sizes stable while the Deployment is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stable {
    /// The Deployment, which owns its ReplicaSet.
    Deployments,
    /// The engine: it is detached.
    Ours,
}

/// It takes no template up, and owns stable's ReplicaSet and no other; its status says that `refused` failed, or nothing.
pub(super) fn held(refused: Option<&Revision>, facts: &Facts, standing: &Standing) -> Towards<Edit> {
    match hold(Stable::Deployments, facts, standing) {
        Reached => told(refused, facts),
        other @ (Write(_) | Theirs(_) | Refused(_)) => other,
    }
}

/// It takes no template up either, and stable's ReplicaSet is the engine's to size.
pub(super) fn detached(facts: &Facts, standing: &Standing) -> Towards<Edit> {
    match hold(Stable::Ours, facts, standing) {
        Reached => told(None, facts),
        other @ (Write(_) | Theirs(_) | Refused(_)) => other,
    }
}

/// Pipelines are told what they should be.
pub(super) fn told(refused: Option<&Revision>, facts: &Facts) -> Towards<Edit> {
    match (refused, &facts.deployment.refused) {
        (Some(wanted), present) if present.as_ref() != Some(wanted) => Write(Edit::Tell(wanted.clone())),
        (None, Some(_)) => Write(Edit::Untell),
        (Some(_) | None, _) => Reached,
    }
}

/// The part of a hold that is about ReplicaSets.
pub(super) fn hold(by: Stable, facts: &Facts, standing: &Standing) -> Towards<Edit> {
    let deployment = &facts.deployment;
    let Some(revision) = &standing.stable else {
        return Refused("no stable revision is known, so there is nothing to hold it for".to_owned());
    };
    // First of all: every moment it is not paused it may roll its template out.
    if !deployment.paused {
        return Write(Edit::Pause);
    }
    if deployment.managed {
        return Write(Edit::Disown);
    }
    let stable = facts.carrier(revision);
    let others = facts.deployments().filter(|it| Some(&it.name) != stable.map(|it| &it.name));
    // What it made of a template that was to be held competes with stable for its replicas: those first.
    if let Some(set) = others.clone().find(|it| it.desired > 0 && it.revision != *revision) {
        return Write(Edit::TakeOver { set: set.name.clone(), replicas: 0 });
    }
    // Those without replicas first: left alone with one of them it would fill it.
    if let Some(set) = others.min_by_key(|it| it.desired) {
        return Write(Edit::Detach(set.name.clone()));
    }
    // A write of an earlier attempt that gives one back may still be under way: it meets another version.
    let history = |it: &&SetSeen| it.desired == 0 && it.epoch.is_none() && it.held != Some(standing.attempt);
    if let Some(set) = facts.owned(SetOwner::Rollout).find(history) {
        return Write(Edit::Detach(set.name.clone()));
    }
    if !facts.kept.contains(revision) && stable.is_some() {
        return Write(Edit::Keep(revision.clone()));
    }
    match (stable.map(|it| (it, it.owner)), by) {
        // At no replicas a short history would have it deleted again at once.
        (None, _) if deployment.replicas == 0 => return Reached,
        (None, _) => return revive(revision, facts),
        (Some((_, SetOwner::Nobody)), _) => return Theirs("the Deployment adopts stable's ReplicaSet"),
        (Some((set, SetOwner::Other)), _) => return foreign(set),
        (Some((set, SetOwner::Rollout)), Stable::Deployments) => return offer(set, facts),
        (Some((set, SetOwner::Deployment)), Stable::Ours) => return Write(Edit::Detach(set.name.clone())),
        (Some((_, SetOwner::Deployment)), Stable::Deployments)
        | (Some((_, SetOwner::Rollout)), Stable::Ours) => {}
    }
    match stable.and_then(|it| surplus(it, facts)) {
        Some(next) => next,
        None => Reached,
    }
}

/// Another ReplicaSet of stable's revision that has replicas: a restart was under way. It serves until stable is whole.
fn surplus(stable: &SetSeen, facts: &Facts) -> Option<Towards<Edit>> {
    let same = |it: &&SetSeen| it.revision == stable.revision && it.name != stable.name && it.desired > 0;
    let set = facts.owned(SetOwner::Rollout).find(same)?;
    Some(match stable.available.min(stable.desired) >= facts.deployment.replicas {
        true => Write(Edit::Retire(set.name.clone())),
        false => Theirs("stable's ReplicaSet gets as many ready replicas as the Deployment asks for"),
    })
}

fn revive(revision: &Revision, facts: &Facts) -> Towards<Edit> {
    match facts.kept.contains(revision) {
        true => Write(Edit::Revive { revision: revision.clone(), replicas: facts.deployment.replicas }),
        false => Refused(format!(
            "the ReplicaSet of stable ({revision}) is gone and its template was not kept: put the old template back, or order promote --full"
        )),
    }
}

fn offer(set: &SetSeen, facts: &Facts) -> Towards<Edit> {
    Write(Edit::Offer { set: set.name.clone(), replicas: facts.deployment.replicas })
}

fn foreign(set: &SetSeen) -> Towards<Edit> {
    Refused(format!("the ReplicaSet {} is controlled by somebody else: remove its ownerReference", set.name))
}

/// It owns the ReplicaSet of this revision and no other with replicas.
pub(super) fn handed_to(revision: &Revision, facts: &Facts) -> Towards<Edit> {
    let deployment = &facts.deployment;
    let Some(heir) = facts.carrier(revision) else {
        return Refused(format!("there is no ReplicaSet of {revision} to hand over"));
    };
    let wanted = deployment.revision == *revision;
    // Unpaused, without the heir or with another template, it would make a ReplicaSet of its own.
    if !deployment.paused && (heir.owner != SetOwner::Deployment || !wanted) {
        return Write(Edit::Pause);
    }
    // While it is paused it would scale several in proportion; unpaused, others of this revision are its own restart.
    let others = facts.deployments().filter(|it| {
        it.name != heir.name
            && (deployment.paused || it.revision != *revision)
            && (deployment.paused || it.desired > 0)
    });
    // Those without replicas first: left alone with one of them it would fill it.
    if let Some(set) = others.min_by_key(|it| it.desired) {
        return Write(Edit::Detach(set.name.clone()));
    }
    match heir.owner {
        SetOwner::Rollout => return offer(heir, facts),
        SetOwner::Nobody => return Theirs("the Deployment adopts the ReplicaSet of the new version"),
        SetOwner::Other => return foreign(heir),
        SetOwner::Deployment => {}
    }
    if deployment.paused && wanted {
        return Write(Edit::Unpause);
    }
    match facts.owned(SetOwner::Rollout).find(|it| it.name != heir.name && it.desired > 0) {
        Some(old) => Write(Edit::Retire(old.name.clone())),
        None => Reached,
    }
}

/// It rolls its own template out, and nothing of ours is left at it.
pub(super) fn free(facts: &Facts, standing: &Standing) -> Towards<Edit> {
    let deployment = &facts.deployment;
    let stable = standing.stable.as_ref().and_then(|it| facts.carrier(it));
    let wanted = standing.stable.as_ref() == Some(&deployment.revision);
    match stable.map(|it| (it, it.owner)) {
        Some((_, SetOwner::Rollout)) if !deployment.paused && wanted => return Write(Edit::Pause),
        Some((set, SetOwner::Rollout)) => return offer(set, facts),
        Some((_, SetOwner::Nobody)) => return Theirs("the Deployment adopts stable's ReplicaSet"),
        Some((set, SetOwner::Other)) => return foreign(set),
        Some((_, SetOwner::Deployment)) | None => {}
    }
    if let Some(next) = stable.and_then(|it| surplus(it, facts)) {
        return next;
    }
    // With another template it begins to roll at once: nothing of ours is left by then.
    match cleaned(facts, standing, stable) {
        Some(edit) if !deployment.paused || !wanted => Write(edit),
        Some(_) | None if deployment.paused => Write(Edit::Unpause),
        Some(_) | None => Reached,
    }
}

/// The next thing of ours that is left at it.
fn cleaned(facts: &Facts, standing: &Standing, stable: Option<&SetSeen>) -> Option<Edit> {
    if facts.deployment.managed {
        return Some(Edit::Disown);
    }
    // The only copy of a template must not be a ReplicaSet that anybody may delete.
    let unkept =
        |it: &&Revision| stable.is_some() && !facts.kept.contains(*it) && standing.phase == Phase::Idle;
    if let Some(revision) = standing.stable.as_ref().filter(unkept) {
        return Some(Edit::Keep(revision.clone()));
    }
    if let Some(set) = facts.owned(SetOwner::Rollout).find(|it| it.desired == 0 && it.pods == 0) {
        let again = facts.sets.iter().any(|it| it.name != set.name && it.template == set.template);
        return Some(match set.made || again {
            true => Edit::Delete(set.name.clone()),
            false => Edit::Return(set.name.clone()),
        });
    }
    facts.owned(SetOwner::Deployment).find(|it| it.epoch.is_some()).map(|it| Edit::Unstamp(it.name.clone()))
}
