//! Cloudflare KV as a program uses it: on the real runtime, behind the paths of Cloudflare's API.
#![cfg(all(feature = "cloudflare", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use polystore_kv::{
    Cloudflare, Entry, Error, ErrorKind, Expiry, Result, Scan, Store, Timestamp, kv,
};
use polystore_servers::{Cloudflare as Server, Proxy};
use serde_json::{Value, json};

/// The namespace of this number.
fn store(server: &Server, namespace: u32) -> Store {
    kv(Cloudflare::new(
        server.url_with(namespace, "timeout=5min"),
        Server::TOKEN,
    ))
    .unwrap()
}

/// What the API has of each key.
fn listed(server: &Server, namespace: u32) -> Vec<Value> {
    let (status, answer) = server.api(namespace, "GET", "/keys", "");
    assert_eq!(status, 200, "{answer}");
    let mut answer: Value = serde_json::from_str(&answer).unwrap();
    match answer["result"].take() {
        Value::Array(keys) => keys,
        other => panic!("{other}"),
    }
}

/// How often each path was asked for since the last time.
fn counts(server: &Server) -> Value {
    serde_json::from_str(&server.order("counts", "{}")).unwrap()
}

/// Puts an entry as a Worker does by its binding, and so the npm package.
fn put_by_worker(server: &Server, namespace: u32, key: &str, value: &str, options: &Value) {
    let name = format!("n{namespace}");
    let order = json!({"namespace": name, "key": key, "value": value, "options": options});
    server.order("put", &order.to_string());
}

/// The next requests of this path are answered so.
fn fail(server: &Server, of: &str, times: u32, status: u16, headers: &Value, body: &Value) {
    let fault = json!({"of": of, "times": times, "status": status, "headers": headers, "body": body.to_string()});
    server.order("faults", &json!([fault]).to_string());
}

fn now_in_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// The error, which must be of this kind and show no token.
fn fails<T>(result: Result<T>, kind: ErrorKind) -> Error {
    let Err(error) = result else {
        panic!("that should fail with {kind:?}")
    };
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(
        !format!("{error} {error:?}").contains("secret"),
        "{error:?}"
    );
    error
}

#[tokio::test]
async fn expiries_under_a_minute_are_exact_and_longer_ones_are_cloudflares_too() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = store(&server, 0);
    let begun = now_in_seconds();
    store.set("short", "s").expires("3s").await.unwrap();
    store.set("long", "l").expires("1h").await.unwrap();
    store.set("never", "n").await.unwrap();
    store.set("far", "f").expires("90 years").await.unwrap();
    let at = Timestamp::from_millis(i64::try_from(begun).unwrap() * 1000 + 7_200_123);
    let entry = Entry::new("exact", Expiry::At(at)).unwrap();
    store.put("exact", entry).await.unwrap();

    assert_eq!(store.get("short").await.unwrap(), Some("s".to_owned()));
    let left = store.ttl("long").await.unwrap();
    assert!(format!("{left:?}").contains("3599."), "{left:?}");
    let exact = store.entry("exact").await.unwrap().unwrap();
    assert_eq!(exact.expiry(), Expiry::At(at));

    // Cloudflare removes each by itself, not before it has expired and within two seconds of that.
    let keys = listed(&server, 0);
    let of = |name: &str| keys.iter().find(|key| key["name"] == name).unwrap();
    for (name, after) in [("short", 60), ("long", 3600), ("exact", 7200)] {
        let removed = of(name)["expiration"].as_u64().unwrap();
        let least = begun + after;
        let most = now_in_seconds() + after + 2;
        assert!(
            (least..=most).contains(&removed),
            "{name} {removed} {least}"
        );
        let millis = of(name)["metadata"]["expires"].as_u64().unwrap();
        assert!(name == "short" || removed * 1000 >= millis, "{name}");
    }
    assert_eq!(of("never").get("expiration"), None);
    assert_eq!(of("never").get("metadata"), None);
    assert_eq!(of("far").get("expiration"), None);
    assert!(of("far")["metadata"]["expires"].is_u64());

    // By this clock it goes with its millisecond, though Cloudflare still has it.
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.has("short").await.unwrap() {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(
        store.keys().await.unwrap(),
        ["exact", "far", "long", "never"]
    );
    assert_eq!(listed(&server, 0).len(), 5);
}

#[tokio::test]
async fn what_workers_write_is_read_and_what_is_written_here_they_read() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = store(&server, 0);
    // As the npm package: put(key, json, {expirationTtl}).
    put_by_worker(&server, 0, "plain", r#"{"a":"é"}"#, &json!({}));
    put_by_worker(&server, 0, "ttl", "[1]", &json!({"expirationTtl": 120}));
    put_by_worker(
        &server,
        0,
        "other",
        "1",
        &json!({"metadata": {"theirs": true}}),
    );
    assert_eq!(store.get("plain").await.unwrap(), Some(json!({"a": "é"})));
    let entry = store.entry("ttl").await.unwrap().unwrap();
    assert_eq!(entry.json(), "[1]");
    let Expiry::At(at) = entry.expiry() else {
        panic!("{entry:?}")
    };
    let left = at.duration_from_now().as_secs();
    assert!((100..=120).contains(&left), "{left}");
    let scanned = store.scan(Scan::new().prefix("ttl").values(false));
    let scanned: Vec<(String, Entry)> = scanned.try_collect().await.unwrap();
    assert_eq!(scanned[0].1.expiry(), Expiry::At(at));
    assert_eq!(
        store.ttl("other").await.unwrap().unwrap().as_duration(),
        None
    );

    store.set("ours", "text").expires("1h").await.unwrap();
    let read = server.order("get", r#"{"namespace":"n0","key":"ours"}"#);
    let read: Value = serde_json::from_str(&read).unwrap();
    assert_eq!(read["value"], r#""text""#);
    // Written over by a Worker, nothing of ours is left.
    put_by_worker(&server, 0, "ours", "2", &json!({}));
    let entry = store.entry("ours").await.unwrap().unwrap();
    assert_eq!((entry.json(), entry.expiry()), ("2", Expiry::Never));
}

#[tokio::test]
async fn what_is_no_entry_is_corrupt_alone_and_left_out_of_listings() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = store(&server, 0);
    store.set("good", &1).await.unwrap();
    put_by_worker(&server, 0, "text", "hello", &json!({}));
    put_by_worker(&server, 0, "nothing", "", &json!({}));
    let bytes = json!({"namespace": "n0", "key": "bytes", "value": [0xff, 0xfe]});
    server.order("put-bytes", &bytes.to_string());

    for key in ["text", "nothing", "bytes"] {
        fails(store.get::<Value>(key).await, ErrorKind::Corrupt);
    }
    // Cloudflare refuses to read what is no text, and all keys beside it.
    let gets = ["good", "bytes", "missing"].map(|key| store.get::<i32>(key));
    let [good, bytes, missing] = join_all(gets).await.try_into().unwrap();
    assert_eq!((good.unwrap(), missing.unwrap()), (Some(1), None));
    fails(bytes, ErrorKind::Corrupt);

    let all: Vec<(String, i32)> = store.entries().await.unwrap();
    assert_eq!(all, [("good".to_owned(), 1)]);
    assert_eq!(store.keys().await.unwrap().len(), 4);
    store.clear().await.unwrap();
    assert_eq!(listed(&server, 0).len(), 0);
}

#[tokio::test]
async fn more_than_a_request_takes_goes_in_several() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = store(&server, 0);
    let key = |n: usize| format!("k{n:05}");
    counts(&server);
    let entries = (0..10_050).map(|n| (key(n), n));
    store.set_many(entries).await.unwrap();
    assert_eq!(counts(&server), json!({"PUT /bulk": 2}));

    let keys: Vec<String> = (0..250).map(key).collect();
    let got = store.get_many::<usize>(&keys).await.unwrap();
    assert_eq!(got.len(), 250);
    assert_eq!(counts(&server), json!({"POST /bulk/get": 3}));

    // Keys alone need no values; a page of few does not ask for many.
    assert_eq!(store.keys().await.unwrap().len(), 10_050);
    assert_eq!(counts(&server), json!({"GET /keys": 11}));
    let page = store.scan(Scan::new().after(key(9)).limit(3));
    let page: Vec<(String, Entry)> = page.try_collect().await.unwrap();
    assert_eq!(
        page.iter().map(|(key, _)| &**key).collect::<Vec<_>>(),
        ["k00010", "k00011", "k00012"]
    );
    assert_eq!(
        counts(&server),
        json!({"GET /keys": 1, "POST /bulk/get": 1})
    );

    store.prefix("k0").clear().await.unwrap();
    assert_eq!(
        counts(&server),
        json!({"GET /keys": 10, "POST /bulk/delete": 1})
    );
    assert_eq!(listed(&server, 0).len(), 50);
}

#[tokio::test]
async fn large_values_are_read_though_not_together() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = store(&server, 0);
    // Quotes: in the requests, they take twice as much.
    let large = "\"".repeat(5_000_000);
    let entries = (0..4).map(|n| (format!("k{n}"), &large));
    store.set_many(entries).await.unwrap();
    let read = store
        .get_many::<String>(["k0", "k1", "k2", "k3"])
        .await
        .unwrap();
    assert!(read.len() == 4 && read.values().all(|value| *value == large));
    let all: Vec<(String, String)> = store.entries().await.unwrap();
    assert!(all.len() == 4 && all.iter().all(|(_, value)| *value == large));

    let largest = "x".repeat((25 << 20) - 2);
    store.set("largest", &largest).expires("1h").await.unwrap();
    assert_eq!(store.get("largest").await.unwrap(), Some(largest));
    let larger = "x".repeat((25 << 20) - 1);
    fails(store.set("larger", &larger).await, ErrorKind::InvalidValue);
}

#[tokio::test]
async fn requests_that_are_too_many_are_sent_again_when_cloudflare_says() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = store(&server, 0);
    let throttled = json!({"success": false, "errors": [{"code": 971, "message": "secret"}]});
    let second = json!({"retry-after": "1"});
    let begun = Instant::now();
    fail(&server, "PUT /bulk", 1, 429, &second, &throttled);
    store.set("a", &1).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    fail(&server, "POST /bulk/get", 2, 429, &json!({}), &throttled);
    assert_eq!(store.get("a").await.unwrap(), Some(1));
    fail(&server, "GET /keys", 2, 429, &json!({}), &throttled);
    assert_eq!(store.keys().await.unwrap(), ["a"]);
    fail(
        &server,
        "POST /bulk/delete",
        1,
        502,
        &json!({}),
        &json!("<html>"),
    );
    store.del("a").await.unwrap();
    assert!(!store.has("a").await.unwrap());

    // Longer than an operation may take: that is told at once.
    let long = json!({"retry-after": "1000"});
    fail(&server, "PUT /bulk", 1, 429, &long, &throttled);
    let error = fails(store.set("a", &1).await, ErrorKind::Throttled);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1000)));
    assert!(!error.is_maybe_applied());
    assert!(
        error.message().contains("429") && error.message().contains("971"),
        "{error}"
    );
    // What can't pass is not tried again.
    let daily = json!({"success": false, "errors": [{"code": 10048, "message": "secret"}]});
    fail(&server, "PUT /bulk", 1, 429, &json!({}), &daily);
    fails(store.set("a", &1).await, ErrorKind::Full);
    fail(
        &server,
        "POST /bulk/get",
        1,
        200,
        &json!({}),
        &json!("a gateway's page"),
    );
    fails(store.get::<i32>("a").await, ErrorKind::Unreachable);
}

#[tokio::test]
async fn keys_that_cloudflare_leaves_out_are_written_again() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = store(&server, 0);
    let fault = json!([{"of": "PUT /bulk", "times": 2, "failing": ["b"]}]);
    server.order("faults", &fault.to_string());
    counts(&server);
    store.set_many([("a", 1), ("b", 2)]).await.unwrap();
    assert_eq!(counts(&server), json!({"PUT /bulk": 3}));
    assert_eq!(store.get("b").await.unwrap(), Some(2));
}

#[tokio::test]
async fn tasks_share_requests() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = store(&server, 0);
    counts(&server);
    let sets = (0..64).map(|n| {
        let store = store.clone();
        async move { store.set(&format!("k{n}"), &n).await }
    });
    for set in join_all(sets).await {
        set.unwrap();
    }
    let gets = (0..64).map(|n| {
        let store = store.clone();
        async move { store.get::<i32>(&format!("k{n}")).await }
    });
    for (n, got) in (0..).zip(join_all(gets).await) {
        assert_eq!(got.unwrap(), Some(n));
    }
    assert_eq!(
        counts(&server),
        json!({"PUT /bulk": 1, "POST /bulk/get": 1})
    );
    // The last write of a key is the one that stays.
    join_all((0..64).map(|n| {
        let store = store.clone();
        async move { store.set("same", &n).await.unwrap() }
    }))
    .await;
    assert_eq!(store.get("same").await.unwrap(), Some(63));
}

#[tokio::test]
async fn groups_of_a_hundred_take_a_request_or_two() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = store(&server, 0).prefix("few:");
    let keys: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let entries = || keys.iter().map(|key| (key, 1));
    counts(&server);

    store.set_many(entries()).await.unwrap();
    assert_eq!(counts(&server), json!({"PUT /bulk": 1}));
    assert_eq!(store.get_many::<i32>(&keys).await.unwrap().len(), 100);
    assert_eq!(counts(&server), json!({"POST /bulk/get": 1}));
    assert_eq!(store.keys().await.unwrap().len(), 100);
    assert_eq!(counts(&server), json!({"GET /keys": 1}));
    assert_eq!(store.entries::<i32>().await.unwrap().len(), 100);
    assert_eq!(
        counts(&server),
        json!({"GET /keys": 1, "POST /bulk/get": 1})
    );
    store.del_many(&keys).await.unwrap();
    assert_eq!(counts(&server), json!({"POST /bulk/delete": 1}));
    // A key may be written once a second, so others are cleared.
    let others = store.prefix("others:");
    others.set_many(entries()).await.unwrap();
    counts(&server);
    others.clear().await.unwrap();
    assert_eq!(
        counts(&server),
        json!({"GET /keys": 1, "POST /bulk/delete": 1})
    );
}

#[tokio::test]
async fn tokens_and_namespaces_that_are_wrong_are_told() {
    let Some(server) = Server::start() else {
        return;
    };
    let wrong = |url: String, token: &str| kv(Cloudflare::new(url, token)).unwrap();
    let unknown = wrong(server.url(0), "secret-unknown");
    fails(unknown.get::<i32>("a").await, ErrorKind::Denied);
    fails(unknown.keys().await, ErrorKind::Denied);
    let reader = wrong(server.url(0), Server::READ_ONLY);
    assert_eq!(reader.get::<i32>("a").await.unwrap(), None);
    let error = fails(reader.set("a", &1).await, ErrorKind::Denied);
    assert!(!error.is_maybe_applied() && !error.is_retryable());
    assert!(error.message().contains("10000"), "{error}");

    let nowhere = wrong(server.url(99), Server::TOKEN);
    let error = fails(nowhere.get::<i32>("a").await, ErrorKind::Unreachable);
    assert!(
        error.message().contains("10013") && !error.is_retryable(),
        "{error}"
    );
    let nobody = server.url(0).replace("polystore-test", "nobody");
    fails(
        wrong(nobody, Server::TOKEN).set("a", &1).await,
        ErrorKind::Unreachable,
    );

    let cloudflare = Cloudflare::new(server.url(0), "secret-token");
    assert_eq!(format!("{cloudflare:?}"), "Cloudflare { .. }");
    let url = server.url_with(0, "token_env=X");
    fails(kv(Cloudflare::new(url, "t")), ErrorKind::InvalidOption);
    fails(
        kv(Cloudflare::new("memory:", "t")),
        ErrorKind::InvalidOption,
    );
    for query in ["speed=1", "timeout=never", "tls_cert=a", "token_env=a b"] {
        let url = format!("cloudflare://a/b?{query}");
        fails(kv(url), ErrorKind::InvalidOption);
    }
}

/// The environment of this process is everyone's: another one is asked.
#[tokio::test]
async fn the_token_comes_from_the_environment() {
    let error = fails(
        kv("cloudflare://a/b?token_env=POLYSTORE_NO_SUCH_VARIABLE"),
        ErrorKind::InvalidOption,
    );
    assert!(
        error.message().contains("POLYSTORE_NO_SUCH_VARIABLE"),
        "{error}"
    );
    if let Ok(url) = std::env::var("POLYSTORE_TEST_CHILD_URL") {
        kv(url).unwrap().set("from-child", &1).await.unwrap();
        return;
    }
    let Some(server) = Server::start() else {
        return;
    };
    for (variable, query) in [
        ("CLOUDFLARE_API_TOKEN", "timeout=60s"),
        ("MY_TOKEN", "token_env=MY_TOKEN"),
    ] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_token_comes_from_the_environment"])
            .env_remove("CLOUDFLARE_API_TOKEN")
            .env("POLYSTORE_TEST_CHILD_URL", server.url_with(0, query))
            .env(variable, Server::TOKEN)
            .output()
            .unwrap();
        assert!(child.status.success(), "{child:?}");
        let store = store(&server, 0);
        assert_eq!(store.get("from-child").await.unwrap(), Some(1));
        store.clear().await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_what_they_are_or_refused_before_anything_is_sent() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = store(&server, 0);
    let keys = [
        "a/b",
        "../x",
        "%2F",
        "%",
        "?a=b&c",
        "#",
        " ",
        "a b",
        "\n",
        "\0a",
        "é",
        "e\u{301}",
        "😀",
        "\"",
        "\\",
        "__proto__",
        "constructor",
        "...",
        "\u{feff}",
        "\u{2028}",
        "\u{10ffff}",
    ];
    let longest = "é".repeat(256);
    let keys: Vec<&str> = keys.into_iter().chain([&*longest]).collect();
    for (n, key) in keys.iter().enumerate() {
        store.set(key, &n).await.unwrap();
    }
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(store.get(key).await.unwrap(), Some(n), "{key:?}");
    }
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(store.keys().await.unwrap(), sorted);
    store.del_many(&keys).await.unwrap();
    assert_eq!(store.keys().await.unwrap().len(), 0);

    counts(&server);
    let long = "é".repeat(257);
    for key in ["", ".", "..", &long] {
        fails(store.get::<i32>(key).await, ErrorKind::InvalidKey);
        fails(
            store.set_many([("a", 1), (key, 1)]).await,
            ErrorKind::InvalidKey,
        );
        fails(store.del(key).await, ErrorKind::InvalidKey);
    }
    assert_eq!(store.prefix(&long).keys().await.unwrap().len(), 0);
    for error in [
        store.insert("a", &1).await.err(),
        store.touch("a", "1h").await.err(),
        store.prune().await.err(),
    ] {
        assert_eq!(error.unwrap().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(counts(&server), json!({}));
}

#[tokio::test]
async fn lost_connections_are_replaced_and_silence_ends_with_the_timeout() {
    let Some(server) = Server::start() else {
        return;
    };
    let proxy = Proxy::to(server.address());
    let url = proxy.url(&server.url_with(0, "timeout=2s"));
    let store = kv(Cloudflare::new(url, Server::TOKEN)).unwrap();
    store.set("a", &1).await.unwrap();
    proxy.cut();
    assert_eq!(store.get("a").await.unwrap(), Some(1));
    proxy.black_hole();
    let begun = Instant::now();
    let error = fails(store.get::<i32>("a").await, ErrorKind::Timeout);
    assert!(!error.is_maybe_applied());
    assert!(fails(store.set("a", &2).await, ErrorKind::Timeout).is_maybe_applied());
    fails(store.keys().await, ErrorKind::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(15));
    proxy.pass();
    assert!(store.has("a").await.unwrap());
    proxy.refuse();
    proxy.cut();
    let error = fails(store.set("a", &3).await, ErrorKind::Unreachable);
    assert!(error.is_retryable(), "{error:?}");
    proxy.accept();
    store.set("a", &4).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(4));
}
