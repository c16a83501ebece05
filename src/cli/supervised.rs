//! A supervisor that belongs to this command: it ends with it.
//!
//! It is a process of its own, so that an upgrade can replace it while the view goes on, and so that whatever ends
//! the view, the supervisor drains before it goes.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::{DirBuilderExt, OpenOptionsExt},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    task::AbortHandle,
};

use super::Failure;
use crate::{
    api::client::{Client, ClientError},
    clock,
    local::{
        process::{family, words},
        supervisor::{
            self, LOCK,
            channel::{self, MAX_FILES},
            logs, state_dir,
        },
    },
};

/// How long the engine may take to answer for the first time.
const START: Duration = Duration::from_secs(30);
/// After so many starts that failed nobody expects the next to succeed.
const GIVE_UP_AFTER: u64 = 5;
/// After so many questions without an answer it is looked whether the engine ends.
const LOOK_EVERY: u64 = 25;
/// Lines of the engine's log in which the reason is looked for.
const LAST_LINES: usize = 10;

/// A supervisor with everything it runs.
pub(super) struct Supervised {
    child: Child,
    says: Says,
    /// Its state directory.
    pub(super) state: PathBuf,
    /// A caller of its engine.
    pub(super) client: Client,
    /// Reaps who lost its parent below us: as the first process of a container nobody else would.
    reaping: AbortHandle,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.reaping.abort();
    }
}

/// Where a supervisor says what goes wrong, besides its log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Says {
    /// On our standard error.
    Aloud,
    /// Nowhere: the terminal is drawn on.
    InLogOnly,
}

impl Supervised {
    /// Starts a supervisor that works in `state`, and waits until its engine answers.
    ///
    /// # Errors
    /// Another one works there, or it does not come up.
    pub(super) async fn start(
        state: &Path,
        workers: u32,
        says: Says,
        sockets: &[OwnedFd],
    ) -> Result<Self, Failure> {
        let state = state_dir::prepare(state).map_err(|error| Failure::Supervisor(error.into()))?;
        // Asked here, so that the answer is told here.
        drop(state_dir::lock(&state.join(LOCK)).map_err(|error| Failure::Supervisor(error.into()))?);
        let program = std::env::current_exe()
            .map_err(|source| Failure::System { act: "tell the path of this program", source })?;
        let errors = match says {
            Says::Aloud => Stdio::inherit(),
            Says::InLogOnly => log_file(&state)?.into(),
        };
        let given = pass(sockets).map_err(|source| Failure::System { act: "pass the sockets on", source })?;
        let child = Command::new(program)
            .args(["internal", "supervise", "--parent", &std::process::id().to_string()])
            .args(["--workers", &workers.to_string(), "--state"])
            .arg(&state)
            .args(["--sockets", &sockets.len().to_string()])
            .stdin(given)
            .stdout(Stdio::null())
            .stderr(errors)
            // A Ctrl-C is for us; we pass it on.
            .process_group(0)
            .spawn()
            .map_err(|source| Failure::System { act: "start the supervisor", source })?;
        let reaping = reap_orphans(child.id())?;
        let client = Client::new(&state);
        let mut started = Self { child, says, state, client, reaping };
        started.answers().await?;
        Ok(started)
    }

    async fn answers(&mut self) -> Result<(), Failure> {
        let until = clock::instant() + START;
        for asked in 1_u64.. {
            match self.client.health().await {
                Ok(_) => return Ok(()),
                Err(error) if clock::instant() >= until => {
                    self.stop().await?;
                    return Err(error.into());
                }
                Err(ClientError::NotUnderstood(_)) => return Ok(()),
                Err(
                    ClientError::NotRunning { .. }
                    | ClientError::Refused { .. }
                    | ClientError::Broken(_)
                    | ClientError::TimedOut(_)
                    | ClientError::Cluster(_),
                ) => {}
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.has_ended(status));
            }
            if asked.is_multiple_of(LOOK_EVERY)
                && let Some(failure) = self.engine_ends().await
            {
                self.stop().await?;
                return Err(failure);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Why the engine ends as soon as it is started, if it does: nobody waits for what will not come.
    async fn engine_ends(&self) -> Option<Failure> {
        let supervisor = supervisor::Client::connect(&self.state).await.ok()?;
        let restarts = supervisor.observe().await.ok()?.supervisor.control_restarts;
        if restarts < GIVE_UP_AFTER {
            return None;
        }
        let log = logs::control(&self.state);
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<String> = text.lines().rev().take(LAST_LINES).map(words::plain).collect();
        let lines: Vec<String> =
            lines.into_iter().rev().filter(|it| !it.starts_with("serinus: exit code")).collect();
        let why = words::telling(&lines).unwrap_or("it ends without a word").to_owned();
        Some(Failure::EngineEnds { why, log })
    }

    /// Waits until it ends by itself. Cancel safe.
    pub(super) async fn ended(&mut self) -> Failure {
        match self.child.wait().await {
            Ok(status) => self.has_ended(status),
            Err(source) => Failure::System { act: "wait for the supervisor", source },
        }
    }

    fn has_ended(&self, status: ExitStatus) -> Failure {
        match (status.code(), self.says) {
            // It has told why on our standard error.
            (Some(1), Says::Aloud) => Failure::Said(super::Exit::Failed),
            _ => Failure::SupervisorEnded { how: status.to_string(), log: logs::supervisor(&self.state) },
        }
    }

    /// Ends it gracefully: requests under way are finished first. Asked to end once more meanwhile, everything is
    /// killed.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
        self.tell_to_end();
        let cannot = |source| Failure::System { act: "wait for the supervisor", source };
        loop {
            tokio::select! {
                ended = self.child.wait() => {
                    ended.map_err(cannot)?;
                    break;
                }
                asked = super::watch::asked_to_end(super::watch::Unseen::GoesOn) => {
                    asked?;
                    self.tell_to_end();
                }
            }
        }
        // A supervisor that was killed has ended nobody.
        family::end_the_rest().await;
        Ok(())
    }

    fn tell_to_end(&self) {
        let pid = self.child.id().and_then(|it| i32::try_from(it).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// The supervisor's standard input: with the sockets that it is given in its queue.
fn pass(sockets: &[OwnedFd]) -> io::Result<Stdio> {
    if sockets.is_empty() {
        return Ok(Stdio::null());
    }
    let (ours, theirs) = UnixStream::pair()?;
    for some in sockets.chunks(MAX_FILES) {
        let some: Vec<_> = some.iter().map(AsFd::as_fd).collect();
        channel::send(ours.as_fd(), b"s", &some)?;
    }
    Ok(Stdio::from(OwnedFd::from(theirs)))
}

/// Adopts whoever loses its parent below this process, and reaps it when it has ended.
fn reap_orphans(supervisor: Option<u32>) -> Result<AbortHandle, Failure> {
    let cannot = |act| move |source| Failure::System { act, source };
    family::adopt_orphans().map_err(cannot("adopt processes that lose their parent"))?;
    let mut ended = signal(SignalKind::child()).map_err(cannot("listen to signals"))?;
    let reaping = tokio::spawn(async move {
        while ended.recv().await.is_some() {
            family::reap_orphans(|pid| Some(pid) == supervisor);
        }
    });
    Ok(reaping.abort_handle())
}

/// The supervisor's log, for what it says where no log can be kept: an abort, a message of the kernel.
fn log_file(state: &Path) -> Result<File, Failure> {
    let path = logs::supervisor(state);
    let opened = || {
        DirBuilder::new().recursive(true).mode(0o700).create(logs::directory(state))?;
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path)
    };
    opened().map_err(|source| Failure::File { act: "write", path: path.clone(), source })
}
