//! Keeps the sessions of [tower-sessions] in any store of Polystore: memory, a file, SQLite, LevelDB, Redis,
//! PostgreSQL, etcd, a server over HTTP, Cloudflare KV, or one of your own.
//!
//! ```
//! use axum::Router;
//! use axum::routing::get;
//! use polystore_kv::kv;
//! use polystore_tower_sessions::Sessions;
//! use tower_sessions::{Session, SessionManagerLayer};
//! # use tower_sessions::session::Error;
//!
//! async fn visits(session: Session) -> Result<String, String> {
//!     let count = async {
//!         let count = session.get("count").await?.unwrap_or(0) + 1;
//!         session.insert("count", count).await?;
//!         Ok(count)
//!     };
//!     let count = count.await.map_err(|error: Error| error.to_string())?;
//!     Ok(format!("visit {count}"))
//! }
//!
//! # fn app() -> polystore_kv::Result<Router> {
//! // Or "sqlite:app.db", "redis://host", a client that the program has, …
//! let sessions = Sessions::new(kv("memory:")?.prefix("session:"))?;
//! let app: Router = Router::new()
//!     .route("/", get(visits))
//!     .layer(SessionManagerLayer::new(sessions));
//! # Ok(app)
//! # }
//! # app().unwrap();
//! ```
//!
//! # What it promises
//!
//! - **A session is never overwritten by another.** A new one is put with [`Store::insert`], which is atomic, and gets another id
//!   where that one is taken. Stores that have no insert (Cloudflare KV, web storage, cookies, servers for
//!   the npm package only: [`Capabilities::insert`]) are written plainly there: the 128 random bits of an id stand in for it.
//! - **An id that a client made up stays unused**, whatever the program does with the session.
//! - **A session that was deleted or got another id stays ended.** What the same request puts in after a `flush` gets a new id. When a request that was still under way saves it, in this process or in another, that
//!   is dropped, and the id opens nothing (what it puts under an id of its own, by `cycle_id`, is another session, which tower-sessions makes of what it has loaded): a save is [`Store::replace`], which is atomic. On stores that have none ([`Capabilities::replace`]: the
//!   same as above) an entry under the id and `.ended` stays for an hour, which a save looks for. (On a store that is
//!   [not consistent at once](https://developers.cloudflare.com/kv/concepts/how-kv-works/), such as Cloudflare KV, a change of the last minute may not be seen.)
//! - **Expiry** is the record's date, exactly. What has expired is not loaded, and leaves the store by itself; a default
//!   expiry of the store has no say. Reading does not prolong a session, as is tower-sessions' way.
//! - **A failure is an error**: no empty session, no panic. Its text has all of its causes and never the session's id, and neither has
//!   [`Debug`](fmt::Debug). When the store is back, sessions are.
//! - **What is stored but is no session** (another program wrote there) counts as none, with a warning by `tracing`: an error would meet that
//!   visitor with every request, the login included. Where the whole file or table is broken, it is an error.
//! - **One round trip** for each load, create, save and delete; two for a load, and three for a save and a delete, where the store has no `replace`.
//!   As the cache of a `CachingSessionStore` it is of no use, because a save puts only what is there:
//!   take tower-sessions' own memory store for that.
//!
//! Requests of one session at the same time each load it, and the last one that saves wins: so it is in tower-sessions with every store.
//!
//! # What is kept
//!
//! Under the store's prefix and the id as the cookie has it (22 characters of base64 as in URLs: 16 bytes, the id's lowest first):
//!
//! ```json
//! {"data":{"user":"Ada"},"expiry_date":"2100-01-01T00:00:00.5Z"}
//! ```
//!
//! `data` is what the session holds, and `expiry_date` a date of [RFC 3339] in UTC, to the nanosecond. The store keeps the
//! expiry too, so that another program, or the npm package, sees a session for as long as it lasts. Integers of 64 bits
//! and floating-point numbers come back as they were, but JavaScript rounds what is beyond 2⁵³. Values that are nested in more than 125 levels are errors.
//!
//! Ids are keys: whoever may list the store can take over sessions, as with any store of tower-sessions.
//!
//! # WebAssembly
//!
//! It compiles for `wasm32-unknown-unknown`, where tower-sessions needs two things of your program: the feature `wasm_js` of `getrandom`
//! 0.3 with `--cfg getrandom_backend="wasm_js"`, and the feature `wasm-bindgen` of `time`. That is not run by its tests.
//!
//! [tower-sessions]: https://docs.rs/tower-sessions
//! [`Capabilities::insert`]: polystore_kv::Capabilities::insert
//! [`Capabilities::replace`]: polystore_kv::Capabilities::replace
//! [RFC 3339]: https://www.rfc-editor.org/rfc/rfc3339

mod ended;
mod failure;
#[cfg(doc)]
pub mod guides;
mod record;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use polystore_kv::{Error, ErrorKind, Expires, IntoStore, Store, kv};
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{self, ExpiredDeletion, SessionStore};

use crate::ended::Ended;
use crate::failure::{failure, general_failure};

/// How many ids are tried for a new session. One that is taken is improbable beyond all experience.
const TRIES: usize = 8;

/// How long it is remembered that a session was ended: longer than the requests take that may still
/// be at work on it.
const ENDED_FOR: Duration = Duration::from_secs(3600);

/// Sessions in a store of Polystore: give it to tower-sessions' `SessionManagerLayer`.
///
/// A clone is cheap and is the same. By [`Default`] they are in this process' memory.
///
/// Keys are the store's prefix and the id. Give sessions a prefix of their own where other things are in the store, and each tenant
/// one where there are several:
///
/// ```
/// # use polystore_kv::kv;
/// # use polystore_tower_sessions::Sessions;
/// let store = kv("memory:")?;
/// let of_shop = Sessions::new(store.prefix("shop:session:"))?;
/// let of_blog = Sessions::new(store.prefix("blog:session:"))?;
/// # Ok::<(), polystore_kv::Error>(())
/// ```
#[derive(Clone)]
pub struct Sessions {
    store: Store,
    ended: Arc<Ended>,
    /// Whether the store has an atomic `replace`, once that is known.
    replaces: Arc<OnceLock<bool>>,
}

impl Sessions {
    /// Sessions in `store`: whatever [`kv`] takes. Nothing is opened yet.
    ///
    /// # Errors
    /// As [`kv`].
    pub fn new(store: impl IntoStore) -> polystore_kv::Result<Self> {
        Ok(Self {
            store: kv(store)?,
            ended: Arc::default(),
            replaces: Arc::default(),
        })
    }

    /// The store that they are in.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Puts a session that is new and gives whether it could: not if there is one with its id.
    async fn insert(
        &self,
        key: &str,
        record: &Record,
        expires: Expires,
    ) -> session_store::Result<bool> {
        let kept = record::Record::from(record);
        let inserted = match self.store.insert(key, &kept).expires(expires).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                let set = self.store.set(key, &kept).expires(expires).await;
                set.map(|()| true)
            }
            inserted => inserted,
        };
        inserted.map_err(|error| failure(error, key))
    }

    async fn has_replace(&self) -> polystore_kv::Result<bool> {
        match self.replaces.get() {
            Some(replaces) => Ok(*replaces),
            None => {
                let replaces = self.store.capabilities().await?.replace;
                Ok(*self.replaces.get_or_init(|| replaces))
            }
        }
    }

    async fn get(&self, key: &str) -> polystore_kv::Result<Option<record::Record<'static>>> {
        let has_replace = self.has_replace().await?;
        let kept = self.store.get(key).await?;
        // A save may have been cut off before it looked for the mark.
        if !has_replace && kept.is_some() && self.store.has(&mark_of(key)).await? {
            self.store.del(key).await?;
            return Ok(None);
        }
        Ok(kept)
    }

    /// [`Store::replace`] where the store has none: a logout may come between looking and writing, in any process. It
    /// leaves a mark before it removes the session, and this looks for the mark after it has written: whichever
    /// comes last sees the other, and removes what must not be there.
    async fn replace_by_mark(
        &self,
        key: &str,
        kept: &record::Record<'_>,
        expires: Expires,
    ) -> polystore_kv::Result<()> {
        if self.store.has(key).await? {
            self.store.set(key, kept).expires(expires).await?;
            if self.store.has(&mark_of(key)).await? {
                self.store.del(key).await?;
            }
        }
        Ok(())
    }

    async fn leave_mark(&self, key: &str) -> polystore_kv::Result<()> {
        // A cookie can name what never was: that leaves no mark, or anybody could fill the store with them.
        if self.store.has(key).await? {
            let marked = self.store.set(&mark_of(key), &true).expires(ENDED_FOR);
            match marked.await {
                // A store that is full still lets go of what it has.
                Err(error) if error.kind() != ErrorKind::Full => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether it is this one value that is broken, and not the file, the table or the folder of all.
    async fn is_well(&self) -> bool {
        let nobodys = Id::default().to_string();
        self.store.entry(&nobodys).await.is_ok()
    }
}

/// Where it stands that a session was ended, if it must. No id has a dot.
fn mark_of(key: &str) -> String {
    format!("{key}.ended")
}

impl Default for Sessions {
    fn default() -> Self {
        // The dependency's feature is on.
        Self::new("memory:").expect("there is always memory")
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStore for Sessions {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        let Some(expires) = record::expires(record.expiry_date) else {
            return Ok(());
        };
        for _ in 0..TRIES {
            if self.ended.has(&record.id) {
                record.id = Id::default();
            }
            if self.insert(&record.id.to_string(), record, expires).await? {
                return Ok(());
            }
            record.id = Id::default();
        }
        Err(session_store::Error::Backend(format!(
            "{}: {TRIES} new ids in a row were taken: what the store answers cannot be true",
            self.store.kind()
        )))
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        let Some(expires) = record::expires(record.expiry_date) else {
            return self.delete(&record.id).await;
        };
        let key = record.id.to_string();
        let kept = record::Record::from(record);
        let saved = match self.store.replace(&key, &kept).expires(expires).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                self.replace_by_mark(&key, &kept, expires).await
            }
            // What is gone meanwhile was ended, or has expired.
            saved => saved.map(drop),
        };
        saved.map_err(|error| failure(error, &key))
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let key = id.to_string();
        let kept = match self.get(&key).await {
            Err(error) if error.is_data() && self.is_well().await => {
                let why = failure(error, &key);
                tracing::warn!(%why, "what is stored is no session, and counts as none");
                None
            }
            kept => kept.map_err(|error| failure(error, &key))?,
        };
        Ok(kept.and_then(|kept| kept.into_live(*id)))
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        let key = id.to_string();
        self.ended.remember(*id);
        let delete = async {
            if !self.has_replace().await? {
                self.leave_mark(&key).await?;
            }
            self.store.del(&key).await
        };
        delete.await.map_err(|error: Error| failure(error, &key))
    }
}

/// For programs that have it do that by the clock: stores drop expired sessions by themselves, so that nothing needs it.
#[async_trait]
impl ExpiredDeletion for Sessions {
    async fn delete_expired(&self) -> session_store::Result<()> {
        match self.store.prune().await {
            Err(error) if error.kind() != ErrorKind::Unsupported => Err(general_failure(error)),
            _ => Ok(()),
        }
    }
}

/// Its examples are tests.
#[cfg(doctest)]
mod readme {
    #![doc = include_str!("../README.md")]
}
