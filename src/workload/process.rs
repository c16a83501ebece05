use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::{HumanDuration, Sizing};

use super::WorkloadKind;
use crate::written::{ByteSize, ProcessText};

/// Processes of one program.
///
/// `apply` copies the executable and `files` into the revision's own directory and every start uses that copy: a
/// rebuild in place does not change what stable runs.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Process {
    /// The program and its arguments. The program is looked up in `workingDir` if it contains a `/`, else in PATH.
    #[schemars(length(min = 1))]
    pub command: Vec<ProcessText>,
    /// Variables added to Serinus' own environment; a later one wins. `PORT` is always set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Where `files` and a program with a `/` are looked for, relative to the manifest. Default: its directory.
    /// Processes run there too, unless there are `files`: then they run among their copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Files and whole directories that belong to a version, relative to `workingDir`. They are copied, and a change
    /// in any of them is a new version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// When a process counts as ready. Default: as soon as it accepts connections on its port.
    #[serde(default)]
    pub readiness: Readiness,
    /// How a process is asked to end.
    #[serde(default)]
    pub stop: Stop,
    /// How much of its output is kept.
    #[serde(default)]
    pub logs: LogKeeping,
    /// When a process that ended is started again.
    #[serde(default)]
    pub restart: Restart,
    /// How many copies of earlier revisions are kept.
    #[serde(default)]
    pub copies: CopyKeeping,
    /// What the kernel allows it. Default: what it allows Serinus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceLimits>,
}

/// A variable of the environment.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvVar {
    /// Its name.
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]*$"))]
    pub name: String,
    /// Its value.
    pub value: ProcessText,
}

/// When a process counts as ready. At most one of `http` and `tcp`.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Readiness {
    /// It answers this request with a status from 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// It accepts a connection on its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// How often it is asked. Default 500ms.
    pub every: HumanDuration,
    /// How long an answer may take. Default 1s.
    pub timeout: HumanDuration,
    /// Not ready after so many failures in a row. Default 3.
    #[schemars(range(min = 1, max = 100))]
    pub failures: u32,
    /// Ready after so many successes in a row. Default 1.
    #[schemars(range(min = 1, max = 100))]
    pub successes: u32,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            http: None,
            tcp: None,
            every: HumanDuration(std::time::Duration::from_millis(500)),
            timeout: HumanDuration::from_secs(1),
            failures: 3,
            successes: 1,
        }
    }
}

/// A request that says whether a process is ready.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    /// Path and query. Default `/`.
    #[serde(default = "HttpProbe::root")]
    #[schemars(regex(pattern = r"^/"))]
    pub path: String,
    /// The name it is asked by (`Host`), for a service that answers only to its own. Default: its address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[A-Za-z0-9._:\[\]-]+$"))]
    pub host: Option<String>,
    /// More headers of the question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub headers: Vec<ProbeHeader>,
}

/// A header of a question.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbeHeader {
    /// Its name.
    #[schemars(length(max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096), regex(pattern = r"^[\t\x20-\x7e]*$"))]
    pub value: String,
}

impl HttpProbe {
    fn root() -> String {
        "/".into()
    }
}

/// A connection that says whether a process is ready.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpProbe {}

/// How a process is asked to end. It gets no new requests before that.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Stop {
    /// Sent first, to the whole process group. Default TERM.
    pub signal: Signal,
    /// Killed after this, with all that it started. Whoever it started has the whole time, also when the process itself
    /// ends before. Default 10s.
    pub grace: HumanDuration,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: Signal::Term, grace: HumanDuration::from_secs(10) }
    }
}

/// Signals that ask a process to end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are the signals'")]
pub enum Signal {
    Term,
    Int,
    Quit,
    Hup,
    Usr1,
    Usr2,
    Kill,
}

/// How much of a process's output is kept.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogKeeping {
    /// A new file is begun at this size. Default 10MiB, at least 4KiB.
    pub size: ByteSize,
    /// So many files are kept. Default 3.
    #[schemars(range(min = 1, max = 100))]
    pub keep: u32,
}

impl Default for LogKeeping {
    fn default() -> Self {
        Self { size: ByteSize::mebibytes(10), keep: 3 }
    }
}

/// How many copies of earlier revisions are kept on the disk, with their logs, for `undo`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CopyKeeping {
    /// So many besides those in use (stable, the canary, the revision that is wanted, whatever runs), those that were
    /// stable last before others. Default 5.
    #[schemars(range(max = 1000))]
    pub keep: u32,
}

impl Default for CopyKeeping {
    fn default() -> Self {
        Self { keep: 5 }
    }
}

/// When a process that ended is started again: after `first`, then twice as long each time.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Restart {
    /// After which ends. Default always.
    pub when: RestartWhen,
    /// The first wait. Default 500ms.
    pub first: HumanDuration,
    /// The longest wait. Default 1m.
    pub max: HumanDuration,
    /// A run of this length counts as healthy and starts the waits anew. Default 1m.
    pub reset_after: HumanDuration,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            when: RestartWhen::Always,
            first: HumanDuration(std::time::Duration::from_millis(500)),
            max: HumanDuration::from_mins(1),
            reset_after: HumanDuration::from_mins(1),
        }
    }
}

/// After which ends a process is started again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RestartWhen {
    /// Every end.
    Always,
    /// Every end but exit code 0.
    OnFailure,
    /// None.
    Never,
}

/// What the kernel allows a process (`setrlimit(2)`).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResourceLimits {
    /// Address space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_space: Option<ByteSize>,
    /// Size of a core file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_file: Option<ByteSize>,
    /// Open files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
}

impl WorkloadKind for Process {
    fn sizing(&self) -> Sizing {
        Sizing::PerArm
    }

    fn replicas(&self) -> u32 {
        1
    }
}
