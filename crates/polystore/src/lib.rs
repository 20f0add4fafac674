//! One asynchronous key-value API for every store a program is likely to meet.
//!
//! ```
//! use polystore_kv::kv;
//! # futures_executor::block_on(async {
//! let store = kv("memory:")?;                          // or sqlite:, redis://, a client, your own
//! store.set("user:1", &("Ada", 36)).expires("1h").await?;
//! let user: Option<(String, u8)> = store.get("user:1").await?;
//! assert_eq!(user, Some(("Ada".to_owned(), 36)));
//!
//! let sessions = store.prefix("session:").expires("1 day");
//! let id = sessions.add(&"Ada").await?;                // 24 random characters
//! assert_eq!(sessions.keys().await?, [id]);
//! # Ok::<(), polystore_kv::Error>(())
//! # }).unwrap();
//! ```
//!
//! [`kv()`] makes a [`Store`] of a URL, a path, a client that the program already has, or a
//! [`Backend`](backend::Backend) of your own. Every store has the same methods, with
//! [expiry](Expires), substores and typed values, and keeps the same promises:
//!
//! - **Keys** are any UTF-8 strings, and prefixes match literally. A key that a store
//!   cannot hold is an error before anything is changed.
//! - **Expiry** is exact to the millisecond on reads (of cookies, to the second); nothing expires
//!   early; what has expired leaves the store by itself.
//! - **Durability**: when a write to disk has returned, killing the process loses nothing,
//!   and no reader ever sees half a value.
//! - **Concurrency**: tasks and threads may share a store, and processes one on disk or
//!   on a server. Operations that wait share a request, and none is delayed for it.
//! - **Outages**: a lost connection is replaced, and an operation waits at most its timeout.
//! - **Errors** name backend, operation and key, fall into [three categories](Error),
//!   and show neither values nor passwords. A failure is never `None` or an empty list.
//!
//! | store | URL | feature |
//! |---|---|---|
//! | [memory](stores::memory) | `memory:` | `memory` (default) |
//! | [JSON file](stores::file) | `file:cache.json` | `file` (default) |
//! | [folder](stores::folder) | `file:dir/` | `folder` (default) |
//! | [SQLite](stores::sqlite) | `sqlite:app.db` | `sqlite` |
//! | [LevelDB](stores::level) | `level:dir` | `level` |
//! | [Redis, Valkey](stores::redis) | `redis://host/0`, `redis-cluster://a,b` | `redis` |
//! | [PostgreSQL](stores::postgres) | `postgres://user@host/database` | `postgres` |
//! | [etcd](stores::etcd) | `etcd://a,b,c` | `etcd` |
//! | [HTTP](stores::http) | `https://host/path` | `http` |
//! | [Cloudflare KV](stores::cloudflare) | `cloudflare://ACCOUNT/NAMESPACE` | `cloudflare` |
//! | [Cloudflare KV, in a Worker](stores::workers) | a `worker::kv::KvStore` | `worker-0_8` |
//! | [web storage](stores::web_storage) | `localstorage:`, `sessionstorage:` | `web_storage` |
//! | [cookies](stores::cookie) | `cookie:` | `cookie` |
//! | [IndexedDB, as localForage has it](stores::local_forage) | `localforage:` | `local_forage` |
//!
//! The npm package `polystore` keeps the same bytes in each of them: a program in Rust and
//! one in JavaScript can share a store.
//!
//! # Features
//!
//! `memory`, `file` and `folder` are on by default and need no async runtime; nor do `sqlite`, which
//! brings SQLite itself, and `level`, a LevelDB in Rust. `redis`, `postgres`, `etcd`, `http` and `cloudflare`
//! need tokio, and bring TLS by rustls with ring. `full` is everything.
//!
//! On `wasm32-unknown-unknown` there are `memory`, `http` (by `fetch`, without tokio), `browser`, which is `web_storage`, `cookie` and
//! `local_forage`, and in Cloudflare's Workers `workers`. A feature that cannot work on a target does nothing there, and its URL is a usage error.
//!
//! A feature that carries a version lets [`kv()`] take what another crate makes: `rusqlite-0_43`
//! a `rusqlite::Connection`; `redis-1` a `redis::Client` and its connections;
//! `tokio-postgres-0_7` a `tokio_postgres::Config` or `Client`; `deadpool-postgres-0_14` a
//! `deadpool_postgres::Pool`; `tonic-0_14` a `tonic::transport::Channel` to etcd; `url-2` a `url::Url`;
//! `web-sys-0_3` a `web_sys::Storage`; `worker-0_8` a `worker::kv::KvStore`.
//!
//! # Guides
//!
//! [Guides](guides) of [choosing a store](guides::choosing_a_store), [expiry](guides::expiry), [errors](guides::errors), [caching](guides::caching),
//! [libraries that take any store](guides::for_library_authors) and more, and from
//! [the npm package](guides::from_npm), [keyv](guides::from_keyv) and [OpenDAL](guides::from_opendal). Whole programs are in the
//! repository's folder `examples`, what is measured in `benches`, and what is for JavaScript in `docs/javascript`.
//!
//! # What it is not
//!
//! It has no transactions over several keys, no counters and no compare-and-swap
//! ([`insert`](Store::insert), [`replace`](Store::replace), [`touch`](Store::touch) and [`evict`](Store::evict) are the conditional writes), no queries but
//! by prefix, and no values but JSON.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    any(not(feature = "full"), target_family = "wasm"),
    allow(
        dead_code,
        unused_imports,
        reason = "what stores share is unused where they are not built"
    )
)]

mod address;
mod attempt;
pub mod backend;
mod backends;
#[cfg(all(
    any(feature = "web_storage", feature = "cookie", feature = "local_forage"),
    target_family = "wasm"
))]
mod browser;
#[cfg(any(
    all(feature = "cloudflare", not(target_family = "wasm")),
    all(feature = "worker-0_8", target_family = "wasm")
))]
mod cloudflare_kv;
mod decimal;
#[cfg(not(target_family = "wasm"))]
mod disk;
mod entry;
mod error;
mod expires;
mod flights;
mod gather;
mod get_or_set;
#[cfg(doc)]
pub mod guides;
mod json;
mod kv;
mod lazy;
mod link;
mod opener;
mod pages;
mod random;
#[cfg(any(
    all(feature = "_remote", not(target_family = "wasm")),
    all(feature = "http", target_family = "wasm")
))]
mod remote;
#[cfg(any(
    all(feature = "_remote", not(target_family = "wasm")),
    all(feature = "_lane", target_family = "wasm")
))]
mod runtime;
mod scan;
mod store;
pub mod stores;
mod stream;
mod typed;
mod write;

pub use backend::{Capabilities, Scan};
#[cfg(all(feature = "cloudflare", not(target_family = "wasm")))]
pub use backends::cloudflare::Cloudflare;
#[cfg(feature = "http")]
pub use backends::http::HttpStore;
pub use entry::{Entry, Expiry, Timestamp};
pub use error::{Error, ErrorKind, Result};
pub use expires::Expires;
pub use get_or_set::GetOrSet;
pub use kv::{IntoStore, kv, lazy};
pub use lazy::LazyStore;
pub use store::Store;
pub use stream::{Entries, RawEntries};
pub use typed::TypedStore;
pub use write::Write;

/// Its examples are tests.
#[cfg(doctest)]
mod readme {
    #![doc = include_str!("../../../README.md")]
}
