//! Real servers for tests, benchmarks and people.
//!
//! Each server is started on free ports of 127.0.0.1 with a temporary folder, and answers when its `start`
//! returns. It ends with the process that started it, however that ends (also by `kill -9`, or by
//! exiting with the server in a `static`), and nothing is left.
//!
//! ```no_run
//! # use polystore_servers::{Proxy, Redis, Postgres};
//! let Some(redis) = Redis::with(&["maxmemory 2mb"]) else {
//!     return; // no redis-server here, which was said; in CI it panics instead
//! };
//! let proxy = Proxy::to(redis.address());
//! // … operations on proxy.url(&redis.url()) …
//! proxy.cut();
//! redis.kill();
//! redis.start_again();
//! ```
//!
//! A test that does not stop, fill or reconfigure its server takes the shared one of its process, which
//! can also be a server that a person has: [`Redis::shared`], [`Postgres::shared`], [`Etcd::shared`].
//!
//! What goes wrong here panics, as it is a test's or a benchmark's environment that is broken.
//!
//! The servers are started on Unix only. The feature `browser` has a client for Chromium's driver, and pages for it.
//! [`Proxy`] and [`skip`] are there everywhere.

#[cfg(all(unix, feature = "browser"))]
pub mod browser;
#[cfg(unix)]
mod certificates;
#[cfg(unix)]
mod chromium;
mod cloudflare;
#[cfg(unix)]
mod etcd;
#[cfg(feature = "browser")]
mod pages;
mod ports;
#[cfg(unix)]
mod postgres;
#[cfg(unix)]
mod programs;
mod proxy;
#[cfg(unix)]
mod redis;
#[cfg(unix)]
mod server;
mod skip;
mod wasm;

#[cfg(unix)]
pub use certificates::{Certificates, Tls};
#[cfg(unix)]
pub use chromium::Chromium;
pub use cloudflare::{Cloudflare, Reply, Worker};
#[cfg(unix)]
pub use etcd::{Etcd, EtcdBuilder, EtcdCluster};
#[cfg(feature = "browser")]
pub use pages::Pages;
#[cfg(unix)]
pub use postgres::{PgBouncer, Postgres, PostgresBuilder};
pub use proxy::{Counts, Proxy};
#[cfg(unix)]
pub use redis::{Redis, RedisBuilder, RedisCluster, RedisSentinel};
#[cfg(unix)]
pub use server::Server;
pub use skip::skip;
pub use wasm::modules;
