//! `serinus crd`: the kinds as a cluster is told about them.

use super::{Exit, Failure, output::print};
use crate::spec::crd;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  serinus crd | kubectl apply --server-side -f -
  serinus crd > crds.yaml")]
pub(super) struct Args {}

impl Args {
    #[expect(clippy::unused_self, reason = "every command runs so")]
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let text = crd::manifest().map_err(|error| Failure::System {
            act: "write the kinds",
            source: std::io::Error::other(error),
        })?;
        print(text.trim_end().to_owned()).map(|()| Exit::Done)
    }
}
