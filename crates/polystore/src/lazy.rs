//! A backend that connects on its first use.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::future::{BoxFuture, WeakShared};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use crate::backend::{Backend, Info, Scan};
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// What [`lazy`](crate::lazy) gives: pass it to [`kv`](crate::kv()).
#[must_use = "it becomes a store in kv()"]
pub struct LazyStore(pub(crate) Lazy);

impl fmt::Debug for LazyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LazyStore").finish_non_exhaustive()
    }
}

type Connected = Result<Arc<dyn Backend>>;
type WeakAttempt = WeakShared<BoxFuture<'static, Connected>>;

/// Connects once, when something is first asked of it. Those who wait share the
/// attempt; after one that failed the next caller begins another.
#[derive(Clone)]
pub(crate) struct Lazy(Arc<Inner>);

struct Inner {
    kind: &'static str,
    open: Box<dyn Fn() -> BoxFuture<'static, Connected> + Send + Sync>,
    connected: OnceLock<Arc<dyn Backend>>,
    /// Weak: an attempt that nobody waits for any more ends there and then, with the
    /// runtime that it was begun on.
    attempt: Mutex<Option<WeakAttempt>>,
}

impl Lazy {
    pub(crate) fn new<F, Fut>(kind: &'static str, open: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Connected> + Send + 'static,
    {
        Self(Arc::new(Inner {
            kind,
            open: Box::new(move || Box::pin(open())),
            connected: OnceLock::new(),
            attempt: Mutex::new(None),
        }))
    }

    async fn backend(&self) -> Result<&Arc<dyn Backend>> {
        if let Some(backend) = self.0.connected.get() {
            return Ok(backend);
        }
        let attempt = {
            let mut current = self.attempt();
            // One may have ended since we looked.
            if let Some(backend) = self.0.connected.get() {
                return Ok(backend);
            }
            match current.as_ref().and_then(WeakShared::upgrade) {
                Some(attempt) => attempt,
                None => {
                    let attempt = Arc::clone(&self.0).open().boxed().shared();
                    *current = attempt.downgrade();
                    attempt
                }
            }
        };
        let outcome = attempt.clone().await;
        {
            let mut current = self.attempt();
            if let Ok(backend) = &outcome {
                let _ = self.0.connected.set(Arc::clone(backend));
            }
            // Whoever is first to see the end of an attempt makes room for the next.
            let now = current.as_ref().and_then(WeakShared::upgrade);
            if now.is_some_and(|now| now.ptr_eq(&attempt)) {
                *current = None;
            }
        }
        let backend = outcome?;
        Ok(self.0.connected.get_or_init(|| backend))
    }

    fn attempt(&self) -> MutexGuard<'_, Option<WeakAttempt>> {
        // Nothing panics while it is held.
        self.0
            .attempt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// One attempt. A panic in it is the failure of those who wait, as any other.
    async fn open(self: Arc<Self>) -> Connected {
        let opening = AssertUnwindSafe(async { (self.open)().await });
        opening.catch_unwind().await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Unreachable,
                "what makes the store's client panicked",
            ))
        })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Lazy {
    fn info(&self) -> Info {
        match self.0.connected.get() {
            Some(backend) => backend.info(),
            None => Info::new(self.0.kind),
        }
    }
    async fn connect(&self) -> Result<()> {
        self.backend().await?.connect().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.backend().await?.get(key).await
    }
    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        self.backend().await?.set(key, entry).await
    }
    async fn del(&self, key: &str) -> Result<()> {
        self.backend().await?.del(key).await
    }
    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        if let Some(backend) = self.0.connected.get() {
            return backend.scan(scan);
        }
        let this = self.clone();
        let opened = async move { this.backend().await.map(|backend| backend.scan(scan)) };
        stream::once(opened).try_flatten().boxed()
    }
    async fn has(&self, key: &str) -> Result<bool> {
        self.backend().await?.has(key).await
    }
    async fn entry(&self, key: &str) -> Result<Option<Entry>> {
        self.backend().await?.entry(key).await
    }
    async fn add(&self, prefix: &str, entry: Entry) -> Result<String> {
        self.backend().await?.add(prefix, entry).await
    }
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        self.backend().await?.get_many(keys).await
    }
    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        self.backend().await?.set_many(entries).await
    }
    async fn del_many(&self, keys: &[String]) -> Result<()> {
        self.backend().await?.del_many(keys).await
    }
    async fn clear(&self, prefix: &str) -> Result<()> {
        self.backend().await?.clear(prefix).await
    }
    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        self.backend().await?.insert(key, entry).await
    }
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.backend().await?.touch(key, expiry).await
    }
    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        self.backend().await?.evict(key, seen).await
    }
    async fn prune(&self, prefix: &str) -> Result<u64> {
        self.backend().await?.prune(prefix).await
    }
    async fn close(&self) -> Result<()> {
        // What never connected has nothing to close, and what is connecting is
        // waited for.
        let pending = self.attempt().as_ref().and_then(WeakShared::upgrade);
        if let Some(attempt) = pending {
            let _ = attempt.await;
        }
        match self.0.connected.get() {
            Some(backend) => backend.close().await,
            None => Ok(()),
        }
    }
    fn get_now(&self, key: &str) -> Option<Result<Option<Entry>>> {
        self.0.connected.get()?.get_now(key)
    }
    fn set_now(&self, key: &str, entry: Entry) -> Result<Result<()>, Entry> {
        match self.0.connected.get() {
            Some(backend) => backend.set_now(key, entry),
            None => Err(entry),
        }
    }
}
