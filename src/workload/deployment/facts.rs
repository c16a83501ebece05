use std::collections::BTreeSet;

use strategies::{Epoch, Fence, Name, Revision, Scaler};

/// A template among those of one observation: equal numbers, equal templates.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Template(pub u32);

/// What was observed of a Deployment and everything of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Itself.
    pub deployment: DeploymentSeen,
    /// The ReplicaSets that its selector matches, oldest first.
    pub sets: Vec<SetSeen>,
    /// Revisions whose template we keep.
    pub kept: BTreeSet<Revision>,
    /// Who else writes the number of replicas.
    pub scaler: Option<Scaler>,
}

/// The Deployment itself.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentSeen {
    /// Its template.
    pub template: Template,
    /// Whose revision that is.
    pub revision: Revision,
    /// `spec.paused`. While a Rollout drives it that is the Rollout's.
    pub paused: bool,
    /// `spec.replicas`.
    pub replicas: u32,
    /// Replicas that it may have above that, resolved.
    pub surge: u32,
    /// Whether it stops all before it starts any.
    pub recreates: bool,
    /// The revision that its status reports as failed, by us.
    pub refused: Option<Revision>,
    /// Whether the server has us for a manager of its fields: then whoever applies it meets a conflict.
    pub managed: bool,
    /// Whether the user took it back.
    pub bypass: bool,
    /// Its version.
    pub fence: Fence,
    /// Whether pods of its ReplicaSets carry their whole name.
    pub short: bool,
}

/// One ReplicaSet.
#[derive(Clone, Debug, PartialEq)]
pub struct SetSeen {
    /// Its name.
    pub name: Name,
    /// Its template.
    pub template: Template,
    /// Whose revision that is.
    pub revision: Revision,
    /// Who controls it.
    pub owner: SetOwner,
    /// `spec.replicas`.
    pub desired: u32,
    /// Pods that exist.
    pub pods: u32,
    /// Pods that have been ready for `minReadySeconds`.
    pub available: u32,
    /// The authority it was last written under.
    pub epoch: Option<Epoch>,
    /// The attempt for which it was taken away from the Deployment.
    pub held: Option<u32>,
    /// Whether we made it; otherwise it is the user's history.
    pub made: bool,
    /// The label that its pods carry.
    pub hash: Name,
    /// Its version.
    pub fence: Fence,
}

/// Who controls a ReplicaSet.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SetOwner {
    /// The Deployment.
    Deployment,
    /// The Rollout.
    Rollout,
    /// Nobody: the Deployment is about to adopt it.
    Nobody,
    /// Somebody else.
    Other,
}

/// One write to one object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Edit {
    /// The Deployment takes no template up.
    Pause,
    /// It does again.
    Unpause,
    /// We are no manager of the Deployment's fields.
    Disown,
    /// The Deployment's own number of replicas.
    Scale(u32),
    /// The Deployment's status says that this revision failed.
    Tell(Revision),
    /// It no longer does.
    Untell,
    /// Keep the template of this revision.
    Keep(Revision),
    /// This ReplicaSet is ours, as it is.
    Detach(Name),
    /// It is ours, of that size, under the present authority.
    TakeOver {
        /// Which.
        set: Name,
        /// Its size.
        replicas: u32,
    },
    /// It is nobody's, and looks to the Deployment as if it had been scaled by it.
    Offer {
        /// Which.
        set: Name,
        /// Replicas of the Deployment.
        replicas: u32,
    },
    /// It is nobody's: a part of the Deployment's history again.
    Return(Name),
    /// Make a ReplicaSet of ours.
    Create {
        /// Of which revision.
        revision: Revision,
        /// Of which size.
        replicas: u32,
    },
    /// Make stable's ReplicaSet again, out of the kept template, for the Deployment to adopt.
    Revive {
        /// Of which revision.
        revision: Revision,
        /// Of which size.
        replicas: u32,
    },
    /// So many replicas, under the present authority.
    Resize {
        /// Which.
        set: Name,
        /// How many.
        replicas: u32,
    },
    /// Nothing but the stamp of the present authority.
    Stamp(Name),
    /// No stamp of ours.
    Unstamp(Name),
    /// No replicas and no stamp: what was taken over is history again.
    Retire(Name),
    /// It goes.
    Delete(Name),
}

impl Facts {
    /// The ReplicaSet that carries a revision: the Deployment's before others, then the largest, stamped, newest.
    #[must_use]
    pub fn carrier(&self, revision: &Revision) -> Option<&SetSeen> {
        let of = self.sets.iter().enumerate().filter(|(_, it)| it.revision == *revision);
        let rank = |(age, it): &(usize, &SetSeen)| {
            (
                it.owner == SetOwner::Deployment && it.desired > 0,
                it.desired.max(it.pods),
                it.available,
                it.epoch.is_some(),
                *age,
            )
        };
        of.max_by_key(rank).map(|(_, it)| it)
    }

    /// Those that the Deployment owns, or is about to: nobody's are adopted.
    pub(super) fn deployments(&self) -> impl Iterator<Item = &SetSeen> + Clone {
        self.sets.iter().filter(|it| matches!(it.owner, SetOwner::Deployment | SetOwner::Nobody))
    }

    /// Those that somebody controls, oldest first.
    pub(super) fn owned(&self, owner: SetOwner) -> impl Iterator<Item = &SetSeen> + Clone {
        self.sets.iter().filter(move |it| it.owner == owner)
    }
}
