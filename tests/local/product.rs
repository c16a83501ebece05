//! The product as a user starts it: `serinus run FILE`, with the shipped program and all its processes.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serinus::{
    api::{
        client::Client,
        view::{AppliedRollout, Apply, Health, RolloutView},
    },
    clock,
    local::supervisor::{Client as SupervisorClient, protocol::Observation},
};
use tempfile::TempDir;

use crate::rig::{eventually, signal};

/// The shipped program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_serinus");

/// `serinus run` and everything below it. Ends with this value.
pub(crate) struct Product {
    child: Child,
    pub(crate) state: PathBuf,
    pub(crate) client: Client,
    pub(crate) directory: TempDir,
}

impl Product {
    /// `serinus run shop.yaml` in a directory of its own, with this document. `set` says what is special about it.
    pub(crate) async fn run(document: &str, set: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let product = Self::run_in(directory, document, set);
        eventually("a rollout that answers", async || product.client.rollout(&"shop".into()).await.ok())
            .await;
        product
    }

    /// The same in a directory that was prepared; nothing is waited for.
    pub(crate) fn run_in(directory: TempDir, document: &str, set: impl FnOnce(&mut Command)) -> Self {
        std::fs::write(directory.path().join("shop.yaml"), document).unwrap();
        let state = directory.path().join("state");
        let mut command = Command::new(PROGRAM);
        command.args(["run", "shop.yaml", "--no-live", "--workers", "1", "--state"]).arg(&state);
        command
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        set(&mut command);
        let child = command.spawn().unwrap();
        let client = Client::new(&state);
        Self { child, state, client, directory }
    }

    /// The same once more in the same directory, without a document: what was applied goes on.
    pub(crate) fn again(mut self) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["run", "--no-live", "--workers", "1", "--state"]).arg(&self.state);
        command.current_dir(self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = command.spawn().unwrap();
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether `serinus run` itself has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub(crate) async fn observe(&self) -> Observation {
        eventually("a supervisor", async || {
            SupervisorClient::connect(&self.state).await.ok()?.observe().await.ok()
        })
        .await
    }

    pub(crate) async fn health(&self) -> Health {
        eventually("an engine that answers", async || self.client.health().await.ok()).await
    }

    pub(crate) async fn view(&self) -> RolloutView {
        eventually("a rollout that answers", async || self.client.rollout(&"shop".into()).await.ok()).await
    }

    /// Waits until the rollout is as it should be.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&RolloutView) -> bool) -> RolloutView {
        eventually(what, async || Some(self.view().await).filter(|it| is(it))).await
    }

    pub(crate) async fn apply(&self, document: &str) -> AppliedRollout {
        self.try_apply(document).await.unwrap()
    }

    /// What `serinus apply` gets: the rollout, or every reason against it.
    pub(crate) async fn try_apply(&self, document: &str) -> Result<AppliedRollout, String> {
        let (text, path, base) =
            (document.to_owned(), "shop.yaml".to_owned(), self.directory.path().to_owned());
        let applied = self.client.apply(&Apply { text, path, base, dry_run: false }).await;
        let mut applied = applied.map_err(|error| error.to_string())?;
        let wrong: Vec<_> =
            applied.findings.iter().filter(|it| it.is_error).map(|it| it.rendered.clone()).collect();
        if wrong.is_empty() { Ok(applied.rollouts.remove(0)) } else { Err(wrong.join("\n")) }
    }

    /// The text of one log of the instance; empty where there is none.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.state.join("logs").join(name)).unwrap_or_default()
    }

    /// What `serinus COMMAND --state …` prints, on both streams.
    pub(crate) fn say(&self, words: &[&str]) -> String {
        let output = Command::new(PROGRAM).args(words).arg("--state").arg(&self.state).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Asks it to end, as Ctrl-C does, and answers how it ended.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        signal(self.child.id(), rustix::process::Signal::TERM);
        let child = &mut self.child;
        eventually("the end of everything", || std::future::ready(child.try_wait().unwrap())).await
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // The kernel tells the supervisor, which ends everything below it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let (begin, lock) = (clock::instant(), self.state.join("supervisor.lock"));
        let Ok(pid) = std::fs::read_to_string(lock).unwrap_or_default().trim().parse::<u32>() else { return };
        while Path::new(&format!("/proc/{pid}")).exists() && begin.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(10));
        }
        signal(pid, rustix::process::Signal::KILL);
    }
}

/// A service that is not ours: answers every request with 200, on a thread per connection, for as long as the test
/// lives.
pub(crate) fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(stream: TcpStream) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() && writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

/// A document for upstreams v1 and v2, `listen` as it stands in the proxy's part.
pub(crate) fn document(current: &str, releases: [SocketAddr; 2], listen: &str) -> String {
    let [v1, v2] = releases;
    format!(
        "apiVersion: serinus.dev/v1alpha1
kind: Rollout
metadata: {{ name: shop }}
spec:
  workload:
    upstream:
      current: {current}
      releases:
        - {{ revision: v1, addresses: [ \"{v1}\" ] }}
        - {{ revision: v2, addresses: [ \"{v2}\" ] }}
  traffic:
    - proxy: {{ listen: {listen}, workers: 1 }}
  strategy: {{ canary: {{ steps: [ {{ weight: 50%, pause: {{ for: 1s }} }} ] }} }}
"
    )
}

/// One plain socket on a port of the kernel's choice.
pub(crate) const PLAIN: &str = "[ { address: \"127.0.0.1:0\" } ]";

/// The status of one GET over a connection of its own.
pub(crate) fn get(address: SocketAddr) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    status.ok_or_else(|| std::io::Error::other(format!("no answer: {answer:?}")))
}

/// Waits until requests are answered with 200.
pub(crate) async fn serves(address: SocketAddr) {
    let asked = async || get(address).ok().filter(|it| *it == 200);
    eventually("an answer", asked).await;
}

/// Both ends of a pipe: what reads, what is written to.
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), writer.into())
}

/// A pipe that is full, with the end that nobody reads.
pub(crate) fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while rustix::io::write(&writer, &[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}
