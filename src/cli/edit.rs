//! What the commands that edit a document have in common: hand it in, say what it means, wait if asked to.

use strategies::HumanDuration;

use super::{
    Exit, Failure, block_on, finish,
    instance::Chosen,
    output::{Flow, print},
    send::{self, awaited, only, show_findings, tell},
    watch::{Screen, Watch},
};
use crate::api::{remote::Remote as _, view::Edit};

/// What every edit can say.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    #[command(flatten)]
    chosen: Chosen,

    #[command(flatten)]
    waiting: Waiting,
}

/// Whether to wait for the end, and how.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Waiting {
    /// Wait until it is over; the exit code says how it ended
    #[arg(long)]
    pub(super) wait: bool,

    /// Wait no longer than this
    #[arg(long, value_name = "DURATION", requires = "wait")]
    pub(super) timeout: Option<HumanDuration>,

    /// What to print: text, or json (one object per line)
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    pub(super) output: Flow,

    /// Print lines even on a terminal
    #[arg(long, requires = "wait")]
    pub(super) no_live: bool,
}

impl Common {
    /// Makes the edit.
    ///
    /// # Errors
    /// Nothing runs, or the edit is refused.
    pub(super) fn make(self, edit: &Edit) -> Result<Exit, Failure> {
        block_on(async {
            let found = self.chosen.find().await?;
            let edited = super::progress::during("handing in", found.client.edit(&found.name, edit)).await;
            let applied = edited.map_err(|error| found.failed(error))?;
            show_findings(&applied.findings);
            if applied.findings.iter().any(|it| it.is_error) {
                return Err(Failure::Said(Exit::Usage));
            }
            tell(&applied, self.waiting.output)?;
            if !self.waiting.wait {
                let exit = send::exit(&applied);
                if self.waiting.output == Flow::Text && exit == Exit::Done {
                    print("`serinus status --watch` shows what becomes of it")?;
                }
                return Ok(exit);
            }
            let mut watch = Watch::new(found.client.clone(), found.name.clone(), found.home.clone());
            watch.awaited = Some(awaited(only(&applied)?));
            watch.timeout = self.waiting.timeout.map(|it| it.0);
            let mut screen =
                Screen::choose(self.waiting.output, self.waiting.no_live, "stop waiting; it goes on")?;
            let watched = watch.run(&mut screen).await;
            drop(screen);
            finish::wait(watched?, &watch, self.waiting.output)
        })
    }
}
