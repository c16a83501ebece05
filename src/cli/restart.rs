//! `serinus restart`: the same once more, as a new release.

use super::{Exit, Failure, edit::Common};
use crate::api::view::Edit;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The program and its files are read again, and rolled out step by step as any release is.

Example:
  serinus restart shop --wait")]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        self.common.make(&Edit::Restart)
    }
}
