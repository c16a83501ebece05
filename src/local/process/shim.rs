//! The last step before a program runs: the process that becomes it.
//!
//! A child can be told to die with its parent only from inside itself, and what must run between `fork` and `exec`
//! would need unsafe code. So the supervisor starts this program again with a hidden subcommand, which receives a
//! [`Launch`] over its standard input, ties itself to the supervisor's life, and becomes the program.
//!
//! The kernel clears the death signal when a set-user-id program is executed: such a program outlives a killed
//! supervisor. So do grandchildren, because the signal goes to direct children only; a supervisor that ends a process
//! itself ends everything that the process started ([`super::family`]).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Rlimit, Signal, getpid, getppid, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};

use super::{EnvVar, Limit};
use crate::failpoint;
use crate::local::open_files;
use crate::local::supervisor::channel;

/// Exit code of a shim that could not become the program (as of `env(1)` and shells).
pub const NOT_STARTED: i32 = 127;

/// What a service manager says to `serinus run` itself: a process of a user that took it for its own would speak for the
/// whole instance.
const NOT_FOR_USERS: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Everything a shim needs to become a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// Process id of the supervisor. A shim whose parent is another one comes too late and ends.
    pub parent: u32,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The name it sees itself called by, if not the program's path.
    pub called: Option<String>,
    /// Variables added to the environment.
    pub env: Vec<EnvVar>,
    /// Working directory; `None` keeps the supervisor's.
    pub directory: Option<PathBuf>,
    /// Resource limits.
    pub limits: BTreeMap<Limit, u64>,
    /// Soft limit of open files, unless `limits` sets one.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// One of our own programs keeps the variables of [`failpoint`]; others never see them.
    pub own: bool,
}

impl Launch {
    /// Hands this to the shim behind `socket`, without ever waiting for it.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn send(&self, socket: &UnixStream) -> io::Result<()> {
        let mut file = File::from(memfd_create("launch", MemfdFlags::CLOEXEC)?);
        file.write_all(&serde_json::to_vec(self)?)?;
        file.seek(SeekFrom::Start(0))?;
        channel::send(socket.as_fd(), b"l", &[file.as_fd()])?;
        Ok(())
    }
}

/// Body of the hidden subcommand: becomes the program that the supervisor sent over standard input.
///
/// Returns only if that failed, after telling the supervisor why; the caller exits with [`NOT_STARTED`].
#[must_use]
pub fn exec_shim() -> i32 {
    let launched = receive().and_then(|(launch, report)| {
        let error = become_program(&launch);
        let mut report = UnixStream::from(report);
        let _ = report.write_all(error.to_string().as_bytes());
        Err(error)
    });
    match launched {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "serinus: {error}");
            NOT_STARTED
        }
    }
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
enum ShimError {
    #[error(
        "this hidden command is started by the supervisor only: its standard input brings no order ({0})"
    )]
    NoOrder(String),
    #[error("the supervisor that ordered this process is gone")]
    Orphan,
    #[error("cannot tie the process to the life of its supervisor: {0}")]
    Tie(io::Error),
    #[error("cannot set limit {0:?} to {1}: {2}")]
    Limit(Limit, u64, io::Error),
    #[error("cannot enter the working directory {0}: {1}")]
    Directory(PathBuf, io::Error),
    #[error("the command is empty")]
    Empty,
    #[error("cannot run {0}: {1}{2}")]
    Exec(String, io::Error, &'static str),
}

fn receive() -> Result<(Launch, OwnedFd), ShimError> {
    let bad = |error: &dyn std::fmt::Display| ShimError::NoOrder(error.to_string());
    let stdin = io::stdin();
    let (_, mut files) = channel::receive(stdin.as_fd(), &mut [0; 1]).map_err(|e| bad(&e))?;
    let mut file = File::from(files.pop().ok_or_else(|| bad(&"no open file came"))?);
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(|e| bad(&e))?;
    let launch = serde_json::from_slice(&text).map_err(|e| bad(&e))?;
    // The report end closes by itself when the program takes over: that is how the supervisor learns that it did.
    let report = rustix::io::fcntl_dupfd_cloexec(stdin.as_fd(), 3).map_err(|e| bad(&e))?;
    let null = File::open("/dev/null").map_err(|e| bad(&e))?;
    rustix::stdio::dup2_stdin(null).map_err(|e| bad(&e))?;
    Ok((launch, report))
}

fn become_program(launch: &Launch) -> ShimError {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return ShimError::Tie(error.into());
    }
    // The parent may have died before the line above: then the signal will never come.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(launch.parent) {
        return ShimError::Orphan;
    }
    if let Some(files) = launch.open_files
        && let Err(error) = open_files::set_soft(files)
    {
        return ShimError::Limit(Limit::OpenFiles, files, error);
    }
    for (limit, value) in &launch.limits {
        let both = Rlimit { current: Some(*value), maximum: Some(*value) };
        if let Err(error) = setrlimit(limit.resource(), both) {
            return ShimError::Limit(*limit, *value, error.into());
        }
    }
    let Some((program, arguments)) = launch.command.split_first() else { return ShimError::Empty };
    let mut command = Command::new(program);
    command.arg0(launch.called.as_ref().unwrap_or(program));
    for name in NOT_FOR_USERS.iter().filter(|_| !launch.own) {
        command.env_remove(name);
    }
    command.args(arguments).envs(launch.env.iter().map(|v| (&v.name, &v.value)));
    if !launch.own {
        for name in failpoint::VARIABLES {
            command.env_remove(name);
        }
    }
    if let Some(directory) = &launch.directory
        && let Err(error) = std::env::set_current_dir(directory)
    {
        return ShimError::Directory(directory.clone(), error);
    }
    let error = command.exec();
    let advice = if error.kind() == io::ErrorKind::NotFound {
        " (the file, or the interpreter that its first line names, does not exist)"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        " (is it executable? chmod +x)"
    } else {
        ""
    };
    ShimError::Exec(program.clone(), error, advice)
}

/// This process, as a [`Launch::parent`].
#[must_use]
pub fn own_pid() -> u32 {
    getpid().as_raw_nonzero().get().unsigned_abs()
}
