use std::{collections::BTreeMap, time::Duration};

use analysis::judge::Baseline;
use strategies::{Arm, Revision};

use super::failing::Trial;
use crate::{
    analyses::{Counted, FreshNow, PodHealth},
    api::view::{AddressView, ReplicaView, Trouble},
    port::{Outside, Unavailable},
    written::Fact,
};

/// What a rollout at work asks of whatever runs it, besides what the engine observes and writes.
pub trait Environment: Outside + Sync {
    /// What counters of this runtime have counted of this rollout, one reading of each that answered; empty where nobody
    /// of ours counts.
    fn counted(&mut self) -> impl Future<Output = Vec<Counted>> + Send;

    /// The pods or processes of all arms; `None`: they could not be read.
    fn pods(&mut self, depth: Depth) -> impl Future<Output = Option<Vec<PodHealth>>> + Send;

    /// What is known of the replicas of a revision, for the texts of metrics: of all of them, or, with
    /// [`Baseline::Fresh`], of the fresh ones only. What is not known is left out.
    fn facts(&self, revision: &Revision, of: Baseline) -> BTreeMap<Fact, String>;

    /// Every arm that is there or is to be there.
    fn arms(&self) -> Vec<ArmNow>;

    /// What fresh replicas of stable get of the requests; `None`: nothing.
    fn fresh(&self) -> Option<FreshNow>;

    /// How the replicas of an arm do that have to get ready.
    fn trial(&self, arm: &Arm) -> Trial;

    /// Where users reach it.
    fn addresses(&self) -> Vec<AddressView>;

    /// What could not be done, and since when.
    fn troubles(&self) -> Vec<Trouble>;

    /// How often it is to be looked although nothing tells.
    fn pace(&self) -> Pace;

    /// When to look again because something of the runtime's own is under way that tells nobody when it is done.
    fn look_again(&self) -> Option<Duration>;

    /// Waits until something has happened that this rollout has to know of. Cancel safe.
    fn changed(&mut self) -> impl Future<Output = News> + Send;

    /// Ends everything of this rollout that the runtime keeps beside the objects the machine knows; answers whether
    /// nothing is left.
    ///
    /// # Errors
    /// When that cannot be told to whoever has to do it; to be tried again.
    fn dissolve(&mut self) -> impl Future<Output = Result<bool, Unavailable>> + Send;
}

/// How deep pods are looked into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// Whether they run and are ready.
    Health,
    /// Also what they use, as often as the runtime finds that worth its price.
    Usage,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum News {
    /// Something that may change the world.
    Changed,
    /// A revision fails: what is there is to be judged at once.
    Fails,
}

/// How often a runtime wants to be looked at where it does not tell by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// Between two readings of the counters while something moves or somebody watches; `None`: only when a judge wants
    /// one.
    pub counts: Option<Duration>,
    /// Between two looks of the guard on pods. A runtime that tells when a pod changes gives a long one.
    pub pods: Duration,
}

/// The replicas of one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmNow {
    /// Which.
    pub arm: Arm,
    /// Replicas asked for.
    pub desired: u32,
    /// Replicas that can serve; `None`: not known right now.
    pub ready: Option<u32>,
    /// One by one, where the runtime knows them so.
    pub replicas: Vec<ReplicaView>,
}
