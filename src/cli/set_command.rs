//! `serinus set-command`: release another command without touching the file.

use super::{Exit, Failure, edit::Common};
use crate::api::view::Edit;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything else of the document stays as it was applied last. Write the same into your file, or the next `apply` takes \
it back.

Example:
  serinus set-command shop --wait -- ./shop --port '$(port)' --cache off")]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,

    /// Program and arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        self.common.make(&Edit::SetCommand { command: self.command })
    }
}
