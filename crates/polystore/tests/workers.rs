//! A namespace of Cloudflare KV inside a Worker, on the real runtime: with the store by the REST API, with the npm
//! package, at its limits, and when the runtime fails.
#![cfg(all(feature = "cloudflare", feature = "workers", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::path::Path;
use std::time::{Duration, Instant};

use polystore_kv::{Cloudflare, Store, kv};
use polystore_servers::{Cloudflare as Server, Worker, modules};
use serde_json::{Value, json};

/// A namespace, as a Worker in Rust has it, and as a program by the REST API.
struct World {
    server: Server,
    rest: Store,
}

impl World {
    fn start() -> Option<Self> {
        let worker = Worker::new("rust", modules("conformance")?.join("conformance"));
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let npm = here.join("../../interop/npm/node_modules/polystore");
        let mut workers = vec![worker];
        if npm.join("index.js").is_file() {
            let own = here.join("../../interop/npm/worker");
            workers.push(Worker::new("npm", own).file(npm.join("index.js")));
        }
        let server = Server::with_workers(1, &workers)?;
        let url = server.url_with(0, "timeout=5min");
        let rest = kv(Cloudflare::new(url, Server::TOKEN)).unwrap();
        Some(Self { server, rest })
    }

    fn ask(&self, worker: &str, order: &Value) -> Value {
        let order = order.to_string();
        let reply = self.server.ask_worker(worker, "POST", "/", &[], &order);
        assert_eq!(reply.status, 200, "{reply:?}");
        serde_json::from_str(&reply.body).unwrap()
    }

    /// What came of each order, in Rust.
    fn perform(&self, orders: &Value) -> Vec<Value> {
        let done = self.ask("rust", &json!({"namespace": "n0", "orders": orders}));
        let done = done.as_array().unwrap().iter();
        done.map(|one| one.get("ok").unwrap_or(one).clone())
            .collect()
    }

    fn one(&self, order: &Value) -> Value {
        self.perform(&json!([order])).remove(0)
    }

    /// What came of an order when the runtime throws this.
    fn thrown(&self, message: &str, order: &Value) -> Value {
        let order = json!({"namespace": "n0", "message": message, "orders": [order]});
        self.ask("rust", &order)[0].clone()
    }
}

#[tokio::test]
async fn the_binding_and_the_rest_api_share_a_namespace() {
    let Some(world) = World::start() else {
        return;
    };
    // The orders go through JavaScript, whose numbers end there.
    let value = json!({"a": "é😀\u{fffd}", "n": 9_007_199_254_740_991_u64, "f": 0.1});
    world.one(&json!(["set", "ours", value]));
    world.one(&json!(["set", "short", 1, "3s"]));
    world.one(&json!(["set", "long", 2, "1h"]));
    assert_eq!(world.rest.get("ours").await.unwrap(), Some(value.clone()));
    world.rest.set("theirs", &value).await.unwrap();
    world.rest.set("brief", &3).expires("3s").await.unwrap();
    world.rest.set("lasting", &4).expires("1h").await.unwrap();
    assert_eq!(world.one(&json!(["get", "theirs"])), value);

    // Each sees the other's instant, whether Cloudflare would have it so exactly or not.
    for key in ["short", "long", "brief", "lasting", "ours"] {
        let entry = world.rest.entry(key).await.unwrap().unwrap();
        let seen = world.one(&json!(["expires", key]));
        assert_eq!(seen, json!(entry.expiry().as_millis()), "{key}");
    }
    let keys = json!(["brief", "lasting", "long", "ours", "short", "theirs"]);
    assert_eq!(world.one(&json!(["keys", ""])), keys);
    let deadline = Instant::now() + Duration::from_secs(30);
    while world.rest.has("short").await.unwrap() || world.one(&json!(["has", "brief"])) == true {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(world.one(&json!(["get", "short"])), Value::Null);
    let left = ["lasting", "long", "ours", "theirs"];
    assert_eq!(world.rest.keys().await.unwrap(), left);
    assert_eq!(world.one(&json!(["keys", ""])), json!(left));

    world.one(&json!(["clear", "l"]));
    assert_eq!(world.rest.keys().await.unwrap(), ["ours", "theirs"]);
    world.rest.del("ours").await.unwrap();
    assert_eq!(world.one(&json!(["all", ""])), json!({"theirs": value}));
    // What one cannot do, the other cannot.
    for order in [
        json!(["insert", "a", 1]),
        json!(["touch", "theirs", "1h"]),
        json!(["prune"]),
    ] {
        assert_eq!(world.one(&order)["kind"], "Unsupported", "{order}");
    }
    let can = format!("{:?}", world.rest.capabilities().await.unwrap());
    assert_eq!(world.one(&json!(["capabilities"])), can);
}

#[tokio::test]
async fn a_listing_goes_through_every_page_and_many_reads_share_operations() {
    let Some(world) = World::start() else {
        return;
    };
    world.one(&json!(["set_numbers", "k", 1500]));
    world.one(&json!(["set", "l", 0]));
    let keys = world.one(&json!(["keys", "k"]));
    assert_eq!(keys.as_array().unwrap().len(), 1500);
    let all = world.one(&json!(["all", "k"]));
    assert_eq!(all.as_object().unwrap().len(), 1500);
    assert_eq!(all["01499"], 1499);
    // Of those, some are missing.
    let wanted: Vec<String> = (1400..1600).map(|n| format!("k{n:05}")).collect();
    let found = world.one(&json!(["get_many", wanted]));
    assert_eq!(found.as_object().unwrap().len(), 100);
    let page = world.one(&json!(["page", "k", 7]));
    assert_eq!(page.as_array().unwrap().len(), 7);
    assert_eq!(page[6], json!(["k00006", null]));
}

#[tokio::test]
async fn values_are_as_large_as_cloudflare_has_them_and_no_larger() {
    let Some(world) = World::start() else {
        return;
    };
    let most = (25 << 20) - 2;
    assert_eq!(world.one(&json!(["set_large", "large", most])), Value::Null);
    assert_eq!(world.one(&json!(["length", "large"])), most);
    let text: String = world.rest.get("large").await.unwrap().unwrap();
    assert_eq!(text.len(), most);
    let refused = world.one(&json!(["set_large", "large", most + 1]));
    assert_eq!(refused["kind"], "InvalidValue");
    let long = "k".repeat(513);
    for key in [&long[..], ".", ".."] {
        let refused = world.one(&json!(["set", key, 1]));
        assert_eq!(refused["kind"], "InvalidKey", "{key}");
    }
}

#[tokio::test]
async fn what_is_no_json_is_a_data_error_that_shows_none_of_it() {
    let Some(world) = World::start() else {
        return;
    };
    let bytes = json!({"namespace": "n0", "key": "bytes", "value": [34, 255, 254, 34]});
    world.server.order("put-bytes", &bytes.to_string());
    let text = json!({"namespace": "n0", "key": "text", "value": "secret value", "options": {}});
    world.server.order("put", &text.to_string());
    let empty = json!({"namespace": "n0", "key": "empty", "value": "", "options": {}});
    world.server.order("put", &empty.to_string());
    world.one(&json!(["set_numbers", "a", 6]));
    for key in ["bytes", "text", "empty"] {
        let error = world.one(&json!(["get", key]));
        assert_eq!(error["kind"], "Corrupt", "{key} {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let all = world.one(&json!(["all", ""]));
    assert_eq!(all.as_object().map(serde_json::Map::len), Some(6), "{all}");
    let keys = world.one(&json!(["keys", ""]));
    assert_eq!(keys.as_array().unwrap().len(), 9);
}

#[tokio::test]
async fn what_the_runtime_throws_becomes_the_kind_that_callers_act_on() {
    let Some(world) = World::start() else {
        return;
    };
    for (message, kind, retryable) in [
        ("KV PUT failed: 400 secret", "InvalidValue", false),
        (
            "KV PUT failed: 413 Value length of secret",
            "InvalidValue",
            false,
        ),
        ("KV PUT failed: 401 Unauthorized", "Denied", false),
        ("KV put() limit exceeded for the day.", "Full", false),
        (
            "Too many API requests by single worker invocation.",
            "Full",
            false,
        ),
        (
            "Cannot perform I/O on behalf of a different request.",
            "Unsupported",
            false,
        ),
        // Until its time is over it is tried again.
        ("KV PUT failed: 429 Too Many Requests", "Throttled", true),
        (
            "KV PUT failed: 503 Service Unavailable",
            "Unreachable",
            true,
        ),
        ("Network connection lost.", "Unreachable", true),
    ] {
        let orders = match retryable {
            true => vec![json!(["set", "k", 1])],
            false => vec![
                json!(["set", "k", 1]),
                json!(["get", "k"]),
                json!(["keys", ""]),
            ],
        };
        for order in orders {
            let error = world.thrown(message, &order);
            assert_eq!(error["kind"], kind, "{message} {order} {error}");
            assert_eq!(error["retryable"], retryable, "{message} {order} {error}");
            assert!(
                !error["error"].as_str().unwrap().contains("secret"),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn a_listing_that_stands_still_or_is_none_fails_at_once() {
    let Some(world) = World::start() else {
        return;
    };
    let again = |keys: Value| json!({"keys": keys, "list_complete": false, "cursor": "again"});
    for page in [
        again(json!([])),
        again(json!([{"name": "a"}])),
        json!({"keys": [{}], "list_complete": true}),
        json!({"list_complete": true}),
        json!({"keys": [{"name": "a", "expiration": -1}], "list_complete": true}),
        json!("secret"),
        Value::Null,
    ] {
        for order in [
            json!(["keys", ""]),
            json!(["all", ""]),
            json!(["clear", ""]),
            json!(["expires", "b"]),
        ] {
            let orders = json!({"namespace": "n0", "pages": [page], "orders": [order]});
            let begun = Instant::now();
            let error = world.ask("rust", &orders)[0].clone();
            assert_eq!(error["kind"], "Unreachable", "{page} {order} {error}");
            assert_eq!(error["retryable"], false, "{page} {order} {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{page} {order}");
        }
    }
}

#[tokio::test]
async fn the_npm_package_in_a_worker_shares_the_namespace() {
    let Some(world) = World::start() else {
        return;
    };
    let npm =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/npm/node_modules/polystore");
    if !npm.is_dir() {
        polystore_servers::skip("needs `npm ci` in interop/npm");
        return;
    }
    let npm = |orders: Value| world.ask("npm", &json!({"namespace": "n0", "orders": orders}));
    let value = json!({"a": ["é😀", 1.5, null]});
    npm(json!([["set", "user:1", value], ["set", "user:2", 2, {"expires": 3600}]]));
    assert_eq!(world.one(&json!(["get", "user:1"])), value);
    assert_eq!(world.one(&json!(["expires", "user:1"])), Value::Null);
    let at = world.one(&json!(["expires", "user:2"])).as_u64().unwrap();
    let entry = world.rest.entry("user:2").await.unwrap().unwrap();
    assert_eq!(entry.expiry().as_millis(), Some(i64::try_from(at).unwrap()));
    assert_eq!(at % 1000, 0);
    let page = world.one(&json!(["page", "user:", 5]));
    assert_eq!(page, json!([["user:1", null], ["user:2", at]]));

    world.one(&json!(["set", "user:3", value, "2h"]));
    let seen = npm(json!([
        ["get", "user:3"],
        ["keys"],
        ["all"],
        ["del", "user:1"]
    ]));
    assert_eq!(seen[0], value);
    assert_eq!(seen[1], json!(["user:1", "user:2", "user:3"]));
    assert_eq!(
        seen[2],
        json!({"user:1": value, "user:2": 2, "user:3": value})
    );
    assert_eq!(world.one(&json!(["keys", ""])), json!(["user:2", "user:3"]));
    world.one(&json!(["del", "user:3"]));
    assert_eq!(
        npm(json!([["get", "user:3"], ["has", "user:2"]])),
        json!([null, true])
    );
}
