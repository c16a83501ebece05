//! A Deployment: held while a canary of ours runs beside it, then handed the canary's ReplicaSet.
//!
//! Its controller has rules of its own, and every edit here is made so that none of them hurts: it adopts ReplicaSets
//! that match its selector and nobody owns; the newest one for it is the oldest one with an equal template; paused it
//! makes none and still scales; one that is as large as asked for, and says so in its annotations, empties the others;
//! without one it scales all that have replicas in proportion. So it owns one ReplicaSet while it is held, and stable's is
//! taken away from it before the heir is offered, always.

use strategies::{Name, OwnerGoal, Sizing};

use super::codec::{Ask, Look, Standing, WorkloadCodec, WorkloadExample, WorkloadFacts};
use crate::object::{Detail, Kind, Misshapen, Need, ObjectWrite, Objects, Towards, Which};

mod arms;
mod declared;
mod examples;
mod facts;
mod look;
mod owner;
mod read;
mod write;

pub use facts::{DeploymentSeen, Edit, Facts, SetOwner, SetSeen, Template};

/// The codec of Deployments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deployment;

fn kind() -> Kind {
    Kind::new("apps/v1", "Deployment")
}

fn sets() -> Kind {
    Kind::new("apps/v1", "ReplicaSet")
}

fn revisions() -> Kind {
    Kind::new("apps/v1", "ControllerRevision")
}

fn autoscalers() -> Kind {
    Kind::new("autoscaling/v2", "HorizontalPodAutoscaler")
}

impl WorkloadCodec for Deployment {
    type Facts = Facts;
    type Edit = Edit;

    fn kind(&self) -> Kind {
        kind()
    }

    fn sizing(&self) -> Sizing {
        Sizing::PerArm
    }

    fn needs(&self, workload: &Name, active: bool) -> Vec<Need> {
        let detail = if active { Detail::Whole } else { Detail::Metadata };
        let selected = || Which::SelectedBy(kind().named(workload.as_str()));
        vec![
            Need { kind: kind(), which: Which::Named(workload.clone()), detail: Detail::Whole },
            Need { kind: sets(), which: selected(), detail },
            Need { kind: revisions(), which: Which::Ours, detail },
            Need { kind: autoscalers(), which: Which::All, detail },
        ]
    }

    fn declared(&self, objects: &Objects, workload: &Name) -> Result<Option<WorkloadFacts>, Misshapen> {
        let deployment = objects.get(&kind().named(workload.as_str()));
        deployment.map(|it| declared::declared(workload, it)).transpose()
    }

    fn read(&self, objects: &Objects, standing: &Standing) -> Result<Option<Facts>, Misshapen> {
        read::read(objects, standing)
    }

    fn look(&self, facts: &Facts, standing: &Standing) -> Look {
        look::look(facts, standing)
    }

    fn towards(&self, ask: &Ask<'_>, facts: &Facts, standing: &Standing) -> Towards<Edit> {
        if facts.deployment.bypass {
            return Towards::Refused(
                "the Deployment carries serinus.dev/bypass: remove the annotation to have it driven again"
                    .to_owned(),
            );
        }
        match ask {
            Ask::Own(goal) => own(goal, facts, standing),
            Ask::Create(arm, replicas) => arms::create(arm, *replicas, facts, standing),
            Ask::Size(sizes) => arms::size(sizes, facts, standing),
            Ask::Claim(arm) => arms::claim(arm, facts, standing),
            Ask::Remove(arm) => arms::remove(arm, facts, standing),
        }
    }

    fn write(&self, edit: &Edit, objects: &Objects, standing: &Standing) -> Result<ObjectWrite, Misshapen> {
        write::write(edit, objects, standing)
    }

    fn examples(&self) -> Vec<WorkloadExample> {
        examples::all()
    }
}

fn own(goal: &OwnerGoal, facts: &Facts, standing: &Standing) -> Towards<Edit> {
    if let Some(replicas) = standing.replicas.filter(|it| *it != facts.deployment.replicas) {
        return Towards::Write(Edit::Scale(replicas));
    }
    if let OwnerGoal::HandedTo(revision) = goal {
        return owner::handed_to(revision, facts);
    }
    if *goal == OwnerGoal::Free {
        return owner::free(facts, standing);
    }
    if *goal == OwnerGoal::Detached {
        return owner::detached(facts, standing);
    }
    let refused = if let OwnerGoal::Refused(revision) = goal { Some(revision) } else { None };
    owner::held(refused, facts, standing)
}
