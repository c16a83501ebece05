//! `serinus pause`: go no step further; guards go on, and a bad canary is still rolled back.

use strategies::Action;

use super::{
    Exit, Failure,
    order::{About, Common},
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The canary keeps what it has, and is still watched: it is rolled back if it turns out bad.\n\nExample:\n  serinus pause shop --reason \"the sale begins\""
)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        self.common.give(Action::Pause, About::AnyStep)
    }
}
