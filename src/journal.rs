//! The journal: what happened to every rollout, in order, for `explain` and `replay`.
//!
//! A record is appended in the same transaction as the change it tells of. Each carries the digest of the one before,
//! so that a record altered, left out or cut off is noticed. Old records are dropped from the front to keep the whole
//! bounded; the digest before the first one kept is remembered, so the chain stays checkable.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// Digest of a record and of everything before it (SHA-256).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// What the first record ever follows.
    pub const START: Self = Self([0; 32]);
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// Rollout it is about.
    pub rollout: &'a str,
    /// When it happened.
    pub at: Timestamp,
    /// What kind of thing happened: a short word such as `decision`.
    pub kind: &'a str,
    /// The whole of it, as JSON.
    pub body: &'a str,
}

/// One record of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Place in the journal, from 1, without gaps.
    pub sequence: u64,
    /// Rollout it is about.
    pub rollout: String,
    /// When it happened.
    pub at: Timestamp,
    /// What kind of thing happened.
    pub kind: String,
    /// The whole of it, as JSON, exactly as written.
    pub body: String,
    /// Digest over this record and the digest before it.
    pub digest: Digest,
}

impl Record {
    /// The body as a value.
    ///
    /// # Errors
    /// When it is not of that shape: it was written by another version.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.body)
    }

    /// This record as one to append.
    #[must_use]
    pub fn as_new(&self) -> NewRecord<'_> {
        NewRecord { rollout: &self.rollout, at: self.at, kind: &self.kind, body: &self.body }
    }
}

/// Digest of a record at this place, after one with digest `previous`.
#[must_use]
pub fn digest(previous: Digest, sequence: u64, record: &NewRecord<'_>) -> Digest {
    let mut hash = Sha256::new();
    hash.update(previous.0);
    hash.update(sequence.to_be_bytes());
    // Lengths first: no two records can run together into the same bytes.
    for field in [record.rollout, &record.at.to_string(), record.kind, record.body] {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field.as_bytes());
    }
    Digest(hash.finalize().into())
}

/// Where a journal is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A record is missing.
    #[error("record {expected} of the journal is missing (the next one is {found})")]
    Missing {
        /// Sequence expected.
        expected: u64,
        /// Sequence found.
        found: u64,
    },
    /// A record, or one before it, was altered.
    #[error("record {0} of the journal is not what was written")]
    Altered(u64),
    /// Records are missing at the end.
    #[error("the journal ends at record {ends}, {written} had been written")]
    CutOff {
        /// Last sequence found.
        ends: u64,
        /// Last sequence written.
        written: u64,
    },
}

/// Checks a chain of records one by one.
#[derive(Debug, Clone)]
pub struct Chain {
    last: u64,
    digest: Digest,
}

impl Chain {
    /// A chain after record `sequence` (0: from the very start), which had this digest.
    #[must_use]
    pub fn after(sequence: u64, digest: Digest) -> Self {
        Self { last: sequence, digest }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`Broken`] names the first record that is missing or altered.
    pub fn take(&mut self, record: &Record) -> Result<(), Broken> {
        let expected = self.last + 1;
        if record.sequence != expected {
            return Err(Broken::Missing { expected, found: record.sequence });
        }
        if digest(self.digest, expected, &record.as_new()) != record.digest {
            return Err(Broken::Altered(expected));
        }
        (self.last, self.digest) = (expected, record.digest);
        Ok(())
    }

    /// Ends the check: the last record written was `sequence`, with this digest.
    ///
    /// # Errors
    /// [`Broken::CutOff`] when records are missing at the end.
    pub fn end(&self, sequence: u64, digest: Digest) -> Result<(), Broken> {
        if self.last != sequence {
            return Err(Broken::CutOff { ends: self.last, written: sequence });
        }
        if self.digest != digest { Err(Broken::Altered(sequence)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(count: u64) -> Vec<Record> {
        let mut previous = Digest::START;
        let mut records = Vec::new();
        for sequence in 1..=count {
            let (at, body) = (Timestamp::UNIX_EPOCH, format!("{{\"n\":{sequence}}}"));
            let (rollout, kind) = ("shop".to_owned(), "decision".to_owned());
            let mut record = Record { sequence, rollout, at, kind, body, digest: previous };
            record.digest = digest(previous, sequence, &record.as_new());
            previous = record.digest;
            records.push(record);
        }
        records
    }

    fn check(records: &[Record], written: u64, last: Digest) -> Result<(), Broken> {
        let mut chain = Chain::after(0, Digest::START);
        records.iter().try_for_each(|record| chain.take(record))?;
        chain.end(written, last)
    }

    #[test]
    fn every_way_to_tamper_is_noticed() {
        let good = records(5);
        let last = good[4].digest;
        assert_eq!(check(&good, 5, last), Ok(()));
        assert_eq!(check(&good[..4], 5, last), Err(Broken::CutOff { ends: 4, written: 5 }));
        assert_eq!(check(&good[1..], 5, last), Err(Broken::Missing { expected: 1, found: 2 }));
        let mut hole = good.clone();
        hole.remove(2);
        assert_eq!(check(&hole, 5, last), Err(Broken::Missing { expected: 3, found: 4 }));
        let mut altered = good.clone();
        altered[2].body = "{\"n\":4}".to_owned();
        assert_eq!(check(&altered, 5, last), Err(Broken::Altered(3)));
        let mut moved = good.clone();
        (moved[1].rollout, moved[1].kind) = ("shopd".to_owned(), "ecision".to_owned());
        assert_eq!(check(&moved, 5, last), Err(Broken::Altered(2)));
        let mut forged = good;
        forged[4].body = "{}".to_owned();
        forged[4].digest = digest(forged[3].digest, 5, &forged[4].clone().as_new());
        assert_eq!(check(&forged, 5, last), Err(Broken::Altered(5)));
    }
}
