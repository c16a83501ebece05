//! What kube-controller-manager does with a Deployment and its ReplicaSets: one whole sync, and the birth of pods.

use serinus::workload::SetOwner;

use super::world::{SURGE, Set, St};

impl St {
    /// One sync of the Deployment.
    pub fn sync(&mut self, history: usize) {
        let before = self.sets.clone();
        for it in self.sets.iter_mut().filter(|it| it.owner == SetOwner::Nobody) {
            it.owner = SetOwner::Deployment;
        }
        let scaling = self
            .owned()
            .any(|it| it.desired > 0 && it.noted.is_some_and(|(wanted, _)| wanted != self.replicas));
        match self.paused || scaling {
            true => self.scale(),
            false => self.roll(),
        }
        self.cleanup(history);
        if !self.paused {
            self.refused = None;
        }
        let changed: Vec<u8> = self.sets.iter().filter(|it| !before.contains(it)).map(|it| it.id).collect();
        changed.into_iter().for_each(|it| self.touched(Some(it)));
    }

    fn owned(&self) -> impl Iterator<Item = &Set> {
        self.sets.iter().filter(|it| it.owner == SetOwner::Deployment)
    }

    /// The newest one for a Deployment is the oldest one with an equal template.
    fn newest(&self) -> Option<u8> {
        self.owned().find(|it| it.template == self.template).map(|it| it.id)
    }

    fn note(&mut self, id: u8, desired: u32) {
        let (replicas, most) = (self.replicas, self.replicas + SURGE);
        // Whoever scales it down without having been asked owes those pods.
        let natively = !self.paused;
        if let Some(it) = self.set(id) {
            let (release, fewer) = (usize::from(it.template.release), it.desired.saturating_sub(desired));
            it.desired = desired;
            it.noted = Some((replicas, most));
            if natively {
                self.ghost.credit[release] += fewer;
            }
        }
    }

    fn scale(&mut self) {
        let new = self.newest();
        let mut active: Vec<Set> = self.owned().filter(|it| it.desired > 0).cloned().collect();
        match active.as_slice() {
            [] => {
                let latest = new.or_else(|| self.owned().last().map(|it| it.id));
                if let Some(it) = latest {
                    self.note(it, self.replicas);
                }
                return;
            }
            [one] => {
                if one.desired != self.replicas {
                    self.note(one.id, self.replicas);
                }
                return;
            }
            [_, _, ..] => {}
        }
        let saturated = active.iter().find(|it| Some(it.id) == new).is_some_and(|it| {
            it.desired == self.replicas
                && it.noted.is_some_and(|(wanted, _)| wanted == self.replicas)
                && it.ready >= self.replicas
        });
        if saturated {
            for it in active.iter().filter(|it| Some(it.id) != new) {
                self.note(it.id, 0);
            }
            return;
        }
        let allowed = if self.replicas > 0 { self.replicas + SURGE } else { 0 };
        let total: u32 = active.iter().map(|it| it.desired).sum();
        let (grows, mut left) = (allowed > total, allowed.abs_diff(total));
        // The largest first; of equals the newest gains first and the oldest loses first.
        if grows {
            active.reverse();
        }
        active.sort_by_key(|it| std::cmp::Reverse(it.desired));
        let changes: Vec<(u8, u32, u32)> = active
            .iter()
            .map(|it| {
                let most = it.noted.map_or(self.replicas + SURGE, |(_, most)| most).max(1);
                let share = (it.desired * allowed + most / 2) / most;
                let part = share.abs_diff(it.desired).min(left);
                left -= part;
                (it.id, it.desired, part)
            })
            .collect();
        for (index, (id, desired, part)) in changes.into_iter().enumerate() {
            let part = if index == 0 { part + left } else { part };
            let next = if grows { desired + part } else { desired.saturating_sub(part) };
            self.note(id, next);
        }
    }

    /// Rolls its own template out, one round.
    fn roll(&mut self) {
        let new = self.newest().unwrap_or_else(|| self.make_native());
        let total: u32 = self.owned().map(|it| it.desired).sum();
        let (present, ready) = self.owned().find(|it| it.id == new).map(|it| (it.desired, it.ready)).unwrap();
        let room = (self.replicas + SURGE).saturating_sub(total);
        let next =
            if present > self.replicas { self.replicas } else { present + room.min(self.replicas - present) };
        if next != present {
            self.natively_asked(next.saturating_sub(present));
            return self.note(new, next);
        }
        let available: u32 = self.owned().map(|it| it.ready).sum();
        let mut spare = total.saturating_sub(self.replicas + (present - ready.min(present)));
        let mut healthy = available.saturating_sub(self.replicas);
        let olds: Vec<(u8, u32, u32)> = self
            .owned()
            .filter(|it| it.id != new && it.desired > 0)
            .map(|it| (it.id, it.desired, it.ready))
            .collect();
        for (id, desired, ready) in olds {
            let broken = desired.saturating_sub(ready).min(spare);
            let sound = (desired - broken).min(healthy).min(spare - broken);
            spare -= broken + sound;
            healthy -= sound;
            if broken + sound > 0 {
                self.note(id, desired - broken - sound);
            }
        }
    }

    fn make_native(&mut self) -> u8 {
        let first = 20 + self.template.release * 2 + u8::from(self.template.restarted);
        let id = (first..=200).step_by(20).find(|id| self.sets.iter().all(|it| it.id != *id)).unwrap_or(220);
        self.sets.push(Set {
            id,
            template: self.template,
            owner: SetOwner::Deployment,
            desired: 0,
            pods: 0,
            ready: 0,
            epoch: None,
            made: false,
            held: None,
            noted: Some((self.replicas, self.replicas + SURGE)),
        });
        id
    }

    /// A roll-out of its own that people asked for: a restart, or one that nobody holds any more.
    fn natively_asked(&mut self, more: u32) {
        let stable =
            self.status.stable.as_ref().is_none_or(|it| *it == super::world::revision(self.template.release));
        let asked = self.template.restarted && stable || self.leaving || self.status.stable.is_none();
        if asked || !self.holds_by_policy() {
            self.ghost.credit[usize::from(self.template.release)] += more;
        }
    }

    /// Whether a new template comes paused.
    pub fn holds_by_policy(&self) -> bool {
        !self.catches
    }

    fn cleanup(&mut self, history: usize) {
        let olds: Vec<u8> = self
            .owned()
            .filter(|it| it.template != self.template && it.desired == 0 && it.pods == 0)
            .map(|it| it.id)
            .collect();
        let surplus = olds.len().saturating_sub(history);
        for id in olds.into_iter().take(surplus) {
            self.sets.retain(|it| it.id != id);
            self.touched(Some(id));
        }
    }

    /// The pods of a ReplicaSet become as many as it asks for; those that are not ready go first.
    pub fn pods(&mut self, index: usize) -> Option<()> {
        let it = self.sets.get_mut(index)?;
        if it.pods == it.desired {
            return None;
        }
        let born = it.desired.saturating_sub(it.pods);
        it.pods = it.desired;
        it.ready = it.ready.min(it.desired);
        let (id, release) = (it.id, usize::from(it.template.release));
        let credit = &mut self.ghost.credit[release];
        let paid = born.min(*credit);
        *credit -= paid;
        self.ghost.unasked[release] += u8::try_from(born - paid).unwrap();
        self.touched(Some(id));
        Some(())
    }

    /// They become ready.
    pub fn become_ready(&mut self, index: usize) -> Option<()> {
        let it = self.sets.get_mut(index)?;
        if it.ready == it.pods {
            return None;
        }
        it.ready = it.pods;
        let id = it.id;
        self.touched(Some(id));
        Some(())
    }
}
