use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::Name;

/// A workload of a cluster.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadRef {
    /// Group and version of its kind, such as `apps/v1`.
    pub api_version: String,
    /// Its kind, such as `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: Name,
}
