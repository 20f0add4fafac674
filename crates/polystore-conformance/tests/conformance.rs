//! The suite on stores that can do little, and on one that is shared: what it asks of a
//! backend must not be more than the contract does.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polystore_conformance::Suite;
use polystore_kv::backend::{Backend, BoxStream, Info, async_trait};
use polystore_kv::{Entry, Error, ErrorKind, Expiry, Result, Scan, kv};

fn main() -> ExitCode {
    let shared = Arc::new(Shelf::default());
    Suite::new()
        .disposable_store("shelf", || async { kv(Shelf::default()) })
        .store("shelf that is shared", move || {
            let shelf = Arc::clone(&shared);
            async { kv(shelf) }
        })
        .disposable_store("drawer", || async { kv(Drawer::default()) })
        .counts("tests/conformance.counts")
        .run()
}

type Entries = BTreeMap<String, Entry>;

fn lock(entries: &Mutex<Entries>) -> MutexGuard<'_, Entries> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The required methods and nothing else.
#[derive(Default)]
struct Shelf(Mutex<Entries>);

#[async_trait]
impl Backend for Shelf {
    fn info(&self) -> Info {
        Info::new("shelf")
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        Ok(lock(&self.0).get(key).cloned())
    }
    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        lock(&self.0).insert(key.to_owned(), entry);
        Ok(())
    }
    async fn del(&self, key: &str) -> Result<()> {
        lock(&self.0).remove(key);
        Ok(())
    }
    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        scan.select(lock(&self.0).clone())
    }
}

/// Small, picky about keys and values, with its own keys and a clock of its own whose
/// instants nobody can read.
#[derive(Default)]
struct Drawer(Mutex<Entries>, AtomicU32);

const LONGEST_VALUE: usize = 20_000;

impl Drawer {
    /// What is live, as one who reads it is to see it.
    fn live(entry: &Entry) -> Option<Entry> {
        (!entry.is_expired()).then(|| entry.clone().with_expiry(Expiry::Unread))
    }
}

#[async_trait]
impl Backend for Drawer {
    fn info(&self) -> Info {
        Info::new("drawer").with(|can| {
            can.native_expiry = Some(Duration::from_millis(1));
            can.ttl = false;
            can.max_key_bytes = Some(120);
            can.refused_keys = vec!["".into(), ".".into(), "secret".into()];
            can.refused_chars = vec!['\0', 'ß'];
            can.max_value_bytes = Some(LONGEST_VALUE);
            can.max_entries = Some(500);
        })
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        Ok(lock(&self.0).get(key).and_then(Self::live))
    }
    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        if !self.info().capabilities.accepts_key(key) {
            return Err(Error::new(ErrorKind::InvalidKey, "it does not fit"));
        }
        if entry.json().len() > LONGEST_VALUE {
            return Err(Error::new(ErrorKind::InvalidValue, "it is too large"));
        }
        let mut entries = lock(&self.0);
        entries.retain(|_, entry| !entry.is_expired());
        entries.insert(key.to_owned(), entry);
        Ok(())
    }
    async fn del(&self, key: &str) -> Result<()> {
        lock(&self.0).remove(key);
        Ok(())
    }
    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let entries = lock(&self.0);
        let live = entries
            .iter()
            .filter_map(|(k, e)| Some((k.clone(), Self::live(e)?)));
        scan.select(live.collect::<Vec<_>>())
    }
    async fn add(&self, prefix: &str, entry: Entry) -> Result<String> {
        let number = self.1.fetch_add(1, Ordering::Relaxed);
        let key = format!("{prefix}added {number}");
        self.set(&key, entry).await?;
        Ok(key)
    }
}
