//! `serinus get`: a table of rollouts.

use jiff::{SignedDuration, Timestamp};

use super::{
    Exit, Failure, block_on, color,
    connect::{Answerer, Connection},
    instance::Instance,
    output::{Format, print, structured, table},
    words,
};
use crate::{
    api::remote::Remote as _,
    api::view::{PhaseName, RolloutList, RolloutView},
    clock::{self, Because, Step},
    cluster::Namespaces,
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  serinus get --output json")]
pub(super) struct Args {
    #[command(flatten)]
    instance: Instance,

    #[command(flatten)]
    connection: Connection,

    /// In a cluster: of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,

    /// What to print: text, json or yaml
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    output: Format,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        block_on(async {
            let scope = if self.all_namespaces { Namespaces::All } else { Namespaces::One };
            let (home, client) = Answerer::find(&self.instance, &self.connection, scope).await?;
            let list = client.rollouts().await.map_err(|error| home.failed(error))?;
            if structured(self.output, &list)? {
                return Ok(Exit::Done);
            }
            if list.rollouts.is_empty() {
                print("nothing has been applied here yet: `serinus apply FILE`")?;
            } else {
                let mut head = vec!["NAME", "STANDS", "WEIGHT", "STABLE", "CANARY", "READY", "ADDRESS"];
                if self.all_namespaces {
                    head.insert(0, "NAMESPACE");
                }
                let mut rows = vec![head.into_iter().map(|it| color::paint(color::DIM, it)).collect()];
                rows.extend(list.rollouts.iter().map(|it| match (&it.namespace, self.all_namespaces) {
                    (Some(namespace), true) => [vec![namespace.to_string()], row(it)].concat(),
                    (None, _) | (_, false) => row(it),
                }));
                print(table(&rows).trim_end())?;
            }
            for it in unwell(&list) {
                print(color::paint(color::WARN, it))?;
            }
            if let Some(noted) = list.health.clock.as_ref().and_then(|it| clock_step(it, clock::wall())) {
                print(color::paint(color::DIM, noted))?;
            }
            Ok(Exit::Done)
        })
    }
}

fn row(view: &RolloutView) -> Vec<String> {
    let style = match view.phase {
        PhaseName::RolledBack | PhaseName::Aborting => color::BAD,
        PhaseName::Stepping if view.hold.is_some() => color::WARN,
        PhaseName::Idle | PhaseName::Promoting => color::GOOD,
        PhaseName::Adopting | PhaseName::Stepping | PhaseName::Leaving | PhaseName::Left => color::STRONG,
    };
    let since = words::relative(view.since, clock::wall());
    let ready: Vec<_> = view
        .arms
        .iter()
        .map(|it| format!("{}/{}", it.ready.map_or("?".to_owned(), |ready| ready.to_string()), it.desired))
        .collect();
    let addresses: Vec<_> =
        view.addresses.iter().map(|it| format!("{}://{}", it.scheme, it.address)).collect();
    let or_dash = |it: Option<String>| it.filter(|it| !it.is_empty()).unwrap_or_else(|| "-".to_owned());
    vec![
        color::paint(color::STRONG, &view.name),
        format!("{} {}", color::paint(style, words::stands(view)), color::paint(color::DIM, since)),
        view.weight.settled.unwrap_or(view.weight.asked).to_string(),
        or_dash(view.stable.as_ref().map(ToString::to_string)),
        or_dash(view.canary.as_ref().map(ToString::to_string)),
        or_dash(Some(ready.join(" "))),
        or_dash(Some(addresses.join(" "))),
    ]
}

/// How long it is said that the clock was set.
const NOTED: SignedDuration = SignedDuration::from_hours(24);

/// That the clock on the wall was set, while that may still puzzle somebody.
fn clock_step(step: &Step, now: Timestamp) -> Option<String> {
    if now.duration_since(step.at) > NOTED {
        return None;
    }
    let (by, at) = (words::span(step.by.unsigned_abs()), words::day_and_time(step.at));
    Some(match (step.because, step.by.is_negative()) {
        (Because::Set, false) => {
            format!("the clock was set forward by {by} ({at}): pauses and deadlines go on as if it were not")
        }
        (Because::Set, true) => {
            format!("the clock was set back by {by} ({at}): pauses and deadlines go on as if it were not")
        }
        (Because::Started, _) => {
            format!(
                "the machine was off for {by} or its clock was set ({at}): that counts in no pause or deadline"
            )
        }
    })
}

/// What is wrong with the engine itself.
fn unwell(list: &RolloutList) -> Vec<String> {
    let store = list
        .health
        .store
        .as_ref()
        .map(|it| format!("the store is not written to, so nothing is decided: {it}"));
    let supervisor =
        list.health.supervisor.as_ref().map(|it| format!("the supervisor does not answer: {it}"));
    let troubles = list
        .rollouts
        .iter()
        .flat_map(|view| view.troubles.iter().map(|it| format!("{}: {}", view.name, it.text)));
    store.into_iter().chain(supervisor).chain(troubles).collect()
}
