//! The requests of Cloudflare's API, one function each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::failure;
use crate::cloudflare_kv::{self, Cause, Failure, Listed, MOST_VALUE_BYTES, expiry_of};
use crate::entry::Entry;
use crate::link::Link;
use crate::remote::TlsFiles;
use crate::remote::web::{self, Reply};

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
    client: Link<Client>,
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
    success: bool,
    result: Option<T>,
    result_info: Option<ResultInfo>,
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

#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    unsuccessful_keys: Vec<String>,
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
            client: Link::default(),
        }
    }

    pub(super) async fn close(&self) {
        self.client.close().await;
    }

    async fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let connect = || {
            let tls = self.tls.clone();
            async move { web::client(&tls) }
        };
        let client: Arc<Client> = self.client.get(connect).await?;
        let request = client.request(method, format!("{}{path}", self.url));
        Ok(request.header(AUTHORIZATION, self.authorization.clone()))
    }

    /// A reply that is no refusal.
    async fn send(&self, request: RequestBuilder, most: usize) -> Result<Reply, Failure> {
        let reply = web::send(request, most).await?;
        if reply.status.is_success() {
            return Ok(reply);
        }
        let refusal: Refusal = serde_json::from_slice(&reply.body).unwrap_or_default();
        let codes: Vec<i64> = refusal.errors.iter().map(|error| error.code).collect();
        let wait = web::retry_after(&reply.headers);
        Err(failure::refused(reply.status, &codes, wait))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Answer<T>, Failure> {
        let reply = self.send(request, MOST_BYTES).await?;
        let answer: Result<Answer<T>, _> = serde_json::from_slice(&reply.body);
        // The causes of serde may quote what is stored.
        answer
            .ok()
            .filter(|answer| answer.success)
            .ok_or_else(failure::not_understood)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, Failure> {
        let request = self.request(method, path).await?;
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        self.ask(request)
            .await?
            .result
            .ok_or_else(failure::not_understood)
    }

    async fn metadata(&self, path: &str) -> Result<Option<Box<RawValue>>, Failure> {
        let request = self.request(Method::GET, path).await?;
        Ok(self.ask(request).await?.result)
    }

    /// Puts up to 10,000 pairs, a JSON array. Gives the keys that were not.
    pub(super) async fn put(&self, pairs: Vec<u8>) -> Result<Vec<String>, Failure> {
        let written: Written = self.post(Method::PUT, "/bulk", pairs).await?;
        Ok(written.unsuccessful_keys)
    }

    /// Removes up to 10,000 keys, a JSON array. Gives those that were not.
    pub(super) async fn remove(&self, keys: Vec<u8>) -> Result<Vec<String>, Failure> {
        let written: Written = self.post(Method::POST, "/bulk/delete", keys).await?;
        Ok(written.unsuccessful_keys)
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
        let Values { values } = self.post(Method::POST, "/bulk/get", body).await?;
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
        let keys = keys.into_iter().map(|listed| {
            let expiry = expiry_of(listed.metadata.as_deref(), listed.expiration);
            (listed.name, expiry)
        });
        let cursor = answer.result_info.and_then(|info| info.cursor);
        Ok(Listed {
            keys: keys.collect(),
            cursor: cursor.filter(|cursor| !cursor.is_empty()),
        })
    }

    /// The next request makes another connection.
    fn give_up(&self) {
        self.client.drop_connection();
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
