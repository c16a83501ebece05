//! One change of the store: several tables, one commit.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Params, Transaction, params};
use serde::Serialize;

use super::error::StoreError;
use super::read::{self, OrderState};
use super::seal;
use crate::journal::{self, Digest, NewRecord};

/// How much of the journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLimits {
    /// Records, at least 1. Default 200 000.
    pub records: u64,
    /// Bytes of bodies. Default 512 MiB. The newest record is kept whatever its size.
    pub bytes: u64,
}

impl Default for JournalLimits {
    fn default() -> Self {
        Self { records: 200_000, bytes: 512 << 20 }
    }
}

/// Closed orders remembered per rollout, so that an order repeated late is known.
const CLOSED_ORDERS: u32 = 1_000;

/// Documents remembered per rollout, the latest included.
const DOCUMENTS: u32 = 16;

/// Whether an order was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It was, and is pending now.
    New,
    /// The same order is there already.
    Known(OrderState),
}

/// What [`super::Store::commit`] saves: all of it or nothing.
#[derive(Debug)]
pub struct Commit<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    limits: JournalLimits,
    /// Tables with rows not sealed yet.
    pub(super) unsealed: BTreeSet<&'static str>,
}

impl<'a> Commit<'a> {
    pub(super) fn new(transaction: &'a Transaction<'a>, limits: JournalLimits) -> Self {
        Self { transaction, limits, unsealed: BTreeSet::new() }
    }

    /// Seals what was written; the last act before the commit.
    pub(super) fn seal(&mut self) -> Result<(), StoreError> {
        self.unsealed.iter().try_for_each(|table| seal::seal(self.transaction, table))
    }

    /// Saves a rollout's status if it is still the one the caller saw (fence 0: none yet); returns the new fence.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when it is not.
    pub fn save_status<S: Serialize>(
        &mut self,
        rollout: &str,
        expected: u64,
        at: Timestamp,
        status: &S,
    ) -> Result<u64, StoreError> {
        let sql = "SELECT fence FROM status WHERE rollout = ?1";
        let found: Option<u64> = self
            .transaction
            .query_row(sql, [rollout], |row| row.get(0))
            .optional()
            .map_err(StoreError::Read)?;
        let found = found.unwrap_or(0);
        if found != expected {
            return Err(StoreError::Fenced { rollout: rollout.to_owned(), expected, found });
        }
        let fence = expected + 1;
        let body = text("status", rollout, status)?;
        self.unsealed.insert("status");
        let sql = "INSERT INTO status (rollout, fence, at, body) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (rollout) DO UPDATE SET fence = ?2, at = ?3, body = ?4, seal = NULL";
        self.execute(sql, params![rollout, fence, at.to_string(), body])?;
        Ok(fence)
    }

    /// Saves a document; returns its generation, which stays the same if nothing changed.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn apply_document<D: Serialize>(
        &mut self,
        rollout: &str,
        at: Timestamp,
        written: &str,
        parsed: &D,
    ) -> Result<u64, StoreError> {
        let parsed = text("document", rollout, parsed)?;
        let sql = "SELECT generation, text, parsed FROM document WHERE rollout = ?1
                   ORDER BY generation DESC LIMIT 1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let last: Option<(u64, String, String)> =
            self.transaction.query_row(sql, [rollout], read).optional().map_err(StoreError::Read)?;
        let generation = match last {
            Some((generation, before, read_as)) if before == written && read_as == parsed => {
                return Ok(generation);
            }
            Some((generation, ..)) => generation + 1,
            None => 1,
        };
        self.unsealed.insert("document");
        let sql = "INSERT INTO document (rollout, generation, at, text, parsed) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.execute(sql, params![rollout, generation, at.to_string(), written, parsed])?;
        let sql = "DELETE FROM document WHERE rollout = ?1 AND generation <= ?2";
        self.execute(sql, params![rollout, generation.saturating_sub(u64::from(DOCUMENTS))])?;
        Ok(generation)
    }

    /// Forgets a rollout: document, status, orders, checkpoints, revisions and objects. Its journal stays.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn remove_rollout(&mut self, rollout: &str) -> Result<(), StoreError> {
        for table in ["document", "status", "orders", "checkpoint", "revision", "object"] {
            self.execute(&format!("DELETE FROM {table} WHERE rollout = ?1"), params![rollout])?;
        }
        Ok(())
    }

    /// Takes down an order. The same id again is the same order, and changes nothing.
    ///
    /// # Errors
    /// [`StoreError::OrderDiffers`] when the same id comes with another content.
    pub fn append_order<O: Serialize>(
        &mut self,
        id: &str,
        rollout: &str,
        at: Timestamp,
        order: &O,
    ) -> Result<Appended, StoreError> {
        let body = text("order", id, order)?;
        if let Some(known) = self.known_order(id)? {
            let (known_rollout, state, known_body) = known;
            if known_rollout != rollout || known_body != body {
                return Err(StoreError::OrderDiffers(id.to_owned()));
            }
            return Ok(Appended::Known(state));
        }
        self.unsealed.insert("orders");
        let sql = "INSERT INTO orders (id, sequence, rollout, at, state, body)
                   VALUES (?1, (SELECT coalesce(max(sequence), 0) + 1 FROM orders), ?2, ?3, 'pending', ?4)";
        self.execute(sql, params![id, rollout, at.to_string(), body])?;
        Ok(Appended::New)
    }

    /// Notes what became of an order. One that is closed already stays as it is: an accepted abort is never erased.
    ///
    /// # Errors
    /// [`StoreError::NoSuchOrder`].
    pub fn close_order(&mut self, id: &str, state: OrderState, at: Timestamp) -> Result<(), StoreError> {
        let Some((rollout, ..)) = self.known_order(id)? else {
            return Err(StoreError::NoSuchOrder(id.to_owned()));
        };
        self.unsealed.insert("orders");
        let sql =
            "UPDATE orders SET state = ?2, closed_at = ?3, seal = NULL WHERE id = ?1 AND state = 'pending'";
        self.execute(sql, params![id, state.text(), at.to_string()])?;
        let sql = "DELETE FROM orders WHERE rollout = ?1 AND state != 'pending' AND sequence <=
                   (SELECT sequence FROM orders WHERE rollout = ?1 AND state != 'pending'
                    ORDER BY sequence DESC LIMIT 1 OFFSET ?2)";
        self.execute(sql, params![rollout, CLOSED_ORDERS])
    }

    /// Appends to the journal; returns the record's place. Drops the oldest records above the limits.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn append_journal(&mut self, record: &NewRecord<'_>) -> Result<u64, StoreError> {
        let ends = read::ends(self.transaction)?;
        let sequence = ends.last + 1;
        let digest = journal::digest(ends.last_digest, sequence, record);
        let sql =
            "INSERT INTO journal (sequence, rollout, at, kind, body, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let at = record.at.to_string();
        self.execute(sql, params![sequence, record.rollout, at, record.kind, record.body, digest.0])?;
        let bytes = ends.bytes + record.body.len() as u64;
        self.execute(
            "UPDATE journal_ends SET last = ?1, last_digest = ?2, bytes = ?3",
            params![sequence, digest.0, bytes],
        )?;
        self.trim_journal(ends.before_first, sequence, bytes)?;
        Ok(sequence)
    }

    fn trim_journal(&mut self, mut before_first: u64, last: u64, mut bytes: u64) -> Result<(), StoreError> {
        let mut dropped: Option<Digest> = None;
        while last - before_first > 1
            && (last - before_first > self.limits.records.max(1) || bytes > self.limits.bytes)
        {
            let sql = "DELETE FROM journal WHERE sequence = ?1 RETURNING digest, length(CAST(body AS BLOB))";
            let read = |row: &rusqlite::Row<'_>| Ok((Digest(row.get(0)?), row.get::<_, u64>(1)?));
            let (digest, size) =
                self.transaction.query_row(sql, [before_first + 1], read).map_err(StoreError::write)?;
            dropped = Some(digest);
            before_first += 1;
            bytes = bytes.saturating_sub(size);
        }
        let Some(digest) = dropped else { return Ok(()) };
        let sql = "UPDATE journal_ends SET before_first = ?1, before_first_digest = ?2, bytes = ?3";
        self.execute(sql, params![before_first, digest.0, bytes])
    }

    /// Saves where an analysis stands.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn save_checkpoint<C: Serialize>(
        &mut self,
        rollout: &str,
        name: &str,
        at: Timestamp,
        checkpoint: &C,
    ) -> Result<(), StoreError> {
        self.unsealed.insert("checkpoint");
        let sql = "INSERT INTO checkpoint (rollout, name, at, body) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (rollout, name) DO UPDATE SET at = ?3, body = ?4, seal = NULL";
        self.execute(sql, params![rollout, name, at.to_string(), text("checkpoint", name, checkpoint)?])
    }

    /// Forgets where an analysis stood.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn remove_checkpoint(&mut self, rollout: &str, name: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM checkpoint WHERE rollout = ?1 AND name = ?2", params![rollout, name])
    }

    /// Records a revision, or what is newly known of it; its time stays that of the first record.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn save_revision<R: Serialize>(
        &mut self,
        rollout: &str,
        revision: &str,
        at: Timestamp,
        body: &R,
    ) -> Result<(), StoreError> {
        self.unsealed.insert("revision");
        let sql = "INSERT INTO revision (rollout, revision, at, body) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (rollout, revision) DO UPDATE SET body = ?4, seal = NULL";
        self.execute(sql, params![rollout, revision, at.to_string(), text("revision", revision, body)?])
    }

    /// Forgets a revision.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn remove_revision(&mut self, rollout: &str, revision: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM revision WHERE rollout = ?1 AND revision = ?2", params![rollout, revision])
    }

    fn known_order(&self, id: &str) -> Result<Option<(String, OrderState, String)>, StoreError> {
        let sql = "SELECT rollout, state, body FROM orders WHERE id = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get(0)?, OrderState::of(&row.get::<_, String>(1)?), row.get(2)?))
        };
        self.transaction.query_row(sql, [id], read).optional().map_err(StoreError::Read)
    }

    pub(super) fn execute(&mut self, sql: &str, parameters: impl Params) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql).map_err(StoreError::write)?;
        statement.execute(parameters).map_err(StoreError::write)?;
        Ok(())
    }
}

pub(super) fn text<T: Serialize>(what: &'static str, of: &str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Payload { what, of: of.to_owned(), source })
}
