//! Places at which a test can end the process, as `kill -9` would.
//!
//! A failpoint stands before and after every persisted transition and every outside effect. It costs one atomic load
//! unless the environment asks for more:
//!
//! | variable | meaning |
//! |---|---|
//! | `SERINUS_FAILPOINT=n` | the n-th passage (from 1) through any failpoint of this process ends it with SIGKILL |
//! | `SERINUS_FAILPOINT_LOG=path` | every passage is appended to this file as `role number name` |
//! | `SERINUS_FAILPOINT_ROLE=name` | only processes that called [`role`] with this name count |
//! | `SERINUS_FAILPOINT_ONCE=path` | the kill creates this file; where it exists nobody is killed, so a restarted process lives |
//!
//! A test runs once with the log to learn how many passages there are, then once for every n.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use rustix::process::{Signal, getpid, kill_process};

/// Marks a place: `failpoint!("store: before commit")`. Names are free text, unique within the program.
#[macro_export]
macro_rules! failpoint {
    ($name:expr) => {
        $crate::failpoint::reached($name)
    };
}

/// The variables of this module; a process that starts foreign programs takes them out of their environment.
pub const VARIABLES: [&str; 4] =
    ["SERINUS_FAILPOINT", "SERINUS_FAILPOINT_LOG", "SERINUS_FAILPOINT_ROLE", "SERINUS_FAILPOINT_ONCE"];

struct Armed {
    kill_at: Option<u64>,
    log: Option<PathBuf>,
    only_role: Option<String>,
    once: Option<PathBuf>,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
static ROLE: Mutex<Option<String>> = Mutex::new(None);
static PASSED: AtomicU64 = AtomicU64::new(0);

/// Names this process (`control`, `supervisor`, `worker`) for `SERINUS_FAILPOINT_ROLE` and the log.
pub fn role(name: &str) {
    *ROLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(name.to_owned());
}

/// Counts one passage; kills the process if it is the one the environment names.
pub fn reached(name: &str) {
    if let Some(armed) = ARMED.get_or_init(Armed::from_environment) {
        armed.pass(name);
    }
}

impl Armed {
    fn from_environment() -> Option<Self> {
        let text = |name: &str| std::env::var(name).ok();
        let kill_at = text("SERINUS_FAILPOINT").and_then(|n| n.parse().ok());
        let log = text("SERINUS_FAILPOINT_LOG").map(PathBuf::from);
        if kill_at.is_none() && log.is_none() {
            return None;
        }
        let only_role = text("SERINUS_FAILPOINT_ROLE");
        Some(Self { kill_at, log, only_role, once: text("SERINUS_FAILPOINT_ONCE").map(PathBuf::from) })
    }

    fn pass(&self, name: &str) {
        let role = ROLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if self.only_role.is_some() && self.only_role != role {
            return;
        }
        let number = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(path) = &self.log {
            // The log is a test's aid: a process must not behave differently because it could not be written.
            if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
                let _ = writeln!(file, "{} {number} {name}", role.as_deref().unwrap_or("-"));
            }
        }
        if self.kill_at == Some(number) && self.may_kill() {
            let _ = kill_process(getpid(), Signal::KILL);
            // The signal is pending: nothing after this line may run.
            loop {
                std::thread::park();
            }
        }
    }

    fn may_kill(&self) -> bool {
        let Some(marker) = &self.once else { return true };
        OpenOptions::new().write(true).create_new(true).open(marker).is_ok()
    }
}
