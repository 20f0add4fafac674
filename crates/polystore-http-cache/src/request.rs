//! What a request asks of the cache.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, PRAGMA, RANGE, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request as HttpRequest};
use reqwest::Request;

use crate::directives::{Directives, header};

/// The headers that go to the origin, as far as they are known here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    request: &'a HeaderMap,
    client: &'a HeaderMap,
}

impl<'a> Asked<'a> {
    /// Those of the request, and of the client what the request has not.
    pub(crate) fn new(request: &'a HeaderMap, client: &'a HeaderMap) -> Self {
        Self { request, client }
    }

    /// The values under a name.
    pub(crate) fn all(self, name: &str) -> impl Iterator<Item = &'a HeaderValue> {
        let headers = match self.request.contains_key(name) {
            true => self.request,
            false => self.client,
        };
        headers.get_all(name).into_iter()
    }
}

/// A request that the cache may answer, without its body: it has none.
pub(crate) struct Question {
    directives: Directives,
    /// Whether it asks for more than what its URL says to whoever asks.
    pub(crate) is_authorized: bool,
    /// `Pragma: no-cache`, where there is no `Cache-Control` (RFC 9111, section 5.4).
    pragma: bool,
}

impl Question {
    pub(crate) fn new(request: &Request, client: &HeaderMap) -> Self {
        let asked = Asked::new(request.headers(), client);
        let url = request.url();
        let directives = match request.headers().contains_key(CACHE_CONTROL) {
            true => Directives::of(request.headers()),
            false => Directives::of(client),
        };
        let says_no_cache =
            |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"no-cache");
        Self {
            pragma: directives.is_empty() && asked.all(PRAGMA.as_str()).any(says_no_cache),
            directives,
            is_authorized: asked.all(AUTHORIZATION.as_str()).next().is_some()
                || !url.username().is_empty()
                || url.password().is_some(),
        }
    }

    pub(crate) fn has(&self, directive: &str) -> bool {
        self.directives.has(directive)
    }

    pub(crate) fn seconds(&self, directive: &str) -> Option<u64> {
        self.directives.seconds(directive)
    }

    /// Whether it wants no reply that was kept, unless the origin says that it still holds.
    pub(crate) fn wants_new(&self) -> bool {
        self.has("no-cache") || self.pragma
    }

    /// As http-cache-semantics reads it. Whether a reply may be used for this method and this URL is
    /// known already.
    pub(crate) fn view(&self, accepts_stale: bool) -> HttpRequest<()> {
        let names: &[&str] = match accepts_stale {
            true => &["no-cache", "no-store", "max-age", "min-fresh", "max-stale"],
            false => &["no-cache", "no-store", "max-age", "min-fresh"],
        };
        view_of(&self.directives.only(names), self.pragma, false)
    }
}

/// A request as http-cache-semantics reads it.
pub(crate) fn view_of(directives: &str, pragma: bool, is_authorized: bool) -> HttpRequest<()> {
    let mut request = HttpRequest::new(());
    let headers = request.headers_mut();
    if !directives.is_empty() {
        headers.insert(CACHE_CONTROL, header(directives));
    }
    if pragma {
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    }
    if is_authorized {
        headers.insert(AUTHORIZATION, HeaderValue::from_static("yes"));
    }
    request
}

/// Whether the cache has to do with it.
pub(crate) fn is_readable(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Whether it changes nothing at the origin (RFC 9110, section 9.2.1).
pub(crate) fn is_safe(method: &Method) -> bool {
    is_readable(method) || method == Method::OPTIONS || method == Method::TRACE
}

/// Whether the program does by itself what a cache does, or wants a part: as in browsers' `fetch`, the cache
/// then keeps out of it (Fetch Standard, "HTTP-network-or-cache fetch").
pub(crate) fn is_conditional(request: &Request) -> bool {
    let mine = [
        RANGE,
        IF_RANGE,
        IF_MATCH,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_UNMODIFIED_SINCE,
    ];
    mine.iter().any(|name| request.headers().contains_key(name))
}

/// Whether it asks for another protocol on its connection, which nothing that was kept can give.
pub(crate) fn is_upgrade(request: &Request) -> bool {
    let connection = request.headers().get_all(CONNECTION).into_iter();
    let mut options = connection.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    request.headers().contains_key(UPGRADE)
        || options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}
