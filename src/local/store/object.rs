//! What the engine asks of the world on this machine: arms and routes, each with a version that a write names.
//!
//! An object is an intent. It is durable before anything is done for it, and whoever finds it after a crash does it
//! again.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};

use super::Store;
use super::commit::{Commit, text};
use super::error::StoreError;
use super::read::{payload, rows, time};

/// An intent as it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object<B> {
    /// Its name within the rollout.
    pub name: String,
    /// Its version: never the same again for any object, not even for one of the same name made later.
    pub fence: u64,
    /// When it was written last.
    pub at: Timestamp,
    /// What is asked.
    pub body: B,
}

impl Commit<'_> {
    /// Writes an object if it is still the one the caller saw (0: none); returns its new fence.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] when it is not.
    pub fn save_object<B: Serialize>(
        &mut self,
        rollout: &str,
        name: &str,
        expected: u64,
        at: Timestamp,
        body: &B,
    ) -> Result<u64, StoreError> {
        self.check_object(rollout, name, expected)?;
        let sql = "UPDATE object_fence SET last = last + 1 RETURNING last";
        let fence: u64 = self.transaction.query_row(sql, [], |row| row.get(0)).map_err(StoreError::write)?;
        let body = text("object", name, body)?;
        let sql = "INSERT INTO object (rollout, name, fence, at, body) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (rollout, name) DO UPDATE SET fence = ?3, at = ?4, body = ?5, seal = NULL";
        self.unsealed.insert("object");
        self.execute(sql, params![rollout, name, fence, at.to_string(), body])?;
        Ok(fence)
    }

    /// Forgets an object if it is still the one the caller saw.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] when it is not.
    pub fn remove_object(&mut self, rollout: &str, name: &str, expected: u64) -> Result<(), StoreError> {
        self.check_object(rollout, name, expected)?;
        self.execute("DELETE FROM object WHERE rollout = ?1 AND name = ?2", params![rollout, name])
    }

    fn check_object(&self, rollout: &str, name: &str, expected: u64) -> Result<(), StoreError> {
        let sql = "SELECT fence FROM object WHERE rollout = ?1 AND name = ?2";
        let found = self.transaction.query_row(sql, [rollout, name], |row| row.get(0)).optional();
        let found: u64 = found.map_err(StoreError::Read)?.unwrap_or(0);
        let (rollout, name) = (rollout.to_owned(), name.to_owned());
        if found == expected { Ok(()) } else { Err(StoreError::Overtaken { rollout, name, expected, found }) }
    }
}

impl Store {
    /// The objects of a rollout, by name.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::Payload`].
    pub fn objects<B: DeserializeOwned>(&self, rollout: &str) -> Result<Vec<Object<B>>, StoreError> {
        let sql = "SELECT name, fence, at, body FROM object WHERE rollout = ?1 ORDER BY name";
        rows(self.connection(), sql, params![rollout], |row| {
            let (name, fence, at, body): (String, _, _, String) =
                (row.get(0)?, row.get(1)?, time(row, 2)?, row.get(3)?);
            Ok(payload("object", &name, &body).map(|body| Object { name, fence, at, body }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_was_overtaken_is_refused_even_after_the_object_was_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        let at = Timestamp::UNIX_EPOCH;
        let save =
            |store: &mut Store, expected| store.commit(|it| it.save_object("shop", "arm", expected, at, &1));
        let first = save(&mut store, 0).unwrap();
        assert!(matches!(save(&mut store, 0), Err(StoreError::Overtaken { .. })));
        store.commit(|it| it.remove_object("shop", "arm", first)).unwrap();
        let second = save(&mut store, 0).unwrap();
        assert_ne!(first, second);
        assert!(matches!(save(&mut store, first), Err(StoreError::Overtaken { .. })));
        assert_eq!(store.objects::<u32>("shop").unwrap()[0].fence, second);
    }
}
