//! A machine under test and the questions tests ask about it.

use std::{
    net::SocketAddr,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use serinus::{
    api::{
        client::{Client, ClientError},
        view::{Applied, Apply, DocumentChange, NewOrder, OrderAnswer, RolloutView},
    },
    clock,
    local::{
        load::{LoadPlan, LoadReport, Record, generate},
        store::Store,
        supervisor::Client as SupervisorClient,
    },
};
use strategies::{Action, Name};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::supervisor::{Ended, Supervisor};

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The rollout of these tests.
pub(crate) const SHOP: &str = "shop";

pub(crate) struct Rig {
    pub(crate) supervisor: Supervisor,
    pub(crate) state: PathBuf,
    pub(crate) base: PathBuf,
    pub(crate) client: Client,
    directory: TempDir,
}

/// What one version of the service is like.
pub(crate) struct Service<'a> {
    pub(crate) version: &'a str,
    pub(crate) more: &'a [&'a str],
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(env: &[(&str, &str)]) -> Self {
        Self::start_under(env, Ended::Stays).await
    }

    /// `ended`: what becomes of a supervisor that was killed.
    pub(crate) async fn start_under(env: &[(&str, &str)], ended: Ended) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (state, base) = (directory.path().join("state"), directory.path().to_owned());
        let programs = base.join("programs");
        std::fs::create_dir(&programs).unwrap();
        // A bare name stays where it is: copying this large binary for each revision would only cost time.
        symlink(std::env::current_exe().unwrap(), programs.join("parts")).unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["supervise".as_ref(), state.as_os_str()]).env("PATH", path);
        command.envs(env.iter().copied()).stdin(Stdio::null());
        let supervisor = Supervisor::start(command, ended);
        let client = Client::new(&state);
        let rig = Self { supervisor, state, base, client, directory };
        eventually("an engine that answers", async || rig.client.version().await.ok()).await;
        rig
    }

    pub(crate) async fn supervised(&self) -> SupervisorClient {
        eventually("a supervisor", async || SupervisorClient::connect(&self.state).await.ok()).await
    }

    /// Process id of the control process.
    pub(crate) async fn control(&self) -> u32 {
        let supervised = self.supervised().await;
        eventually("a control process", async || supervised.observe().await.unwrap().supervisor.control).await
    }

    pub(crate) async fn try_apply(&self, text: &str) -> Result<Applied, ClientError> {
        let (text, path, base) = (text.to_owned(), "shop.yaml".to_owned(), self.base.clone());
        self.client.apply(&Apply { text, path, base, dry_run: false }).await
    }

    #[track_caller]
    pub(crate) fn apply(&self, text: &str, expected: DocumentChange) -> impl Future<Output = Applied> {
        let caller = std::panic::Location::caller();
        async move {
            let applied = self.try_apply(text).await.unwrap_or_else(|error| panic!("{error}, from {caller}"));
            let wrong: Vec<&str> =
                applied.findings.iter().filter(|it| it.is_error).map(|it| it.rendered.as_str()).collect();
            assert!(wrong.is_empty(), "{}\nfrom {caller}", wrong.join("\n"));
            assert_eq!(applied.rollouts[0].change, expected, "from {caller}");
            applied
        }
    }

    pub(crate) async fn view(&self) -> RolloutView {
        eventually("a rollout that answers", async || self.client.rollout(&Name::from(SHOP)).await.ok()).await
    }

    /// Waits until the rollout is as it should be.
    #[track_caller]
    pub(crate) fn until(
        &self,
        what: &str,
        is: impl Fn(&RolloutView) -> bool,
    ) -> impl Future<Output = RolloutView> {
        let caller = std::panic::Location::caller();
        let what = what.to_owned();
        async move {
            let begin = clock::instant();
            loop {
                let view = self.view().await;
                if is(&view) {
                    return view;
                }
                if begin.elapsed() > PATIENCE {
                    panic!("waited in vain for {what}, asked at {caller}: {}", said(&view));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    pub(crate) async fn order(&self, action: Action) -> OrderAnswer {
        self.try_order(action).await.unwrap()
    }

    pub(crate) async fn try_order(&self, action: Action) -> Result<OrderAnswer, ClientError> {
        let order = NewOrder {
            id: None,
            action,
            revision: None,
            attempt: None,
            step: None,
            reason: None,
            not_after: None,
        };
        self.client.order(&SHOP.into(), &order).await
    }

    /// Requests at this rate. How late an answer is depends on the machine that runs the tests, so it does not count.
    pub(crate) fn load(&self, address: SocketAddr, rate: f64) -> Load {
        self.load_until(address, rate, Duration::MAX)
    }

    /// The same; a good answer later than `late_after` has failed.
    pub(crate) fn load_until(&self, address: SocketAddr, rate: f64, late_after: Duration) -> Load {
        let stop = CancellationToken::new();
        let plan = LoadPlan { seed: 7, late_after, ..LoadPlan::new(address, rate) };
        // Who does not mind lateness does not give up either.
        let give_up_after = plan.give_up_after.max(late_after.min(Duration::from_mins(10)));
        let plan = LoadPlan { give_up_after, ..plan };
        let stopped = stop.clone();
        let running = tokio::spawn(async move {
            let mut bad = vec![];
            let report = generate(plan, stopped, |it| {
                if it.outcome.is_failed() {
                    bad.push(it.clone());
                }
            });
            (report.await, bad)
        });
        Load { stop, running }
    }

    /// Kills everything and opens what is left on the disk.
    pub(crate) async fn end(self) -> (Store, TempDir) {
        drop(self.supervisor);
        let store = eventually("the store of a dead machine", async || Store::open(&self.state).ok()).await;
        (store, self.directory)
    }
}

/// Requests under way.
pub(crate) struct Load {
    stop: CancellationToken,
    running: JoinHandle<(LoadReport, Vec<Record>)>,
}

impl Load {
    pub(crate) async fn end(self) -> LoadReport {
        self.end_with_all().await.0
    }

    /// The report, and every request that failed.
    pub(crate) async fn end_with_all(self) -> (LoadReport, Vec<Record>) {
        self.stop.cancel();
        self.running.await.unwrap()
    }
}

/// A document with this service, these steps and whatever else the test needs.
pub(crate) fn document(service: &Service<'_>, steps: &str, more: &str) -> String {
    let words = ["parts", "sample", "--version", service.version];
    let command: Vec<&str> = words.into_iter().chain(service.more.iter().copied()).collect();
    let command = serde_json::to_string(&command).unwrap();
    format!(
        "apiVersion: serinus.dev/v1alpha1
kind: Rollout
metadata: {{ name: shop }}
spec:
  replicas: 2
  workload:
    process:
      command: {command}
      readiness: {{ http: {{ path: /healthz }}, every: 100ms }}
      stop: {{ grace: 2s }}
  traffic:
    - proxy: {{ listen: [ {{ address: \"127.0.0.1:0\" }} ], workers: 2 }}
  strategy: {{ canary: {{ steps: {steps} }} }}
  capacity: {{ afterAbort: {{ keepCanary: 0s }} }}
{more}"
    )
}

/// Two steps that end by time alone, with guards beside them.
pub(crate) const BY_TIME: &str =
    "[ { name: ten, weight: 10%, pause: { for: 1s } }, { name: half, weight: 50%, pause: { for: 1s } } ]";
/// One step that waits for a person.
pub(crate) const BY_HAND: &str = "[ { name: half, weight: 50%, pause: {} } ]";

pub(crate) fn good(version: &str) -> Service<'_> {
    Service { version, more: &[] }
}

fn said(view: &RolloutView) -> String {
    let waiting: Vec<&str> = view.waiting.iter().map(|it| it.text.as_str()).collect();
    let troubles: Vec<&str> = view.troubles.iter().map(|it| it.text.as_str()).collect();
    let arms: Vec<String> = view
        .arms
        .iter()
        .map(|it| format!("{} {:?} {:?}/{} {:?}", it.revision, it.role, it.ready, it.desired, it.replicas))
        .collect();
    format!(
        "{} {:?} step {:?} weight {:?} attempt {}\nwaits for {waiting:?}\ntroubles {troubles:?}\narms {arms:#?}\n{:#?}",
        view.phase, view.cause, view.step, view.weight, view.attempt, view.analyses
    )
}

/// Asks until there is an answer; fails the test when there is none for too long.
#[track_caller]
pub(crate) fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let begin = clock::instant();
        while begin.elapsed() < PATIENCE {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain for {what}, asked at {caller}");
    }
}

pub(crate) fn kill(pid: u32) {
    signal(pid, rustix::process::Signal::KILL);
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may have ended by itself meanwhile.
    let _ = rustix::process::kill_process(pid, signal);
}
