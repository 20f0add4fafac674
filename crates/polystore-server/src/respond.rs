//! Replies.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, StatusCode};
use polystore_kv::Expiry;

/// What is left until an entry expires.
const TTL: HeaderName = HeaderName::from_static("polystore-ttl");

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

pub(crate) fn reply(status: StatusCode, form: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, form);
    // Values change at any time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(crate) fn json(body: impl Into<Body>) -> Response {
    reply(StatusCode::OK, JSON, body)
}

/// A key, or another text, as JSON.
pub(crate) fn text(text: &str) -> Bytes {
    // A text is always JSON.
    serde_json::to_vec(text).unwrap_or_default().into()
}

pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

pub(crate) fn with_ttl(mut response: Response, expiry: Expiry) -> Response {
    let text = ttl(expiry).unwrap_or_else(|| "never".to_owned());
    if let (false, Ok(value)) = (expiry == Expiry::Unread, HeaderValue::try_from(text)) {
        response.headers_mut().insert(TTL, value);
    }
    response
}

/// The seconds that are left, if it expires.
pub(crate) fn ttl(expiry: Expiry) -> Option<String> {
    let Expiry::At(at) = expiry else { return None };
    let left = at.duration_from_now();
    let millis = left.as_nanos().div_ceil(1_000_000);
    Some(format!("{}.{:03}", millis / 1000, millis % 1000))
}
