//! What the machine says to a state, and what the properties say to that.

use std::sync::Arc;

use strategies::{
    Activity, ActivityId, Goal, Next, Phase, Samples, Seen, Steering, Step, WaitingFor, decide,
    invariants::{self, Violation},
    mutant,
};

use super::{
    act::ACTIVITIES,
    bridge::{Model, View, arm, number_of},
    coverage::Coverage,
    search::fingerprint,
    state::{Flight, Lag, REVISIONS, Ro, St},
    world::ALL_PASSED,
};

/// A decision in terms of the model.
pub struct Eval {
    pub flight: Flight,
    /// In how many ticks it asks to be woken.
    pub wake: Option<u8>,
    pub run: Vec<Running>,
    pub good: bool,
    pub violations: Vec<Violation>,
}

/// An analysis that should be running and has not ended.
pub struct Running {
    pub name: u8,
    pub id: ActivityId,
    pub counts: bool,
}

/// Decisions that were made before, by what they were made on.
pub struct Memo {
    slots: Vec<Option<(u64, Arc<Eval>)>>,
    served: Vec<u64>,
    pub coverage: Coverage,
}

const SLOTS: usize = 1 << 18;

impl Memo {
    pub fn new() -> Self {
        Self { slots: vec![None; SLOTS], served: vec![0; SLOTS], coverage: Coverage::default() }
    }
}

impl Model {
    /// The decision on `seen`, and every property that it breaks.
    pub fn eval(&self, seen: &St, memo: &mut Memo) -> Arc<Eval> {
        let viewed = St {
            flights: [Flight::None; 2],
            budget: super::state::Budget::default(),
            ghost: super::state::Ghost { editions: seen.ghost.editions, ..super::state::Ghost::default() },
            durable: None,
            ..*seen
        };
        let key = fingerprint(&viewed.pack());
        let slot = usize::try_from(key % SLOTS as u64).unwrap();
        if let Some((at, eval)) = &memo.slots[slot]
            && *at == key
        {
            return eval.clone();
        }
        let eval = Arc::new(self.judge(seen, &mut memo.coverage));
        memo.slots[slot] = Some((key, eval.clone()));
        eval
    }

    fn judge(&self, seen: &St, coverage: &mut Coverage) -> Eval {
        let view = self.expand(seen);
        let View { plan, status, orders, world, now } = &view;
        let decision = mutant::with(self.mutant, || decide(plan, status, orders, world, *now));
        let violations = invariants::check_decision(plan, status, orders, world, &decision, *now);
        coverage.decision(status, &decision);
        let wake = decision.wake().and_then(|at| std::time::Duration::try_from(at.duration_since(*now)).ok());
        let new = |it: &&Activity| !world.ran.contains_key(it.id());
        Eval {
            flight: self.flight(seen, &decision),
            wake: wake.map(|it| super::bridge::ticks(it).max(1)),
            run: decision.run.iter().filter(new).filter_map(running).collect(),
            good: invariants::is_good(plan, status, world, &decision, *now)
                || ((self.config.broken & 1 != 0 || self.config.budget.vanishes > 0)
                    && stable_is_gone(&decision))
                || (self.config.deaf != 0 && is_home_but_deaf(&view, &decision)),
            violations,
        }
    }

    /// The decision on a state in words.
    pub fn describe(&self, seen: &St) -> String {
        let view = self.expand(seen);
        let decide = || decide(view.plan, &view.status, view.orders, &view.world, view.now);
        let decision = mutant::with(self.mutant, decide);
        match decision.next {
            Next::Rest => format!(
                "rest, waiting for {:?}",
                decision.waiting.iter().map(|it| &it.what).collect::<Vec<_>>()
            ),
            Next::Save(it) => format!(
                "save {:?} held {} waits {} hold {:?} said {:?} epoch {}",
                it.phase,
                it.held.is_some(),
                it.waited.since.is_some(),
                it.hold,
                it.said,
                it.epoch.0
            ),
            Next::Write(it) => format!("write {:?} epoch {}", it.change, it.epoch.0),
        }
    }

    /// What users meet in a state, against what they may.
    pub fn check_state(&self, st: &St, memo: &mut Memo) -> Vec<Violation> {
        let viewed = St {
            flights: [Flight::None; 2],
            lag: Lag::None,
            budget: super::state::Budget::default(),
            durable: None,
            orders: 0,
            ran: 0,
            ro: Ro { body: st.ro.body, since: u8::from(self.is_overdue(st)), ..Ro::default() },
            ..*st
        };
        let key = fingerprint(&viewed.pack());
        let slot = usize::try_from(key % SLOTS as u64).unwrap();
        if memo.served[slot] == key {
            return vec![];
        }
        let found = self.check_users(st);
        if found.is_empty() {
            memo.served[slot] = key;
        }
        found
    }

    /// Past its deadline an abort takes users away from the canary before stable is as large as they need.
    fn is_overdue(&self, st: &St) -> bool {
        let aborts = matches!(self.bodies.get(st.ro.body).phase, Phase::Aborting { .. });
        aborts && super::bridge::ticks(self.config.plan.deadlines.abort.0) <= st.ro.since
    }

    fn check_users(&self, st: &St) -> Vec<Violation> {
        let status = self.bodies.get(st.ro.body);
        let adopting = status.stable.is_none();
        // From here on the workload is its owner's: a native update.
        let leaves = self.config.owner && matches!(status.phase, Phase::Leaving | Phase::Left);
        let natively = leaves && status.stable.as_ref().map(number_of) != Some(st.owner.runs);
        let taken = st.owner.is == super::state::OwnerSt::UsersOwn || natively;
        if st.ghost.drifted || adopting || taken {
            return vec![];
        }
        let plan = &self.config.plan;
        let serving = self.serving(st);
        let scaled = st.replicas != self.config.replicas || st.budget.scales != self.config.budget.scales;
        // Once nothing was wanted to run, nobody was there to answer, and for a moment after that nobody is.
        let emptied = scaled && self.config.scaled == 0;
        let lost = st.ghost.lost || emptied;
        let mut found = invariants::check_serving(plan, &serving, lost, scaled || self.is_overdue(st));
        found.retain(|it| !(emptied || st.ghost.evaded) || it.id != "S3");
        if st.ghost.evaded {
            return found;
        }
        for at in 0..REVISIONS {
            let passed = st.ghost.passed[at];
            if passed == ALL_PASSED || status.stable.as_ref().map(number_of).map(usize::from) == Some(at) {
                continue;
            }
            let goals = self.reached(st, passed);
            let weight = goals.iter().map(|it| u64::from(it.weight.ppm())).max().unwrap_or(0);
            let copies = goals.iter().map(|it| u64::from(it.mirror.ppm())).max().unwrap_or(0);
            if plan.steering == Steering::Ratio {
                let most = invariants::ratio_allows(weight, u32::from(st.replicas));
                let desired = serving.arm(&arm(at)).get().map_or(0, |it| u64::from(it.desired));
                if desired > most && !scaled {
                    let message = format!("{} has {desired} replicas behind the balancer", arm(at));
                    found.push(Violation { id: "S1", message });
                }
                continue;
            }
            let met = invariants::serves(plan, &serving, &arm(at));
            let matched = met.matches.iter().all(|id| goals.iter().any(|it| it.matches.contains_key(id)));
            let desired = serving.arm(&arm(at)).get().map_or(0, |it| u64::from(it.desired));
            let most = invariants::shared_allows(plan, weight, u32::from(st.replicas));
            if met.shared && desired > most && !scaled {
                let message =
                    format!("{} has {desired} replicas beside stable's, and may have {most}", arm(at));
                found.push(Violation { id: "S1", message });
            }
            if met.share > weight || met.copies > copies || !matched || met.balanced {
                let message = format!("users meet {met:?} of {}, whose gates passed {passed:b}", arm(at));
                found.push(Violation { id: "S1", message });
            }
        }
        found
    }

    /// The goals that users may meet: of every edition of the plan that was in force, those up to the first gate that
    /// was not passed.
    fn reached(&self, st: &St, passed: u8) -> Vec<Goal> {
        let editions = (0..self.plans.len() / 3).filter(|it| st.ghost.editions & (1 << it) != 0);
        let reached = |edition: usize| {
            let plan = &self.plans[edition * 3];
            let closed = plan.steps.iter().position(|it| !self.is_open(it, passed));
            (0..=closed.unwrap_or(plan.steps.len() - 1)).map(|it| plan.goal_at(it))
        };
        editions.flat_map(reached).collect()
    }

    /// Whether users may meet the step after this one.
    fn is_open(&self, step: &Step, passed: u8) -> bool {
        use strategies::LeaveBehavior;
        !step.leave.gates() || passed & self.bit(&step.name) != 0
    }

    /// What a decision breaks when it arrives.
    pub fn check_landing(&self, st: &St, flight: Flight) -> Vec<Violation> {
        let Flight::Write { change, epoch, .. } = flight else { return vec![] };
        if !self.accepts(st, flight) {
            return vec![];
        }
        let mut found = vec![];
        let object = match self.object(change) {
            super::state::Object::Arm(at) => {
                Some(st.arms[usize::from(at)]).filter(|it| it.exists).map(|it| it.epoch)
            }
            super::state::Object::Route(at) => Some(st.routes[usize::from(at)].epoch),
            super::state::Object::Owner | super::state::Object::Ro => None,
        };
        if object.is_some_and(|it| epoch < it) {
            let message =
                format!("{:?} of epoch {epoch} lands over {object:?}", self.changes.get(u32::from(change)));
            found.push(Violation { id: "S7", message });
        }
        if let Some(durable) = st.durable {
            let forgotten = St { ro: durable, ..*st };
            let view = self.expand(&forgotten);
            let write = strategies::Write {
                change: self.changes.get(u32::from(change)).clone(),
                fence: strategies::Fence::Absent,
                epoch: view.status.epoch,
            };
            let broken = invariants::check_write(view.plan, &view.status, &view.world, &write, view.now);
            let broken = broken.into_iter().find(|it| matches!(it.id, "S1" | "S6"));
            found.extend(broken.map(|it| Violation { id: "S23", message: it.message }));
        }
        found
    }
}

/// Everything is asked to be home, and a data plane never says that it is: all that can be done.
fn is_home_but_deaf(view: &View<'_>, decision: &strategies::Decision) -> bool {
    let home = match &view.status.canary {
        None => true,
        Some(canary) => {
            let arm = strategies::Arm::main(canary.clone());
            let routes = view.world.routes.values().filter_map(Seen::get);
            let weighted: Vec<_> =
                routes.map(|it| it.asked.weight_of(&strategies::Dest::Arm(arm.clone()))).collect();
            weighted.iter().all(|it| it.ppm() == 0)
        }
    };
    let settling = decision.waiting.iter().any(|it| matches!(it.what, WaitingFor::Settling { .. }));
    home && settling && decision.next == Next::Rest && !matches!(view.status.phase, Phase::Stepping { .. })
}

/// Traffic stays where something answers: rule 6.
fn stable_is_gone(decision: &strategies::Decision) -> bool {
    decision.waiting.iter().any(|it| matches!(it.what, WaitingFor::StableIsDown { .. }))
}

fn running(activity: &Activity) -> Option<Running> {
    let Activity::Analysis { id, samples, .. } = activity else { return None };
    let name = ACTIVITIES.iter().position(|it| *it == id.name.as_str())?;
    Some(Running { name: u8::try_from(name).ok()?, id: id.clone(), counts: *samples == Samples::Count })
}
