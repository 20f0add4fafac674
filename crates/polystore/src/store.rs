//! The handle that users hold.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::{Backend, Capabilities, Scan};
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::expires::Expires;
use crate::flights::{Changed, Changing, Flights};
use crate::get_or_set::GetOrSet;
use crate::lazy::BoxError;
use crate::stream::{Entries, RawEntries};
use crate::typed::TypedStore;
use crate::write::Write;

/// A key-value store: the same methods on whatever keeps the data.
///
/// Made by [`kv`](crate::kv()). A clone is cheap and is the same store; so are the
/// substores that [`prefix`](Self::prefix) and [`expires`](Self::expires) make, which
/// share the connection. Methods may be called from any task, thread and runtime.
///
/// Values are whatever serde turns into JSON. Numbers keep their precision. `null` (so
/// `None` and `()` too) is not a value: setting it deletes. Bytes become an array of numbers,
/// about four times as long: keep them as text, in base64 say.
///
/// # Errors
///
/// Every method fails with a [connection error](Error::is_connection) if the store cannot
/// be reached or used, and with [`ErrorKind::Closed`] after [`close`](Self::close). A key
/// that the store cannot hold is [`ErrorKind::InvalidKey`]; most stores take any. What
/// else a method can fail with is listed there.
///
/// # Examples
///
/// ```
/// use polystore_kv::kv;
/// # futures_executor::block_on(async {
/// let store = kv("memory:")?;
/// store.set("greeting", "hello").await?;
/// assert_eq!(store.get::<String>("greeting").await?.as_deref(), Some("hello"));
///
/// let users = store.prefix("user:").expires("1 day");
/// users.set("1", &("Ada", 36)).await?;
/// assert_eq!(store.keys().await?, ["greeting", "user:1"]);
/// # Ok::<(), polystore_kv::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    prefix: Arc<str>,
    expires: Option<Result<Expires>>,
}

/// What a store and its substores have in common.
pub(crate) struct Shared {
    pub(crate) backend: Arc<dyn Backend>,
    closed: AtomicBool,
    pub(crate) flights: Flights,
}

impl Shared {
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::closed());
        }
        Ok(())
    }

    /// The backend, to be held while it makes a change: no value that is being computed meanwhile is kept.
    pub(crate) fn changing<'a>(
        &'a self,
        changed: Changed<'a>,
    ) -> impl Future<Output = Changing<'a>> {
        self.flights.changing(&*self.backend, changed)
    }

    /// Completes an error with where it happened.
    pub(crate) fn explain(
        &self,
        operation: &'static str,
        key: Option<&str>,
    ) -> impl FnOnce(Error) -> Error {
        move |error| error.at(self.backend.info().kind, operation, key)
    }
}

impl Store {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            shared: Arc::new(Shared {
                backend,
                closed: AtomicBool::new(false),
                flights: Flights::default(),
            }),
            prefix: Arc::from(""),
            expires: None,
        }
    }

    /// Whether this is a store as `kv` made it: no substore, no expiry of its own.
    pub(crate) fn is_plain(&self) -> bool {
        self.prefix.is_empty() && self.expires.is_none()
    }

    /// The key as the [`backend`](Self::backend) has it: after the prefix.
    ///
    /// ```
    /// # use polystore_kv::kv;
    /// let store = kv("memory:")?.prefix("shop:");
    /// assert_eq!(store.prefix("user:").full_key("1"), "shop:user:1");
    /// # Ok::<(), polystore_kv::Error>(())
    /// ```
    #[must_use]
    pub fn full_key<'k>(&self, key: &'k str) -> Cow<'k, str> {
        if self.prefix.is_empty() {
            return Cow::Borrowed(key);
        }
        let mut joined = String::with_capacity(self.prefix.len() + key.len());
        joined.push_str(&self.prefix);
        joined.push_str(key);
        Cow::Owned(joined)
    }

    /// What a write without an expiry of its own uses.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] if [`expires`](Self::expires) was given what means nothing.
    pub fn default_expires(&self) -> Result<Expires> {
        self.expires.clone().unwrap_or(Ok(Expires::NEVER))
    }

    /// The part of the store whose keys begin with `prefix`, literally. Keys are given
    /// and returned without it. Prefixes stack.
    ///
    /// ```
    /// # use polystore_kv::kv;
    /// # futures_executor::block_on(async {
    /// let store = kv("memory:")?;
    /// let admins = store.prefix("user:").prefix("admin:");
    /// admins.set("ada", &1).await?;
    /// assert_eq!(store.keys().await?, ["user:admin:ada"]);
    /// assert_eq!(admins.keys().await?, ["ada"]);
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn prefix(&self, prefix: impl AsRef<str>) -> Self {
        Self {
            prefix: self.full_key(prefix.as_ref()).into(),
            ..self.clone()
        }
    }

    /// The same store with an expiry for every write that names none of its own.
    ///
    /// Takes what [`Expires`] is made of. An invalid one is reported by each write, as
    /// [`ErrorKind::InvalidOption`], and by [`default_expires`](Self::default_expires) at once.
    ///
    /// ```
    /// # use polystore_kv::kv;
    /// # futures_executor::block_on(async {
    /// let cache = kv("memory:")?.expires("10min");
    /// cache.set("a", &1).await?;                   // 10 minutes
    /// cache.set("b", &2).expires("never").await?;  // stays
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn expires<E>(&self, expires: E) -> Self
    where
        E: TryInto<Expires, Error: Into<Error>>,
    {
        Self {
            expires: Some(expires.try_into().map_err(Into::into)),
            ..self.clone()
        }
    }

    /// The same store for values of one type.
    #[must_use]
    pub fn typed<T>(&self) -> TypedStore<T> {
        TypedStore::new(self.clone())
    }

    /// The value under `key`, or `None` if it was never set, was deleted or has expired.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] if the value is no `T`; [`ErrorKind::Corrupt`] if what is
    /// there is not a value of this store.
    ///
    /// ```
    /// # use polystore_kv::{kv, ErrorKind};
    /// # futures_executor::block_on(async {
    /// let store = kv("memory:")?;
    /// store.set("age", &36).await?;
    /// assert_eq!(store.get::<u32>("age").await?, Some(36));
    /// assert_eq!(store.get::<u32>("height").await?, None);
    /// assert_eq!(store.get::<String>("age").await.unwrap_err().kind(), ErrorKind::Decode);
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let key = self.full_key(key);
        let value = match self.live(&key).await {
            Ok(None) => return Ok(None),
            Ok(Some(entry)) => entry.decode().map(Some),
            Err(error) => Err(error),
        };
        value.map_err(self.shared.explain("get", Some(&key)))
    }

    pub(crate) async fn live(&self, key: &str) -> Result<Option<Entry>> {
        self.shared.check_open()?;
        let backend = &self.shared.backend;
        let entry = match backend.get_now(key) {
            Some(entry) => entry?,
            None => backend.get(key).await?,
        };
        // Somebody else may have stored a null; here it stands for no value.
        Ok(entry.filter(|entry| !entry.is_expired() && !entry.is_null()))
    }

    /// Puts `value` under `key`, in place of what was there, expiry included.
    ///
    /// Nothing happens until the builder is awaited. The value is encoded at once: what
    /// changes later is not stored. `null` (so `None` and `()`), and an expiry that is
    /// not in the future, delete the key.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] if the value has no JSON form (NaN, infinities, maps with
    /// keys that are no text, more than 127 levels of nesting);
    /// [`ErrorKind::InvalidOption`] for a bad expiry; [`ErrorKind::InvalidValue`] if it
    /// is larger than the store can hold.
    ///
    /// ```
    /// # use polystore_kv::kv;
    /// # futures_executor::block_on(async {
    /// let store = kv("memory:")?;
    /// store.set("user:1", &("Ada", 36)).expires("1h").await?;
    /// store.set("user:1", &None::<()>).await?;
    /// assert!(!store.has("user:1").await?);
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Write<'_, ()> {
        Write::set(self, key, value)
    }

    /// Puts `value` under a new key and gives that key, without the prefix.
    ///
    /// The key is 24 characters of `[A-Za-z0-9]`, each drawn uniformly from the OS's
    /// randomness (142 bits), unless the store makes its own.
    ///
    /// # Errors
    /// As [`set`](Self::set); [`ErrorKind::InvalidValue`] for `null`.
    ///
    /// ```
    /// # use polystore_kv::kv;
    /// # futures_executor::block_on(async {
    /// let store = kv("memory:")?;
    /// let key = store.add("hello").expires("1h").await?;
    /// assert_eq!(store.get::<String>(&key).await?.as_deref(), Some("hello"));
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn add<T: Serialize + ?Sized>(&self, value: &T) -> Write<'_, String> {
        Write::add(self, value)
    }

    /// Puts `value` under `key` only if nothing live is there, and says whether it did.
    ///
    /// Atomic in the store: of any number of tasks, threads and processes that race for
    /// a key, one gets `true`. It is never emulated, and never sent twice.
    ///
    /// # Errors
    /// As [`set`](Self::set); [`ErrorKind::InvalidValue`] for `null`;
    /// [`ErrorKind::Unsupported`] if the store cannot do it atomically
    /// ([`Capabilities::insert`]).
    ///
    /// ```
    /// # use polystore_kv::kv;
    /// # futures_executor::block_on(async {
    /// let locks = kv("memory:")?.prefix("lock:").expires("30s");
    /// assert!(locks.insert("report", "worker-1").await?);
    /// assert!(!locks.insert("report", "worker-2").await?);
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn insert<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Write<'_, bool> {
        Write::insert(self, key, value)
    }

    /// Puts `value` under `key` only if something live is there, and says whether anything was.
    ///
    /// Atomic in the store, and never emulated: what another task or process deletes meanwhile does not come back. As with [`set`](Self::set), the
    /// value has the expiry of this write (or the store's default), not that of what it replaces; one that is
    /// over deletes.
    ///
    /// # Errors
    /// As [`set`](Self::set); [`ErrorKind::InvalidValue`] for `null`;
    /// [`ErrorKind::Unsupported`] if the store cannot do it atomically
    /// ([`Capabilities::replace`]).
    ///
    /// ```
    /// # use polystore_kv::kv;
    /// # futures_executor::block_on(async {
    /// let drafts = kv("memory:")?.prefix("draft:");
    /// drafts.set("ada", "Dear all").await?;
    /// assert!(drafts.replace("ada", "Dear all,").expires("1d").await?);
    /// drafts.del("ada").await?;
    /// // It was sent meanwhile: a late change does not bring it back.
    /// assert!(!drafts.replace("ada", "Dear all, I").await?);
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn replace<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Write<'_, bool> {
        Write::replace(self, key, value)
    }

    /// The value under `key`, or what `compute` gives, which is then set: a cache.
    ///
    /// However many tasks of this process ask at once, on this store and its substores, one computation runs
    /// and all of them get its value; another process may compute it too. Whoever came first goes through with it,
    /// and if that one is dropped, another who waits goes on with the same computation. If it fails or panics, all who
    /// wait get that error, nothing is kept, and the next one who asks tries again. `null` (so `None` and `()`) is not kept either.
    /// What this store, its clones and substores set, delete or clear meanwhile stays so: the value is then given to those who had asked
    /// before, and not kept. So it is if keeping it fails, with a warning by `tracing`.
    ///
    /// A computation that asks for its own key waits for itself for good.
    ///
    /// # Errors
    /// [`ErrorKind::Compute`] with what `compute` failed with as its source, or the very [`Error`] of this crate
    /// that it gave; as [`get`](Self::get). [`ErrorKind::InvalidKey`] and other [errors of usage](Error::is_usage) as [`set`](Self::set).
    ///
    /// ```
    /// # use polystore_kv::kv;
    /// # async fn weather_in(city: String) -> std::io::Result<String> { Ok(format!("rain in {city}")) }
    /// # futures_executor::block_on(async {
    /// let cache = kv("memory:")?.prefix("weather:");
    /// let city = "Tarragona".to_owned();
    /// let weather = cache
    ///     .get_or_set("tarragona", || weather_in(city))
    ///     .expires("10min")
    ///     .stale_for("1h")
    ///     .await?;
    /// assert_eq!(weather, "rain in Tarragona");
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn get_or_set<'a, T, F, Fut, E>(&'a self, key: &str, compute: F) -> GetOrSet<'a, T>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        GetOrSet::new(self, key, compute)
    }

    /// Whether there is a value under `key`.
    ///
    /// # Errors
    /// Only [those of every method](Self#errors).
    pub async fn has(&self, key: &str) -> Result<bool> {
        let key = self.full_key(key);
        let has = async {
            self.shared.check_open()?;
            self.shared.backend.has(&key).await
        };
        has.await.map_err(self.shared.explain("has", Some(&key)))
    }

    /// Removes what is under `key`, if anything is.
    ///
    /// # Errors
    /// Only [those of every method](Self#errors).
    pub async fn del(&self, key: &str) -> Result<()> {
        let key = self.full_key(key);
        let del = async {
            self.shared.check_open()?;
            self.shared
                .changing(Changed::One(&key))
                .await
                .del(&key)
                .await
        };
        del.await.map_err(self.shared.explain("del", Some(&key)))
    }

    /// How long the value under `key` stays from now: [`Expires::NEVER`] if it does not
    /// expire, `None` if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the store does not say ([`Capabilities::ttl`]).
    ///
    /// ```
    /// # use polystore_kv::{kv, Expires};
    /// # futures_executor::block_on(async {
    /// let store = kv("memory:")?;
    /// store.set("a", &1).expires("1h").await?;
    /// match store.ttl("a").await? {
    ///     None => println!("there is no value"),
    ///     Some(Expires::NEVER) => println!("it stays"),
    ///     Some(left) => println!("it stays for {left}"),   // 3599.9s
    /// }
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn ttl(&self, key: &str) -> Result<Option<Expires>> {
        let joined = self.full_key(key);
        let Some(entry) = self.exact("ttl", &joined).await? else {
            return Ok(None);
        };
        match Expires::left_of(entry.expiry()) {
            // Its last moment passed meanwhile.
            Some(left) if left.is_over() => Ok(None),
            Some(left) => Ok(Some(left)),
            None => Err(self.shared.explain("ttl", Some(&joined))(
                Error::unsupported("say how long a value stays"),
            )),
        }
    }

    /// Gives the value under `key` another expiry, atomically, and says whether there
    /// was one. An expiry that is not in the future deletes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] for a bad expiry; [`ErrorKind::Unsupported`] if the
    /// store cannot do it atomically ([`Capabilities::touch`]).
    ///
    /// ```
    /// # use polystore_kv::kv;
    /// # futures_executor::block_on(async {
    /// let store = kv("memory:")?;
    /// store.set("a", &1).expires("1s").await?;
    /// assert!(store.touch("a", "1h").await?);
    /// assert!(!store.touch("b", "1h").await?);
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn touch<E>(
        &self,
        key: &str,
        expires: E,
    ) -> impl Future<Output = Result<bool>> + Send + use<'_, E>
    where
        E: TryInto<Expires, Error: Into<Error>>,
    {
        let key = self.full_key(key).into_owned();
        let expires = expires.try_into().map_err(Into::into);
        async move {
            let touch = async {
                self.shared.check_open()?;
                let expiry = expiry_or_now(expires?)?;
                self.shared.backend.touch(&key, expiry).await
            };
            touch
                .await
                .map_err(self.shared.explain("touch", Some(&key)))
        }
    }

    /// The values under `keys`, by key; those that are missing are left out. One round
    /// trip where the store can.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use polystore_kv::kv;
    /// # futures_executor::block_on(async {
    /// let store = kv("memory:")?;
    /// store.set_many([("a", 1), ("b", 2)]).await?;
    /// let found = store.get_many::<u32>(["a", "b", "c"]).await?;
    /// assert_eq!(found.into_iter().collect::<Vec<_>>(), [("a".into(), 1), ("b".into(), 2)]);
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn get_many<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item: AsRef<str>>,
    ) -> impl Future<Output = Result<BTreeMap<String, T>>> + Send {
        let keys = self.join_all(keys);
        async move {
            let get_many = async {
                self.shared.check_open()?;
                if keys.is_empty() {
                    return Ok(Vec::new());
                }
                self.shared.backend.get_many(&keys).await
            };
            let entries = get_many
                .await
                .and_then(|entries| one_for_each(&keys, entries))
                .map_err(self.shared.explain("get_many", None))?;
            let mut found = BTreeMap::new();
            for (key, entry) in keys.iter().zip(entries) {
                let Some(entry) = entry.filter(|entry| !entry.is_expired() && !entry.is_null())
                else {
                    continue;
                };
                let value = entry.decode();
                let value = value.map_err(self.shared.explain("get_many", Some(key)))?;
                found.insert(key[self.prefix.len()..].to_owned(), value);
            }
            Ok(found)
        }
    }

    /// Puts many values; of two under one key the later wins. One round trip where the
    /// store can. If it fails, some may have been put.
    ///
    /// # Errors
    /// As [`set`](Self::set). A value that cannot be encoded fails before any is put.
    pub fn set_many<K, V>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Write<'_, ()>
    where
        K: AsRef<str>,
        V: Serialize,
    {
        Write::set_many(self, entries)
    }

    /// Removes many keys. One round trip where the store can.
    ///
    /// # Errors
    /// Only [those of every method](Self#errors).
    pub fn del_many(
        &self,
        keys: impl IntoIterator<Item: AsRef<str>>,
    ) -> impl Future<Output = Result<()>> + Send {
        let keys = self.join_all(keys);
        async move {
            let del_many = async {
                self.shared.check_open()?;
                if keys.is_empty() {
                    return Ok(());
                }
                let changed = self.shared.flights.keys(keys.iter());
                let deleted = self.shared.changing(changed).await.del_many(&keys).await;
                deleted.map_err(Error::of_many)
            };
            del_many
                .await
                .map_err(self.shared.explain("del_many", None))
        }
    }

    /// The keys as the backend has them, each once.
    fn join_all(&self, keys: impl IntoIterator<Item: AsRef<str>>) -> Vec<String> {
        let mut seen = HashSet::new();
        keys.into_iter()
            .map(|key| self.full_key(key.as_ref()).into_owned())
            .filter(|key| seen.insert(key.clone()))
            .collect()
    }

    /// The keys, without the prefix, in the order of their bytes on stores that are
    /// [ordered](Capabilities::ordered).
    ///
    /// # Errors
    /// Only [those of every method](Self#errors).
    pub async fn keys(&self) -> Result<Vec<String>> {
        let mut entries = self.list("keys", Scan::new().values(false).expiries(false));
        let mut keys = Vec::new();
        while let Some((key, _)) = entries.try_next().await? {
            keys.push(key);
        }
        Ok(keys)
    }

    /// The values.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] if one of them is no `T`.
    pub async fn values<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        let mut entries = self.decoded("values");
        let mut values = Vec::new();
        while let Some((_, value)) = entries.try_next().await? {
            values.push(value);
        }
        Ok(values)
    }

    /// The keys, without the prefix, and their values.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] if one of the values is no `T`.
    pub async fn entries<T: DeserializeOwned>(&self) -> Result<Vec<(String, T)>> {
        let mut entries = self.decoded("entries");
        let mut all = Vec::new();
        while let Some(entry) = entries.try_next().await? {
            all.push(entry);
        }
        Ok(all)
    }

    /// The values by key, without the prefix.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] if one of the values is no `T`.
    pub async fn all<T: DeserializeOwned>(&self) -> Result<BTreeMap<String, T>> {
        let mut entries = self.decoded("all");
        let mut all = BTreeMap::new();
        while let Some((key, value)) = entries.try_next().await? {
            all.insert(key, value);
        }
        Ok(all)
    }

    /// The entries one after another, in bounded memory however many there are.
    ///
    /// The stream owns what it needs: it outlives this handle and moves to other tasks.
    /// What is written meanwhile may show or not; what is there all along shows once.
    ///
    /// # Errors
    /// Items are errors: [`ErrorKind::Decode`] for a value that is no `T`, after which
    /// the stream goes on; a connection error ends it.
    ///
    /// ```
    /// # use polystore_kv::kv;
    /// # futures_executor::block_on(async {
    /// let store = kv("memory:")?;
    /// store.set_many([("a", 1), ("b", 2)]).await?;
    /// let mut entries = store.stream::<u32>();
    /// while let Some((key, value)) = entries.try_next().await? {
    ///     println!("{key}: {value}");
    /// }
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn stream<T: DeserializeOwned>(&self) -> Entries<T> {
        self.decoded("stream")
    }

    fn decoded<T: DeserializeOwned>(&self, operation: &'static str) -> Entries<T> {
        Entries::new(self.list(operation, Scan::new().expiries(false)))
    }

    fn list(&self, operation: &'static str, mut scan: Scan) -> RawEntries {
        scan.prefix = self.full_key(&scan.prefix).into_owned();
        scan.after = scan.after.map(|after| self.full_key(&after).into_owned());
        RawEntries::new(&self.shared, operation, Arc::clone(&self.prefix), scan)
    }

    /// The JSON text under `key` with its expiry, as exactly as the store tells it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if what is there is not a value of this store.
    pub async fn entry(&self, key: &str) -> Result<Option<Entry>> {
        self.exact("entry", &self.full_key(key)).await
    }

    pub(crate) async fn exact(&self, operation: &'static str, key: &str) -> Result<Option<Entry>> {
        let entry = async {
            self.shared.check_open()?;
            let entry = self.shared.backend.entry(key).await?;
            let entry = entry.filter(|entry| !entry.is_expired() && !entry.is_null());
            entry.as_ref().map_or(Ok(()), Entry::check)?;
            Ok(entry)
        };
        entry
            .await
            .map_err(self.shared.explain(operation, Some(key)))
    }

    /// Puts an entry as it is: its JSON text, and its instant of expiry instead of the
    /// store's default. One that is `null` or has expired deletes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] if the expiry is [`Expiry::Unread`]: read it with
    /// [`entry`](Self::entry); [`ErrorKind::Corrupt`] if the text is not JSON.
    pub async fn put(&self, key: &str, entry: Entry) -> Result<()> {
        let key = self.full_key(key);
        let put = async {
            self.shared.check_open()?;
            check_put(&entry)?;
            let backend = self.shared.changing(Changed::One(&key)).await;
            if is_over(&entry) {
                return backend.del(&key).await;
            }
            match backend.set_now(&key, entry) {
                Ok(done) => done,
                Err(entry) => backend.set(&key, entry).await,
            }
        };
        put.await.map_err(self.shared.explain("put", Some(&key)))
    }

    /// Puts many entries as [`put`](Self::put) does; of two under one key the later wins. One round
    /// trip where the store can. If it fails, some may have been put.
    ///
    /// # Errors
    /// As `put`. An entry that cannot be put fails before any is.
    ///
    /// ```
    /// # use polystore_kv::{kv, Entry, Expiry, Scan};
    /// # futures_executor::block_on(async {
    /// let (from, to) = (kv("memory:")?, kv("memory:")?);
    /// from.set("a", &1).expires("1h").await?;
    /// let mut entries = from.scan(Scan::new());
    /// let mut batch = Vec::new();
    /// while let Some(entry) = entries.try_next().await? {
    ///     batch.push(entry);
    /// }
    /// to.put_many(batch).await?;
    /// assert_eq!(to.get("a").await?, Some(1));
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn put_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        let put_many = async {
            self.shared.check_open()?;
            let (mut live, mut gone) = (HashMap::new(), HashMap::new());
            for (place, (key, entry)) in entries.into_iter().enumerate() {
                let key = self.full_key(&key).into_owned();
                let checked = check_put(&entry);
                checked.map_err(|error| error.with_key(&key))?;
                let (kept, other) = match is_over(&entry) {
                    true => (&mut gone, &mut live),
                    false => (&mut live, &mut gone),
                };
                other.remove(&key);
                kept.insert(key, (place, entry));
            }
            // In the order in which they came.
            let in_order = |entries: HashMap<String, (usize, Entry)>| {
                let mut entries: Vec<_> = entries.into_iter().collect();
                entries.sort_unstable_by_key(|(_, (place, _))| *place);
                entries.into_iter().map(|(key, (_, entry))| (key, entry))
            };
            let live: Vec<_> = in_order(live).collect();
            let gone: Vec<_> = in_order(gone).map(|(key, _)| key).collect();
            let names = live.iter().map(|(key, _)| key).chain(&gone);
            let changed = self.shared.flights.keys(names);
            let backend = self.shared.changing(changed).await;
            if !live.is_empty() {
                let put = backend.set_many(live).await;
                put.map_err(Error::of_many)?;
            }
            if !gone.is_empty() {
                let gone = backend.del_many(&gone).await;
                gone.map_err(Error::of_many)?;
            }
            Ok(())
        };
        put_many
            .await
            .map_err(self.shared.explain("put_many", None))
    }

    /// Removes what is under `key` only if it still is `seen`, atomically, and gives whether it
    /// did. `seen` is as [`entry`](Self::entry) or [`scan`](Self::scan) gave it, with its
    /// instant of expiry.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the store cannot do that ([`Capabilities::prune`]).
    ///
    /// ```
    /// # use polystore_kv::kv;
    /// # futures_executor::block_on(async {
    /// let store = kv("memory:")?;
    /// store.set("a", &1).await?;
    /// let seen = store.entry("a").await?.expect("it is there");
    /// store.set("a", &2).await?;
    /// assert!(!store.evict("a", &seen).await?);
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        let key = self.full_key(key);
        let evict = async {
            self.shared.check_open()?;
            self.shared
                .changing(Changed::One(&key))
                .await
                .evict(&key, seen)
                .await
        };
        evict
            .await
            .map_err(self.shared.explain("evict", Some(&key)))
    }

    /// The entries that `scan` asks for as JSON text, with their expiry: all of
    /// them, or in pages. Keys are without the prefix, in `scan` too. A page that is shorter
    /// than its limit is the last one.
    ///
    /// ```
    /// # use polystore_kv::{kv, Scan};
    /// # futures_executor::block_on(async {
    /// let store = kv("memory:")?;
    /// store.set_many([("a", 1), ("b", 2), ("c", 3)]).await?;
    /// let mut page = store.scan(Scan::new().after("a").limit(1));
    /// let (key, entry) = page.try_next().await?.expect("there is b");
    /// assert_eq!((&key[..], entry.json()), ("b", "2"));
    /// # Ok::<(), polystore_kv::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn scan(&self, scan: Scan) -> RawEntries {
        self.list("scan", scan)
    }

    /// Removes what [`keys`](Self::keys) of this (sub)store would show, and nothing else.
    ///
    /// # Errors
    /// Only [those of every method](Self#errors). If it fails, some may have been removed.
    pub async fn clear(&self) -> Result<()> {
        let clear = async {
            self.shared.check_open()?;
            let changed = Changed::Under(&self.prefix);
            let backend = self.shared.changing(changed).await;
            let cleared = backend.clear(&self.prefix).await;
            cleared.map_err(Error::of_many)
        };
        clear.await.map_err(self.shared.explain("clear", None))
    }

    /// Physically removes what has expired in this (sub)store, never what was renewed
    /// meanwhile, and gives how many entries were removed. Stores do so by themselves: this is
    /// for doing it now.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the store cannot remove an entry only if it is
    /// unchanged ([`Capabilities::prune`]).
    pub async fn prune(&self) -> Result<u64> {
        let prune = async {
            self.shared.check_open()?;
            let pruned = self.shared.backend.prune(&self.prefix).await;
            pruned.map_err(Error::of_many)
        };
        prune.await.map_err(self.shared.explain("prune", None))
    }

    /// The word for what keeps the data, as in its URL: `"sqlite"`.
    #[must_use]
    pub fn kind(&self) -> Cow<'static, str> {
        self.shared.backend.info().kind
    }

    /// What the store can do. Connects, if that has not happened yet.
    ///
    /// # Errors
    /// Only [those of every method](Self#errors).
    pub async fn capabilities(&self) -> Result<Capabilities> {
        let connect = async {
            self.shared.check_open()?;
            self.shared.backend.connect().await
        };
        connect
            .await
            .map_err(self.shared.explain("capabilities", None))?;
        Ok(self.shared.backend.info().capabilities)
    }

    /// Finishes what was begun and lets go of files and connections, for all clones and
    /// substores. Every operation afterwards is [`ErrorKind::Closed`]; closing again is
    /// fine. Dropping the last clone lets go too, but waits for nothing.
    ///
    /// # Errors
    /// Only [those of every method](Self#errors).
    pub async fn close(&self) -> Result<()> {
        self.shared.closed.store(true, Ordering::Release);
        let closed = self.shared.backend.close().await;
        closed.map_err(self.shared.explain("close", None))
    }

    /// What keeps the data, for wrappers. It knows nothing of the prefix, of the expiry, or
    /// that this store was closed.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.shared.backend
    }
}

/// Fails unless `entry` is what can be put as it is.
fn check_put(entry: &Entry) -> Result<()> {
    entry.check()?;
    if entry.expiry() == Expiry::Unread {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            "the entry's expiry was not read: get it with entry() or scan()",
        ));
    }
    Ok(())
}

/// Whether putting `entry` deletes.
fn is_over(entry: &Entry) -> bool {
    entry.is_null() || entry.is_expired()
}

fn one_for_each(keys: &[String], entries: Vec<Option<Entry>>) -> Result<Vec<Option<Entry>>> {
    if entries.len() == keys.len() {
        return Ok(entries);
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        "the backend did not answer for each of the keys",
    ))
}

/// The instant that a backend is to keep. What is over already gets the present one: it
/// reads as missing from the start.
pub(crate) fn expiry_or_now(expires: Expires) -> Result<Expiry> {
    let expiry = expires.to_expiry()?;
    Ok(expiry.unwrap_or_else(|| Expiry::At(Timestamp::now())))
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("kind", &self.kind())
            .field("prefix", &self.prefix)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
