//! A store for values of one type.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::expires::Expires;
use crate::get_or_set::GetOrSet;
use crate::store::Store;
use crate::stream::Entries;
use crate::write::Write;

/// A [`Store`] whose values are all of type `T`, so that no call has to name it.
///
/// Made by [`Store::typed`]. Methods that have nothing to do with the values, and those
/// for raw entries, are on the [`store`](Self::store) itself.
///
/// ```
/// use polystore_kv::{kv, TypedStore};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct User { name: String }
///
/// # futures_executor::block_on(async {
/// let users: TypedStore<User> = kv("memory:")?.prefix("user:").typed();
/// users.set("1", &User { name: "Ada".into() }).expires("1h").await?;
/// assert_eq!(users.get("1").await?.expect("just set").name, "Ada");
/// # Ok::<(), polystore_kv::Error>(())
/// # }).unwrap();
/// ```
pub struct TypedStore<T> {
    store: Store,
    _values: PhantomData<fn(&T) -> T>,
}

impl<T> TypedStore<T> {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            _values: PhantomData,
        }
    }

    /// The same store without the type.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// As [`Store::prefix`].
    #[must_use]
    pub fn prefix(&self, prefix: impl AsRef<str>) -> Self {
        Self::new(self.store.prefix(prefix))
    }

    /// As [`Store::expires`].
    #[must_use]
    pub fn expires<E>(&self, expires: E) -> Self
    where
        E: TryInto<Expires, Error: Into<Error>>,
    {
        Self::new(self.store.expires(expires))
    }

    /// As [`Store::has`].
    ///
    /// # Errors
    /// As [`Store::has`].
    pub async fn has(&self, key: &str) -> Result<bool> {
        self.store.has(key).await
    }

    /// As [`Store::del`].
    ///
    /// # Errors
    /// As [`Store::del`].
    pub async fn del(&self, key: &str) -> Result<()> {
        self.store.del(key).await
    }

    /// As [`Store::ttl`].
    ///
    /// # Errors
    /// As [`Store::ttl`].
    pub async fn ttl(&self, key: &str) -> Result<Option<Expires>> {
        self.store.ttl(key).await
    }

    /// As [`Store::touch`].
    ///
    /// # Errors
    /// As [`Store::touch`].
    pub fn touch<E>(
        &self,
        key: &str,
        expires: E,
    ) -> impl Future<Output = Result<bool>> + Send + use<'_, T, E>
    where
        E: TryInto<Expires, Error: Into<Error>>,
    {
        self.store.touch(key, expires)
    }

    /// As [`Store::del_many`].
    ///
    /// # Errors
    /// As [`Store::del_many`].
    pub fn del_many(
        &self,
        keys: impl IntoIterator<Item: AsRef<str>>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.store.del_many(keys)
    }

    /// As [`Store::keys`].
    ///
    /// # Errors
    /// As [`Store::keys`].
    pub async fn keys(&self) -> Result<Vec<String>> {
        self.store.keys().await
    }

    /// As [`Store::clear`].
    ///
    /// # Errors
    /// As [`Store::clear`].
    pub async fn clear(&self) -> Result<()> {
        self.store.clear().await
    }

    /// As [`Store::prune`].
    ///
    /// # Errors
    /// As [`Store::prune`].
    pub async fn prune(&self) -> Result<u64> {
        self.store.prune().await
    }

    /// As [`Store::close`].
    ///
    /// # Errors
    /// As [`Store::close`].
    pub async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}

impl<T: Serialize> TypedStore<T> {
    /// As [`Store::set`].
    pub fn set(&self, key: &str, value: &T) -> Write<'_, ()> {
        self.store.set(key, value)
    }

    /// As [`Store::add`].
    pub fn add(&self, value: &T) -> Write<'_, String> {
        self.store.add(value)
    }

    /// As [`Store::insert`].
    pub fn insert(&self, key: &str, value: &T) -> Write<'_, bool> {
        self.store.insert(key, value)
    }

    /// As [`Store::replace`].
    pub fn replace(&self, key: &str, value: &T) -> Write<'_, bool> {
        self.store.replace(key, value)
    }

    /// As [`Store::set_many`].
    pub fn set_many<'v, K>(&self, entries: impl IntoIterator<Item = (K, &'v T)>) -> Write<'_, ()>
    where
        K: AsRef<str>,
        T: 'v,
    {
        self.store.set_many(entries)
    }
}

impl<T: Serialize + DeserializeOwned> TypedStore<T> {
    /// As [`Store::get_or_set`].
    pub fn get_or_set<'a, F, Fut, E>(&'a self, key: &str, compute: F) -> GetOrSet<'a, T>
    where
        F: FnOnce() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.store.get_or_set(key, compute)
    }
}

impl<T: DeserializeOwned> TypedStore<T> {
    /// As [`Store::get`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn get(&self, key: &str) -> Result<Option<T>> {
        self.store.get(key).await
    }

    /// As [`Store::get_many`].
    ///
    /// # Errors
    /// As [`Store::get_many`].
    pub fn get_many(
        &self,
        keys: impl IntoIterator<Item: AsRef<str>>,
    ) -> impl Future<Output = Result<BTreeMap<String, T>>> + Send {
        self.store.get_many(keys)
    }

    /// As [`Store::values`].
    ///
    /// # Errors
    /// As [`Store::values`].
    pub async fn values(&self) -> Result<Vec<T>> {
        self.store.values().await
    }

    /// As [`Store::entries`].
    ///
    /// # Errors
    /// As [`Store::entries`].
    pub async fn entries(&self) -> Result<Vec<(String, T)>> {
        self.store.entries().await
    }

    /// As [`Store::all`].
    ///
    /// # Errors
    /// As [`Store::all`].
    pub async fn all(&self) -> Result<BTreeMap<String, T>> {
        self.store.all().await
    }

    /// As [`Store::stream`].
    pub fn stream(&self) -> Entries<T> {
        self.store.stream()
    }
}

impl<T> Clone for TypedStore<T> {
    fn clone(&self) -> Self {
        Self::new(self.store.clone())
    }
}

impl<T> fmt::Debug for TypedStore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}
