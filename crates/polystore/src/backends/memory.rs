//! `memory:`: an ordered map in this process.
//!
//! Point reads go to hash maps, sharded so that they rarely meet a writer; listings to an
//! ordered index of the keys; expiry to an index by instant. A write holds its shard
//! while it changes the indexes (always in that order), so that they agree.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use crate::address::Address;
use crate::backend::{Backend, Info, Scan};
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::gather::{Crew, Work};
use crate::kv::Opener;
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("memory", open);

/// More shards than cores, so that two writers rarely want the same.
const SHARDS: usize = 64;

/// How many entries a listing takes while it holds the index.
const PAGE: usize = 256;

/// How many expired entries are removed in a row.
const SWEEP: usize = 1000;

/// How many a write removes where there is no thread to do it.
const SWEPT_BY_A_WRITE: usize = 4;

/// What an entry costs besides its key and its value, roughly: its places in the maps.
const OVERHEAD: usize = 200;

fn open(mut address: Address) -> Result<Store> {
    let limits = Limits {
        entries: address.take_count("max_entries")?,
        bytes: address.take_bytes("max_bytes")?,
    };
    if !address.location().is_empty() {
        return Err(crate::address::invalid(
            "memory: has no name: each kv(\"memory:\") is a store of its own",
        ));
    }
    address.finish(&["max_entries", "max_bytes"])?;
    Ok(Store::new(Arc::new(Memory::new(limits))))
}

struct Memory {
    map: Arc<Map>,
    sweeper: Crew<Map>,
}

#[derive(Clone, Copy)]
struct Limits {
    entries: Option<usize>,
    bytes: Option<usize>,
}

struct Map {
    shards: Box<[RwLock<Shard>]>,
    index: RwLock<Index>,
    limits: Limits,
}

type Shard = HashMap<Arc<str>, Slot>;

struct Slot {
    /// Its key, for the indexes.
    name: Arc<str>,
    entry: Entry,
    /// Its place among [`Index::turns`].
    turn: u64,
    /// Overwritten or read since eviction last looked at it.
    used: AtomicBool,
}

#[derive(Default)]
struct Index {
    keys: BTreeSet<Arc<str>>,
    expiries: BTreeSet<(Timestamp, Arc<str>)>,
    /// The keys in the order in which eviction looks at them; kept only with a limit.
    turns: BTreeMap<u64, Arc<str>>,
    next_turn: u64,
    /// Counted only with a limit.
    bytes: usize,
}

/// What a write did.
#[derive(PartialEq, Eq)]
enum Written {
    No,
    Yes,
    /// And no entry expires sooner.
    YesAndExpiresFirst,
}

impl Map {
    fn new(limits: Limits) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            index: RwLock::default(),
            limits,
        }
    }

    fn shard(&self, key: &str) -> &RwLock<Shard> {
        &self.shards[shard_of(key)]
    }

    fn get(&self, key: &str) -> Option<Entry> {
        let shard = read(self.shard(key));
        let slot = shard.get(key)?;
        if self.limits.are_set() && !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(slot.entry.clone())
    }

    /// Puts what `decide` makes of what is there, if it makes anything.
    fn update(&self, key: &str, decide: impl FnOnce(Option<&Entry>) -> Option<Entry>) -> Written {
        let mut shard = write(self.shard(key));
        let Some(slot) = shard.get_mut(key) else {
            let Some(entry) = decide(None) else {
                return Written::No;
            };
            let name: Arc<str> = Arc::from(key);
            let mut index = write(&self.index);
            index.keys.insert(Arc::clone(&name));
            let turn = self.limits.are_set().then(|| index.take_turn(&name));
            let first = index.note(&name, &entry, self.limits);
            let slot = Slot {
                name: Arc::clone(&name),
                entry,
                turn: turn.unwrap_or_default(),
                used: AtomicBool::new(false),
            };
            shard.insert(name, slot);
            return first;
        };
        let Some(entry) = decide(Some(&slot.entry)) else {
            return Written::No;
        };
        let unindexed = |entry: &Entry| entry.expiry() == Expiry::Never;
        if unindexed(&slot.entry) && unindexed(&entry) && !self.limits.are_set() {
            slot.entry = entry;
            return Written::Yes;
        }
        *slot.used.get_mut() = true;
        let mut index = write(&self.index);
        index.forget(&slot.name, &slot.entry, self.limits);
        let first = index.note(&slot.name, &entry, self.limits);
        slot.entry = entry;
        first
    }

    /// Removes what is under `key` if `allowed` says so of it, and says whether it did.
    fn remove(&self, key: &str, allowed: impl FnOnce(&Slot) -> bool) -> bool {
        let mut shard = write(self.shard(key));
        if !shard.get(key).is_some_and(allowed) {
            return false;
        }
        if let Some((name, slot)) = shard.remove_entry(key) {
            let mut index = write(&self.index);
            index.keys.remove(&name);
            index.turns.remove(&slot.turn);
            index.forget(&name, &slot.entry, self.limits);
        }
        true
    }

    /// Removes up to `most` entries whose time has come.
    fn sweep(&self, most: usize) {
        let now = Timestamp::now();
        let due: Vec<Arc<str>> = {
            let index = read(&self.index);
            let expired = index.expiries.iter().take_while(|(at, _)| *at <= now);
            expired.take(most).map(|(_, key)| Arc::clone(key)).collect()
        };
        for key in due {
            self.remove(&key, |slot| slot.entry.is_expired());
        }
    }

    /// Evicts until the limits hold: each time the entry that is first in turn and was
    /// not used since its last one ("second chance", also called clock), but never `new`.
    fn enforce_limits(&self, new: &str) {
        loop {
            let (turn, key) = {
                let index = read(&self.index);
                match index.turns.first_key_value() {
                    Some((turn, key)) if self.limits.are_exceeded_by(&index) => {
                        (*turn, Arc::clone(key))
                    }
                    _ => return,
                }
            };
            let evicted = self.remove(&key, |slot| {
                slot.turn == turn && &*key != new && !slot.used.load(Ordering::Relaxed)
            });
            if evicted {
                continue;
            }
            let mut shard = write(self.shard(&key));
            if let Some(slot) = shard.get_mut(&*key).filter(|slot| slot.turn == turn) {
                *slot.used.get_mut() = false;
                let mut index = write(&self.index);
                index.turns.remove(&turn);
                slot.turn = index.take_turn(&key);
            }
        }
    }

    /// Up to a page of the keys that `scan` asks for after `after`.
    fn keys(&self, scan: &Scan, after: Option<&str>) -> Vec<Arc<str>> {
        let start = match after {
            Some(after) if after >= &scan.prefix[..] => Bound::Excluded(after),
            _ => Bound::Included(&scan.prefix[..]),
        };
        let index = read(&self.index);
        let range = index.keys.range::<str, _>((start, Bound::Unbounded));
        let wanted = range.take_while(|key| key.starts_with(&scan.prefix));
        wanted.take(PAGE).cloned().collect()
    }
}

impl Limits {
    fn are_set(self) -> bool {
        self.entries.is_some() || self.bytes.is_some()
    }

    fn are_exceeded_by(self, index: &Index) -> bool {
        self.entries.is_some_and(|most| index.keys.len() > most)
            || self.bytes.is_some_and(|most| index.bytes > most)
    }
}

impl Index {
    fn note(&mut self, key: &Arc<str>, entry: &Entry, limits: Limits) -> Written {
        if limits.are_set() {
            self.bytes += cost(key, entry);
        }
        let Expiry::At(at) = entry.expiry() else {
            return Written::Yes;
        };
        let first = self.expiries.first().is_none_or(|(first, _)| at < *first);
        self.expiries.insert((at, Arc::clone(key)));
        if first {
            Written::YesAndExpiresFirst
        } else {
            Written::Yes
        }
    }

    fn forget(&mut self, key: &Arc<str>, entry: &Entry, limits: Limits) {
        if limits.are_set() {
            self.bytes -= cost(key, entry);
        }
        if let Expiry::At(at) = entry.expiry() {
            self.expiries.remove(&(at, Arc::clone(key)));
        }
    }

    fn take_turn(&mut self, key: &Arc<str>) -> u64 {
        // Zero stands for none.
        self.next_turn += 1;
        self.turns.insert(self.next_turn, Arc::clone(key));
        self.next_turn
    }
}

/// Sweeping: there is nothing to do but to rest.
impl Work for Map {
    type Job = ();
    const THREADS: usize = 1;
    const BATCH: usize = 1000;

    fn work(&self, _: Vec<()>) {}

    fn rest(&self) -> Option<Duration> {
        self.sweep(SWEEP);
        let index = read(&self.index);
        index.expiries.first().map(|(at, _)| at.duration_from_now())
    }
}

/// Any spread will do: keys that are made to meet in one shard only wait for each other.
/// So this is cheaper than the hash of the map inside, which has to withstand that.
fn shard_of(key: &str) -> usize {
    let bytes = key.as_bytes();
    let tail = bytes.last_chunk().map_or_else(
        || {
            bytes
                .iter()
                .fold(0, |tail, byte| tail << 8 | u64::from(*byte))
        },
        |tail| u64::from_le_bytes(*tail),
    );
    // Fibonacci hashing: the golden ratio's bits, and the upper ones of the product.
    let mixed = (tail ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % SHARDS
}

fn cost(key: &str, entry: &Entry) -> usize {
    key.len() + entry.json().len() + OVERHEAD
}

// Nothing panics while a lock is held, so a poisoned one is as good as any.

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    fn new(limits: Limits) -> Self {
        let map = Arc::new(Map::new(limits));
        let sweeper = Crew::new("polystore-memory", Arc::clone(&map));
        Self { map, sweeper }
    }

    fn put(
        &self,
        key: &str,
        entry: Entry,
        allowed: impl FnOnce(Option<&Entry>) -> bool,
    ) -> Result<bool> {
        self.check(key, &entry)?;
        Ok(self.update(key, |old| allowed(old).then_some(entry)))
    }

    fn check(&self, key: &str, entry: &Entry) -> Result<()> {
        match self.map.limits.bytes {
            Some(most) if cost(key, entry) > most => Err(Error::new(
                ErrorKind::InvalidValue,
                "the entry alone is larger than max_bytes",
            )),
            _ => Ok(()),
        }
    }

    fn update(&self, key: &str, decide: impl FnOnce(Option<&Entry>) -> Option<Entry>) -> bool {
        let written = self.map.update(key, decide);
        if self.map.limits.are_set() {
            self.map.enforce_limits(key);
        }
        if cfg!(target_family = "wasm") {
            self.map.sweep(SWEPT_BY_A_WRITE);
        } else if written == Written::YesAndExpiresFirst {
            self.sweeper.send(());
        }
        written != Written::No
    }
}

fn is_live(entry: &Entry) -> bool {
    !entry.is_expired()
}

#[async_trait]
impl Backend for Memory {
    fn info(&self) -> Info {
        Info::new("memory").with(|can| {
            can.insert = true;
            can.touch = true;
            can.prune = true;
            can.ordered = true;
            can.max_entries = self.map.limits.entries;
            can.max_total_bytes = self.map.limits.bytes;
        })
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        Ok(self.map.get(key))
    }

    fn get_now(&self, key: &str) -> Option<Result<Option<Entry>>> {
        Some(Ok(self.map.get(key)))
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        self.put(key, entry, |_| true).map(drop)
    }

    fn set_now(&self, key: &str, entry: Entry) -> Result<Result<()>, Entry> {
        Ok(self.put(key, entry, |_| true).map(drop))
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.map.remove(key, |_| true);
        Ok(())
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let map = Arc::clone(&self.map);
        let limit = scan.limit;
        let start = scan.after.as_deref().map(Arc::from);
        let pages = stream::unfold(Some(start), move |after| {
            let page = after.map(|after: Option<Arc<str>>| {
                let keys = map.keys(&scan, after.as_deref());
                let next = keys.last().filter(|_| keys.len() == PAGE).cloned();
                let entries: Vec<_> = keys
                    .iter()
                    .filter_map(|key| {
                        let entry = read(map.shard(key)).get(key)?.entry.clone();
                        Some(Ok((String::from(&**key), entry)))
                    })
                    .collect();
                (stream::iter(entries), next.map(Some))
            });
            std::future::ready(page)
        });
        let entries = pages.flatten();
        match limit {
            None => entries.boxed(),
            Some(limit) => entries
                .filter(|found| {
                    let live = !matches!(found, Ok((_, entry)) if entry.is_expired());
                    std::future::ready(live)
                })
                .take(limit)
                .boxed(),
        }
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        self.put(key, entry, |old| !old.is_some_and(is_live))
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        Ok(self.update(key, |old| {
            let live = old.filter(|old| is_live(old))?;
            Some(live.clone().with_expiry(expiry))
        }))
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        Ok(self.map.remove(key, |slot| slot.entry == *seen))
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        for (key, entry) in &entries {
            self.check(key, entry)
                .map_err(|error| error.with_key(key))?;
        }
        for page in entries.chunks(PAGE) {
            for (key, entry) in page {
                self.update(key, |_| Some(entry.clone()));
            }
            take_turns().await;
        }
        Ok(())
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        let scan = Scan::new().prefix(prefix);
        let mut after: Option<Arc<str>> = None;
        loop {
            let keys = self.map.keys(&scan, after.as_deref());
            for key in &keys {
                self.map.remove(key, |_| true);
            }
            if keys.len() < PAGE {
                return Ok(());
            }
            after = keys.last().cloned();
            take_turns().await;
        }
    }

    async fn prune(&self, prefix: &str) -> Result<u64> {
        let now = Timestamp::now();
        let due: Vec<Arc<str>> = {
            let index = read(&self.map.index);
            let expired = index.expiries.iter().take_while(|(at, _)| *at <= now);
            let wanted = expired.filter(|(_, key)| key.starts_with(prefix));
            wanted.map(|(_, key)| Arc::clone(key)).collect()
        };
        let mut pruned = 0;
        for page in due.chunks(PAGE) {
            for key in page {
                pruned += u64::from(self.map.remove(key, |slot| slot.entry.is_expired()));
            }
            take_turns().await;
        }
        Ok(pruned)
    }
}

/// Lets the other tasks of this thread go on.
async fn take_turns() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;

    fn entry(text: &str) -> Entry {
        Entry::new(text, Expiry::Never).unwrap()
    }

    fn bounded(entries: usize) -> Memory {
        Memory::new(Limits {
            entries: Some(entries),
            bytes: None,
        })
    }

    #[test]
    fn sizes_add_up_whatever_is_overwritten() {
        for limits in [None, Some(1 << 20)] {
            let memory = Memory::new(Limits {
                entries: None,
                bytes: limits,
            });
            let later = Expiry::At(Timestamp::MAX);
            for text in ["a", &"x".repeat(5000), ""] {
                memory.put("a", entry(text), |_| true).unwrap();
                memory
                    .put("b", entry(text).with_expiry(later), |_| true)
                    .unwrap();
                memory.put("b", entry("c"), |_| true).unwrap();
            }
            memory.map.remove("a", |_| true);
            memory.map.remove("b", |_| true);
            let index = read(&memory.map.index);
            assert_eq!(
                (index.bytes, index.keys.len(), index.expiries.len()),
                (0, 0, 0)
            );
            assert!(index.turns.is_empty());
        }
    }

    #[test]
    fn eviction_takes_what_is_not_used_and_not_what_was_just_written() {
        let memory = bounded(2);
        for key in ["a", "b"] {
            memory.put(key, entry(key), |_| true).unwrap();
        }
        for round in 0..10 {
            memory.map.get("a");
            memory.map.get("b");
            let key = round.to_string();
            assert!(block_on(memory.insert(&key, entry("new"))).unwrap());
            assert!(memory.map.get(&key).is_some(), "round {round}");
            assert!(!block_on(memory.insert(&key, entry("newer"))).unwrap());
        }
    }
}
