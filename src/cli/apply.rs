//! `serinus apply`: hand a document to a running instance.

use std::path::PathBuf;

use super::{
    Exit, Failure, block_on,
    edit::Waiting,
    finish,
    instance::Instance,
    output::{Flow, print},
    send::{Letter, awaited, only, tell},
    watch::{Screen, Watch},
};
use crate::api::client::Client;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A changed command, environment or file of the workload is a new revision: it is taken to the users step by step. \
Anything else changes how the steps go on.

Exit codes with --wait: 0 promoted, 3 rolled back or aborted, 4 undecided or paused at a deadline, 5 not over in time, \
6 superseded.

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
            tell(&applied, self.waiting.output)?;
            if !self.waiting.wait {
                if self.waiting.output == Flow::Text && !self.dry_run {
                    print("`serinus status --watch` shows what becomes of it")?;
                }
                return Ok(Exit::Done);
            }
            let one = only(&applied)?;
            let mut watch = Watch::new(client, one.name.clone(), &state);
            watch.awaited = Some(awaited(one));
            watch.timeout = self.waiting.timeout.map(|it| it.0);
            let mut screen =
                Screen::choose(self.waiting.output, self.waiting.no_live, "stop waiting; it goes on")?;
            let watched = watch.run(&mut screen).await;
            drop(screen);
            finish::wait(watched?, &watch, self.waiting.output)
        })
    }
}
