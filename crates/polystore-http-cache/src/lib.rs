//! Caches the replies that reqwest gets in any store, by RFC 9111.
#![cfg(not(target_family = "wasm"))]

mod cache;
mod caching;
mod directives;
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
