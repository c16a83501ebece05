//! One machine with `serinus run` on it.

use std::{
    fs::OpenOptions,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serinus::clock;
use tempfile::TempDir;

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shipped program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_serinus");
/// How it is run where nobody looks.
pub(crate) const RUN: [&str; 4] = ["run", "--no-live", "--workers", "1"];

/// A service in a few lines: answers everything on `PORT` (or where the test says), and does as its variables say.
const SERVICE: &str = r#"
import os, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
if os.environ.get("DIE"):
    print("reading config"); print(os.environ["DIE"], file=sys.stderr); sys.exit(1)
for _ in range(int(os.environ.get("ORPHANS", "0"))):
    subprocess.run(["sh", "-c", "sleep 0.1 &"])
time.sleep(float(os.environ.get("SLOW", "0")))
class H(BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ.get("VERSION", "1").encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("ELSEWHERE") or os.environ["PORT"])), H)
print("up", os.environ.get("VERSION", "1"), flush=True)
server.serve_forever()
"#;

pub(crate) struct Rig {
    directory: TempDir,
    running: Option<Child>,
    port: u16,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("service.py"), SERVICE).unwrap();
        Self { directory, running: None, port: free_port() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes `name`: a rollout of this service with these variables; `more` stands below `spec`.
    pub(crate) fn document(&self, name: &str, variables: &[(&str, &str)], more: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, rollout("shop", self.port, variables, more)).unwrap();
        path
    }

    /// Starts `serinus run` with these arguments; what it says is in [`Self::said`].
    pub(crate) fn run(&mut self, arguments: &[&str]) {
        let mut command = Command::new(PROGRAM);
        command.args(RUN).args(arguments).stdin(Stdio::null());
        self.start(command);
    }

    /// Starts a command that becomes, or holds, `serinus run`.
    pub(crate) fn start(&mut self, mut command: Command) {
        let said = OpenOptions::new().create(true).append(true).open(self.path().join("run.log")).unwrap();
        self.at_home(&mut command);
        command.stdout(said.try_clone().unwrap()).stderr(said);
        self.running = Some(command.spawn().unwrap());
    }

    /// The process that [`Self::start`] started.
    pub(crate) fn running(&mut self) -> &mut Child {
        self.running.as_mut().unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Everything that `run` has said.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.path().join("run.log")).unwrap_or_default()
    }

    /// Ends `run` as Ctrl-C does.
    pub(crate) fn stop(&mut self) {
        let Some(child) = &self.running else { return };
        signal(child.id(), Signal::INT);
        self.ends();
    }

    /// Waits until `run` has ended.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let mut child = self.running.take().unwrap();
        let begin = clock::instant();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if PATIENCE < begin.elapsed() {
                let _ = child.kill();
                panic!("it does not end; it said:\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where commands find the instance, and nothing of what this test was started with.
    fn at_home(&self, command: &mut Command) {
        command.current_dir(self.path()).env("SERINUS_STATE", self.path().join("state"));
        command.env("NO_COLOR", "1");
    }

    /// A command to be said from another terminal.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        self.at_home(&mut command);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// One command from another terminal.
    pub(crate) fn say(&self, arguments: &[&str]) -> Said {
        Said::from(self.command(arguments).output().unwrap())
    }

    /// The body that users get; `None`: no answer.
    pub(crate) fn answer(&self) -> Option<String> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// Waits until users get this body.
    #[track_caller]
    pub(crate) fn serves(&self, version: &str) {
        self.eventually(version, || self.answer().is_some_and(|it| it == version));
    }

    #[track_caller]
    pub(crate) fn eventually(&self, what: &str, mut is: impl FnMut() -> bool) {
        let begin = clock::instant();
        while !is() {
            assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}; run said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop();
        // Who started it on a terminal, or in a container, may have ended without it.
        let lock = std::fs::read_to_string(self.path().join("state/supervisor.lock")).unwrap_or_default();
        let Ok(supervisor) = lock.trim().parse() else { return };
        if Path::new(&format!("/proc/{supervisor}")).exists() {
            signal(supervisor, Signal::KILL);
        }
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    /// Standard output and standard error.
    pub(crate) text: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text =
            [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
        Self { code: output.status.code().unwrap_or(-1), text }
    }
}

impl Said {
    /// Every one of these stands in it, and the exit code is this.
    #[track_caller]
    pub(crate) fn with(&self, code: i32, parts: &[&str]) {
        for part in parts {
            assert!(self.text.contains(part), "{part:?} is not in:\n{}", self.text);
        }
        assert_eq!(self.code, code, "{}", self.text);
    }
}

/// A document of the service under this name.
pub(crate) fn rollout(name: &str, port: u16, variables: &[(&str, &str)], more: &str) -> String {
    let variables: Vec<String> =
        variables.iter().map(|(name, value)| format!("{{ name: {name}, value: \"{value}\" }}")).collect();
    format!(
        r#"apiVersion: serinus.dev/v1alpha1
kind: Rollout
metadata: {{ name: {name} }}
spec:
  workload:
    process:
      command: [ python3, service.py ]
      env: [ {} ]
      files: [ service.py ]
      restart: {{ first: 100ms, max: 200ms }}
      copies: {{ keep: 2 }}
  traffic: [ {{ proxy: {{ listen: [ {{ address: "127.0.0.1:{port}" }} ] }} }} ]
  {more}
"#,
        variables.join(", ")
    )
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may have ended by itself meanwhile.
    let _ = kill_process(pid, signal);
}
