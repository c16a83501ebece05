use analysis::AnyJudge;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::{HumanDuration, Name};

use super::provider::Provider;

/// What is measured, and how it is judged.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnalysisTemplateSpec {
    /// What whoever uses it can or must fill in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub args: Vec<ArgumentSpec>,
    /// The metrics; every one is judged, and all must pass.
    #[schemars(length(min = 1, max = 64))]
    pub metrics: Vec<Metric>,
}

/// An argument of a template.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgumentSpec {
    /// Its name; texts use it as `$(args.name)`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?$"))]
    pub name: Name,
    /// Its value where whoever uses the template gives none. Default: they must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Name>,
}

/// One thing that is measured.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metric {
    /// What the status and the evidence call it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Name,
    /// How often it is measured. Default 10s, and 1s where it costs nothing: the built-in proxy's own counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<HumanDuration>,
    /// Its part in the combined evidence, against the other metrics'. Default 1.
    #[serde(default = "Metric::one")]
    #[schemars(range(min = 0.001, max = 1000))]
    pub weight: f64,
    /// Measured and shown, and never counted. Default false.
    #[serde(default)]
    pub dry_run: bool,
    /// How it is judged.
    pub judge: AnyJudge,
    /// Where it comes from.
    pub provider: Provider,
}

impl Metric {
    fn one() -> f64 {
        1.0
    }
}
