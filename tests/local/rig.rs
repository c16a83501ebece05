//! A machine under test and the questions tests ask about it.

use std::{
    net::SocketAddr,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serinus::{
    api::{
        client::{Client, ClientError},
        view::{Applied, Apply, DocumentChange, NewOrder, OrderAnswer, RolloutView},
    },
    clock,
    local::{
        load::{LoadPlan, LoadReport, generate},
        supervisor,
    },
};
use strategies::{Action, Name};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The rollout of these tests.
pub(crate) const SHOP: &str = "shop";

pub(crate) struct Rig {
    supervisor: Child,
    pub(crate) state: PathBuf,
    pub(crate) base: PathBuf,
    pub(crate) client: Client,
    _directory: TempDir,
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
        let directory = tempfile::tempdir().unwrap();
        let (state, base) = (directory.path().join("state"), directory.path().to_owned());
        let programs = base.join("programs");
        std::fs::create_dir(&programs).unwrap();
        // A bare name stays where it is: copying this large binary for each revision would only cost time.
        symlink(std::env::current_exe().unwrap(), programs.join("parts")).unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let supervisor = Command::new(std::env::current_exe().unwrap())
            .args(["supervise".as_ref(), state.as_os_str()])
            .env("PATH", path)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let client = Client::new(&state);
        let rig = Self { supervisor, state, base, client, _directory: directory };
        eventually("an engine that answers", async || rig.client.version().await.ok()).await;
        rig
    }

    pub(crate) async fn supervised(&self) -> supervisor::Client {
        supervisor::Client::connect(&self.state).await.unwrap()
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

    pub(crate) fn load(&self, address: SocketAddr, rate: f64) -> Load {
        let stop = CancellationToken::new();
        let plan = LoadPlan { seed: 7, ..LoadPlan::new(address, rate) };
        let running = tokio::spawn(generate(plan, stop.clone(), |_| {}));
        Load { stop, running }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // The kernel ends everything below with it.
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

/// Requests under way.
pub(crate) struct Load {
    stop: CancellationToken,
    running: JoinHandle<LoadReport>,
}

impl Load {
    pub(crate) async fn end(self) -> LoadReport {
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
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may have ended by itself meanwhile.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}
