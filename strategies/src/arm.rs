use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Name, Revision};

/// A group of replicas of one revision that traffic can be sent to.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Arm {
    /// What it runs.
    pub revision: Revision,
    /// What it is there for.
    pub role: Role,
}

/// What an arm is there for.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Serves users of its revision; it is what stable and canary name.
    Main,
    /// A fresh copy of stable of the canary's size, to compare like with like.
    Baseline,
    /// One variant of an experiment.
    Trial(Name),
}

impl Arm {
    /// The arm that serves the users of `revision`.
    #[must_use]
    pub fn main(revision: Revision) -> Self {
        Self { revision, role: Role::Main }
    }

    /// Fresh replicas of `revision` to compare a canary with.
    #[must_use]
    pub fn baseline(revision: Revision) -> Self {
        Self { revision, role: Role::Baseline }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            Role::Main => write!(f, "{}", self.revision),
            Role::Baseline => write!(f, "{} (baseline)", self.revision),
            Role::Trial(name) => write!(f, "{} ({name})", self.revision),
        }
    }
}
