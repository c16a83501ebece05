//! `serinus controller`: the engine of a cluster.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use strategies::HumanDuration;
use tokio::sync::watch;

use super::{
    Exit, Failure,
    connect::Connection,
    watch::{Signals, Unseen},
};
use crate::{
    cluster::{Controller, Settings, Terms, serve_probes},
    failpoint,
    telemetry::{Losses, Outlet},
};

/// Where the engine of a cluster lives, unless it is said otherwise.
const HOME: &str = "serinus";
/// How long the end of it waits for its last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It works with the rights of its service account, or of the kubeconfig outside of a cluster. Several instances may run: \
one of them acts, the others are ready to. SIGTERM hands over to one of them at once.

Examples:
  serinus controller                              in a cluster, for all namespaces
  serinus controller --watch-namespace shop       for one namespace, with rights there only
  serinus controller --selector team=payments     for some Rollouts: run another one for the rest")]
pub(super) struct Args {
    #[command(flatten)]
    connection: Connection,

    /// Work for this namespace only; may be given several times [default: all]
    #[arg(long, value_name = "NAME")]
    watch_namespace: Vec<String>,

    /// Work for Rollouts with these labels only
    #[arg(long, value_name = "SELECTOR")]
    selector: Option<String>,

    /// Name of the Lease by which instances agree who acts: another one for each selector
    #[arg(long, value_name = "NAME", default_value = "serinus")]
    lease: String,

    /// How long an instance that is gone is waited for, 1s at least
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    lease_duration: HumanDuration,

    /// What this instance is called [default: the host and the process]
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide_env = true)]
    identity: Option<String>,

    /// How long one call may take; less than half a lease
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    call_deadline: HumanDuration,

    /// Rollouts that take a turn at the same time, at most
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    turns: u16,

    /// Where /healthz, /readyz and /metrics are answered
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8090")]
    listen: SocketAddr,

    /// Append every decision to this file as JSON Lines; `-` is standard output [default: nowhere]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        failpoint::role("controller");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|source| Failure::System { act: "start", source })?;
        let done = runtime.block_on(self.work());
        runtime.shutdown_timeout(LAST_LINES);
        done
    }

    async fn work(self) -> Result<Exit, Failure> {
        let journal = self.journal.as_deref().map(open).transpose()?;
        let (client, home) = self.connection.client().await?;
        let settings = self.settings(home.as_str(), journal.clone())?;
        let mut signals = Signals::new(Unseen::Ends)?;
        let (stop, stopped) = watch::channel(false);
        let started = Controller::start(client, settings, stopped.clone()).await;
        let (controller, work) = started.map_err(|error| Failure::Part(Box::new(error)))?;
        let probes = serve_probes(self.listen, controller, stopped).await;
        let probes = probes.map_err(|source| Failure::System { act: "listen on --listen", source })?;
        let work = tokio::spawn(work);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), listen = %self.listen, "the controller works");
        tokio::pin!(work);
        let ended = tokio::select! {
            () = signals.end() => {
                stop.send_replace(true);
                (&mut work).await
            }
            ended = &mut work => ended,
        };
        probes.abort();
        if let Some(journal) = journal {
            journal.flush(LAST_LINES);
        }
        ended.map_err(|error| Failure::Part(Box::new(error))).map(|()| Exit::Done)
    }

    fn settings(&self, home: &str, journal: Option<Outlet>) -> Result<Settings, Failure> {
        let (lease, call) = (self.lease_duration.0, self.call_deadline.0);
        if lease < Duration::from_secs(1) || lease < call * 2 {
            return Err(Failure::Usage {
                what: format!(
                    "a lease of {} is too short for calls of {}",
                    self.lease_duration, self.call_deadline
                ),
                help: "a lease is 1s at least, and twice as long as a call".to_owned(),
            });
        }
        // In a cluster the namespace is its own; outside, that of the context says nothing.
        let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let home = if in_cluster || self.connection.is_meant() { home } else { HOME };
        Ok(Settings {
            namespaces: self.watch_namespace.iter().map(|it| it.as_str().into()).collect(),
            shard: self.selector.clone(),
            terms: Terms {
                namespace: home.into(),
                name: self.lease.as_str().into(),
                identity: self.identity.clone().unwrap_or_else(identity),
                duration: lease,
            },
            deadline: call,
            turns: usize::from(self.turns),
            journal,
        })
    }
}

fn identity() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}", std::process::id())
}

fn open(path: &std::path::Path) -> Result<Outlet, Failure> {
    if path == std::path::Path::new("-") {
        return Ok(Outlet::new("journal", Losses::Counted, io::stdout()));
    }
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let file = file.map_err(|source| Failure::File { act: "write", path: path.to_owned(), source })?;
    Ok(Outlet::new("journal", Losses::Counted, file))
}
