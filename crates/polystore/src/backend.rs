//! The contract between [`Store`](crate::Store) and what keeps the data.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

pub use async_trait::async_trait;
pub use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;
use futures_util::future::try_join_all;

use crate::entry::{Entry, Expiry};
use crate::error::{Error, Result};
use crate::random;
pub use crate::scan::Scan;

/// How many entries the default methods hold at a time.
const BATCH: usize = 500;

/// How many reads they have under way.
const SIDE_BY_SIDE: usize = 64;

/// What a store is called and what it can do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Info {
    /// The word for it, as in its URL: `"sqlite"`.
    pub kind: Cow<'static, str>,
    /// What it can do.
    pub capabilities: Capabilities,
}

impl Info {
    /// A store of this kind that can do what [`Capabilities::default`] says.
    #[must_use]
    pub fn new(kind: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: kind.into(),
            capabilities: Capabilities::default(),
        }
    }

    /// The same with other capabilities.
    ///
    /// ```
    /// use polystore_kv::backend::Info;
    /// let info = Info::new("shelf").with(|can| can.ordered = true);
    /// assert!(info.capabilities.ordered && !info.capabilities.insert);
    /// ```
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Capabilities)) -> Self {
        change(&mut self.capabilities);
        self
    }
}

/// What a store can do, for tests, programs and people.
///
/// By default it can do what the required methods of [`Backend`] give: keep any key
/// and any value, in no order, until the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// [`Store::insert`](crate::Store::insert) works, atomically.
    pub insert: bool,
    /// [`Store::replace`](crate::Store::replace) works, atomically.
    pub replace: bool,
    /// [`Store::touch`](crate::Store::touch) works, atomically.
    pub touch: bool,
    /// [`Store::prune`](crate::Store::prune) works: the store can remove an entry
    /// only if it is unchanged.
    pub prune: bool,
    /// The store drops what has expired by its own clock. `None`: the clock of this
    /// process judges, to the millisecond. `Some`: how exact the store's is.
    pub native_expiry: Option<Duration>,
    /// [`Store::ttl`](crate::Store::ttl) works: the time left can be read.
    pub ttl: bool,
    /// The longest key in bytes of UTF-8, with its prefix.
    pub max_key_bytes: Option<usize>,
    /// Keys that it cannot hold, with their prefix.
    pub refused_keys: Vec<Cow<'static, str>>,
    /// Characters that no key can have.
    pub refused_chars: Vec<char>,
    /// The longest value in bytes of JSON text.
    pub max_value_bytes: Option<usize>,
    /// How many entries it holds before it refuses or evicts.
    pub max_entries: Option<usize>,
    /// How many bytes it holds before it refuses or evicts.
    pub max_total_bytes: Option<usize>,
    /// Listings come in ascending order of the keys' bytes, and one of a prefix costs
    /// what it returns.
    pub ordered: bool,
    /// What is written outlives the process.
    pub persistent: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            insert: false,
            replace: false,
            touch: false,
            prune: false,
            native_expiry: None,
            ttl: true,
            max_key_bytes: None,
            refused_keys: Vec::new(),
            refused_chars: Vec::new(),
            max_value_bytes: None,
            max_entries: None,
            max_total_bytes: None,
            ordered: false,
            persistent: false,
        }
    }
}

impl Capabilities {
    /// Whether the store can hold `key` (with its prefix), as far as the fields tell.
    #[must_use]
    pub fn accepts_key(&self, key: &str) -> bool {
        self.max_key_bytes.is_none_or(|max| key.len() <= max)
            && !self.refused_keys.iter().any(|refused| refused == key)
            && !key.contains(&self.refused_chars[..])
    }
}

/// What keeps the data of a [`Store`](crate::Store): implement this to make a store of
/// your own.
///
/// Five methods are required. Every other one has a default that is made of those and
/// correct, if slower than what the store could do itself, or that says
/// ["unsupported"](Error::unsupported) where no combination of them would be correct.
/// [`Capabilities`] must say the same; the crate `polystore-conformance` checks it.
///
/// A backend gets full keys (the prefix joined), JSON text and absolute instants. It
/// knows nothing of prefixes, types or words.
///
/// # The contract
///
/// - **Keys** are any UTF-8 strings, compared byte by byte. A key that the store
///   cannot hold is an [`InvalidKey`](crate::ErrorKind::InvalidKey) error before
///   anything is sent or changed; nothing is truncated or folded.
/// - **Atomicity.** A reader sees the whole old entry or the whole new one, value and
///   expiry together.
/// - **Ordering.** When a write has returned, every later read in any task sees it.
///   Writes to one key take effect in the order in which they were first polled.
///   Stores that are only eventually consistent say so in their documentation.
/// - **Missing keys.** `get` gives `None`; `del` of a missing key succeeds.
/// - **Expiry.** [`Expiry::At`] is an instant on the clock of this process. A store
///   without a clock of its own keeps the instant, gives it back, and may go on giving back
///   what has expired: `Store` drops it. A store that judges by its own clock returns live
///   entries only, and converts both ways by what is left: it keeps the time from now
///   until the instant, and gives now plus the time that is left. No reading method removes
///   an expired entry with `del`: that would lose a value written in between. Use a removal
///   that is conditional in the store, as [`evict`](Self::evict) is.
/// - **Batches** hold no key twice. They are not atomic unless the store says so; a value
///   or a key that the store cannot hold fails before any of them is written.
/// - **Cancellation.** A dropped future leaves the old entry or the new one.
/// - **Failure.** A failure is an error, never `None` or an empty listing. A message
///   never holds a value or a password.
/// - **Listings** show each entry that is there from beginning to end exactly once; what
///   is written or removed meanwhile may show or not. No key comes twice. What is
///   not an entry of this store (a foreign file, say) is skipped, counted and logged, but
///   not with its key: keys may be secrets.
///
/// Futures and streams are `Send`; methods may be called from any thread and any
/// runtime, or from none.
///
/// # Example
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::{Arc, Mutex};
/// use polystore_kv::backend::{async_trait, Backend, BoxStream, Info, Scan};
/// use polystore_kv::{Entry, Result, kv};
///
/// #[derive(Default)]
/// struct Shelf(Mutex<BTreeMap<String, Entry>>);
///
/// #[async_trait]
/// impl Backend for Shelf {
///     fn info(&self) -> Info {
///         Info::new("shelf")
///     }
///     async fn get(&self, key: &str) -> Result<Option<Entry>> {
///         Ok(self.0.lock().unwrap().get(key).cloned())
///     }
///     async fn set(&self, key: &str, entry: Entry) -> Result<()> {
///         self.0.lock().unwrap().insert(key.to_owned(), entry);
///         Ok(())
///     }
///     async fn del(&self, key: &str) -> Result<()> {
///         self.0.lock().unwrap().remove(key);
///         Ok(())
///     }
///     fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
///         scan.select(self.0.lock().unwrap().clone())
///     }
/// }
///
/// # futures_executor::block_on(async {
/// let store = kv(Shelf::default())?;
/// store.set("book", "Middlemarch").expires("3 weeks").await?;
/// assert_eq!(store.get::<String>("book").await?.as_deref(), Some("Middlemarch"));
/// # Ok::<(), polystore_kv::Error>(())
/// # }).unwrap();
/// ```
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// What it is called and what it can do. Cheap; asked for often.
    ///
    /// A backend that has to connect before it knows says what it knows, and the rest
    /// after [`connect`](Self::connect).
    fn info(&self) -> Info;

    /// The entry under `key`. Its expiry may be [`Expiry::Unread`] if reading that too
    /// would cost another round trip.
    async fn get(&self, key: &str) -> Result<Option<Entry>>;

    /// Puts `entry` under `key`, in place of what was there, expiry included.
    ///
    /// The expiry is never [`Expiry::Unread`]; it may have passed by now, and then
    /// the key reads as missing afterwards.
    async fn set(&self, key: &str, entry: Entry) -> Result<()>;

    /// Removes what is under `key`, if anything is.
    async fn del(&self, key: &str) -> Result<()>;

    /// The entries that `scan` asks for: see [`Scan`] and "Listings" above. Memory must
    /// stay bounded however many there are, as far as the store allows.
    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>>;

    /// Connects, if that has not happened yet. Called before anything that needs to
    /// know the store, such as [`Store::capabilities`](crate::Store::capabilities).
    async fn connect(&self) -> Result<()> {
        Ok(())
    }

    /// Whether there is a live entry under `key`.
    async fn has(&self, key: &str) -> Result<bool> {
        Ok(self
            .get(key)
            .await?
            .is_some_and(|entry| !entry.is_expired()))
    }

    /// As [`get`](Self::get), with the instant of expiry. Never [`Expiry::Unread`].
    async fn entry(&self, key: &str) -> Result<Option<Entry>> {
        self.get(key).await
    }

    /// Puts `entry` under a new key that begins with `prefix`, and returns the whole key.
    ///
    /// The default appends 24 random characters. A store that makes its own keys (an
    /// auto-increment, a sortable id) overrides this.
    async fn add(&self, prefix: &str, entry: Entry) -> Result<String> {
        let key = format!("{prefix}{}", random::key()?);
        self.set(&key, entry).await?;
        Ok(key)
    }

    /// The entries under `keys`, in the same order.
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let mut entries = Vec::with_capacity(keys.len());
        for keys in keys.chunks(SIDE_BY_SIDE) {
            entries.extend(try_join_all(keys.iter().map(|key| self.get(key))).await?);
        }
        Ok(entries)
    }

    /// Puts many entries; of two under one key the later wins. If it fails, some may
    /// have been put.
    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        for (key, entry) in entries {
            let set = self.set(&key, entry).await;
            set.map_err(|error| error.with_key(&key))?;
        }
        Ok(())
    }

    /// Removes many keys.
    async fn del_many(&self, keys: &[String]) -> Result<()> {
        for key in keys {
            self.del(key).await.map_err(|error| error.with_key(key))?;
        }
        Ok(())
    }

    /// Removes every key that begins with `prefix`; an empty one removes everything
    /// that this store would list, and nothing else.
    async fn clear(&self, prefix: &str) -> Result<()> {
        let scan = Scan::new().prefix(prefix).values(false).expiries(false);
        let mut batches = self.scan(scan).map_ok(|(key, _)| key).try_chunks(BATCH);
        let mut is_begun = false;
        let of_some = |error: Error, is_begun| match is_begun {
            true => error.with_maybe_applied(),
            false => error,
        };
        loop {
            let batch = batches.try_next().await;
            let Some(keys) = batch.map_err(|failed| of_some(failed.1, is_begun))? else {
                return Ok(());
            };
            let gone = self.del_many(&keys).await;
            gone.map_err(|error| of_some(error, is_begun))?;
            is_begun = true;
        }
    }

    /// Puts `entry` under `key` only if nothing live is there, atomically, and says
    /// whether it did. The expiry may have passed by now: then it only says whether it could.
    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        let _ = (key, entry);
        Err(Error::unsupported(
            "insert: it has no atomic \"only if absent\"",
        ))
    }

    /// Puts `entry` under `key` only if something live is there, atomically, and says
    /// whether anything was. The expiry may have passed by now: then what was there is gone.
    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        let _ = (key, entry);
        Err(Error::unsupported(
            "replace: it has no atomic \"only if present\"",
        ))
    }

    /// Gives what is live under `key` another expiry, atomically, and says whether
    /// anything was. The expiry is never [`Expiry::Unread`]; it may have passed.
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let _ = (key, expiry);
        Err(Error::unsupported(
            "touch: it cannot change an expiry atomically",
        ))
    }

    /// Removes what is under `key` only if it still is `seen`, atomically, and says
    /// whether it did. `seen` is as [`entry`](Self::entry) or [`scan`](Self::scan) gave it,
    /// with its instant of expiry. A store that converts expiries from a clock of its own allows for
    /// what that may be off by.
    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        let _ = (key, seen);
        Err(cannot_evict())
    }

    /// Physically removes what has expired among the keys that begin with `prefix`,
    /// never what was renewed meanwhile, and says how many went.
    ///
    /// The default lists them and [evicts](Self::evict) one by one.
    async fn prune(&self, prefix: &str) -> Result<u64> {
        if !self.info().capabilities.prune {
            return Err(cannot_evict());
        }
        let mut entries = self.scan(Scan::new().prefix(prefix));
        let mut pruned = 0;
        while let Some((key, entry)) = entries.try_next().await? {
            if entry.is_expired() && self.evict(&key, &entry).await? {
                pruned += 1;
            }
        }
        Ok(pruned)
    }

    /// Finishes what was begun, lets go of files and connections, and starts nothing by
    /// itself any more. May be called again; no other call begins afterwards.
    async fn close(&self) -> Result<()> {
        Ok(())
    }

    /// [`get`](Self::get) for a store that can answer at once without waiting for
    /// anything, or `None` ("not now"), and then `get` is called.
    fn get_now(&self, key: &str) -> Option<Result<Option<Entry>>> {
        let _ = key;
        None
    }

    /// [`set`](Self::set) for a store that can do so at once without waiting for
    /// anything, or the entry back ("not now"), and then `set` is called.
    ///
    /// # Errors
    /// The entry itself, if the store cannot take it now.
    fn set_now(&self, key: &str, entry: Entry) -> Result<Result<()>, Entry> {
        let _ = key;
        Err(entry)
    }
}

fn cannot_evict() -> Error {
    Error::unsupported("prune: it cannot remove an entry only if it is unchanged")
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn info(&self) -> Info {
        (**self).info()
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        (**self).get(key).await
    }
    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        (**self).set(key, entry).await
    }
    async fn del(&self, key: &str) -> Result<()> {
        (**self).del(key).await
    }
    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        (**self).scan(scan)
    }
    async fn connect(&self) -> Result<()> {
        (**self).connect().await
    }
    async fn has(&self, key: &str) -> Result<bool> {
        (**self).has(key).await
    }
    async fn entry(&self, key: &str) -> Result<Option<Entry>> {
        (**self).entry(key).await
    }
    async fn add(&self, prefix: &str, entry: Entry) -> Result<String> {
        (**self).add(prefix, entry).await
    }
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        (**self).get_many(keys).await
    }
    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        (**self).set_many(entries).await
    }
    async fn del_many(&self, keys: &[String]) -> Result<()> {
        (**self).del_many(keys).await
    }
    async fn clear(&self, prefix: &str) -> Result<()> {
        (**self).clear(prefix).await
    }
    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        (**self).insert(key, entry).await
    }
    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        (**self).replace(key, entry).await
    }
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        (**self).touch(key, expiry).await
    }
    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        (**self).evict(key, seen).await
    }
    async fn prune(&self, prefix: &str) -> Result<u64> {
        (**self).prune(prefix).await
    }
    async fn close(&self) -> Result<()> {
        (**self).close().await
    }
    fn get_now(&self, key: &str) -> Option<Result<Option<Entry>>> {
        (**self).get_now(key)
    }
    fn set_now(&self, key: &str, entry: Entry) -> Result<Result<()>, Entry> {
        (**self).set_now(key, entry)
    }
}
