use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::{Name, Sizing};

use super::WorkloadKind;

/// Addresses that someone else runs.
///
/// Each release is listed with its own addresses; `current` says which one is wanted. To release: start the new
/// version yourself, add it to `releases`, set `current` to it and apply. When it has been promoted, the addresses of
/// older releases may be taken out.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upstream {
    /// The release that is wanted, by its revision.
    pub current: Name,
    /// Every release that runs.
    #[schemars(length(min = 1, max = 32))]
    pub releases: Vec<Release>,
}

/// One version and where it can be reached.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// Your name for it: a version, a commit. Never used again for another version.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$"))]
    pub revision: Name,
    /// Where it listens, as `host:port`; every one is a replica.
    #[schemars(length(min = 1, max = 1000))]
    pub addresses: Vec<crate::written::Address>,
}

impl WorkloadKind for Upstream {
    fn sizing(&self) -> Sizing {
        Sizing::Fixed
    }

    fn replicas(&self) -> u32 {
        let current = self.releases.iter().find(|it| it.revision == self.current);
        current.map_or(1, |it| u32::try_from(it.addresses.len()).unwrap_or(u32::MAX)).max(1)
    }
}
