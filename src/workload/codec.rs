use std::collections::BTreeMap;

use jiff::Timestamp;
use strategies::{
    Amount, Arm, ArmSeen, Change, Epoch, HumanDuration, Name, Owner, OwnerGoal, Phase, Revision, Scaler,
    Seen, Sizing, Status,
};

use crate::object::{Kind, Misshapen, Need, ObjectWrite, Objects, Towards, Trouble};

/// One kind of workload of a cluster: how it is read, and the next write towards what delivery asks of it. PURE.
///
/// In the middle stand small typed facts; JSON is met in [`read`](Self::read) and [`write`](Self::write) only, so that a
/// model checker can hold the facts and walk every way through [`towards`](Self::towards).
///
/// What an adapter must keep: a write is computed from the objects of the very observation that the decision saw, and
/// the fences are theirs; it makes one write, observes, decides and asks again.
pub trait WorkloadCodec {
    /// What was observed, typed and small.
    type Facts;
    /// One write, typed.
    type Edit;

    /// Which kind.
    fn kind(&self) -> Kind;

    /// How its replicas are moved.
    fn sizing(&self) -> Sizing;

    /// What a runtime must watch for the workload of this name; less while no rollout runs.
    fn needs(&self, workload: &Name, active: bool) -> Vec<Need>;

    /// What it says of its own updates; `None`: there is no such workload.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn declared(&self, objects: &Objects, workload: &Name) -> Result<Option<WorkloadFacts>, Misshapen>;

    /// The facts; `None`: there is no such workload.
    ///
    /// # Errors
    /// An object that is not shaped as its kind says.
    fn read(&self, objects: &Objects, standing: &Standing) -> Result<Option<Self::Facts>, Misshapen>;

    /// What the machine gets to see of them.
    fn look(&self, facts: &Self::Facts, standing: &Standing) -> Look;

    /// The next edit towards what is asked.
    fn towards(&self, ask: &Ask<'_>, facts: &Self::Facts, standing: &Standing) -> Towards<Self::Edit>;

    /// An edit as a write to one object.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn write(
        &self,
        edit: &Self::Edit,
        objects: &Objects,
        standing: &Standing,
    ) -> Result<ObjectWrite, Misshapen>;

    /// Typical and extreme workloads that the conformance suite plays through.
    fn examples(&self) -> Vec<WorkloadExample>;
}

/// What a workload says of its own updates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WorkloadFacts {
    /// How it goes from one version to the next.
    pub update: OwnUpdate,
    /// How long a replica must have been ready to count.
    pub min_ready: HumanDuration,
}

/// How a workload goes from one version to the next by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OwnUpdate {
    /// Some replicas at a time.
    Rolling {
        /// So many above the wanted number.
        surge: Amount,
        /// So many may be missing.
        unavailable: Amount,
    },
    /// All stop before any starts: no two versions run side by side.
    Recreate,
}

/// One workload as it stands in a cluster.
#[derive(Clone, Debug)]
pub struct WorkloadExample {
    /// What is special about it.
    pub name: &'static str,
    /// Its name.
    pub workload: Name,
    /// It and what belongs to it, at rest.
    pub objects: Vec<serde_json::Value>,
    /// Itself with another template, as the user's tools change it.
    pub changed: serde_json::Value,
}

/// A [`WorkloadCodec`] whose facts nobody needs to name.
pub trait Workloads: Sync {
    /// See [`WorkloadCodec::kind`].
    fn kind(&self) -> Kind;

    /// See [`WorkloadCodec::sizing`].
    fn sizing(&self) -> Sizing;

    /// See [`WorkloadCodec::needs`].
    fn needs(&self, workload: &Name, active: bool) -> Vec<Need>;

    /// See [`WorkloadCodec::declared`].
    ///
    /// # Errors
    /// As [`Self::look`].
    fn declared(&self, objects: &Objects, workload: &Name) -> Result<Option<WorkloadFacts>, Misshapen>;

    /// What the machine gets to see; absent: there is no such workload.
    ///
    /// # Errors
    /// An object that is not shaped as its kind says.
    fn look(&self, objects: &Objects, standing: &Standing) -> Result<Seen<Look>, Misshapen>;

    /// The next write towards what is asked.
    ///
    /// # Errors
    /// As [`Self::look`].
    fn towards(
        &self,
        ask: &Ask<'_>,
        objects: &Objects,
        standing: &Standing,
    ) -> Result<Towards<ObjectWrite>, Misshapen>;

    /// See [`WorkloadCodec::examples`].
    fn examples(&self) -> Vec<WorkloadExample>;
}

impl<C: WorkloadCodec + Sync> Workloads for C {
    fn kind(&self) -> Kind {
        WorkloadCodec::kind(self)
    }

    fn sizing(&self) -> Sizing {
        WorkloadCodec::sizing(self)
    }

    fn needs(&self, workload: &Name, active: bool) -> Vec<Need> {
        WorkloadCodec::needs(self, workload, active)
    }

    fn declared(&self, objects: &Objects, workload: &Name) -> Result<Option<WorkloadFacts>, Misshapen> {
        WorkloadCodec::declared(self, objects, workload)
    }

    fn look(&self, objects: &Objects, standing: &Standing) -> Result<Seen<Look>, Misshapen> {
        let unread =
            WorkloadCodec::needs(self, &standing.workload, true).iter().any(|it| objects.is_unread(&it.kind));
        if unread {
            return Ok(Seen::Unread);
        }
        Ok(match self.read(objects, standing)? {
            Some(facts) => Seen::Is(WorkloadCodec::look(self, &facts, standing)),
            None => Seen::Absent,
        })
    }

    fn towards(
        &self,
        ask: &Ask<'_>,
        objects: &Objects,
        standing: &Standing,
    ) -> Result<Towards<ObjectWrite>, Misshapen> {
        let Some(facts) = self.read(objects, standing)? else {
            let kind = WorkloadCodec::kind(self).kind;
            return Ok(Towards::Refused(format!("there is no {kind} {}: apply it first", standing.workload)));
        };
        let edit = WorkloadCodec::towards(self, ask, &facts, standing);
        edit.try_map(|it| self.write(&it, objects, standing))
    }

    fn examples(&self) -> Vec<WorkloadExample> {
        WorkloadCodec::examples(self)
    }
}

/// What a codec must know of the rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Name of the workload.
    pub workload: Name,
    /// Name of the Rollout.
    pub rollout: Name,
    /// Its `metadata.uid`: what we take or make is owned by it.
    pub uid: Name,
    /// The revision that serves users.
    pub stable: Option<Revision>,
    /// The revision on trial.
    pub canary: Option<Revision>,
    /// Where the rollout stands.
    pub phase: Phase,
    /// The authority that writes are made under.
    pub epoch: Epoch,
    /// Which try it is.
    pub attempt: u32,
    /// Replicas that the Rollout itself asks for; `None`: what the workload says.
    pub replicas: Option<u32>,
    /// Fields of the template that make no release, as JSON pointers below it.
    pub ignored: Vec<String>,
    /// Now, for conditions that carry a time.
    pub now: Timestamp,
}

impl Standing {
    /// The rollout's part of it.
    #[must_use]
    pub fn with(mut self, status: &Status) -> Self {
        self.stable.clone_from(&status.stable);
        self.canary = status.canary.clone().filter(|it| Some(it) != status.stable.as_ref());
        self.phase = status.phase.clone();
        self.epoch = status.epoch;
        self.attempt = status.attempt;
        self
    }
}

/// What is asked of a workload.
#[derive(Clone, Debug)]
pub enum Ask<'a> {
    /// Of the instance manager.
    Own(&'a OwnerGoal),
    /// Make this arm, with so many replicas.
    Create(&'a Arm, u32),
    /// Ask for so many replicas.
    Size(&'a BTreeMap<Arm, u32>),
    /// Stamp this arm with the epoch.
    Claim(&'a Arm),
    /// Retire this arm.
    Remove(&'a Arm),
}

impl<'a> Ask<'a> {
    /// What a change asks of the workload; `None`: it is about a route.
    #[must_use]
    pub fn of(change: &'a Change) -> Option<Self> {
        match change {
            Change::Create(arm, replicas) => Some(Self::Create(arm, *replicas)),
            Change::Size(sizes) => Some(Self::Size(sizes)),
            Change::Claim(arm) => Some(Self::Claim(arm)),
            Change::Remove(arm) => Some(Self::Remove(arm)),
            Change::Own(goal) => Some(Self::Own(goal)),
            Change::Split(..) | Change::Restore(_) => None,
        }
    }
}

/// What the machine gets to see of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The revision of its present template.
    pub revision: Revision,
    /// Replicas that carry all the traffic.
    pub replicas: u32,
    /// Who else writes that number.
    pub scaler: Option<Scaler>,
    /// The instance manager.
    pub owner: Owner,
    /// The arms.
    pub arms: BTreeMap<Arm, ArmSeen>,
    /// By what the pods of each arm are told apart.
    pub hashes: BTreeMap<Arm, Name>,
    /// Whether pods can be told apart by the hash in their names.
    pub named: PodNames,
    /// What a person should see.
    pub troubles: Vec<Trouble>,
}

/// Whether the names of pods say which arm they are of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PodNames {
    /// They begin with the name of the workload and the hash of the arm.
    ByHash,
    /// They are cut off before that: whoever asks for an arm's pods is given a list of them.
    Listed,
}
