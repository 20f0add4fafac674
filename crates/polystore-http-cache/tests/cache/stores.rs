//! The same on every store.

use std::time::{Duration, Instant};

use polystore_http_cache::HttpCache;
use polystore_kv::{Cloudflare, Store, kv};
use polystore_servers::{Etcd, Postgres, Redis};
use tokio::net::TcpListener;

use crate::origin::{Origin, client, get, reply, send};

/// All of it: longer keys than some stores take, all bytes, several replies, and all ways that one ends.
async fn works(store: Store) {
    // Of the shared servers others use the rest.
    let store = store.prefix("http-cache/ä:");
    let kind = store.kind();
    let all: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let body = all.clone();
    let origin = Origin::start(move |seen| {
        let tag = "\"tag\"";
        match seen.uri.path() {
            "/short" => reply(200, &[("cache-control", "max-age=2")], ""),
            "/stale" if seen.header("if-none-match") == tag => {
                reply(304, &[("etag", tag), ("cache-control", "max-age=60")], "")
            }
            "/stale" => reply(
                200,
                &[("etag", tag), ("cache-control", "no-cache")],
                body.clone(),
            ),
            "/vary" => {
                let headers = [("vary", "accept"), ("cache-control", "max-age=60")];
                reply(200, &headers, seen.header("accept").to_owned())
            }
            _ => reply(200, &[("cache-control", "max-age=60")], body.clone()),
        }
    })
    .await;
    let client = client(HttpCache::new(&store).expect("a store"));

    let long = origin.url(&format!("/long/{}?{}", "é".repeat(1000), "q".repeat(2000)));
    let long = reqwest::Url::parse(&long).expect("a URL").to_string();
    assert!(long.len() > 8000);
    for is_hit in [false, true, true] {
        let got = get(&client, &long).await;
        assert!(
            got.is_hit() == is_hit && got.body == all,
            "{kind}: {}",
            got.cache
        );
    }
    // One that differs at its end.
    assert!(!get(&client, &format!("{long}q")).await.is_hit(), "{kind}");

    for said in [
        "fwd=uri-miss; stored",
        "fwd=stale; fwd-status=304; stored",
        "hit; ttl=",
    ] {
        let got = get(&client, &origin.url("/stale")).await;
        assert!(
            got.cache.contains(said) && got.body == all,
            "{kind}: {}",
            got.cache
        );
    }
    for is_hit in [false, true] {
        for accept in ["a", "b"] {
            let got = send(client.get(origin.url("/vary")).header("accept", accept)).await;
            assert!(
                got.is_hit() == is_hit && got.text() == accept,
                "{kind}: {got:?}"
            );
        }
    }
    for url in [long, origin.url("/vary")] {
        send(client.put(&url)).await;
        assert!(
            !send(client.get(&url).header("accept", "a")).await.is_hit(),
            "{kind}"
        );
    }

    let before = keys(&store).await.len();
    get(&client, &origin.url("/short")).await;
    assert!(get(&client, &origin.url("/short")).await.is_hit(), "{kind}");
    assert_eq!(keys(&store).await.len(), before + 1, "{kind}");
    let deadline = Instant::now() + Duration::from_secs(30);
    while keys(&store).await.len() > before {
        assert!(Instant::now() < deadline, "{kind}: it stays");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let again = get(&client, &origin.url("/short")).await;
    assert_eq!(again.cache, "polystore; fwd=uri-miss; stored", "{kind}");

    let requests: Vec<_> = (0..32)
        .map(|_| {
            let (client, url) = (client.clone(), origin.url("/at-once"));
            tokio::spawn(async move { get(&client, &url).await })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.expect("no panic").body, all, "{kind}");
    }
    assert!(
        get(&client, &origin.url("/at-once")).await.is_hit(),
        "{kind}"
    );
}

async fn keys(store: &Store) -> Vec<String> {
    store.keys().await.expect("the store answers")
}

#[tokio::test]
async fn memory() {
    works(kv("memory:").unwrap()).await;
}

#[tokio::test]
async fn files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    for url in [
        format!("file:{path}/a.json"),
        format!("file:{path}/folder/"),
        format!("sqlite:{path}/a.db"),
        format!("level:{path}/level"),
    ] {
        let store = kv(url).unwrap();
        works(store.clone()).await;
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn redis() {
    if let Some(url) = Redis::shared() {
        works(kv(url).unwrap()).await;
    }
}

#[tokio::test]
async fn postgres() {
    if let Some(url) = Postgres::shared() {
        works(kv(url).unwrap()).await;
    }
}

#[tokio::test]
async fn etcd() {
    if let Some(url) = Etcd::shared() {
        works(kv(url).unwrap()).await;
    }
}

#[tokio::test]
async fn http() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = polystore_server::router(kv("memory:").unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    works(kv(url).unwrap()).await;
    serving.abort();
}

#[tokio::test]
async fn cloudflare() {
    if let Some(server) = polystore_servers::Cloudflare::start() {
        let url = server.url_with(0, "timeout=60s");
        let store = Cloudflare::new(url, polystore_servers::Cloudflare::TOKEN);
        works(kv(store).unwrap()).await;
    }
}
