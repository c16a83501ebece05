//! Values that recur in many states, kept once and referred to by number.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, RwLock},
};

/// A table of values; equal values have equal numbers.
pub struct Table<T>(RwLock<Inner<T>>);

struct Inner<T> {
    values: Vec<Arc<T>>,
    by_hash: BTreeMap<u64, Vec<u32>>,
}

impl<T: Eq + Hash> Table<T> {
    pub fn new() -> Self {
        Self(RwLock::new(Inner { values: vec![], by_hash: BTreeMap::new() }))
    }

    pub fn id(&self, value: T) -> u32 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(id) = self.0.read().unwrap().find(hash, &value) {
            return id;
        }
        let mut inner = self.0.write().unwrap();
        if let Some(id) = inner.find(hash, &value) {
            return id;
        }
        let id = u32::try_from(inner.values.len()).unwrap();
        inner.values.push(Arc::new(value));
        inner.by_hash.entry(hash).or_default().push(id);
        id
    }

    pub fn get(&self, id: u32) -> Arc<T> {
        self.0.read().unwrap().values[id as usize].clone()
    }
}

impl<T: Eq> Inner<T> {
    fn find(&self, hash: u64, value: &T) -> Option<u32> {
        let mut same = self.by_hash.get(&hash)?.iter().copied();
        same.find(|id| *self.values[*id as usize] == *value)
    }
}
