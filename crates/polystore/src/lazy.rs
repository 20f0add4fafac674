//! A backend that connects on its first use.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use crate::attempt::Attempt;
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

/// Connects once, when something is first asked of it. Those who wait share the
/// attempt; after one that failed the next caller begins another.
#[derive(Clone)]
pub(crate) struct Lazy(Arc<Inner>);

struct Inner {
    kind: &'static str,
    open: Box<dyn Fn() -> BoxFuture<'static, Connected> + Send + Sync>,
    connected: OnceLock<Arc<dyn Backend>>,
    attempt: Attempt<Arc<dyn Backend>>,
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
            attempt: Attempt::default(),
        }))
    }

    async fn backend(&self) -> Result<&Arc<dyn Backend>> {
        if let Some(backend) = self.0.connected.get() {
            return Ok(backend);
        }
        let made = || self.0.connected.get().cloned();
        let begin = || Arc::clone(&self.0).open().boxed();
        let keep = |backend: &Arc<dyn Backend>| {
            let _ = self.0.connected.set(Arc::clone(backend));
        };
        let backend = self.0.attempt.join(made, begin, keep).await?;
        Ok(self.0.connected.get_or_init(|| backend))
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
    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        self.backend().await?.replace(key, entry).await
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
        self.0.attempt.settle().await;
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
