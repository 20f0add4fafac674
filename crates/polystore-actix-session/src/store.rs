//! The store, as actix-session asks for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_session::storage::{
    LoadError, SaveError, SessionKey, SessionStore, UpdateError, generate_session_key,
};
use actix_web::cookie::time;
use polystore_kv::{Error, ErrorKind, Expires, IntoStore, Result, Store, kv};

/// As actix-session has it: each value is JSON.
type State = HashMap<String, String>;

/// How long it is remembered that a session was ended: longer than the requests take that may still
/// be at work on it.
const ENDED_FOR: Duration = Duration::from_secs(3600);

/// A lifetime beyond this has no end. Stores have limits of their own to how far an instant may be.
const LONGEST: Duration = Duration::from_secs(1000 * 365 * 86_400);

/// How often a new id is tried. One of 381 random bits is free, unless the store is broken.
const TRIES: usize = 4;

/// The longest id. actix-session's are 64 characters.
const MAX_ID_BYTES: usize = 128;

/// A [`SessionStore`] in any key-value store.
///
/// A clone is the same store, for the other workers. What it keeps and promises is on the [page of the crate](crate).
///
/// ```
/// use polystore_actix_session::Sessions;
/// use polystore_kv::kv;
///
/// let sessions = Sessions::new(kv("memory:")?.prefix("session:"))?;
/// # let _ = sessions;
/// # Ok::<(), polystore_kv::Error>(())
/// ```
#[derive(Clone)]
pub struct Sessions {
    store: Store,
    /// Whether the store has an atomic `replace`, once that is known.
    replaces: Arc<OnceLock<bool>>,
}

impl Sessions {
    /// Sessions in `store`: anything that [`kv`](polystore_kv::kv()) takes.
    ///
    /// Nothing is opened yet. An expiry of the store's own has no say: each session has one.
    ///
    /// # Errors
    /// As [`kv`](polystore_kv::kv()): [`ErrorKind::InvalidOption`] for a URL that means nothing, and for a store whose feature
    /// of `polystore-kv` is not enabled.
    pub fn new(store: impl IntoStore) -> Result<Self> {
        Ok(Self {
            store: kv(store)?,
            replaces: Arc::default(),
        })
    }

    /// Puts `state` under an id that nothing else has.
    async fn create(&self, state: &State, expires: Expires) -> Result<SessionKey> {
        let mut failure = None;
        for _ in 0..TRIES {
            let key = generate_session_key();
            // An `insert` has nothing to say of what is over before it begins.
            if is_over(expires) {
                return Ok(key);
            }
            let id = key.as_ref();
            let inserted = self.store.insert(id, state).expires(expires).await;
            match inserted.map_err(|error| hidden(error, id)) {
                Ok(true) => return Ok(key),
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    let set = self.store.set(id, state).expires(expires).await;
                    set.map_err(|error| hidden(error, id))?;
                    return Ok(key);
                }
                // The connection was lost before it said whether it was done: nobody knows this id, and
                // another one is as good.
                Err(error) if error.is_maybe_applied() && error.kind() != ErrorKind::Timeout => {
                    failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            Error::new(
                ErrorKind::Unreachable,
                "the store says of each new id that it is taken",
            )
        }))
    }

    async fn has_replace(&self) -> Result<bool> {
        match self.replaces.get() {
            Some(replaces) => Ok(*replaces),
            None => {
                let replaces = self.store.capabilities().await?.replace;
                Ok(*self.replaces.get_or_init(|| replaces))
            }
        }
    }

    async fn get(&self, id: &str) -> Result<Option<State>> {
        let has_replace = self.has_replace().await?;
        let state = self.store.get(id).await?;
        // A change may have been cut off before it looked for the mark.
        if !has_replace && state.is_some() && self.store.has(&mark_of(id)).await? {
            self.store.del(id).await?;
            return Ok(None);
        }
        Ok(state)
    }

    /// Puts `state` in place of that of a session that is there.
    async fn replace(&self, id: &str, state: &State, expires: Expires) -> Result<Outcome> {
        match self.store.replace(id, state).expires(expires).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                self.look_and_set(id, state, expires).await
            }
            replaced => match replaced? {
                true => Ok(Outcome::Replaced),
                // The mark is there before the session is gone.
                false if self.store.has(&mark_of(id)).await? => Ok(Outcome::Ended),
                false => Ok(Outcome::Absent),
            },
        }
    }

    /// The same in a store that cannot write only where something is: a logout may come between looking and writing. It
    /// leaves a mark before it removes the session, and this looks for the mark after it has written: whichever
    /// comes last sees the other, and removes what must not be there.
    async fn look_and_set(&self, id: &str, state: &State, expires: Expires) -> Result<Outcome> {
        let is_there = self.store.has(id).await?;
        if is_there {
            self.store.set(id, state).expires(expires).await?;
        }
        if self.store.has(&mark_of(id)).await? {
            if is_there {
                self.store.del(id).await?;
            }
            return Ok(Outcome::Ended);
        }
        Ok(match is_there {
            true => Outcome::Replaced,
            false => Outcome::Absent,
        })
    }

    async fn renew(&self, id: &str, expires: Expires) -> Result<()> {
        match self.store.touch(id, expires).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                let Some(state) = self.get(id).await? else {
                    return Ok(());
                };
                self.replace(id, &state, expires).await.map(|_| ())
            }
            // What is gone meanwhile needs no longer life.
            renewed => renewed.map(|_| ()),
        }
    }

    async fn end(&self, id: &str) -> Result<()> {
        let marked = self.store.set(&mark_of(id), &true).expires(ENDED_FOR).await;
        match marked {
            // A store that is full still lets go of what it has.
            Err(error) if error.kind() != ErrorKind::Full => Err(error),
            _ => self.store.del(id).await,
        }
    }

    /// Whether it is one value that is broken, and not the file, the table or the folder of all.
    async fn is_well(&self) -> bool {
        let nobodys = generate_session_key();
        self.store.entry(nobodys.as_ref()).await.is_ok()
    }
}

/// What became of a change.
enum Outcome {
    Replaced,
    /// Nothing was there: it has expired.
    Absent,
    /// It was ended while this request was at work.
    Ended,
}

/// Sessions in the memory of this process. Each one that is made so is another memory: give the workers clones.
impl Default for Sessions {
    fn default() -> Self {
        // The feature is enabled by this crate.
        Self::new("memory:").expect("there is always a store in memory")
    }
}

/// Shows which kind of store it is, and no more: a prefix may name a tenant.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("kind", &self.store.kind())
            .finish_non_exhaustive()
    }
}

impl SessionStore for Sessions {
    async fn load(&self, session_key: &SessionKey) -> Result<Option<State>, LoadError> {
        let Some(id) = id_in(session_key) else {
            return Ok(None);
        };
        match self.get(id).await {
            // actix-session takes this one for an empty session.
            Err(error) if error.is_data() && self.is_well().await => {
                Err(LoadError::Deserialization(hidden(error, id).into()))
            }
            loaded => loaded.map_err(|error| LoadError::Other(hidden(error, id).into())),
        }
    }

    async fn save(
        &self,
        session_state: State,
        ttl: &time::Duration,
    ) -> Result<SessionKey, SaveError> {
        let saved = self.create(&session_state, lifetime(*ttl)).await;
        saved.map_err(|error| match error.kind() {
            ErrorKind::Encode => SaveError::Serialization(error.into()),
            _ => SaveError::Other(error.into()),
        })
    }

    async fn update(
        &self,
        session_key: SessionKey,
        session_state: State,
        ttl: &time::Duration,
    ) -> Result<SessionKey, UpdateError> {
        let expires = lifetime(*ttl);
        let updated = async {
            let outcome = match id_in(&session_key) {
                Some(id) => {
                    let replaced = self.replace(id, &session_state, expires).await;
                    replaced.map_err(|error| hidden(error, id))?
                }
                None => Outcome::Absent,
            };
            match outcome {
                Outcome::Replaced | Outcome::Ended => Ok(session_key),
                Outcome::Absent => self.create(&session_state, expires).await,
            }
        };
        updated.await.map_err(|error: Error| match error.kind() {
            ErrorKind::Encode => UpdateError::Serialization(error.into()),
            _ => UpdateError::Other(error.into()),
        })
    }

    async fn update_ttl(
        &self,
        session_key: &SessionKey,
        ttl: &time::Duration,
    ) -> Result<(), anyhow::Error> {
        match id_in(session_key) {
            Some(id) => {
                let renewed = self.renew(id, lifetime(*ttl)).await;
                renewed.map_err(|error| hidden(error, id).into())
            }
            None => Ok(()),
        }
    }

    async fn delete(&self, session_key: &SessionKey) -> Result<(), anyhow::Error> {
        match id_in(session_key) {
            Some(id) => {
                let ended = self.end(id).await;
                ended.map_err(|error| hidden(error, id).into())
            }
            None => Ok(()),
        }
    }
}

/// The id, if it may be one: what is none has no session, and no store is asked for it.
fn id_in(key: &SessionKey) -> Option<&str> {
    let id = key.as_ref();
    let is_id = (1..=MAX_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_id.then_some(id)
}

/// Where it stands that a session was ended. No id has a dot.
fn mark_of(id: &str) -> String {
    format!("{id}.ended")
}

fn lifetime(ttl: time::Duration) -> Expires {
    match Duration::try_from(ttl) {
        Ok(ttl) if ttl <= LONGEST => ttl.into(),
        Ok(_) => Expires::NEVER,
        // It is negative.
        Err(_) => Duration::ZERO.into(),
    }
}

fn is_over(expires: Expires) -> bool {
    expires.as_duration() == Some(Duration::ZERO)
}

/// The error, by which nobody who reads it can take the session over.
fn hidden(error: Error, id: &str) -> Error {
    let error = error.without_key();
    // No store of Polystore's names a key in a message or a cause; somebody else's may.
    let text = format!("{:#}", anyhow::Error::from(error.clone()));
    match text.contains(id) {
        true => in_words(&error, text.replace(id, "…")),
        false => error,
    }
}

/// The same failure, told by this text alone.
fn in_words(error: &Error, text: String) -> Error {
    let mut new = Error::new(error.kind(), text).retryable(error.is_retryable());
    if let Some(wait) = error.retry_after() {
        new = new.with_retry_after(wait);
    }
    match error.is_maybe_applied() {
        true => new.with_maybe_applied(),
        false => new,
    }
}
