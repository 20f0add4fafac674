//! What one request wants of the cache.

use std::time::Duration;

use polystore_kv::{Error, Expires, IntoStore, Result, Store, kv};

use crate::directives::MOST_SECONDS;

/// What one request wants of the cache that another does not: an extension of the request.
///
/// ```
/// use polystore_http_cache::{Caching, HttpCache};
/// use reqwest_middleware::ClientBuilder;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let url = format!("http://{}/", listener.local_addr()?);
/// # tokio::spawn(async move { axum::serve(listener, axum::Router::new()).await });
/// # let _ = rustls::crypto::ring::default_provider().install_default();
/// let client = ClientBuilder::new(reqwest::Client::new()).with(HttpCache::default()).build();
///
/// // As if there were no cache.
/// client.get(&url).with_extension(Caching::skip()).send().await?;
///
/// // Fresh for ten minutes, whatever the origin says.
/// let longer = Caching::new().lifetime("10min")?;
/// client.get(&url).with_extension(longer).send().await?;
///
/// // In another store: open it once.
/// let elsewhere = Caching::new().store("memory:")?;
/// client.get(&url).with_extension(elsewhere.clone()).send().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "it is to go with a request, by with_extension"]
pub struct Caching {
    pub(crate) skip: bool,
    pub(crate) store: Option<Store>,
    pub(crate) lifetime: Option<u64>,
}

impl Caching {
    /// What the cache does anyway.
    pub fn new() -> Self {
        Self::default()
    }

    /// The request goes to the origin, and its reply is not kept. What is kept already stays, unless the request
    /// changes it (`POST`, `PUT`, `DELETE` and so on).
    pub fn skip() -> Self {
        Self {
            skip: true,
            ..Self::default()
        }
    }

    /// Another store than the cache's, to look in and to keep in. Opening one takes time: clone this for further
    /// requests.
    ///
    /// # Errors
    /// As [`kv`].
    pub fn store(mut self, store: impl IntoStore) -> Result<Self> {
        self.store = Some(kv(store)?);
        Ok(self)
    }

    /// How long the reply is fresh from when it comes, if this request gets it from the origin, in place of what the origin says by
    /// `max-age`, `s-maxage`, `no-cache`, `must-revalidate`, `Expires` or nothing. What must not be kept (`no-store`, `private` in a
    /// shared cache, `Vary: *`, what was asked for with `Authorization`) is not. What is in the store keeps its lifetime,
    /// until a request has it confirmed: that one's counts then, or the origin's.
    ///
    /// Takes what [`Expires`] is made of; more than 68 years (2³¹ seconds) are as many, less than a second is none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`](polystore_kv::ErrorKind::InvalidOption) if that means nothing.
    pub fn lifetime<E>(mut self, lifetime: E) -> Result<Self>
    where
        E: TryInto<Expires, Error: Into<Error>>,
    {
        self.lifetime = Some(seconds(lifetime)?.as_secs());
        Ok(self)
    }
}

/// A time that something lasts.
pub(crate) fn seconds<E>(lasts: E) -> Result<Duration>
where
    E: TryInto<Expires, Error: Into<Error>>,
{
    let lasts: Expires = lasts.try_into().map_err(Into::into)?;
    let most = Duration::from_secs(MOST_SECONDS);
    Ok(lasts.as_duration().unwrap_or(most).min(most))
}
