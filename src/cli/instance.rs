//! Which running instance a command is about.

use std::path::{Path, PathBuf};

use strategies::Name;

use super::{
    Failure,
    connect::{Answerer, Connection, Home},
};
use crate::api::{
    client::{Client, ClientError},
    remote::Remote as _,
    view::RolloutView,
};
use crate::cluster::Namespaces;

/// Name of the state directory, beside the document that was started.
pub(super) const STATE: &str = ".serinus";

/// Which running instance.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Instance {
    /// State directory of the running instance [default: `.serinus` beside FILE, here, or in a directory above]
    #[arg(long, value_name = "DIR", env = "SERINUS_STATE", hide_env = true)]
    pub(super) state: Option<PathBuf>,
}

impl Instance {
    /// The state directory for this document: named, or beside it. It need not be there yet.
    #[must_use]
    pub(super) fn beside(&self, document: &Path) -> PathBuf {
        match &self.state {
            Some(state) => state.clone(),
            None => document.parent().unwrap_or(Path::new("")).join(STATE),
        }
    }

    /// The state directory: named, or the nearest one from here upwards.
    ///
    /// # Errors
    /// [`Failure::NoState`].
    pub(super) fn locate(&self) -> Result<PathBuf, Failure> {
        if let Some(state) = &self.state {
            return Ok(state.clone());
        }
        let here =
            std::env::current_dir().map_err(|source| Failure::System { act: "tell where we are", source })?;
        let found = here.ancestors().map(|it| it.join(STATE)).find(|it| it.is_dir());
        found.ok_or(Failure::NoState)
    }
}

/// A rollout of a running instance, as a command line names it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Chosen {
    /// Which rollout [default: the only one]
    #[arg(value_name = "ROLLOUT")]
    pub(super) rollout: Option<String>,

    #[command(flatten)]
    instance: Instance,

    #[command(flatten)]
    connection: Connection,
}

/// A rollout found in a running instance.
#[derive(Clone)]
pub(super) struct Found {
    /// Where it is.
    pub(super) home: Home,
    /// Who answers for it.
    pub(super) client: Answerer,
    /// The rollout's name.
    pub(super) name: Name,
    /// As it stands.
    pub(super) view: RolloutView,
}

impl Chosen {
    /// The rollout of this name, or the only one, in this instance.
    pub(super) fn of(rollout: Option<String>, instance: Instance) -> Self {
        Self { rollout, instance, connection: Connection::default() }
    }

    /// Asks the running instance for it.
    ///
    /// # Errors
    /// Nothing runs, there is no such rollout, or there are several and none is named.
    pub(super) async fn find(&self) -> Result<Found, Failure> {
        let (home, client) = Answerer::find(&self.instance, &self.connection, Namespaces::One).await?;
        let list = client.rollouts().await.map_err(|error| home.failed(error))?;
        let view = choose(self.rollout.as_deref(), list.rollouts)?;
        Ok(Found { home, client, name: view.name.clone(), view })
    }
}

impl Instance {
    /// A caller of the running instance.
    ///
    /// # Errors
    /// [`Failure::NoState`].
    pub(super) fn connect(&self) -> Result<(PathBuf, Client), Failure> {
        let state = self.locate()?;
        let client = Client::new(&state);
        Ok((state, client))
    }
}

impl Found {
    /// A failed call of its engine.
    pub(super) fn failed(&self, error: ClientError) -> Failure {
        self.home.failed(error)
    }
}

fn choose(named: Option<&str>, mut all: Vec<RolloutView>) -> Result<RolloutView, Failure> {
    let names = |all: &[RolloutView]| all.iter().map(|it| it.name.to_string()).collect::<Vec<_>>();
    match named {
        Some(name) => match all.iter().position(|it| it.name.as_str() == name) {
            Some(index) => Ok(all.swap_remove(index)),
            None => Err(Failure::NoSuchRollout { name: name.to_owned(), known: names(&all) }),
        },
        None if all.len() > 1 => Err(Failure::WhichRollout { known: names(&all) }),
        None => all.pop().ok_or(Failure::NoRollouts),
    }
}
