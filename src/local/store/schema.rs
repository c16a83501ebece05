//! The tables, and which versions of them this program reads.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::error::OpenError;
use super::with_suffix;

/// Latest format known. An earlier one is brought up to it at open; a later one is refused.
pub(super) const FORMAT: u32 = 1;

/// The steps from format `n` to `n + 1`, in order.
const STEPS: [&str; 1] = ["
CREATE TABLE document (
    rollout TEXT NOT NULL, generation INTEGER NOT NULL, at TEXT NOT NULL, seal BLOB, text TEXT NOT NULL,
    parsed TEXT NOT NULL, PRIMARY KEY (rollout, generation)) STRICT;
CREATE TABLE status (
    rollout TEXT PRIMARY KEY, fence INTEGER NOT NULL, at TEXT NOT NULL, seal BLOB, body TEXT NOT NULL) STRICT;
CREATE TABLE orders (
    id TEXT PRIMARY KEY, sequence INTEGER NOT NULL UNIQUE, rollout TEXT NOT NULL, at TEXT NOT NULL, state TEXT NOT NULL,
    closed_at TEXT, seal BLOB, body TEXT NOT NULL) STRICT;
CREATE INDEX orders_by_rollout ON orders (rollout, state, sequence);
CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY, rollout TEXT NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
    digest BLOB NOT NULL) STRICT;
CREATE INDEX journal_by_rollout ON journal (rollout, sequence);
CREATE TABLE journal_ends (
    one INTEGER PRIMARY KEY CHECK (one = 1), before_first INTEGER NOT NULL, before_first_digest BLOB NOT NULL,
    last INTEGER NOT NULL, last_digest BLOB NOT NULL, bytes INTEGER NOT NULL) STRICT;
INSERT INTO journal_ends VALUES (1, 0, zeroblob(32), 0, zeroblob(32), 0);
CREATE TABLE checkpoint (
    rollout TEXT NOT NULL, name TEXT NOT NULL, at TEXT NOT NULL, seal BLOB, body TEXT NOT NULL,
    PRIMARY KEY (rollout, name)) STRICT;
CREATE TABLE revision (
    rollout TEXT NOT NULL, revision TEXT NOT NULL, at TEXT NOT NULL, seal BLOB, body TEXT NOT NULL,
    PRIMARY KEY (rollout, revision)) STRICT;
CREATE TABLE object (
    rollout TEXT NOT NULL, name TEXT NOT NULL, fence INTEGER NOT NULL, at TEXT NOT NULL, seal BLOB, body TEXT NOT NULL,
    PRIMARY KEY (rollout, name)) STRICT;
CREATE TABLE object_fence (one INTEGER PRIMARY KEY CHECK (one = 1), last INTEGER NOT NULL) STRICT;
INSERT INTO object_fence VALUES (1, 0);
"];

/// Makes a new store. It appears under its name only when it is complete and on the disk, so an empty file under that
/// name is damage, never a beginning.
pub(super) fn create(path: &Path) -> Result<(), OpenError> {
    let fresh = with_suffix(path, ".new");
    let failed = |source| OpenError::Io { path: fresh.clone(), source };
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(failed)?;
    {
        let connection = Connection::open(&fresh).map_err(|e| OpenError::sqlite(&fresh, e))?;
        let mut script = String::from("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL; BEGIN;");
        script.push_str(
            "CREATE TABLE schema (one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL) STRICT;",
        );
        script.push_str("INSERT INTO schema VALUES (1, 0);");
        script.push_str(&upgrade_from(0));
        script.push_str("COMMIT;");
        connection.execute_batch(&script).map_err(|e| OpenError::sqlite(&fresh, e))?;
    }
    File::open(&fresh).and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(&fresh, path).map_err(failed)?;
    let directory = path.parent().unwrap_or(path);
    File::open(directory).and_then(|file| file.sync_all()).map_err(failed)
}

/// Refuses a later format, brings an earlier one up.
pub(super) fn check(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let failed = |error| OpenError::sqlite(path, error);
    let known = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'schema'", [], |_| Ok(()))
        .optional()
        .map_err(failed)?;
    if known.is_none() {
        return Err(OpenError::corrupt(path, "it is a database, but not one of ours".to_owned()));
    }
    let found: u32 =
        connection.query_row("SELECT format FROM schema", [], |row| row.get(0)).map_err(failed)?;
    if found > FORMAT {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: FORMAT });
    }
    if found < FORMAT {
        connection
            .execute_batch(&format!("BEGIN IMMEDIATE; {} COMMIT;", upgrade_from(found)))
            .map_err(failed)?;
    }
    Ok(())
}

fn upgrade_from(format: u32) -> String {
    let steps: String = STEPS.iter().skip(format as usize).copied().collect();
    format!("{steps} UPDATE schema SET format = {FORMAT};")
}
