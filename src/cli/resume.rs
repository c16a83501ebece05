//! `serinus resume`: lift a pause; an analysis that found nothing out is run again.

use strategies::Action;

use super::{
    Exit, Failure,
    order::{About, Common},
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "An analysis that found nothing out begins again.\n\nExample:\n  serinus resume shop")]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        self.common.give(Action::Resume, About::AnyStep)
    }
}
