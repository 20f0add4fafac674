//! A store of one's own: a plain map. Five methods make it a store, four more make it a full one.
//!
//! What each method owes to those who use it is in the documentation of
//! [`Backend`]; `tests/conformance.rs` shows that it is paid.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Mutex, MutexGuard, PoisonError};

use polystore_kv::backend::{Backend, BoxStream, Info, Scan, async_trait};
use polystore_kv::{Entry, Expiry, Result};

/// A map in this process. In an `Arc` it is a store, `kv(Arc::clone(&map))`, and still the program's own.
#[derive(Debug, Default)]
pub struct MapStore(Mutex<Map>);

#[derive(Debug, Default)]
struct Map {
    entries: HashMap<String, Entry>,
    /// How many writes there were since what has expired was thrown out.
    writes: usize,
}

impl MapStore {
    /// How many entries it holds, those that have expired and are still there included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map().entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No method panics half way through a change, so what a panic elsewhere left is whole.
    fn map(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map {
    /// To be called before each write: memory must not grow with what has expired. A look at all entries
    /// after half as many writes costs each of those two steps, and holds at most twice what is live.
    fn make_room(&mut self) {
        self.writes += 1;
        if 2 * self.writes > self.entries.len() {
            self.entries.retain(|_, entry| !entry.is_expired());
            self.writes = 0;
        }
    }
}

#[async_trait]
impl Backend for MapStore {
    /// The word for it in errors, and what it can do besides the five.
    fn info(&self) -> Info {
        Info::new("map").with(|can| {
            can.insert = true;
            can.touch = true;
            can.prune = true;
        })
    }

    /// What has expired need not be looked at here: `Store` does that.
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        Ok(self.map().entries.get(key).cloned())
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        let mut map = self.map();
        map.make_room();
        map.entries.insert(key.to_owned(), entry);
        Ok(())
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.map().entries.remove(key);
        Ok(())
    }

    /// `select` does the prefix, the page and what is left out. A copy of all is what a map costs that has no order;
    /// a store that finds a prefix by itself gives only that.
    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let entries = self.map().entries.clone();
        scan.select(entries)
    }

    // What follows cannot be made of the five: it has to look and to write without anybody in between.
    // Without these methods, and the capabilities above, a store says "unsupported" instead.

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        let mut map = self.map();
        map.make_room();
        match map.entries.entry(key.to_owned()) {
            Slot::Occupied(there) if !there.get().is_expired() => Ok(false),
            slot => {
                slot.insert_entry(entry);
                Ok(true)
            }
        }
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let mut map = self.map();
        let Some(there) = map.entries.get_mut(key) else {
            return Ok(false);
        };
        if there.is_expired() {
            return Ok(false);
        }
        *there = there.clone().with_expiry(expiry);
        Ok(true)
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        let mut map = self.map();
        let is_same = map.entries.get(key) == Some(seen);
        if is_same {
            map.entries.remove(key);
        }
        Ok(is_same)
    }
}
