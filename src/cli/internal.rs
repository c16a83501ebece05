//! Hidden commands: the parts of a running instance, started by one another and by tests, never by hand.

use std::{
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use clap::Subcommand;
use tokio_util::sync::CancellationToken;

use super::{Exit, Failure, block_on, log::Voice, output, watch};
use crate::local::{
    control::{ControlBoot, run_control},
    load::{LoadPlan, Outcome, generate},
    process::shim::exec_shim,
    sample::{CRASH_STATUS, SampleArgs, SampleError, run_sample},
    supervisor::{self, Settings, channel},
    worker::run_worker,
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    part: Part,
}

/// Parts of a running instance
#[derive(Debug, Subcommand)]
enum Part {
    /// Becomes the program that the supervisor hands over
    Exec,
    /// A supervisor that ends with the process that started it
    Supervise {
        /// State directory
        #[arg(long)]
        state: PathBuf,
        /// Process id of the one who started it
        #[arg(long)]
        parent: u32,
        /// How many proxy workers
        #[arg(long)]
        workers: u32,
        /// How many listening sockets standard input brings
        #[arg(long, default_value_t = 0)]
        sockets: usize,
    },
    /// Continues a supervisor after an upgrade
    Supervisor {
        /// State directory
        #[arg(long)]
        state: Option<PathBuf>,
    },
    /// A proxy worker
    Worker {
        /// State directory
        #[arg(long)]
        state: PathBuf,
        /// Its number
        #[arg(long)]
        worker: u64,
    },
    /// The control process
    Control {
        /// State directory
        #[arg(long)]
        state: PathBuf,
    },
    /// The sample service
    Sample(SampleArgs),
    /// An open-loop load generator that never retries; prints a JSON report
    Load {
        /// Where to
        target: SocketAddr,
        /// Requests per second
        #[arg(long, default_value_t = 500.0)]
        rate: f64,
        /// How long
        #[arg(long, default_value = "10s")]
        r#for: strategies::HumanDuration,
        /// Path and query
        #[arg(long, default_value = "/")]
        path: String,
        /// First word of every body of the application
        #[arg(long, default_value = crate::local::sample::SAMPLE_TOKEN)]
        token: String,
        /// Seeds when requests are due
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
}

/// Whether this process is to become another program: nothing else may happen in it before.
#[must_use]
pub(super) fn is_shim() -> bool {
    let mut words = std::env::args_os().skip(1);
    words.next().is_some_and(|it| it == "internal") && words.next().is_some_and(|it| it == "exec")
}

impl Args {
    pub(super) fn voice(&self) -> Voice {
        match &self.part {
            Part::Supervise { state, .. } | Part::Supervisor { state: Some(state) } => {
                Voice::Supervisor(state.clone())
            }
            Part::Worker { worker, .. } => Voice::Part(format!("worker {worker}")),
            Part::Control { .. } => Voice::Part("control".to_owned()),
            Part::Supervisor { state: None } => Voice::Holder,
            Part::Exec | Part::Sample(_) | Part::Load { .. } => Voice::Command,
        }
    }

    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self.part {
            Part::Exec => std::process::exit(exec_shim()),
            Part::Supervise { state, parent, workers, sockets } => supervise(state, parent, workers, sockets),
            Part::Supervisor { .. } => Ok(supervisor::resume().map(|()| Exit::Done)?),
            Part::Worker { state, worker } => match run_worker(&state, worker) {
                Ok(()) => Ok(Exit::Done),
                Err(error) => Err(Failure::Part(Box::new(error))),
            },
            Part::Control { state } => match run_control(&ControlBoot { state }) {
                Ok(()) => Ok(Exit::Done),
                Err(error) => Err(Failure::Part(Box::new(error))),
            },
            Part::Sample(args) => match run_sample(args) {
                Ok(()) => Ok(Exit::Done),
                Err(SampleError::Crashed) => std::process::exit(CRASH_STATUS),
                Err(error @ (SampleError::Listen { .. } | SampleError::Runtime(_))) => {
                    Err(Failure::Part(Box::new(error)))
                }
            },
            Part::Load { target, rate, r#for, path, token, seed } => {
                let duration = Some(r#for.0);
                load(LoadPlan { path, token, seed, duration, ..LoadPlan::new(target, rate) })
            }
        }
    }
}

fn supervise(state: PathBuf, parent: u32, workers: u32, sockets: usize) -> Result<Exit, Failure> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let cannot = |act| move |source: std::io::Error| Failure::System { act, source };
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| cannot("end with the process that started this one")(error.into()))?;
    let still = getppid().is_some_and(|it| u32::try_from(it.as_raw_nonzero().get()) == Ok(parent));
    if !still {
        return Ok(Exit::Done);
    }
    let settings = Settings::new(state).map_err(cannot("tell the path of this program"))?;
    let given = given(sockets).map_err(cannot("take the sockets of the service manager"))?;
    supervisor::run_with(Settings { workers, ..settings }, given)?;
    Ok(Exit::Done)
}

/// The sockets that standard input brings.
fn given(sockets: usize) -> std::io::Result<Vec<OwnedFd>> {
    let mut all = vec![];
    while all.len() < sockets {
        let (read, some) = channel::receive(std::io::stdin().as_fd(), &mut [0; 1])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        all.extend(some);
    }
    if sockets > 0 {
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    }
    Ok(all)
}

fn load(plan: LoadPlan) -> Result<Exit, Failure> {
    let report = block_on(async {
        let stop = CancellationToken::new();
        let ended = stop.clone();
        tokio::spawn(async move {
            if watch::asked_to_end(watch::Unseen::Ends).await.is_ok() {
                ended.cancel();
            }
        });
        Ok(generate(plan, stop, |_| {}).await)
    })?;
    let quantile =
        |share| Duration::from_micros(report.latency_us.value_at_quantile(share)).as_secs_f64() * 1e3;
    output::json_line(&serde_json::json!({
        "kind": "load",
        "requests": report.requests,
        "failed": report.failed(),
        "errors": report.count(Outcome::AppError),
        "outcomes": report.outcomes,
        "versions": report.versions,
        "p50Ms": quantile(0.5),
        "p99Ms": quantile(0.99),
    }))?;
    Ok(Exit::Done)
}
