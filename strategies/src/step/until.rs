use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Gate, LeaveBehavior, Progress, StepSeen};
use crate::{Activity, HumanDuration, Name, Purpose, Samples, Verdict, WaitingFor};

/// Ends the step as soon as the evidence that the canary is no worse suffices.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Until {
    /// The analyses whose evidence counts; all must pass.
    pub analyses: Vec<Name>,
    /// Not before this, counted from when the goal was first seen to hold. Default 1 m.
    pub min: HumanDuration,
    /// Inconclusive then. Default 30 m.
    pub max: HumanDuration,
}

impl LeaveBehavior for Until {
    fn activities(&self, seen: &StepSeen<'_>) -> Vec<Activity> {
        vec![Activity::Analysis {
            id: seen.activity("evidence"),
            purpose: Purpose::Evidence,
            analyses: self.analyses.clone(),
            samples: Samples::Count,
            min: self.min,
            max: Some(self.max),
        }]
    }

    fn progress(&self, seen: &StepSeen<'_>) -> Progress {
        let id = seen.activity("evidence");
        match seen.verdict(&id) {
            Verdict::Pass => match seen.end_of(self.min.0) {
                Some(end) if seen.now < end => Progress::Waiting(WaitingFor::Time, Some(end)),
                Some(_) | None => Progress::Done,
            },
            Verdict::Pending => {
                Progress::Waiting(WaitingFor::Evidence { analyses: self.analyses.clone() }, seen.verdict_due(self.max.0))
            }
            ended @ (Verdict::Fail | Verdict::Inconclusive | Verdict::Error) => Progress::Ended(id, ended),
        }
    }

    fn gate(&self) -> Gate {
        Gate::Evidence(self.analyses.clone())
    }

    fn examples() -> Vec<Self> {
        vec![Self {
            analyses: vec!["golden".into()],
            min: HumanDuration::from_mins(1),
            max: HumanDuration::from_mins(30),
        }]
    }
}
