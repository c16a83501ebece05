//! Seals: a hash over every column of a row, so that a page that rotted on the disk is noticed although it still is a
//! well-formed page. The journal has its chain instead.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use sha2::{Digest as _, Sha256};

use super::error::StoreError;

/// The tables whose rows are sealed.
pub(super) const TABLES: [&str; 6] = ["document", "status", "orders", "checkpoint", "revision", "object"];

/// A row that is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("row {row} of table {table} is not what was written")]
pub(super) struct BrokenSeal {
    table: &'static str,
    row: i64,
}

/// Seals the rows of `table` that are not sealed yet: whoever writes a row clears its seal.
pub(super) fn seal(connection: &Connection, table: &'static str) -> Result<(), StoreError> {
    for (row, hash, sealed) in rows(connection, table, "WHERE seal IS NULL").map_err(StoreError::Read)? {
        debug_assert!(sealed.is_none());
        let sql = format!("UPDATE {table} SET seal = ?2 WHERE rowid = ?1");
        let mut statement = connection.prepare_cached(&sql).map_err(StoreError::write)?;
        statement.execute((row, hash)).map_err(StoreError::write)?;
    }
    Ok(())
}

/// Checks every row of every table.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<Result<(), BrokenSeal>> {
    for table in TABLES {
        for (row, hash, sealed) in rows(connection, table, "")? {
            if sealed.as_deref() != Some(hash.as_slice()) {
                return Ok(Err(BrokenSeal { table, row }));
            }
        }
    }
    Ok(Ok(()))
}

type Sealed = (i64, [u8; 32], Option<Vec<u8>>);

fn rows(connection: &Connection, table: &str, filter: &str) -> rusqlite::Result<Vec<Sealed>> {
    let sql = format!("SELECT rowid, seal, * FROM {table} {filter}");
    let mut statement = connection.prepare_cached(&sql)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = statement.query([])?;
    let mut sealed = Vec::new();
    while let Some(row) = found.next()? {
        sealed.push((row.get(0)?, hash(table, &names, row)?, row.get(1)?));
    }
    Ok(sealed)
}

fn hash(table: &str, names: &[String], row: &Row<'_>) -> rusqlite::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    hash.update(table.as_bytes());
    for (place, name) in names.iter().enumerate().skip(2).filter(|(_, name)| *name != "seal") {
        // Names too: a column added later leaves the seals of older rows as they are as long as it is empty.
        let value = row.get_ref(place)?;
        if value == ValueRef::Null {
            continue;
        }
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name.as_bytes());
        let text;
        let bytes: &[u8] = match value {
            ValueRef::Null => &[],
            ValueRef::Integer(number) => {
                text = number.to_string();
                text.as_bytes()
            }
            ValueRef::Real(number) => {
                text = number.to_string();
                text.as_bytes()
            }
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        };
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }
    Ok(hash.finalize().into())
}
