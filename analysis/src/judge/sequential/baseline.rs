use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the canary is compared with.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Baseline {
    /// The stable revision as it runs.
    #[default]
    Stable,
    /// Fresh instances of the stable revision, as many as the canary has.
    Fresh,
}
