//! What must survive a crash, in SQLite.
//!
//! One process writes: the control process. What a call has reported as saved is on the disk; only then may it be
//! acted on. A save that failed, or of which nothing was heard because the process died, may or may not be there
//! afterwards: whoever opens the store next goes by what it says.
//!
//! # Crash safety
//!
//! Write-ahead log, `synchronous=FULL`: a commit returns after its `fsync`. After *any* error of writing or of `fsync`
//! the handle is poisoned: it saves nothing any more and never tries `fsync` again, because the kernel reports a lost
//! page only once and the second try would lie. Reading goes on. [`Store::reopen`] begins again with new files, a
//! check, and everything of the log written anew. For the same reason the log is never moved into the database
//! behind our back (no automatic checkpoint, none on close): it happens where its error is seen.
//!
//! A file that is damaged is never replaced by an empty one: opening says so, and [`set_aside`] is a person's choice.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::failpoint;
use crate::journal::Broken;
use crate::local::supervisor::state_dir::{self, StateDirError};

mod commit;
mod error;
mod object;
mod read;
mod schema;
mod seal;
mod thread;

pub use commit::{Appended, Commit, JournalLimits};
pub use error::{OpenError, StoreError};
pub use object::Object;
pub use read::{Checkpoint, Document, Order, OrderState, Revision, Saved};
pub use thread::{StoreThread, StoreThreadError};

/// Name of the database in the state directory.
pub const FILE: &str = "store.db";

/// Size of the log at which it is moved into the database, bytes, unless [`Store::limit_log`] says otherwise.
const CHECKPOINT_AT: u64 = 1 << 20;

/// Newest records checked when the store is opened; [`Store::check_journal`] checks all.
const CHECKED_AT_OPEN: u64 = 256;

/// Whether the store still saves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Good,
    /// It does not, for this reason, until it is reopened.
    Poisoned(String),
}

/// The one handle of the one writer.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
    poisoned: Option<String>,
    journal_limits: JournalLimits,
    log_limit: u64,
    /// Held for its lock.
    _lock: File,
}

impl Store {
    /// Opens the store in this state directory, or makes one if there has never been one.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do; nothing has been changed or lost by then.
    pub fn open(state: &Path) -> Result<Self, OpenError> {
        let path = state.join(FILE);
        let lock = state_dir::lock(&state.join("store.lock")).map_err(|error| match error {
            StateDirError::InUse { pid, .. } => OpenError::InUse { path: path.clone(), pid },
            StateDirError::Io { source, .. } => OpenError::Io { path: path.clone(), source },
            StateDirError::NotOurs { .. } => {
                OpenError::Io { path: path.clone(), source: io::ErrorKind::PermissionDenied.into() }
            }
            StateDirError::TooLong { .. } => {
                OpenError::Io { path: path.clone(), source: io::ErrorKind::InvalidFilename.into() }
            }
        })?;
        if !path.try_exists().map_err(|source| OpenError::Io { path: path.clone(), source })? {
            schema::create(&path)?;
        }
        let connection = connect(&path)?;
        let (poisoned, journal_limits, log_limit) = (None, JournalLimits::default(), CHECKPOINT_AT);
        Ok(Self { path, connection, poisoned, journal_limits, log_limit, _lock: lock })
    }

    /// Bounds of the journal from now on.
    pub fn limit_journal(&mut self, limits: JournalLimits) {
        self.journal_limits = limits;
    }

    /// Size of the write-ahead log at which it is moved into the database, bytes. Default 1 MiB.
    pub fn limit_log(&mut self, bytes: u64) {
        self.log_limit = bytes;
    }

    /// Saves everything that `work` does, or nothing. When this returns `Ok`, it is on the disk.
    ///
    /// # Errors
    /// What `work` returned, and then nothing is saved. [`StoreError::Poisoned`] and [`StoreError::Write`]: stop
    /// acting and show it; the store reads on.
    pub fn commit<T>(
        &mut self,
        work: impl FnOnce(&mut Commit<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(reason) = &self.poisoned {
            return Err(StoreError::Poisoned(reason.clone()));
        }
        failpoint::reached("store: before a save");
        let done = self.transact(work);
        if let Err(error) = &done
            && error.poisons()
        {
            self.poison(error.to_string());
        }
        let value = done?;
        failpoint::reached("store: after a save");
        self.checkpoint();
        Ok(value)
    }

    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Commit<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let limits = self.journal_limits;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::write)?;
        let mut change = Commit::new(&transaction, limits);
        let value = work(&mut change)?;
        change.seal()?;
        transaction.commit().map_err(StoreError::write)?;
        Ok(value)
    }

    /// Moves the log into the database when it has grown. What was saved is safe already, so an error here poisons
    /// the handle without taking anything back.
    fn checkpoint(&mut self) {
        let log = wal(&self.path);
        if std::fs::metadata(&log).is_ok_and(|metadata| metadata.len() < self.log_limit) {
            return;
        }
        if let Err(error) = checkpoint(&self.connection) {
            self.poison(error);
        }
    }

    fn poison(&mut self, reason: String) {
        tracing::error!(reason, "the store saves no more; nothing is acted on until it is opened again");
        self.poisoned = Some(reason);
    }

    /// Whether it still saves, and if not, why.
    #[must_use]
    pub fn health(&self) -> Health {
        self.poisoned.clone().map_or(Health::Good, Health::Poisoned)
    }

    /// Begins again after an error: new files, everything checked, the log written anew.
    ///
    /// # Errors
    /// [`OpenError`]; the handle stays as it was, poisoned and readable.
    pub fn reopen(&mut self) -> Result<(), OpenError> {
        // The old connection must let go of the file first; without the lock held nobody else can come between.
        let nothing = Connection::open_in_memory().map_err(|e| OpenError::sqlite(&self.path, e))?;
        drop(std::mem::replace(&mut self.connection, nothing));
        self.poisoned.get_or_insert_with(|| "it is being opened again".to_owned());
        match connect(&self.path) {
            Ok(connection) => {
                self.connection = connection;
                if let Err(reason) = checkpoint(&self.connection) {
                    self.poison(reason.clone());
                    return Err(OpenError::StillFailing { path: self.path.clone(), reason });
                }
                self.poisoned = None;
                Ok(())
            }
            Err(error) => {
                // Reading goes on if it can at all.
                if let Ok(connection) =
                    Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)
                {
                    self.connection = connection;
                }
                Err(error)
            }
        }
    }

    /// Checks the whole journal. Takes time in proportion to its length.
    ///
    /// # Errors
    /// [`StoreError::Journal`] names the first record that is not what was written.
    pub fn check_journal(&self) -> Result<(), StoreError> {
        read::check_journal(&self.connection, u64::MAX)
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Moves a damaged store out of the way: `store.db` and its log become `store.db.corrupt`, or `.corrupt-2` and so on.
/// The next [`Store::open`] makes an empty one. Only for a person who asked for it.
///
/// # Errors
/// When a file cannot be renamed.
pub fn set_aside(state: &Path) -> io::Result<PathBuf> {
    let path = state.join(FILE);
    let mut target = with_suffix(&path, ".corrupt");
    let mut number = 2;
    while target.try_exists()? {
        target = with_suffix(&path, &format!(".corrupt-{number}"));
        number += 1;
    }
    // The log first: a database without its log would look complete, and is not.
    if wal(&path).try_exists()? {
        std::fs::rename(wal(&path), wal(&target))?;
    }
    std::fs::rename(&path, &target)?;
    File::open(state)?.sync_all()?;
    Ok(target)
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error| OpenError::sqlite(path, error);
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) {
        return Err(OpenError::corrupt(path, "the file is empty".to_owned()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    let pragmas = [
        // No second process can open the file, and no shared memory is needed.
        "PRAGMA locking_mode = EXCLUSIVE",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA wal_autocheckpoint = 0",
        "PRAGMA cache_size = -1024",
        "PRAGMA temp_store = MEMORY",
        "PRAGMA trusted_schema = OFF",
        "PRAGMA cell_size_check = ON",
    ];
    for pragma in pragmas {
        // Some answer with a row, some do not.
        connection.query_row(pragma, [], |_| Ok(())).or_else(ignore_no_row).map_err(failed)?;
    }
    let check: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if check != "ok" {
        return Err(OpenError::corrupt(path, check));
    }
    schema::check(path, &connection)?;
    // The journal can be long and has its own chain; the rest is small, so its indexes are checked in full.
    for table in seal::TABLES {
        let sql = format!("PRAGMA integrity_check({table})");
        let check: String = connection.query_row(&sql, [], |row| row.get(0)).map_err(failed)?;
        if check != "ok" {
            return Err(OpenError::corrupt(path, check));
        }
    }
    seal::check(&connection)
        .map_err(failed)?
        .map_err(|broken| OpenError::corrupt(path, broken.to_string()))?;
    match read::check_journal(&connection, CHECKED_AT_OPEN) {
        Ok(()) => Ok(connection),
        Err(StoreError::Journal(broken)) => Err(journal_broken(path, &broken)),
        Err(error) => Err(OpenError::corrupt(path, error.to_string())),
    }
}

fn journal_broken(path: &Path, broken: &Broken) -> OpenError {
    OpenError::corrupt(path, broken.to_string())
}

fn ignore_no_row(error: rusqlite::Error) -> Result<(), rusqlite::Error> {
    if error == rusqlite::Error::QueryReturnedNoRows { Ok(()) } else { Err(error) }
}

fn checkpoint(connection: &Connection) -> Result<(), String> {
    let busy: Result<i64, _> = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    match busy {
        Ok(0) => Ok(()),
        Ok(_) => Err("the log could not be moved into the database: something else uses it".to_owned()),
        Err(error) => {
            Err(format!("the log could not be moved into the database: {}", StoreError::write(error)))
        }
    }
}

fn wal(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
