//! Whom a command talks to: the engine of an instance on this machine, or the objects of a cluster.

use std::{path::PathBuf, time::Duration};

use kube::{
    Client as Kube, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use strategies::Name;

use super::{Failure, instance::Instance};
use crate::{
    api::{
        client::{Client, ClientError, Events},
        remote::{Followed, Remote},
        view::{
            Applied, CalibrationView, Edit, History, JournalQuery, JournalRecord, NewOrder, OrderAnswer,
            RolloutEvent, RolloutList, RolloutView,
        },
    },
    cluster::{self, Api, Cluster, Namespaces},
    local::supervisor::logs,
    port::Unavailable,
};

/// What this program is called as a plugin of `kubectl`.
const PLUGIN: &str = "kubectl-serinus";
/// How long one call of a command to a cluster may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which cluster, where it is one.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "In a cluster (as `kubectl serinus`, or with one of these)")]
pub(super) struct Connection {
    /// Namespace [default: that of the context]
    #[arg(long, short = 'n', value_name = "NAME")]
    namespace: Option<String>,

    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Kubeconfig [default: as kubectl finds it]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl Connection {
    /// Whether it is about a cluster.
    pub(super) fn is_meant(&self) -> bool {
        self.namespace.is_some() || self.context.is_some() || self.kubeconfig.is_some() || is_plugin()
    }

    /// The client, and the namespace.
    ///
    /// # Errors
    /// There is no such configuration.
    pub(super) async fn client(&self) -> Result<(Kube, Name), Failure> {
        let cannot = |error: &(dyn std::error::Error + 'static)| Failure::Usage {
            what: format!("no cluster is configured: {}", Unavailable::new("", error).why),
            help: "set KUBECONFIG, or name one with --kubeconfig FILE and --context NAME".to_owned(),
        };
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match (&self.kubeconfig, &self.context) {
            (Some(file), _) => {
                let file = Kubeconfig::read_from(file).map_err(|it| cannot(&it))?;
                Config::from_custom_kubeconfig(file, &options).await.map_err(|it| cannot(&it))?
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|it| cannot(&it))?,
            (None, None) => Config::infer().await.map_err(|it| cannot(&it))?,
        };
        // A write that is tried again by the client may outlive the right to make it.
        config.default_retry = false;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Kube::try_from(config).map_err(|it| cannot(&it))?;
        Ok((client, namespace.as_str().into()))
    }

    /// Rollouts of the cluster.
    ///
    /// # Errors
    /// There is no such configuration.
    pub(super) async fn cluster(&self, namespaces: Namespaces) -> Result<Cluster, Failure> {
        let (client, namespace) = self.client().await?;
        Ok(Cluster::new(Api::new(client, namespace, PATIENCE), namespaces))
    }
}

/// Whether this was called by `kubectl`.
pub(super) fn is_plugin() -> bool {
    let own = std::env::args_os().next().map(PathBuf::from);
    own.as_deref().and_then(|it| it.file_stem()).is_some_and(|it| it == PLUGIN)
}

/// Where an engine or a cluster is.
#[derive(Clone, Debug)]
pub(super) enum Home {
    /// An instance of this machine, by its state directory.
    Machine(PathBuf),
    /// A namespace of a cluster.
    Cluster(Name),
}

impl Home {
    /// A failed call.
    pub(super) fn failed(&self, error: ClientError) -> Failure {
        match self {
            Self::Machine(state) => Failure::of_call(error, state),
            Self::Cluster(_) => Failure::Engine(error),
        }
    }

    /// Where whoever should answer says why it does not.
    pub(super) fn log(&self) -> String {
        match self {
            Self::Machine(state) => logs::control(state).display().to_string(),
            Self::Cluster(_) => "what `kubectl logs` of the controller prints".to_owned(),
        }
    }

    /// Nobody answers any more.
    pub(super) fn down(&self) -> Failure {
        match self {
            Self::Machine(state) => Failure::EngineDown { log: logs::control(state) },
            Self::Cluster(namespace) => Failure::NothingToDo {
                what: format!("the API server does not answer about namespace {namespace}"),
                help: "`kubectl get --raw /readyz` shows whether it is there".to_owned(),
            },
        }
    }
}

/// Whoever answers.
#[derive(Clone)]
pub(super) enum Answerer {
    Machine(Client),
    Cluster(Box<Cluster>),
}

impl Answerer {
    /// Connects.
    ///
    /// # Errors
    /// Nothing runs, or no cluster is configured.
    pub(super) async fn find(
        instance: &Instance,
        connection: &Connection,
        namespaces: Namespaces,
    ) -> Result<(Home, Self), Failure> {
        if instance.state.is_none() && connection.is_meant() {
            let cluster = connection.cluster(namespaces).await?;
            return Ok((Home::Cluster(cluster.namespace().clone()), Self::Cluster(Box::new(cluster))));
        }
        let (state, client) = instance.connect()?;
        Ok((Home::Machine(state), Self::Machine(client)))
    }
}

/// Events of either.
pub(super) enum Either {
    Machine(Events),
    Cluster(cluster::Events),
}

impl Followed for Either {
    async fn next(&mut self) -> Result<Option<RolloutEvent>, ClientError> {
        match self {
            Self::Machine(it) => Followed::next(it).await,
            Self::Cluster(it) => it.next().await,
        }
    }
}

macro_rules! ask {
    ($($method:ident($($argument:ident: $Type:ty),*) -> $Answer:ty;)*) => {
        impl Remote for Answerer {
            type Events = Either;

            async fn events(&self, name: &Name) -> Result<Either, ClientError> {
                match self {
                    Self::Machine(it) => it.events(name).await.map(Either::Machine),
                    Self::Cluster(it) => it.events(name).await.map(Either::Cluster),
                }
            }

            $(async fn $method(&self, $($argument: $Type),*) -> Result<$Answer, ClientError> {
                match self {
                    Self::Machine(it) => Remote::$method(it, $($argument),*).await,
                    Self::Cluster(it) => Remote::$method(&**it, $($argument),*).await,
                }
            })*
        }
    };
}

ask! {
    rollouts() -> RolloutList;
    rollout(name: &Name) -> RolloutView;
    history(name: &Name) -> History;
    journal(name: &Name, query: JournalQuery) -> Vec<JournalRecord>;
    calibration(name: &Name) -> CalibrationView;
    order(name: &Name, order: &NewOrder) -> OrderAnswer;
    edit(name: &Name, edit: &Edit) -> Applied;
    delete(name: &Name) -> RolloutView;
}
