//! Stores behind an HTTP API: a client, replies in bounded memory, errors in our words.
//!
//! On servers the client has connections of its own; in browsers and Workers it is their `fetch`.

#[cfg_attr(target_family = "wasm", path = "fetch.rs")]
mod client;

use std::time::Duration;

use ::http::HeaderMap;
use ::http::header::RETRY_AFTER;
use bytes::{Bytes, BytesMut};

#[cfg(all(feature = "cloudflare", not(target_family = "wasm")))]
pub(crate) use self::client::lost;
pub(crate) use self::client::{Clients, Response, chunk, tells_its_end, token_in};
use crate::entry::Timestamp;
use crate::error::{Error, Result};

/// What goes to a server.
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

/// Why a reply is not whole.
pub(crate) enum Unread {
    TooLong,
    /// The connection is gone.
    Lost(Error),
}

/// Reads what is left of a reply, of at most `most` bytes.
pub(crate) async fn read(mut response: Response, most: usize) -> Result<Reply, Unread> {
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    let mut body = BytesMut::new();
    while let Some(chunk) = chunk(&mut response).await.map_err(Unread::Lost)? {
        if body.len() + chunk.len() > most {
            return Err(Unread::TooLong);
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
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than a number here can be is long enough.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(Timestamp::from(at).duration_from_now())
}
