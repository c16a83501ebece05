//! `serinus eject`: gives a workload of a cluster back without an engine.

use std::time::Duration;

use clap::ValueEnum;
use strategies::HumanDuration;

use super::{Exit, Failure, block_on, connect::Connection, output::print};
use crate::{
    api::view::PhaseName,
    cluster::{self, Api, Keep},
};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It needs no engine, and the rights to what the engine would write. The Rollout stays with `mode: off`; delete it, or set \
`mode: active` to begin anew.

Examples:
  kubectl serinus eject shop
  kubectl serinus eject shop --to canary")]
pub(super) struct Args {
    /// The Rollout
    #[arg(value_name = "ROLLOUT")]
    rollout: String,

    /// The revision that the workload goes on with
    #[arg(long, value_enum, value_name = "SIDE", default_value_t)]
    to: To,

    /// Try no longer than this
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    timeout: HumanDuration,

    #[command(flatten)]
    connection: Connection,
}

/// Which revision stays.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum To {
    /// The one that serves users
    #[default]
    Stable,
    /// The one on trial
    Canary,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        block_on(async {
            let (client, namespace) = self.connection.client().await?;
            let api = Api::new(client, namespace, PATIENCE);
            let keep = match self.to {
                To::Stable => Keep::Stable,
                To::Canary => Keep::Canary,
            };
            let name = self.rollout.as_str().into();
            let said = |phase: &strategies::Phase| {
                tracing::info!(phase = %PhaseName::from(phase), "ejecting");
            };
            let ejected = tokio::time::timeout(self.timeout.0, cluster::eject(api, &name, keep, said)).await;
            let what = format!("giving {} back", self.rollout);
            let done = ejected.map_err(|_| Failure::TimedOut { what, within: self.timeout })?;
            done.map_err(|error| Failure::Part(Box::new(error)))?;
            print(format!("{} is given back, and its Rollout is off", self.rollout))?;
            Ok(Exit::Done)
        })
    }
}
