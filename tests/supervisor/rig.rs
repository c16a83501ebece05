//! A supervisor under test and the questions tests ask about it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serinus::clock;
use serinus::local::process::{ProcessSpec, Restart, Stop};
use serinus::local::supervisor::Client;
use serinus::local::supervisor::protocol::{Observation, ProcessId, WorkerState};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) supervisor: Child,
    pub(crate) state: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    _directory: TempDir,
}

impl Rig {
    pub(crate) async fn start(workers: u32) -> Self {
        Self::start_in("state", workers, &[]).await
    }

    /// `name` is the state directory's, below a fresh one.
    pub(crate) async fn start_in(name: &str, workers: u32, env: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join(name);
        let address = free_address();
        let supervisor = command(&state, address, workers).envs(env.iter().copied()).spawn().unwrap();
        let client =
            eventually("a supervisor that answers", async || Client::connect(&state).await.ok()).await;
        let rig = Self { supervisor, state, address, client, _directory: directory };
        rig.workers_ready(workers).await;
        rig
    }

    pub(crate) async fn observe(&self) -> Observation {
        self.client.observe().await.unwrap()
    }

    pub(crate) async fn workers_ready(&self, count: u32) {
        eventually("workers that are ready", async || {
            let workers = self.observe().await.workers;
            let all_ready = workers.iter().all(|w| w.state == WorkerState::Ready);
            (all_ready && workers.len() == count as usize).then_some(())
        })
        .await;
    }

    /// Process ids of everything below the supervisor.
    pub(crate) async fn all_pids(&self) -> Vec<u32> {
        let seen = self.observe().await;
        let processes = seen.processes.iter().filter_map(|p| p.pid);
        processes.chain(seen.workers.iter().filter_map(|w| w.pid)).chain(seen.supervisor.control).collect()
    }

    /// Waits for the supervisor to end by itself.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        let begin = clock::instant();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.supervisor.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the supervisor does not end");
    }

    pub(crate) fn events(&self) -> String {
        std::fs::read_to_string(self.state.join("events")).unwrap_or_default()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

pub(crate) fn command(state: &Path, address: SocketAddr, workers: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .arg("supervise")
        .arg(state)
        .arg(address.to_string())
        .arg(workers.to_string())
        .stdin(Stdio::null());
    command
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
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

/// One request to the workers; the process id of the one that answered.
pub(crate) async fn ask(address: SocketAddr, question: &str) -> Result<u32, String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.map_err(|e| format!("connect: {e}"))?;
        stream.write_all(question.as_bytes()).await.map_err(|e| format!("write: {e}"))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(|e| format!("read: {e}"))?;
        answer.trim().parse::<u32>().map_err(|e| format!("answer {answer:?}: {e}"))
    };
    tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| "no answer".to_owned())?
}

/// What a user process answers on its port.
pub(crate) async fn ask_process(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    (!answer.is_empty()).then(|| answer.trim().to_owned())
}

pub(crate) fn process(revision: &str, ordinal: u32) -> ProcessId {
    ProcessId { rollout: "shop".into(), revision: revision.into(), role: "main".into(), ordinal }
}

pub(crate) fn spec(command: &[&str]) -> ProcessSpec {
    ProcessSpec {
        command: command.iter().map(|w| (*w).to_owned()).collect(),
        env: Vec::new(),
        directory: std::env::temp_dir(),
        log: Default::default(),
        restart: Restart { initial_ms: 50, max_ms: 200, ..Restart::default() },
        stop: Stop { grace_ms: 5_000, ..Stop::default() },
        limits: Default::default(),
    }
}

/// A process that serves on its port.
pub(crate) fn server() -> ProcessSpec {
    spec(&[std::env::current_exe().unwrap().to_str().unwrap(), "serve"])
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Not there at all, or a zombie that only waits to be reaped.
pub(crate) fn is_dead(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_none_or(|rest| rest.is_empty() || rest.starts_with('Z') || rest.starts_with('X'))
}
