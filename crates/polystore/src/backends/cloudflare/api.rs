//! The requests of Cloudflare's API, one function each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::failure;
use crate::cloudflare_kv::{self, Cause, Failure, Listed, MOST_VALUE_BYTES};
use crate::entry::{Entry, Expiry};
use crate::error::Error;
use crate::link::Link;
use crate::remote::TlsFiles;
use crate::remote::web::{self, Clients, Reply, Unread};

/// What a reply may have. Of a bulk read, Cloudflare bounds the values to 25 MiB, which JSON may double.
const MOST_BYTES: usize = 64 << 20;

/// What can stand in a URL as it is.
const IN_A_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// The API of one namespace.
pub(super) struct Api {
    /// `https://…/namespaces/ID`
    url: String,
    /// `Bearer` and the token, which is not shown.
    authorization: HeaderValue,
    tls: TlsFiles,
    timeout: Duration,
    clients: Link<Clients>,
}

/// An entry as a bulk read has it.
#[derive(Deserialize)]
struct Found {
    value: String,
    metadata: Option<Box<RawValue>>,
    expiration: Option<f64>,
}

/// A key in a listing.
#[derive(Deserialize)]
struct Key {
    name: String,
    metadata: Option<Box<RawValue>>,
    expiration: Option<f64>,
}

/// What every reply in JSON has.
#[derive(Deserialize)]
struct Answer<T> {
    result: Option<T>,
    result_info: Option<ResultInfo>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Outcome {
    success: bool,
}

#[derive(Deserialize)]
struct ResultInfo {
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    errors: Vec<Code>,
}

#[derive(Deserialize)]
struct Code {
    code: i64,
}

#[derive(Deserialize)]
struct Values {
    values: HashMap<String, Option<Found>>,
}

/// What became of a bulk write. It need not say how many were done.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    pub(super) successful_key_count: Option<usize>,
    pub(super) unsuccessful_keys: HashSet<String>,
}

impl Api {
    pub(super) fn new(
        url: String,
        authorization: HeaderValue,
        tls: TlsFiles,
        timeout: Duration,
    ) -> Self {
        Self {
            url,
            authorization,
            tls,
            timeout,
            clients: Link::default(),
        }
    }

    pub(super) async fn close(&self) {
        self.clients.close().await;
    }

    async fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let connect = || {
            let tls = self.tls.clone();
            async move { Clients::new(&tls) }
        };
        let clients: Arc<Clients> = self.clients.get(connect).await?;
        let request = clients
            .here()?
            .request(method, format!("{}{path}", self.url));
        Ok(request.header(AUTHORIZATION, self.authorization.clone()))
    }

    /// A reply that is no refusal.
    async fn send(&self, request: RequestBuilder, most: usize) -> Result<Reply, Failure> {
        let response = request.send().await.map_err(web::lost)?;
        if !web::tells_its_end(&response) {
            return Err(failure::not_understood());
        }
        let reply = web::read(response, most)
            .await
            .map_err(|unread| match unread {
                Unread::TooLong => failure::too_long(most),
                Unread::Lost(error) => error.into(),
            })?;
        match reply.status.is_success() {
            true => Ok(reply),
            false => Err(refused(&reply)),
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Answer<T>, Failure> {
        let reply = self.send(request, MOST_BYTES).await?;
        let outcome: Outcome = serde_json::from_slice(&reply.body).unwrap_or_default();
        if !outcome.success {
            return Err(refused(&reply));
        }
        // The causes of serde may quote what is stored.
        serde_json::from_slice(&reply.body).map_err(|_| failure::not_understood())
    }

    async fn post<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Option<T>, Failure> {
        let request = self.request(method, path).await?;
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        Ok(self.ask(request).await?.result)
    }

    async fn metadata(&self, path: &str) -> Result<Option<Box<RawValue>>, Failure> {
        let request = self.request(Method::GET, path).await?;
        Ok(self.ask(request).await?.result)
    }

    /// Puts up to 10,000 pairs, a JSON array.
    pub(super) async fn put(&self, pairs: Vec<u8>) -> Result<Written, Failure> {
        let written = self.post(Method::PUT, "/bulk", pairs).await?;
        Ok(written.unwrap_or_default())
    }

    /// Removes up to 10,000 keys, a JSON array.
    pub(super) async fn remove(&self, keys: Vec<u8>) -> Result<Written, Failure> {
        let written = self.post(Method::POST, "/bulk/delete", keys).await?;
        Ok(written.unwrap_or_default())
    }
}

impl cloudflare_kv::Api for Api {
    const UNDER_WAY: usize = 2;

    fn timeout(&self) -> Duration {
        self.timeout
    }

    async fn read(&self, keys: &[&str]) -> Result<HashMap<String, Entry>, Failure> {
        let body = serde_json::json!({ "keys": keys, "type": "text", "withMetadata": true });
        let body = body.to_string().into_bytes();
        let found = self.post(Method::POST, "/bulk/get", body).await;
        let found = found.map_err(Failure::of_many)?;
        let Values { values } = found.ok_or_else(failure::not_understood)?;
        let entries = values.into_iter().filter_map(|(key, found)| {
            let found = found?;
            let expiry = expiry_of(found.metadata.as_deref(), found.expiration);
            Some((key, Entry::from_stored(found.value, expiry)))
        });
        Ok(entries.collect())
    }

    async fn read_alone(&self, key: &str) -> Result<Option<Entry>, Failure> {
        let key = utf8_percent_encode(key, IN_A_PATH);
        let (value, metadata) = (format!("/values/{key}"), format!("/metadata/{key}"));
        let read = async {
            let before = self.metadata(&metadata).await?;
            let request = self.request(Method::GET, &value).await?;
            let reply = self.send(request, MOST_VALUE_BYTES + 1).await?;
            // A value and the expiry of another would be an entry that nobody has written.
            let after = self.metadata(&metadata).await?;
            if before.as_deref().map(RawValue::get) != after.as_deref().map(RawValue::get) {
                return Err(failure::changed_meanwhile());
            }
            let expiration = reply.headers.get("expiration");
            let expiration = expiration.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
            let expiration = expiration.filter(|seconds: &f64| seconds.is_finite());
            let expiry = expiry_of(after.as_deref(), expiration);
            Ok(Entry::from_stored_bytes(&reply.body, expiry)?)
        };
        match read.await {
            Ok(entry) => Ok(Some(entry)),
            Err(failure) if failure.cause == Cause::NoKey => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn list(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Listed, Failure> {
        let path = keys_path(prefix, cursor, limit);
        let request = self.request(Method::GET, &path).await?;
        let answer: Answer<Vec<Key>> = self.ask(request).await?;
        let keys = answer.result.ok_or_else(failure::not_understood)?;
        let next = answer.result_info.and_then(|info| info.cursor);
        let next = next.filter(|next| !next.is_empty());
        // From where it was, it would never come to an end.
        if next.is_some() && next.as_deref() == cursor {
            return Err(failure::not_understood());
        }
        let keys = keys.into_iter().map(|key| {
            let expiry = expiry_of(key.metadata.as_deref(), key.expiration);
            (key.name, expiry)
        });
        Ok(Listed {
            keys: keys.collect(),
            cursor: next,
        })
    }

    /// The next request makes another connection.
    fn give_up(&self) {
        self.clients.drop_connection();
    }
}

/// What a reply that is no success says.
fn refused(reply: &Reply) -> Failure {
    let refusal: Refusal = serde_json::from_slice(&reply.body).unwrap_or_default();
    let codes: Vec<i64> = refusal.errors.iter().map(|error| error.code).collect();
    // Without a code, a status that says nothing of a failure is no refusal.
    if codes.is_empty() && reply.status.is_success() {
        return failure::not_understood();
    }
    let refused = failure::refused(reply.status, &codes, web::retry_after(&reply.headers));
    match reply.status.is_success() {
        true => refused.map(Error::with_maybe_applied),
        false => refused,
    }
}

fn keys_path(prefix: &str, cursor: Option<&str>, limit: usize) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string());
    if !prefix.is_empty() {
        query.append_pair("prefix", prefix);
    }
    if let Some(cursor) = cursor {
        query.append_pair("cursor", cursor);
    }
    format!("/keys?{}", query.finish())
}

/// When an entry expires, by what Cloudflare says of it.
fn expiry_of(metadata: Option<&RawValue>, expiration: Option<f64>) -> Expiry {
    cloudflare_kv::expiry_of(metadata.map(RawValue::get), expiration)
}
