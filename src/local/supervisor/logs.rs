//! Where the parts of an instance say what they say.
//!
//! Workers and control write to a pipe that the supervisor reads into `logs/workers.log` and `logs/control.log`; the
//! supervisor writes `logs/supervisor.log` itself. Each is kept in [`LogLimits::default`]: three files of 10 MiB.

use std::io;
use std::path::{Path, PathBuf};

use crate::local::process::LogLimits;
use crate::local::process::log::Log;
use crate::telemetry::{Losses, Outlet};

/// The directory of every log, those of users' processes included.
#[must_use]
pub fn directory(state: &Path) -> PathBuf {
    state.join("logs")
}

/// The supervisor's own log.
#[must_use]
pub fn supervisor(state: &Path) -> PathBuf {
    directory(state).join("supervisor.log")
}

/// The control process's log.
#[must_use]
pub fn control(state: &Path) -> PathBuf {
    directory(state).join("control.log")
}

/// The log of all workers; each line begins with the name of its worker.
#[must_use]
pub fn workers(state: &Path) -> PathBuf {
    directory(state).join("workers.log")
}

/// A way into the supervisor's own log, for that process.
#[must_use]
pub fn own(state: &Path) -> Outlet {
    Outlet::new("log", Losses::Told, Bounded(Log::new(supervisor(state), LogLimits::default())))
}

/// Whether standard error is the supervisor's log already, so that nothing needs to be said there again.
#[must_use]
pub fn is_stderr(state: &Path) -> bool {
    let same = || {
        let (errors, file) =
            (rustix::fs::fstat(io::stderr()).ok()?, rustix::fs::stat(supervisor(state)).ok()?);
        Some((errors.st_dev, errors.st_ino) == (file.st_dev, file.st_ino))
    };
    same().unwrap_or(false)
}

/// A log as something to write to.
struct Bounded(Log);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
