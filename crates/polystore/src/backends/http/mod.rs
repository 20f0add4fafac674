//! `http:`: a server that speaks the HTTP protocol of `docs/http.md`, or the npm package's part of it.

mod base;
mod failure;
mod given;
mod listing;
mod reads;
mod server;
mod transport;
mod wire;
mod writes;

use std::sync::Arc;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use tokio::sync::RwLock;

use self::base::Base;
pub use self::given::HttpStore;
use self::reads::{Read, Reads};
use self::server::{Config, Server};
use self::transport::Credential;
use self::writes::{Write, Writes};
use crate::address::{Address, invalid};
use crate::backend::{Backend, Info, Scan};
use crate::entry::{Entry, Expiry};
use crate::error::Result;
use crate::gather::Lane;
use crate::opener::Opener;
use crate::remote::TlsFiles;
use crate::remote::web::token_in;
use crate::runtime::{TIMEOUT, persist};
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("http", open);

const OPTIONS: [&str; 6] = [
    "polystore.token_env",
    "polystore.timeout",
    "polystore.max_reply",
    "polystore.tls_ca",
    "polystore.tls_cert",
    "polystore.tls_key",
];

/// The longest value, line of a listing, or listing of an npm server that is read.
const MOST_BYTES: usize = 64 << 20;

fn open(address: Address) -> Result<Store> {
    store(address, None)
}

/// The store at `address`, which knows us by `given`, or by what the URL says.
fn store(mut address: Address, given: Option<Credential>) -> Result<Store> {
    let [token_env, timeout, max_reply, tls_ca, tls_cert, tls_key] = OPTIONS;
    let token = address.take(token_env);
    let token = token.map(|name| token_in(&name, token_env));
    let tls = TlsFiles::take(&mut address, [tls_ca, tls_cert, tls_key])?;
    let (base, user) = Base::new(address.scheme(), address.location(), address.kept_query())?;
    if base.is_plain() && tls.is_given() {
        return Err(invalid(
            "the files for TLS are for https: URLs, and this one is http:",
        ));
    }
    let credentials = [
        given.map(Ok),
        token.map(|token| Credential::token(&token?)),
        user.as_ref().map(Credential::user),
    ];
    let mut credentials = credentials.into_iter().flatten();
    let credential = credentials.next().transpose()?;
    if credentials.next().is_some() {
        return Err(invalid(
            "of a token from the program, polystore.token_env and a user in the URL there can be one",
        ));
    }
    let config = Config {
        base,
        credential,
        tls,
        timeout: address.take_duration(timeout, TIMEOUT)?,
        most: address.take_bytes(max_reply)?.unwrap_or(MOST_BYTES),
    };
    address.finish(&OPTIONS)?;
    Ok(Store::new(Arc::new(Http::new(Server::new(config)))))
}

struct Http {
    server: Arc<Server>,
    reads: Lane<Reads>,
    writes: Lane<Writes>,
    /// Read by what goes past the lanes; closing waits for it.
    at_work: RwLock<()>,
}

impl Http {
    fn new(server: Server) -> Self {
        let server = Arc::new(server);
        let timeout = server.config.timeout;
        Self {
            reads: Lane::new(Arc::new(Reads(Arc::clone(&server))), timeout),
            writes: Lane::new(Arc::new(Writes(Arc::clone(&server))), timeout),
            server,
            at_work: RwLock::new(()),
        }
    }

    async fn read(&self, read: Read) -> Result<Option<Entry>> {
        Ok(self.reads.ask(read).await?.pop().flatten())
    }

    /// Does what can be done again, until it succeeds or the time is over.
    async fn persist<T, F>(&self, attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let server = &self.server;
        let timeout = server.config.timeout;
        persist(timeout, |error| server.is_transient(error), attempt).await
    }
}

#[async_trait]
impl Backend for Http {
    fn info(&self) -> Info {
        self.server.info()
    }

    async fn connect(&self) -> Result<()> {
        self.persist(|| self.server.connection()).await.map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.read(Read::Get(vec![key.to_owned()])).await
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        self.reads.ask(Read::Get(keys.to_vec())).await
    }

    async fn has(&self, key: &str) -> Result<bool> {
        Ok(self.read(Read::Has(key.to_owned())).await?.is_some())
    }

    async fn entry(&self, key: &str) -> Result<Option<Entry>> {
        self.read(Read::Entry(key.to_owned())).await
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        listing::scan(Arc::clone(&self.server), scan)
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        self.set_many(vec![(key.to_owned(), entry)]).await
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        self.writes.ask(Write::Put(entries)).await.map(drop)
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.writes
            .ask(Write::Del(vec![key.to_owned()]))
            .await
            .map(drop)
    }

    async fn del_many(&self, keys: &[String]) -> Result<()> {
        self.writes.ask(Write::Del(keys.to_vec())).await.map(drop)
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        self.writes.ask(Write::Insert(key.to_owned(), entry)).await
    }

    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        self.writes.ask(Write::Replace(key.to_owned(), entry)).await
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.writes.ask(Write::Touch(key.to_owned(), expiry)).await
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        self.writes
            .ask(Write::Evict(key.to_owned(), seen.clone()))
            .await
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        let _at_work = self.at_work.read().await;
        let keys = self
            .persist(async || {
                let to = self.server.connection().await?;
                match to.is_full() {
                    true => listing::clear(&self.server, &to, prefix)
                        .await
                        .map(|()| None),
                    false => listing::keys(&self.server, &to, prefix).await.map(Some),
                }
            })
            .await?;
        match keys {
            Some(keys) if !keys.is_empty() => self.del_many(&keys).await,
            _ => Ok(()),
        }
    }

    async fn prune(&self, prefix: &str) -> Result<u64> {
        let _at_work = self.at_work.read().await;
        self.persist(async || {
            let to = self.server.connection().await?;
            listing::prune(&self.server, &to, prefix).await
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        let _at_work = self.at_work.write().await;
        self.writes.finish().await;
        self.reads.finish().await;
        self.server.close().await;
        Ok(())
    }
}
