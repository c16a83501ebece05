use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Gate, LeaveBehavior, Progress, StepSeen};

/// Ends the step as soon as its goal has settled.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AtOnce {}

impl LeaveBehavior for AtOnce {
    fn progress(&self, _seen: &StepSeen<'_>) -> Progress {
        Progress::Done
    }

    fn gate(&self) -> Gate {
        Gate::Open
    }

    fn examples() -> Vec<Self> {
        vec![Self {}]
    }
}
