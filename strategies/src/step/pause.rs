use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Gate, LeaveBehavior, Progress, StepSeen};
use crate::{Action, HumanDuration, WaitingFor};

/// Holds at the present split.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pause {
    /// How long, from when the goal was first seen to hold. Absent: until someone promotes.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub length: Option<HumanDuration>,
}

impl LeaveBehavior for Pause {
    fn progress(&self, seen: &StepSeen<'_>) -> Progress {
        let person = Progress::Waiting(WaitingFor::Order { any_of: vec![Action::Promote, Action::Abort] }, None);
        let Some(length) = self.length else { return person };
        match seen.end_of(length.0) {
            Some(end) if end <= seen.now => Progress::Done,
            Some(end) => Progress::Waiting(WaitingFor::Time, Some(end)),
            None => person,
        }
    }

    fn gate(&self) -> Gate {
        if self.length.is_none() { Gate::Person } else { Gate::Open }
    }

    fn examples() -> Vec<Self> {
        [None, Some(0), Some(300)].map(|it| Self { length: it.map(HumanDuration::from_secs) }).into()
    }
}
