//! Values that are computed when they are not there: once, for all who ask meanwhile.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};
use crate::expires::Expires;
use crate::flights::Flight;
use crate::json;
use crate::lazy::BoxError;
use crate::store::Store;

/// A value that is read, or computed and set, when it is awaited: what
/// [`Store::get_or_set`] returns.
#[must_use = "nothing is read or computed until it is awaited"]
pub struct GetOrSet<'a, T> {
    store: &'a Store,
    state: State<'a, T>,
}

enum State<'a, T> {
    Waiting(Request<'a>),
    Running(BoxFuture<'a, Result<T>>),
    Done,
}

struct Request<'a> {
    /// As the backend has it.
    key: String,
    compute: Compute<'a>,
    expires: Option<Result<Expires>>,
    stale_for: Option<Result<Expires>>,
}

/// Gives the JSON text of the value.
type Compute<'a> = Box<dyn FnOnce() -> BoxFuture<'static, Result<Arc<str>>> + Send + 'a>;

impl<'a, T: Serialize + DeserializeOwned> GetOrSet<'a, T> {
    pub(crate) fn new<F, Fut, E>(store: &'a Store, key: &str, compute: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let compute = || {
            let computing = compute();
            async move { json::encode(&computing.await.map_err(not_computed)?) }.boxed()
        };
        Self {
            store,
            state: State::Waiting(Request {
                key: store.full_key(key).into_owned(),
                compute: Box::new(compute),
                expires: None,
                stale_for: None,
            }),
        }
    }

    /// How long the value stays fresh, instead of the store's own default: takes what
    /// [`Expires`] is made of. What is not in the future means that nothing is kept.
    pub fn expires<E>(self, expires: E) -> Self
    where
        E: TryInto<Expires, Error: Into<Error>>,
    {
        self.edit(|request| request.expires = Some(expires.try_into().map_err(Into::into)))
    }

    /// How long after that the value is kept, and given while it is computed anew: by one of those who ask, who
    /// waits for it, while the others get the old one at once. If computing fails, the old one is given, and a
    /// warning logged.
    ///
    /// The value's [`ttl`](Store::ttl) is then the sum of both times. The store must be able to tell it
    /// ([`Capabilities::ttl`](crate::Capabilities::ttl)), and the time is to be the same wherever the key is asked for.
    pub fn stale_for<E>(self, expires: E) -> Self
    where
        E: TryInto<Expires, Error: Into<Error>>,
    {
        self.edit(|request| request.stale_for = Some(expires.try_into().map_err(Into::into)))
    }

    fn edit(mut self, edit: impl FnOnce(&mut Request<'a>)) -> Self {
        if let State::Waiting(request) = &mut self.state {
            edit(request);
        }
        self
    }
}

impl<T: Serialize + DeserializeOwned> Future for GetOrSet<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut future = match std::mem::replace(&mut this.state, State::Done) {
            State::Waiting(request) => {
                let store = this.store;
                let key = request.key.clone();
                let found = async move {
                    let found = find(store, request).await;
                    let value = found.and_then(|entry| entry.decode());
                    value.map_err(store.shared.explain("get_or_set", Some(&key)))
                };
                found.boxed()
            }
            State::Running(future) => future,
            // As with any future that is polled after it was done.
            State::Done => return Poll::Pending,
        };
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            this.state = State::Running(future);
        }
        polled
    }
}

impl<T> fmt::Debug for GetOrSet<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetOrSet").finish_non_exhaustive()
    }
}

/// How long a value is kept.
#[derive(Clone, Copy)]
struct Lifetime {
    /// Nothing: it is not kept at all.
    kept: Option<Expires>,
    /// How much of that it is stale.
    stale: Duration,
}

impl Lifetime {
    fn new(fresh: Expires, stale_for: Option<Expires>) -> Result<Self> {
        let stale = stale_for.map_or(Some(Duration::ZERO), Expires::as_duration);
        let Some(stale) = stale else {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                "stale_for is how long a stale value is kept, so it cannot be never",
            ));
        };
        let kept = match fresh.as_duration() {
            _ if fresh.to_expiry()?.is_none() => None,
            None => Some(fresh),
            Some(fresh) => Some(Expires::from(fresh.saturating_add(stale))),
        };
        Ok(Self { kept, stale })
    }

    fn is_stale(&self, entry: &Entry) -> Result<bool> {
        match entry.expiry() {
            _ if self.stale.is_zero() => Ok(false),
            Expiry::Never => Ok(false),
            Expiry::At(at) => Ok(at.duration_from_now() <= self.stale),
            Expiry::Unread => Err(Error::unsupported(
                "say how long a value stays, which stale_for needs",
            )),
        }
    }
}

async fn find(store: &Store, request: Request<'_>) -> Result<Entry> {
    let fresh = request.expires.unwrap_or_else(|| store.default_expires())?;
    let lifetime = Lifetime::new(fresh, request.stale_for.transpose()?)?;
    let key = request.key;
    let old = match live(store, &key, &lifetime).await? {
        Some((entry, false)) => return Ok(entry),
        Some((entry, true)) => Some(entry),
        None => None,
    };
    let seat = store.shared.flights.board(&key);
    let flight = &seat.flight;
    if let Some(old) = &old
        && flight.attempt.is_under_way()
    {
        return Ok(old.clone());
    }
    let begin = || {
        flight.begin();
        let (store, key, flight) = (store.clone(), key.clone(), Arc::clone(flight));
        let panicked = |_| Error::new(ErrorKind::Compute, "computing the value panicked");
        // One that panics must not take the others along, wherever it does.
        let computing = catch_unwind(AssertUnwindSafe(request.compute)).map_err(panicked);
        let renewing = async move { renew(&store, &key, &lifetime, &flight, computing?).await };
        let renewing = AssertUnwindSafe(renewing).catch_unwind();
        renewing
            .map(move |done| done.map_err(panicked).flatten())
            .boxed()
    };
    let renewed = flight.attempt.join(|| None, begin, |_| ()).await;
    match (renewed, old) {
        (Err(error), Some(old)) => {
            tracing::warn!(
                backend = &*store.kind(),
                kind = ?error.kind(),
                "a stale value could not be computed anew"
            );
            Ok(old)
        }
        (renewed, _) => renewed,
    }
}

/// What is there, and whether it is stale.
async fn live(store: &Store, key: &str, lifetime: &Lifetime) -> Result<Option<(Entry, bool)>> {
    let found = match lifetime.stale.is_zero() {
        true => store.live(key).await?,
        false => store.exact("get_or_set", key).await?,
    };
    match found {
        Some(entry) => Ok(Some(lifetime.is_stale(&entry).map(|stale| (entry, stale))?)),
        None => Ok(None),
    }
}

/// What whoever came first does for all of them.
async fn renew(
    store: &Store,
    key: &str,
    lifetime: &Lifetime,
    flight: &Flight,
    computing: BoxFuture<'static, Result<Arc<str>>>,
) -> Result<Entry> {
    // Somebody may have set it since they looked.
    let stale = match live(store, key, lifetime).await? {
        Some((entry, false)) => return Ok(entry),
        stale => stale.map(|(entry, _)| entry),
    };
    let json = computing.await?;
    let expiry = lifetime.kept.map(Expires::to_expiry).transpose()?.flatten();
    let entry = Entry::from_stored(json, expiry.unwrap_or(Expiry::Never));
    store.shared.check_open()?;
    if !flight.lands() {
        return Ok(entry);
    }
    let backend = &store.shared.backend;
    let kept = if expiry.is_some() && !entry.is_null() {
        match backend.set_now(key, entry.clone()) {
            Ok(done) => done,
            Err(entry) => backend.set(key, entry).await,
        }
    } else if let Some(stale) = stale {
        // Null is no value, and what is not kept does not leave an older one: it is computed each time.
        match backend.evict(key, &stale).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
            evicted => evicted.map(drop),
        }
    } else {
        Ok(())
    };
    match kept {
        // It was computed all the same, and whoever asked wants the value.
        Err(error) if !error.is_usage() || error.kind() == ErrorKind::InvalidValue => {
            tracing::warn!(
                backend = &*store.kind(),
                kind = ?error.kind(),
                "a value was computed but could not be kept"
            );
        }
        kept => kept?,
    }
    Ok(entry)
}

fn not_computed<E: Into<BoxError>>(error: E) -> Error {
    match error.into().downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(ErrorKind::Compute, "the value could not be computed")
            .with_boxed_source(error),
    }
}
