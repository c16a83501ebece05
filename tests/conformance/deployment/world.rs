//! One Deployment, its ReplicaSets and the rollout of it, small enough to be walked through.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serinus::{
    object::Towards,
    workload::{
        Ask, Deployment, DeploymentSeen, Edit, Facts, Look, SetOwner, SetSeen, Standing, Template,
        WorkloadCodec,
    },
};
use strategies::{
    Acknowledged, Action, Arm, Change, Decision, Dest, Epoch, Fence, Name, Next, Order, Orders, Phase, Plan,
    Revision, RouteSeen, Seen, Split, Status, Wanted, Weight, World, decide,
};

use super::{config::Config, mutants::Mutant};

/// Which template: of which release, and whether `rollout restart` has touched it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tpl {
    pub release: u8,
    pub restarted: bool,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Set {
    pub id: u8,
    pub template: Tpl,
    pub owner: SetOwner,
    pub desired: u32,
    pub pods: u32,
    pub ready: u32,
    pub epoch: Option<Epoch>,
    pub made: bool,
    pub held: Option<u32>,
    /// What the controller noted when it sized it: wanted, and most.
    pub noted: Option<(u32, u32)>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Route {
    pub asked: Split,
    pub epoch: Option<Epoch>,
}

/// What the engine is about to do, decided on a world that may be another one by then.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Flight {
    Save(Box<Status>),
    Edit(Edit),
    Route(Route),
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Budget {
    pub pushes: u8,
    pub restarts: u8,
    pub scales: u8,
    pub aborts: u8,
    pub leaves: u8,
    pub deletions: u8,
    pub late: u8,
}

/// What really happened, for the properties that speak of the past.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Ghost {
    /// Pods that were born without anybody having asked for them, by release.
    pub unasked: [u8; 4],
    /// Pods that may still be born, by release.
    pub credit: [u32; 4],
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct St {
    pub template: Tpl,
    pub paused: bool,
    pub replicas: u32,
    pub refused: Option<Revision>,
    pub managed: bool,
    pub leaving: bool,
    /// No policy holds a new template: the engine has to catch it.
    pub catches: bool,
    /// The replicas are the split: no route says what a release needs.
    pub by_ratio: bool,
    pub sets: Vec<Set>,
    pub kept: BTreeSet<u8>,
    pub route: Route,
    pub status: Status,
    pub orders: Orders,
    pub flight: Option<(Flight, bool)>,
    pub budget: Budget,
    pub ghost: Ghost,
}

pub fn revision(release: u8) -> Revision {
    format!("v{release}").into()
}

pub fn release(revision: &Revision) -> u8 {
    revision.as_str()[1..].parse().unwrap()
}

pub fn name(id: u8) -> Name {
    format!("shop-{id}").into()
}

pub fn id(name: &Name) -> u8 {
    name.as_str()[5..].parse().unwrap()
}

pub const NOW: Timestamp = Timestamp::UNIX_EPOCH;
pub const SURGE: u32 = 1;

impl St {
    pub fn new(config: &Config) -> Self {
        let set = |release: u8, replicas: u32| Set {
            id: release,
            template: Tpl { release, restarted: false },
            owner: SetOwner::Deployment,
            desired: replicas,
            pods: replicas,
            ready: replicas,
            epoch: None,
            made: false,
            held: None,
            noted: Some((config.replicas, config.replicas + SURGE)),
        };
        Self {
            template: Tpl { release: 1, restarted: false },
            paused: false,
            replicas: config.replicas,
            refused: None,
            managed: false,
            leaving: false,
            catches: config.catches,
            by_ratio: config.by_ratio,
            sets: vec![set(0, 0), set(1, config.replicas)],
            kept: BTreeSet::new(),
            route: Route { asked: Split::all_to(Dest::Arm(Arm::main(revision(1)))), epoch: None },
            status: Status::new(NOW),
            orders: Orders::default(),
            flight: None,
            budget: config.budget,
            ghost: Ghost::default(),
        }
    }

    pub fn standing(&self) -> Standing {
        Standing {
            workload: "shop".into(),
            rollout: "shop".into(),
            uid: "rollout-uid".into(),
            stable: None,
            canary: None,
            phase: Phase::Adopting,
            epoch: Epoch(0),
            attempt: 0,
            replicas: None,
            ignored: vec![],
            now: NOW,
        }
        .with(&self.status)
    }

    pub fn facts(&self) -> Facts {
        let template = |it: Tpl| Template(u32::from(it.release) * 2 + u32::from(it.restarted));
        let set = |it: &Set| SetSeen {
            name: name(it.id),
            template: template(it.template),
            revision: revision(it.template.release),
            owner: it.owner,
            desired: it.desired,
            pods: it.pods,
            available: it.ready,
            epoch: it.epoch,
            made: it.made,
            held: it.held,
            hash: name(it.id),
            fence: Fence::At(1),
        };
        Facts {
            deployment: DeploymentSeen {
                template: template(self.template),
                revision: revision(self.template.release),
                paused: self.paused,
                replicas: self.replicas,
                surge: SURGE,
                recreates: false,
                refused: self.refused.clone(),
                managed: self.managed,
                bypass: false,
                fence: Fence::At(1),
                short: true,
            },
            sets: self.sets.iter().map(set).collect(),
            kept: self.kept.iter().map(|it| revision(*it)).collect(),
            scaler: None,
        }
    }

    pub fn look(&self) -> Look {
        Deployment.look(&self.facts(), &self.standing())
    }

    pub fn world(&self, plan: &Plan) -> World {
        let look = self.look();
        let acknowledged = Some(Acknowledged { split: self.route.asked.clone(), since: NOW });
        let seen = RouteSeen {
            asked: self.route.asked.clone(),
            epoch: self.route.epoch,
            acknowledged,
            manager: None,
            fence: Fence::At(1),
        };
        World {
            leaving: self.leaving,
            wanted: Seen::Is(Wanted {
                revision: look.revision,
                replicas: look.replicas,
                scaler: look.scaler,
            }),
            arms: look.arms.into_iter().map(|(arm, it)| (arm, Seen::Is(it))).collect(),
            routes: plan.routes().map(|(route, _)| (route.clone(), Seen::Is(seen.clone()))).collect(),
            owner: Seen::Is(look.owner),
            ran: BTreeMap::new(),
        }
    }

    pub fn decides(&self, plan: &Plan) -> Decision {
        decide(plan, &self.status, &self.orders, &self.world(plan), NOW)
    }

    /// What the engine does next; `None`: nothing.
    pub fn next(&self, plan: &Plan, mutant: Mutant) -> Option<Flight> {
        let write = match self.decides(plan).next {
            Next::Rest => return None,
            Next::Save(status) => return Some(Flight::Save(status)),
            Next::Write(write) => write,
        };
        match (&write.change, Ask::of(&write.change)) {
            (_, Some(ask)) => match mutant.towards(&ask, self) {
                Towards::Write(edit) => Some(Flight::Edit(edit)),
                Towards::Reached | Towards::Theirs(_) | Towards::Refused(_) => None,
            },
            (Change::Split(_, split), None) => {
                Some(Flight::Route(Route { asked: split.clone(), epoch: Some(write.epoch) }))
            }
            (_, None) => None,
        }
    }

    /// Which object a flight is about: the ReplicaSet, or the Deployment.
    fn target(edit: &Edit) -> Option<u8> {
        match edit {
            Edit::Pause | Edit::Unpause | Edit::Disown | Edit::Scale(_) | Edit::Tell(_) | Edit::Untell => {
                None
            }
            Edit::Keep(_) | Edit::Create { .. } | Edit::Revive { .. } => Some(u8::MAX),
            Edit::Detach(set)
            | Edit::TakeOver { set, .. }
            | Edit::Offer { set, .. }
            | Edit::Return(set)
            | Edit::Resize { set, .. }
            | Edit::Stamp(set)
            | Edit::Unstamp(set)
            | Edit::Retire(set)
            | Edit::Delete(set) => Some(id(set)),
        }
    }

    /// An object has another version: what was decided on the one before will be refused.
    pub fn touched(&mut self, object: Option<u8>) {
        if let Some((Flight::Edit(edit), valid)) = &mut self.flight
            && Self::target(edit) == object
        {
            *valid = false;
        }
    }

    pub fn set(&mut self, id: u8) -> Option<&mut Set> {
        self.sets.iter_mut().find(|it| it.id == id)
    }

    pub fn apply(&mut self, flight: Flight) {
        match flight {
            Flight::Save(status) => self.status = *status,
            Flight::Route(route) => self.route = route,
            Flight::Edit(edit) => {
                let target = Self::target(&edit);
                self.edit(edit);
                self.touched(target);
            }
        }
    }

    fn edit(&mut self, edit: Edit) {
        let (epoch, replicas, attempt) = (self.status.epoch, self.replicas, self.status.attempt);
        match edit {
            Edit::Pause => (self.paused, self.managed) = (true, true),
            // Who removes a field manages nothing by that.
            Edit::Unpause => self.paused = false,
            Edit::Disown => self.managed = false,
            Edit::Scale(it) => self.replicas = it,
            Edit::Tell(it) => self.refused = Some(it),
            Edit::Untell => self.refused = None,
            Edit::Keep(it) => drop(self.kept.insert(release(&it))),
            Edit::Create { revision, replicas } => self.make(&revision, replicas, SetOwner::Rollout),
            Edit::Revive { revision, replicas } => self.make(&revision, replicas, SetOwner::Nobody),
            Edit::Delete(set) => self.sets.retain(|it| it.id != id(&set)),
            Edit::Detach(set) => self.change(&set, |it| {
                (it.owner, it.held) = (SetOwner::Rollout, Some(attempt));
                it.epoch = it.epoch.filter(|_| it.desired > 0);
            }),
            Edit::TakeOver { set, replicas } => self.change(&set, |it| {
                (it.owner, it.desired, it.epoch) = (SetOwner::Rollout, replicas, Some(epoch));
                it.held = Some(attempt);
            }),
            Edit::Offer { set, .. } => self.change(&set, |it| {
                (it.owner, it.made, it.held) = (SetOwner::Nobody, false, None);
                it.noted = Some((replicas, replicas + SURGE));
            }),
            Edit::Return(set) => self.change(&set, |it| {
                (it.owner, it.epoch, it.held) = (SetOwner::Nobody, None, None);
            }),
            Edit::Resize { set, replicas } => self.change(&set, |it| {
                (it.desired, it.epoch) = (replicas, Some(epoch));
            }),
            Edit::Stamp(set) => self.change(&set, |it| it.epoch = Some(epoch)),
            Edit::Unstamp(set) => self.change(&set, |it| it.epoch = None),
            Edit::Retire(set) => self.change(&set, |it| (it.desired, it.epoch) = (0, None)),
        }
    }

    /// What the engine asks for may be born.
    fn change(&mut self, set: &Name, change: impl FnOnce(&mut Set)) {
        let Some(it) = self.set(id(set)) else { return };
        let before = it.desired;
        change(it);
        let (release, more) = (usize::from(it.template.release), it.desired.saturating_sub(before));
        self.ghost.credit[release] += more;
    }

    fn make(&mut self, revision: &Revision, replicas: u32, owner: SetOwner) {
        let release = release(revision);
        let id = 10 + release;
        if self.sets.iter().any(|it| it.id == id) {
            return;
        }
        // A restart that is ignored is in the Deployment's template, and in the kept one it is not.
        let restarted =
            self.template.release == release && self.template.restarted && owner == SetOwner::Rollout;
        let noted = (owner == SetOwner::Nobody).then_some((self.replicas, self.replicas + SURGE));
        self.ghost.credit[usize::from(release)] += replicas;
        self.sets.push(Set {
            id,
            template: Tpl { release, restarted },
            owner,
            desired: replicas,
            pods: 0,
            ready: 0,
            epoch: (owner == SetOwner::Rollout).then_some(self.status.epoch),
            made: owner == SetOwner::Rollout,
            held: None,
            noted,
        });
    }

    /// A person orders that the canary be given up.
    pub fn abort(&mut self) -> Option<()> {
        let canary = self.status.canary.clone()?;
        self.orders.0.push(Order {
            id: format!("abort-{}", self.status.attempt).into(),
            action: Action::Abort,
            revision: canary,
            attempt: self.status.attempt,
            step: None,
            by: "someone".into(),
            reason: None,
            not_after: None,
        });
        Some(())
    }

    /// Ready replicas of a release.
    pub fn ready(&self, release: u8) -> u32 {
        self.sets.iter().filter(|it| it.template.release == release).map(|it| it.ready).sum()
    }

    /// Ready replicas that the traffic of a release needs.
    pub fn needed(&self, release: u8) -> u32 {
        if self.by_ratio {
            return 0;
        }
        let weight = self.route.asked.weight_of(&Dest::Arm(Arm::main(revision(release))));
        weight.replicas_of(self.replicas).max(u32::from(weight != Weight::ZERO)).min(self.replicas)
    }
}
