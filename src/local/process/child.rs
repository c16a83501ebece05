//! Starting a child and learning of its end, by process id, so that both survive an exec of the supervisor.

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};
use serde::{Deserialize, Serialize};
use tokio::io::{Interest, unix::AsyncFd};

use super::shim::Launch;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// It ended, and nobody can say how.
    Unknown,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(9) => f.write_str("killed (signal 9; out of memory, or by hand)"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::Unknown => f.write_str("ended"),
        }
    }
}

/// A child just started, before it became its program.
#[derive(Debug)]
pub struct Spawned {
    /// Process id, and id of its process group.
    pub pid: u32,
    /// Closes without a byte when the program has taken over; else brings the reason why it could not.
    pub report: UnixStream,
    /// Its standard output and error. Somebody has to read them: a full pipe stalls the child, a closed one may end it.
    pub output: PipeReader,
}

/// Starts `launch` in a process group of its own, through `shim` (program and arguments that end in
/// [`super::shim::exec_shim`]). Call it on the main thread only: the kernel ties a child's life to the *thread* that
/// started it.
///
/// # Errors
/// When the shim itself cannot be started; what the program says comes over [`Spawned::report`].
pub fn spawn(shim: (&Path, &[String]), launch: &Launch) -> io::Result<Spawned> {
    let (report, theirs) = UnixStream::pair()?;
    report.set_nonblocking(true)?;
    launch.send(&report)?;
    let mut command = Command::new(shim.0);
    command.args(shim.1).stdin(Stdio::from(OwnedFd::from(theirs))).process_group(0);
    let (output, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn()?;
    Ok(Spawned { pid: child.id(), report, output })
}

/// A handle on a child that cannot come to mean another process: the kernel keeps the id until [`Watch::reap`].
#[derive(Debug)]
pub struct Watch {
    pid: Pid,
    handle: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Watches a child of this process, one that has ended already included.
    ///
    /// # Errors
    /// When `pid` is no child's, or the kernel refuses.
    pub fn new(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a process id"))?;
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that may change their file; OwnedFd cannot"
        )]
        let handle = AsyncFd::with_interest(handle, Interest::READABLE)?;
        Ok(Self { pid, handle })
    }

    /// Waits for the end. The child stays unreaped: its id, and so that of its group, belongs to nobody else yet.
    pub async fn ended(&self) -> Exit {
        if self.handle.readable().await.is_err() {
            return Exit::Unknown;
        }
        match waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, Some(signal)) => Exit::Signal(signal),
                (None, None) => Exit::Unknown,
            },
            Ok(None) | Err(_) => Exit::Unknown,
        }
    }

    /// Gives the id of a child that has ended back to the kernel, after killing what is left of its process group.
    pub fn reap(self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED);
    }
}

/// Sends a signal to the process group that a child of ours leads. Only for a child that is not reaped yet.
pub fn signal_group(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, signal);
    }
}

/// Ends a child that cannot be watched (no descriptor left), and waits for that: a killed process ends at once.
pub fn abandon(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    }
}
