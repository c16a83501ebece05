//! `serinus apply`: hand a document to a running instance.

use std::path::PathBuf;

use super::{
    Exit, Failure, block_on,
    connect::Home,
    edit::Waiting,
    finish,
    instance::Instance,
    output::{Flow, print},
    send::{self, Letter, tell, tell_what_would_be},
    watch::Unseen,
};
use crate::api::client::Client;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A changed command, environment or file of the workload is a new revision: it is taken to the users step by step. \
Anything else changes how the steps go on.

A revision that was rolled back before gets no requests; it is named, and the exit code is 3: `serinus retry` tries it \
again. Other exit codes with --wait: 0 promoted, 3 rolled back or aborted, 4 undecided or paused at a deadline, 5 not over \
in time, 6 superseded; of several rollouts that of the first that did not end well.

Examples:
  serinus apply shop.yaml
  serinus apply shop.yaml --wait --timeout 30m --output json
  serinus apply shop.yaml --dry-run")]
pub(super) struct Args {
    /// The document; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    instance: Instance,

    #[command(flatten)]
    waiting: Waiting,

    /// Only check it and say what it would mean
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let letter = Letter::read(&self.file)?;
        let letter = if self.dry_run { letter.dry_run() } else { letter };
        let beside = self.instance.beside(&self.file);
        let state = if beside.is_dir() { beside } else { self.instance.locate()? };
        block_on(async {
            let client = Client::new(&state);
            let applied = letter.send(&client, &state).await?;
            if self.dry_run {
                tell_what_would_be(&applied, self.waiting.output)?;
                return Ok(send::exit(&applied));
            }
            tell(&applied, self.waiting.output)?;
            if !self.waiting.wait {
                let exit = send::exit(&applied);
                if self.waiting.output == Flow::Text && exit == Exit::Done {
                    print("`serinus status --watch` shows what becomes of it")?;
                }
                return Ok(exit);
            }
            finish::wait_for_all(
                &applied,
                &client,
                &Home::Machine(state.clone()),
                &self.waiting,
                ("stop waiting; it goes on", Unseen::Ends),
            )
            .await
        })
    }
}
