//! `serinus run`: a supervisor in the foreground, and a view of what it does.

use std::{path::PathBuf, time::Duration};

use strategies::HumanDuration;

use super::{
    Exit, Failure, block_on, color,
    connect::Home,
    edit::Waiting,
    finish,
    instance::{Instance, STATE},
    output::{self, Flow, json_line, print},
    send::{Letter, tell},
    service_manager,
    supervised::{Says, Supervised},
    watch::{Screen, Signals, Unseen, Watch, Watched},
    words,
};
use crate::{
    api::view::{Applied, AppliedRollout, DocumentChange},
    local::supervisor::logs,
};

/// How often is looked whether there is one rollout to be shown.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It stays until Ctrl-C, which finishes the requests under way first; `q` only leaves the picture, and a terminal that is \
closed ends nothing. Started again, it goes on where \
it stood: what was applied after FILE was changed last is not replaced by FILE, unless `--apply` says so. Hand in the \
next release with `serinus apply FILE` from another terminal.

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

    /// Apply FILE also where something else was applied after it was changed last
    #[arg(long, requires = "file")]
    apply: bool,

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
        let sockets = service_manager::sockets()?;
        output::detach();
        block_on(async {
            // From here on no signal ends by itself what has begun half-way, and a closed terminal ends nothing.
            let mut asked = Signals::new(Unseen::GoesOn)?;
            let live = self.output == Flow::Text && !self.no_live && super::live::possible();
            let says = if live { Says::InLogOnly } else { Says::Aloud };
            let starting = Supervised::start(&state, self.workers, says, &sockets);
            let mut house = super::progress::during("starting", starting).await?;
            // The supervisor holds them.
            drop(sockets);
            let ended = self.inside(&mut house, letter.as_ref(), &mut asked).await;
            service_manager::stopping();
            let stopped = super::progress::during("finishing the requests under way", house.stop()).await;
            let exit = ended?;
            stopped?;
            Ok(exit)
        })
    }

    async fn inside(
        &self,
        house: &mut Supervised,
        letter: Option<&Letter>,
        asked: &mut Signals,
    ) -> Result<Exit, Failure> {
        let applied = tokio::select! {
            applied = self.begin(house, letter) => applied?,
            // Whoever waits for the end of a release has not seen it.
            () = asked.end() => return Ok(if self.until_done { Exit::Failed } else { Exit::Done }),
        };
        if self.until_done {
            return self.until_done(house, &applied).await;
        }
        self.announce(house)?;
        let mut picture = !self.no_live;
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
                    () = asked.end() => return Ok(Exit::Done),
                    failure = house.ended() => return Err(failure),
                    () = tokio::time::sleep(LOOK_AGAIN) => continue,
                }
            };
            let mut watch =
                Watch::new(house.client.clone(), one.name.clone(), Home::Machine(house.state.clone()));
            watch.unseen = Unseen::GoesOn;
            let leaving = "leave the picture; Ctrl-C stops everything";
            let mut screen = Screen::choose(self.output, !picture, leaving)?;
            let watched = tokio::select! {
                watched = watch.run(&mut screen) => watched?,
                () = asked.end() => return Ok(Exit::Done),
                failure = house.ended() => return Err(failure),
            };
            drop(screen);
            match watched {
                Watched::Left => return Ok(Exit::Done),
                Watched::Closed => {
                    picture = false;
                    let how = "Ctrl-C stops everything, `serinus status --watch` draws the picture again";
                    print(format!("it runs on; {how}"))?;
                }
                Watched::Gone | Watched::Over(_) | Watched::TimedOut(_) => {}
            }
        }
    }

    /// Hands the document in, unless something newer is there.
    async fn begin(&self, house: &Supervised, letter: Option<&Letter>) -> Result<Applied, Failure> {
        let applied = match letter {
            Some(letter) if self.is_newer_there(house, letter).await? => Applied::default(),
            Some(letter) => letter.send(&house.client, &house.state).await?,
            None => Applied::default(),
        };
        tell(&applied, self.output)?;
        let served = house.client.rollouts().await.map_or(applied.rollouts.len(), |it| it.rollouts.len());
        service_manager::ready(served);
        Ok(applied)
    }

    /// Whether something else was applied to what this file is about after it was changed last. Says so: starting again
    /// is no release.
    async fn is_newer_there(&self, house: &Supervised, letter: &Letter) -> Result<bool, Failure> {
        if self.apply || self.until_done {
            return Ok(false);
        }
        let known = house.client.rollouts().await.map_err(|error| Failure::of_call(error, &house.state))?;
        if known.rollouts.is_empty() {
            return Ok(false);
        }
        let would = letter.look(&house.client, &house.state).await?;
        let changed = letter.changed();
        let replaces = |it: &&AppliedRollout| match it.change {
            DocumentChange::NewRevision | DocumentChange::NewPlan => true,
            DocumentChange::Created | DocumentChange::Unchanged => false,
        };
        let newer = would.rollouts.iter().filter(replaces).filter_map(|it| Some((it, it.before.as_ref()?)));
        let newer: Vec<_> = newer.filter(|(_, before)| changed.is_none_or(|it| it < before.at)).collect();
        for (it, before) in &newer {
            let (file, name) = (letter.path().display(), &it.name);
            let text = format!(
                "{name}: {file} is not applied: revision {} of {} is wanted since {}, and {file} was changed before; \
                 `serinus apply {file}` releases it ({}), `serinus run --apply` at the start",
                before.revision,
                before.path,
                words::day_and_time(before.at),
                it.revision
            );
            match self.output {
                Flow::Json => json_line(&serde_json::json!({
                    "kind": "notApplied", "rollout": name, "revision": it.revision, "wanted": before.revision,
                    "since": before.at, "text": text,
                }))?,
                Flow::Text => print(color::paint(color::WARN, text))?,
            }
        }
        Ok(!newer.is_empty())
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
        let waiting =
            Waiting { wait: true, timeout: self.timeout, output: self.output, no_live: self.no_live };
        let (client, state) = (house.client.clone(), house.state.clone());
        let home = Home::Machine(state);
        tokio::select! {
            exit = finish::wait_for_all(applied, &client, &home, &waiting, ("stop everything", Unseen::GoesOn)) => exit,
            failure = house.ended() => Err(failure),
        }
    }
}
