//! Defects that tests can switch on, one at a time, to see that the properties notice them.
//!
//! A rule that has a mutant is written `rule!(Name, condition)` where it is evaluated. Without the feature `mutants`
//! that is the condition and nothing else.

macro_rules! mutants {
    ($($(#[$doc:meta])* $Name:ident,)*) => {
        /// One defect of one rule.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[allow(missing_docs, reason = "the sentence stands beside the name")]
        #[cfg_attr(not(feature = "mutants"), allow(unreachable_pub, reason = "only tests reach it"))]
        pub enum Mutant { $($(#[$doc])* $Name,)* }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// Every defect.
            pub const ALL: &[Self] = &[$(Self::$Name,)*];
        }
    };
}

mutants! {
    /// Replicas go before the router has confirmed.
    NoConfirm,
    /// What a router acknowledges counts as done at once.
    NoSettleTime,
    /// Routes need not carry the present epoch.
    NoRouteStamp,
    /// Arms are used without a claim.
    NoClaim,
    /// An abort routes to stable without claiming it.
    NoAbortClaim,
    /// Traffic goes to what is not ready.
    RouteBeforeReady,
    /// Sources are lowered before routes are stamped and settled.
    SourceBeforeRoute,
    /// Replicas are lowered below what may still come.
    ShrinkBelowNeed,
    /// An abort waits for all of stable.
    AbortWaits,
    /// What cannot be read is taken for nothing.
    UnreadIsZero,
    /// Replicas without a limit.
    NoLimit,
    /// The workload is handed over before the traffic has followed.
    HandOverEarly,
    /// Arms that do not exist are not looked at.
    AbsentArmsIgnored,
    /// A canary keeps the room that stable needs to come back.
    CanaryKeepsRoom,
    /// A ratio takes the last ready replica away.
    RatioTakesLast,
    /// What somebody else routed is no raise when it is asked for again.
    DriftIsNoRaise,
    /// The new stable is handed over while it is too small.
    SmallHeir,
    /// What its owner rolls out at deletion is cleaned up.
    OwnersArmsRetired,
    /// Stable is sized while its owner sizes it too.
    SizesOwners,
    /// Stable that was detached from its owner is not given back.
    NeverGivenBack,
    /// Nobody sizes stable for an autoscaler on the Rollout.
    AutoscalerUnheard,
    /// Steps are taken while no replica is wanted.
    StepsAtZero,
    /// A ratio canary is as large as its scale says.
    RatioScales,
    /// A part of the replicas can be all of them.
    RatioTakesAll,
    /// An arm that is served by being there is made with its replicas at once.
    CreatesWhole,
    /// An unpinned Service may meet the canary.
    NoPin,
    /// A Service whose data plane acknowledges nothing is taken to be pinned already.
    SilentIsPinned,
    /// What the user took back is written.
    UsersOwnTouched,
    /// Inconclusive counts as a pass.
    InconclusivePasses,
    /// An error counts as a pass.
    ErrorPasses,
    /// No verdict counts as a pass.
    MissingPasses,
    /// A failed gate counts as a pass.
    FailPasses,
    /// Evidence of the attempt before counts.
    OldEvidence,
    /// Evidence counts before the split has settled.
    EvidenceUnsettled,
    /// Evidence counts while a route is not as the step wants it.
    StrayEvidence,
    /// Nobody looks at replicas before they have traffic.
    ReplicasUnwatched,
    /// A guard that failed is overlooked.
    GuardIgnored,
    /// An abort is ignored once full promotion was ordered.
    AbortAfterPromote,
    /// An abort waits until other orders are done.
    AbortLast,
    /// Orders about an earlier attempt count.
    LateOrders,
    /// One order counts twice.
    RepeatedOrders,
    /// A refused revision begins again by itself.
    RefusedBegins,
    /// An abort keeps the epoch.
    AbortKeepsEpoch,
    /// A start keeps the epoch.
    StartKeepsEpoch,
    /// A commit keeps the epoch.
    CommitKeepsEpoch,
    /// Two steps at once.
    TwoSteps,
    /// Progress is read off the live route.
    ProgressFromRoute,
    /// The progress deadline never passes.
    NoProgressDeadline,
    /// Another revision takes the canary's place in mid-step.
    Replaces,
    /// Steps are taken while held.
    HoldIgnored,
    /// The engine acts with mode off.
    OffActs,
    /// Deletion does not turn back first.
    LeavesAtOnce,
    /// An abort ends before its routes have settled.
    TurnsBackEarly,
    /// A wake-up in the past.
    WakesInThePast,
    /// A refused revision's template is given free.
    FreesRefused,
    /// A bake ends at once.
    NoBake,
    /// Time counts that was spent before the step's goal was edited.
    EditKeepsTime,
    /// Evidence counts that was taken before the step was edited.
    EditKeepsEvidence,
    /// A yes counts that was said before the step was edited.
    EditKeepsYes,
    /// A step that was put before the present one is skipped.
    InsertedSkipped,
    /// A share that was edited downwards keeps the epoch.
    LoweredKeepsEpoch,
    /// An order that has nothing to do stays until it has.
    IdleOrdersStand,
    /// A revision on trial is reported to pipelines as the one before it that failed.
    RefusalStays,
    /// The instance manager is written while it is on its way.
    MovingWritten,
    /// Who else sizes an arm is fought for ever.
    SizesFought,
    /// A route is sent to a Service that does not exist, or that nobody knows of yet.
    LeadsNowhere,
    /// Of several Services only the one that a split names counts.
    OneService,
    /// Services of ours are not made before the first rollout.
    NotMadeAtRest,
    /// Services of ours are made while the Rollout is being deleted.
    MakesWhileLeaving,
    /// A rollout turns back to a stable that answers nothing, or that a person decided against.
    BackToTheDead,
    /// A stable that has answered nothing for long is sent requests.
    DeadStableServed,
    /// A stable that restarts is taken to be down.
    DownAtABlip,
    /// A stable that is back stays without requests.
    NeverBack,
    /// Requests go to what the workload took with it.
    GoneStaysSplit,
    /// A Rollout that is deleted after its workload waits for the workload.
    GoneNeverLeaves,
    /// A wait of a phase that cannot turn back has no end.
    WaitsForEver,
    /// A canary behind a Service that is never written is as large as its scale says.
    SharedUncapped,
    /// An abort leaves the canary behind a Service that is never written.
    SharedStays,
    /// A route that is given back keeps the stamp of the last rollout.
    StampLeft,
    /// A rollout starts though what it refers to is not there.
    StartsBlind,
    /// A step is left though what judges it is not there.
    StepsBlind,
    /// Time counts in which what a step must pass could not be asked.
    AbsenceCounts,
    /// What is measured again has only the rest of its time.
    AskedTooLate,
    /// Where the present step was edited away the next one begins by itself.
    GoneGoesOn,
}

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Runs with this defect switched on in this thread.
    pub fn with<T>(mutant: Option<Mutant>, run: impl FnOnce() -> T) -> T {
        let before = ON.replace(mutant);
        let result = run();
        ON.set(before);
        result
    }

    pub(crate) fn is_on(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }
}

#[cfg(feature = "mutants")]
pub use switch::with;

#[cfg(feature = "mutants")]
pub(crate) use switch::is_on;

#[cfg(not(feature = "mutants"))]
pub(crate) const fn is_on(_: Mutant) -> bool {
    false
}

/// The condition of a rule, which always holds while its mutant is on.
macro_rules! rule {
    ($Mutant:ident, $holds:expr) => {
        crate::mutant::is_on(crate::mutant::Mutant::$Mutant) || $holds
    };
}

pub(crate) use rule;
