//! How the world of the model moves: what can happen in a state, and what it makes of it.

use strategies::{
    Action, Arm, Change, Dest, Name, Order, Orders, Outcome, OwnerGoal, Phase, RouteKind, RouteRest, Scaler,
    Sizing, Split, Verdict,
};

use super::{
    act::{ACTIVITIES, Act, VERDICTS},
    bridge::{Model, fresh_arm, fresh_owner, number_of, revision, ticks},
    config::Config,
    eval::Eval,
    state::{ABSENT, ArmSt, Flight, Lag, NOTHING, Object, OwnerObj, OwnerSt, Ro, RouteSt, St, UNPINNED},
};

/// Drifts from here on are of arms: somebody else leaves one replica.
const RESIZED: u8 = 8;
/// How somebody else deletes a route.
const DELETED: u8 = 3;

/// Every step is passed.
pub const ALL_PASSED: u8 = 63;

impl Model {
    /// Where everything begins: `a` is stable and wanted, or about to be the first.
    pub fn init(&self) -> St {
        let config = &self.config;
        let mut st = St { replicas: config.replicas, budget: config.budget, ..St::default() };
        st.orders = u16::try_from(self.orders.id(Orders::default())).unwrap();
        st.ran = u16::try_from(self.ran.id(std::collections::BTreeMap::new())).unwrap();
        let mut status = strategies::Status::new(super::bridge::now());
        if !config.adopts {
            status.phase = Phase::Idle;
            status.held = Some(status.since);
            status.stable = Some(revision(0));
            status.recent = vec![strategies::Recent { revision: revision(0), at: status.since }];
        }
        st.ghost.passed[0] = ALL_PASSED;
        st.ghost.editions = 1;
        st.ro = self.ro(&status, 1);
        if config.owner {
            st.owner = fresh_owner(OwnerSt::Free);
        }
        if config.adopts {
            if config.owner {
                st.arms[0] = ArmSt { ready: 0, ..fresh_arm(config.replicas) };
            } else if config.self_made {
                st.arms[0] = self.self_made(0);
            }
        } else {
            st.arms[0] = fresh_arm(config.replicas);
            if config.plan.sizing == Sizing::Elastic {
                st.arms[0].ready = 1;
            }
        }
        for (at, id) in self.route_ids.clone().iter().enumerate() {
            let (_, planned) = config.plan.routes().find(|(it, _)| *it == id).unwrap();
            if config.bare && self.is_side(at) {
                continue;
            }
            let rest = match (&planned.rest, config.adopts) {
                (RouteRest::ByReady, _) => UNPINNED,
                (RouteRest::Through(below), _) => self.split_id(&Split::all_to(Dest::Route(below.clone()))),
                // As its user wrote it: over the Service that was there before.
                (RouteRest::OnStable, _) if config.bare => {
                    self.split_id(&Split::all_to(Dest::Route("direct".into())))
                }
                (RouteRest::OnStable, true) => continue,
                (RouteRest::OnStable, false) => {
                    let arm = Dest::Arm(Arm::main(revision(0)));
                    self.split_id(&Split::all_to(match &planned.kind {
                        RouteKind::Weighted { stable: Some(below), .. } => Dest::Route(below.clone()),
                        RouteKind::Weighted { stable: None, .. }
                        | RouteKind::ToStable
                        | RouteKind::ToCanary
                        | RouteKind::Direct
                        | RouteKind::Proportional => arm,
                    }))
                }
            };
            st.routes[at] = RouteSt {
                exists: true,
                asked: rest,
                epoch: 0,
                version: 1,
                acked: rest,
                age: super::state::OLDEST,
                actual: rest,
                foreign: false,
            };
        }
        if self.partition() {
            let version = st.arms[0].version;
            st.arms.iter_mut().for_each(|it| it.version = version);
        }
        self.settle(&mut st);
        st
    }

    fn self_made(&self, at: usize) -> ArmSt {
        let _ = at;
        match self.config.plan.sizing {
            Sizing::Elastic => ArmSt { exists: true, desired: 1, ready: 0, epoch: 0, version: 1 },
            Sizing::PerArm | Sizing::Partition | Sizing::Fixed => {
                ArmSt { exists: true, desired: self.config.replicas, ready: 0, epoch: 0, version: 1 }
            }
        }
    }

    /// Everything that can happen. `truth` is the decision on the world as it is.
    pub fn acts(&self, st: &St, truth: &Eval, out: &mut Vec<Act>) {
        self.machine_acts(st, out);
        self.helping_acts(st, truth, out);
        self.faulty_acts(st, out);
        self.peoples_acts(st, out);
    }

    fn machine_acts(&self, st: &St, out: &mut Vec<Act>) {
        let blocked = st.durable.is_some() && !self.config.acts_unsynced;
        if st.durable.is_some() {
            out.push(Act::Sync);
        }
        if !self.config.flights {
            if !blocked {
                out.push(Act::Step);
            }
            return;
        }
        for at in 0..self.config.controllers {
            match st.flights[usize::from(at)] {
                Flight::None if !blocked => out.push(Act::Prepare(at)),
                Flight::None => {}
                Flight::Save { .. } | Flight::Write { .. } => out.extend([Act::Land(at), Act::Lose(at)]),
            }
        }
    }

    fn helping_acts(&self, st: &St, truth: &Eval, out: &mut Vec<Act>) {
        for (at, arm) in (0..).zip(&st.arms) {
            if arm.exists && arm.ready < arm.desired && self.config.broken & (1 << at) == 0 {
                out.push(Act::Ready(at));
            }
        }
        for (at, route) in (0..).zip(&st.routes) {
            if route.exists && route.acked != route.asked && self.config.deaf & (1 << at) == 0 {
                out.push(Act::Ack(at));
            }
            if route.exists && route.actual != route.asked {
                out.push(Act::Apply(at));
            }
        }
        match st.owner.is {
            OwnerSt::ToFree | OwnerSt::ToHeld | OwnerSt::ToDetached | OwnerSt::To(_) => out.push(Act::Owner),
            OwnerSt::Nobody
            | OwnerSt::Free
            | OwnerSt::Held
            | OwnerSt::Detached
            | OwnerSt::HandedTo(_)
            | OwnerSt::UsersOwn => {}
        }
        if self.heals(st) {
            out.push(Act::Heal);
        }
        if truth.wake.is_some() {
            out.push(Act::Wake);
        }
        for running in &truth.run {
            out.extend(
                VERDICTS
                    .iter()
                    .filter(|it| running.counts || **it != Verdict::Pass)
                    .map(|it| Act::Verdict(running.name, *it)),
            );
        }
        if st.lag != Lag::None {
            out.push(Act::Fresh);
        }
    }

    /// Whether the instance manager has something to set right.
    fn heals(&self, st: &St) -> bool {
        let runs = &st.arms[usize::from(st.owner.runs)];
        let wrong = !runs.exists || (self.owner_wishes() && runs.desired != st.replicas);
        let acts = match st.owner.is {
            OwnerSt::Free | OwnerSt::Held | OwnerSt::HandedTo(_) => true,
            OwnerSt::Nobody
            | OwnerSt::Detached
            | OwnerSt::ToFree
            | OwnerSt::ToHeld
            | OwnerSt::ToDetached
            | OwnerSt::To(_)
            | OwnerSt::UsersOwn => false,
        };
        acts && wrong && !self.partition()
    }

    fn faulty_acts(&self, st: &St, out: &mut Vec<Act>) {
        let budget = &st.budget;
        for (at, arm) in (0..).zip(&st.arms) {
            if budget.losses > 0 && arm.exists && arm.ready > 0 {
                out.push(Act::Loss(at));
            }
        }
        if budget.drifts > 0 {
            for (at, route) in (0..).zip(&st.routes) {
                if route.exists {
                    let hows = [0, 1, 2].into_iter();
                    let different = |how: &u8| self.drift(st, at, *how).is_some_and(|it| it != route.asked);
                    out.extend(hows.filter(different).map(|how| Act::Drift(at, how)));
                    out.extend(self.vanishes(at).then_some(Act::Drift(at, DELETED)));
                }
            }
        }
        if budget.drifts > 0 && self.config.resized {
            let sized = (0..).zip(&st.arms).filter(|(_, it)| it.exists && it.desired != 1);
            out.extend(sized.map(|(at, _)| Act::Drift(RESIZED + at, 0)));
        }
        if budget.lags > 0 && st.lag == Lag::None {
            let owner = self.config.owner;
            out.extend((0..11).filter(|it| owner || !matches!(it, 2 | 8)).map(Act::Stale));
        }
        if budget.crashes > 0 && st.durable.is_some() {
            out.push(Act::Crash);
        }
    }

    fn peoples_acts(&self, st: &St, out: &mut Vec<Act>) {
        let budget = &st.budget;
        if budget.pushes > 0 {
            out.extend((0..3).filter(|it| *it != st.wanted).map(Act::Push));
        }
        if budget.orders > 0 {
            let status = self.bodies.get(st.ro.body);
            if status.canary.is_some() {
                out.extend(self.config.actions.iter().map(|it| Act::Order(*it, false)));
                if status.attempt > 1 {
                    out.extend(self.config.actions.iter().map(|it| Act::Order(*it, true)));
                }
            }
            if !self.orders.get(u32::from(st.orders)).0.is_empty() {
                out.push(Act::Withdraw);
            }
        }
        if budget.leaves > 0 && !st.leaving {
            out.push(Act::Leave);
        }
        if budget.modes > 0 {
            out.extend((0..3).filter(|it| *it != st.mode).map(Act::Mode));
        }
        let phase = &self.bodies.get(st.ro.body).phase;
        let rests = matches!(phase, Phase::Idle | Phase::RolledBack { .. });
        // What a rollout is to be like matters once it runs; what is there for it, before it starts too.
        if budget.edits > 0 && (!rests || self.plans.iter().any(|it| !it.missing.is_empty())) {
            let editions = 0..=u8::try_from(self.config.edits.len()).unwrap();
            out.extend(editions.filter(|it| *it != st.edition).map(Act::Edit));
        }
        if budget.scales > 0 {
            out.push(Act::Scale);
        }
        if budget.takes > 0 {
            out.push(Act::Take);
        }
        if budget.vanishes > 0 && !(st.gone && st.leaving) {
            out.push(Act::Vanish);
        }
    }

    /// What an act makes of a state; `None` where it changes nothing.
    pub fn step(&self, st: &St, act: Act, seen: &Eval, truth: &Eval) -> Option<St> {
        let mut next = *st;
        match act {
            Act::Step => {
                self.land(&mut next, seen.flight);
            }
            Act::Prepare(at) => next.flights[usize::from(at)] = seen.flight,
            Act::Land(at) => {
                let flight = std::mem::take(&mut next.flights[usize::from(at)]);
                self.land(&mut next, flight);
            }
            Act::Lose(at) => next.flights[usize::from(at)] = Flight::None,
            Act::Sync => next.durable = None,
            Act::Ready(at) => next.arms[usize::from(at)].ready += 1,
            Act::Ack(at) => {
                let route = &mut next.routes[usize::from(at)];
                (route.acked, route.age) = (route.asked, 0);
            }
            Act::Apply(at) => next.routes[usize::from(at)].actual = next.routes[usize::from(at)].asked,
            Act::Owner => self.owner_arrives(&mut next),
            Act::Heal => {
                let replicas = next.replicas;
                let arm = &mut next.arms[usize::from(st.owner.runs)];
                let replicas = if self.owner_wishes() || !arm.exists { replicas } else { arm.desired };
                arm.ready = if arm.exists { arm.ready.min(replicas) } else { 0 };
                if !arm.exists {
                    arm.epoch = 0;
                }
                (arm.exists, arm.desired) = (true, replicas);
                arm.version += 1;
            }
            Act::Wake => next.age(truth.wake?, |body| self.timed(body)),
            Act::Verdict(name, verdict) => self.verdict(&mut next, truth, name, verdict)?,
            Act::Fresh => next.lag = Lag::None,
            Act::Push(_)
            | Act::Order(..)
            | Act::Withdraw
            | Act::Leave
            | Act::Mode(_)
            | Act::Edit(_)
            | Act::Scale
            | Act::Take
            | Act::Vanish => {
                self.person(&mut next, act)?;
            }
            Act::Loss(at) => {
                next.budget.losses -= 1;
                next.ghost.lost = true;
                next.arms[usize::from(at)].ready -= 1;
            }
            Act::Drift(at, how) => self.drifts(&mut next, at, how)?,
            Act::Stale(what) => {
                next.budget.lags -= 1;
                next.lag = self.lag(st, what)?;
            }
            Act::Crash => {
                next.budget.crashes -= 1;
                next.ro = next.durable.take()?;
                next.flights = [Flight::None; 2];
            }
        }
        self.settle(&mut next);
        (next != *st).then_some(next)
    }

    fn lag(&self, st: &St, what: u8) -> Option<Lag> {
        let route = self.route_ids.iter().position(|it| it.as_str() == "web").unwrap_or(0);
        Some(match what {
            0 => Lag::Ro(st.ro),
            1 => Lag::Wanted(st.wanted),
            2 => Lag::Owner(st.owner),
            3 | 4 => Lag::Arm(what - 3, st.arms[usize::from(what - 3)]),
            5 => Lag::Route(u8::try_from(route).ok()?, st.routes[route]),
            6..11 => Lag::Unread(what - 6),
            _ => return None,
        })
    }

    /// Whether somebody else may delete this route: a Service.
    fn vanishes(&self, at: u8) -> bool {
        let planned = self.config.plan.routes().nth(usize::from(at)).map(|(_, it)| &it.kind);
        self.config.bare && !matches!(planned, None | Some(RouteKind::Weighted { .. }))
    }

    fn is_side(&self, at: usize) -> bool {
        let planned = self.config.plan.routes().nth(at).map(|(_, it)| &it.kind);
        matches!(planned, Some(RouteKind::ToStable | RouteKind::ToCanary))
    }

    fn drifts(&self, next: &mut St, at: u8, how: u8) -> Option<()> {
        next.budget.drifts -= 1;
        next.ghost.drifted = true;
        if let Some(arm) = at.checked_sub(RESIZED) {
            let arm = &mut next.arms[usize::from(arm)];
            (arm.desired, arm.ready) = (1, arm.ready.min(1));
            arm.version += 1;
            return Some(());
        }
        if how == DELETED {
            let route = &mut next.routes[usize::from(at)];
            *route = RouteSt { version: route.version + 1, ..RouteSt::default() };
            return Some(());
        }
        let asked = self.drift(next, at, how)?;
        let route = &mut next.routes[usize::from(at)];
        ask(route, asked);
        route.foreign = true;
        Some(())
    }

    /// What somebody else makes of a route.
    fn drift(&self, st: &St, at: u8, how: u8) -> Option<u8> {
        let id = self.route_ids.get(usize::from(at))?;
        let (_, planned) = self.config.plan.routes().find(|(it, _)| *it == id)?;
        if planned.kind == RouteKind::Proportional {
            // It is its user's alone, whatever they make of it.
            return None;
        }
        let status = self.bodies.get(st.ro.body);
        let canary = status.canary.clone().map(|it| Dest::Arm(Arm::main(it)));
        let stable = status.stable.clone().map(|it| Dest::Arm(Arm::main(it)));
        let (stable, canary) = match &planned.kind {
            RouteKind::Weighted { stable: below, canary: side } => {
                (below.clone().map(Dest::Route).or(stable), side.clone().map(Dest::Route).or(canary))
            }
            RouteKind::ToStable | RouteKind::ToCanary | RouteKind::Direct | RouteKind::Proportional => {
                (stable, canary)
            }
        };
        match how {
            0 => canary.map(|it| self.split_id(&Split::all_to(it))),
            1 => stable.map(|it| self.split_id(&Split::all_to(it))),
            _ => (planned.rest == RouteRest::ByReady).then_some(UNPINNED),
        }
    }

    fn verdict(&self, next: &mut St, truth: &Eval, name: u8, verdict: Verdict) -> Option<()> {
        let running = truth.run.iter().find(|it| it.name == name)?;
        if verdict == Verdict::Pass && !running.counts {
            return None;
        }
        let mut ran = self.ran.get(u32::from(next.ran)).clone();
        if ran.contains_key(&running.id) {
            return None;
        }
        ran.insert(running.id.clone(), Outcome { verdict, because: None });
        next.ran = u16::try_from(self.ran.id(ran)).unwrap();
        let status = self.bodies.get(next.ro.body);
        if let (Phase::Stepping { step }, true, Verdict::Pass) =
            (&status.phase, ACTIVITIES[usize::from(name)] != "pods", verdict)
        {
            next.ghost.passed[usize::from(number_of(&running.id.revision))] |= self.bit(step);
        }
        Some(())
    }

    fn person(&self, next: &mut St, act: Act) -> Option<()> {
        match act {
            Act::Push(it) => self.push(next, it),
            Act::Order(action, late) => self.order(next, action, late)?,
            Act::Withdraw => {
                next.budget.orders -= 1;
                next.orders = u16::try_from(self.orders.id(Orders::default())).unwrap();
            }
            Act::Leave => {
                next.budget.leaves -= 1;
                next.leaving = true;
            }
            Act::Mode(it) => {
                next.budget.modes -= 1;
                next.mode = it;
            }
            Act::Edit(it) => {
                next.budget.edits -= 1;
                next.edition = it;
                next.ghost.editions |= 1 << it;
            }
            Act::Scale => {
                next.budget.scales -= 1;
                let Config { replicas, scaled, .. } = &self.config;
                next.replicas = if next.replicas == *replicas { *scaled } else { *replicas };
            }
            Act::Take => {
                next.budget.takes -= 1;
                next.owner.is = match next.owner.is {
                    OwnerSt::UsersOwn => OwnerSt::Held,
                    OwnerSt::Nobody => return None,
                    _ => OwnerSt::UsersOwn,
                };
                next.owner.version += 1;
            }
            Act::Vanish => self.vanish(next),
            _ => return None,
        }
        Some(())
    }

    /// What the instance manager owns goes with the workload, and is made again with it; what is ours stays.
    fn vanish(&self, next: &mut St) {
        next.budget.vanishes -= 1;
        next.gone = !next.gone;
        (next.ghost.drifted, next.ghost.lost) = (true, true);
        if !self.config.owner {
            return;
        }
        if next.gone {
            let runs = usize::from(next.owner.runs);
            next.arms[runs] = ArmSt { version: next.arms[runs].version + 1, ..ArmSt::default() };
            next.owner = OwnerObj::default();
            return;
        }
        next.owner = OwnerObj { runs: next.wanted, ..fresh_owner(OwnerSt::Free) };
        let made = &mut next.arms[usize::from(next.wanted)];
        if !made.exists {
            *made = ArmSt { ready: 0, version: made.version + 1, ..fresh_arm(next.replicas) };
        }
    }

    /// A new template. The hold is a policy: the instance manager does not take it up whatever it did before.
    fn push(&self, next: &mut St, wanted: u8) {
        next.budget.pushes -= 1;
        next.wanted = wanted;
        let other = next.owner.runs != wanted;
        let is = match next.owner.is {
            OwnerSt::Free | OwnerSt::HandedTo(_) if other => OwnerSt::Held,
            OwnerSt::ToFree if other => OwnerSt::ToHeld,
            is => is,
        };
        if next.owner.is != OwnerSt::Nobody {
            next.owner.is = is;
            next.owner.version += 1;
        }
        if self.config.self_made && !next.arms[usize::from(wanted)].exists {
            let version = next.arms[usize::from(wanted)].version + 1;
            next.arms[usize::from(wanted)] = ArmSt { version, ..self.self_made(usize::from(wanted)) };
        }
    }

    fn order(&self, next: &mut St, action: Action, late: bool) -> Option<()> {
        let status = self.bodies.get(next.ro.body);
        let revision = status.canary.clone()?;
        next.budget.orders -= 1;
        let attempt = status.attempt - u32::from(late);
        let step = match (&status.phase, action) {
            (Phase::Stepping { step }, Action::Promote | Action::Approve) => Some(step.clone()),
            _ => None,
        };
        let mut orders = self.orders.get(u32::from(next.orders)).clone();
        let at = step.as_ref().map_or("any", Name::as_str);
        let name = format!("{action:?}-{revision}-{attempt}-{at}");
        let like = orders.0.iter().filter(|it| it.id.as_str().starts_with(&name)).count();
        let order = Order {
            id: format!("{name}-{like}").into(),
            action,
            revision: revision.clone(),
            attempt,
            step,
            by: "someone".into(),
            reason: None,
            not_after: None,
        };
        orders.0.push(order);
        next.orders = u16::try_from(self.orders.id(orders)).unwrap();
        let passed = &mut next.ghost.passed[usize::from(number_of(&revision))];
        match (&status.phase, action, late) {
            (Phase::Stepping { step }, Action::Promote | Action::Approve, false) => *passed |= self.bit(step),
            (Phase::Stepping { .. }, Action::PromoteFull, false) => *passed = ALL_PASSED,
            _ => {}
        }
        Some(())
    }

    fn owner_arrives(&self, next: &mut St) {
        next.owner.is = match next.owner.is {
            OwnerSt::ToHeld => OwnerSt::Held,
            OwnerSt::ToDetached => OwnerSt::Detached,
            OwnerSt::ToFree => self.owner_freed(next),
            OwnerSt::To(it) => {
                let old = next.owner.runs;
                if old != it {
                    next.arms[usize::from(old)] =
                        ArmSt { version: next.arms[usize::from(old)].version + 1, ..ArmSt::default() };
                }
                next.owner.runs = it;
                OwnerSt::HandedTo(it)
            }
            is => is,
        };
        next.owner.version += 1;
    }

    /// Free with another template: its own rolling update. It keeps enough ready by itself.
    fn owner_freed(&self, next: &mut St) -> OwnerSt {
        let status = self.bodies.get(next.ro.body);
        let leaves = matches!(status.phase, Phase::Leaving | Phase::Left) || status.stable.is_none();
        if next.owner.runs != next.wanted && !leaves {
            return OwnerSt::Held;
        }
        if next.owner.runs != next.wanted {
            let (old, new) = (usize::from(next.owner.runs), usize::from(next.wanted));
            let (gone, made) = (next.arms[old].version + 1, next.arms[new].version + 1);
            next.arms[new] = ArmSt { version: made, ..fresh_arm(next.replicas) };
            next.arms[old] = ArmSt { version: gone, ..ArmSt::default() };
            next.owner.runs = next.wanted;
        }
        next.owner.refused = 0;
        OwnerSt::Free
    }

    /// Whether the object is still what the decision was made on.
    pub fn accepts(&self, st: &St, flight: Flight) -> bool {
        let fresh = match flight {
            Flight::None => false,
            Flight::Save { base, .. } => base == st.ro.version,
            Flight::Write { change, fence, .. } => match self.object(change) {
                Object::Arm(at) => {
                    let arm = &st.arms[usize::from(at)];
                    let exists = arm.exists || (self.partition() && st.arms.iter().any(|it| it.exists));
                    if exists { arm.version == fence } else { fence == ABSENT }
                }
                Object::Route(at) => {
                    let route = &st.routes[usize::from(at)];
                    if route.exists { route.version == fence } else { fence == ABSENT }
                }
                Object::Owner => st.owner.version == fence,
                Object::Ro => false,
            },
        };
        fresh || (self.config.blind && flight != Flight::None)
    }

    /// Lets a decision take effect, if it is accepted.
    fn land(&self, next: &mut St, flight: Flight) {
        if !self.accepts(next, flight) {
            return;
        }
        match flight {
            Flight::None => {}
            Flight::Save { ro, .. } => self.save(next, ro),
            Flight::Write { change, epoch, .. } => self.write(next, change, epoch),
        }
    }

    fn save(&self, next: &mut St, ro: Ro) {
        let (before, after) = (self.bodies.get(next.ro.body), self.bodies.get(ro.body));
        if self.config.store {
            next.durable = Some(next.durable.unwrap_or(next.ro));
        }
        next.ro = Ro { version: next.ro.version + 1, ..ro };
        next.ghost.evaded |= after.fallen().is_some();
        if before.attempt != after.attempt
            && let Some(canary) = &after.canary
        {
            let trusted = after.said == strategies::Said::PromotedFully;
            let passed = &mut next.ghost.passed[usize::from(number_of(canary))];
            *passed = if trusted { ALL_PASSED } else { 0 };
        }
        if before.stable != after.stable
            && let Some(stable) = &after.stable
        {
            next.ghost.passed[usize::from(number_of(stable))] = ALL_PASSED;
        }
    }

    fn write(&self, next: &mut St, change: u16, epoch: u8) {
        let change = self.changes.get(u32::from(change));
        match change {
            Change::Create(arm, replicas) => self.size(next, arm, *replicas, epoch),
            Change::Size(sizes) => sizes.iter().for_each(|(arm, it)| self.size(next, arm, *it, epoch)),
            Change::Claim(arm) => {
                let arm = &mut next.arms[usize::from(number_of(&arm.revision))];
                arm.epoch = epoch;
                arm.version += 1;
            }
            Change::Remove(arm) => {
                let arm = &mut next.arms[usize::from(number_of(&arm.revision))];
                *arm = ArmSt { version: arm.version + 1, ..ArmSt::default() };
            }
            Change::Split(id, split) => {
                let route = &mut next.routes[self.route_at(id)];
                ask(route, self.split_id(split));
                (route.exists, route.epoch, route.foreign) = (true, epoch, false);
            }
            Change::Restore(id) => {
                let (_, planned) = self.config.plan.routes().find(|(it, _)| *it == id).unwrap();
                let rest = match &planned.rest {
                    RouteRest::ByReady => UNPINNED,
                    RouteRest::Through(below) => self.split_id(&Split::all_to(Dest::Route(below.clone()))),
                    RouteRest::OnStable => panic!("a route of ours is not restored"),
                };
                let route = &mut next.routes[self.route_at(id)];
                ask(route, rest);
                (route.exists, route.epoch, route.foreign) = (true, 0, false);
            }
            Change::Own(goal) => {
                self.own(&mut next.owner, goal);
            }
        }
        if self.partition() {
            // Both sides are one object, so they share its version and its stamp.
            let touched = matches!(self.object_of(change), Object::Arm(_));
            let version = next.arms.iter().map(|it| it.version).max().unwrap_or(0);
            for arm in &mut next.arms {
                arm.version = version;
                if touched && arm.exists {
                    arm.epoch = epoch;
                }
            }
        }
    }

    /// One write of those that a goal needs; the last one is what counts.
    fn own(&self, owner: &mut OwnerObj, goal: &OwnerGoal) {
        owner.version += 1;
        let kind = match goal {
            OwnerGoal::Free => 1,
            OwnerGoal::Held => 2,
            OwnerGoal::HandedTo(_) => 3,
            OwnerGoal::Refused(_) => 4,
            OwnerGoal::Detached => 5,
        };
        owner.written = if owner.towards == kind { owner.written + 1 } else { 1 };
        owner.towards = kind;
        if owner.written < self.config.owner_writes {
            return;
        }
        (owner.towards, owner.written) = (0, 0);
        match goal {
            OwnerGoal::Free => owner.is = OwnerSt::ToFree,
            OwnerGoal::Held => {
                owner.refused = 0;
                owner.is = if owner.is == OwnerSt::Held { OwnerSt::Held } else { OwnerSt::ToHeld };
            }
            OwnerGoal::Detached => {
                owner.refused = 0;
                owner.is = if owner.is == OwnerSt::Detached { owner.is } else { OwnerSt::ToDetached };
            }
            OwnerGoal::HandedTo(it) => owner.is = OwnerSt::To(number_of(it)),
            OwnerGoal::Refused(it) => {
                owner.refused = number_of(it) + 1;
                if owner.is == OwnerSt::Detached {
                    owner.is = OwnerSt::ToHeld;
                }
            }
        }
    }

    fn size(&self, next: &mut St, arm: &Arm, replicas: u32, epoch: u8) {
        let arm = &mut next.arms[usize::from(number_of(&arm.revision))];
        let replicas = u8::try_from(replicas).unwrap();
        let version = arm.version + 1;
        if replicas == 0 && self.partition() {
            *arm = ArmSt { version, ..ArmSt::default() };
            return;
        }
        let ready = if arm.exists { arm.ready.min(replicas) } else { 0 };
        *arm = ArmSt { exists: true, desired: replicas, ready, epoch, version };
    }

    /// What follows at once from any change, and the normal form.
    fn settle(&self, next: &mut St) {
        for (at, route) in next.routes.iter_mut().enumerate().filter(|(_, it)| it.exists) {
            let (_, planned) = self.config.plan.routes().nth(at).unwrap();
            let settled = route.acked != NOTHING && route.age >= ticks(planned.settle.0);
            if settled && route.actual != route.acked && route.actual != route.asked {
                route.actual = route.acked;
            }
            if settled && route.acked == route.asked {
                route.actual = route.asked;
            }
        }
        if self.config.owner && self.owner_wishes() {
            // The number of replicas is the owner's own field. Of a partition the other side has its part of it.
            let runs = usize::from(next.owner.runs);
            let others = next.arms.iter().enumerate().filter(|(at, it)| *at != runs && it.exists);
            let others: u8 = others.map(|(_, it)| it.desired).sum();
            let wish = if self.partition() { next.replicas.saturating_sub(others) } else { next.replicas };
            let arm = &mut next.arms[runs];
            let follows = matches!(next.owner.is, OwnerSt::Free | OwnerSt::Held | OwnerSt::HandedTo(_));
            if arm.exists && follows && arm.desired != wish {
                arm.desired = wish;
                arm.ready = arm.ready.min(wish);
            }
        }
        next.normalise(|body| self.repairs(body), |change| self.object(change), |arm| self.carrier(arm));
    }

    /// Whether the wanted number is the owner's own: an autoscaler on the Rollout asks nobody but the engine.
    fn owner_wishes(&self) -> bool {
        self.config.scaler != Some(Scaler::StableOnly)
    }
}

/// Another split is asked for. An acknowledgement of the same split is one of an earlier generation.
fn ask(route: &mut RouteSt, asked: u8) {
    if route.asked != asked && route.acked == asked {
        route.acked = NOTHING;
        route.age = 0;
    }
    route.asked = asked;
    route.version += 1;
}
