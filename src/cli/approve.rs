//! `serinus approve`: a person's yes where a step asks for it.

use strategies::Action;

use super::{
    Exit, Failure,
    order::{About, Common},
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  serinus approve shop --reason \"looked at it with Ada\"")]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        self.common.give(Action::Approve, About::TheStepSeen)
    }
}
