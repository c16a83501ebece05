//! The control plane, and whoever speaks to it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use serinus::clock;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{
    cases::{Case, Hold},
    engine::OWN,
    pods,
};

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const PORT: u16 = 6443;

/// Who speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Who {
    /// Whoever sets the cluster up.
    Admin,
    /// Who owns the workloads.
    User,
    /// The engine under test.
    Engine,
    Controllers,
    Scheduler,
    Kubelet,
}

impl Who {
    const ALL: [Self; 6] =
        [Self::Admin, Self::User, Self::Engine, Self::Controllers, Self::Scheduler, Self::Kubelet];

    /// Whom the API server takes it for.
    fn user(self) -> &'static str {
        if self == Self::Engine { "system:serviceaccount:serinus:serinus" } else { self.name() }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Engine => "engine",
            Self::Controllers => "controllers",
            Self::Scheduler => "scheduler",
            Self::Kubelet => "kubelet",
        }
    }
}

/// The folder with the programs. Where everything must be tested they have to be there; otherwise it is said that these
/// tests are left out.
pub(crate) fn programs() -> Option<PathBuf> {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/kubernetes/build");
    let all = std::env::var_os("SERINUS_TESTS").is_some_and(|it| it == "all");
    let mut command = Command::new(build);
    if !all {
        command.arg("--present");
    }
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    if output.status.success() {
        return Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()));
    }
    assert!(!all, "Kubernetes could not be built");
    println!("left out: the tests on a real control plane (tests/run builds one from source)");
    None
}

pub(crate) struct Lab {
    programs: PathBuf,
    folder: TempDir,
    children: Mutex<Vec<(&'static str, Child)>>,
    namespaces: AtomicU32,
    runtime: tokio::runtime::Runtime,
    admin: OnceLock<Client>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mut children = self.children.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (_, child) in children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Lab {
    pub(crate) fn start(programs: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let lab = Self {
            programs: programs.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            children: Mutex::default(),
            namespaces: AtomicU32::new(0),
            runtime,
            admin: OnceLock::new(),
        };
        lab.files();
        lab.run(
            "etcd",
            &[
                "--data-dir={}/etcd",
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--listen-peer-urls=http://127.0.0.1:2380",
                "--unsafe-no-fsync",
                "--log-level=error",
            ],
        );
        lab.run(
            "kube-apiserver",
            &[
                "--etcd-servers=http://127.0.0.1:2379",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--secure-port=6443",
                "--cert-dir={}/certificates",
                "--service-account-issuer=https://kubernetes.default",
                "--service-account-signing-key-file={}/accounts.key",
                "--service-account-key-file={}/accounts.pub",
                "--token-auth-file={}/tokens.csv",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--endpoint-reconciler-type=none",
                "--audit-policy-file={}/audit.json",
                "--audit-log-path={}/audit.log",
            ],
        );
        lab.until("the API server is ready", || {
            lab.kubectl(Who::Admin, &["get", "--raw", "/readyz"]).is_ok().then_some(())
        });
        let speed = [
            "--leader-elect=false",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--bind-address=127.0.0.1",
        ];
        lab.run(
            "kube-controller-manager",
            &[
                &speed[..],
                &[
                    "--kubeconfig={}/controllers.kubeconfig",
                    "--service-account-private-key-file={}/accounts.key",
                    "--cert-dir={}/controllers",
                ],
            ]
            .concat(),
        );
        lab.run("kube-scheduler", &[&speed[..], &["--kubeconfig={}/scheduler.kubeconfig"]].concat());
        lab.nodes();
        lab.objects();
        lab
    }

    /// Whoever plays the nodes.
    fn nodes(&self) {
        self.run(
            "kwok",
            &[
                "--kubeconfig={}/kubelet.kubeconfig",
                "--manage-all-nodes=true",
                "--config={}/stages.yaml",
                "--server-address=127.0.0.1:10247",
                "--node-lease-duration-seconds=40",
            ],
        );
    }

    /// What every cluster under test holds: kinds, rights, the hold, a node, the engine.
    fn objects(&self) {
        let definitions = self.programs.join("gateway-api");
        let definitions = definitions.to_str().unwrap();
        self.kubectl(Who::Admin, &["apply", "--server-side", "-f", definitions]).unwrap();
        self.apply(Who::Admin, None, &pods::node("node-1"));
        self.shipped("crds.yaml");
        self.kubectl(Who::Admin, &["wait", "--for=condition=Established", "crd", "--all"]).unwrap();
        self.shipped("rbac.yaml");
        self.shipped("hold.yaml");
        self.shipped("orders.yaml");
        let child = self.engine(&["--selector", &format!("!{OWN}")]).spawn().unwrap();
        self.children.lock().unwrap().push(("controller", child));
    }

    /// Applies a file of those that are shipped.
    fn shipped(&self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
        self.kubectl(Who::Admin, &["apply", "-f", file.to_str().unwrap()]).unwrap();
    }

    fn files(&self) {
        let key = rcgen::KeyPair::generate().unwrap();
        self.put("accounts.key", &key.serialize_pem());
        self.put("accounts.pub", &key.public_key_pem());
        let one = |it: Who| {
            // The engine has the rights that are shipped, and no others.
            let group = if it == Who::Engine { "system:serviceaccounts" } else { "system:masters" };
            format!("{}-token,{},{0},{group}\n", it.name(), it.user())
        };
        self.put("tokens.csv", &Who::ALL.map(one).concat());
        let policy = json!({ "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "rules": [{ "level": "Metadata" }] });
        self.put("audit.json", &policy.to_string());
        for it in Who::ALL {
            let config = json!({ "apiVersion": "v1", "kind": "Config", "current-context": "lab",
                "clusters": [{ "name": "lab", "cluster": { "server": format!("https://127.0.0.1:{PORT}"),
                    "certificate-authority": self.path("certificates/apiserver.crt") } }],
                "users": [{ "name": it.name(), "user": { "token": format!("{}-token", it.name()) } }],
                "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": it.name() } }] });
            self.put(&format!("{}.kubeconfig", it.name()), &config.to_string());
        }
        fs::copy(self.programs.join("stages.yaml"), self.path("stages.yaml")).unwrap();
    }

    /// The engine as it is shipped, with short waits.
    pub(crate) fn engine(&self, more: &[&str]) -> Command {
        let log = fs::File::options().create(true).append(true).open(self.path("controller.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_serinus"));
        command
            .args(["controller", "--log", "info", "-n", "serinus", "--lease-duration", "2s"])
            .args(["--call-deadline", "1s", "--listen", "127.0.0.1:0", "--journal"])
            .arg(self.path("journal.jsonl"))
            .arg("--kubeconfig")
            .arg(self.path("engine.kubeconfig"))
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// An engine for one namespace that is killed after every write, and started again.
    pub(crate) fn engine_that_dies(&self, namespace: &str) {
        let more =
            ["--watch-namespace", namespace, "--selector", OWN, "--lease", namespace, "--identity", "it"];
        let mut command = self.engine(&more);
        // One failpoint or two stand before the first write, and the next is after it: each life makes one.
        command.env("SERINUS_FAILPOINT", "3");
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        self.spawn(async move { while command.status().await.is_ok() {} });
    }

    /// What somebody asked of the API server, as it has noted.
    pub(crate) fn audited(&self, who: Who) -> Vec<Value> {
        let log = fs::read_to_string(self.path("audit.log")).unwrap();
        // The last line may be half written.
        let all = log.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
        all.filter(|it| it["user"]["username"] == who.user()).collect()
    }

    /// The engine never asked for what the rights that are shipped do not allow.
    pub(crate) fn nothing_was_forbidden(&self) {
        let all = self.audited(Who::Engine);
        let forbidden = all.iter().filter(|it| it["responseStatus"]["code"] == 403);
        let wrong: Vec<String> = forbidden.map(|it| format!("{} {}", it["verb"], it["requestURI"])).collect();
        assert!(wrong.is_empty(), "the engine was refused: {wrong:#?}");
    }

    /// The last of what the engine said.
    pub(crate) fn engine_said(&self) -> String {
        let log = fs::read_to_string(self.path("controller.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// What a command of the product prints.
    ///
    /// # Errors
    /// What it says when it fails.
    pub(crate) fn serinus(&self, who: Who, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_serinus"))
            .args(arguments)
            .arg("--kubeconfig")
            .arg(self.path(&format!("{}.kubeconfig", who.name())))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |it: Vec<u8>| String::from_utf8_lossy(&it).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Starts one of the programs; `{}` stands for the folder of the lab.
    fn run(&self, program: &'static str, arguments: &[&str]) {
        let folder = self.folder.path().to_str().unwrap();
        let log = fs::File::create(self.path(&format!("{program}.log"))).unwrap();
        let child = Command::new(self.programs.join(program))
            .args(arguments.iter().map(|it| it.replace("{}", folder)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.children.lock().unwrap().push((program, child));
    }

    /// Waits for something, or for the end of a part of the control plane, which must not come.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut is: impl FnMut() -> Option<T>) -> T {
        let began = clock::instant();
        loop {
            if let Some(it) = is() {
                return it;
            }
            for (program, child) in self.children.lock().unwrap().iter_mut() {
                if child.try_wait().unwrap().is_some() {
                    let log = fs::read_to_string(self.path(&format!("{program}.log"))).unwrap();
                    let lines: Vec<&str> = log.lines().rev().take(20).collect();
                    panic!("{program} ended: {lines:#?}");
                }
            }
            assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} until {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What kubectl prints.
    ///
    /// # Errors
    /// What it says when it fails.
    pub(crate) fn kubectl(&self, who: Who, arguments: &[&str]) -> Result<String, String> {
        self.kubectl_with(who, arguments, "")
    }

    pub(crate) fn kubectl_with(&self, who: Who, arguments: &[&str], input: &str) -> Result<String, String> {
        use std::io::Write as _;
        let mut child = Command::new(self.programs.join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.path(&format!("{}.kubeconfig", who.name())))
            .arg("--cache-dir")
            .arg(self.path("kubectl"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |it: Vec<u8>| String::from_utf8_lossy(&it).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    #[track_caller]
    pub(crate) fn apply(&self, who: Who, namespace: Option<&str>, object: &Value) {
        // As lenient as an older kubectl: what the kind does not know is dropped with a warning.
        let mut arguments = vec!["apply", "--validate=warn", "-f", "-"];
        arguments.extend(namespace.iter().flat_map(|it| ["-n", *it]));
        self.until(&format!("{} is applied", object["kind"]), || {
            match self.kubectl_with(who, &arguments, &object.to_string()) {
                Ok(_) => Some(()),
                // The kinds of a definition are served a moment after it.
                Err(why) if why.contains("no matches for kind") => None,
                Err(why) => panic!("{why}"),
            }
        });
    }

    /// An object; `resource` as in `apps/v1/deployments`.
    #[track_caller]
    pub(crate) fn get(&self, namespace: &str, resource: &str, name: &str) -> Option<Value> {
        self.ask(&format!("{}/{name}", path(namespace, resource)))
    }

    #[track_caller]
    pub(crate) fn list(&self, namespace: &str, resource: &str) -> Vec<Value> {
        self.ask(&path(namespace, resource)).unwrap()["items"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn ask(&self, path: &str) -> Option<Value> {
        let request = http::Request::get(path).body(vec![]).unwrap();
        match self.block_on(self.admin.get_or_init(|| self.client(Who::Admin)).request::<Value>(request)) {
            Ok(it) => Some(it),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub(crate) fn client(&self, who: Who) -> Client {
        let _inside = self.runtime.enter();
        let file = Kubeconfig::read_from(self.path(&format!("{}.kubeconfig", who.name()))).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options);
        Client::try_from(self.runtime.block_on(config).unwrap()).unwrap()
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.runtime.spawn(future)
    }

    /// Runs a case in a namespace of its own.
    pub(crate) fn in_a_namespace(&self, case: &Case) {
        let namespace = format!("case-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        self.kubectl(Who::Admin, &["create", "namespace", &namespace]).unwrap();
        self.until("the namespace has its account", || self.get(&namespace, "v1/serviceaccounts", "default"));
        if case.hold == Hold::Catch {
            self.kubectl(Who::Admin, &["label", "namespace", &namespace, "serinus.dev/hold=catch"]).unwrap();
        }
        (case.run)(self, &namespace);
    }
}

fn path(namespace: &str, resource: &str) -> String {
    let root = if resource.starts_with("v1/") { "/api" } else { "/apis" };
    let (version, plural) = resource.rsplit_once('/').unwrap();
    format!("{root}/{version}/namespaces/{namespace}/{plural}")
}
