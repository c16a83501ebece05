//! One state of the model, small enough to be copied, and its packing into 64 bytes.
//!
//! Versions and epochs are compared only with each other, and points in time only with now. So a state keeps the
//! *rank* of a version or an epoch among those that still occur, and the *age* of a time in ticks, up to
//! [`OLDEST`], which is longer than anything that a plan waits for. That makes the state space finite.

/// Revisions that can be wanted.
pub const REVISIONS: usize = 3;
/// Foreign changes that a status remembers.
pub const REPAIRS: usize = 8;
/// Routes of a plan.
pub const ROUTES: usize = 4;
/// The age at which times are no longer told apart, in ticks.
pub const OLDEST: u8 = 15;
/// Where there was no object.
pub const ABSENT: u8 = 15;
/// A split that serves every ready replica of what exists.
pub const UNPINNED: u8 = 255;
/// No split.
pub const NOTHING: u8 = 254;

/// What the status remembers: a body without times, epoch and fences, and these beside it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Ro {
    pub body: u32,
    pub epoch: u8,
    pub version: u8,
    pub since: u8,
    pub held: u8,
    pub waited_before: u8,
    pub waited_since: u8,
    pub repairs: [u8; REPAIRS],
    pub fences: [u8; REPAIRS],
    pub recent: [u8; 4],
    pub down: u8,
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ArmSt {
    pub exists: bool,
    pub desired: u8,
    pub ready: u8,
    pub epoch: u8,
    pub version: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RouteSt {
    pub exists: bool,
    /// What the object asks for.
    pub asked: u8,
    pub epoch: u8,
    pub version: u8,
    /// What the data plane has acknowledged, and how long ago.
    pub acked: u8,
    pub age: u8,
    /// What the data plane really does.
    pub actual: u8,
    pub foreign: bool,
}

impl Default for RouteSt {
    fn default() -> Self {
        Self {
            exists: false,
            asked: NOTHING,
            epoch: 0,
            version: 0,
            acked: NOTHING,
            age: 0,
            actual: NOTHING,
            foreign: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum OwnerSt {
    #[default]
    Nobody,
    Free,
    Held,
    /// Held, and the engine sizes stable.
    Detached,
    /// On its way to being free, held, detached, or handed this revision.
    ToFree,
    ToHeld,
    ToDetached,
    To(u8),
    HandedTo(u8),
    UsersOwn,
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct OwnerObj {
    pub is: OwnerSt,
    /// The revision whose replicas it owns.
    pub runs: u8,
    /// The revision it reports as failed, from 1; none: 0.
    pub refused: u8,
    /// To which kind of goal it was written so often; 0: to none.
    pub towards: u8,
    pub written: u8,
    pub version: u8,
}

/// A decision on its way.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Flight {
    #[default]
    None,
    Save {
        ro: Ro,
        base: u8,
    },
    Write {
        change: u16,
        fence: u8,
        epoch: u8,
    },
}

/// One object that a controller sees as it was.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Lag {
    #[default]
    None,
    Ro(Ro),
    Arm(u8, ArmSt),
    Route(u8, RouteSt),
    Owner(OwnerObj),
    Wanted(u8),
    /// It cannot be read at all: what is wanted, the workload being gone, the owner, an arm, a route.
    Unread(u8),
}

/// What may still go wrong or be asked for.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Budget {
    pub pushes: u8,
    pub orders: u8,
    pub losses: u8,
    pub drifts: u8,
    pub lags: u8,
    pub scales: u8,
    pub modes: u8,
    pub leaves: u8,
    pub crashes: u8,
    pub takes: u8,
    pub vanishes: u8,
    pub edits: u8,
}

/// What really happened, for the properties that speak of the past.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Ghost {
    /// Per revision the steps whose gate passed in its present attempt, or that a person let pass.
    pub passed: [u8; REVISIONS],
    pub lost: bool,
    pub drifted: bool,
    /// A side answered nothing, and the other got everything.
    pub evaded: bool,
    /// The editions of the plan that were in force, as bits.
    pub editions: u8,
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct St {
    pub wanted: u8,
    pub replicas: u8,
    pub leaving: bool,
    /// The workload does not exist.
    pub gone: bool,
    pub mode: u8,
    /// Which edition of the plan is in force.
    pub edition: u8,
    pub orders: u16,
    pub ran: u16,
    pub ro: Ro,
    /// What a crash would go back to, where the last save is not yet on the disk.
    pub durable: Option<Ro>,
    pub arms: [ArmSt; REVISIONS],
    pub routes: [RouteSt; ROUTES],
    pub owner: OwnerObj,
    pub flights: [Flight; 2],
    pub lag: Lag,
    pub budget: Budget,
    pub ghost: Ghost,
}

pub type Packed = [u64; 8];

/// Reads or writes a state bit by bit, so that both directions are one description.
struct Bits<const WRITES: bool> {
    words: Packed,
    at: usize,
}

impl<const WRITES: bool> Bits<WRITES> {
    #[inline]
    fn bits(&mut self, value: u64, width: usize) -> u64 {
        let (word, shift) = (self.at / 64, self.at % 64);
        self.at += width;
        assert!(self.at <= 512, "a state needs more than 64 bytes");
        let mask = (1_u64 << width) - 1;
        let split = 64 - shift;
        if WRITES {
            assert!(value <= mask, "{value} does not fit into {width} bits at {}", self.at);
            self.words[word] |= value << shift;
            if width > split {
                self.words[word + 1] |= value >> split;
            }
            return value;
        }
        let low = self.words[word] >> shift;
        let high = if width > split { self.words[word + 1] << split } else { 0 };
        (low | high) & mask
    }

    fn byte(&mut self, value: &mut u8, width: usize) {
        *value = u8::try_from(self.bits(u64::from(*value), width)).unwrap();
    }

    fn short(&mut self, value: &mut u16, width: usize) {
        *value = u16::try_from(self.bits(u64::from(*value), width)).unwrap();
    }

    fn flag(&mut self, value: &mut bool) {
        *value = self.bits(u64::from(*value), 1) == 1;
    }

    fn ro(&mut self, ro: &mut Ro) {
        ro.body = u32::try_from(self.bits(u64::from(ro.body), 21)).unwrap();
        for it in [&mut ro.epoch, &mut ro.version, &mut ro.since, &mut ro.held] {
            self.byte(it, 4);
        }
        for it in [&mut ro.waited_before, &mut ro.waited_since, &mut ro.down] {
            self.byte(it, 4);
        }
        let mut recent = ro.recent.iter().any(|it| *it != 0);
        self.flag(&mut recent);
        if recent {
            ro.recent.iter_mut().for_each(|it| self.byte(it, 4));
        }
        let mut repaired = ro.fences[0] != 0;
        self.flag(&mut repaired);
        if repaired {
            // A repair has the version that it met, and versions count from 1.
            let mut count = u8::try_from(ro.fences.iter().filter(|it| **it != 0).count()).unwrap();
            self.byte(&mut count, 4);
            let count = usize::from(count);
            ro.repairs[..count].iter_mut().chain(&mut ro.fences[..count]).for_each(|it| self.byte(it, 4));
        }
    }

    fn arm(&mut self, arm: &mut ArmSt) {
        self.flag(&mut arm.exists);
        if arm.exists {
            for it in [&mut arm.desired, &mut arm.ready, &mut arm.epoch] {
                self.byte(it, 4);
            }
        }
        self.byte(&mut arm.version, 3);
    }

    fn route(&mut self, route: &mut RouteSt) {
        self.flag(&mut route.exists);
        self.byte(&mut route.version, 3);
        if !route.exists {
            return;
        }
        self.byte(&mut route.asked, 8);
        self.byte(&mut route.epoch, 4);
        let mut still = route.acked == route.asked && route.actual == route.asked;
        self.flag(&mut still);
        if still {
            (route.acked, route.actual) = (route.asked, route.asked);
        } else {
            self.byte(&mut route.acked, 8);
            self.byte(&mut route.actual, 8);
        }
        self.byte(&mut route.age, 4);
        self.flag(&mut route.foreign);
    }

    fn owner(&mut self, owner: &mut OwnerObj) {
        let mut is = match owner.is {
            OwnerSt::Nobody => 0,
            OwnerSt::Free => 1,
            OwnerSt::Held => 2,
            OwnerSt::ToFree => 3,
            OwnerSt::ToHeld => 4,
            OwnerSt::UsersOwn => 5,
            OwnerSt::Detached => 6,
            OwnerSt::ToDetached => 7,
            OwnerSt::To(it) => 8 + it,
            OwnerSt::HandedTo(it) => 12 + it,
        };
        self.byte(&mut is, 4);
        owner.is = match is {
            0 => OwnerSt::Nobody,
            1 => OwnerSt::Free,
            2 => OwnerSt::Held,
            3 => OwnerSt::ToFree,
            4 => OwnerSt::ToHeld,
            5 => OwnerSt::UsersOwn,
            6 => OwnerSt::Detached,
            7 => OwnerSt::ToDetached,
            8..12 => OwnerSt::To(is - 8),
            _ => OwnerSt::HandedTo(is - 12),
        };
        if owner.is != OwnerSt::Nobody {
            self.byte(&mut owner.runs, 2);
            self.byte(&mut owner.refused, 2);
            let mut begun = owner.towards != 0;
            self.flag(&mut begun);
            if begun {
                self.byte(&mut owner.towards, 3);
                self.byte(&mut owner.written, 2);
            }
            self.byte(&mut owner.version, 3);
        }
    }

    fn flight(&mut self, flight: &mut Flight) {
        let mut kind = match flight {
            Flight::None => 0,
            Flight::Save { .. } => 1,
            Flight::Write { .. } => 2,
        };
        self.byte(&mut kind, 2);
        match kind {
            0 => *flight = Flight::None,
            1 => {
                let (mut ro, mut base) = match *flight {
                    Flight::Save { ro, base } => (ro, base),
                    Flight::None | Flight::Write { .. } => (Ro::default(), 0),
                };
                self.ro(&mut ro);
                self.byte(&mut base, 4);
                *flight = Flight::Save { ro, base };
            }
            _ => {
                let (mut change, mut fence, mut epoch) = match *flight {
                    Flight::Write { change, fence, epoch } => (change, fence, epoch),
                    Flight::None | Flight::Save { .. } => (0, 0, 0),
                };
                self.short(&mut change, 12);
                self.byte(&mut fence, 4);
                self.byte(&mut epoch, 4);
                *flight = Flight::Write { change, fence, epoch };
            }
        }
    }

    fn lag(&mut self, lag: &mut Lag) {
        let mut kind = match lag {
            Lag::None => 0,
            Lag::Ro(_) => 1,
            Lag::Arm(..) => 2,
            Lag::Route(..) => 3,
            Lag::Owner(_) => 4,
            Lag::Wanted(_) => 5,
            Lag::Unread(_) => 6,
        };
        self.byte(&mut kind, 3);
        *lag = match (kind, *lag) {
            (1, old) => {
                let mut ro = if let Lag::Ro(ro) = old { ro } else { Ro::default() };
                self.ro(&mut ro);
                Lag::Ro(ro)
            }
            (2, old) => {
                let (mut at, mut arm) =
                    if let Lag::Arm(at, arm) = old { (at, arm) } else { (0, ArmSt::default()) };
                self.byte(&mut at, 2);
                self.arm(&mut arm);
                Lag::Arm(at, arm)
            }
            (3, old) => {
                let (mut at, mut route) =
                    if let Lag::Route(at, route) = old { (at, route) } else { (0, RouteSt::default()) };
                self.byte(&mut at, 2);
                self.route(&mut route);
                Lag::Route(at, route)
            }
            (4, old) => {
                let mut owner = if let Lag::Owner(owner) = old { owner } else { OwnerObj::default() };
                self.owner(&mut owner);
                Lag::Owner(owner)
            }
            (5, old) => {
                let mut wanted = if let Lag::Wanted(wanted) = old { wanted } else { 0 };
                self.byte(&mut wanted, 2);
                Lag::Wanted(wanted)
            }
            (6, old) => {
                let mut what = if let Lag::Unread(what) = old { what } else { 0 };
                self.byte(&mut what, 3);
                Lag::Unread(what)
            }
            _ => Lag::None,
        };
    }

    fn state(&mut self, st: &mut St) {
        self.byte(&mut st.wanted, 2);
        self.byte(&mut st.replicas, 3);
        self.flag(&mut st.leaving);
        self.flag(&mut st.gone);
        self.byte(&mut st.mode, 2);
        self.short(&mut st.orders, 11);
        self.short(&mut st.ran, 16);
        self.ro(&mut st.ro);
        let mut unsynced = st.durable.is_some();
        self.flag(&mut unsynced);
        if unsynced {
            let mut ro = st.durable.unwrap_or_default();
            self.ro(&mut ro);
            st.durable = Some(ro);
        }
        st.arms.iter_mut().for_each(|it| self.arm(it));
        st.routes.iter_mut().for_each(|it| self.route(it));
        self.owner(&mut st.owner);
        st.flights.iter_mut().for_each(|it| self.flight(it));
        self.lag(&mut st.lag);
        let Budget {
            pushes,
            orders,
            losses,
            drifts,
            lags,
            scales,
            modes,
            leaves,
            crashes,
            takes,
            vanishes,
            edits,
        } = &mut st.budget;
        for it in [pushes, orders] {
            self.byte(it, 3);
        }
        let mut rest = [losses, drifts, lags, scales, modes, leaves, crashes, takes, vanishes, edits];
        let mut any = rest.iter().any(|it| **it != 0);
        self.flag(&mut any);
        if any {
            rest.iter_mut().for_each(|it| self.byte(it, 3));
        }
        st.ghost.passed.iter_mut().for_each(|it| self.byte(it, 6));
        self.flag(&mut st.ghost.lost);
        self.flag(&mut st.ghost.drifted);
        self.flag(&mut st.ghost.evaded);
        let mut edited = st.ghost.editions != 1;
        self.flag(&mut edited);
        if edited {
            self.byte(&mut st.edition, 3);
            self.byte(&mut st.ghost.editions, 8);
        } else {
            st.ghost.editions = 1;
        }
    }
}

impl St {
    pub fn pack(&self) -> Packed {
        let mut bits = Bits::<true> { words: [0; 8], at: 0 };
        bits.state(&mut self.clone());
        bits.words
    }

    pub fn unpack(words: &Packed) -> Self {
        let mut bits = Bits::<false> { words: *words, at: 0 };
        let mut st = Self::default();
        bits.state(&mut st);
        st
    }

    /// Every remembered status, present or on its way.
    fn ros(&mut self) -> impl Iterator<Item = &mut Ro> {
        let flights = self.flights.iter_mut().filter_map(|it| match it {
            Flight::Save { ro, .. } => Some(ro),
            Flight::None | Flight::Write { .. } => None,
        });
        let lag = match &mut self.lag {
            Lag::Ro(ro) => Some(ro),
            Lag::None | Lag::Arm(..) | Lag::Route(..) | Lag::Owner(_) | Lag::Wanted(_) | Lag::Unread(_) => {
                None
            }
        };
        std::iter::once(&mut self.ro).chain(&mut self.durable).chain(flights).chain(lag)
    }

    /// Lets so many ticks pass.
    pub fn age(&mut self, ticks: u8, timed: impl Fn(u32) -> Timed) {
        let older = |it: &mut u8| *it = it.saturating_add(ticks).min(OLDEST);
        for ro in self.ros() {
            let timed = timed(ro.body);
            older(&mut ro.since);
            if timed.held {
                older(&mut ro.held);
            }
            if timed.waits {
                older(&mut ro.waited_since);
            }
            if timed.down {
                older(&mut ro.down);
            }
            ro.repairs.iter_mut().take(timed.repairs).for_each(older);
            ro.recent.iter_mut().take(timed.recent).for_each(older);
        }
        self.routes
            .iter_mut()
            .filter(|it| it.exists && it.acked != NOTHING)
            .for_each(|it| older(&mut it.age));
        if let Lag::Route(_, route) = &mut self.lag
            && route.acked != NOTHING
        {
            older(&mut route.age);
        }
    }

    /// Gives epochs and versions their ranks among those that still occur, from 1. `repairs` names the objects of the
    /// repairs that a body remembers, `target` the object of a change, `carrier` the object that carries an arm.
    pub fn normalise(
        &mut self,
        repairs: impl Fn(u32) -> Repaired,
        target: impl Fn(u16) -> Object,
        carrier: impl Fn(u8) -> Object,
    ) {
        let mut epochs = 0_u64;
        self.epochs(|it| epochs |= 1 << *it);
        self.epochs(|it| *it = rank(epochs, *it));
        let mut versions = [0_u64; Object::COUNT];
        self.versions(&repairs, &target, &carrier, |object, it| versions[object.number()] |= 1 << *it);
        self.versions(&repairs, &target, &carrier, |object, it| *it = rank(versions[object.number()], *it));
    }

    fn epochs(&mut self, mut each: impl FnMut(&mut u8)) {
        // Without a stamp there is no authority to compare.
        let mut each = |it: &mut u8| {
            if *it != 0 {
                each(it);
            }
        };
        self.ros().for_each(|it| each(&mut it.epoch));
        self.arms.iter_mut().filter(|it| it.exists).for_each(|it| each(&mut it.epoch));
        self.routes.iter_mut().filter(|it| it.exists).for_each(|it| each(&mut it.epoch));
        for flight in &mut self.flights {
            if let Flight::Write { epoch, .. } = flight {
                each(epoch);
            }
        }
        match &mut self.lag {
            Lag::Arm(_, it) if it.exists => each(&mut it.epoch),
            Lag::Route(_, it) if it.exists => each(&mut it.epoch),
            _ => {}
        }
    }

    fn versions(
        &mut self,
        repairs: &impl Fn(u32) -> Repaired,
        target: &impl Fn(u16) -> Object,
        carrier: &impl Fn(u8) -> Object,
        mut each: impl FnMut(Object, &mut u8),
    ) {
        for ro in self.ros().filter(|it| it.fences[0] != 0) {
            let of = repairs(ro.body);
            let met = ro.fences.iter_mut().zip(of).filter_map(|(it, of)| Some((it, of?)));
            met.for_each(|(it, of)| each(of, it));
        }
        each(Object::Ro, &mut self.ro.version);
        self.durable.iter_mut().for_each(|it| each(Object::Ro, &mut it.version));
        for (at, arm) in (0..).zip(&mut self.arms) {
            each(carrier(at), &mut arm.version);
        }
        for (at, route) in (0..).zip(&mut self.routes) {
            each(Object::Route(at), &mut route.version);
        }
        if self.owner.is != OwnerSt::Nobody {
            each(Object::Owner, &mut self.owner.version);
        }
        for flight in &mut self.flights {
            match flight {
                Flight::Save { base, .. } => each(Object::Ro, base),
                Flight::Write { change, fence, .. } if *fence != ABSENT => each(target(*change), fence),
                Flight::None | Flight::Write { .. } => {}
            }
        }
        match &mut self.lag {
            Lag::Ro(it) => each(Object::Ro, &mut it.version),
            Lag::Arm(at, it) => each(carrier(*at), &mut it.version),
            Lag::Route(at, it) => each(Object::Route(*at), &mut it.version),
            Lag::Owner(it) => each(Object::Owner, &mut it.version),
            Lag::None | Lag::Wanted(_) | Lag::Unread(_) => {}
        }
    }
}

/// How many of `present` are no larger than `it`.
fn rank(present: u64, it: u8) -> u8 {
    u8::try_from((present & ((1 << it) - 1)).count_ones() + 1).unwrap()
}

/// The objects of the repairs that a status remembers.
pub type Repaired = [Option<Object>; REPAIRS];

/// Which times a status has.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    pub held: bool,
    pub waits: bool,
    pub down: bool,
    pub repairs: usize,
    pub recent: usize,
}

/// What has a version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Object {
    Ro,
    Arm(u8),
    Route(u8),
    Owner,
}

impl Object {
    const COUNT: usize = 2 + REVISIONS + ROUTES;

    fn number(self) -> usize {
        match self {
            Self::Ro => 0,
            Self::Owner => 1,
            Self::Arm(at) => 2 + usize::from(at),
            Self::Route(at) => 2 + REVISIONS + usize::from(at),
        }
    }
}
