//! A user's process: what it is, how it is started, restarted, heard and ended.
//!
//! Everything here is about one process on one machine. Which processes there should be is decided elsewhere and
//! reaches the supervisor as commands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub mod child;
pub mod family;
pub mod lifecycle;
pub mod listening;
pub mod log;
pub mod port;
pub mod shim;
pub mod words;

/// What to run, with everything decided: the executable is the revision's own copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessSpec {
    /// Program and arguments. `$(port)`, `$(ordinal)`, `$(revision)`, `$(role)` and `$(rollout)` are replaced.
    pub command: Vec<String>,
    /// Variables added to the supervisor's own environment, in order, a later one wins; same replacements.
    /// `PORT` is always added.
    #[serde(default)]
    pub env: Vec<EnvVar>,
    /// Working directory.
    pub directory: PathBuf,
    /// How much of its output is kept.
    #[serde(default)]
    pub log: LogLimits,
    /// When it is started again.
    #[serde(default)]
    pub restart: Restart,
    /// How it is asked to end.
    #[serde(default)]
    pub stop: Stop,
    /// Resource limits by name; none by default.
    #[serde(default)]
    pub limits: BTreeMap<Limit, u64>,
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Name.
    pub name: String,
    /// Value, after replacement of `$(…)`.
    pub value: String,
}

/// How much output of one process is kept on disk and in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogLimits {
    /// Size at which a log file is rotated, bytes. Default 10 MiB, at least 4 KiB.
    pub file_bytes: u64,
    /// Files kept, the one being written included, `1 ..= 100`. Default 3.
    pub files: u32,
    /// Last lines held in memory for diagnosis, at most 1000. Default 100.
    pub lines: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { file_bytes: 10 << 20, files: 3, lines: 100 }
    }
}

/// When a process that ended is started again, and after how long.
///
/// The first restart is at once, the n-th in a row waits `initial · 2^(n−2)`, at most `max`. A process that ran for
/// `reset_after` starts counting anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Restart {
    /// Which ends lead to a restart. Default always.
    pub when: RestartWhen,
    /// Wait before the second restart in a row, milliseconds. Default 500.
    pub initial_ms: u64,
    /// Longest wait, milliseconds. Default 60 000.
    pub max_ms: u64,
    /// A run of this many milliseconds counts as healthy. Default 60 000.
    pub reset_after_ms: u64,
}

impl Default for Restart {
    fn default() -> Self {
        Self { when: RestartWhen::Always, initial_ms: 500, max_ms: 60_000, reset_after_ms: 60_000 }
    }
}

/// Which ends of a process lead to a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RestartWhen {
    /// Every end.
    Always,
    /// Every end but exit code 0.
    OnFailure,
    /// None.
    Never,
}

/// How a process is asked to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stop {
    /// Sent first, to the whole process group. Default TERM.
    pub signal: StopSignal,
    /// After this many milliseconds the process group is killed. Default 10 000.
    pub grace_ms: u64,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: StopSignal::Term, grace_ms: 10_000 }
    }
}

impl Stop {
    /// The grace as a duration.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

/// Signals that ask a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are the signals'")]
pub enum StopSignal {
    Term,
    Int,
    Quit,
    Hup,
    Usr1,
    Usr2,
    Kill,
}

impl StopSignal {
    /// The signal itself.
    #[must_use]
    pub fn signal(self) -> rustix::process::Signal {
        use rustix::process::Signal;
        match self {
            Self::Term => Signal::TERM,
            Self::Int => Signal::INT,
            Self::Quit => Signal::QUIT,
            Self::Hup => Signal::HUP,
            Self::Usr1 => Signal::USR1,
            Self::Usr2 => Signal::USR2,
            Self::Kill => Signal::KILL,
        }
    }
}

/// A resource limit of the kernel (`setrlimit(2)`), soft and hard alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    /// Address space, bytes.
    AddressSpace,
    /// Size of a core file, bytes.
    CoreFile,
    /// CPU time, seconds.
    CpuSeconds,
    /// Largest file written, bytes.
    FileSize,
    /// Open files.
    OpenFiles,
    /// Processes and threads of the user.
    Processes,
}

impl Limit {
    pub(crate) fn resource(self) -> rustix::process::Resource {
        use rustix::process::Resource;
        match self {
            Self::AddressSpace => Resource::As,
            Self::CoreFile => Resource::Core,
            Self::CpuSeconds => Resource::Cpu,
            Self::FileSize => Resource::Fsize,
            Self::OpenFiles => Resource::Nofile,
            Self::Processes => Resource::Nproc,
        }
    }
}

/// Text with the parameters of one process replaced; what is not a parameter stays as it is.
#[must_use]
pub fn expand(text: &str, parameters: &BTreeMap<&str, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("$(") {
        let Some(length) = rest[start..].find(')') else { break };
        let name = &rest[start + 2..start + length];
        out.push_str(&rest[..start]);
        match parameters.get(name) {
            Some(value) => out.push_str(value),
            None => out.push_str(&rest[start..=start + length]),
        }
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_replaced_and_shell_text_is_left_alone() {
        let parameters = BTreeMap::from([("port", "8081".to_owned())]);
        for (text, expected) in [
            ("--port=$(port)", "--port=8081"),
            ("$(port)$(port)", "80818081"),
            ("echo $(date) $(port)", "echo $(date) 8081"),
            ("$(port", "$(port"),
            ("", ""),
        ] {
            assert_eq!(expand(text, &parameters), expected);
        }
    }
}
