//! The maps behind a memory store.
//!
//! Point reads go to hash maps, sharded so that they rarely meet a writer; listings to an
//! ordered index of the keys; expiry to an index by instant. A write holds its shard
//! while it changes the indexes (always in that order), so that they agree.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::backend::Scan;
use crate::entry::{Entry, Expiry, Timestamp};
use crate::gather::Work;
use crate::scan::PAGE;

/// More shards than cores, so that two writers rarely want the same.
const SHARDS: usize = 64;

/// How many expired entries are removed in a row.
const SWEEP: usize = 1000;

/// What an entry costs besides its key and its value, roughly: its places in the maps.
const OVERHEAD: usize = 200;

#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) entries: Option<usize>,
    pub(super) bytes: Option<usize>,
}

pub(super) struct Map {
    shards: Box<[RwLock<Shard>]>,
    index: RwLock<Index>,
    pub(super) limits: Limits,
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
pub(super) enum Written {
    No,
    Yes,
    /// And nobody knows yet that an entry expires so soon.
    YesAndExpiresFirst,
}

impl Map {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            index: RwLock::default(),
            limits,
        }
    }

    fn shard(&self, key: &str) -> &RwLock<Shard> {
        &self.shards[shard_of(key)]
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        let shard = read(self.shard(key));
        let slot = shard.get(key)?;
        if self.limits.are_set() && !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(slot.entry.clone())
    }

    /// Puts what `decide` makes of what is there, if it makes anything.
    pub(super) fn update(
        &self,
        key: &str,
        decide: impl FnOnce(Option<&Entry>) -> Option<Entry>,
    ) -> Written {
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
        // Who looks when the old one expires sees then that this one stays for longer.
        let is_later = matches!(
            (slot.entry.expiry(), entry.expiry()),
            (Expiry::At(old), Expiry::At(new)) if old <= new
        );
        let mut index = write(&self.index);
        index.forget(&slot.name, &slot.entry, self.limits);
        let noted = index.note(&slot.name, &entry, self.limits);
        slot.entry = entry;
        if is_later { Written::Yes } else { noted }
    }

    /// Removes what is under `key` if `allowed` says so of it, and says whether it did.
    pub(super) fn remove(&self, key: &str, allowed: impl FnOnce(&Entry) -> bool) -> bool {
        self.remove_slot(key, |slot| allowed(&slot.entry))
    }

    fn remove_slot(&self, key: &str, allowed: impl FnOnce(&Slot) -> bool) -> bool {
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

    /// Up to `most` keys that begin with `prefix` and whose time has come.
    pub(super) fn expired(&self, prefix: &str, most: usize) -> Vec<Arc<str>> {
        let now = Timestamp::now();
        let index = read(&self.index);
        let expired = index.expiries.iter().take_while(|(at, _)| *at <= now);
        let wanted = expired.filter(|(_, key)| key.starts_with(prefix));
        wanted.take(most).map(|(_, key)| Arc::clone(key)).collect()
    }

    /// Removes up to `most` entries whose time has come.
    pub(super) fn sweep(&self, most: usize) {
        for key in self.expired("", most) {
            self.remove(&key, Entry::is_expired);
        }
    }

    /// Evicts until the limits hold: each time the entry that is first in turn and was
    /// not used since its last one ("second chance", also called clock), but never `new`.
    pub(super) fn enforce_limits(&self, new: &str) {
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
            let evicted = self.remove_slot(&key, |slot| {
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

    /// How large the indexes are, in bytes counted, keys, expiries and turns.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 4] {
        let index = read(&self.index);
        let Index {
            bytes,
            keys,
            expiries,
            turns,
            ..
        } = &*index;
        [*bytes, keys.len(), expiries.len(), turns.len()]
    }

    /// Up to a page of the keys that `scan` asks for after `after`.
    pub(super) fn keys(&self, scan: &Scan, after: Option<&str>) -> Vec<Arc<str>> {
        let index = read(&self.index);
        let range = index.keys.range::<str, _>(scan.range_after(after));
        let wanted = range.take_while(|key| key.starts_with(&scan.prefix));
        wanted.take(PAGE).cloned().collect()
    }
}

impl Limits {
    pub(super) fn are_set(self) -> bool {
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

pub(super) fn cost(key: &str, entry: &Entry) -> usize {
    key.len() + entry.json().len() + OVERHEAD
}

// Nothing panics while a lock is held, so a poisoned one is as good as any.

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
