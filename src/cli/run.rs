//! `serinus run`: a supervisor in the foreground, and a view of what it does.

use std::{path::PathBuf, time::Duration};

use strategies::HumanDuration;

use super::{
    Exit, Failure, block_on, color, finish,
    instance::{Instance, STATE},
    output::{self, Flow, json_line, print},
    send::{Letter, awaited, only, tell},
    supervised::{Says, Supervised},
    watch::{Screen, Unseen, Watch, Watched, asked_to_end},
};
use crate::{api::view::Applied, local::supervisor::logs};

/// How often is looked whether there is one rollout to be shown.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It stays until Ctrl-C, which finishes the requests under way first. Started again, it goes on where it stood. Hand in \
the next release with `serinus apply FILE` from another terminal.

With --until-done the exit code says how the rollout ended: 0 promoted (or up for the first time), 3 rolled back or \
aborted, 4 undecided or paused at a deadline, 5 not over in time, 6 superseded.

Examples:
  serinus run shop.yaml
  serinus run shop.yaml --until-done --output json
  serinus run --state /var/lib/shop          what was applied there before")]
pub(super) struct Args {
    /// The document; without one, what was applied before goes on
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    instance: Instance,

    /// Proxy workers, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,

    /// End everything when the rollout is over; the exit code says how it ended
    #[arg(long, requires = "file")]
    until_done: bool,

    /// With --until-done: wait no longer than this
    #[arg(long, value_name = "DURATION", requires = "until_done")]
    timeout: Option<HumanDuration>,

    /// Print lines even on a terminal
    #[arg(long)]
    no_live: bool,

    /// What to print: text, or json (one object per line)
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    output: Flow,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let letter = self.file.as_deref().map(Letter::read).transpose()?;
        if let Some(letter) = &letter {
            letter.check()?;
        }
        let state = match &self.file {
            Some(file) => self.instance.beside(file),
            None => self.instance.state.clone().unwrap_or_else(|| PathBuf::from(STATE)),
        };
        if letter.is_none() && !state.is_dir() {
            return Err(Failure::Usage {
                what: format!("there is no document to run, and {} does not exist", state.display()),
                help: "name one: `serinus run FILE`".to_owned(),
            });
        }
        output::detach();
        block_on(async {
            let live = self.output == Flow::Text && !self.no_live && super::live::possible();
            let says = if live { Says::InLogOnly } else { Says::Aloud };
            let starting = Supervised::start(&state, self.workers, says);
            let mut house = super::progress::during("starting", starting).await?;
            let ended = self.inside(&mut house, letter.as_ref()).await;
            let stopped = super::progress::during("finishing the requests under way", house.stop()).await;
            let exit = ended?;
            stopped?;
            Ok(exit)
        })
    }

    async fn inside(&self, house: &mut Supervised, letter: Option<&Letter>) -> Result<Exit, Failure> {
        let applied = match letter {
            Some(letter) => letter.send(&house.client, &house.state).await?,
            None => Applied::default(),
        };
        tell(&applied, self.output)?;
        if self.until_done {
            return self.until_done(house, &applied).await;
        }
        self.announce(house)?;
        loop {
            let one = match house.client.rollouts().await {
                Ok(list) => match list.rollouts.as_slice() {
                    [one] => Some(one.clone()),
                    // There is no one picture to draw.
                    _ => None,
                },
                // Requests are served without the engine, and it comes back.
                Err(error) => {
                    tracing::info!(%error, "the engine does not answer");
                    None
                }
            };
            let Some(one) = one else {
                tokio::select! {
                    asked = asked_to_end(Unseen::GoesOn) => return asked.map(|()| Exit::Done),
                    failure = house.ended() => return Err(failure),
                    () = tokio::time::sleep(LOOK_AGAIN) => continue,
                }
            };
            let mut watch = Watch::new(house.client.clone(), one.name.clone(), &house.state);
            watch.unseen = Unseen::GoesOn;
            let mut screen = Screen::choose(self.output, self.no_live, "stop everything")?;
            let watched = tokio::select! {
                watched = watch.run(&mut screen) => watched?,
                failure = house.ended() => return Err(failure),
            };
            match watched {
                Watched::Left => return Ok(Exit::Done),
                Watched::Gone | Watched::Over(_) | Watched::TimedOut(_) => {}
            }
        }
    }

    fn announce(&self, house: &Supervised) -> Result<(), Failure> {
        let state = house.state.display();
        match self.output {
            Flow::Json => json_line(&serde_json::json!({
                "kind": "running",
                "state": house.state,
                "logs": logs::directory(&house.state),
            })),
            Flow::Text => print(color::paint(
                color::DIM,
                format!("running in {state}, its logs are in {state}/logs; Ctrl-C stops it"),
            )),
        }
    }

    async fn until_done(&self, house: &mut Supervised, applied: &Applied) -> Result<Exit, Failure> {
        let one = only(applied)?;
        let mut watch = Watch::new(house.client.clone(), one.name.clone(), &house.state);
        watch.awaited = Some(awaited(one));
        watch.unseen = Unseen::GoesOn;
        watch.timeout = self.timeout.map(|it| it.0);
        let mut screen = Screen::choose(self.output, self.no_live, "stop everything")?;
        let watched = tokio::select! {
            watched = watch.run(&mut screen) => watched?,
            failure = house.ended() => return Err(failure),
        };
        drop(screen);
        finish::wait(watched, &watch, self.output)
    }
}
