//! What becomes of replies that Cloudflare, or what stands in between, should not send.
#![cfg(feature = "cloudflare")]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

#[allow(dead_code, reason = "it has what all tests with servers need")]
#[path = "http/fake.rs"]
mod fake;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use polystore_kv::{Cloudflare, Error, ErrorKind, Result, Store, kv};
use serde_json::json;

use self::fake::{Answer, Fake, Request};

fn store(server: &Fake) -> Store {
    let url = server.url("");
    let url = format!("cloudflare://account/namespace?base={url}&timeout=1s");
    kv(Cloudflare::new(url, "my-secret")).unwrap()
}

fn success(result: &serde_json::Value) -> Answer {
    let body = json!({"success": true, "errors": [], "messages": [], "result": result});
    Answer::json(&body.to_string())
}

fn failure(status: u16, codes: &[i64]) -> Answer {
    let errors: Vec<_> = codes
        .iter()
        .map(|code| json!({"code": code, "message": "my-secret"}))
        .collect();
    let body = json!({"success": false, "errors": errors, "messages": [], "result": null});
    Answer::new(status, &[], &body.to_string())
}

/// The error, which must be of this kind and show no token.
fn fails<T>(result: Result<T>, kind: ErrorKind) -> Error {
    let Err(error) = result else {
        panic!("that should fail with {kind:?}")
    };
    assert_eq!(error.kind(), kind, "{error:?}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("secret"), "{shown}");
    error
}

fn answering(answer: Answer) -> Fake {
    Fake::start(move |_| answer.clone())
}

/// The keys in a bulk request.
fn keys_in(request: &Request) -> Vec<String> {
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    let keys = body.get("keys").unwrap_or(&body).as_array().unwrap();
    let key = |one: &serde_json::Value| one.get("key").unwrap_or(one).as_str().unwrap().to_owned();
    keys.iter().map(key).collect()
}

#[tokio::test]
async fn a_write_is_done_only_if_all_of_it_is() {
    for result in [
        // In other words than the key was given in, too.
        json!({"successful_key_count": 1, "unsuccessful_keys": ["a%2Fb"]}),
        json!({"successful_key_count": 0, "unsuccessful_keys": []}),
        json!({"successful_key_count": 0}),
        json!({"unsuccessful_keys": ["a/b"]}),
    ] {
        let server = answering(success(&result));
        let store = store(&server);
        for error in [
            store.set("a/b", &1).await.err(),
            store.del("a/b").await.err(),
            store.set_many([("a/b", 1), ("c", 2)]).await.err(),
        ] {
            // It is tried again until the time is over.
            let error = error.unwrap();
            assert!(
                error.is_connection() && error.is_maybe_applied(),
                "{result} {error:?}"
            );
        }
    }
    // It need not say how many.
    for result in [json!(null), json!({}), json!({"unsuccessful_keys": []})] {
        let server = answering(success(&result));
        store(&server).set("a/b", &1).await.unwrap();
        store(&server).del("a/b").await.unwrap();
    }
}

#[test]
fn what_is_no_name_of_a_variable_is_not_shown() {
    for name in ["supersecret", "3f9c0d5be1secret", "a secret", "secret=x"] {
        let url = format!("cloudflare://a/b?token_env={name}");
        let error = fails(kv(url), ErrorKind::InvalidOption);
        assert!(error.to_string().contains("token_env"), "{error}");
    }
}

#[tokio::test]
async fn no_wait_that_cloudflare_asks_for_is_longer_than_the_time_there_is() {
    for wait in [
        "18446744073709551615",
        "86400",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ] {
        for status in [429, 503] {
            let server = answering(Answer::new(status, &[("retry-after", wait)], "<html>"));
            let store = store(&server);
            let begun = Instant::now();
            for error in [
                store.get::<u8>("a").await.unwrap_err(),
                store.set("a", &1).await.unwrap_err(),
                store.keys().await.unwrap_err(),
                store.clear().await.unwrap_err(),
            ] {
                assert!(error.is_retryable(), "{error:?}");
                let told = error.retry_after().unwrap();
                assert!(told >= Duration::from_secs(86_400), "{wait}: {told:?}");
            }
            assert!(begun.elapsed() < Duration::from_secs(1), "{wait}");
        }
    }
}

#[tokio::test]
async fn a_refusal_is_told_whatever_its_status() {
    for (status, code, kind) in [
        (200, 10000, ErrorKind::Denied),
        (400, 10000, ErrorKind::Denied),
        (401, 10000, ErrorKind::Denied),
        (403, 9109, ErrorKind::Denied),
        (404, 10013, ErrorKind::Unreachable),
        (200, 10013, ErrorKind::Unreachable),
        (409, 1, ErrorKind::Unreachable),
        (412, 1, ErrorKind::Unreachable),
        (400, 10033, ErrorKind::InvalidValue),
        (413, 10037, ErrorKind::InvalidValue),
    ] {
        let server = answering(failure(status, &[code]));
        let store = store(&server);
        for error in [
            fails(store.get::<u8>("a").await, kind),
            fails(store.set("a", &1).await, kind),
            fails(store.set_many([("a", 1), ("b", 2)]).await, kind),
            fails(store.keys().await, kind),
        ] {
            assert!(error.message().contains(&code.to_string()), "{error:?}");
            assert!(!error.is_retryable(), "{error:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_its_answer_is_never_a_success_or_nothing() {
    let whole = r#"{"success":true,"result":{"values":{}}}"#;
    for answer in [
        Answer::json("<html>my-secret</html>"),
        Answer::json(""),
        Answer::json("[]"),
        Answer::json("{}"),
        Answer::json(r#"{"success":true}"#),
        Answer::json(r#"{"success":true,"result":{"values":{"a":{"value":1}}}}"#),
        Answer::status(204),
        Answer::new(302, &[("location", "http://127.0.0.1:1/my-secret")], ""),
        Answer::raw(format!("HTTP/1.1 200 OK\r\n\r\n{whole}")).closing(),
        Answer::raw(format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n{whole}"
        ))
        .closing(),
        Answer::raw(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{whole}"
        ))
        .closing(),
    ] {
        let server = answering(answer);
        let store = store(&server);
        fails(store.get::<u8>("a").await, ErrorKind::Unreachable);
        fails(store.keys().await, ErrorKind::Unreachable);
        fails(store.clear().await, ErrorKind::Unreachable);
        for request in server.seen() {
            assert_eq!(request.header("authorization"), Some("Bearer my-secret"));
        }
    }
}

/// A page of a listing.
fn page(keys: &[serde_json::Value], cursor: &str) -> Answer {
    let info = json!({"count": keys.len(), "cursor": cursor});
    let body = json!({"success": true, "errors": [], "result": keys, "result_info": info});
    Answer::json(&body.to_string())
}

#[tokio::test]
async fn a_listing_that_stands_still_ends_with_an_error() {
    for keys in [&[][..], &[json!({"name": "a"})][..]] {
        let answer = page(keys, "again");
        let server = answering(answer);
        let store = store(&server);
        let begun = Instant::now();
        for listed in [
            tokio::time::timeout(Duration::from_secs(20), store.keys()).await,
            tokio::time::timeout(Duration::from_secs(20), async {
                store.clear().await.map(|()| Vec::new())
            })
            .await,
        ] {
            fails(listed.unwrap(), ErrorKind::Unreachable);
        }
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    // Pages may be empty, as long as it goes on.
    let number = AtomicU32::new(0);
    let server = Fake::start(move |_| match number.fetch_add(1, Ordering::Relaxed) {
        number @ 0..5 => page(&[], &number.to_string()),
        _ => page(&[json!({"name": "a"})], ""),
    });
    assert_eq!(store(&server).keys().await.unwrap(), ["a"]);
}

#[tokio::test]
async fn what_is_below_another_prefix_is_neither_listed_nor_cleared() {
    let server = Fake::start(|request| match &request.method[..] {
        // As one that knows no more of a prefix than what comes before a NUL.
        "GET" => page(
            &[
                json!({"name": "a"}),
                json!({"name": "a\0b1"}),
                json!({"name": "z"}),
            ],
            "",
        ),
        _ => success(&json!({})),
    });
    let below = store(&server).prefix("a\0b");
    assert_eq!(below.keys().await.unwrap(), ["1"]);
    below.clear().await.unwrap();
    let removed = server.seen().pop().unwrap();
    assert!(removed.target.ends_with("/bulk/delete"), "{removed:?}");
    assert_eq!(keys_in(&removed), ["a\0b1"]);
}

#[tokio::test]
async fn metadata_of_others_is_not_an_expiry() {
    for metadata in [
        json!([5]),
        json!(["expires"]),
        json!(5),
        json!("x"),
        json!(true),
        json!({"expires": null}),
        json!({"expires": "5"}),
        json!({"expires": [5]}),
        json!({"Expires": 5}),
    ] {
        let found = json!({"values": {"a": {"value": "7", "metadata": metadata}}});
        let server = answering(success(&found));
        assert_eq!(
            store(&server).get::<u8>("a").await.unwrap(),
            Some(7),
            "{metadata}"
        );
        let listed = json!({"name": "a", "metadata": metadata});
        let server = answering(page(&[listed], ""));
        assert_eq!(store(&server).keys().await.unwrap(), ["a"], "{metadata}");
    }
    // Ours, however odd.
    for (expires, is_there) in [
        ("5", false),
        ("-1e300", false),
        ("1e300", true),
        ("8640000000000000.5", true),
    ] {
        let metadata: serde_json::Value = serde_json::from_str(expires).unwrap();
        let found = json!({"value": "7", "metadata": {"expires": metadata}});
        let server = answering(success(&json!({"values": {"a": found}})));
        let got = store(&server).get::<u8>("a").await.unwrap();
        assert_eq!(got.is_some(), is_there, "{expires}");
    }
}

#[tokio::test]
async fn values_that_are_too_much_together_are_read_in_parts() {
    // In JSON each character takes six.
    let large = "\\u003c".repeat(4_000_000);
    let server = Fake::start(move |request| {
        if !request.target.ends_with("/bulk/get") {
            return match request.target.contains("/metadata/") {
                true => success(&json!(null)),
                false => Answer::json(&format!("\"{}\"", "<".repeat(4_000_000))),
            };
        }
        let mut values = Vec::new();
        for key in keys_in(request) {
            values.push(match &key[..] {
                "small" => "\"small\":{\"value\":\"1\"}".to_owned(),
                _ => format!("\"{key}\":{{\"value\":\"\\\"{large}\\\"\"}}"),
            });
        }
        let values = values.join(",");
        Answer::json(&format!(
            "{{\"success\":true,\"result\":{{\"values\":{{{values}}}}}}}"
        ))
    });
    let url = server.url("");
    let url = format!("cloudflare://account/namespace?base={url}&timeout=60s");
    let store = kv(Cloudflare::new(url, "my-secret")).unwrap();
    let all = store
        .get_many::<serde_json::Value>(["a", "b", "c", "small"])
        .await
        .unwrap();
    assert_eq!(all.len(), 4);
    assert_eq!(all["small"], json!(1));
}

#[tokio::test]
async fn a_key_that_was_not_asked_for_is_nobodys() {
    let found = json!({"values": {"b": {"value": "7"}, "": {"value": "8"}}});
    let server = answering(success(&found));
    let store = store(&server);
    assert_eq!(store.get::<u8>("a").await.unwrap(), None);
    let many = store.get_many::<u8>(["a", "b"]).await.unwrap();
    assert_eq!(many.into_iter().collect::<Vec<_>>(), [("b".to_owned(), 7)]);
}

#[tokio::test]
async fn limits_of_a_request_are_kept_to_the_last_key_and_byte() {
    let server = Fake::start(|request| {
        let keys = keys_in(request);
        match request.target.ends_with("/bulk/get") {
            true => success(&json!({ "values": {} })),
            false => success(&json!({"successful_key_count": keys.len(), "unsuccessful_keys": []})),
        }
    });
    let url = server.url("");
    let url = format!("cloudflare://account/namespace?base={url}&timeout=60s");
    let store = kv(Cloudflare::new(url, "my-secret")).unwrap();
    for (count, requests) in [(1, 1), (9_999, 1), (10_000, 1), (10_001, 2), (20_000, 2)] {
        let before = server.seen().len();
        let entries = (0..count).map(|n| (format!("k{n}"), n));
        store.set_many(entries).await.unwrap();
        let seen = server.seen().split_off(before);
        let sizes: Vec<usize> = seen.iter().map(|one| keys_in(one).len()).collect();
        assert_eq!(sizes.len(), requests, "{count}: {sizes:?}");
        assert!(sizes.iter().all(|size| *size <= 10_000) && sizes.iter().sum::<usize>() == count);
    }
    for (count, requests) in [(99, 1), (100, 1), (101, 2), (1000, 10)] {
        let before = server.seen().len();
        let keys = (0..count).map(|n| format!("k{n}"));
        store.get_many::<u8>(keys).await.unwrap();
        let seen = server.seen().split_off(before);
        assert_eq!(seen.len(), requests, "{count}");
        assert!(seen.iter().all(|one| keys_in(one).len() <= 100));
    }
    // Quotes take twice as much in a request.
    let before = server.seen().len();
    let large = "\"".repeat(10 << 20);
    let entries = (0..6).map(|n| (format!("k{n}"), &large));
    store.set_many(entries).await.unwrap();
    let seen = server.seen().split_off(before);
    assert!(seen.iter().all(|one| one.body.len() <= 100_000_000));
}

#[test]
fn a_store_is_used_by_runtimes_in_turns() {
    let server = answering(success(&json!({"values": {"a": {"value": "7"}}})));
    let store = store(&server);
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    // Each stands still while the other is used.
    let runtimes = [runtime(), runtime()];
    for _ in 0..3 {
        for runtime in &runtimes {
            runtime.block_on(async {
                assert_eq!(store.get::<u8>("a").await.unwrap(), Some(7));
                store.set("a", &1).await.unwrap();
            });
        }
    }
}

#[tokio::test]
async fn closing_waits_for_all_of_what_is_under_way() {
    let server = Fake::start(|request| match &request.method[..] {
        "GET" if request.target.contains("cursor") => page(&[json!({"name": "b"})], ""),
        "GET" => page(&[json!({"name": "a"})], "next"),
        _ => success(&json!({})),
    });
    let store = store(&server);
    let many = (0..30_000).map(|n| (format!("k{n}"), n));
    let (cleared, set, closed) = tokio::join!(
        async { store.clear().await },
        async { store.set_many(many).await },
        async {
            tokio::task::yield_now().await;
            let closed = store.close().await;
            (closed, server.seen().len())
        },
    );
    cleared.unwrap();
    set.unwrap();
    let (closed, seen) = closed;
    closed.unwrap();
    // Two pages, what was on them, and three parts.
    assert_eq!((seen, server.seen().len()), (6, 6));
}
