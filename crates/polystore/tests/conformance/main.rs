//! Every store of this crate keeps the contract.
//!
//! How many properties pass and are skipped on each is in `conformance.counts`.

#[cfg(all(feature = "browser", unix))]
mod browser;
#[cfg(feature = "http")]
mod http;
#[cfg(all(feature = "workers", unix))]
mod workers;

use std::future::ready;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use polystore_conformance::Suite;
use polystore_kv::{Error, Result, kv};

/// What needs no place of its own: a name and a URL.
const ANYWHERE: &[(&str, &str)] = &[
    #[cfg(feature = "memory")]
    ("memory", "memory:"),
    #[cfg(feature = "memory")]
    (
        "memory with limits",
        "memory:?max_entries=20000&max_bytes=200MB",
    ),
    #[cfg(feature = "sqlite")]
    ("sqlite in memory", "sqlite::memory:"),
];

/// What does: a name, a scheme, and what comes after the path of a new folder.
const IN_A_FOLDER: &[(&str, &str, &str)] = &[
    #[cfg(feature = "file")]
    ("file", "file:", "a.json"),
    #[cfg(feature = "file")]
    ("file sync=normal", "file:", "a.json?sync=normal"),
    #[cfg(feature = "folder")]
    ("folder", "file:", ""),
    #[cfg(feature = "folder")]
    ("folder sync=normal", "file:", "?sync=normal"),
    #[cfg(feature = "sqlite")]
    ("sqlite", "sqlite:", "a.db"),
    #[cfg(feature = "sqlite")]
    ("sqlite sync=normal", "sqlite:", "a.db?sync=normal"),
    #[cfg(feature = "level")]
    ("level", "level:", "a"),
    #[cfg(feature = "level")]
    ("level sync=normal", "level:", "a?sync=normal"),
];

fn main() -> ExitCode {
    // Removed when it goes out of scope, after all stores were closed.
    let scratch = tempfile::tempdir().expect("there is room for temporary files");
    let mut suite = Suite::new().counts("tests/conformance.counts");
    for (name, url) in ANYWHERE.iter().copied() {
        suite = suite.disposable_store(name, move || ready(kv(url)));
    }
    for (name, scheme, rest) in IN_A_FOLDER.iter().copied() {
        let scratch = scratch.path().to_owned();
        suite = suite.disposable_store(name, move || {
            let folder = new_folder(&scratch);
            async move { kv(format!("{scheme}{}/{rest}", folder?.display())) }
        });
    }
    #[cfg(feature = "redis")]
    let suite = with_redis(suite);
    #[cfg(feature = "postgres")]
    let suite = with_postgres(suite);
    #[cfg(feature = "etcd")]
    let suite = with_etcd(suite);
    #[cfg(feature = "http")]
    let suite = http::with_servers(suite, scratch.path());
    #[cfg(all(feature = "cloudflare", unix))]
    let suite = with_cloudflare(suite);
    #[cfg(all(feature = "browser", unix))]
    let suite = browser::with_pages(suite);
    #[cfg(all(feature = "workers", unix))]
    let suite = workers::with_workers(suite);
    suite.run()
}

/// One server for all of them, and for each store a database of its own; a cluster has only
/// one, in which each property has a prefix, and so has a server that exists already.
#[cfg(feature = "redis")]
fn with_redis(mut suite: Suite) -> Suite {
    use polystore_servers::{Redis, RedisCluster};

    if let Some(url) = existing("POLYSTORE_TEST_REDIS_URL") {
        return suite.store("redis that exists", move || ready(kv(&url)));
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);
    if let Some(server) = Redis::with(&["databases 4000"]) {
        suite = suite.disposable_store("redis", move || {
            ready(kv(server.database_url(NEXT.fetch_add(1, Ordering::Relaxed))))
        });
    }
    if let Some(server) = Redis::valkey() {
        suite = suite.store("valkey", move || ready(kv(server.url())));
    }
    if let Some(cluster) = RedisCluster::start() {
        suite = suite.store("redis cluster", move || ready(kv(cluster.url())));
    }
    suite
}

/// A server of its own: each store has a table of its own there, behind a pooler too.
#[cfg(feature = "postgres")]
fn with_postgres(mut suite: Suite) -> Suite {
    use polystore_servers::{PgBouncer, Postgres};
    use std::sync::Arc;

    if let Some(url) = existing("POLYSTORE_TEST_POSTGRES_URL") {
        return suite.store("postgres that exists", move || ready(kv(&url)));
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Some(server) = Postgres::start().map(Arc::new) else {
        return suite;
    };
    let own_table = |url: String| {
        let table = NEXT.fetch_add(1, Ordering::Relaxed);
        ready(kv(format!("{url}&table=t{table}")))
    };
    if let Some(pooler) = PgBouncer::start(&server, "transaction") {
        let behind = Arc::clone(&server);
        suite = suite.disposable_store("postgres pooler=transaction", move || {
            let _server = &behind;
            own_table(pooler.url_with("pooler=transaction"))
        });
    }
    suite.disposable_store("postgres", move || {
        own_table(server.url_with("sslmode=disable"))
    })
}

/// A server has one space of keys, in which each property has a prefix.
#[cfg(feature = "etcd")]
fn with_etcd(suite: Suite) -> Suite {
    let Some(url) = polystore_servers::Etcd::shared() else {
        return suite;
    };
    suite.store("etcd", move || ready(kv(&url)))
}

/// The real runtime behind the paths of Cloudflare's API: each store has a namespace of its own there.
#[cfg(all(feature = "cloudflare", unix))]
fn with_cloudflare(suite: Suite) -> Suite {
    use polystore_kv::Cloudflare;
    use polystore_servers::Cloudflare as Server;

    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Some(server) = Server::with_namespaces(256) else {
        return suite;
    };
    suite.disposable_store("cloudflare", move || {
        // Ten thousand entries take the runtime on one machine some seconds.
        let url = server.url_with(NEXT.fetch_add(1, Ordering::Relaxed), "timeout=60s");
        ready(kv(Cloudflare::new(url, Server::TOKEN)))
    })
}

/// The URL of a server that is there already, and holds other things too.
#[cfg(any(feature = "redis", feature = "postgres"))]
fn existing(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

fn new_folder(scratch: &Path) -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let folder = scratch.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    std::fs::create_dir(&folder).map_err(|error| Error::from_io("make a folder", error))?;
    Ok(folder)
}
