//! `serinus promote`: end the present step, or all of them.

use strategies::Action;

use super::{
    Exit, Failure,
    order::{About, Common},
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The next step begins once the present one's share of the requests has settled. Ending a step before its evidence is \
there is recorded as an override.

Examples:
  serinus promote shop               end this step
  serinus promote shop --full        end all steps: the canary becomes stable")]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,

    /// End all steps, gates and bakes included
    #[arg(long)]
    full: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self.full {
            true => self.common.give(Action::PromoteFull, About::AnyStep),
            false => self.common.give(Action::Promote, About::TheStepSeen),
        }
    }
}
