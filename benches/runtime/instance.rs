//! A running instance of the product, and what is asked of it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serinus::api::{
    client::Client,
    view::{Apply, PhaseName, RolloutView},
};
use strategies::Name;

/// The program under test: the one built in the same profile as this bench, or what `SERINUS` names.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("SERINUS").map_or_else(|| env!("CARGO_BIN_EXE_serinus").into(), Into::into)
}
/// Its rollout.
pub(crate) const SHOP: &str = "shop";
const PATIENCE: Duration = Duration::from_secs(60);

/// `serinus run` in a directory of its own. Ends with this value.
pub(crate) struct Instance {
    process: Child,
    pub(crate) client: Client,
    pub(crate) state: PathBuf,
    directory: tempfile::TempDir,
}

impl Instance {
    pub(crate) async fn start(workers: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let process = Command::new(program())
            .args(["run", "--no-live", "--workers", &workers.to_string(), "--state"])
            .arg(&state)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let client = Client::new(&state);
        let instance = Self { process, client, state, directory };
        let begun = Instant::now();
        while instance.client.health().await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "the engine does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        instance
    }

    /// Hands in a document; answers where its service is reached.
    pub(crate) async fn apply(&self, document: &Document<'_>) -> SocketAddr {
        let (text, path) = (document.text(), "shop.yaml".to_owned());
        let apply = Apply { text, path, base: self.directory.path().to_owned(), dry_run: false };
        let applied = self.client.apply(&apply).await.unwrap();
        let wrong: Vec<&str> =
            applied.findings.iter().filter(|it| it.is_error).map(|it| it.rendered.as_str()).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        applied.rollouts[0].addresses[0].address
    }

    pub(crate) async fn view(&self) -> RolloutView {
        self.client.rollout(&Name::from(SHOP)).await.unwrap()
    }

    pub(crate) async fn until(&self, what: &str, is: impl Fn(&RolloutView) -> bool) {
        self.until_within(what, PATIENCE, is).await;
    }

    pub(crate) async fn until_within(
        &self,
        what: &str,
        patience: Duration,
        is: impl Fn(&RolloutView) -> bool,
    ) {
        let begun = Instant::now();
        loop {
            let view = self.view().await;
            if is(&view) {
                return;
            }
            let (phase, step) = (view.phase, view.step);
            assert!(begun.elapsed() < patience, "waited in vain for {what}: {phase} {step:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn first_version(&self, document: &Document<'_>) -> SocketAddr {
        let address = self.apply(document).await;
        self.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
        address
    }

    /// Process id of the supervisor: the one child of `serinus run`.
    pub(crate) fn supervisor(&self) -> u32 {
        let run = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{run}/task/{run}/children")).unwrap();
        children.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

/// The sample service as a user would write it.
#[derive(Clone, Copy)]
pub(crate) struct Document<'a> {
    pub(crate) version: &'a str,
    /// Seeds which of its requests fail.
    pub(crate) seed: u64,
    /// Share of requests that fail.
    pub(crate) errors: &'a str,
    /// What stands under `strategy:`.
    pub(crate) strategy: &'a str,
    /// What follows, further documents included.
    pub(crate) more: &'a str,
}

impl Document<'static> {
    /// The default canary.
    pub(crate) const DEFAULT: Self =
        Document { version: "v1", seed: 0, errors: "0", strategy: "{ canary: {} }", more: "" };
    /// Half of the requests until a person decides.
    pub(crate) const BY_HAND: Self = Document {
        strategy: "{ canary: { steps: [ { name: half, weight: 50%, pause: {} } ] } }",
        ..Self::DEFAULT
    };
}

impl Document<'_> {
    fn text(&self) -> String {
        let program = program();
        let program = program.display();
        let Self { version, seed, errors, strategy, more } = self;
        format!(
            "apiVersion: serinus.dev/v1alpha1
kind: Rollout
metadata: {{ name: {SHOP} }}
spec:
  replicas: 2
  workload:
    process:
      command: [ {program}, internal, sample, --port, $(port), --version, {version}, --latency, 2ms,
                 --error-rate, \"{errors}\", --seed, \"{seed}\" ]
      readiness: {{ http: {{ path: /healthz }} }}
  traffic: [ {{ proxy: {{ listen: [ {{ address: \"127.0.0.1:0\" }} ] }} }} ]
  strategy: {strategy}
  capacity: {{ afterAbort: {{ keepCanary: 0s }} }}
{more}"
        )
    }
}
