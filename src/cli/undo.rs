//! `serinus undo`: release a former revision again.

use super::{Exit, Failure, edit::Common};
use crate::api::view::Edit;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without `--to` it is the revision that was stable before the present one; while a rollout runs, the present stable one. \
Going back to a revision that was stable lately skips the steps, as far as the document's `rollbackWindow` allows.

Examples:
  serinus undo shop
  serinus undo shop --to 7kx2bq9z4n      (`serinus history` lists them)")]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,

    /// Which revision
    #[arg(long, value_name = "REVISION")]
    to: Option<String>,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let to = self.to.map(Into::into);
        self.common.make(&Edit::Undo { to })
    }
}
