//! Writes of a workload whose two sides are one number.

use super::Way;
use crate::{Change, Fence};

impl Way<'_> {
    /// One number moves both sides, a batch at a time, the batch before it ready again first.
    pub(super) fn shift_partition(&mut self) {
        let (Some(stable), total) = (self.target.stable.clone(), self.target.total) else { return };
        let others = self.world.arms.iter().filter(|(arm, _)| **arm != stable);
        let other = self.target.canary.clone().or_else(|| others.map(|(arm, _)| arm.clone()).next());
        // One object carries both sides; a side without replicas may not be listed.
        let here = self.world.arm(&stable).get();
        let object = here.or_else(|| self.world.arm(other.as_ref()?).get());
        let (Some(fence), desired) = (object.map(|it| it.fence), here.map_or(0, |it| it.desired)) else {
            // What has an instance manager below is the user's object: it is not ours to make.
            if let Some(wished) = self.target.sizes.get(&stable).filter(|_| self.owner().is_none()) {
                self.offer(Change::Create(stable.clone(), *wished), Fence::Absent);
            }
            return;
        };
        let Some(other) = other else {
            if desired != total && self.target.sizes.contains_key(&stable) {
                self.offer(Change::Size([(stable, total)].into()), fence);
            }
            return;
        };
        let there = self.world.arm(&other).get();
        let (at, wished) =
            (
                there.map_or(0, |it| it.desired),
                self.target.sizes.get(&other).copied().unwrap_or(
                    total.saturating_sub(self.target.sizes.get(&stable).copied().unwrap_or(desired)),
                ),
            );
        let next = match wished > at {
            true => at.saturating_add(self.batch()).min(wished),
            false => at.saturating_sub(self.batch()).max(wished),
        };
        let sizes = [(stable, total.saturating_sub(next)), (other, next)];
        if next != at || desired != total.saturating_sub(next) {
            self.offer(Change::Size(sizes.into()), fence);
        }
    }

    /// Replicas that one move of a partition takes down at once.
    pub(super) fn batch(&self) -> u32 {
        let total = self.target.total;
        (total - self.kept_of(total)).max(1).min(total)
    }
}
