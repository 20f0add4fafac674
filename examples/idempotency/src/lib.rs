//! Does what is asked again only once: for payments, webhooks and jobs whose senders try again.
//!
//! The sender names each piece of work by a key of its own, as in the header `Idempotency-Key`. The
//! first request with a key does the work; later ones get the reply of the first, in whatever process they arrive.
//!
//! ```
//! use idempotency::{Error, Idempotency};
//!
//! # async fn charge(cents: u32) -> std::io::Result<String> { Ok(format!("receipt for {cents}")) }
//! # futures_executor::block_on(async {
//! // Any store that the program has: a URL, a client, a `Store`, one of its own.
//! let payments = Idempotency::new("memory:")?.keep_for("1 week");
//! payments.check().await?;
//!
//! let first: String = payments.run("order-17", || charge(1200)).await?;
//! let again: String = payments.run("order-17", || charge(1200)).await?;   // not charged again
//! assert_eq!(first, again);
//! # Ok::<(), Error>(())
//! # }).unwrap();
//! ```
//!
//! # What it keeps
//!
//! A key of the store for each of the sender's, beginning with `idempotency:`, so that everything else can be in the same
//! store. For several services or tenants in one store give each its own part: `Idempotency::new(store.prefix("shop:"))`.
//!
//! # What it promises
//!
//! While one request works, others with its key get [`Error::Running`]. If it fails, the next one works anew. If its process
//! dies, the next one may after the [lease](Idempotency::lease): the work may then have been done or not, so
//! make it such that this can be found out. Work must not take longer than the lease.
//!
//! A future of [`run`](Idempotency::run) that is dropped is such a death: web frameworks drop a handler's when the client goes away. Spawn it as a
//! task of its own, and the work goes on.
//!
//! The store has to have an atomic `insert`; Cloudflare KV and web storage do not.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;

use polystore_kv::{Expires, IntoStore, Store, kv};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What was done already, in a store. A clone is cheap and shares it.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// With the time that replies are kept as its expiry.
    records: Store,
    lease: Expires,
}

/// Why there is no reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The store failed, or is none that can be used here. It does not show the key.
    Store(polystore_kv::Error),
    /// Another request with this key is at work: a server answers 409, and the sender tries again later.
    Running,
    /// The work failed, as the [source](StdError::source) says, and may be tried again.
    Work(Box<dyn StdError + Send + Sync>),
}

/// What stands under a key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Record<T> {
    Running(u64),
    Done(T),
}

impl Idempotency {
    /// What was done already, in `store`: anything that [`polystore_kv::kv`] takes. Replies are kept for a
    /// day, and work has a minute.
    ///
    /// # Errors
    /// [`Error::Store`] for a URL that means nothing. Nothing is opened yet: see [`check`](Self::check).
    pub fn new(store: impl IntoStore) -> Result<Self, Error> {
        Ok(Self {
            records: kv(store)?.prefix("idempotency:").expires("1 day"),
            lease: Expires::from(60),
        })
    }

    /// The same with another time for which replies are kept: longer than any sender tries again. One that means
    /// nothing is an error of [`check`](Self::check) and of [`run`](Self::run).
    #[must_use]
    pub fn keep_for<E>(mut self, time: E) -> Self
    where
        E: TryInto<Expires, Error: Into<polystore_kv::Error>>,
    {
        self.records = self.records.expires(time);
        self
    }

    /// The same with another time that work may take.
    #[must_use]
    pub fn lease(mut self, time: impl Into<Expires>) -> Self {
        self.lease = time.into();
        self
    }

    /// Connects, and looks whether the store can do what is needed: for the start of a program.
    ///
    /// # Errors
    /// [`Error::Store`] if it cannot be reached, or has no atomic `insert`.
    pub async fn check(&self) -> Result<(), Error> {
        self.records.default_expires()?;
        if self.records.capabilities().await?.insert {
            return Ok(());
        }
        let message = "insert, which idempotency stands on";
        Err(polystore_kv::Error::unsupported(message).into())
    }

    /// The reply of `work`, which is done for the first request with this `key` only.
    ///
    /// # Errors
    /// [`Error::Running`], [`Error::Work`], or [`Error::Store`]: before the work if the store fails then, and after it
    /// if the reply could not be kept. Of a reply that is not a `T` the store says `Decode`.
    pub async fn run<T, F, Fut, E>(&self, key: &str, work: F) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        // A time that means nothing is an error of the write that uses it, which would be after the work.
        self.records.default_expires()?;
        let owner = getrandom::u64().map_err(|error| Error::Work(error.into()))?;
        while !self.claim(key, owner).await? {
            match self.records.get(key).await? {
                Some(Record::Done(reply)) => return Ok(reply),
                Some(Record::Running(_)) => return Err(Error::Running),
                // Given up in this moment: it can be had.
                None => {}
            }
        }
        match work().await {
            Ok(reply) => {
                self.records.set(key, &Record::Done(&reply)).await?;
                Ok(reply)
            }
            Err(error) => {
                // If that fails, the lease ends by itself: what the caller has to know is why the work failed.
                let _ = self.give_up(key, owner).await;
                Err(Error::Work(error.into()))
            }
        }
    }

    /// Whether it is this request that is to work.
    async fn claim(&self, key: &str, owner: u64) -> Result<bool, Error> {
        let claim = Record::<()>::Running(owner);
        match self.records.insert(key, &claim).expires(self.lease).await {
            // Sent, and the answer was lost.
            Err(error) if error.is_maybe_applied() => self.is_claimed_by(key, owner).await,
            claimed => Ok(claimed?),
        }
    }

    async fn is_claimed_by(&self, key: &str, owner: u64) -> Result<bool, Error> {
        let there = self.records.entry(key).await?;
        let there = there.and_then(|entry| entry.decode::<Record<()>>().ok());
        Ok(matches!(there, Some(Record::Running(it)) if it == owner))
    }

    /// Frees the key, if it still is this request's.
    async fn give_up(&self, key: &str, owner: u64) -> Result<(), Error> {
        if let Some(seen) = self.records.entry(key).await?
            && matches!(seen.decode::<Record<()>>(), Ok(Record::Running(it)) if it == owner)
        {
            // Of a store that cannot remove only what is unchanged, it expires.
            self.records.evict(key, &seen).await?;
        }
        Ok(())
    }
}

impl From<polystore_kv::Error> for Error {
    /// Whoever knows a sender's key can ask for the reply: it stays out of messages and logs.
    fn from(error: polystore_kv::Error) -> Self {
        Self::Store(error.without_key())
    }
}

impl fmt::Display for Error {
    /// One line; the causes are for [`source`](StdError::source).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store(_) => "the store that keeps the replies failed",
            Self::Running => "the same request is at work",
            Self::Work(_) => "the work failed",
        })
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Work(error) => Some(&**error),
            Self::Running => None,
        }
    }
}
