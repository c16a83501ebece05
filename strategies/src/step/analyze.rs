use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Gate, LeaveBehavior, Progress, StepSeen};
use crate::{Activity, HumanDuration, Name, Purpose, Samples, Verdict, WaitingFor};

/// Ends the step when an analysis passes that runs for a fixed time.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Analyze {
    /// The analyses; all must pass.
    pub analyses: Vec<Name>,
    /// How long they measure, counted from when the goal was first seen to hold. Absent: until each concludes by
    /// itself.
    pub length: Option<HumanDuration>,
}

impl LeaveBehavior for Analyze {
    fn activities(&self, seen: &StepSeen<'_>) -> Vec<Activity> {
        vec![Activity::Analysis {
            id: seen.activity("analyze"),
            purpose: Purpose::Gate,
            analyses: self.analyses.clone(),
            samples: Samples::Count,
            min: self.length.unwrap_or_default(),
            max: self.length,
        }]
    }

    fn progress(&self, seen: &StepSeen<'_>) -> Progress {
        let id = seen.activity("analyze");
        match seen.verdict(&id) {
            Verdict::Pass => Progress::Done,
            Verdict::Pending => {
                let until = self.length.and_then(|length| seen.verdict_due(length.0));
                Progress::Waiting(WaitingFor::Evidence { analyses: self.analyses.clone() }, until)
            }
            ended @ (Verdict::Fail | Verdict::Inconclusive | Verdict::Error) => Progress::Ended(id, ended),
        }
    }

    fn gate(&self) -> Gate {
        Gate::Evidence(self.analyses.clone())
    }

    fn examples() -> Vec<Self> {
        [None, Some(HumanDuration::from_mins(10))]
            .map(|length| Self { analyses: vec!["errors".into()], length })
            .into()
    }
}
