//! What one revision runs, as it was when it was applied first: nothing of it changes afterwards, so a restart after
//! days runs the same.

use serde::{Deserialize, Serialize};

use crate::{
    local::process::ProcessSpec,
    workload::{Readiness, Upstream},
    written::Address,
};

/// A revision as it is stored.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredRelease {
    /// What it runs.
    pub runs: Runs,
    /// The file it was applied with, for `undo`.
    pub text: String,
}

/// What a revision runs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Runs {
    /// Processes of its own copy.
    Process {
        /// What is started.
        spec: Box<ProcessSpec>,
        /// When it counts as ready.
        readiness: Readiness,
        /// The command as it was written.
        command: Vec<String>,
    },
    /// Addresses that someone else runs.
    Upstream {
        /// They.
        addresses: Vec<Address>,
    },
}

impl Runs {
    /// In words, one per part.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Process { command, .. } => command.clone(),
            Self::Upstream { addresses } => addresses.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The addresses of a release that an upstream lists.
#[must_use]
pub fn listed<'a>(upstream: &'a Upstream, revision: &str) -> Option<&'a [Address]> {
    upstream.releases.iter().find(|it| it.revision.as_str() == revision).map(|it| it.addresses.as_slice())
}
