//! Cloudflare KV, inside a Worker, by its binding.
//!
//! `namespace` has what is asked of the binding, `writes` says how what waits shares it, `failure` what becomes of
//! what the runtime throws. What is kept, and how it is read, is in `cloudflare_kv`.

mod failure;
mod namespace;
mod writes;

use std::sync::Arc;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use worker::kv::KvStore;

use self::namespace::Namespace;
use self::writes::{Change, PART, Writes};
use crate::backend::{Backend, Info, Scan};
use crate::cloudflare_kv::{self, Api as _, Reads, in_parts};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::gather::{Lane, Trip};
use crate::kv::IntoStore;
use crate::runtime::persist;
use crate::store::Store;

struct Workers {
    namespace: Arc<Namespace>,
    reads: Lane<Reads<Namespace>>,
    writes: Lane<Writes>,
}

impl IntoStore for KvStore {
    fn into_store(self) -> Result<Store> {
        Ok(Store::new(Arc::new(Workers::new(Namespace::new(self)))))
    }
}

impl IntoStore for &KvStore {
    fn into_store(self) -> Result<Store> {
        self.clone().into_store()
    }
}

impl Workers {
    fn new(namespace: Namespace) -> Self {
        let namespace = Arc::new(namespace);
        let timeout = namespace.timeout();
        Self {
            reads: Lane::new(Arc::new(Reads(Arc::clone(&namespace))), timeout),
            writes: Lane::new(Arc::new(Writes(Arc::clone(&namespace))), timeout),
            namespace,
        }
    }

    /// Each part has the time of an operation.
    async fn write_all(&self, changes: Vec<Change>) -> Result<()> {
        for part in in_parts(changes, PART, Writes::BYTES, Change::weight) {
            self.writes.ask(part).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Backend for Workers {
    fn info(&self) -> Info {
        cloudflare_kv::info("workers")
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        cloudflare_kv::check_key(key)?;
        let mut found = self.reads.ask(vec![key.to_owned()]).await?;
        Ok(found.pop().flatten())
    }

    /// Of an entry that others wrote, only a listing tells when it expires.
    async fn entry(&self, key: &str) -> Result<Option<Entry>> {
        match self.get(key).await? {
            Some(entry) if entry.expiry() == crate::Expiry::Unread => {
                let namespace = &self.namespace;
                let transient = Error::is_retryable;
                let read = persist(namespace.timeout(), transient, || namespace.whole(key));
                read.await
            }
            read => Ok(read),
        }
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        cloudflare_kv::get_many(&self.reads, keys).await
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        cloudflare_kv::scan(Arc::clone(&self.namespace), scan)
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        self.writes
            .ask(vec![Change::put(key.to_owned(), entry)?])
            .await
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        // What cannot be written fails before anything is.
        let changes = entries
            .into_iter()
            .map(|(key, entry)| Change::put(key, entry));
        self.write_all(changes.collect::<Result<_>>()?).await
    }

    async fn del(&self, key: &str) -> Result<()> {
        self.writes.ask(vec![Change::del(key)?]).await
    }

    async fn del_many(&self, keys: &[String]) -> Result<()> {
        let changes = keys.iter().map(|key| Change::del(key));
        self.write_all(changes.collect::<Result<_>>()?).await
    }

    async fn close(&self) -> Result<()> {
        self.writes.finish().await;
        self.reads.finish().await;
        Ok(())
    }
}
