//! What is stale is confirmed by the origin, and its lifetime begins anew.

use std::time::Duration;

use polystore_http_cache::HttpCache;
use polystore_kv::{Expires, kv};

use crate::origin::{Origin, client, get, in_memory, reply, send};

const MODIFIED: &str = "Fri, 02 Jan 2026 08:00:00 GMT";

#[tokio::test]
async fn a_validator_saves_the_body() {
    for (said, value, asked) in [
        ("etag", "\"a, b\"", "if-none-match"),
        ("etag", "W/\"a\"", "if-none-match"),
        ("last-modified", MODIFIED, "if-modified-since"),
    ] {
        let origin = Origin::start(move |seen| match seen.header(asked) {
            "" => reply(
                200,
                &[
                    (said, value),
                    ("cache-control", "no-cache"),
                    ("x-old", "1"),
                    ("x-both", "1"),
                ],
                "body",
            ),
            _ => reply(
                304,
                &[
                    (said, value),
                    ("cache-control", "max-age=60"),
                    ("x-both", "2"),
                    ("x-new", "1"),
                ],
                "",
            ),
        })
        .await;
        let (client, url) = (in_memory(), origin.url("/"));
        assert_eq!(
            get(&client, &url).await.cache,
            "polystore; fwd=uri-miss; stored"
        );
        let confirmed = get(&client, &url).await;
        assert_eq!(
            confirmed.cache,
            "polystore; fwd=stale; fwd-status=304; stored"
        );
        assert_eq!(origin.last().header(asked), value);
        let hit = get(&client, &url).await;
        assert!(hit.is_hit(), "{hit:?}");
        for got in [confirmed, hit] {
            assert_eq!((got.status, got.text()), (200, "body"));
            let headers = ["x-old", "x-both", "x-new"].map(|name| got.header(name));
            assert_eq!(headers, ["1", "2", "1"]);
            assert_eq!(got.header("content-length"), "4");
        }
        assert_eq!(origin.count(), 2);
    }
}

#[tokio::test]
async fn what_changed_takes_the_place_of_what_was_there() {
    let origin = Origin::start(|seen| {
        let tag = format!("\"{}\"", seen.before / 2);
        match seen.header("if-none-match") == tag {
            true => reply(304, &[("etag", &tag)], ""),
            false => reply(
                200,
                &[("etag", &tag), ("cache-control", "max-age=0")],
                tag.clone(),
            ),
        }
    })
    .await;
    let (client, url) = (in_memory(), origin.url("/"));
    for (text, said) in [
        ("\"0\"", "polystore; fwd=uri-miss; stored"),
        ("\"0\"", "polystore; fwd=stale; fwd-status=304; stored"),
        ("\"1\"", "polystore; fwd=stale; fwd-status=200; stored"),
        ("\"1\"", "polystore; fwd=stale; fwd-status=304; stored"),
    ] {
        let got = get(&client, &url).await;
        assert_eq!((got.status, got.text(), &*got.cache), (200, text, said));
    }
}

#[tokio::test]
async fn what_is_fresh_is_confirmed_if_the_request_wants_that() {
    let origin = Origin::start(|seen| match seen.header("if-none-match") {
        "" => reply(
            200,
            &[("etag", "\"a\""), ("cache-control", "max-age=60")],
            "body",
        ),
        _ => reply(304, &[("etag", "\"a\"")], ""),
    })
    .await;
    let (client, url) = (in_memory(), origin.url("/"));
    get(&client, &url).await;
    let confirmed = send(client.get(&url).header("cache-control", "no-cache")).await;
    assert_eq!(
        confirmed.cache,
        "polystore; fwd=request; fwd-status=304; stored"
    );
    assert_eq!((origin.count(), confirmed.text()), (2, "body"));
}

#[tokio::test]
async fn a_304_that_speaks_of_another_reply_is_not_believed() {
    let origin = Origin::start(|seen| match seen.header("if-none-match") {
        "" => reply(200, &[("etag", "\"a\"")], seen.before.to_string()),
        _ => reply(304, &[("etag", "\"b\"")], ""),
    })
    .await;
    let (client, url) = (in_memory(), origin.url("/"));
    get(&client, &url).await;
    let got = get(&client, &url).await;
    assert_eq!((got.status, got.text()), (200, "2"));
    assert_eq!(origin.last().header("if-none-match"), "");
}

#[tokio::test]
async fn a_confirmation_may_say_that_nothing_is_to_be_kept() {
    let store = kv("memory:").unwrap();
    let origin = Origin::start(|seen| match seen.header("if-none-match") {
        "" => reply(200, &[("etag", "\"a\"")], "body"),
        _ => reply(304, &[("etag", "\"a\""), ("cache-control", "no-store")], ""),
    })
    .await;
    let client = client(HttpCache::new(&store).unwrap());
    get(&client, &origin.url("/")).await;
    assert_eq!(store.keys().await.unwrap().len(), 1);
    let got = get(&client, &origin.url("/")).await;
    assert_eq!((got.status, got.text()), (200, "body"));
    assert_eq!(got.cache, "polystore; fwd=stale; fwd-status=304");
    assert!(store.keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_longer_to_be_kept_is_forgotten() {
    for (status, forgotten) in [(200, true), (404, true), (503, false)] {
        let store = kv("memory:").unwrap();
        let origin = Origin::start(move |seen| match seen.before {
            0 => reply(200, &[("etag", "\"a\"")], "body"),
            _ => reply(status, &[("cache-control", "no-store")], "new"),
        })
        .await;
        let client = client(HttpCache::new(&store).unwrap());
        get(&client, &origin.url("/")).await;
        let got = get(&client, &origin.url("/")).await;
        assert_eq!((got.status, got.text()), (status, "new"));
        assert_eq!(
            store.keys().await.unwrap().is_empty(),
            forgotten,
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_fresh_reply_stays_in_the_store_until_it_may_be_confirmed() {
    let minute = Duration::from_secs(60);
    let day = 24 * 60 * minute;
    for (headers, keep_stale, stays) in [
        (&[("cache-control", "max-age=60")][..], "1 day", minute),
        (
            &[("cache-control", "max-age=60"), ("etag", "\"a\"")],
            "1 day",
            minute + day,
        ),
        (
            &[("cache-control", "max-age=60"), ("etag", "\"a\"")],
            "1min",
            2 * minute,
        ),
        (
            &[
                ("cache-control", "max-age=60, stale-if-error=120"),
                ("etag", "\"a\""),
            ],
            "1min",
            3 * minute,
        ),
        (
            &[("cache-control", "max-age=60, stale-if-error=120")],
            "1 day",
            3 * minute,
        ),
        (
            &[
                ("cache-control", "max-age=120"),
                ("age", "60"),
                ("vary", "a"),
            ],
            "1 day",
            minute,
        ),
        (
            &[("cache-control", "no-cache"), ("etag", "\"a\"")],
            "1h",
            60 * minute,
        ),
    ] {
        let store = kv("memory:").unwrap().expires("1s");
        let origin = Origin::counting(headers).await;
        let cache = HttpCache::new(&store)
            .unwrap()
            .keep_stale(keep_stale)
            .unwrap();
        get(&client(cache), &origin.url("/")).await;
        for key in store.keys().await.unwrap() {
            let left = store
                .ttl(&key)
                .await
                .unwrap()
                .and_then(Expires::as_duration);
            let left = left.expect("it expires");
            assert!(
                left <= stays && left > stays - Duration::from_secs(20),
                "{headers:?}: {left:?}"
            );
        }
    }
}
