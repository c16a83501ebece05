use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HumanDuration, Name, step};

/// When to leave a step: exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Leaving {
    /// When the evidence suffices that the canary is no worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UntilSpec>,
    /// When analyses of fixed length have passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analyze: Option<AnalyzeSpec>,
    /// When a person says yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<step::Approve>,
    /// After a time; `{}`: when a person promotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<step::Pause>,
    /// As soon as the step has settled: replicas ready, data plane switched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<step::AtOnce>,
}

impl Leaving {
    /// By evidence, with every default.
    #[must_use]
    pub fn by_evidence() -> Self {
        Self { until: Some(UntilSpec::default()), ..Self::default() }
    }

    /// By a person's yes.
    #[must_use]
    pub fn by_approval() -> Self {
        Self { approve: Some(step::Approve::default()), ..Self::default() }
    }

    /// The keys that are given.
    #[must_use]
    pub fn given(&self) -> Vec<&'static str> {
        let Self { until, analyze, approve, pause, at_once } = self;
        [
            ("until", until.is_some()),
            ("analyze", analyze.is_some()),
            ("approve", approve.is_some()),
            ("pause", pause.is_some()),
            ("atOnce", at_once.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect()
    }
}

/// Leaves a step as soon as the evidence suffices, and never before `min`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Until")]
pub struct UntilSpec {
    /// Whose evidence counts.
    pub evidence: Evidence,
    /// Not before this, counted from when the step had settled. Default 1m.
    pub min: HumanDuration,
    /// Inconclusive then; `onVerdict.inconclusive` says what that leads to. Default 30m.
    pub max: HumanDuration,
}

impl Default for UntilSpec {
    fn default() -> Self {
        Self {
            evidence: Evidence::default(),
            min: HumanDuration::from_mins(1),
            max: HumanDuration::from_mins(30),
        }
    }
}

/// Whose evidence counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Evidence {
    /// Templates measured in this step alone. Default: the rollout's own `analyses`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub templates: Vec<TemplateUse>,
}

/// Leaves a step when analyses of fixed length have passed.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Analyze")]
pub struct AnalyzeSpec {
    /// Templates measured in this step alone; all must pass. Default: the rollout's own `analyses`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub templates: Vec<TemplateUse>,
    /// How long they measure, counted from when the step had settled. Default: until each concludes by itself.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub length: Option<HumanDuration>,
}

/// A template and what fills it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateUse {
    /// Its kind. Default `AnalysisTemplate`.
    #[serde(default)]
    pub kind: TemplateKind,
    /// Its name.
    pub name: Name,
    /// Values for its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub args: Vec<Argument>,
}

/// Kinds of analysis templates.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum TemplateKind {
    /// Of the same namespace; in standalone mode, of the same file.
    #[default]
    AnalysisTemplate,
    /// Of the whole cluster; in standalone mode, of the same file.
    ClusterAnalysisTemplate,
    /// Part of Serinus. There is one, `golden`: errors and latency as the built-in proxy counts them.
    BuiltIn,
}

/// A value for one argument of a template.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Argument {
    /// The argument.
    pub name: Name,
    /// Its value.
    pub value: Name,
}
