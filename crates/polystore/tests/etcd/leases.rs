//! Entries leave the server by themselves, with few leases.

use std::time::Duration;

use polystore_kv::{Entry, Expiry, Timestamp, kv};
use polystore_servers::Etcd;
use serde_json::{Value, json};

use super::{ask, count, raw, until};

fn leases(etcd: &Etcd) -> Vec<Value> {
    let list = ask(etcd, "lease/leases", &json!({}));
    list["leases"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn what_expires_leaves_by_itself_and_not_before() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url()).unwrap();
    store.set("stays", &1).await.unwrap();
    store.set("long", &1).expires("1h").await.unwrap();
    let short = (0..100).map(|n| (format!("short{n}"), n));
    store.set_many(short).expires("3s").await.unwrap();
    store.set("renewed", &1).expires("3s").await.unwrap();
    assert!(store.touch("renewed", "1h").await.unwrap());
    store.set("kept", &1).expires("3s").await.unwrap();
    store.set("kept", &2).await.unwrap();
    assert!(store.insert("inserted", &1).await.unwrap());
    assert_eq!(count(&etcd), 105);

    let soon = Duration::from_millis(2500);
    let begun = std::time::Instant::now();
    while begun.elapsed() < soon {
        assert!(store.has("short0").await.unwrap());
        assert_eq!(count(&etcd), 105);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until("the expired ones are gone", async || count(&etcd) == 5).await;
    let keys = store.keys().await.unwrap();
    assert_eq!(keys, ["inserted", "kept", "long", "renewed", "stays"]);
    // Leases without keys go, too.
    until("the leases are gone", async || leases(&etcd).len() == 1).await;
}

#[tokio::test]
async fn thousands_of_keys_and_of_overwrites_share_few_leases() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url()).unwrap();
    let entries = (0..5000).map(|n| (format!("k{n}"), n));
    store.set_many(entries).expires("1h").await.unwrap();
    for n in 0..1000 {
        store.set("one", &n).expires("2h").await.unwrap();
        store.touch("one", "1day").await.unwrap();
    }
    let leases = leases(&etcd);
    assert!((1..=9).contains(&leases.len()), "{}", leases.len());
    // The one of a key lasts as long as the key, and not much longer.
    let lease = raw(&etcd, b"k4999").unwrap()["lease"].clone();
    let left = ask(&etcd, "lease/timetolive", &json!({"ID": lease}));
    let left: u64 = left["TTL"].as_str().unwrap().parse().unwrap();
    assert!((3590..3750).contains(&left), "{left}");
}

#[tokio::test]
async fn a_lease_that_somebody_revokes_is_replaced() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url()).unwrap();
    store.set("a", &1).expires("1h").await.unwrap();
    for lease in leases(&etcd) {
        ask(&etcd, "lease/revoke", &json!({"ID": lease["ID"]}));
    }
    assert!(!store.has("a").await.unwrap());
    store.set("a", &2).expires("1h").await.unwrap();
    assert!(store.insert("b", &2).await.unwrap());
    assert_eq!(store.get("a").await.unwrap(), Some(2));
    assert!(raw(&etcd, b"a").unwrap()["lease"].is_string());
}

#[tokio::test]
async fn the_last_instant_there_is_needs_no_lease() {
    let Some(etcd) = Etcd::start() else { return };
    let store = kv(etcd.url()).unwrap();
    let at = Expiry::At(Timestamp::MAX);
    let entry = Entry::new(&1, at).unwrap();
    store.put("last", entry).await.unwrap();
    store.set("late", &1).expires("90 years").await.unwrap();
    assert_eq!(store.entry("last").await.unwrap().unwrap().expiry(), at);
    assert!(raw(&etcd, b"last").unwrap()["lease"].is_null());
    assert!(raw(&etcd, b"late").unwrap()["lease"].is_string());
}
