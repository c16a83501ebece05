use analysis::provider::AnyQuestion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::{ProviderKind, Whom, Yields};
use crate::written::MetricText;

/// What the processes of both sides use, as the machine tells: the processes that Serinus started, with those they
/// started in turn.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProcessUse {
    /// What is looked at.
    pub signal: Used,
}

/// What a process uses.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Used {
    /// Memory that it holds itself, without files and libraries that it maps. Bytes per process.
    Memory,
    /// Processors that it keeps busy, per process: 0.5 is half of one.
    Cpu,
}

impl ProviderKind for ProcessUse {
    fn texts(&self) -> Vec<(&'static str, &MetricText)> {
        vec![]
    }

    fn filled(&self, _fill: &dyn Fn(&MetricText) -> MetricText) -> Self {
        self.clone()
    }

    fn yields(&self) -> Yields {
        Yields::Value
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Engine
    }

    fn question(&self, _fill: &dyn Fn(&MetricText) -> String) -> Option<AnyQuestion> {
        None
    }

    fn every(&self) -> HumanDuration {
        HumanDuration::from_secs(5)
    }
}
