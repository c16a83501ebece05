//! Reading. Goes on when saving has stopped.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use super::Store;
use super::error::StoreError;
use crate::journal::{Chain, Digest, Record};

/// The status of a rollout as it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved<S> {
    /// Rises by one with every save; the next save names it.
    pub fence: u64,
    /// When it was saved.
    pub at: Timestamp,
    /// The status.
    pub status: S,
}

/// A document as it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<D> {
    /// Name of the rollout.
    pub rollout: String,
    /// 1, and one more with every change.
    pub generation: u64,
    /// When it was applied.
    pub at: Timestamp,
    /// The text as the user wrote it.
    pub text: String,
    /// What it was read as.
    pub parsed: D,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// Nothing yet.
    Pending,
    /// It was taken up.
    Accepted,
    /// It came too late, or for something else.
    Expired,
}

impl OrderState {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Expired => "expired",
        }
    }

    pub(super) fn of(text: &str) -> Self {
        match text {
            "accepted" => Self::Accepted,
            "expired" => Self::Expired,
            _ => Self::Pending,
        }
    }
}

/// An order of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order<O> {
    /// Its id, the giver's choice.
    pub id: String,
    /// Place among all orders; a later one has a higher number.
    pub sequence: u64,
    /// Name of the rollout.
    pub rollout: String,
    /// When it came.
    pub at: Timestamp,
    /// What became of it.
    pub state: OrderState,
    /// When that was.
    pub closed_at: Option<Timestamp>,
    /// The order.
    pub order: O,
}

/// Where an analysis stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint<C> {
    /// Its name within the rollout.
    pub name: String,
    /// When it was saved.
    pub at: Timestamp,
    /// Its state.
    pub checkpoint: C,
}

/// What is known of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision<R> {
    /// Its hash.
    pub revision: String,
    /// When it was first recorded.
    pub at: Timestamp,
    /// What was recorded.
    pub body: R,
}

impl Store {
    /// The latest document of every rollout, by name.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Payload`].
    pub fn documents<D: DeserializeOwned>(&self) -> Result<Vec<Document<D>>, StoreError> {
        let sql = "SELECT rollout, generation, at, text, parsed FROM document AS d WHERE generation =
                   (SELECT max(generation) FROM document WHERE rollout = d.rollout) ORDER BY rollout";
        rows(self.connection(), sql, params![], |row| {
            let rollout: String = row.get(0)?;
            let parsed: String = row.get(4)?;
            let (generation, at, text) = (row.get(1)?, time(row, 2)?, row.get(3)?);
            Ok(payload("document", &rollout, &parsed).map(|parsed| Document {
                rollout,
                generation,
                at,
                text,
                parsed,
            }))
        })
    }

    /// The latest document of a rollout.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Payload`].
    pub fn document<D: DeserializeOwned>(&self, rollout: &str) -> Result<Option<Document<D>>, StoreError> {
        let sql = "SELECT generation, at, text, parsed FROM document WHERE rollout = ?1
                   ORDER BY generation DESC LIMIT 1";
        one(self.connection(), sql, rollout, |row| {
            let parsed: String = row.get(3)?;
            let (generation, at, text) = (row.get(0)?, time(row, 1)?, row.get(2)?);
            let rollout = rollout.to_owned();
            Ok(payload("document", &rollout, &parsed).map(|parsed| Document {
                rollout,
                generation,
                at,
                text,
                parsed,
            }))
        })
    }

    /// When the last thing happened that is stored; the beginning of all times in a store that is empty.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn latest(&self) -> Result<Timestamp, StoreError> {
        let sql = "SELECT at FROM status UNION SELECT at FROM checkpoint UNION SELECT at FROM orders UNION
                   SELECT at FROM journal WHERE sequence = (SELECT max(sequence) FROM journal)";
        let all = rows(self.connection(), sql, params![], |row| Ok(Ok(time(row, 0)?)))?;
        Ok(all.into_iter().max().unwrap_or(Timestamp::MIN))
    }

    /// The status of a rollout, if one has been saved.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Payload`].
    pub fn status<S: DeserializeOwned>(&self, rollout: &str) -> Result<Option<Saved<S>>, StoreError> {
        one(self.connection(), "SELECT fence, at, body FROM status WHERE rollout = ?1", rollout, |row| {
            let (fence, at, body): (_, _, String) = (row.get(0)?, time(row, 1)?, row.get(2)?);
            Ok(payload("status", rollout, &body).map(|status| Saved { fence, at, status }))
        })
    }

    /// Names of the rollouts that have a status or a document.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn rollouts(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT rollout FROM status UNION SELECT rollout FROM document ORDER BY 1";
        rows(self.connection(), sql, params![], |row| Ok(Ok(row.get(0)?)))
    }

    /// Orders about a rollout in this state, in the order they came.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Payload`].
    pub fn orders<O: DeserializeOwned>(
        &self,
        rollout: &str,
        state: OrderState,
    ) -> Result<Vec<Order<O>>, StoreError> {
        let sql = "SELECT id, sequence, rollout, at, state, closed_at, body FROM orders
                   WHERE rollout = ?1 AND state = ?2 ORDER BY sequence";
        rows(self.connection(), sql, params![rollout, state.text()], order)
    }

    /// One order.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Payload`].
    pub fn order<O: DeserializeOwned>(&self, id: &str) -> Result<Option<Order<O>>, StoreError> {
        let sql = "SELECT id, sequence, rollout, at, state, closed_at, body FROM orders WHERE id = ?1";
        one(self.connection(), sql, id, order)
    }

    /// Records from `first` on, at most `count`; of one rollout, or of all.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn journal(&self, rollout: Option<&str>, first: u64, count: u32) -> Result<Vec<Record>, StoreError> {
        let sql = "SELECT sequence, rollout, at, kind, body, digest FROM journal
                   WHERE sequence >= ?1 AND (?2 IS NULL OR rollout = ?2) ORDER BY sequence LIMIT ?3";
        rows(self.connection(), sql, params![first, rollout, count], |row| Ok(Ok(record(row)?)))
    }

    /// The last records of a rollout, or of all, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn journal_tail(&self, rollout: Option<&str>, count: u32) -> Result<Vec<Record>, StoreError> {
        self.journal_before(rollout, u64::MAX, count)
    }

    /// The last records of a rollout, or of all, before this one, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn journal_before(
        &self,
        rollout: Option<&str>,
        before: u64,
        count: u32,
    ) -> Result<Vec<Record>, StoreError> {
        let sql = "SELECT sequence, rollout, at, kind, body, digest FROM journal
                   WHERE (?1 IS NULL OR rollout = ?1) AND sequence < ?2 ORDER BY sequence DESC LIMIT ?3";
        let before = before.min(i64::MAX.unsigned_abs());
        let read = |row: &rusqlite::Row<'_>| Ok(Ok(record(row)?));
        let mut records = rows(self.connection(), sql, params![rollout, before, count], read)?;
        records.reverse();
        Ok(records)
    }

    /// Checkpoints of a rollout's analyses, by name.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Payload`].
    pub fn checkpoints<C: DeserializeOwned>(&self, rollout: &str) -> Result<Vec<Checkpoint<C>>, StoreError> {
        let sql = "SELECT name, at, body FROM checkpoint WHERE rollout = ?1 ORDER BY name";
        rows(self.connection(), sql, params![rollout], |row| {
            let (name, at, body): (String, _, String) = (row.get(0)?, time(row, 1)?, row.get(2)?);
            Ok(payload("checkpoint", &name, &body).map(|checkpoint| Checkpoint { name, at, checkpoint }))
        })
    }

    /// Revisions of a rollout, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Payload`].
    pub fn revisions<R: DeserializeOwned>(&self, rollout: &str) -> Result<Vec<Revision<R>>, StoreError> {
        let sql = "SELECT revision, at, body FROM revision WHERE rollout = ?1 ORDER BY rowid";
        rows(self.connection(), sql, params![rollout], |row| {
            let (revision, at, body): (String, _, String) = (row.get(0)?, time(row, 1)?, row.get(2)?);
            Ok(payload("revision", &revision, &body).map(|body| Revision { revision, at, body }))
        })
    }
}

/// Checks the newest `count` records against the remembered ends of the chain.
pub(super) fn check_journal(connection: &Connection, count: u64) -> Result<(), StoreError> {
    let ends = ends(connection)?;
    let start = ends.before_first.max(ends.last.saturating_sub(count));
    let mut chain = Chain::after(ends.before_first, ends.before_first_digest);
    if start > ends.before_first {
        let sql = "SELECT digest FROM journal WHERE sequence = ?1";
        let digest =
            connection.query_row(sql, [start], |row| row.get(0)).optional().map_err(StoreError::Read)?;
        let missing = crate::journal::Broken::Missing { expected: start, found: start + 1 };
        chain = Chain::after(start, Digest(digest.ok_or(missing)?));
    }
    let sql =
        "SELECT sequence, rollout, at, kind, body, digest FROM journal WHERE sequence > ?1 ORDER BY sequence";
    let mut statement = connection.prepare(sql).map_err(StoreError::Read)?;
    let mut records = statement.query([start]).map_err(StoreError::Read)?;
    while let Some(row) = records.next().map_err(StoreError::Read)? {
        chain.take(&record(row).map_err(StoreError::Read)?)?;
    }
    Ok(chain.end(ends.last, ends.last_digest)?)
}

/// Where the journal begins and ends.
pub(super) struct Ends {
    pub(super) before_first: u64,
    pub(super) before_first_digest: Digest,
    pub(super) last: u64,
    pub(super) last_digest: Digest,
    pub(super) bytes: u64,
}

pub(super) fn ends(connection: &Connection) -> Result<Ends, StoreError> {
    let sql = "SELECT before_first, before_first_digest, last, last_digest, bytes FROM journal_ends";
    let read = connection.query_row(sql, [], |row| {
        Ok(Ends {
            before_first: row.get(0)?,
            before_first_digest: Digest(row.get(1)?),
            last: row.get(2)?,
            last_digest: Digest(row.get(3)?),
            bytes: row.get(4)?,
        })
    });
    read.map_err(StoreError::Read)
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        sequence: row.get(0)?,
        rollout: row.get(1)?,
        at: time(row, 2)?,
        kind: row.get(3)?,
        body: row.get(4)?,
        digest: Digest(row.get(5)?),
    })
}

fn order<O: DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<Result<Order<O>, StoreError>> {
    let id: String = row.get(0)?;
    let (sequence, rollout, at) = (row.get(1)?, row.get(2)?, time(row, 3)?);
    let state = OrderState::of(&row.get::<_, String>(4)?);
    let closed: Option<String> = row.get(5)?;
    let closed_at = closed.map(|text| parse_time(&text, 5)).transpose()?;
    let body: String = row.get(6)?;
    Ok(payload("order", &id, &body).map(|order| Order { id, sequence, rollout, at, state, closed_at, order }))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    parse_time(&row.get::<_, String>(column)?, column)
}

fn parse_time(text: &str, column: usize) -> rusqlite::Result<Timestamp> {
    let bad = |error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    };
    text.parse().map_err(bad)
}

pub(super) fn payload<T: DeserializeOwned>(
    what: &'static str,
    of: &str,
    json: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|source| StoreError::Payload { what, of: of.to_owned(), source })
}

fn one<T>(
    connection: &Connection,
    sql: &str,
    key: &str,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<Result<T, StoreError>>,
) -> Result<Option<T>, StoreError> {
    connection.query_row(sql, [key], read).optional().map_err(StoreError::Read)?.transpose()
}

pub(super) fn rows<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<Result<T, StoreError>>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(StoreError::Read)?;
    let mut found = statement.query(parameters).map_err(StoreError::Read)?;
    let mut all = Vec::new();
    while let Some(row) = found.next().map_err(StoreError::Read)? {
        all.push(read(row).map_err(StoreError::Read)??);
    }
    Ok(all)
}
