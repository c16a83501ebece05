//! `serinus abort`: turn back: everything to stable.

use strategies::Action;

use super::{
    Exit, Failure,
    order::{About, Common},
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  serinus abort shop --reason \"customers complain\"")]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        self.common.give(Action::Abort, About::AnyStep)
    }
}
