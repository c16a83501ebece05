//! Writes of the instance manager below: first it is held, last it gets the workload back.

use super::Way;
use crate::mutant::rule;
use crate::{
    Arm, Behind, Change, OwnerGoal, OwnerIs, Phase, Ready, WaitingFor, Weight,
    reach::{Load, need},
};

impl Way<'_> {
    pub(super) fn owner(&self) -> Option<&crate::Owner> {
        self.world.owner.get()
    }

    /// A workload that the user took back is not touched.
    pub(super) fn users_own(&mut self) -> bool {
        let users =
            self.owner().is_some_and(|it| it.is == OwnerIs::UsersOwn) && !rule!(UsersOwnTouched, false);
        if users {
            self.wait(WaitingFor::UsersOwn, None);
        }
        users
    }

    pub(super) fn hold_owner(&mut self) {
        let (Some(owner), Some(goal)) = (self.owner(), &self.target.owner) else { return };
        let goal = goal.clone();
        match (&owner.is, &goal) {
            (OwnerIs::Moving, _) if !rule!(MovingWritten, false) => {
                self.wait(WaitingFor::Owner { goal }, None)
            }
            // What is said of another revision is taken back before this one goes on.
            (OwnerIs::Held, OwnerGoal::Held) if owner.refused.is_some() && !rule!(RefusalStays, false) => {
                let fence = owner.fence;
                self.offer(Change::Own(OwnerGoal::Held), fence);
            }
            // Whatever comes after, the owner must not roll its own template out meanwhile.
            (OwnerIs::Free | OwnerIs::HandedTo(_), OwnerGoal::Held | OwnerGoal::Refused(_)) => {
                let fence = owner.fence;
                self.offer(Change::Own(OwnerGoal::Held), fence);
            }
            (OwnerIs::Free | OwnerIs::HandedTo(_) | OwnerIs::Held, OwnerGoal::Detached) => {
                let fence = owner.fence;
                self.offer(Change::Own(goal), fence);
            }
            // What is said of another revision is taken back here too.
            (OwnerIs::Detached, OwnerGoal::Detached)
                if owner.refused.is_some() && !rule!(RefusalStays, false) =>
            {
                let fence = owner.fence;
                self.offer(Change::Own(goal), fence);
            }
            (
                OwnerIs::Held
                | OwnerIs::Detached
                | OwnerIs::UsersOwn
                | OwnerIs::Free
                | OwnerIs::HandedTo(_)
                | OwnerIs::Moving,
                _,
            ) => {}
        }
    }

    /// Gives the workload to its owner when nothing of the way is left.
    pub(super) fn release_owner(&mut self) {
        let (Some(owner), Some(goal)) = (self.owner(), &self.target.owner) else { return };
        let (goal, fence) = (goal.clone(), owner.fence);
        let reached = match (&owner.is, &goal) {
            (OwnerIs::Free, OwnerGoal::Free) => true,
            (OwnerIs::Held, OwnerGoal::Held) | (OwnerIs::Detached, OwnerGoal::Detached) => {
                rule!(RefusalStays, owner.refused.is_none())
            }
            (OwnerIs::Detached, OwnerGoal::Held | OwnerGoal::Refused(_)) => rule!(NeverGivenBack, false),
            (OwnerIs::Held, OwnerGoal::Refused(revision)) => owner.refused.as_ref() == Some(revision),
            (OwnerIs::HandedTo(revision), OwnerGoal::HandedTo(goal)) => revision == goal,
            (OwnerIs::UsersOwn | OwnerIs::Moving, _)
            | (OwnerIs::Free | OwnerIs::Held | OwnerIs::Detached | OwnerIs::HandedTo(_), _) => false,
        };
        let moving = owner.is == OwnerIs::Moving && !rule!(MovingWritten, false);
        let ours = owner.is != OwnerIs::UsersOwn && !moving;
        if reached || !ours {
            return;
        }
        if let OwnerGoal::HandedTo(revision) = &goal {
            self.check_heir(&Arm::main(revision.clone()));
        }
        if rule!(HandOverEarly, self.found.waiting.is_empty()) {
            self.offer(Change::Own(goal), fence);
        } else {
            self.wait(WaitingFor::Owner { goal }, None);
        }
    }

    /// What is handed over carries everything: its new owner sizes it as it finds it.
    fn check_heir(&mut self, heir: &Arm) {
        let load = Load { share: Weight::FULL, some: true, by_ready: false };
        let needed = need(self.plan, self.target.total, load);
        let enough = match self.ready_of(heir) {
            Some(Ready::Elastic) => true,
            Some(Ready::Replicas(ready)) => ready >= needed,
            None => false,
        };
        let enough = rule!(SmallHeir, enough);
        if !enough {
            let ready = self.count_ready(heir);
            self.wait(WaitingFor::Replicas { arm: heir.clone(), needed, ready }, None);
        }
    }

    /// While an owner takes the workload over, or rolls the first revision out, only that revision may be left.
    pub(super) fn check_owners_arms(&mut self) {
        let (Some(owner), Some(stable)) = (self.owner(), &self.target.stable) else { return };
        if !matches!(self.status.phase, Phase::Adopting | Phase::Promoting) {
            return;
        }
        let goal = OwnerGoal::HandedTo(stable.revision.clone());
        let others = self.world.arms.iter().filter(|(arm, _)| *arm != stable);
        let left = others.filter_map(|(_, seen)| seen.get()).any(|it| it.desired > 0);
        let adopting = self.status.phase == Phase::Adopting;
        let behind = adopting && (owner.behind == Behind::Template || owner.is == OwnerIs::Moving);
        if left || behind {
            self.wait(WaitingFor::Owner { goal }, None);
        }
    }
}
