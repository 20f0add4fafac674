//! One table of a PostgreSQL database for both sides.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::time::Duration;

use polystore_interop::{Both, Npm, Written, entries, npm_is_there};
use polystore_kv::kv;
use polystore_servers::Postgres;

/// The 200 entries, but for keys that PostgreSQL cannot hold.
fn possible() -> Vec<Written> {
    let mut all = entries();
    all.retain(|entry| !entry.key.contains('\0'));
    assert!(all.len() > 195);
    all
}

/// The server has the clock.
fn both(server: &Postgres) -> Both {
    let mut both = Both::new(Npm::new(server.url()), kv(server.url()).unwrap());
    both.rounding = Duration::from_millis(100);
    both
}

#[tokio::test]
async fn a_table_that_npm_made_is_shared() {
    let Some(server) = Postgres::start().filter(|_| npm_is_there()) else {
        return;
    };
    let both = both(&server);
    assert_eq!(both.npm.keys(), [""; 0]);
    both.share(&possible()).await;
    both.expire().await;
}

#[tokio::test]
async fn a_table_that_this_crate_made_is_shared() {
    let Some(server) = Postgres::start().filter(|_| npm_is_there()) else {
        return;
    };
    let both = both(&server);
    both.rust.capabilities().await.unwrap();
    both.share(&possible()).await;
    both.expire().await;
}
