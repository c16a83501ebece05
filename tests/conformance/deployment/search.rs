//! Breadth first over every state, so that a counterexample is a shortest one; then back from the good ends.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serinus::workload::SetOwner;
use strategies::{Phase, Plan, Revision};

use super::{
    config::Config,
    mutants::Mutant,
    world::{Flight, SURGE, Set, St, Tpl, release, revision},
};

/// So many states are looked at, at most, of one configuration.
const MOST: usize = 400_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// Observe, decide, do.
    Engine,
    /// The same, and then cut off: the write lands later, or never.
    Late,
    Lands,
    Lost,
    Sync,
    Pods(usize),
    Ready(usize),
    Push(u8),
    Restart,
    Scale,
    Abort,
    Leave,
    Delete(usize),
}

impl Act {
    /// Whether it is of those that always come in the end.
    fn helps(self) -> bool {
        match self {
            Self::Engine | Self::Lands | Self::Lost | Self::Sync | Self::Pods(_) | Self::Ready(_) => true,
            Self::Late
            | Self::Push(_)
            | Self::Restart
            | Self::Scale
            | Self::Abort
            | Self::Leave
            | Self::Delete(_) => false,
        }
    }

    /// Whether people did it: what they take away is not ours to answer for.
    fn peoples(self) -> bool {
        matches!(self, Self::Push(_) | Self::Restart | Self::Scale | Self::Delete(_))
    }
}

#[derive(Debug)]
pub struct Failure {
    pub what: String,
    pub trace: Vec<Act>,
}

#[derive(Debug, Default)]
pub struct Report {
    pub states: usize,
    pub transitions: usize,
    pub good: usize,
    pub complete: bool,
    pub failure: Option<Failure>,
}

pub struct Model<'a> {
    pub config: &'a Config,
    pub plan: Plan,
    pub mutant: Mutant,
}

impl Model<'_> {
    fn acts(&self, st: &St) -> Vec<Act> {
        // The first release is native, and what comes before it is over is too.
        if st.status.stable.is_none() {
            return vec![Act::Engine, Act::Sync];
        }
        let mut all = vec![Act::Engine, Act::Sync, Act::Lands, Act::Lost, Act::Abort];
        let sets = 0..st.sets.len();
        all.extend(sets.clone().flat_map(|it| [Act::Pods(it), Act::Ready(it), Act::Delete(it)]));
        all.extend(self.config.pushes.iter().map(|it| Act::Push(*it)));
        all.extend([Act::Late, Act::Restart, Act::Scale, Act::Leave]);
        all
    }

    /// The state after it; `None`: it cannot be, or changes nothing.
    pub fn step(&self, st: &St, act: Act) -> Option<St> {
        let mut next = st.clone();
        match act {
            Act::Engine if st.flight.is_none() => next.apply(st.next(&self.plan, self.mutant)?),
            Act::Late if st.flight.is_none() => {
                next.budget.late = st.budget.late.checked_sub(1)?;
                let flight = st.next(&self.plan, self.mutant)?;
                // A save or a route that is lost is the same as one that was never made.
                next.flight = matches!(flight, Flight::Edit(_)).then_some((flight, true));
                next.flight.as_ref()?;
            }
            Act::Engine if st.budget.late == 0 && st.flight.is_some() => {
                // Another engine goes on while the write of the dead one is still under way.
                let ahead = st.next(&self.plan, self.mutant)?;
                next.apply(ahead);
            }
            Act::Engine | Act::Late => return None,
            Act::Lands => {
                let (flight, valid) = next.flight.take()?;
                if valid {
                    next.apply(flight);
                }
            }
            Act::Lost => drop(next.flight.take()?),
            Act::Sync => next.sync(self.config.history),
            Act::Pods(it) => next.pods(it)?,
            Act::Ready(it) => next.become_ready(it)?,
            Act::Push(it) => self.push(&mut next, it)?,
            Act::Restart => {
                next.budget.restarts = st.budget.restarts.checked_sub(1)?;
                self.template(&mut next, Tpl { restarted: true, ..st.template });
            }
            Act::Scale => {
                next.budget.scales = st.budget.scales.checked_sub(1)?;
                let to = if st.replicas == self.config.replicas {
                    self.config.scaled
                } else {
                    self.config.replicas
                };
                next.ghost.credit.iter_mut().for_each(|it| *it += to.saturating_sub(st.replicas));
                next.replicas = to;
                next.touched(None);
            }
            Act::Abort => {
                next.budget.aborts = st.budget.aborts.checked_sub(1)?;
                next.abort()?;
            }
            Act::Leave => {
                next.budget.leaves = st.budget.leaves.checked_sub(1)?;
                next.leaving = true;
                // Given back, the Deployment rolls out what its template says, as it does without us.
                next.ghost.credit.iter_mut().for_each(|it| *it += st.replicas + SURGE);
            }
            Act::Delete(index) => {
                next.budget.deletions = st.budget.deletions.checked_sub(1)?;
                // Before its template was first kept, only a person can bring it back.
                st.status.stable.as_ref().filter(|it| st.kept.contains(&release(it)))?;
                let gone = next.sets.remove(index);
                next.ghost.credit.iter_mut().for_each(|it| *it += st.replicas);
                next.touched(Some(gone.id));
            }
        }
        (next != *st).then_some(next)
    }

    fn push(&self, next: &mut St, wanted: u8) -> Option<()> {
        if next.template == (Tpl { release: wanted, restarted: false }) {
            return None;
        }
        next.budget.pushes = next.budget.pushes.checked_sub(1)?;
        self.template(next, Tpl { release: wanted, restarted: false });
        Some(())
    }

    /// Another template: the policy holds it, where there is one.
    fn template(&self, next: &mut St, template: Tpl) {
        next.template = template;
        next.paused |= !self.config.catches && next.status.phase != Phase::Left && !next.leaving;
        next.touched(None);
    }

    /// What is broken in this state.
    fn broken(&self, st: &St) -> Option<String> {
        let unasked = st.ghost.unasked.iter().position(|it| *it > 0);
        // What was not held is born until it is caught, and the half of a restart that is kept is filled.
        if let Some(release) = unasked.filter(|_| !self.config.catches && self.config.budget.restarts == 0) {
            return Some(format!("pods of v{release} were born without anybody having asked for them"));
        }
        let carrying: Vec<Tpl> = st
            .sets
            .iter()
            .filter(|it| it.owner == SetOwner::Deployment && it.desired > 0)
            .map(|it| it.template)
            .collect();
        let twice = carrying.iter().enumerate().any(|(at, it)| carrying[at + 1..].contains(it));
        twice.then(|| "the Deployment owns two ReplicaSets of one template".to_owned())
    }

    /// What an act broke.
    fn breaks(&self, before: &St, act: Act, after: &St) -> Option<String> {
        // Pods that a scaling to zero ends are on their way while the number is back already; a restart that is under way
        // when it is paused is scaled in proportion before anybody can look; what is caught has been rolled already.
        let Config { scaled, catches, budget, .. } = self.config;
        let excused =
            *scaled == 0 || *catches || budget.restarts > 0 || before.budget.deletions < budget.deletions;
        if act.peoples() || excused {
            return None;
        }
        (0..4).find_map(|it| {
            let had = before.ready(it) >= after.needed(it).min(before.needed(it).max(after.needed(it)));
            let short = had && after.ready(it) < after.needed(it) && !after.leaving;
            // A restart of its own keeps what the strategy asks for: it is natively whole within its surge.
            short.then(|| {
                format!("v{it} has {} ready of {} that its traffic needs", after.ready(it), after.needed(it))
            })
        })
    }

    /// Whether everything is at rest as it should be.
    fn good(&self, st: &St) -> bool {
        let still = (0..st.sets.len())
            .all(|it| st.sets[it].pods == st.sets[it].desired && st.sets[it].ready == st.sets[it].pods);
        let synced = self.step(st, Act::Sync).is_none();
        if !still || !synced || st.flight.is_some() || self.step(st, Act::Engine).is_some() {
            return false;
        }
        // Nothing is delivered where nothing is wanted: it goes on with the first replica.
        if st.replicas == 0 {
            return true;
        }
        let owns = |it: Option<&Revision>| {
            let mut active = st.sets.iter().filter(|it| it.owner == SetOwner::Deployment && it.desired > 0);
            let one = active.next();
            let same = one.map(|it| revision(it.template.release)) == it.filter(|_| st.replicas > 0).cloned();
            same && active.next().is_none() && one.is_none_or(|it| it.ready == st.replicas)
        };
        let ours = st.sets.iter().any(|it| it.owner != SetOwner::Deployment || it.epoch.is_some());
        let had = st.sets.iter().any(|it| it.template.release == 0)
            || self.config.history == 0
            || st.budget.deletions < self.config.budget.deletions;
        let wanted = revision(st.template.release);
        match &st.status.phase {
            Phase::Idle => {
                st.status.stable.as_ref() == Some(&wanted)
                    && owns(Some(&wanted))
                    && !st.paused
                    && !ours
                    && !st.managed
                    && st.refused.is_none()
                    && had
            }
            Phase::RolledBack { .. } => {
                st.paused && owns(st.status.stable.as_ref()) && st.refused == st.status.canary && !st.managed
            }
            // What the Rollout still owns goes with it.
            Phase::Left => {
                let stamped = |it: &Set| it.owner == SetOwner::Deployment && it.epoch.is_some();
                !st.paused && !st.sets.iter().any(stamped) && owns(Some(&wanted)) && had
            }
            Phase::Adopting
            | Phase::Stepping { .. }
            | Phase::Promoting
            | Phase::Aborting { .. }
            | Phase::Leaving => false,
        }
    }

    pub fn search(&self) -> Report {
        let init = St::new(self.config);
        let mut met = BTreeMap::from([(print(&init), 0_u32)]);
        let (mut states, mut parents, mut edges) = (vec![init], vec![(0_u32, Act::Engine)], vec![]);
        let mut report = Report { complete: true, ..Report::default() };
        let mut at = 0;
        while at < states.len() && report.failure.is_none() {
            let st = states[at].clone();
            for act in self.acts(&st) {
                let Some(next) = self.step(&st, act) else { continue };
                report.transitions += 1;
                let broken = self.broken(&next).or_else(|| self.breaks(&st, act, &next));
                let number = u32::try_from(states.len()).unwrap();
                let to = *met.entry(print(&next)).or_insert(number);
                let from = u32::try_from(at).unwrap();
                if to == number {
                    states.push(next);
                    parents.push((from, act));
                }
                if act.helps() {
                    edges.push((to, from));
                }
                if let Some(what) = broken {
                    let mut trace = way(&parents, from);
                    trace.push(act);
                    report.failure = Some(Failure { what, trace });
                    break;
                }
            }
            at += 1;
            if states.len() > MOST {
                report.complete = false;
                break;
            }
        }
        report.states = states.len();
        if report.failure.is_none() && report.complete {
            self.stuck(&states, &parents, edges, &mut report);
        }
        report
    }

    /// A state from which no good end can be reached.
    fn stuck(&self, states: &[St], parents: &[(u32, Act)], mut edges: Vec<(u32, u32)>, report: &mut Report) {
        let mut safe: Vec<bool> = states.iter().map(|it| self.good(it)).collect();
        report.good = safe.iter().filter(|it| **it).count();
        edges.sort_unstable();
        let mut open: Vec<u32> =
            (0..u32::try_from(states.len()).unwrap()).filter(|it| safe[*it as usize]).collect();
        while let Some(it) = open.pop() {
            let first = edges.partition_point(|(to, _)| *to < it);
            for (_, from) in edges[first..].iter().take_while(|(to, _)| *to == it) {
                if !std::mem::replace(&mut safe[*from as usize], true) {
                    open.push(*from);
                }
            }
        }
        if let Some(lost) = safe.iter().position(|it| !it) {
            let count = safe.iter().filter(|it| !**it).count();
            let trace = way(parents, u32::try_from(lost).unwrap());
            report.failure =
                Some(Failure { what: format!("{count} states have no way to a good end"), trace });
        }
    }

    /// A failure for people.
    pub fn narrate(&self, failure: &Failure) -> String {
        let mut st = St::new(self.config);
        let mut lines = vec![format!("{} ({})", failure.what, self.config.name)];
        for act in &failure.trace {
            let decides = matches!(act, Act::Engine | Act::Late);
            let next = st.next(&self.plan, self.mutant).filter(|_| decides).map(brief);
            let says = next.map(|it| format!(" {it:?}")).unwrap_or_default();
            lines.push(format!("{act:?}{says}"));
            st = self.step(&st, *act).unwrap_or(st);
        }
        for _ in 0..40 {
            let helps = [Act::Engine, Act::Sync]
                .into_iter()
                .chain((0..st.sets.len()).flat_map(|it| [Act::Pods(it), Act::Ready(it)]));
            let Some((act, next)) = helps.into_iter().find_map(|it| Some((it, self.step(&st, it)?))) else {
                break;
            };
            lines.push(format!(
                "  then {act:?} {:?}",
                st.next(&self.plan, self.mutant).filter(|_| act == Act::Engine).map(brief)
            ));
            st = next;
        }
        let decision = st.decides(&self.plan);
        lines.push(format!(
            "phase {:?} stable {:?} canary {:?}",
            st.status.phase, st.status.stable, st.status.canary
        ));
        lines.push(format!("decides {:?} waiting {:?}", decision.next, decision.waiting));
        lines.push(format!("owner {:?}", st.look().owner));
        lines.push(format!(
            "template {:?} paused {} replicas {} refused {:?} managed {}",
            st.template, st.paused, st.replicas, st.refused, st.managed
        ));
        lines.extend(st.sets.iter().map(|it| format!("{it:?}")));
        lines.push(format!("route {:?} kept {:?}", st.route, st.kept));
        lines.join("\n")
    }
}

fn brief(flight: Flight) -> String {
    match flight {
        Flight::Save(it) => format!(
            "save {:?} stable {:?} canary {:?}",
            it.phase,
            it.stable.as_ref().map(release),
            it.canary.as_ref().map(release)
        ),
        Flight::Edit(it) => format!("{it:?}"),
        Flight::Route(it) => format!("route {:?}", it.asked.share),
    }
}

fn print(st: &St) -> u64 {
    let mut hasher = DefaultHasher::new();
    st.hash(&mut hasher);
    hasher.finish()
}

/// The acts that lead to a state.
fn way(parents: &[(u32, Act)], mut at: u32) -> Vec<Act> {
    let mut acts = vec![];
    while at != 0 {
        let (from, act) = parents[at as usize];
        acts.push(act);
        at = from;
    }
    acts.reverse();
    acts
}
