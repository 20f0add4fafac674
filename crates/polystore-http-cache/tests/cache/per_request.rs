//! What one request wants of the cache.

use std::time::Duration;

use polystore_http_cache::{Caching, HttpCache};
use polystore_kv::kv;

use crate::origin::{Origin, client, get, in_memory, reply, send};

#[tokio::test]
async fn a_request_that_skips_the_cache_reads_and_keeps_nothing() {
    let origin = Origin::counting(&[("cache-control", "max-age=60")]).await;
    let (client, url) = (in_memory(), origin.url("/"));
    let skip = || send(client.get(&url).with_extension(Caching::skip()));
    assert_eq!(skip().await.cache, "polystore; fwd=bypass");
    assert_eq!(get(&client, &url).await.text(), "2");
    assert_eq!(skip().await.text(), "3");
    assert_eq!(get(&client, &url).await.text(), "2");
    send(client.put(&url).with_extension(Caching::skip())).await;
    assert_eq!(get(&client, &url).await.text(), "5");
}

#[tokio::test]
async fn another_store_is_read_and_written_in_place_of_the_caches() {
    let (usual, other) = (kv("memory:").unwrap(), kv("memory:").unwrap());
    let origin = Origin::counting(&[("cache-control", "max-age=60")]).await;
    let (client, url) = (client(HttpCache::new(&usual).unwrap()), origin.url("/"));
    let elsewhere = Caching::new().store(&other).unwrap();
    let ask = || send(client.get(&url).with_extension(elsewhere.clone()));
    assert_eq!(ask().await.text(), "1");
    assert!(usual.keys().await.unwrap().is_empty());
    assert_eq!(get(&client, &url).await.text(), "2");
    assert_eq!(ask().await.text(), "1");
    send(client.delete(&url).with_extension(elsewhere.clone())).await;
    assert!(other.keys().await.unwrap().is_empty());
    assert_eq!(get(&client, &url).await.text(), "2");
    assert!(
        Caching::new()
            .store("redish://localhost")
            .unwrap_err()
            .is_usage()
    );
}

#[tokio::test]
async fn a_lifetime_of_the_programs_takes_the_place_of_the_origins() {
    for headers in [
        &[][..],
        &[("cache-control", "no-cache")],
        &[("cache-control", "max-age=5")],
        &[("expires", "0"), ("pragma", "no-cache")],
        // Older than that when it came.
        &[("cache-control", "max-age=86400"), ("age", "1000")],
        &[("date", "Fri, 01 Jan 2021 00:00:00 GMT")],
    ] {
        let store = kv("memory:").unwrap();
        let origin = Origin::counting(headers).await;
        let client = client(HttpCache::new(&store).unwrap());
        let ten = Caching::new().lifetime("10min").unwrap();
        send(client.get(origin.url("/")).with_extension(ten)).await;
        let got = get(&client, &origin.url("/")).await;
        assert!(
            got.is_hit() && got.cache.contains("ttl=5") | got.cache.contains("ttl=600"),
            "{got:?}"
        );
        let key = store.keys().await.unwrap().remove(0);
        let left = store
            .ttl(&key)
            .await
            .unwrap()
            .unwrap()
            .as_duration()
            .unwrap();
        assert!(left > Duration::from_secs(580) && left <= Duration::from_secs(600));
    }
    let origin = Origin::counting(&[("cache-control", "no-store")]).await;
    let client = in_memory();
    let ten = Caching::new().lifetime(600).unwrap();
    for _ in 0..2 {
        send(client.get(origin.url("/")).with_extension(ten.clone())).await;
    }
    assert_eq!(origin.count(), 2);
    assert!(Caching::new().lifetime("soon").unwrap_err().is_usage());
}

#[tokio::test]
async fn a_lifetime_is_for_the_reply_that_its_request_gets() {
    let origin = Origin::start(|seen| {
        let headers = [("cache-control", "no-cache"), ("etag", "\"a\"")];
        match seen.header("if-none-match") {
            "" => reply(200, &headers, "kept"),
            _ => reply(304, &headers, ""),
        }
    })
    .await;
    let (client, url) = (in_memory(), origin.url("/"));
    let ten = Caching::new().lifetime("10min").unwrap();
    let confirm = || client.get(&url).header("cache-control", "no-cache");
    for request in [client.get(&url), confirm()] {
        send(request.with_extension(ten.clone())).await;
        assert!(get(&client, &url).await.is_hit());
    }
    // Confirmed by one that wants nothing of the kind.
    send(confirm()).await;
    assert!(!get(&client, &url).await.is_hit());
}

#[tokio::test]
async fn no_lifetime_asks_the_origin_each_time() {
    let origin = Origin::counting(&[("cache-control", "max-age=60"), ("etag", "\"a\"")]).await;
    let client = in_memory();
    let none = Caching::new().lifetime(0).unwrap();
    send(client.get(origin.url("/")).with_extension(none)).await;
    assert_eq!(get(&client, &origin.url("/")).await.text(), "2");
    assert_eq!(origin.last().header("if-none-match"), "\"a\"");
}

#[tokio::test]
async fn tenants_share_a_store_by_prefix() {
    let store = kv("memory:").unwrap();
    let origin = Origin::counting(&[("cache-control", "max-age=60")]).await;
    let [one, other] =
        ["one:", "other:"].map(|prefix| client(HttpCache::new(store.prefix(prefix)).unwrap()));
    for (client, text) in [(&one, "1"), (&other, "2"), (&one, "1")] {
        assert_eq!(get(client, &origin.url("/")).await.text(), text);
    }
    store.prefix("one:").clear().await.unwrap();
    assert_eq!(get(&other, &origin.url("/")).await.text(), "2");
    assert_eq!(get(&one, &origin.url("/")).await.text(), "3");
}
