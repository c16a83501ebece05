//! What a cluster shows of a Rollout, and keeps for it: the record behind `/status`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Moment;

/// How a Rollout stands, as the cluster shows it. What is empty is left out.
///
/// What it does not know of an object that another version wrote, it passes over.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// The generation of the Rollout that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is so and what is not, in the terms of kstatus. At most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// Where the rollout stands, in one word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// The step, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The canary's share of the traffic, such as `5%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// The revision that serves users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
    /// The revision on trial, or the one that was tried last and refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// Which try this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What is waited for, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// Why no step is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// How it stands, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Replicas of both sides. For autoscalers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The labels of the pods that an autoscaler measures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The workload, as far as this is about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadStatus>,
    /// Orders that were dealt with, the latest last, by their names: one that is made again is no new order. At most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub dealt: Vec<String>,
    /// All that is remembered from one decision to the next. Not for readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remembered: Option<Value>,
    /// How it stands, as commands show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<Value>,
    /// How far each analysis has come, by what identifies it. Not for readers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub checkpoints: BTreeMap<String, Value>,
}

impl RolloutStatus {
    /// The condition of this type.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|it| it.kind == kind)
    }
}

/// Something that is so, or is not, or is not known.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What: `Ready`, `Reconciling`, `Stalled` and others.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub kind: String,
    /// Whether.
    pub status: ConditionStatus,
    /// Why, in one word for machines.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when `status` is what it is.
    pub last_transition_time: Moment,
    /// The generation of the Rollout that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether something is so.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConditionStatus {
    /// It is.
    True,
    /// It is not.
    False,
    /// Nobody knows.
    Unknown,
}

/// The workload that a status is about. Without it, a status could be taken for that of the previous version.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStatus {
    /// The generation of the workload that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// The generation that its own controller had seen by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The revision that it asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// What became of an order.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OrderStatus {
    /// In one word: `Accepted`, `Void`. Absent: it has not been looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// Why, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was dealt with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
}

/// How an analysis by itself stands.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunStatus {
    /// The generation of the AnalysisRun that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is so and what is not, in the terms of kstatus. At most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// What it concluded, in one word. Absent: it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// How it stands, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began: Option<Moment>,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Moment>,
    /// What it measured, as commands show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<Value>,
    /// How far it has come, by what identifies each part. Not for readers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub checkpoints: BTreeMap<String, Value>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_empty_is_not_written() {
        assert_eq!(serde_json::to_value(RolloutStatus::default()).unwrap(), json!({}));
        let status: RolloutStatus = serde_json::from_value(json!({})).unwrap();
        assert_eq!(status, RolloutStatus::default());
    }

    #[test]
    fn what_another_version_wrote_is_read_as_far_as_it_is_known() {
        let condition = json!({ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-31T12:00:00Z",
            "severity": "Info" });
        let text = json!({ "phase": "Idle", "later": { "a": 1 }, "conditions": [condition] });
        let status: RolloutStatus = serde_json::from_value(text).unwrap();
        assert_eq!(status.phase, "Idle");
        assert_eq!(status.condition("Ready").map(|it| it.status), Some(ConditionStatus::True));
    }
}
