//! Replies.

use std::io::Write;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, StatusCode};
use polystore_kv::Expiry;

/// What is left until an entry expires.
const TTL: HeaderName = HeaderName::from_static("polystore-ttl");

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

pub(crate) fn reply(status: StatusCode, form: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, form);
    response
}

pub(crate) fn json(body: impl Into<Body>) -> Response {
    reply(StatusCode::OK, JSON, body)
}

/// A key, or another text, as JSON.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_text(&mut out, text);
    out
}

/// Appends a text as JSON.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    // A text is always JSON, and a Vec takes all that is written.
    let _ = serde_json::to_writer(out, text);
}

pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A body that is not sent and whose length is not known: for `HEAD`, which must not say a wrong one.
pub(crate) fn unknown_body() -> Body {
    Body::from_stream(stream::empty::<std::io::Result<Bytes>>())
}

pub(crate) fn with_ttl(mut response: Response, expiry: Expiry) -> Response {
    let value = match expiry {
        Expiry::Never => HeaderValue::from_static("never"),
        Expiry::At(_) => {
            let mut text = Vec::new();
            write_ttl(&mut text, expiry);
            match HeaderValue::from_maybe_shared(Bytes::from(text)) {
                Ok(value) => value,
                Err(_) => return response,
            }
        }
        _ => return response,
    };
    response.headers_mut().insert(TTL, value);
    response
}

/// Appends the seconds that are left, and gives whether it expires at all.
pub(crate) fn write_ttl(out: &mut Vec<u8>, expiry: Expiry) -> bool {
    let Expiry::At(at) = expiry else { return false };
    let millis = at.duration_from_now().as_nanos().div_ceil(1_000_000);
    // A Vec takes all that is written.
    let _ = write!(out, "{}.{:03}", millis / 1000, millis % 1000);
    true
}
