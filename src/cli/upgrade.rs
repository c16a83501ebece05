//! `serinus upgrade`: a running instance becomes another version of the program.

use std::path::PathBuf;

use super::{Exit, Failure, block_on, instance::Instance, output::print};
use crate::local::supervisor::{Client, ClientError};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Workers of the new version are started first; only when they serve, supervisor, control process and the other workers \
are replaced. Your own processes do not notice, and no request is lost. If the new version does not come up, everything \
runs on as before and the exit code is 1. SIGHUP to `serinus run` reads the program's own path again in the same way.

Examples:
  serinus upgrade                                  to the version of this command
  serinus upgrade --executable /opt/serinus-2/serinus
  serinus upgrade --state /var/lib/serinus")]
pub(super) struct Args {
    /// The program of the new version [default: the one that this command is]
    #[arg(long, value_name = "FILE")]
    executable: Option<PathBuf>,

    #[command(flatten)]
    instance: Instance,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let program = match self.executable {
            Some(given) => std::path::absolute(&given).map_err(|source| Failure::File {
                act: "find",
                path: given,
                source,
            })?,
            None => std::env::current_exe()
                .map_err(|source| Failure::System { act: "tell the path of this program", source })?,
        };
        let state = self.instance.locate()?;
        block_on(async {
            let cannot = |error: ClientError| match error {
                ClientError::NoSupervisor { state, source } => Failure::NothingRuns { state, source },
                error @ (ClientError::Refused(_)
                | ClientError::Timeout(_)
                | ClientError::Broken(_)
                | ClientError::Unexpected) => Failure::Part(Box::new(error)),
            };
            let client = Client::connect(&state).await.map_err(cannot)?;
            let before = client.observe().await.map_err(cannot)?;
            let upgrading = client.upgrade(Some(program.clone()));
            let after = super::progress::during("starting workers of the new version", upgrading).await;
            let after = after.map_err(cannot)?;
            print(format!(
                "upgraded from {} to {} ({}): workers and control are replaced; your processes ran on: {}",
                before.supervisor.version,
                after.supervisor.version,
                program.display(),
                after.processes.len(),
            ))?;
            Ok(Exit::Done)
        })
    }
}
