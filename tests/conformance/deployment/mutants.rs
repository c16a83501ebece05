//! Defects of single rules of the codec, each of which the model must find.

use serinus::{
    object::Towards,
    workload::{Ask, Deployment, Edit, SetOwner, WorkloadCodec},
};
use strategies::OwnerGoal;

use super::world::St;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mutant {
    None,
    /// The heir is offered while the Deployment still owns stable's ReplicaSet.
    OfferFirst,
    /// Unpaused whatever the template is by then.
    UnpausesAnyTemplate,
    /// Zero ReplicaSets stay with the Deployment while it is held.
    KeepsZeroSets,
    /// The old ReplicaSet keeps its replicas.
    OldStays,
    /// What was told to pipelines is never taken back.
    StaysRefused,
    /// What was taken away for the hold is not given back.
    KeepsHistory,
    /// We stay a manager of the user's object.
    StaysManager,
    /// Not paused by the engine: only a policy holds.
    NeverPauses,
    /// Stable's template is not kept.
    KeepsNoTemplate,
}

/// Those that these worlds can tell apart from the codec. With stable's ReplicaSet taken away first, the others do no harm in
/// them: without its annotations the heir is sized right all the same, and a second one of a template is deleted.
pub const ALL: &[Mutant] = &[
    Mutant::OfferFirst,
    Mutant::UnpausesAnyTemplate,
    Mutant::KeepsZeroSets,
    Mutant::OldStays,
    Mutant::StaysRefused,
    Mutant::KeepsHistory,
    Mutant::StaysManager,
    Mutant::NeverPauses,
    Mutant::KeepsNoTemplate,
];

impl Mutant {
    pub fn towards(self, ask: &Ask<'_>, st: &St) -> Towards<Edit> {
        let mut facts = st.facts();
        if self == Self::KeepsZeroSets {
            facts.sets.retain(|it| {
                it.desired > 0 || it.owner != SetOwner::Deployment || it.revision == facts.deployment.revision
            });
        }
        if self == Self::StaysManager {
            facts.deployment.managed = false;
        }
        if self == Self::KeepsNoTemplate {
            facts.kept.extend(st.status.stable.clone());
        }
        if self == Self::UnpausesAnyTemplate
            && let Ask::Own(OwnerGoal::HandedTo(heir)) = ask
        {
            facts.deployment.revision = heir.clone();
        }
        let next = Deployment.towards(ask, &facts, &st.standing());
        match (self, &next, ask) {
            (Self::OfferFirst, Towards::Write(Edit::Detach(_)), Ask::Own(OwnerGoal::HandedTo(heir))) => {
                match facts.carrier(heir) {
                    Some(it) if it.owner == SetOwner::Rollout => {
                        Towards::Write(Edit::Offer { set: it.name.clone(), replicas: st.replicas })
                    }
                    Some(it) if it.owner == SetOwner::Nobody => Towards::Theirs("adopts"),
                    _ if st.paused => Towards::Write(Edit::Unpause),
                    _ => Towards::Reached,
                }
            }
            (Self::OldStays, Towards::Write(Edit::Retire(_)), Ask::Own(OwnerGoal::HandedTo(_))) => {
                Towards::Reached
            }
            (Self::StaysRefused, Towards::Write(Edit::Untell), _) => Towards::Reached,
            (Self::KeepsHistory, Towards::Write(Edit::Return(_)), _) => Towards::Reached,
            (Self::NeverPauses, Towards::Write(Edit::Pause), _) => Towards::Reached,
            _ => next,
        }
    }
}
