use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Gate, LeaveBehavior, Progress, StepSeen};
use crate::mutant::rule;
use crate::{HumanDuration, WaitingFor};

/// Holds with all traffic on the canary while stable keeps its replicas, so that an abort is instant.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bake {
    /// How long, from when all traffic was first seen on the canary.
    #[serde(rename = "for")]
    pub length: HumanDuration,
}

impl LeaveBehavior for Bake {
    fn progress(&self, seen: &StepSeen<'_>) -> Progress {
        match seen.end_of(self.length.0) {
            Some(end) if seen.now < end && !rule!(NoBake, false) => Progress::Waiting(WaitingFor::Bake, Some(end)),
            Some(_) | None => Progress::Done,
        }
    }

    fn gate(&self) -> Gate {
        Gate::Open
    }

    fn examples() -> Vec<Self> {
        [0, 1_800].map(|it| Self { length: HumanDuration::from_secs(it) }).into()
    }
}
