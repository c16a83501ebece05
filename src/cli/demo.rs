//! `serinus demo`: a real canary on this machine.
//!
//! Two versions of the sample service, the open-loop load generator and two documents; everything else is what
//! `serinus run` and `serinus apply` do. Only the command line of the service says which version is bad.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use strategies::HumanDuration;

use super::{
    Exit, Failure, block_on,
    connect::Home,
    ending::Awaited,
    output::{self, Flow, json_line, print},
    send::{Letter, awaited, only},
    supervised::{Says, Supervised},
    watch::{Over, Screen, Unseen, Watch, Watched},
};

mod closing;
mod document;
mod users;

use document::{Documents, Version};
use users::Users;

/// Arguments of the command.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
A healthy new version is promoted after a few minutes: the evidence decides. A bad one is rolled back within seconds. \
No part of the engine knows which version is bad; with `--fault-in stable` the new version is promoted.

Exit codes: 0 promoted (with --fault: rolled back, as it should), 3 rolled back, 4 undecided, 1 anything else (with \
--fault: promoted, as it should not).

Examples:
  serinus demo
  serinus demo --fault errors
  serinus demo --fault latency --factor 10
  serinus demo --fault errors --fault-in stable
  serinus demo --rate 1000 --output json")]
pub(super) struct Args {
    /// Make one version bad: errors (it answers 500), latency (it is slow), crash (it dies every few seconds)
    #[arg(long, value_enum, value_name = "FAULT", hide_possible_values = true)]
    fault: Option<Fault>,

    /// Which version is bad: canary (the new one) or stable
    #[arg(
        long,
        value_enum,
        value_name = "SIDE",
        default_value_t,
        requires = "fault",
        hide_possible_values = true
    )]
    fault_in: Side,

    /// How many times as many errors, or as slow, the bad version is
    #[arg(long, value_name = "X", default_value_t = 10.0, value_parser = factor)]
    factor: f64,

    /// Share of requests that a good version answers with an error
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = document::share)]
    error_rate: f64,

    /// Requests per second, sent whether or not the ones before are answered
    #[arg(long, value_name = "N", default_value_t = 500.0, value_parser = rate)]
    rate: f64,

    /// Seeds when requests are sent and which of them fail
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Use this strategy: a file with what stands under `strategy:`, or under `spec:`, of a document
    #[arg(long, value_name = "FILE")]
    strategy: Option<PathBuf>,

    /// Where the service is reached
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Requests to the old version before the new one comes: the judges learn what is usual
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    warm_up: HumanDuration,

    /// Give up after this
    #[arg(long, value_name = "DURATION", default_value = "30m")]
    timeout: HumanDuration,

    /// Keep everything in this directory [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Print lines even on a terminal
    #[arg(long)]
    no_live: bool,

    /// What to print: text, or json (one object per line)
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    output: Flow,
}

/// What is wrong with a version.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum Fault {
    /// It answers 500 more often.
    Errors,
    /// It takes longer.
    Latency,
    /// It dies every few seconds.
    Crash,
}

/// One of the two versions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum Side {
    /// The new one.
    #[default]
    Canary,
    /// The old one.
    Stable,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.strip_suffix("/s").unwrap_or(text).trim().parse::<f64>();
    rate.ok()
        .filter(|it| (0.1..=100_000.0).contains(it))
        .ok_or_else(|| "a number of requests per second, 0.1 to 100,000".to_owned())
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.trim_end_matches(['x', 'X']).trim().parse::<f64>();
    factor.ok().filter(|it| (1.0..=1e6).contains(it)).ok_or_else(|| "a factor of at least 1".to_owned())
}

/// The directory of a demo; removed when dropped, if nobody named it.
struct Place {
    path: PathBuf,
    temporary: bool,
}

impl Place {
    fn new(named: Option<&Path>) -> Self {
        match named {
            Some(path) => Self { path: path.to_owned(), temporary: false },
            None => {
                let name = format!("serinus-demo-{}", std::process::id());
                Self { path: std::env::temp_dir().join(name), temporary: true }
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary {
            // What is left in a temporary directory harms nobody.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let documents = Documents::new(&self)?;
        let place = Place::new(self.state.as_deref());
        output::detach();
        block_on(async {
            let live = self.output == Flow::Text && !self.no_live && super::live::possible();
            let says = if live { Says::InLogOnly } else { Says::Aloud };
            let starting = Supervised::start(&place.path, 2, says, &[]);
            let mut house = super::progress::during("starting", starting).await?;
            let ended = self.show(&mut house, &documents).await;
            let stopped = super::progress::during("finishing the requests under way", house.stop()).await;
            let exit = ended?;
            stopped?;
            Ok(exit)
        })
    }

    async fn show(&self, house: &mut Supervised, documents: &Documents) -> Result<Exit, Failure> {
        let first = documents.write(&house.state, Version::Old)?;
        let applied = Letter::read(&first)?.send(&house.client, &house.state).await?;
        let one = only(&applied)?;
        let address = one.addresses.first().map(|it| it.address).ok_or_else(document::no_address)?;
        self.announce(house, address)?;
        let mut watch =
            Watch::new(house.client.clone(), one.name.clone(), Home::Machine(house.state.clone()));
        watch.awaited = Some(awaited(one));
        watch.unseen = Unseen::GoesOn;
        watch.timeout = Some(Duration::from_secs(60));
        let mut screen = Screen::choose(self.output, self.no_live, "stop the demo")?;
        screen.say("starting version 1 of the sample service as two processes")?;
        if !self.came_up(house, &mut watch, &mut screen).await? {
            return Ok(Exit::Failed);
        }
        let users = Users::begin(address, self.rate, self.seed);
        watch.banner = Some(users.banner());
        screen.say(&format!(
            "real requests from now on, {}/s; the judges learn what is usual for {}",
            self.rate, self.warm_up
        ))?;
        watch.awaited = None;
        watch.timeout = Some(self.warm_up.0);
        match either(house, &mut watch, &mut screen).await? {
            Watched::TimedOut(_) | Watched::Over(_) => {}
            Watched::Left | Watched::Closed | Watched::Gone => return Ok(Exit::Failed),
        }
        let over = self.release(house, documents, &mut watch, &mut screen, &users).await?;
        drop(screen);
        let counted = users.end().await;
        match over {
            Some((over, revision)) => closing::close(self, &over, revision, &counted),
            None => Ok(Exit::Failed),
        }
    }

    /// Brings version 2 to the users and watches what becomes of it; `None`: somebody left.
    async fn release(
        &self,
        house: &mut Supervised,
        documents: &Documents,
        watch: &mut Watch,
        screen: &mut Screen,
        users: &Users,
    ) -> Result<Option<(Over, Awaited)>, Failure> {
        let second = documents.write(&house.state, Version::New)?;
        screen.say(&format!("version 2 is applied{}", self.admission()))?;
        let applied = Letter::read(&second)?.send(&house.client, &house.state).await?;
        users.count_from_now();
        let expected = awaited(only(&applied)?);
        watch.awaited = Some(expected.clone());
        watch.timeout = Some(self.timeout.0);
        let over = match either(house, watch, screen).await? {
            Watched::Over(over) | Watched::TimedOut(over) => over,
            Watched::Left | Watched::Closed | Watched::Gone => return Ok(None),
        };
        // What the old version still answers belongs to the story.
        watch.awaited = None;
        watch.timeout = Some(Duration::from_secs(1));
        either(house, watch, screen).await?;
        Ok(Some((*over, expected)))
    }

    async fn came_up(
        &self,
        house: &mut Supervised,
        watch: &mut Watch,
        screen: &mut Screen,
    ) -> Result<bool, Failure> {
        match either(house, watch, screen).await? {
            Watched::Over(_) => Ok(true),
            Watched::TimedOut(_) => Err(Failure::NothingToDo {
                what: "version 1 of the sample service did not come up within a minute".to_owned(),
                help: format!("what it said is in {}", house.state.join("logs").display()),
            }),
            Watched::Left | Watched::Closed | Watched::Gone => Ok(false),
        }
    }

    /// Says to people which version is bad: the engine is not told.
    fn admission(&self) -> String {
        let what = match self.fault {
            None => return ": it is as good as version 1".to_owned(),
            Some(Fault::Errors) => format!("answers {}× as many errors", self.factor),
            Some(Fault::Latency) => format!("is {}× as slow", self.factor),
            Some(Fault::Crash) => "dies every few seconds".to_owned(),
        };
        match self.fault_in {
            Side::Canary => format!(": it {what} (the engine does not know)"),
            Side::Stable => format!(": version 1 {what} (the engine does not know)"),
        }
    }

    fn announce(&self, house: &Supervised, address: SocketAddr) -> Result<(), Failure> {
        match self.output {
            Flow::Json => json_line(&serde_json::json!({
                "kind": "demo",
                "state": house.state,
                "address": address,
                "rate": self.rate,
                "seed": self.seed,
                "fault": self.fault.map(|it| format!("{it:?}").to_lowercase()),
                "faultIn": self.fault.map(|_| format!("{:?}", self.fault_in).to_lowercase()),
            })),
            Flow::Text if self.no_live || !super::live::possible() => print(format!(
                "the service is at http://{address}; its state is in {}",
                house.state.display()
            )),
            Flow::Text => Ok(()),
        }
    }
}

/// Watches, unless the supervisor ends first.
async fn either(house: &mut Supervised, watch: &mut Watch, screen: &mut Screen) -> Result<Watched, Failure> {
    tokio::select! {
        watched = watch.run(screen) => watched,
        failure = house.ended() => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_factors_are_read_as_people_write_them() {
        assert_eq!(rate("500"), Ok(500.0));
        assert_eq!(rate("500/s"), Ok(500.0));
        assert_eq!(factor("5x"), Ok(5.0));
        for bad in ["0", "-1", "x", "NaN", "inf", ""] {
            assert!(rate(bad).is_err(), "{bad}");
            assert!(factor(bad).is_err(), "{bad}");
        }
    }
}
