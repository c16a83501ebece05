//! What can go wrong with the store.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::journal::Broken;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes to it.
    #[error("{} is in use by process {pid}: there can be one writer only", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
        /// The process that has it.
        pid: String,
    },
    /// A later version has written it.
    #[error(
        "{} was written by a later version (format {found}, this version reads up to {known}): run that version",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Format found.
        found: u32,
        /// Latest format known.
        known: u32,
    },
    /// It is damaged. It is left as it is.
    #[error(
        "{} is damaged ({what}); it is left as it is. Restore it from a backup, or, to begin anew and keep it for \
         diagnosis: mv {} {}.corrupt, likewise {}-wal if it is there. Then apply your documents again: what runs is \
         taken as stable",
        path.display(), path.display(), path.display(), path.display()
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What the check found.
        what: String,
    },
    /// After it was opened again it failed again.
    #[error("{} still cannot be written: {reason}", path.display())]
    StillFailing {
        /// The database.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
    /// A file could not be used.
    #[error("cannot open {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("cannot open {}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl OpenError {
    pub(super) fn corrupt(path: &Path, what: String) -> Self {
        Self::Corrupt { path: path.to_owned(), what }
    }

    pub(super) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::corrupt(path, source.to_string())
            }
            Some(ErrorCode::DatabaseBusy) => Self::InUse { path: path.to_owned(), pid: "?".to_owned() },
            Some(_) | None => Self::Sqlite { path: path.to_owned(), source },
        }
    }
}

/// Why a store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An earlier error; nothing is saved until the store is reopened.
    #[error("nothing is saved since an earlier error: {0}")]
    Poisoned(String),
    /// Writing failed: full disk, failing disk. The handle is poisoned.
    #[error("cannot save: {what}{advice}")]
    Write {
        /// What SQLite said.
        what: String,
        /// What to do.
        advice: &'static str,
        /// The error itself.
        source: rusqlite::Error,
    },
    /// Reading failed.
    #[error("cannot read the store")]
    Read(#[source] rusqlite::Error),
    /// Somebody saved in between: observe again.
    #[error("the status of {rollout} has been saved since: expected fence {expected}, found {found}")]
    Fenced {
        /// The rollout.
        rollout: String,
        /// Fence the caller had seen.
        expected: u64,
        /// Fence there is.
        found: u64,
    },
    /// Somebody wrote an object in between: observe again.
    #[error("{name} of {rollout} has been written since: expected fence {expected}, found {found}")]
    Overtaken {
        /// The rollout.
        rollout: String,
        /// The object.
        name: String,
        /// Fence the caller had seen; 0: there was none.
        expected: u64,
        /// Fence there is.
        found: u64,
    },
    /// The same order id with other content.
    #[error("order {0} is known, with other content: a new order needs a new id")]
    OrderDiffers(String),
    /// There is no such order.
    #[error("there is no order {0}")]
    NoSuchOrder(String),
    /// A payload that is no JSON of its type.
    #[error("the {what} of {of} cannot be read")]
    Payload {
        /// What kind of payload.
        what: &'static str,
        /// Whose.
        of: String,
        /// What the decoder said.
        source: serde_json::Error,
    },
    /// The journal is not what was written.
    #[error(transparent)]
    Journal(#[from] Broken),
}

impl StoreError {
    pub(super) fn write(source: rusqlite::Error) -> Self {
        let advice = match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => ": the disk is full; make room",
            Some(ErrorCode::ReadOnly) => ": the file system is read-only",
            Some(ErrorCode::SystemIoFailure) => ": the disk fails or is full; see the kernel's log",
            Some(_) | None => "",
        };
        Self::Write { what: source.to_string(), advice, source }
    }

    /// After this error nothing may be saved over the same handle.
    #[must_use]
    pub fn poisons(&self) -> bool {
        match self {
            Self::Write { .. } | Self::Read(_) | Self::Journal(_) => true,
            Self::Poisoned(_)
            | Self::Fenced { .. }
            | Self::Overtaken { .. }
            | Self::OrderDiffers(_)
            | Self::NoSuchOrder(_)
            | Self::Payload { .. } => false,
        }
    }

    /// Whether the same call may succeed after observing again.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Fenced { .. } | Self::Overtaken { .. })
    }
}
