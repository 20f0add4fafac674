//! Replies: made of what was kept, and marked with what the cache did.

use std::fmt::Write;
use std::time::SystemTime;

use http::header::{AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, response};
use reqwest::{Body, Response, ResponseBuilderExt, Url};

use crate::directives::header;
use crate::judge::Judge;
use crate::record::Stored;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request goes to the origin (RFC 9211, section 2.2), or that it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// The program said so.
    Bypass,
    /// Of its method nothing is kept.
    Method,
    /// The request itself asks for it.
    Request,
    /// Nothing of this URL is kept.
    UriMiss,
    /// Nothing that fits the headers of this request.
    VaryMiss,
    /// What is kept is too old.
    Stale,
}

impl Forward {
    fn word(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::Request => "request",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
        }
    }
}

/// What is said of a reply in `Cache-Status` (RFC 9211), as the cache named "polystore".
pub(crate) struct Said(String);

impl Said {
    pub(crate) fn hit(ttl: i64) -> Self {
        Self(format!("polystore; hit; ttl={ttl}"))
    }

    pub(crate) fn forward(forward: Forward) -> Self {
        Self(format!("polystore; fwd={}", forward.word()))
    }

    pub(crate) fn fwd_status(mut self, status: StatusCode) -> Self {
        // Writing to a text does not fail.
        let _ = write!(self.0, "; fwd-status={}", status.as_u16());
        self
    }

    pub(crate) fn stored(mut self) -> Self {
        self.0.push_str("; stored");
        self
    }

    pub(crate) fn detail(mut self, detail: &str) -> Self {
        let _ = write!(self.0, "; detail={detail}");
        self
    }

    /// Behind what caches nearer to the origin said.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        headers.append(CACHE_STATUS, header(&self.0));
    }
}

pub(crate) fn said(mut reply: Response, said: &Said) -> Response {
    said.put(reply.headers_mut());
    reply
}

/// A reply of the store.
pub(crate) fn kept(
    stored: Stored,
    judge: &Judge,
    now: SystemTime,
    said: &Said,
    url: Url,
    method: &Method,
) -> Response {
    let mut headers = stored.headers;
    headers.insert(AGE, HeaderValue::from(judge.age(now).as_secs()));
    said.put(&mut headers);
    let body = match *method == Method::HEAD {
        true => Body::default(),
        false => Body::from(stored.body),
    };
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = stored.status;
    parts.version = stored.http;
    parts.headers = headers;
    with(parts, url, body)
}

/// What there is for a request that wants nothing but what is kept (RFC 9111, section 5.2.1.7).
pub(crate) fn not_kept(forward: Forward, url: Url) -> Response {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::GATEWAY_TIMEOUT;
    Said::forward(forward)
        .detail("only-if-cached")
        .put(&mut parts.headers);
    with(parts, url, Body::default())
}

/// A reply of these parts.
pub(crate) fn with(parts: response::Parts, url: Url, body: Body) -> Response {
    let (mut of_url, ()) = response::Builder::new().url(url).body(()).map_or_else(
        // Nothing in the builder can be wrong.
        |_| http::Response::new(()).into_parts(),
        http::Response::into_parts,
    );
    of_url.extensions.extend(parts.extensions);
    of_url.status = parts.status;
    of_url.version = parts.version;
    of_url.headers = parts.headers;
    http::Response::from_parts(of_url, body).into()
}

/// What is about the connection and not about the reply (RFC 9111, section 3.1).
const OF_CONNECTION: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The headers to keep of a reply that came at `came`.
pub(crate) fn to_keep(headers: &HeaderMap, came: SystemTime) -> HeaderMap {
    let mut kept = headers.clone();
    for value in headers.get_all(http::header::CONNECTION) {
        for name in String::from_utf8_lossy(value.as_bytes()).split(',') {
            kept.remove(name.trim());
        }
    }
    for name in OF_CONNECTION {
        kept.remove(name);
    }
    // RFC 9110, section 6.6.1.
    if !kept.contains_key(DATE) {
        kept.insert(DATE, header(&httpdate::fmt_http_date(came)));
    }
    kept
}

/// The headers of a reply that was confirmed: what the origin says anew takes the place of what it said, but for
/// what is about the body, which is the old one (RFC 9111, section 3.2).
pub(crate) fn confirmed(old: &HeaderMap, new: &HeaderMap, came: SystemTime) -> HeaderMap {
    let mut merged = old.clone();
    // It was the age of what is old.
    merged.remove(AGE);
    let new = to_keep(new, came);
    for name in new.keys() {
        if [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE].contains(name) {
            continue;
        }
        merged.remove(name);
        for value in new.get_all(name) {
            merged.append(name.clone(), value.clone());
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_connection_is_not_kept() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("link", "<a>"),
            ("link", "<b>"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let kept = to_keep(&headers, SystemTime::UNIX_EPOCH);
        assert_eq!(kept.get_all("link").iter().count(), 2);
        assert_eq!(kept["date"], "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(kept.len(), 3);
    }

    #[test]
    fn a_confirmation_replaces_adds_and_leaves_what_is_about_the_body() {
        let of = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            headers
        };
        let old = of(&[
            ("a", "1"),
            ("a", "2"),
            ("b", "1"),
            ("age", "9"),
            ("content-length", "5"),
        ]);
        let new = of(&[
            ("a", "3"),
            ("a", "4"),
            ("c", "1"),
            ("content-length", "0"),
            ("connection", "close"),
        ]);
        let merged = confirmed(&old, &new, SystemTime::UNIX_EPOCH);
        let a: Vec<_> = merged.get_all("a").iter().collect();
        assert_eq!(a, ["3", "4"]);
        assert_eq!(
            (&merged["b"], &merged["c"], &merged["content-length"]),
            (
                &"1".parse().unwrap(),
                &"1".parse().unwrap(),
                &"5".parse().unwrap()
            )
        );
        assert!(!merged.contains_key("age") && !merged.contains_key("connection"));
    }
}
