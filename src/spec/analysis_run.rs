use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::{HumanDuration, recipe::TemplateUse};

/// An analysis by itself, and the record of one.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnalysisRunSpec {
    /// What is measured; all must pass.
    #[schemars(length(min = 1, max = 16))]
    pub templates: Vec<TemplateUse>,
    /// How long it measures. Default: until each metric concludes by itself.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub length: Option<HumanDuration>,
    /// Ends it now, without a conclusion. Default false.
    #[serde(default)]
    pub terminate: bool,
}
