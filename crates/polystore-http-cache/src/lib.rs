//! An HTTP cache for [reqwest]: replies are kept in any store, and given again by RFC 9111.
//!
//! ```
//! use polystore_http_cache::HttpCache;
//! use reqwest_middleware::ClientBuilder;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let _ = rustls::crypto::ring::default_provider().install_default();
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("http://{}/", listener.local_addr()?);
//! # let reply = || async { ([("cache-control", "max-age=60")], "hello") };
//! # let app = axum::Router::new().route("/", axum::routing::get(reply));
//! # tokio::spawn(async move { axum::serve(listener, app).await });
//! let client = ClientBuilder::new(reqwest::Client::new())
//!     .with(HttpCache::new("memory:")?)   // or "sqlite:cache.db", "redis://localhost", …
//!     .build();
//!
//! let first = client.get(&url).send().await?;
//! assert_eq!(first.headers()["cache-status"], "polystore; fwd=uri-miss; stored");
//! assert_eq!(first.text().await?, "hello");
//!
//! // Within the minute that the origin allows, nobody asks it again.
//! let again = client.get(&url).send().await?;
//! assert!(again.headers()["cache-status"].to_str()?.starts_with("polystore; hit; ttl="));
//! assert_eq!(again.text().await?, "hello");
//! # Ok(()) }
//! ```
//!
//! The store is anything that [`kv`](polystore_kv::kv()) takes; which ones there are is up to the features of `polystore-kv` in
//! your program. Programs that share a store share the replies in it.
//!
//! # What it does
//!
//! - **Fresh** replies (`max-age`, `s-maxage`, `Expires`, a tenth of the time since `Last-Modified` and at most a week) are given without asking, with
//!   their `Age`; a `HEAD` too. **Stale** ones are confirmed with `If-None-Match` and `If-Modified-Since`; a 304 renews their headers and their
//!   lifetime. The store keeps a reply while it is fresh, and a day longer if it can be confirmed
//!   ([`keep_stale`](HttpCache::keep_stale)).
//! - **`Vary`**: replies for different requests are kept beside each other.
//! - **Changes**: a `POST`, `PUT`, `PATCH`, `DELETE` or any other method that is not safe, unless the origin refuses it, makes void what is kept of its
//!   URL, and of those of the same origin that `Location` and `Content-Location` name: at once for this cache and its clones, even if the change is given up or
//!   the store fails; for other caches on the same store once it is removed there.
//! - **Requests** may say `no-cache`, `no-store`, `max-age`, `min-fresh`, `max-stale`, `only-if-cached` (504 if there is nothing) and
//!   `stale-if-error`; [`Caching`] skips the cache, or takes another store or lifetime, for one of them.
//! - **`stale-if-error`** (RFC 5861): a stale reply helps out when the origin fails (500, 502, 503, 504) or cannot be reached.
//! - **`Cache-Status`** (RFC 9211) on each reply says what the cache did: `hit` with the seconds left, or why the request
//!   went to the origin (`fwd=`), and that the reply is kept once it was read (`stored`).
//!
//! Bodies are passed on as they come and kept once they were read to their end, all bytes of them, up to 4 MiB
//! ([`max_body_bytes`](HttpCache::max_body_bytes)). The end waits for the store, and no timeout of reqwest's counts that.
//!
//! # What is kept for whom
//!
//! A store can be shared by many users, and so the cache is a **shared** one: it keeps nothing that is `private`, that sets a cookie (unless it is `public`), or
//! that was asked for with `Authorization` (unless `public`, `s-maxage` or `must-revalidate` allow it). A cache of one user is
//! [`private`](HttpCache::private), and tells requests with an `Authorization` from those with another one and without. Headers that the client adds by itself, such as reqwest's `default_headers` and `user_agent`, no middleware sees:
//! [say which](HttpCache::client_headers), or put them on requests by `ClientBuilder::with_init`. Those of reqwest's cookie store cannot be known: skip the cache
//! for what depends on them.
//!
//! # When something fails
//!
//! The cache is never what makes a request fail: where the store cannot be read, the request goes to the origin; where it
//! cannot be written, the reply is not kept; what is broken there is overwritten. Each is a warning by `tracing`, without URLs. Give a store that may be slow a
//! `?timeout=` that a request can wait. Keys are hashes of URLs, and nothing of a request is in the store: no token shows there.
//!
//! # What it does not do
//!
//! - Parts (`Range`, 206), and requests with a condition of their own (`If-None-Match` and so on) or for an `Upgrade`, go to the origin and are not kept.
//! - Redirections that reqwest follows are not kept: it does not say how long they hold. With
//!   `redirect::Policy::none()` they are replies like others, and kept: do not share that store with a client that follows them.
//! - `stale-while-revalidate` is not used: a middleware ends with its request. Requests at the same time are not joined.
//! - On `wasm32` the crate is empty: reqwest makes no replies there; browsers have a cache of their own.
//!
//! The format of what is kept is in `docs/http-cache.md`.
//!
//! [reqwest]: https://docs.rs/reqwest
#![cfg(not(target_family = "wasm"))]

mod cache;
mod caching;
mod changes;
mod directives;
#[cfg(doc)]
pub mod guides;
mod judge;
mod key;
mod record;
mod reply;
mod request;
mod shelf;
mod tee;
mod turn;

pub use cache::HttpCache;
pub use caching::Caching;

/// Its examples are tests.
#[cfg(doctest)]
mod readme {
    #![doc = include_str!("../README.md")]
}
