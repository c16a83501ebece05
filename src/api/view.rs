//! Everything the control interface says and is told, as JSON. Fields may be added; a reader ignores those it does
//! not know.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strategies::{
    Action, ActivityId, Cause, Ended, Hold, Mode, Name, Order, Phase, Purpose, Revision, Verdict, WaitingFor,
    Weight,
};

mod evidence;
mod words;

pub use words::{cause, hold, said, words};

pub use evidence::{AnalysisView, CalibrationView, Combined, Counts, EvidenceView, MetricView, SightView};

/// Answer of `GET /v1/rollouts`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutList {
    /// By name.
    pub rollouts: Vec<RolloutView>,
    /// How the engine itself is.
    pub health: Health,
}

/// One rollout as it stands now.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// Its name.
    pub name: Name,
    /// Its namespace, in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// When this was put together.
    pub at: Timestamp,
    /// Whether the engine acts at all.
    pub mode: Mode,
    /// Where it stands.
    pub phase: PhaseName,
    /// Why it turns, or turned, back.
    pub cause: Option<Cause>,
    /// Since when it stands there.
    pub since: Timestamp,
    /// The revision that serves users; `None` until the first one does.
    pub stable: Option<Revision>,
    /// The revision on trial, or the one that was tried last and refused.
    pub canary: Option<Revision>,
    /// The revision that the document asks for.
    pub wanted: Option<Revision>,
    /// Version of the document, from 1.
    pub generation: u64,
    /// Which try this is, from 1; 0 before the first.
    pub attempt: u32,
    /// When the present attempt, or the bringing-up of the first revision, began.
    pub started: Option<Timestamp>,
    /// Counts changes of authority.
    pub epoch: u64,
    /// The step it works on, while it works on one.
    pub step: Option<StepView>,
    /// What the canary gets.
    pub weight: WeightView,
    /// The replicas of each revision, stable first.
    pub arms: Vec<ArmView>,
    /// What it waits for; empty: it rests, or acts right now.
    pub waiting: Vec<WaitView>,
    /// Why no step is taken.
    pub hold: Option<Hold>,
    /// What the analyses say that run now, or ran last.
    pub analyses: Vec<AnalysisView>,
    /// What errors the present step can see; `None`: it compares nothing, or stable has shown too little yet.
    #[serde(default)]
    pub sight: Option<SightView>,
    /// Requests by revision since this attempt began (at rest: since its end), stable first.
    pub traffic: Vec<TrafficView>,
    /// What `traffic` was when the attempt in `last` ended, with the roles of then; kept until the next one ends.
    #[serde(default)]
    pub last_traffic: Vec<TrafficView>,
    /// Requests of all revisions in each of the last seconds, oldest first, at most 60; empty while nobody counts.
    pub recent: Vec<Second>,
    /// How the last attempt ended.
    pub last: Option<Ended>,
    /// Orders that would have an effect now.
    pub orders: Vec<Action>,
    /// Where users reach it.
    pub addresses: Vec<AddressView>,
    /// What is wrong with it, as sentences for people: last failures to observe or to write. Empty: nothing.
    pub troubles: Vec<Trouble>,
    /// What replicas of the present or the last attempt failed of.
    #[serde(default)]
    pub failure: Option<FailureView>,
    /// Orders of this attempt that took effect, oldest first.
    #[serde(default)]
    pub given: Vec<GivenOrder>,
}

/// An order that took effect.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GivenOrder {
    /// What was ordered.
    pub action: Action,
    /// By whom: the login name, where this machine knows one.
    pub by: Name,
    /// When it took effect.
    pub at: Timestamp,
    /// Why, in the person's words.
    pub reason: Option<Name>,
}

/// What a replica on trial failed of: kept until the next attempt begins.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureView {
    /// The revision it runs.
    pub revision: Revision,
    /// The attempt; 0 before the first.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
    /// What, in one sentence.
    pub because: String,
    /// Whether its process ended; else it runs and is not ready.
    pub ended: bool,
    /// The last lines it printed, oldest first.
    pub said: Vec<String>,
    /// The file with all that it printed; `None`: it is no process of ours.
    pub log: Option<PathBuf>,
}

/// Where a rollout stands, as a word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum PhaseName {
    /// The first revision is being brought up.
    Adopting,
    /// Stable is what is wanted.
    Idle,
    /// Working on a step.
    Stepping,
    /// The canary has become stable; what is left of the old one goes.
    Promoting,
    /// Turning back.
    Aborting,
    /// Turned back.
    RolledBack,
    /// The rollout is being deleted.
    Leaving,
    /// Nothing of it is left.
    Left,
}

impl From<&Phase> for PhaseName {
    fn from(phase: &Phase) -> Self {
        match phase {
            Phase::Adopting => Self::Adopting,
            Phase::Idle => Self::Idle,
            Phase::Stepping { .. } => Self::Stepping,
            Phase::Promoting => Self::Promoting,
            Phase::Aborting { .. } => Self::Aborting,
            Phase::RolledBack { .. } => Self::RolledBack,
            Phase::Leaving => Self::Leaving,
            Phase::Left => Self::Left,
        }
    }
}

impl PhaseName {
    /// Whether something is under way that ends by itself or by an order.
    #[must_use]
    pub fn is_moving(self) -> bool {
        match self {
            Self::Adopting | Self::Stepping | Self::Promoting | Self::Aborting | Self::Leaving => true,
            Self::Idle | Self::RolledBack | Self::Left => false,
        }
    }
}

impl std::fmt::Display for PhaseName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Adopting => "Adopting",
            Self::Idle => "Idle",
            Self::Stepping => "Stepping",
            Self::Promoting => "Promoting",
            Self::Aborting => "Aborting",
            Self::RolledBack => "RolledBack",
            Self::Leaving => "Leaving",
            Self::Left => "Left",
        })
    }
}

/// The step a rollout works on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Its name.
    pub name: Name,
    /// Its place, from 0.
    pub index: usize,
    /// How many steps there are.
    pub count: usize,
    /// The canary's share of each step's requests, in order: for a drawing of the way ahead.
    pub weights: Vec<Weight>,
    /// When the step's goal was first seen to hold; `None`: it does not yet.
    pub held: Option<Timestamp>,
}

/// What the canary gets of the requests.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightView {
    /// The share that is asked for.
    pub asked: Weight,
    /// The share on which the data plane has settled; `None`: it is between two.
    pub settled: Option<Weight>,
    /// The share that the present step aims at; `None` outside of steps.
    pub goal: Option<Weight>,
    /// Matches that send requests to it whatever the weight.
    pub matches: Vec<Name>,
    /// The share of requests that is copied to it.
    pub mirror: Weight,
    /// The share of fresh replicas of stable, which is part of stable's.
    #[serde(default)]
    pub baseline: Weight,
}

/// The replicas of one revision.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmView {
    /// What they run.
    pub revision: Revision,
    /// What they are there for.
    pub role: ArmRole,
    /// Replicas asked for.
    pub desired: u32,
    /// Replicas that can serve; `None`: not known right now.
    pub ready: Option<u32>,
    /// One by one.
    pub replicas: Vec<ReplicaView>,
}

/// What the replicas of a revision are there for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ArmRole {
    /// They serve the users.
    Stable,
    /// Fresh ones of stable that the canary is compared with.
    Baseline,
    /// They are on trial.
    Canary,
    /// They were one or the other and are on their way out.
    Former,
}

/// One replica.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaView {
    /// Its number within its revision, from 0.
    pub ordinal: u32,
    /// Where it listens, once that is known.
    pub address: Option<SocketAddr>,
    /// Whether its readiness check passes.
    pub ready: bool,
    /// Where it stands, in a word or two: `running`, `starting`, `backing off`, `stopping`, `exited`.
    pub state: String,
    /// Process id, where it is a process of ours that runs.
    pub pid: Option<u32>,
    /// Restarts so far.
    pub restarts: u64,
    /// Why it is not ready, or how its last run ended: one sentence.
    pub because: Option<String>,
    /// The file with what it prints, where it is a process of ours.
    #[serde(default)]
    pub log: Option<PathBuf>,
}

/// One thing that is waited for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitView {
    /// What, for programs.
    pub what: WaitingFor,
    /// What, in plain words without the times: `2 of 4 replicas of abc to get ready (1 are)`.
    pub text: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends at the latest; `None`: it has no deadline.
    pub until: Option<Timestamp>,
}

/// Requests of one revision.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficView {
    /// Which revision.
    pub revision: Revision,
    /// What it is now.
    pub role: ArmRole,
    /// Of users, copies excluded.
    pub requests: u64,
    /// Of those, failed: answered 5xx, reset, never answered.
    pub failed: u64,
    /// By how they found their way: `weight`, `match`, `sticky`, `mirror`, `retry`.
    pub by: BTreeMap<String, Tally>,
    /// Requests per second over the last few seconds, copies excluded.
    pub rate: f64,
    /// Failed requests per second over the last few seconds.
    pub failed_rate: f64,
    /// Middle latency of the last few seconds, milliseconds; `None` without requests.
    pub p50_ms: Option<f64>,
    /// The latency that one request in a hundred exceeded in the last few seconds, milliseconds.
    pub p99_ms: Option<f64>,
}

/// Requests of one kind.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// All.
    pub total: u64,
    /// Failed ones.
    pub failed: u64,
}

/// The requests of one second.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Second {
    /// Its end.
    pub at: Timestamp,
    /// By revision.
    pub by: BTreeMap<Revision, Tally>,
}

/// Where users reach a rollout.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressView {
    /// Name of the listener.
    pub name: String,
    /// The address that is listened on; a port 0 of the document is the real one here.
    pub address: SocketAddr,
    /// `http` or `https`.
    pub scheme: String,
}

/// Something that went wrong.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// What, and what to do.
    pub text: String,
    /// Since when.
    pub since: Timestamp,
}

/// How the engine is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Why nothing is saved and therefore nothing acted on; `None`: the store is good.
    pub store: Option<String>,
    /// Proxy workers, by number.
    pub workers: Vec<WorkerView>,
    /// Why the supervisor does not answer; `None`: it does.
    pub supervisor: Option<String>,
    /// Process id of the control process.
    pub control_pid: u32,
    /// How often the control process was restarted.
    pub control_restarts: u64,
    /// Resident memory of the control process, bytes; `None` where the kernel does not tell.
    pub control_rss: Option<u64>,
    /// The last time that the clock on the wall was set, or the machine was off; `None`: that never happened.
    #[serde(default)]
    pub clock: Option<crate::clock::Step>,
}

/// A proxy worker.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerView {
    /// Its number.
    pub worker: u64,
    /// Process id, while it runs.
    pub pid: Option<u32>,
    /// `starting`, `ready` or `draining`.
    pub state: String,
    /// Generation of the configuration it serves.
    pub serves: Option<u64>,
    /// Generation it should serve.
    pub wanted: u64,
    /// What is wrong with it, or with one of its sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Body of `POST /v1/documents`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Apply {
    /// The text of the file, all its documents.
    pub text: String,
    /// What the file is called in messages.
    pub path: String,
    /// Absolute directory that relative paths in it are relative to.
    pub base: PathBuf,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answer of `POST /v1/documents`. With an error among the findings nothing was accepted.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// What was found in the text, in its order.
    pub findings: Vec<Finding>,
    /// What was accepted.
    pub rollouts: Vec<AppliedRollout>,
}

/// Something found in a document.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Whether it forbids the document; else it is a warning.
    pub is_error: bool,
    /// A stable name for programs.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The whole finding with the text it is about, several lines, without colours.
    pub rendered: String,
}

/// What became of one Rollout of an applied file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedRollout {
    /// Its name.
    pub name: Name,
    /// What the application means.
    pub change: DocumentChange,
    /// The revision that is wanted now.
    pub revision: Revision,
    /// Why it was turned back before: it gets no requests until somebody orders a retry.
    #[serde(default)]
    pub refused: Option<Cause>,
    /// The document that was applied last before this one.
    #[serde(default)]
    pub before: Option<KnownDocument>,
    /// The attempt that would be the next one: what a caller waits for after [`DocumentChange::NewRevision`].
    pub next_attempt: u32,
    /// Which of its documents this is: a view with a smaller generation has not met it yet.
    pub generation: u64,
    /// Where users reach it.
    pub addresses: Vec<AddressView>,
}

/// A document that was applied.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownDocument {
    /// What its file is called.
    pub path: String,
    /// The revision that it asks for.
    pub revision: Revision,
    /// When it, or what is wanted of it, was changed last.
    pub at: Timestamp,
}

/// What an application means for a rollout.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DocumentChange {
    /// It is new; its first revision is brought up without a canary.
    Created,
    /// The same document again.
    Unchanged,
    /// The same revision, with another plan from now on.
    NewPlan,
    /// Another revision is wanted: a rollout begins, or goes back.
    NewRevision,
}

/// Body of `POST /v1/rollouts/{name}/orders`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewOrder {
    /// Unique; the same id again is the same order. Default: a new one.
    #[serde(default)]
    pub id: Option<Name>,
    /// What to do.
    pub action: Action,
    /// The revision it is about. Default: the one on trial now.
    #[serde(default)]
    pub revision: Option<Revision>,
    /// The attempt it is about. Default: the present one.
    #[serde(default)]
    pub attempt: Option<u32>,
    /// The step it is about. Default: whichever is current when it is taken up.
    #[serde(default)]
    pub step: Option<Name>,
    /// Why, for the record.
    #[serde(default)]
    pub reason: Option<Name>,
    /// After this it is void. Default: never.
    #[serde(default)]
    pub not_after: Option<Timestamp>,
}

/// Answer of `POST /v1/rollouts/{name}/orders`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderAnswer {
    /// The order as it was taken down, on disk by now.
    pub order: Order,
    /// Whether it took effect before this answer. An order is dealt with once, at the first look: one that had nothing to
    /// do is closed, and does nothing later. Only one that could not be looked at yet still stands.
    pub accepted: bool,
    /// Why it has had no effect, in plain words.
    pub because: Option<String>,
    /// Where the rollout stands after it.
    pub view: RolloutView,
}

/// Body of `POST /v1/rollouts/{name}/command`: an edit of the document, hence a new revision.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Edit {
    /// Run this program instead; the directory of the document's `workingDir` or file stays the base.
    SetCommand {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// Run the same once more, as a new revision.
    Restart,
    /// Want a former revision again.
    Undo {
        /// Which. Default: the stable one before the present stable; in mid-rollout: stable.
        #[serde(default)]
        to: Option<Revision>,
    },
}

/// Answer of `GET /v1/rollouts/{name}/history`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// Revisions that are remembered, latest first.
    pub revisions: Vec<RevisionView>,
    /// Attempts that ended, latest first.
    pub attempts: Vec<Ended>,
}

/// A revision that is remembered.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// Which.
    pub revision: Revision,
    /// When it was applied first.
    pub at: Timestamp,
    /// What it is now.
    pub state: RevisionState,
    /// What it runs: the program and its arguments, or addresses.
    pub runs: Vec<String>,
    /// When it became stable last.
    pub promoted: Option<Timestamp>,
    /// Why it was refused.
    pub refused: Option<Cause>,
    /// Whether `undo --to` can want it again: what it needs is still there.
    pub available: bool,
}

/// What a revision is now.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RevisionState {
    /// It serves the users.
    Stable,
    /// It is on trial.
    Canary,
    /// It was rolled back.
    Refused,
    /// It was stable once.
    Former,
    /// It was wanted and never came to trial, or another took its place.
    Unused,
}

/// Query of `GET /v1/rollouts/{name}/journal`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JournalQuery {
    /// Records with a sequence above this. Default: the last `limit` ones.
    pub after: Option<u64>,
    /// At most so many, `1 ..= 10_000`. Default 1,000.
    pub limit: Option<u32>,
}

/// One record of the journal.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalRecord {
    /// Its place in the journal, from 1.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What kind of thing happened: `decision`, `order`, `document`, `trouble`.
    pub kind: String,
    /// The whole of it.
    pub body: serde_json::Value,
    /// Chained digest, hexadecimal.
    pub digest: String,
}

/// One event of `GET /v1/rollouts/{name}/events`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutEvent {
    /// `status`: how it stands; the first event, then at every change and each second while something moves.
    Status(Box<RolloutView>),
    /// `decision`: what was decided, as in the journal.
    Decision(Box<JournalRecord>),
    /// `gone`: the rollout was deleted; the last event.
    Gone,
}

/// Query of `GET /v1/rollouts/{name}/logs`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogQuery {
    /// Of this revision. Default: every one.
    pub revision: Option<Revision>,
    /// Last lines of each replica, `1 ..= 1000`. Default 20.
    pub lines: Option<usize>,
}

/// The last lines of one replica.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogView {
    /// What it runs.
    pub revision: Revision,
    /// Its number within its revision, from 0.
    pub ordinal: u32,
    /// Oldest first.
    pub lines: Vec<String>,
    /// The file they are from.
    pub file: PathBuf,
}

/// Answer of `GET /v1/version`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Of the program.
    pub version: String,
    /// Of this interface.
    pub api: u32,
}

/// Body of every answer that is no success.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// A stable word for programs: `notFound`, `refused`, `conflict`, `invalid`, `unavailable`, `tooLarge`,
    /// `forbidden`, `internal`.
    pub code: String,
    /// What happened and what to do.
    pub message: String,
}
