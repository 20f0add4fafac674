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
#![cfg(unix)]

mod certificates;
mod etcd;
mod ports;
mod postgres;
mod programs;
mod proxy;
mod redis;
mod server;

pub use certificates::{Certificates, Tls};
pub use etcd::{Etcd, EtcdBuilder, EtcdCluster};
pub use postgres::{PgBouncer, Postgres, PostgresBuilder};
pub use programs::skip;
pub use proxy::{Counts, Proxy};
pub use redis::{Redis, RedisBuilder, RedisCluster, RedisSentinel};
pub use server::Server;

/// The URL of a server that exists, from the environment.
fn existing(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty())
}
