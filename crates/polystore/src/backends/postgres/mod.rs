//! `postgres:`: a table in a PostgreSQL database.
//!
//! `config` reads the URL and `tls` checks certificates; `server` has the connections (each
//! a `session`) and the table, which `table` finds or makes and of which `sql` speaks. Single entries go
//! through two lanes, `reads` and `writes`, whose statements `plan` puts together; `group` lists, clears and
//! prunes, and the `sweeper` removes what has expired. `clock` converts instants. `failure` is
//! what becomes of errors, and `given` takes clients that the program already has.

mod clock;
mod config;
mod failure;
#[cfg(feature = "tokio-postgres-0_7")]
mod given;
mod group;
mod name;
mod plan;
mod reads;
mod server;
mod session;
mod sql;
mod sweeper;
mod table;
mod tls;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::stream::BoxStream;

use self::config::Settings;
use self::reads::{Read, Reads, Want};
use self::server::{Role, Server, Source};
use self::sweeper::Sweeper;
use self::writes::{MOST_KEY_BYTES, MOST_VALUE_BYTES, Op, Writes, check, check_key};
use crate::address::Address;
use crate::backend::{Backend, Info, Scan};
use crate::entry::{Entry, Expiry};
use crate::error::Result;
use crate::gather::Lane;
use crate::opener::Opener;
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("postgres", open);

/// How many keys or entries go in one statement, if they came together: so many are read together,
/// and written as a whole or not at all.
const MANY: usize = 10_000;

/// And how many bytes.
const MANY_BYTES: usize = 16 << 20;

fn open(address: Address) -> Result<Store> {
    let (settings, config, security) = config::parse(address)?;
    let source = Source::Config(Arc::new((config, security)));
    Ok(store(source, settings))
}

fn store(source: Source, settings: Settings) -> Store {
    Store::new(Arc::new(Postgres::new(source, settings)))
}

struct Postgres {
    server: Arc<Server>,
    sweeper: Arc<Sweeper>,
    reads: Lane<Reads>,
    writes: Lane<Writes>,
}

impl Postgres {
    fn new(source: Source, settings: Settings) -> Self {
        let timeout = settings.timeout;
        let server = Arc::new(Server::new(source, settings));
        let sweeper = Arc::new(Sweeper::default());
        let reads = Reads(Arc::clone(&server));
        let writes = Writes {
            server: Arc::clone(&server),
            sweeper: Arc::clone(&sweeper),
        };
        Self {
            reads: Lane::new(Arc::new(reads), timeout),
            writes: Lane::new(Arc::new(writes), timeout),
            server,
            sweeper,
        }
    }

    async fn read(&self, key: &str, want: Want) -> Result<Option<Entry>> {
        check_key(key)?;
        let keys = vec![key.to_owned()];
        let mut found = self.reads.ask(Read { keys, want }).await?;
        Ok(found.pop().flatten())
    }

    /// Writes them part by part, each as a whole or not at all.
    async fn put_many(&self, entries: Vec<(String, Option<Entry>)>) -> Result<()> {
        let (mut part, mut bytes) = (Vec::new(), 0);
        let mut is_begun = false;
        for (key, entry) in entries {
            let size = key.len() + entry.as_ref().map_or(0, |entry| entry.json().len());
            if part.len() == MANY || (!part.is_empty() && bytes + size > MANY_BYTES) {
                self.put_part(std::mem::take(&mut part), is_begun).await?;
                is_begun = true;
                bytes = 0;
            }
            bytes += size;
            part.push((key, entry));
        }
        if part.is_empty() {
            return Ok(());
        }
        self.put_part(part, is_begun).await
    }

    async fn put_part(&self, part: Vec<(String, Option<Entry>)>, is_begun: bool) -> Result<()> {
        let put = self.writes.ask(Op::Put(part)).await.map(drop);
        put.map_err(|error| match is_begun {
            true => error.with_maybe_applied(),
            false => error,
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.sweeper.close();
    }
}

#[async_trait]
impl Backend for Postgres {
    fn info(&self) -> Info {
        Info::new("postgres").with(|can| {
            can.insert = true;
            can.replace = true;
            can.touch = true;
            can.prune = true;
            can.native_expiry = Some(Duration::from_millis(1));
            can.max_key_bytes = Some(MOST_KEY_BYTES);
            can.max_value_bytes = Some(MOST_VALUE_BYTES);
            can.refused_chars = vec!['\0'];
            can.ordered = true;
            can.persistent = true;
        })
    }

    async fn connect(&self) -> Result<()> {
        let server = &self.server;
        let connect = || server.table(Role::Read);
        server.persist(Role::Read, connect).await.map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.read(key, Want::Value).await
    }

    async fn entry(&self, key: &str) -> Result<Option<Entry>> {
        self.read(key, Want::Entry).await
    }

    async fn has(&self, key: &str) -> Result<bool> {
        Ok(self.read(key, Want::Presence).await?.is_some())
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        for key in keys {
            check_key(key).map_err(|error| error.with_key(key))?;
        }
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(MANY) {
            let (keys, want) = (keys.to_vec(), Want::Value);
            found.extend(self.reads.ask(Read { keys, want }).await?);
        }
        Ok(found)
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        group::list(&self.server, &scan)
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        check(key, &entry)?;
        let put = Op::Put(vec![(key.to_owned(), Some(entry))]);
        self.writes.ask(put).await.map(drop)
    }

    async fn del(&self, key: &str) -> Result<()> {
        check_key(key)?;
        let put = Op::Put(vec![(key.to_owned(), None)]);
        self.writes.ask(put).await.map(drop)
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        for (key, entry) in &entries {
            check(key, entry).map_err(|error| error.with_key(key))?;
        }
        let entries = entries.into_iter();
        let entries = entries.map(|(key, entry)| (key, Some(entry))).collect();
        self.put_many(entries).await
    }

    async fn del_many(&self, keys: &[String]) -> Result<()> {
        for key in keys {
            check_key(key).map_err(|error| error.with_key(key))?;
        }
        let keys = keys.iter().map(|key| (key.clone(), None)).collect();
        self.put_many(keys).await
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        group::clear(&self.server, prefix).await.map(drop)
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        check(key, &entry)?;
        self.writes.ask(Op::Insert(key.to_owned(), entry)).await
    }

    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        check(key, &entry)?;
        self.writes.ask(Op::Replace(key.to_owned(), entry)).await
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        check_key(key)?;
        self.writes.ask(Op::Touch(key.to_owned(), expiry)).await
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        check_key(key)?;
        let evict = Op::Evict(key.to_owned(), seen.clone());
        self.writes.ask(evict).await
    }

    async fn prune(&self, prefix: &str) -> Result<u64> {
        group::prune(&self.server, prefix).await
    }

    async fn close(&self) -> Result<()> {
        self.reads.finish().await;
        self.writes.finish().await;
        self.sweeper.close();
        self.server.close().await;
        Ok(())
    }
}
