//! From whatever is a store to a [`Store`].

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::address::Address;
use crate::backend::Backend;
use crate::backends::{
    cloudflare, cookie, etcd, file, folder, http, level, local_forage, memory, postgres, redis,
    sqlite, web_storage,
};
use crate::error::{Error, ErrorKind, Result};
use crate::lazy::{BoxError, Lazy, LazyStore};
use crate::store::Store;

/// Makes a store of anything that is one: a URL, a path, a client that the program
/// already has, a backend of your own, [`lazy`], or another store.
///
/// Nothing is opened yet: that happens on the first use, once, however many substores
/// and tasks share the store. Those who wait meanwhile share the attempt; if it fails,
/// their operations do, and the next one tries again.
///
/// | URL | store |
/// |---|---|
/// | `memory:` | in this process; each call makes another |
/// | `file:cache.json`, `file:///abs/cache.json` | one JSON file |
/// | `file:dir/`, `file:///abs/dir/` | a folder with a file for each key |
/// | `sqlite:app.db`, `sqlite:///abs/app.db`, `sqlite::memory:` | a table in SQLite |
/// | `level:dir`, `level:///abs/dir` | a LevelDB folder |
/// | `redis://host/0`, `rediss://`, `redis+unix:///socket`, `redis-cluster://a,b`, `redis-sentinel://a,b/0?master=` | Redis or Valkey |
/// | `postgres://user@host/database`, `postgresql://` | a table in PostgreSQL |
/// | `etcd://a,b,c` | an etcd cluster |
/// | `http://host/path`, `https://` | a server that speaks the HTTP protocol of `docs/http.md` |
/// | `cloudflare://ACCOUNT/NAMESPACE` | Cloudflare KV, by its REST API |
/// | `localstorage:`, `sessionstorage:` | the browser's web storage |
/// | `cookie:`, or `cookie` alone | the browser's cookies |
/// | `localforage:?name=&store=` | the browser's IndexedDB, as localForage keeps it |
///
/// Paths in URLs are percent-decoded: `%20` is a space, `%3F` a question mark. The
/// options after `?` are in the [documentation of the stores](crate::stores).
///
/// # Errors
/// [`ErrorKind::InvalidOption`] for a URL, an option or a value of one that means
/// nothing, and for a store whose feature is not enabled.
///
/// ```
/// use polystore_kv::kv;
///
/// let memory = kv("memory:")?;
/// let bounded = kv("memory:?max_entries=1000")?;
/// let folder = kv("file:some/folder/")?;
/// let same = kv(memory.prefix("user:"))?;     // prefix and expiry stay
///
/// let error = kv("redish://localhost").unwrap_err();
/// assert!(error.is_usage());
/// # Ok::<(), polystore_kv::Error>(())
/// ```
pub fn kv(store: impl IntoStore) -> Result<Store> {
    store.into_store()
}

/// A store whose client is still to be made: `connect` runs on the first use, and
/// again on a later one if it failed.
///
/// It may give anything that [`kv`] takes, but for a substore or a store with an expiry
/// of its own: put those on the outside.
///
/// ```
/// use polystore_kv::{kv, lazy};
/// # async fn find_url() -> std::io::Result<String> { Ok("memory:".into()) }
/// # futures_executor::block_on(async {
/// let store = kv(lazy(|| async { find_url().await }))?;
/// store.set("a", &1).await?;   // find_url runs now
/// # Ok::<(), polystore_kv::Error>(())
/// # }).unwrap();
/// ```
pub fn lazy<F, Fut, S, E>(connect: F) -> LazyStore
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<S, E>> + Send + 'static,
    S: IntoStore,
    E: Into<BoxError>,
{
    LazyStore(Lazy::new("lazy", move || {
        let connecting = connect();
        async move {
            let store = connecting.await.map_err(connect_error)?.into_store()?;
            if store.is_plain() {
                return Ok(Arc::clone(store.backend()));
            }
            Err(Error::new(
                ErrorKind::InvalidOption,
                "lazy() got a store with a prefix or an expiry of its own: put them on the \
                 store that kv(lazy(…)) gives",
            ))
        }
    }))
}

fn connect_error<E: Into<BoxError>>(error: E) -> Error {
    match error.into().downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(ErrorKind::Unreachable, "could not make the store's client")
            .with_boxed_source(error),
    }
}

/// What [`kv`] takes. A function that takes a store takes this, and leaves the choice
/// to its callers:
///
/// ```
/// use polystore_kv::{kv, IntoStore, Result, Store};
///
/// /// Says of each message once that it is new.
/// struct Once { seen: Store }
///
/// impl Once {
///     fn new(store: impl IntoStore) -> Result<Self> {
///         Ok(Self { seen: kv(store)?.prefix("seen:").expires("1 day") })
///     }
///     async fn is_new(&self, id: &str) -> Result<bool> {
///         self.seen.insert(id, &true).await
///     }
/// }
///
/// # futures_executor::block_on(async {
/// let once = Once::new("memory:")?;
/// assert!(once.is_new("message-1").await?);
/// assert!(!once.is_new("message-1").await?);
/// # Ok::<(), polystore_kv::Error>(())
/// # }).unwrap();
/// ```
pub trait IntoStore {
    /// The store.
    ///
    /// # Errors
    /// As [`kv`].
    fn into_store(self) -> Result<Store>;
}

impl IntoStore for Store {
    fn into_store(self) -> Result<Store> {
        Ok(self)
    }
}

impl IntoStore for &Store {
    fn into_store(self) -> Result<Store> {
        Ok(self.clone())
    }
}

impl<B: Backend> IntoStore for B {
    fn into_store(self) -> Result<Store> {
        Ok(Store::new(Arc::new(self)))
    }
}

impl IntoStore for LazyStore {
    fn into_store(self) -> Result<Store> {
        Ok(Store::new(Arc::new(self.0)))
    }
}

impl IntoStore for String {
    fn into_store(self) -> Result<Store> {
        open(&self)
    }
}

impl IntoStore for &String {
    fn into_store(self) -> Result<Store> {
        open(self)
    }
}

impl IntoStore for &str {
    fn into_store(self) -> Result<Store> {
        open(self)
    }
}

/// A path that ends in `.json` is a JSON file, one in `.db`, `.sqlite` or `.sqlite3` a
/// database, and any other one a folder. Unlike in a URL, nothing in it is decoded.
impl IntoStore for &Path {
    fn into_store(self) -> Result<Store> {
        let address = Address::of_path(self)?;
        match self.extension().and_then(|extension| extension.to_str()) {
            Some("json") => file::STORE.open(address),
            Some("db" | "sqlite" | "sqlite3") => sqlite::STORE.open(address),
            _ => folder::STORE.open(address),
        }
    }
}

/// As `&Path`.
impl IntoStore for &PathBuf {
    fn into_store(self) -> Result<Store> {
        self.as_path().into_store()
    }
}

/// As `&Path`.
impl IntoStore for PathBuf {
    fn into_store(self) -> Result<Store> {
        self.as_path().into_store()
    }
}

/// A `Url` of `file:` is always absolute: relative paths are for strings.
#[cfg(feature = "url-2")]
impl IntoStore for url::Url {
    fn into_store(self) -> Result<Store> {
        open(self.as_str())
    }
}

/// As `Url`.
#[cfg(feature = "url-2")]
impl IntoStore for &url::Url {
    fn into_store(self) -> Result<Store> {
        open(self.as_str())
    }
}

fn open(url: &str) -> Result<Store> {
    // As the npm package has it.
    let url = if url == "cookie" { "cookie:" } else { url };
    let address = Address::parse(url)?;
    match address.scheme() {
        "memory" => memory::STORE.open(address),
        "sqlite" => sqlite::STORE.open(address),
        "level" => level::STORE.open(address),
        "redis" | "rediss" | "redis+unix" | "redis-cluster" | "rediss-cluster"
        | "redis-sentinel" | "rediss-sentinel" => redis::STORE.open(address),
        "postgres" | "postgresql" => postgres::STORE.open(address),
        "etcd" => etcd::STORE.open(address),
        "http" | "https" => http::STORE.open(address),
        "cloudflare" => cloudflare::STORE.open(address),
        "localstorage" | "sessionstorage" => web_storage::STORE.open(address),
        "cookie" => cookie::STORE.open(address),
        "localforage" => local_forage::STORE.open(address),
        "file" if address.location().ends_with('/') => folder::STORE.open(address),
        "file" if address.location().ends_with(".json") => file::STORE.open(address),
        "file" => Err(Error::new(
            ErrorKind::InvalidOption,
            "a file: URL ends in .json for one JSON file, or in / for a folder",
        )),
        // The rest of the URL may hold a password: only its scheme is shown.
        scheme => Err(Error::new(
            ErrorKind::InvalidOption,
            format!(
                "there is no store {scheme:?}: there are memory:, file:, sqlite:, level:, redis:, \
                 rediss:, redis+unix:, redis-cluster:, redis-sentinel:, postgres:, etcd:, http:, https:, cloudflare:, localstorage:, sessionstorage:, cookie: \
                 and localforage:"
            ),
        )),
    }
}
