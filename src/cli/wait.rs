//! `serinus wait`: wait until a rollout is over.

use strategies::HumanDuration;

use super::{
    Exit, Failure, block_on,
    ending::Awaited,
    finish,
    instance::Chosen,
    output::Flow,
    watch::{Screen, Watch},
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 promoted (or at rest), 3 rolled back or aborted, 4 undecided or paused at a deadline, 5 not over in \
time, 6 superseded by another revision, 1 anything else.

Examples:
  serinus wait shop --timeout 30m
  serinus wait shop --output json | tail -n 1")]
pub(super) struct Args {
    #[command(flatten)]
    chosen: Chosen,

    /// Wait no longer than this
    #[arg(long, value_name = "DURATION")]
    timeout: Option<HumanDuration>,

    /// Show the live view while waiting
    #[arg(long)]
    watch: bool,

    /// What to print: text, or json (one object per line)
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    output: Flow,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        block_on(async {
            let found = self.chosen.find().await?;
            let mut watch = Watch::new(found.client.clone(), found.name.clone(), found.home.clone());
            watch.awaited = Some(Awaited::by(&found.view));
            watch.timeout = self.timeout.map(|it| it.0);
            let mut screen = Screen::choose(self.output, !self.watch, "stop waiting; it goes on")?;
            let watched = watch.run(&mut screen).await;
            drop(screen);
            finish::wait(watched?, &watch, self.output)
        })
    }
}
