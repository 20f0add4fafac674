//! Writes that wait to be awaited.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::expires::Expires;
use crate::flights::Changed;
use crate::json;
use crate::store::{Store, expiry_or_now};

/// A write that happens when it is awaited: what [`set`](Store::set),
/// [`add`](Store::add), [`insert`](Store::insert), [`replace`](Store::replace) and
/// [`set_many`](Store::set_many) return.
///
/// It is a future (so `join_all` takes it) that owns its key and its encoded value and
/// borrows only the store. Dropped before it is done, it leaves the old value or the new.
#[must_use = "nothing is written until it is awaited"]
pub struct Write<'a, T> {
    store: &'a Store,
    operation: &'static str,
    expires: Option<Result<Expires>>,
    state: State<'a, T>,
}

enum State<'a, T> {
    Waiting(Result<Request>, Start<'a, T>),
    Running(BoxFuture<'a, Result<T>>),
    Done,
}

/// What to write. Keys are as the backend has them.
enum Request {
    One(String, Arc<str>),
    Many(Vec<(String, Arc<str>)>),
}

type Start<'a, T> = fn(&'a Store, Request, Expires) -> Result<Started<'a, T>>;

enum Started<'a, T> {
    Done(T),
    Running(BoxFuture<'a, Result<T>>),
}

impl<'a> Write<'a, ()> {
    pub(crate) fn set<V: Serialize + ?Sized>(store: &'a Store, key: &str, value: &V) -> Self {
        Self::new(store, "set", one(store, key, value), start_set)
    }

    pub(crate) fn set_many<K: AsRef<str>, V: Serialize>(
        store: &'a Store,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self::new(store, "set_many", many(store, entries), start_set)
    }
}

impl<'a> Write<'a, String> {
    pub(crate) fn add<V: Serialize + ?Sized>(store: &'a Store, value: &V) -> Self {
        Self::new(store, "add", one(store, "", value), start_add)
    }
}

impl<'a> Write<'a, bool> {
    pub(crate) fn insert<V: Serialize + ?Sized>(store: &'a Store, key: &str, value: &V) -> Self {
        Self::new(store, "insert", one(store, key, value), start_insert)
    }

    pub(crate) fn replace<V: Serialize + ?Sized>(store: &'a Store, key: &str, value: &V) -> Self {
        Self::new(store, "replace", one(store, key, value), start_replace)
    }
}

impl<'a, T> Write<'a, T> {
    fn new(
        store: &'a Store,
        operation: &'static str,
        request: Result<Request>,
        start: Start<'a, T>,
    ) -> Self {
        Self {
            store,
            operation,
            expires: None,
            state: State::Waiting(request, start),
        }
    }

    /// Lets the value expire, instead of the store's own default: takes what
    /// [`Expires`] is made of. An invalid one is the error of this write.
    pub fn expires<E>(mut self, expires: E) -> Self
    where
        E: TryInto<Expires, Error: Into<Error>>,
    {
        self.expires = Some(expires.try_into().map_err(Into::into));
        self
    }

    fn start(&mut self, request: Result<Request>, start: Start<'a, T>) -> Result<Started<'a, T>> {
        let request = request?;
        let name = |error: Error| match &request {
            Request::One(key, _) => error.with_key(key),
            Request::Many(_) => error,
        };
        self.store.shared.check_open().map_err(name)?;
        let expires = self.expires.take();
        let expires = expires.unwrap_or_else(|| self.store.default_expires());
        let expires = expires.map_err(name)?;
        start(self.store, request, expires)
    }
}

impl<T> Future for Write<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.state, State::Done) {
                State::Waiting(request, start) => match this.start(request, start) {
                    Ok(Started::Done(done)) => return Poll::Ready(Ok(done)),
                    Ok(Started::Running(future)) => this.state = State::Running(future),
                    Err(error) => {
                        // What is added has no key yet.
                        let error = match this.operation {
                            "add" => error.without_key(),
                            _ => error,
                        };
                        let explain = this.store.shared.explain(this.operation, None);
                        return Poll::Ready(Err(explain(error)));
                    }
                },
                State::Running(mut future) => {
                    let polled = future.as_mut().poll(cx);
                    if polled.is_pending() {
                        this.state = State::Running(future);
                    }
                    return polled;
                }
                // As with any future that is polled after it was done.
                State::Done => return Poll::Pending,
            }
        }
    }
}

fn one<V: Serialize + ?Sized>(store: &Store, key: &str, value: &V) -> Result<Request> {
    let key = store.full_key(key).into_owned();
    match json::encode(value) {
        Ok(json) => Ok(Request::One(key, json)),
        Err(error) => Err(error.with_key(&key)),
    }
}

fn many<K: AsRef<str>, V: Serialize>(
    store: &Store,
    entries: impl IntoIterator<Item = (K, V)>,
) -> Result<Request> {
    let mut places = HashMap::new();
    let mut requests: Vec<(String, Arc<str>)> = Vec::new();
    for (key, value) in entries {
        let key = store.full_key(key.as_ref()).into_owned();
        let json = json::encode(&value).map_err(|error| error.with_key(&key))?;
        // Of two under one key the later wins, so backends never see both.
        if let Some(place) = places.get(&key) {
            let request: &mut (String, Arc<str>) = &mut requests[*place];
            request.1 = json;
        } else {
            places.insert(key.clone(), requests.len());
            requests.push((key, json));
        }
    }
    Ok(Request::Many(requests))
}

fn is_null(json: &str) -> bool {
    json == "null"
}

fn start_set(store: &Store, request: Request, expires: Expires) -> Result<Started<'_, ()>> {
    match request {
        Request::One(key, json) => start_set_one(store, key, json, expires),
        Request::Many(requests) => start_set_many(store, requests, expires),
    }
}

fn start_set_one(
    store: &Store,
    key: String,
    json: Arc<str>,
    expires: Expires,
) -> Result<Started<'_, ()>> {
    let backend = &store.shared.backend;
    let expiry = match expires.to_expiry() {
        Ok(expiry) => expiry.filter(|_| !is_null(&json)),
        Err(error) => return Err(error.with_key(&key)),
    };
    let Some(expiry) = expiry else {
        return Ok(Started::Running(Box::pin(async move {
            let deleted = store
                .shared
                .changing(Changed::One(&key))
                .await
                .del(&key)
                .await;
            deleted.map_err(store.shared.explain("set", Some(&key)))
        })));
    };
    let entry = Entry::from_stored(json, expiry);
    let flights = &store.shared.flights;
    let set = match flights.have_made_way(&Changed::One(&key)) {
        true => backend.set_now(&key, entry),
        false => Err(entry),
    };
    match set {
        Ok(done) => {
            // What has begun since then.
            flights.have_made_way(&Changed::One(&key));
            match done {
                Ok(()) => Ok(Started::Done(())),
                Err(error) => Err(store.shared.explain("set", Some(&key))(error)),
            }
        }
        Err(entry) => Ok(Started::Running(Box::pin(async move {
            let set = store
                .shared
                .changing(Changed::One(&key))
                .await
                .set(&key, entry)
                .await;
            set.map_err(store.shared.explain("set", Some(&key)))
        }))),
    }
}

fn start_set_many(
    store: &Store,
    requests: Vec<(String, Arc<str>)>,
    expires: Expires,
) -> Result<Started<'_, ()>> {
    let expiry = expires.to_expiry()?;
    let mut gone = Vec::new();
    let mut entries = Vec::new();
    for (key, json) in requests {
        match expiry {
            Some(expiry) if !is_null(&json) => {
                entries.push((key, Entry::from_stored(json, expiry)));
            }
            _ => gone.push(key),
        }
    }
    Ok(Started::Running(Box::pin(async move {
        let set_many = async {
            let names = entries.iter().map(|(key, _)| key).chain(&gone);
            let changed = store.shared.flights.keys(names);
            let backend = store.shared.changing(changed).await;
            if !entries.is_empty() {
                backend.set_many(entries).await?;
            }
            if !gone.is_empty() {
                backend.del_many(&gone).await?;
            }
            Ok(())
        };
        set_many
            .await
            .map_err(Error::of_many)
            .map_err(store.shared.explain("set_many", None))
    })))
}

fn start_add(store: &Store, request: Request, expires: Expires) -> Result<Started<'_, String>> {
    let (prefix, entry) = some_entry(request, expires)?;
    Ok(Started::Running(Box::pin(async move {
        let added = store.shared.backend.add(&prefix, entry).await;
        let mut key = added.map_err(store.shared.explain("add", None))?;
        if !key.starts_with(&prefix) {
            let error = Error::new(
                ErrorKind::Unreachable,
                "the backend made a key outside of this substore",
            );
            return Err(store.shared.explain("add", Some(&key))(error));
        }
        Ok(key.split_off(prefix.len()))
    })))
}

fn start_insert(store: &Store, request: Request, expires: Expires) -> Result<Started<'_, bool>> {
    let (key, entry) = some_entry(request, expires)?;
    Ok(Started::Running(Box::pin(async move {
        let inserted = store
            .shared
            .changing(Changed::One(&key))
            .await
            .insert(&key, entry)
            .await;
        inserted.map_err(store.shared.explain("insert", Some(&key)))
    })))
}

fn start_replace(store: &Store, request: Request, expires: Expires) -> Result<Started<'_, bool>> {
    let (key, entry) = some_entry(request, expires)?;
    Ok(Started::Running(Box::pin(async move {
        let replaced = store
            .shared
            .changing(Changed::One(&key))
            .await
            .replace(&key, entry)
            .await;
        replaced.map_err(store.shared.explain("replace", Some(&key)))
    })))
}

/// The one entry of a write that has to have a value.
fn some_entry(request: Request, expires: Expires) -> Result<(String, Entry)> {
    let Request::One(key, json) = request else {
        unreachable!("only set_many makes a request of many");
    };
    if is_null(&json) {
        return Err(Error::new(
            ErrorKind::InvalidValue,
            "null is not a value: there would be nothing under the key",
        )
        .with_key(&key));
    }
    let expiry = expiry_or_now(expires).map_err(|error| error.with_key(&key))?;
    Ok((key, Entry::from_stored(json, expiry)))
}

impl<T> fmt::Debug for Write<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write")
            .field("operation", &self.operation)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
