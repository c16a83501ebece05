//! Values that recur in many states, kept once and referred to by number.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{OnceLock, RwLock},
};

/// A table of values; equal values have equal numbers. Reading one takes no lock: what has a number never moves.
pub struct Table<T> {
    chunks: [OnceLock<Box<[OnceLock<T>]>>; CHUNKS],
    numbers: RwLock<Numbers>,
}

struct Numbers {
    by_hash: BTreeMap<u64, Vec<u32>>,
    next: usize,
}

const CHUNKS: usize = 2_048;
const CHUNK: usize = 1_024;

impl<T: Eq + Hash> Table<T> {
    pub fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            numbers: RwLock::new(Numbers { by_hash: BTreeMap::new(), next: 0 }),
        }
    }

    pub fn id(&self, value: T) -> u32 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(id) = self.find(&self.numbers.read().unwrap(), hash, &value) {
            return id;
        }
        let mut numbers = self.numbers.write().unwrap();
        if let Some(id) = self.find(&numbers, hash, &value) {
            return id;
        }
        let at = numbers.next;
        let id = u32::try_from(at).unwrap();
        assert!(at < CHUNKS * CHUNK, "more values than the table has room for");
        let new = || (0..CHUNK).map(|_| OnceLock::new()).collect();
        let stored = self.chunks[at / CHUNK].get_or_init(new)[at % CHUNK].set(value);
        assert!(stored.is_ok(), "a number is given once");
        numbers.next += 1;
        numbers.by_hash.entry(hash).or_default().push(id);
        id
    }

    pub fn get(&self, id: u32) -> &T {
        let at = id as usize;
        let chunk = self.chunks[at / CHUNK].get().expect("a number of this table");
        chunk[at % CHUNK].get().expect("a number of this table")
    }

    fn find(&self, numbers: &Numbers, hash: u64, value: &T) -> Option<u32> {
        let mut same = numbers.by_hash.get(&hash)?.iter().copied();
        same.find(|id| self.get(*id) == value)
    }
}
