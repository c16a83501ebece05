//! The world of one rollout on this machine: its processes or upstreams, and its route through the proxy.
//!
//! # Crash safety
//! A write first becomes a durable intent, fenced by the version the decision saw. Only then are supervisor and
//! workers told, and they are told again at every look until they have it; so a crash in between costs time only.
//! No weight is applied before its intent is on the disk.
//!
//! # Endpoints
//! Replicas that are not ready are taken out of the proxy's configuration at once, without a decision. If none of an
//! arm's is ready, those that run stay in: a check that fails everywhere at once says more about the check, an empty
//! arm would fail every request for sure, and what cannot be connected to falls back to stable and is counted.
//!
//! A replica that is to go is first taken out of the configuration, then waits until every worker has applied that and
//! no request is in flight on it, at most [`DRAIN`], and only then is asked to end.

mod enact;
mod environment;
mod fresh;
mod hosts;
mod look;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use analysis::judge::Baseline;
use jiff::Timestamp;
use strategies::{Arm, Change, Epoch, Fence, Revision, RouteId, Split, Status, World, Write};
use tokio::sync::{broadcast, watch};

pub use look::Replica;

use hosts::Hosts;

use super::{
    fleet::{Fleet, Known},
    object::{ArmIntent, Intent, RouteIntent, arm_key, resize, route_key},
    release::{Runs, StoredRelease},
};
use crate::{
    api::view::AddressView,
    clock,
    local::{
        proxy::BadStreakSeen,
        readiness::Prober,
        store::{Object, StoreThread},
        supervisor::{
            Client,
            protocol::{Observation, ProcessId},
        },
    },
    port::{Outside, Unavailable, WriteError},
    router::Proxy,
};

/// How long a replica that is to go may keep requests that are in flight on it.
pub const DRAIN: Duration = Duration::from_secs(30);

/// What the document asks for now.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The revision that is wanted.
    pub revision: Revision,
    /// Replicas that carry all the traffic.
    pub replicas: u32,
    /// The rollout is being deleted.
    pub leaving: bool,
    /// The route's name in the plan.
    pub route: RouteId,
    /// What moves the traffic.
    pub proxy: Proxy,
    /// What the canary is compared with.
    pub baseline: Baseline,
    /// The releases of an upstream that run now, by revision; empty for processes.
    pub upstreams: BTreeMap<Revision, Vec<crate::written::Address>>,
}

/// The parts of the machine that all rollouts share.
#[derive(Clone)]
pub struct Machine {
    /// What survives.
    pub store: StoreThread,
    /// What runs processes.
    pub supervisor: Client,
    /// What serves requests.
    pub fleet: Fleet,
}

/// The world of one rollout.
pub struct Site {
    name: String,
    machine: Machine,
    asked: Asked,
    releases: BTreeMap<Revision, StoredRelease>,
    objects: BTreeMap<String, Object<Intent>>,
    prober: Prober,
    /// Signs sticky cookies.
    sticky_key: String,
    /// The last look at the supervisor.
    seen: Option<Observation>,
    /// The status at the last look: names stable for the fallback, and the authority.
    status: Option<Status>,
    /// Replicas that are to go, and since when.
    going: BTreeMap<ProcessId, Timestamp>,
    /// Where upstreams are.
    hosts: Hosts,
    /// Nothing is served any more.
    gone: bool,
    /// What could not be done, by what.
    troubles: BTreeMap<String, (String, Timestamp)>,
    /// When to look again because something of ours is under way.
    look_again: Option<Duration>,
    /// Where users reach it.
    addresses: Vec<AddressView>,
    /// When it was read last what the processes use.
    used: Option<Timestamp>,
    /// Changes with what the workers have followed, or fail of.
    news: watch::Receiver<Known>,
    /// Revisions that fail, of any rollout.
    streaks: broadcast::Receiver<Arc<BadStreakSeen>>,
}

impl Site {
    /// Takes up what was stored of a rollout; the proxy serves as it was asked before this returns.
    ///
    /// # Errors
    /// When the store cannot be read or the proxy not be told.
    pub async fn open(
        name: &str,
        machine: Machine,
        asked: Asked,
        sticky_key: String,
        status: Option<Status>,
    ) -> Result<Self, Unavailable> {
        let (rollout, cannot) = (name.to_owned(), "cannot read what was asked of the world");
        let objects = machine.store.read(move |store| store.objects::<Intent>(&rollout)).await;
        let objects = objects.map_err(|error| Unavailable::new(cannot, &error))?;
        let (news, streaks) = (machine.fleet.news(name), machine.fleet.streaks());
        let mut site = Self {
            name: name.to_owned(),
            machine,
            asked,
            releases: BTreeMap::new(),
            objects: objects.into_iter().map(|it| (it.name.clone(), it)).collect(),
            prober: Prober::default(),
            sticky_key,
            seen: None,
            status,
            going: BTreeMap::new(),
            hosts: Hosts::default(),
            gone: false,
            troubles: BTreeMap::new(),
            look_again: None,
            addresses: vec![],
            used: None,
            news,
            streaks,
        };
        site.read_releases().await?;
        site.look().await?;
        // Whatever served before goes on: its hosts are known before the proxy is told anything.
        site.hosts.all().await;
        site.look().await?;
        site.serve().await?;
        Ok(site)
    }

    /// The document was applied again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn ask(&mut self, asked: Asked) -> Result<(), Unavailable> {
        self.asked = asked;
        self.read_releases().await
    }

    async fn read_releases(&mut self) -> Result<(), Unavailable> {
        let rollout = self.name.clone();
        let releases = self.machine.store.read(move |store| store.revisions::<StoredRelease>(&rollout)).await;
        let releases = releases.map_err(|error| Unavailable::new("cannot read the revisions", &error))?;
        self.releases = releases.into_iter().map(|it| (it.revision.into(), it.body)).collect();
        Ok(())
    }

    /// The replicas of every arm.
    #[must_use]
    pub fn replicas(&self) -> BTreeMap<Arm, Vec<Replica>> {
        let arms = self.arms();
        arms.into_iter().map(|arm| (arm.clone(), self.replicas_of(&arm))).collect()
    }

    /// Everything that is there or is to be there, also what the machine does not know.
    fn arms(&self) -> BTreeSet<Arm> {
        self.machines_arms().into_iter().chain(self.fresh().map(|it| it.arm)).collect()
    }

    /// What the machine asked for.
    fn machines_arms(&self) -> BTreeSet<Arm> {
        let intents = self.objects.values().filter_map(|it| match &it.body {
            Intent::Arm(it) => Some(it.arm.clone()),
            Intent::Route(_) => None,
        });
        intents.chain(self.asked.upstreams.keys().cloned().map(Arm::main)).collect()
    }

    fn arm_intent(&self, arm: &Arm) -> Option<(&ArmIntent, u64)> {
        let object = self.objects.get(&arm_key(arm))?;
        match &object.body {
            Intent::Arm(intent) => Some((intent, object.fence)),
            Intent::Route(_) => None,
        }
    }

    fn route_intent(&self) -> Option<(&RouteIntent, u64)> {
        let object = self.objects.get(&route_key(&self.asked.route))?;
        match &object.body {
            Intent::Route(intent) => Some((intent, object.fence)),
            Intent::Arm(_) => None,
        }
    }

    fn epoch(&self) -> Epoch {
        let stored = self.status.as_ref().map(|it| it.epoch).unwrap_or_default();
        let highest = self.seen.as_ref().and_then(|it| it.epochs.get(&self.name)).copied().unwrap_or(0);
        // What is told again after a crash is told with what the supervisor knows already, never with less.
        stored.max(Epoch(highest))
    }

    fn trouble(&mut self, what: &str, text: Option<String>) {
        match text {
            None => drop(self.troubles.remove(what)),
            Some(text) => {
                let since = self.troubles.get(what).map_or_else(clock::now, |(_, since)| *since);
                self.troubles.insert(what.to_owned(), (text, since));
            }
        }
    }

    async fn keep(&mut self, key: String, fence: Fence, intent: Intent) -> Result<(), WriteError> {
        let (rollout, now, body, name) = (self.name.clone(), clock::now(), intent.clone(), key.clone());
        let expected = expected(fence);
        let saved =
            self.machine.store.commit(move |it| it.save_object(&rollout, &name, expected, now, &body));
        let fence = saved.await?;
        self.objects.insert(key.clone(), Object { name: key, fence, at: now, body: intent });
        Ok(())
    }

    async fn size(&mut self, arm: &Arm, replicas: u32, write: &Write) -> Result<(), WriteError> {
        let present = self.arm_intent(arm).map(|(it, _)| it.ordinals.clone()).unwrap_or_default();
        if !self.releases.contains_key(&arm.revision) {
            let why = format!("revision {} is not known on this machine; apply it again", arm.revision);
            return Err(WriteError::Refused { why });
        }
        let ready = self.replicas_of(arm).into_iter().filter(|it| it.ready).map(|it| it.ordinal).collect();
        let ordinals = resize(&present, replicas, &ready);
        let intent = ArmIntent { arm: arm.clone(), ordinals, epoch: write.epoch };
        self.keep(arm_key(arm), write.fence, Intent::Arm(intent)).await?;
        self.carry_out().await;
        Ok(())
    }

    async fn split(&mut self, split: &Split, write: &Write) -> Result<(), WriteError> {
        let before = self.machine.fleet.acknowledged(&self.name).map(|it| it.split);
        let intent = RouteIntent {
            route: self.asked.route.clone(),
            split: split.clone(),
            epoch: Some(write.epoch),
            before,
        };
        self.keep(route_key(&self.asked.route), write.fence, Intent::Route(intent)).await?;
        Ok(self.serve().await?)
    }
}

/// The version the store is told; an arm of an upstream exists without an object, and then none is expected.
fn expected(fence: Fence) -> u64 {
    match fence {
        Fence::Absent => 0,
        Fence::At(version) => version,
    }
}

impl Outside for Site {
    async fn observe(&mut self, status: &Status) -> Result<World, Unavailable> {
        self.status = Some(status.clone());
        self.look().await?;
        Ok(self.world())
    }

    async fn enact(&mut self) {
        self.carry_out().await;
    }

    async fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        match &write.change {
            Change::Create(arm, replicas) => self.size(arm, *replicas, write).await,
            Change::Size(sizes) => match sizes.iter().next() {
                Some((arm, replicas)) if sizes.len() == 1 => self.size(arm, *replicas, write).await,
                Some(_) | None => Err(WriteError::Refused {
                    why: "each revision of this machine is sized by itself".into(),
                }),
            },
            Change::Claim(arm) => {
                let ordinals = self.arm_intent(arm).map(|(it, _)| it.ordinals.clone()).unwrap_or_default();
                let intent = ArmIntent { arm: arm.clone(), ordinals, epoch: write.epoch };
                self.keep(arm_key(arm), write.fence, Intent::Arm(intent)).await
            }
            Change::Remove(arm) => {
                let (rollout, key, expected) = (self.name.clone(), arm_key(arm), expected(write.fence));
                let name = key.clone();
                let removed =
                    self.machine.store.commit(move |it| it.remove_object(&rollout, &name, expected));
                removed.await?;
                self.objects.remove(&key);
                self.carry_out().await;
                Ok(())
            }
            Change::Split(_, split) => self.split(split, write).await,
            Change::Restore(_) | Change::Own(_) => {
                Err(WriteError::Refused { why: "on this machine nothing is anybody else's".into() })
            }
        }
    }
}

/// Names of the environment variables and arguments never matter here, only whether it is processes.
fn is_process(release: &StoredRelease) -> bool {
    match release.runs {
        Runs::Process { .. } => true,
        Runs::Upstream { .. } => false,
    }
}
