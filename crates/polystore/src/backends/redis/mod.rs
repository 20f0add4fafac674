//! `redis:`: string keys of a Redis or Valkey server, or of a cluster of them.
//!
//! `location` is what a URL says, `source` makes a connection of that or of a client that
//! the program has (`given`), `server` keeps it, `wire` sends commands on it. `reader` and
//! `writer` gather what waits into requests, of the commands in `command`. `listing` is
//! SCAN, over all masters of a cluster by `topology`. `failure` is what becomes of errors.

mod command;
mod failure;
#[cfg(feature = "redis-1")]
mod given;
mod listing;
mod location;
mod reader;
mod server;
mod source;
mod topology;
mod wire;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::future::{join_all, try_join_all};

use self::location::Location;
use self::reader::{Found, Read, Reader};
use self::server::Server;
use self::source::Source;
use self::writer::{Write, Writer};
use crate::address::Address;
use crate::backend::{Backend, Info, Scan};
use crate::entry::{Entry, Expiry};
use crate::error::Result;
use crate::gather::Lane;
use crate::opener::Opener;
use crate::store::Store;

pub(crate) const STORE: Opener = Opener::new("redis", open);

/// How many keys go in one request of a group method.
const KEYS: usize = 500;

/// How many bytes do.
const BYTES: usize = 1 << 20;

/// Into how many parts the slots of a cluster are divided, each with a lane of its own, so
/// that a server that is down keeps up as little as may be of what is for the others. Twelve
/// can be shared fairly by 2, 3, 4, 6 and 12 masters.
const PARTS: usize = 12;

fn open(address: Address) -> Result<Store> {
    let location = Location::parse(address)?;
    let timeout = location.timeout;
    Ok(store(Source::Url(location), timeout))
}

fn store(source: Source, timeout: Duration) -> Store {
    Store::new(Arc::new(Redis::new(source, timeout)))
}

struct Redis {
    server: Arc<Server>,
    /// One for each part of a cluster.
    lanes: Vec<Lanes>,
}

struct Lanes {
    reads: Lane<Reader>,
    writes: Lane<Writer>,
}

impl Redis {
    fn new(source: Source, timeout: Duration) -> Self {
        let server = Arc::new(Server::new(source, timeout));
        let is_cluster = server.is_cluster();
        let reader = Arc::new(Reader::new(Arc::clone(&server)));
        let writer = Arc::new(Writer {
            server: Arc::clone(&server),
            is_cluster,
        });
        let lanes = || Lanes {
            reads: Lane::new(Arc::clone(&reader), timeout),
            writes: Lane::new(Arc::clone(&writer), timeout),
        };
        let parts = if is_cluster { PARTS } else { 1 };
        Self {
            server,
            lanes: (0..parts).map(|_| lanes()).collect(),
        }
    }

    fn lanes(&self, key: &str) -> &Lanes {
        &self.lanes[self.part(key)]
    }

    fn part(&self, key: &str) -> usize {
        match self.lanes.len() {
            1 => 0,
            parts => usize::from(topology::slot(key)) * parts / topology::SLOTS,
        }
    }

    async fn read(&self, key: &str, read: fn(String) -> Read) -> Result<Found> {
        self.lanes(key).reads.ask(read(key.to_owned())).await
    }

    async fn write(&self, key: &str, write: Write) -> Result<bool> {
        self.lanes(key).writes.ask(write).await
    }

    async fn write_all<T>(
        &self,
        shares: Vec<(usize, Vec<T>)>,
        write: fn(Vec<T>) -> Write,
    ) -> Result<()> {
        let is_one = shares.len() == 1;
        let writes = shares
            .into_iter()
            .map(|(part, share)| self.lanes[part].writes.ask(write(share)));
        // What became of the others is not known when one has failed.
        let done = try_join_all(writes).await.map(drop);
        done.map_err(|error| match is_one {
            true => error,
            false => error.with_maybe_applied(),
        })
    }

    /// What goes in one request each: the part, and of its things as many as `weigh` little enough.
    fn shares<T>(
        &self,
        things: impl Iterator<Item = T>,
        key: impl Fn(&T) -> &str,
        weigh: impl Fn(&T) -> usize,
    ) -> Vec<(usize, Vec<T>)> {
        let mut shares = Vec::new();
        let mut open: Vec<(Vec<T>, usize)> = Vec::new();
        open.resize_with(self.lanes.len(), Default::default);
        for thing in things {
            let part = self.part(key(&thing));
            let weight = weigh(&thing);
            let (share, bytes) = &mut open[part];
            if share.len() == KEYS || (!share.is_empty() && *bytes + weight > BYTES) {
                shares.push((part, std::mem::take(share)));
                *bytes = 0;
            }
            *bytes += weight;
            share.push(thing);
        }
        let rest = open.into_iter().map(|(share, _)| share).enumerate();
        shares.extend(rest.filter(|(_, share)| !share.is_empty()));
        shares
    }
}

#[async_trait]
impl Backend for Redis {
    fn info(&self) -> Info {
        Info::new("redis").with(|can| {
            can.insert = true;
            can.replace = true;
            can.touch = true;
            can.prune = true;
            can.native_expiry = Some(Duration::from_millis(1));
            can.max_value_bytes = Some(command::MOST_BYTES);
            can.persistent = true;
        })
    }

    async fn connect(&self) -> Result<()> {
        self.server.persist(|| self.server.wire()).await.map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        match self.read(key, Read::Get).await? {
            Found::Entry(entry) => Ok(entry),
            Found::Entries(_) | Found::Has(_) => server::unexpected(),
        }
    }

    async fn entry(&self, key: &str) -> Result<Option<Entry>> {
        match self.read(key, Read::Entry).await? {
            Found::Entry(entry) => Ok(entry),
            Found::Entries(_) | Found::Has(_) => server::unexpected(),
        }
    }

    async fn has(&self, key: &str) -> Result<bool> {
        match self.read(key, Read::Has).await? {
            Found::Has(has) => Ok(has),
            Found::Entry(_) | Found::Entries(_) => server::unexpected(),
        }
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let numbered = keys.iter().enumerate();
        let shares = self.shares(numbered, |(_, key)| key, |(_, key)| key.len());
        let reads = shares.into_iter().map(|(part, share)| async move {
            let keys = share.iter().map(|(_, key)| (*key).clone()).collect();
            match self.lanes[part].reads.ask(Read::GetMany(keys)).await? {
                Found::Entries(entries) => Ok((share, entries)),
                Found::Entry(_) | Found::Has(_) => server::unexpected(),
            }
        });
        let mut all = vec![None; keys.len()];
        for (share, entries) in try_join_all(reads).await? {
            for ((number, _), entry) in share.into_iter().zip(entries) {
                all[number] = entry;
            }
        }
        Ok(all)
    }

    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        let entries = listing::list(Arc::clone(&self.server), &scan);
        scan.select_from(entries)
    }

    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        command::check(key, &entry)?;
        let set = Write::Set(key.to_owned(), entry);
        self.write(key, set).await.map(drop)
    }

    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        command::check(key, &entry)?;
        self.write(key, Write::Insert(key.to_owned(), entry)).await
    }

    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        command::check(key, &entry)?;
        self.write(key, Write::Replace(key.to_owned(), entry)).await
    }

    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.write(key, Write::Touch(key.to_owned(), expiry)).await
    }

    async fn del(&self, key: &str) -> Result<()> {
        let del = Write::Del(vec![key.to_owned()]);
        self.write(key, del).await.map(drop)
    }

    async fn evict(&self, key: &str, seen: &Entry) -> Result<bool> {
        let evict = Write::Evict(key.to_owned(), seen.clone());
        self.write(key, evict).await
    }

    /// The server does it by itself, and shows nothing that has expired.
    async fn prune(&self, _prefix: &str) -> Result<u64> {
        Ok(0)
    }

    async fn set_many(&self, entries: Vec<(String, Entry)>) -> Result<()> {
        for (key, entry) in &entries {
            command::check(key, entry).map_err(|error| error.with_key(key))?;
        }
        let weigh = |(key, entry): &(String, Entry)| key.len() + entry.json().len();
        let shares = self.shares(entries.into_iter(), |(key, _)| key, weigh);
        self.write_all(shares, Write::SetMany).await
    }

    async fn del_many(&self, keys: &[String]) -> Result<()> {
        let shares = self.shares(keys.iter().cloned(), |key| key, String::len);
        self.write_all(shares, Write::Del).await
    }

    async fn close(&self) -> Result<()> {
        join_all(self.lanes.iter().map(|lanes| async {
            lanes.writes.finish().await;
            lanes.reads.finish().await;
        }))
        .await;
        self.server.close().await;
        Ok(())
    }
}
