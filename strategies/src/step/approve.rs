use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Gate, LeaveBehavior, Progress, StepSeen};
use crate::{Cause, Consequence, HumanDuration, WaitingFor};

/// Ends the step when a person says yes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approve {
    /// How long to wait for an answer, from when the goal was first seen to hold. Absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<HumanDuration>,
    /// What silence means. Default `pause`: go on waiting, and say that the time is over.
    #[serde(default = "Approve::default_on_timeout")]
    pub on_timeout: Consequence,
}

impl Approve {
    fn default_on_timeout() -> Consequence {
        Consequence::Pause
    }
}

impl LeaveBehavior for Approve {
    fn progress(&self, seen: &StepSeen<'_>) -> Progress {
        if seen.approved {
            return Progress::Done;
        }
        let waiting = |until| Progress::Waiting(WaitingFor::Approval { step: seen.step.clone() }, until);
        match self.within.and_then(|within| seen.end_of(within.0)) {
            None => waiting(None),
            Some(end) if seen.now < end => waiting(Some(end)),
            Some(_) => match self.on_timeout {
                Consequence::RollBack => Progress::Failed(Cause::NotApproved { step: seen.step.clone() }),
                Consequence::Pause => waiting(None),
            },
        }
    }

    fn gate(&self) -> Gate {
        Gate::Person
    }

    fn examples() -> Vec<Self> {
        let within = Some(HumanDuration::from_mins(60));
        vec![
            Self::default(),
            Self { within, on_timeout: Consequence::RollBack },
            Self { within, on_timeout: Consequence::Pause },
        ]
    }
}
