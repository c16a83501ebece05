//! `serinus retry`: try a revision again that was rolled back.

use strategies::Action;

use super::{
    Exit, Failure,
    order::{About, Common},
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  serinus retry shop --reason \"the database was the cause, and is repaired\""
)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        self.common.give(Action::Retry, About::AnyStep)
    }
}
