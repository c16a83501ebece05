//! From a state of the model to what `decide` takes, and from what it says back to the model.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use strategies::{
    Acknowledged, ActivityId, Arm, ArmSeen, Behind, Change, Decision, Down, Epoch, Fence, Mode, Name, Next,
    Orders, Outcome, Owner, OwnerIs, Plan, Ready, Revision, RouteId, RouteSeen, Seen, Sizing, Split, Status,
    Wanted, World,
};

use super::{
    config::Config,
    intern::Table,
    state::{
        ABSENT, ArmSt, Flight, Lag, NOTHING, OLDEST, Object, OwnerObj, OwnerSt, REPAIRS, REVISIONS, Repaired,
        Ro, RouteSt, St, Timed, UNPINNED,
    },
};

/// One tick of the model's clock. Every length in a plan is a multiple of it.
pub const TICK: Duration = Duration::from_secs(300);
/// What the model's clock always shows: states keep ages, not times.
pub const NOW: i64 = 1_000_000_000;
/// Where remembered times that nothing depends on are put.
const LONG_AGO: Timestamp = Timestamp::UNIX_EPOCH;

/// A configuration and the values that its states refer to.
pub struct Model {
    pub config: Config,
    /// The defect that is switched on.
    pub mutant: Option<strategies::mutant::Mutant>,
    /// Every edition of the plan, each in every mode.
    pub plans: Vec<Plan>,
    /// The steps of all editions, by name.
    pub names: Vec<Name>,
    pub route_ids: Vec<RouteId>,
    pub bodies: Table<Status>,
    pub splits: Table<Split>,
    pub changes: Table<Change>,
    pub orders: Table<Orders>,
    pub ran: Table<BTreeMap<ActivityId, Outcome>>,
}

/// A state as `decide` takes it.
pub struct View<'a> {
    pub plan: &'a Plan,
    pub status: Status,
    pub orders: &'a Orders,
    pub world: World,
    pub now: Timestamp,
}

pub fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

pub fn ago(ticks: u8) -> Timestamp {
    now().checked_sub(TICK * u32::from(ticks)).unwrap()
}

pub fn ticks(length: Duration) -> u8 {
    u8::try_from(length.as_secs().div_ceil(TICK.as_secs())).unwrap_or(OLDEST).min(OLDEST)
}

fn age(at: Timestamp) -> u8 {
    ticks(Duration::try_from(now().duration_since(at)).unwrap_or_default())
}

/// The revisions, by number.
pub fn revision(at: u8) -> Revision {
    ["a", "b", "c"][usize::from(at)].into()
}

pub fn number_of(revision: &Revision) -> u8 {
    match revision.as_str() {
        "a" => 0,
        "b" => 1,
        "c" => 2,
        other => panic!("no revision of the model: {other}"),
    }
}

pub fn arm(at: usize) -> Arm {
    Arm::main(revision(u8::try_from(at).unwrap()))
}

impl Model {
    pub fn new(config: Config) -> Self {
        let editions = || std::iter::once(&config.plan).chain(&config.edits);
        let modes = [config.plan.mode, Mode::Paused, Mode::Off];
        let plans = editions().flat_map(|plan| modes.map(|mode| Plan { mode, ..plan.clone() })).collect();
        let mut names: Vec<Name> = vec![];
        for step in editions().flat_map(|it| &it.steps) {
            if !names.contains(&step.name) {
                names.push(step.name.clone());
            }
        }
        let route_ids = config.plan.routes().map(|(id, _)| id.clone()).collect();
        Self {
            config,
            mutant: None,
            plans,
            names,
            route_ids,
            bodies: Table::new(),
            splits: Table::new(),
            changes: Table::new(),
            orders: Table::new(),
            ran: Table::new(),
        }
    }

    pub fn partition(&self) -> bool {
        self.config.plan.sizing == Sizing::Partition
    }

    pub fn route_at(&self, id: &RouteId) -> usize {
        self.route_ids.iter().position(|it| it == id).unwrap()
    }

    /// The plan as it is.
    pub fn plan(&self, st: &St) -> &Plan {
        &self.plans[usize::from(st.edition) * 3 + usize::from(st.mode)]
    }

    /// The bit of a step in what was passed.
    pub fn bit(&self, step: &Name) -> u8 {
        1 << self.names.iter().position(|it| it == step).unwrap()
    }

    /// What a controller sees: one object may be as it was.
    pub fn seen(&self, st: &St) -> St {
        let mut seen = *st;
        match st.lag {
            Lag::None => {}
            Lag::Ro(ro) => seen.ro = ro,
            Lag::Arm(at, arm) => seen.arms[usize::from(at)] = arm,
            Lag::Route(at, route) => seen.routes[usize::from(at)] = route,
            Lag::Owner(owner) => seen.owner = owner,
            Lag::Wanted(wanted) => seen.wanted = wanted,
            Lag::Unread(_) => return seen,
        }
        seen.lag = Lag::None;
        seen
    }

    pub fn expand(&self, st: &St) -> View<'_> {
        View {
            plan: self.plan(st),
            status: self.status(&st.ro),
            orders: self.orders.get(u32::from(st.orders)),
            world: self.world(st),
            now: now(),
        }
    }

    /// The world as users meet it: every route asks for what its data plane does.
    pub fn serving(&self, st: &St) -> World {
        let mut serving = St { lag: Lag::None, ..*st };
        for route in &mut serving.routes {
            if route.actual == NOTHING {
                *route = RouteSt::default();
            }
            (route.asked, route.acked) = (route.actual, route.actual);
        }
        self.world(&serving)
    }

    fn world(&self, st: &St) -> World {
        let arms = (0..REVISIONS).filter(|at| st.arms[*at].exists);
        let seen = |at: usize| {
            let arm = &st.arms[at];
            ArmSeen {
                desired: u32::from(arm.desired),
                ready: Some(match self.config.plan.sizing {
                    Sizing::Elastic if arm.ready > 0 => Ready::Elastic,
                    _ => Ready::Replicas(u32::from(arm.ready)),
                }),
                epoch: (arm.epoch != 0).then(|| Epoch(u64::from(arm.epoch))),
                fence: Fence::At(u64::from(arm.version)),
            }
        };
        let wanted = Wanted {
            revision: revision(st.wanted),
            replicas: u32::from(st.replicas),
            scaler: self.config.scaler,
        };
        let routes = self.route_ids.iter().zip(&st.routes);
        let mut world = World {
            leaving: st.leaving,
            wanted: if st.gone { Seen::Absent } else { Seen::Is(wanted) },
            arms: arms.map(|at| (arm(at), Seen::Is(seen(at)))).collect(),
            routes: routes.map(|(id, it)| (id.clone(), self.route(st, it))).collect(),
            owner: self.owner(st),
            ran: self.ran.get(u32::from(st.ran)).clone(),
        };
        match st.lag {
            Lag::Unread(0) => world.wanted = Seen::Unread,
            Lag::Unread(1) => world.wanted = Seen::Absent,
            Lag::Unread(2) => world.owner = Seen::Unread,
            Lag::Unread(3) => drop(world.arms.insert(arm(0), Seen::Unread)),
            Lag::Unread(_) => {
                let id = self.route_ids.first().cloned();
                world.routes.extend(id.map(|id| (id, Seen::Unread)));
            }
            Lag::None | Lag::Ro(_) | Lag::Arm(..) | Lag::Route(..) | Lag::Owner(_) | Lag::Wanted(_) => {}
        }
        world
    }

    pub fn split(&self, st: &St, id: u8) -> Option<Split> {
        match id {
            NOTHING => None,
            UNPINNED => {
                let there = (0..REVISIONS).filter(|at| st.arms[*at].exists);
                Some(Split::by_ready(there.map(arm).collect()))
            }
            id => Some(self.splits.get(u32::from(id)).clone()),
        }
    }

    fn route(&self, st: &St, route: &RouteSt) -> Seen<RouteSeen> {
        if !route.exists {
            return Seen::Absent;
        }
        let Some(asked) = self.split(st, route.asked) else { return Seen::Absent };
        let acknowledged =
            self.split(st, route.acked).map(|split| Acknowledged { split, since: ago(route.age) });
        Seen::Is(RouteSeen {
            asked,
            epoch: (route.epoch != 0).then(|| Epoch(u64::from(route.epoch))),
            acknowledged,
            manager: route.foreign.then(|| "someone".into()),
            fence: Fence::At(u64::from(route.version)),
        })
    }

    fn owner(&self, st: &St) -> Seen<Owner> {
        let is = match st.owner.is {
            OwnerSt::Nobody => return Seen::Absent,
            OwnerSt::Free => OwnerIs::Free,
            OwnerSt::Held => OwnerIs::Held,
            OwnerSt::Detached => OwnerIs::Detached,
            OwnerSt::ToFree | OwnerSt::ToHeld | OwnerSt::ToDetached | OwnerSt::To(_) => OwnerIs::Moving,
            OwnerSt::HandedTo(it) => OwnerIs::HandedTo(revision(it)),
            OwnerSt::UsersOwn => OwnerIs::UsersOwn,
        };
        Seen::Is(Owner {
            is,
            behind: if st.owner.runs == st.wanted { Behind::No } else { Behind::Template },
            refused: st.owner.refused.checked_sub(1).map(revision),
            fence: Fence::At(u64::from(st.owner.version)),
        })
    }

    pub fn status(&self, ro: &Ro) -> Status {
        let mut status = self.bodies.get(ro.body).clone();
        status.epoch = Epoch(u64::from(ro.epoch));
        status.since = ago(ro.since);
        status.held = status.held.map(|_| ago(ro.held));
        status.waited.since = status.waited.since.map(|_| ago(ro.waited_since));
        status.waited.before = TICK * u32::from(ro.waited_before);
        if let Some(Down::Suspected { since } | Down::Certain { since, .. }) = &mut status.down {
            *since = ago(ro.down);
        }
        for (at, repair) in status.repairs.iter_mut().enumerate() {
            repair.at = ago(ro.repairs[at]);
            repair.fence = Fence::At(u64::from(ro.fences[at]));
        }
        if self.config.plan.rollback_window.is_some() {
            for (at, recent) in status.recent.iter_mut().enumerate() {
                recent.at = ago(ro.recent[at]);
            }
        }
        status
    }

    /// A status as a body and what stands beside it.
    pub fn ro(&self, status: &Status, version: u8) -> Ro {
        let mut body = status.clone();
        let mut ro = Ro {
            epoch: u8::try_from(status.epoch.0).unwrap(),
            version,
            since: age(status.since),
            held: status.held.map_or(0, age),
            waited_before: ticks(status.waited.before),
            waited_since: status.waited.since.map_or(0, age),
            ..Ro::default()
        };
        if let Some(Down::Suspected { since } | Down::Certain { since, .. }) = &mut body.down {
            ro.down = age(*since);
            *since = LONG_AGO;
        }
        body.epoch = Epoch(0);
        body.since = LONG_AGO;
        body.held = body.held.map(|_| LONG_AGO);
        body.waited.since = body.waited.since.map(|_| LONG_AGO);
        body.waited.before = Duration::ZERO;
        assert!(
            body.repairs.len() <= REPAIRS && body.recent.len() <= 4,
            "more is remembered than the model keeps"
        );
        for (at, repair) in body.repairs.iter_mut().enumerate() {
            ro.repairs[at] = age(repair.at);
            ro.fences[at] = version_of(repair.fence);
            (repair.at, repair.fence) = (LONG_AGO, Fence::Absent);
        }
        for (at, recent) in body.recent.iter_mut().enumerate() {
            if self.config.plan.rollback_window.is_some() {
                ro.recent[at] = age(recent.at);
            }
            recent.at = LONG_AGO;
        }
        // When these were is for people to read; nothing is decided by it.
        body.accepted.iter_mut().for_each(|it| it.at = LONG_AGO);
        body.refused.iter_mut().for_each(|it| it.at = LONG_AGO);
        body.last.iter_mut().for_each(|it| it.at = LONG_AGO);
        ro.body = self.bodies.id(body);
        ro
    }

    pub fn timed(&self, body: u32) -> Timed {
        let status = self.bodies.get(body);
        let windowed = self.config.plan.rollback_window.is_some();
        Timed {
            held: status.held.is_some(),
            waits: status.waited.since.is_some(),
            down: status.down.is_some(),
            repairs: status.repairs.len(),
            recent: if windowed { status.recent.len() } else { 0 },
        }
    }

    /// The objects of the repairs that a body remembers.
    pub fn repairs(&self, body: u32) -> Repaired {
        let mut routes = [None; REPAIRS];
        for (at, repair) in routes.iter_mut().zip(&self.bodies.get(body).repairs) {
            *at = Some(self.object_of(&repair.change));
        }
        routes
    }

    /// What a decision sets off.
    pub fn flight(&self, seen: &St, decision: &Decision) -> Flight {
        match &decision.next {
            Next::Rest => Flight::None,
            Next::Save(status) => Flight::Save { ro: self.ro(status, 0), base: seen.ro.version },
            Next::Write(write) => Flight::Write {
                change: u16::try_from(self.changes.id(write.change.clone())).unwrap(),
                fence: version_of(write.fence),
                epoch: u8::try_from(write.epoch.0).unwrap(),
            },
        }
    }

    pub fn split_id(&self, split: &Split) -> u8 {
        match split.share {
            strategies::Share::ByReady(_) => UNPINNED,
            strategies::Share::Fixed(_) => {
                let id = self.splits.id(split.clone());
                assert!(id < u32::from(NOTHING), "more splits than a byte can name");
                u8::try_from(id).unwrap()
            }
        }
    }

    /// The object that carries an arm: one for both sides of a partition.
    pub fn carrier(&self, arm: u8) -> Object {
        Object::Arm(if self.partition() { 0 } else { arm })
    }

    /// The object that a change is about.
    pub fn object(&self, change: u16) -> Object {
        self.object_of(self.changes.get(u32::from(change)))
    }

    pub fn object_of(&self, change: &Change) -> Object {
        let arm = |arm: &Arm| self.carrier(number_of(&arm.revision));
        let route = |id: &RouteId| Object::Route(u8::try_from(self.route_at(id)).unwrap());
        match change {
            Change::Create(it, _) | Change::Claim(it) | Change::Remove(it) => arm(it),
            Change::Size(sizes) => arm(sizes.keys().next().unwrap()),
            Change::Split(it, _) | Change::Restore(it) => route(it),
            Change::Own(_) => Object::Owner,
        }
    }
}

pub fn version_of(fence: Fence) -> u8 {
    match fence {
        Fence::Absent => ABSENT,
        Fence::At(version) => u8::try_from(version).unwrap(),
    }
}

/// An object that nobody has touched yet.
pub fn fresh_arm(replicas: u8) -> ArmSt {
    ArmSt { exists: true, desired: replicas, ready: replicas, epoch: 0, version: 1 }
}

pub fn fresh_owner(is: OwnerSt) -> OwnerObj {
    OwnerObj { is, runs: 0, refused: 0, towards: 0, written: 0, version: 1 }
}
