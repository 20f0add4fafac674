//! Requests about one key.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{IF_MATCH, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use polystore_kv::{Entry, Expires, Store};

use crate::body;
use crate::problem::{Outcome, Problem};
use crate::respond::{JSON, empty, json, reply, text, with_ttl};
use crate::target::Params;

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

/// What is said to one key.
pub(crate) struct Item<'a> {
    pub(crate) store: &'a Store,
    pub(crate) key: &'a str,
    pub(crate) params: &'a Params,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) most: usize,
}

/// The JSON text of an entry, without a copy.
struct Text(std::sync::Arc<str>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

pub(crate) fn bytes_of(entry: Entry) -> Bytes {
    Bytes::from_owner(Text(entry.into_json()))
}

impl Item<'_> {
    pub(crate) async fn get(&self) -> Outcome<Response> {
        if self.params.ttl == Some(false) {
            let raw: Option<Box<serde_json::value::RawValue>> = self.store.get(self.key).await?;
            return Ok(match raw {
                Some(raw) => json(String::from(Box::<str>::from(raw))),
                None => empty(StatusCode::NOT_FOUND),
            });
        }
        Ok(match self.store.entry(self.key).await? {
            Some(entry) => {
                let expiry = entry.expiry();
                with_ttl(json(bytes_of(entry)), expiry)
            }
            None => empty(StatusCode::NOT_FOUND),
        })
    }

    pub(crate) async fn head(&self) -> Outcome<Response> {
        if self.params.ttl == Some(false) {
            return Ok(match self.store.has(self.key).await? {
                true => json(Body::empty()),
                false => empty(StatusCode::NOT_FOUND),
            });
        }
        Ok(match self.store.entry(self.key).await? {
            Some(entry) => with_ttl(json(Body::empty()), entry.expiry()),
            None => empty(StatusCode::NOT_FOUND),
        })
    }

    pub(crate) async fn put(&self, body: Body) -> Outcome<Response> {
        let only_if_absent = match self.headers.get(IF_NONE_MATCH) {
            None => false,
            Some(value) if value == "*" => true,
            Some(_) => return Err(Problem::bad("of if-none-match there is only *")),
        };
        if self.headers.contains_key(IF_MATCH) {
            return Err(Problem::bad("there is no if-match here"));
        }
        let value = body::value(&body::whole(body, self.most).await?)?;
        if only_if_absent {
            let insert = self.store.insert(self.key, &value);
            let is_inserted = match self.params.expires {
                Some(expires) => insert.expires(expires).await?,
                None => insert.await?,
            };
            if !is_inserted {
                return Err(Problem::new(
                    StatusCode::PRECONDITION_FAILED,
                    "precondition_failed",
                    "something is there already",
                ));
            }
        } else {
            let set = self.store.set(self.key, &value);
            match self.params.expires {
                Some(expires) => set.expires(expires).await?,
                None => set.await?,
            }
        }
        Ok(json(text(self.key)))
    }

    pub(crate) async fn touch(&self) -> Outcome<Response> {
        let Some(expires) = self.params.expires else {
            return Err(Problem::bad("say the new expiry: ?expires="));
        };
        match self.store.touch(self.key, expires).await? {
            true => Ok(json(text(self.key))),
            false => Err(Problem::not_found()),
        }
    }

    pub(crate) async fn del(&self) -> Outcome<Response> {
        self.store.del(self.key).await?;
        Ok(json(text(self.key)))
    }
}

/// `POST /`: a new key.
pub(crate) async fn add(store: &Store, expires: Option<Expires>, body: Bytes) -> Outcome<Response> {
    let value = body::value(&body)?;
    let add = store.add(&value);
    let key = match expires {
        Some(expires) => add.expires(expires).await?,
        None => add.await?,
    };
    let mut response = reply(StatusCode::CREATED, JSON, text(&key));
    let path = utf8_percent_encode(&key, SEGMENT).to_string();
    if let Ok(path) = HeaderValue::try_from(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    Ok(response)
}
