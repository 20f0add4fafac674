//! One Redis server for both sides.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::time::Duration;

use polystore_interop::{Both, Npm, entries, npm_is_there};
use polystore_kv::kv;
use polystore_servers::Redis;

#[tokio::test]
async fn a_redis_server_is_shared() {
    let Some(redis) = Redis::start().filter(|_| npm_is_there()) else {
        return;
    };
    let mut both = Both::new(Npm::new(redis.url()), kv(redis.url()).unwrap());
    both.rounding = Duration::from_secs(1);
    both.share(&entries()).await;
    both.expire().await;
}
