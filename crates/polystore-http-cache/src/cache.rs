//! The middleware.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{Extensions, HeaderMap, HeaderValue};
use polystore_kv::{Error, IntoStore, Store, kv};
use reqwest::{Request, Response, Url};
use reqwest_middleware::{Middleware, Next, Result};

use crate::caching::{Caching, seconds};
use crate::changes::{Changes, Place, Waiting};
use crate::key;
use crate::reply::{Forward, Said, not_kept, said};
use crate::request::{Asked, Question, is_conditional, is_readable, is_safe, is_upgrade};
use crate::shelf;
use crate::turn::{Turn, is_of};

const MAX_BODY: u64 = 4 << 20;
const KEEP_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// An HTTP cache by RFC 9111, as a middleware for reqwest.
///
/// It keeps replies in any store, and is a shared cache unless it is made [`private`](Self::private). The
/// [crate's page](crate) says what it does.
///
/// A clone is the same cache: changes that one makes hold for the others at once. Of two that are made of one store, the
/// one sees the other's changes when they reach the store.
///
/// ```
/// use polystore_http_cache::HttpCache;
/// use reqwest_middleware::ClientBuilder;
///
/// # fn main() -> polystore_kv::Result<()> {
/// # let _ = rustls::crypto::ring::default_provider().install_default();
/// let cache = HttpCache::new("memory:?max_bytes=100MB")?
///     .max_body_bytes(1 << 20)
///     .keep_stale("1 week")?;
/// let client = ClientBuilder::new(reqwest::Client::new()).with(cache).build();
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "it works once it is part of a client"]
pub struct HttpCache {
    store: Store,
    pub(crate) is_shared: bool,
    pub(crate) max_body: u64,
    pub(crate) keep_stale: Duration,
    pub(crate) client_headers: HeaderMap,
    pub(crate) changes: Changes,
}

impl HttpCache {
    /// A cache that keeps replies in `store`: in anything that [`kv`] takes.
    ///
    /// Keys are hashes of URLs. Where other things are in the same store, give it a part of its own:
    /// `HttpCache::new(store.prefix("http:"))`. The store's own default expiry is not used: how
    /// long a reply stays is up to the reply.
    ///
    /// # Errors
    /// As [`kv`].
    pub fn new(store: impl IntoStore) -> polystore_kv::Result<Self> {
        Ok(Self::of(kv(store)?))
    }

    fn of(store: Store) -> Self {
        Self {
            store,
            is_shared: true,
            max_body: MAX_BODY,
            keep_stale: KEEP_STALE,
            client_headers: HeaderMap::new(),
            changes: Changes::new(),
        }
    }

    /// A cache of one user, who is the only one with access to the store: it keeps replies that are `private`, that were asked
    /// for with `Authorization` (for requests with the same value) or that set a cookie too, and ignores `s-maxage`.
    ///
    /// By default it is a shared one, as the store may be shared.
    pub fn private(mut self) -> Self {
        self.is_shared = false;
        self
    }

    /// The longest body to keep, in bytes: 4 MiB by default. A longer one is passed on as it comes, and so is one that
    /// the store refuses: it takes 4/3 of its length there.
    pub fn max_body_bytes(mut self, max: u64) -> Self {
        self.max_body = max;
        self
    }

    /// How long a reply with an `ETag` or `Last-Modified` stays in the store once it is stale, for the origin to confirm:
    /// a day by default. `stale-if-error` may ask for more.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`](polystore_kv::ErrorKind::InvalidOption) for what means no time.
    pub fn keep_stale<E>(mut self, lasts: E) -> polystore_kv::Result<Self>
    where
        E: TryInto<polystore_kv::Expires, Error: Into<Error>>,
    {
        self.keep_stale = seconds(lasts)?;
        Ok(self)
    }

    /// The headers that the client itself adds to every request (`default_headers` and `user_agent` of reqwest's `ClientBuilder`): a
    /// middleware does not see them, and without `Authorization` and what `Vary` names a reply is kept for all.
    ///
    /// ```
    /// use polystore_http_cache::HttpCache;
    /// use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
    /// use reqwest_middleware::ClientBuilder;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let _ = rustls::crypto::ring::default_provider().install_default();
    /// let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer 1"))]);
    /// let client = reqwest::Client::builder().default_headers(headers.clone()).build()?;
    /// let cache = HttpCache::default().client_headers(headers);
    /// let client = ClientBuilder::new(client).with(cache).build();
    /// # Ok(()) }
    /// ```
    pub fn client_headers(mut self, headers: HeaderMap) -> Self {
        self.client_headers = headers;
        self
    }
}

/// In the memory of this process, in at most 64 MB.
impl Default for HttpCache {
    fn default() -> Self {
        let memory = kv("memory:?max_bytes=64MB");
        Self::of(memory.expect("the URL is right, and the feature is one of this crate's"))
    }
}

impl fmt::Debug for HttpCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache")
            .field("store", &self.store)
            .field("is_shared", &self.is_shared)
            .field("max_body_bytes", &self.max_body)
            .field("keep_stale", &self.keep_stale)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Middleware for HttpCache {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let caching = extensions.get::<Caching>().cloned().unwrap_or_default();
        let store = caching.store.as_ref().unwrap_or(&self.store);
        if !is_readable(request.method()) {
            let asked = Asked::new(request.headers(), &self.client_headers);
            let change = (!is_safe(request.method())).then(|| Change {
                cache: self,
                store,
                host: key::own_host(request.url(), asked),
                url: request.url().clone(),
                is_over: false,
            });
            let outcome = next.run(request, extensions).await;
            if let Some(change) = change {
                change.answered(&outcome).await;
            }
            return outcome.map(|reply| said(reply, &Said::forward(Forward::Method)));
        }
        let question = Question::new(&request, &self.client_headers);
        let only_kept = question.has("only-if-cached");
        let forward = if caching.skip {
            Some(Forward::Bypass)
        } else if is_conditional(&request)
            || is_upgrade(&request)
            || request.body().is_some()
            || question.has("no-store") && !only_kept
        {
            Some(Forward::Request)
        } else {
            None
        };
        if let Some(forward) = forward {
            if only_kept && forward == Forward::Request {
                return Ok(not_kept(forward, request.url().clone()));
            }
            let reply = next.run(request, extensions).await?;
            return Ok(said(reply, &Said::forward(forward)));
        }
        let asked = Asked::new(request.headers(), &self.client_headers);
        let host = key::own_host(request.url(), asked);
        let by_name = !self.is_shared && question.is_authorized;
        let key = key::of_url(request.url(), host.as_ref(), by_name);
        Turn {
            cache: self,
            store,
            lifetime: caching.lifetime,
            since: self.changes.since(Place::new(store, key)),
            question,
            now: SystemTime::now(),
        }
        .answer(request, extensions, next)
        .await
    }
}

/// A request that changes things, on its way. If it is given up, they may have been changed.
struct Change<'a> {
    cache: &'a HttpCache,
    store: &'a Store,
    url: Url,
    host: Option<HeaderValue>,
    is_over: bool,
}

impl Change<'_> {
    /// Forgets what it made void (RFC 9111, section 4.4). One without a reply may have changed things too.
    async fn answered(mut self, outcome: &Result<Response>) {
        let void = void(&self.url, outcome);
        self.is_over = true;
        if !void.is_empty() {
            self.forget(&void).await;
        }
    }

    fn forget(&self, urls: &[Url]) -> Waiting {
        // A private cache keeps what it got by name apart.
        let by_name: &[bool] = match self.cache.is_shared {
            true => &[false],
            false => &[false, true],
        };
        let keys = urls.iter().flat_map(|url| {
            let of = |by_name| key::of_url(url, self.host.as_ref(), by_name);
            by_name.iter().map(move |by_name| of(*by_name))
        });
        shelf::forget(self.store, &self.cache.changes, keys.collect())
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            // It goes on without this.
            drop(self.forget(std::slice::from_ref(&self.url)));
        }
    }
}

/// The URLs whose replies a request of `url` made void.
fn void(url: &Url, outcome: &Result<Response>) -> Vec<Url> {
    let mut void = vec![url.clone()];
    let reply = match outcome {
        Ok(reply) if reply.status().is_success() || reply.status().is_redirection() => reply,
        // What was redirected was no error.
        Ok(reply) if !is_of(reply, url) => reply,
        Ok(_) => return Vec::new(),
        Err(_) => return void,
    };
    let named = [LOCATION, CONTENT_LOCATION].map(|name| {
        let value = reply.headers().get(name)?.to_str().ok()?;
        reply.url().join(value).ok()
    });
    for other in named.into_iter().flatten().chain([reply.url().clone()]) {
        if other.origin() == url.origin() && !void.contains(&other) {
            void.push(other);
        }
    }
    void
}
