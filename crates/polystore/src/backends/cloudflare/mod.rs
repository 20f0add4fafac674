//! `cloudflare:`: Cloudflare KV by its REST API.
//!
//! `api` has its requests, `writes` says how what waits shares them, `failure` what becomes of errors. How it is read
//! is in `cloudflare_kv`.

mod api;
mod failure;
mod given;
mod writes;

use std::sync::Arc;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use reqwest::Url;
use reqwest::header::HeaderValue;
use tokio::sync::RwLock;

use self::api::Api;
pub use self::given::Cloudflare;
use self::writes::{Change, MOST_CHANGES, Writes};
use crate::address::{Address, invalid};
use crate::backend::{Backend, Info, Scan};
use crate::cloudflare_kv::{self, Api as _, Keys, Reads, in_parts};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::gather::{Lane, Trip};
use crate::opener::Opener;
use crate::remote::TlsFiles;
use crate::remote::web::token_in;
use crate::runtime::TIMEOUT;
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("cloudflare", open);

const BASE: &str = "https://api.cloudflare.com/client/v4";

/// The variable that Cloudflare's own tools take the token from.
const TOKEN: &str = "CLOUDFLARE_API_TOKEN";

fn open(address: Address) -> Result<Store> {
    open_with(address, None)
}

/// The namespace at the address; the token is that of the environment if none is given.
fn open_with(mut address: Address, token: Option<String>) -> Result<Store> {
    let path = namespace_of(address.location())?;
    let base = base_of(address.take("base").as_deref().unwrap_or(BASE))?;
    let token = match (token, address.take("token_env")) {
        (None, Some(variable)) => token_in(&variable, "token_env")?,
        (None, None) => token_in(TOKEN, "token_env").map_err(|_| {
            invalid(format!(
                "there is no token: set the environment variable {TOKEN} to an API token of Cloudflare"
            ))
        })?,
        (Some(token), None) => token,
        (Some(_), Some(_)) => {
            return Err(invalid(
                "the token is given: leave out the option token_env",
            ));
        }
    };
    let files = TlsFiles::take(&mut address, ["tls_ca", "tls_cert", "tls_key"])?;
    let timeout = address.take_timeout(TIMEOUT)?;
    address.finish(&[
        "token_env",
        "base",
        "tls_ca",
        "tls_cert",
        "tls_key",
        "timeout",
    ])?;
    let api = Api::new(format!("{base}{path}"), bearer(&token)?, files, timeout);
    Ok(Store::new(Arc::new(Namespace::new(api))))
}

/// The path of `//ACCOUNT/NAMESPACE`.
fn namespace_of(location: &str) -> Result<String> {
    let is_id = |id: &str| {
        let is_of_one = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        !id.is_empty() && id.chars().all(is_of_one)
    };
    let ids = location
        .strip_prefix("//")
        .and_then(|ids| ids.split_once('/'));
    match ids {
        Some((account, namespace)) if is_id(account) && is_id(namespace) => Ok(format!(
            "/accounts/{account}/storage/kv/namespaces/{namespace}"
        )),
        _ => Err(invalid(
            "the URL of a namespace is cloudflare://ACCOUNT/NAMESPACE, with the ids of both",
        )),
    }
}

/// Where the API is, without a slash at the end.
fn base_of(base: &str) -> Result<String> {
    let is_plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let url = Url::parse(base).ok().filter(is_plain).ok_or_else(|| {
        invalid("the option base is the URL of an API, such as https://host/client/v4, without user or query")
    })?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn bearer(token: &str) -> Result<HeaderValue> {
    let token = token.trim();
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .ok()
        .filter(|_| !token.is_empty() && token.is_ascii())
        .ok_or_else(|| invalid("the token is no API token of Cloudflare"))?;
    header.set_sensitive(true);
    Ok(header)
}

struct Namespace {
    api: Arc<Api>,
    reads: Lane<Reads<Api>>,
    writes: Lane<Writes>,
    /// Read by what takes several requests one after the other; closing waits for it.
    at_work: RwLock<()>,
}

impl Namespace {
    fn new(api: Api) -> Self {
        let api = Arc::new(api);
        let timeout = api.timeout();
        Self {
            reads: Lane::new(Arc::new(Reads(Arc::clone(&api))), timeout),
            writes: Lane::new(Arc::new(Writes(Arc::clone(&api))), timeout),
            api,
            at_work: RwLock::new(()),
        }
    }

    async fn write_all_at_work(&self, changes: Vec<Change>) -> Result<()> {
        let _at_work = self.at_work.read().await;
        self.write_all(changes).await
    }

    /// Each part has the time of an operation.
    async fn write_all(&self, changes: Vec<Change>) -> Result<()> {
        for part in in_parts(changes, MOST_CHANGES, Writes::BYTES, Change::weight) {
            self.writes.ask(part).await?;
        }
        Ok(())
    }
}

fn put(key: &str, entry: &Entry) -> Result<Change> {
    cloudflare_kv::check(key, entry)?;
    Ok(Change::put(key, entry))
}

fn del(key: &str) -> Result<Change> {
    cloudflare_kv::check_key(key)?;
    Ok(Change::del(key))
}

#[async_trait]
impl Backend for Namespace {
    fn info(&self) -> Info {
        cloudflare_kv::info("cloudflare")
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        cloudflare_kv::check_key(key)?;
        let mut found = self.reads.ask(vec![key.to_owned()]).await?;
        Ok(found.pop().flatten())
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let _at_work = self.at_work.read().await;
        cloudflare_kv::get_many(&self.reads, keys).await
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        cloudflare_kv::scan(Arc::clone(&self.api), scan)
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        self.writes.ask(vec![put(key, &entry)?]).await
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        // What cannot be written fails before anything is.
        let changes = entries.iter().map(|(key, entry)| {
            let change = put(key, entry);
            change.map_err(|error| error.with_key(key))
        });
        self.write_all_at_work(changes.collect::<Result<_>>()?)
            .await
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.writes.ask(vec![del(key)?]).await
    }

    async fn del_many(&self, keys: &[String]) -> Result<()> {
        let changes = keys.iter().map(|key| {
            let change = del(key);
            change.map_err(|error| error.with_key(key))
        });
        self.write_all_at_work(changes.collect::<Result<_>>()?)
            .await
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        let _at_work = self.at_work.read().await;
        let mut keys = Keys::new(Arc::clone(&self.api), prefix);
        let mut gone: Vec<Change> = Vec::new();
        let mut is_begun = false;
        let of_some = |error: Error, is_begun| match is_begun {
            true => error.with_maybe_applied(),
            false => error,
        };
        loop {
            let page = keys.next().await;
            let page = page.map_err(|error| of_some(error, is_begun))?;
            let is_last = page.is_empty();
            gone.extend(page.into_iter().map(|(key, _)| Change::del(&key)));
            if gone.len() >= MOST_CHANGES || (is_last && !gone.is_empty()) {
                let removed = self.write_all(std::mem::take(&mut gone)).await;
                removed.map_err(|error| of_some(error, is_begun))?;
                is_begun = true;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn close(&self) -> Result<()> {
        let _at_work = self.at_work.write().await;
        self.writes.finish().await;
        self.reads.finish().await;
        self.api.close().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_an_account_and_a_namespace() {
        let path = namespace_of("//0a1b/c-D_2").unwrap();
        assert_eq!(path, "/accounts/0a1b/storage/kv/namespaces/c-D_2");
        for location in [
            "",
            "a/b",
            "//a",
            "//a/",
            "///b",
            "//a/b/c",
            "//secret@a/b",
            "//a/b%2F",
        ] {
            let error = namespace_of(location).unwrap_err();
            assert!(error.is_usage(), "{location}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn a_base_is_a_plain_url() {
        for (base, taken) in [
            (BASE, BASE),
            ("http://127.0.0.1:1/a/", "http://127.0.0.1:1/a"),
            ("http://localhost", "http://localhost"),
        ] {
            assert_eq!(base_of(base).unwrap(), taken);
        }
        for base in [
            "",
            "localhost:1",
            "ftp://secret",
            "https://secret@a/",
            "https://a/?secret",
        ] {
            let error = base_of(base).unwrap_err();
            assert!(error.is_usage(), "{base}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn a_token_is_a_header_that_shows_nothing() {
        assert!(!format!("{:?}", bearer("secret").unwrap()).contains("secret"));
        assert_eq!(bearer(" secret\n").unwrap(), "Bearer secret");
        for token in ["", " ", "secret\ntoken", "sécret"] {
            let error = bearer(token).unwrap_err();
            assert!(error.is_usage(), "{token}");
            assert!(!format!("{error:?}").contains("cret"), "{error:?}");
        }
    }
}
