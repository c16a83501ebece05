//! What the machine did while it was checked. A number of states proves nothing by itself.

use std::collections::BTreeSet;

use strategies::{
    Action, Cause, Change, Decision, Effect, End, Hold, Next, OwnerGoal, Phase, Status, WaitingFor,
};

/// Everything that was reached, by name.
#[derive(Clone, Debug, Default)]
pub struct Coverage(pub BTreeSet<&'static str>);

/// Everything that must be reached by some configuration.
pub const ALL: &[&str] = &[
    "phase adopting",
    "phase idle",
    "phase stepping",
    "phase promoting",
    "phase aborting",
    "phase rolled back",
    "phase leaving",
    "phase left",
    "change create",
    "change size",
    "change claim",
    "change remove",
    "change split",
    "change restore",
    "change own",
    "owner free",
    "owner held",
    "owner detached",
    "owner refused",
    "owner handed to",
    "order promote",
    "order promote full",
    "order approve",
    "order pause",
    "order resume",
    "order abort",
    "order retry",
    "waiting observation",
    "waiting workload",
    "waiting replicas",
    "waiting stable is down",
    "waiting settling",
    "waiting route missing",
    "waiting pin",
    "waiting in use",
    "waiting room",
    "waiting owner",
    "waiting users own",
    "waiting time",
    "waiting bake",
    "waiting evidence",
    "waiting approval",
    "waiting order",
    "waiting step gone",
    "waiting contested",
    "waiting keeping canary",
    "waiting scaled to zero",
    "waiting missing",
    "waiting mode paused",
    "waiting mode off",
    "waiting another revision",
    "cause aborted",
    "cause analysis",
    "cause progress deadline",
    "cause not approved",
    "cause superseded",
    "cause leaving",
    "hold ordered",
    "hold verdict",
    "hold progress deadline",
    "end promoted",
    "end rolled back",
    "end superseded",
    "override recorded",
    "order without effect",
];

impl Coverage {
    pub fn decision(&mut self, status: &Status, decision: &Decision) {
        self.0.insert(phase(&status.phase));
        if let Phase::Aborting { cause: it } = &status.phase {
            self.0.insert(cause(it));
        }
        self.0.extend(status.hold.as_ref().map(hold));
        self.0.extend(decision.waiting.iter().map(|it| waiting(&it.what)));
        match &decision.next {
            Next::Rest => {}
            Next::Write(write) => {
                self.0.insert(change(&write.change));
                if let Change::Own(goal) = &write.change {
                    self.0.insert(owner(goal));
                }
            }
            Next::Save(after) => {
                let new = after.accepted.iter().filter(|it| !status.accepted.contains(it));
                for it in new {
                    self.0.extend(it.had_effect().then(|| action(it.action)));
                    self.0.extend(match it.effect {
                        Effect::Took => None,
                        Effect::Overrode => Some("override recorded"),
                        Effect::Nothing => Some("order without effect"),
                    });
                }
                if after.attempt > status.attempt && status.phase != Phase::Idle {
                    self.0.insert("order retry");
                }
                self.0.extend(after.last.as_ref().map(|it| end(&it.end)));
            }
        }
    }

    pub fn missing(&self) -> Vec<&'static str> {
        ALL.iter().copied().filter(|it| !self.0.contains(it)).collect()
    }
}

fn phase(it: &Phase) -> &'static str {
    match it {
        Phase::Adopting => "phase adopting",
        Phase::Idle => "phase idle",
        Phase::Stepping { .. } => "phase stepping",
        Phase::Promoting => "phase promoting",
        Phase::Aborting { .. } => "phase aborting",
        Phase::RolledBack { .. } => "phase rolled back",
        Phase::Leaving => "phase leaving",
        Phase::Left => "phase left",
    }
}

fn change(it: &Change) -> &'static str {
    match it {
        Change::Create(..) => "change create",
        Change::Size(_) => "change size",
        Change::Claim(_) => "change claim",
        Change::Remove(_) => "change remove",
        Change::Split(..) => "change split",
        Change::Restore(_) => "change restore",
        Change::Own(_) => "change own",
    }
}

fn owner(it: &OwnerGoal) -> &'static str {
    match it {
        OwnerGoal::Free => "owner free",
        OwnerGoal::Held => "owner held",
        OwnerGoal::Detached => "owner detached",
        OwnerGoal::Refused(_) => "owner refused",
        OwnerGoal::HandedTo(_) => "owner handed to",
    }
}

fn action(it: Action) -> &'static str {
    match it {
        Action::Promote => "order promote",
        Action::PromoteFull => "order promote full",
        Action::Approve => "order approve",
        Action::Pause => "order pause",
        Action::Resume => "order resume",
        Action::Abort => "order abort",
        Action::Retry => "order retry",
    }
}

fn waiting(it: &WaitingFor) -> &'static str {
    match it {
        WaitingFor::Observation { .. } => "waiting observation",
        WaitingFor::Workload => "waiting workload",
        WaitingFor::Replicas { .. } => "waiting replicas",
        WaitingFor::StableIsDown { .. } => "waiting stable is down",
        WaitingFor::Settling { .. } => "waiting settling",
        WaitingFor::RouteMissing { .. } => "waiting route missing",
        WaitingFor::Claim { .. } => "waiting claim",
        WaitingFor::Pin { .. } => "waiting pin",
        WaitingFor::InUse { .. } => "waiting in use",
        WaitingFor::Room { .. } => "waiting room",
        WaitingFor::Owner { .. } => "waiting owner",
        WaitingFor::UsersOwn => "waiting users own",
        WaitingFor::Time => "waiting time",
        WaitingFor::Bake => "waiting bake",
        WaitingFor::Evidence { .. } => "waiting evidence",
        WaitingFor::Approval { .. } => "waiting approval",
        WaitingFor::Order { .. } => "waiting order",
        WaitingFor::StepGone { .. } => "waiting step gone",
        WaitingFor::Contested { .. } => "waiting contested",
        WaitingFor::KeepingCanary { .. } => "waiting keeping canary",
        WaitingFor::ScaledToZero => "waiting scaled to zero",
        WaitingFor::Missing { .. } => "waiting missing",
        WaitingFor::ModePaused => "waiting mode paused",
        WaitingFor::ModeOff => "waiting mode off",
        WaitingFor::AnotherRevision { .. } => "waiting another revision",
    }
}

fn cause(it: &Cause) -> &'static str {
    match it {
        Cause::Aborted { .. } => "cause aborted",
        Cause::Analysis { .. } => "cause analysis",
        Cause::ProgressDeadline => "cause progress deadline",
        Cause::NotApproved { .. } => "cause not approved",
        Cause::Superseded { .. } => "cause superseded",
        Cause::Leaving => "cause leaving",
    }
}

fn hold(it: &Hold) -> &'static str {
    match it {
        Hold::Ordered { .. } => "hold ordered",
        Hold::Verdict { .. } => "hold verdict",
        Hold::ProgressDeadline => "hold progress deadline",
    }
}

fn end(it: &End) -> &'static str {
    match it {
        End::Promoted => "end promoted",
        End::RolledBack(_) => "end rolled back",
        End::Superseded { .. } => "end superseded",
    }
}
