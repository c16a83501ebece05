//! `serinus set-image`: says what to use instead, where there are no images.

use super::{Exit, Failure};

/// Release another image (on Kubernetes)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whatever was asked
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        drop(self.rest);
        Err(Failure::Usage {
            what: "a rollout on this machine runs a command, not an image".to_owned(),
            help: "release another one with `serinus set-command ROLLOUT -- PROGRAM ARGUMENTS`".to_owned(),
        })
    }
}
