//! `serinus delete`: stop a service and forget it.

use super::{
    Exit, Failure, block_on,
    instance::Chosen,
    output::print,
    watch::{Screen, Watch, Watched},
};
use crate::api::remote::Remote as _;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The requests under way are finished, then its processes end and its address is given back. What its processes wrote \
stays.

Example:
  serinus delete shop")]
pub(super) struct Args {
    #[command(flatten)]
    chosen: Chosen,

    /// Do not wait until it is gone
    #[arg(long)]
    no_wait: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        // The name must be spelled out: this cannot be taken back.
        if self.chosen.rollout.is_none() {
            return Err(Failure::Usage {
                what: "which rollout is to be deleted?".to_owned(),
                help: "name it: `serinus delete NAME`; `serinus get` lists them".to_owned(),
            });
        }
        block_on(async {
            let found = self.chosen.find().await?;
            found.client.delete(&found.name).await.map_err(|error| found.failed(error))?;
            if self.no_wait {
                return print(format!("{} is being deleted", found.name)).map(|()| Exit::Done);
            }
            let mut watch = Watch::new(found.client.clone(), found.name.clone(), found.home.clone());
            let mut screen = Screen::Silent;
            let going = watch.run(&mut screen);
            let watched = match super::progress::during("finishing the requests under way", going).await {
                Ok(watched) => watched,
                // It was gone before anyone could watch.
                Err(Failure::Engine(crate::api::client::ClientError::Refused { status: 404, .. })) => {
                    Watched::Gone
                }
                Err(failure) => return Err(failure),
            };
            match watched {
                Watched::Gone => print(format!("{} is deleted", found.name)).map(|()| Exit::Done),
                Watched::Left | Watched::Closed | Watched::Over(_) | Watched::TimedOut(_) => Ok(Exit::Failed),
            }
        })
    }
}
