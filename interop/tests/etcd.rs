//! One etcd for both sides.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use polystore_interop::{Both, Npm, Written, entries, npm_is_there};
use polystore_kv::kv;
use polystore_servers::Etcd;
use serde_json::json;

/// What both sides can write: etcd has no empty key.
fn possible() -> Vec<Written> {
    let mut all = entries();
    all.retain(|entry| !entry.key.is_empty());
    assert_eq!(all.len(), 199);
    all
}

#[tokio::test]
async fn an_etcd_is_shared() {
    let Some(etcd) = Etcd::start().filter(|_| npm_is_there()) else {
        return;
    };
    let both = Both::new(Npm::new(etcd.url()), kv(etcd.url()).unwrap());
    both.share(&possible()).await;
    both.expire().await;
    // Theirs has no lease, and stays on the server until somebody prunes.
    assert_eq!(both.rust.prefix("theirs").prune().await.unwrap(), 1);
}

#[tokio::test]
async fn what_npm_wrote_is_touched_and_not_inserted_over() {
    let Some(etcd) = Etcd::start().filter(|_| npm_is_there()) else {
        return;
    };
    let both = Both::new(Npm::new(etcd.url()), kv(etcd.url()).unwrap());
    let theirs = Written {
        key: "theirs".into(),
        value: json!([1]),
        expires: Some(3600.0),
    };
    both.npm.write(std::slice::from_ref(&theirs));
    assert!(both.rust.touch("theirs", "2h").await.unwrap());
    assert!(!both.rust.insert("theirs", &0).await.unwrap());
    both.npm_sees(&[theirs]);
}
