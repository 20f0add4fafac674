//! Stores behind an HTTP API: a client, replies in bounded memory, errors in our words.
//!
//! On servers the client has connections of its own; in browsers and Workers it is their `fetch`.

#[cfg(not(target_family = "wasm"))]
mod client;
#[cfg(target_family = "wasm")]
mod fetch;

use std::time::Duration;

use ::http::HeaderMap;
use ::http::header::RETRY_AFTER;
use bytes::{Bytes, BytesMut};

#[cfg(not(target_family = "wasm"))]
use self::client as host;
#[cfg(target_family = "wasm")]
use self::fetch as host;
#[cfg(feature = "http")]
pub(crate) use self::host::Client;
pub(crate) use self::host::Response;
#[cfg(all(feature = "cloudflare", not(target_family = "wasm")))]
pub(crate) use self::host::{client, send};
use crate::entry::Timestamp;
use crate::error::{Error, ErrorKind, Result};

/// What a [`Client`] sends.
#[cfg(feature = "http")]
pub(crate) struct Request {
    pub(crate) method: ::http::Method,
    pub(crate) url: url::Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
}

/// A whole reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: ::http::StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Reads what is left of a reply, of at most `most` bytes.
pub(crate) async fn read(mut response: Response, most: usize) -> Result<Reply> {
    let (status, headers) = (response.status(), response.take_headers());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Err(Error::new(
                ErrorKind::Unreachable,
                format!("the server's reply is longer than {most} bytes"),
            )
            .with_maybe_applied());
        }
        body.extend_from_slice(&chunk);
    }
    let body = body.freeze();
    Ok(Reply {
        status,
        headers,
        body,
    })
}

/// How long the server asks to wait: seconds, or a date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(Timestamp::from(at).duration_from_now())
}
