//! `serinus status`: how a rollout stands, once or live.

use super::{
    Exit, Failure, block_on, color,
    connect::Home,
    instance::Chosen,
    output::{Flow, Format, print, structured},
    picture::{self, Theme},
    watch::{Screen, Watch, Watched},
};
use crate::{api::view::RolloutView, clock, local::supervisor::logs};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
On a terminal `--watch` draws a live view: the canary's share, replicas, requests of the last minute, evidence towards \
roll back and towards promotion, and what it waits for. Elsewhere it prints one line per change.

Examples:
  serinus status
  serinus status shop --watch
  serinus status shop --output json")]
pub(super) struct Args {
    #[command(flatten)]
    chosen: Chosen,

    /// Stay and show what changes
    #[arg(long, short)]
    watch: bool,

    /// With --watch: print lines even on a terminal
    #[arg(long, requires = "watch")]
    no_live: bool,

    /// What to print: text, json or yaml; with --watch json is one object per line
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    output: Format,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        block_on(async {
            let found = self.chosen.find().await?;
            if self.watch {
                let mut watch = Watch::new(found.client.clone(), found.name.clone(), found.home.clone());
                let mut screen = Screen::choose(self.flow()?, self.no_live, "leave; it goes on")?;
                let watched = watch.run(&mut screen).await?;
                drop(screen);
                return match watched {
                    Watched::Gone => print(format!("{} is deleted", found.name)).map(|()| Exit::Done),
                    Watched::Left | Watched::Closed | Watched::Over(_) | Watched::TimedOut(_) => {
                        Ok(Exit::Done)
                    }
                };
            }
            if !structured(self.output, &found.view)? {
                print(text(&found.view))?;
                if let Home::Machine(state) = &found.home {
                    let logs = logs::directory(state);
                    print(color::paint(color::DIM, format!("\nlogs  {}", logs.display())))?;
                }
            }
            Ok(Exit::Done)
        })
    }

    fn flow(&self) -> Result<Flow, Failure> {
        match self.output {
            Format::Text => Ok(Flow::Text),
            Format::Json => Ok(Flow::Json),
            Format::Yaml => Err(Failure::Usage {
                what: "`--watch` cannot print YAML".to_owned(),
                help: "use `--output json`: one object per line".to_owned(),
            }),
        }
    }
}

/// A rollout as text with colours.
#[must_use]
pub(super) fn text(view: &RolloutView) -> String {
    let mut text = String::new();
    for section in picture::sections(view, clock::wall(), super::output::columns(), Theme { color: true }) {
        if !section.title.is_empty() {
            text.push_str(&color::paint(color::DIM, format!("\n{}", section.title)));
            text.push('\n');
        }
        for line in section.lines {
            text.push_str(&picture::ansi(&line));
            text.push('\n');
        }
    }
    text.truncate(text.trim_end().len());
    text
}
