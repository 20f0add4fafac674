//! `memory:`: an ordered map in this process.

mod map;

use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use futures_core::stream::BoxStream;

use self::map::{Limits, Map, Written, cost};
use crate::address::Address;
use crate::backend::{Backend, Info, Scan};
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};
use crate::gather::Crew;
use crate::opener::Opener;
use crate::scan::PAGE;
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("memory", open);

/// How many a write removes where there is no thread to do it.
const SWEPT_BY_A_WRITE: usize = 4;

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
            can.replace = true;
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
        scan.in_pages(move |scan, after| {
            let keys = map.keys(scan, after);
            let next = keys.last().filter(|_| keys.len() == PAGE).cloned();
            let entries = keys
                .iter()
                .filter_map(|key| Some((String::from(&**key), map.get(key)?)));
            (entries.collect(), next)
        })
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        self.put(key, entry, |old| !old.is_some_and(is_live))
    }

    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        self.put(key, entry, |old| old.is_some_and(is_live))
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        Ok(self.update(key, |old| {
            let live = old.filter(|old| is_live(old))?;
            Some(live.clone().with_expiry(expiry))
        }))
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        Ok(self.map.remove(key, |entry| entry == seen))
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
        let due = self.map.expired(prefix, usize::MAX);
        let mut pruned = 0;
        for page in due.chunks(PAGE) {
            for key in page {
                pruned += u64::from(self.map.remove(key, Entry::is_expired));
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
    use crate::entry::Timestamp;

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
            let sizes = memory.map.sizes();
            assert_eq!(sizes, [0; 4]);
        }
    }

    #[test]
    fn only_what_expires_sooner_than_was_known_wakes_the_sweeper() {
        let memory = Memory::new(Limits {
            entries: None,
            bytes: None,
        });
        let put = |key: &str, millis: i64| {
            let expiry = Expiry::At(Timestamp::from_millis(millis));
            let entry = entry("a").with_expiry(expiry);
            memory.map.update(key, |_| Some(entry)) == Written::YesAndExpiresFirst
        };
        let now = Timestamp::now().as_millis();
        assert!(put("session", now + 10_000));
        for renewed in 11_000..11_100 {
            assert!(
                !put("session", now + renewed),
                "it is looked at before that"
            );
        }
        assert!(!put("other", now + 20_000));
        assert!(put("other", now + 5_000));
        assert!(put("session", now + 4_000));
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
