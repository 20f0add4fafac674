//! Requests about one key.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use polystore_kv::{Entry, ErrorKind, Expires, Store};
use serde_json::value::RawValue;

use crate::body;
use crate::problem::{Outcome, Problem};
use crate::respond::{JSON, empty, json, reply, text, unknown_body, with_ttl};

/// What `encodeURIComponent` encodes.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The JSON text of an entry, without a copy.
struct Text(Arc<str>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// `GET`, and `HEAD` where the time that is left is asked for.
pub(crate) async fn get(store: &Store, key: &str, ttl: bool) -> Outcome<Response> {
    if !ttl {
        let raw: Option<Box<RawValue>> = store.get(key).await?;
        return Ok(match raw {
            Some(raw) => json(String::from(Box::<str>::from(raw))),
            None => empty(StatusCode::NOT_FOUND),
        });
    }
    Ok(match store.entry(key).await? {
        Some(entry) => {
            let expiry = entry.expiry();
            let text = Bytes::from_owner(Text(entry.into_json()));
            with_ttl(json(text), expiry)
        }
        None => empty(StatusCode::NOT_FOUND),
    })
}

/// `HEAD`
pub(crate) async fn has(store: &Store, key: &str, ttl: bool) -> Outcome<Response> {
    if ttl {
        return get(store, key, ttl).await;
    }
    Ok(match store.has(key).await? {
        true => json(unknown_body()),
        false => empty(StatusCode::NOT_FOUND),
    })
}

/// `PUT`
pub(crate) async fn set(
    store: &Store,
    key: &str,
    expires: Option<Expires>,
    body: &Bytes,
) -> Outcome<Response> {
    let expires = match expires {
        Some(expires) => expires,
        None => store.default_expires()?,
    };
    match (expires.to_expiry()?, std::str::from_utf8(body)) {
        (Some(expiry), Ok(json)) => {
            // The store looks whether it is JSON; the white space around it is not kept.
            let json = json.trim_matches([' ', '\t', '\n', '\r']);
            let put = store.put(key, Entry::from_stored(json, expiry)).await;
            put.map_err(|error| match (error.kind(), body::value(body)) {
                (ErrorKind::Corrupt, Err(problem)) => problem,
                _ => Problem::from(error),
            })?;
        }
        _ => {
            body::value(body)?;
            store.del(key).await?;
        }
    }
    Ok(json(text(key)))
}

/// `PUT` with `if-none-match: *`
pub(crate) async fn insert(
    store: &Store,
    key: &str,
    expires: Option<Expires>,
    body: &Bytes,
) -> Outcome<Response> {
    let insert = store.insert(key, body::value(body)?);
    let is_inserted = match expires {
        Some(expires) => insert.expires(expires).await?,
        None => insert.await?,
    };
    put_if(is_inserted, key, "something is there already")
}

/// `PUT` with `if-match: *`
pub(crate) async fn replace(
    store: &Store,
    key: &str,
    expires: Option<Expires>,
    body: &Bytes,
) -> Outcome<Response> {
    let replace = store.replace(key, body::value(body)?);
    let is_replaced = match expires {
        Some(expires) => replace.expires(expires).await?,
        None => replace.await?,
    };
    put_if(is_replaced, key, "nothing is there")
}

fn put_if(is_met: bool, key: &str, why_not: &'static str) -> Outcome<Response> {
    match is_met {
        true => Ok(json(text(key))),
        false => Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition_failed",
            why_not,
        )),
    }
}

/// `PATCH`
pub(crate) async fn touch(
    store: &Store,
    key: &str,
    expires: Option<Expires>,
    body: Body,
) -> Outcome<Response> {
    let Some(expires) = expires else {
        return Err(Problem::bad("say the new expiry: ?expires="));
    };
    // One would think that it is merged into the value.
    if !body::whole(body, 0).await.is_ok_and(|body| body.is_empty()) {
        return Err(Problem::bad_value("a PATCH has no body here"));
    }
    match store.touch(key, expires).await? {
        true => Ok(json(text(key))),
        false => Err(Problem::not_found("there is nothing under that key")),
    }
}

/// `DELETE`
pub(crate) async fn del(store: &Store, key: &str) -> Outcome<Response> {
    store.del(key).await?;
    Ok(json(text(key)))
}

/// `POST /`: a new key. `mount` leads from the request's own path to where keys are.
pub(crate) async fn add(
    store: &Store,
    expires: Option<Expires>,
    body: &Bytes,
    mount: &str,
    prefix: &str,
) -> Outcome<Response> {
    let add = store.add(body::value(body)?);
    let key = match expires {
        Some(expires) => add.expires(expires).await?,
        None => add.await?,
    };
    let mut response = reply(StatusCode::CREATED, JSON, text(&key));
    if let Ok(path) = HeaderValue::try_from(path_of(mount, &format!("{prefix}{key}"))) {
        response.headers_mut().insert(LOCATION, path);
    }
    Ok(response)
}

/// Where a key is, also one that no path can carry.
fn path_of(mount: &str, key: &str) -> String {
    let segment = utf8_percent_encode(key, SEGMENT);
    match key {
        "" | "." | ".." | "ping" => format!("{mount}?key={segment}"),
        _ => format!("{mount}{segment}"),
    }
}

/// Whether a condition of a `PUT` is about any value, which is all that there is.
pub(crate) fn check_condition(headers: &HeaderMap, name: &HeaderName) -> Outcome<()> {
    let mut conditions = headers.get_all(name).into_iter();
    match (conditions.next(), conditions.next()) {
        (Some(condition), None) if condition == "*" => Ok(()),
        _ => Err(Problem::bad(format!("of {name} there is only *"))),
    }
}
