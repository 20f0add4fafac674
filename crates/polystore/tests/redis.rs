//! What is said of Redis beyond the contract: what is kept, what is left alone, and at what cost.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use polystore_kv::{Entry, ErrorKind, Expires, Expiry, Scan, Store, Timestamp, kv};
use polystore_servers::{Proxy, Redis, RedisCluster};
use serde_json::{Value, json};

fn open(redis: &Redis) -> Store {
    kv(redis.url()).unwrap()
}

#[tokio::test]
async fn values_are_plain_json_under_their_keys() {
    let Some(redis) = Redis::start() else { return };
    let store = open(&redis);
    store.set("a", "b").await.unwrap();
    store
        .prefix("user:")
        .set("1", &json!({"n": 1}))
        .await
        .unwrap();
    store.set("c", &1).expires("90s").await.unwrap();
    assert_eq!(redis.command(&["GET", "a"]), "\"b\"");
    assert_eq!(redis.command(&["GET", "user:1"]), "{\"n\":1}");
    assert_eq!(redis.command(&["PTTL", "a"]), "-1");
    let left: u64 = redis.command(&["PTTL", "c"]).parse().unwrap();
    assert!((80_000..=90_002).contains(&left), "{left}");

    // As the npm package writes: indented, with EX.
    let indented = "{\n  \"n\": 2\n}";
    let _ = redis.command(&["SET", "theirs", indented, "EX", "60"]);
    assert_eq!(store.get("theirs").await.unwrap(), Some(json!({"n": 2})));
    let left = store
        .ttl("theirs")
        .await
        .unwrap()
        .and_then(Expires::as_duration);
    assert!(left > Some(Duration::from_secs(50)), "{left:?}");
}

#[tokio::test]
async fn what_is_no_entry_is_a_data_error_and_left_out_of_listings() {
    let Some(redis) = Redis::start() else { return };
    let store = open(&redis);
    store.set("entry", &1).await.unwrap();
    let _ = redis.command(&["SET", "text", "no JSON"]);
    let _ = redis.command(&["SET", "empty", ""]);
    let _ = redis.command(&["SET", "bytes", "\u{7f}"]);
    let _ = redis.command(&["RPUSH", "list", "1"]);
    let _ = redis.command(&["HSET", "hash", "a", "1"]);
    for key in ["text", "empty", "list", "hash"] {
        let error = store.get::<Value>(key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{key}");
        assert_eq!(error.key(), Some(key));
        assert!(!error.is_retryable());
    }
    for key in ["list", "hash"] {
        assert_eq!(store.has(key).await.unwrap_err().kind(), ErrorKind::Corrupt);
        let entry = store.entry(key).await.unwrap_err();
        assert_eq!(entry.kind(), ErrorKind::Corrupt);
        let many = store.get_many::<Value>(["entry", key]).await.unwrap_err();
        assert_eq!((many.kind(), many.key()), (ErrorKind::Corrupt, Some(key)));
    }
    // Others that are asked for in the same moment are not disturbed, whatever was found before.
    let all = ["entry", "list", "entry", "missing", "hash", "entry"];
    for some in [
        &all[..],
        &["entry"; 6],
        &["missing"; 6],
        &all,
        &all,
        &["entry"; 6],
        &all,
    ] {
        let got = join_all(some.iter().map(|key| store.get::<u32>(key))).await;
        for (key, got) in some.iter().zip(got) {
            match *key {
                "entry" => assert_eq!(got.unwrap(), Some(1)),
                "missing" => assert_eq!(got.unwrap(), None),
                _ => assert_eq!(got.unwrap_err().kind(), ErrorKind::Corrupt),
            }
        }
    }
    assert_eq!(store.all::<u32>().await.unwrap().len(), 1);
    let scanned: Vec<_> = store.scan(Scan::new()).try_collect().await.unwrap();
    assert_eq!(scanned.len(), 1);
    let mut keys = store.keys().await.unwrap();
    keys.sort();
    // Whether a string is JSON is not looked at for its key alone.
    assert_eq!(keys, ["bytes", "empty", "entry", "text"]);
}

#[tokio::test]
async fn clear_removes_what_a_listing_shows_and_nothing_else() {
    let Some(redis) = Redis::start() else { return };
    let store = open(&redis);
    let other = kv(redis.database_url(1)).unwrap();
    other.set("other", &1).await.unwrap();
    let _ = redis.command(&["RPUSH", "a*list", "1"]);
    let mine: Vec<(String, u32)> = (0..3000).map(|n| (format!("a*{n}"), n)).collect();
    store
        .set_many(mine.iter().map(|(k, n)| (k, n)))
        .await
        .unwrap();
    let others = ["a", "ab", "a1*", "A*1", "a[*]1", "a\\*1"];
    store.set_many(others.map(|key| (key, 1))).await.unwrap();
    assert_eq!(store.prefix("a*").keys().await.unwrap().len(), 3000);

    store.prefix("a*").clear().await.unwrap();
    let keys: HashSet<String> = store.keys().await.unwrap().into_iter().collect();
    assert_eq!(keys, others.map(str::to_owned).into());

    store.clear().await.unwrap();
    assert_eq!(store.keys().await.unwrap(), [""; 0]);
    assert_eq!(redis.command(&["TYPE", "a*list"]), "list");
    assert_eq!(other.get("other").await.unwrap(), Some(1));
}

#[tokio::test]
async fn one_database_is_not_another() {
    let Some(redis) = Redis::start() else { return };
    let zero = kv(redis.database_url(0)).unwrap();
    let three = kv(redis.database_url(3)).unwrap();
    let unix = format!("redis+unix://{}?db=3", redis.socket().display());
    let unix = kv(unix).unwrap();
    zero.set("a", &0).await.unwrap();
    three.set("a", &3).await.unwrap();
    assert_eq!(unix.get("a").await.unwrap(), Some(3));
    unix.del("a").await.unwrap();
    assert_eq!(three.get::<u32>("a").await.unwrap(), None);
    assert_eq!(open(&redis).get("a").await.unwrap(), Some(0));
}

#[tokio::test]
async fn keys_that_are_no_text_are_left_out_and_left_alone() {
    let Some(redis) = Redis::start() else { return };
    let store = open(&redis);
    let script = "return redis.call('SET', 'k\\255', '1')";
    let _ = redis.command(&["EVAL", script, "0"]);
    store.set("k", &1).await.unwrap();
    assert_eq!(store.keys().await.unwrap(), ["k"]);
    store.clear().await.unwrap();
    assert_eq!(redis.command(&["DBSIZE"]), "1");
}

#[tokio::test]
async fn insert_and_replace_and_touch_and_evict_say_what_they_did() {
    let Some(redis) = Redis::start() else { return };
    let store = open(&redis);
    let tries = join_all((0..32).map(|n| {
        let store = store.clone();
        async move { store.insert("once", &n).expires("1h").await.unwrap() }
    }));
    assert_eq!(tries.await.into_iter().filter(|done| *done).count(), 1);
    let winner = store.get::<u32>("once").await.unwrap().unwrap();
    assert!(store.replace("once", &winner).await.unwrap());
    assert_eq!(redis.command(&["PTTL", "once"]), "-1");
    assert!(!store.replace("missing", &1).expires("1h").await.unwrap());
    assert_eq!(redis.command(&["EXISTS", "missing"]), "0");
    assert!(store.replace("once", &winner).expires("1h").await.unwrap());
    assert!(store.touch("once", Expires::NEVER).await.unwrap());
    assert!(store.touch("once", Expires::NEVER).await.unwrap());
    assert_eq!(redis.command(&["PTTL", "once"]), "-1");
    assert!(!store.touch("missing", "1h").await.unwrap());
    assert!(!store.touch("missing", Expires::NEVER).await.unwrap());

    let backend = store.backend();
    let seen = store.entry("once").await.unwrap().unwrap();
    let at = Timestamp::from_millis(Timestamp::now().as_millis() + 60_000);
    let other = seen.clone().with_expiry(Expiry::At(at));
    assert!(!backend.evict("once", &other).await.unwrap());
    let _ = redis.command(&["RPUSH", "list", "1"]);
    assert!(!backend.evict("list", &seen).await.unwrap());
    assert!(backend.evict("once", &seen).await.unwrap());
    assert!(!store.has("once").await.unwrap());
}

#[tokio::test]
async fn expiry_is_kept_to_the_millisecond_and_the_server_drops_it() {
    let Some(redis) = Redis::start() else { return };
    let store = open(&redis);
    store.set("a", &1).expires("1500ms").await.unwrap();
    let left: u64 = redis.command(&["PTTL", "a"]).parse().unwrap();
    // The milliseconds that have begun, here and there, count as whole.
    assert!(left > 1000 && left <= 1502, "{left}");
    store.set("b", &1).expires("60ms").await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    // Without being read, and with nothing else going on.
    while redis.command(&["DBSIZE"]) != "1" {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let over = Entry::new(&1, Expiry::At(Timestamp::from_millis(5))).unwrap();
    store.put("a", over).await.unwrap();
    assert_eq!(redis.command(&["DBSIZE"]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_share_requests() {
    let Some(redis) = Redis::start() else { return };
    let proxy = Proxy::to(redis.address());
    let store = kv(proxy.url(&redis.url())).unwrap();
    let keys: Vec<String> = (0..64).map(|n| format!("key {n}")).collect();
    store
        .set_many(keys.iter().map(|key| (key, 1)))
        .await
        .unwrap();

    // So that they arrive while the first is on its way.
    proxy.delay(Duration::from_millis(50), Duration::ZERO);
    for write in [false, true] {
        let before = proxy.counts().requests;
        let tasks = keys.iter().cloned().map(|key| {
            let store = store.clone();
            tokio::spawn(async move {
                if write {
                    store.set(&key, &2).await.unwrap();
                } else {
                    assert_eq!(store.get(&key).await.unwrap(), Some(1));
                }
            })
        });
        for task in join_all(tasks).await {
            task.unwrap();
        }
        let requests = proxy.counts().requests - before;
        assert!((1..=6).contains(&requests), "{requests} requests");
    }
    assert_eq!(proxy.counts().connections, 1);
}

#[tokio::test]
async fn group_methods_take_a_request_for_hundreds() {
    let Some(redis) = Redis::start() else { return };
    let store = open(&redis);
    let stats = |name: &str| -> u64 {
        let info = redis.command(&["INFO", "commandstats"]);
        let line = info
            .lines()
            .find(|line| line.starts_with(&format!("cmdstat_{name}:")));
        let calls = line
            .and_then(|line| line.split(['=', ',']).nth(1))
            .unwrap_or("0");
        calls.parse().unwrap()
    };
    let keys: Vec<String> = (0..5000).map(|n| format!("many:{n}")).collect();
    let others: Vec<String> = (0..2000).map(|n| format!("other:{n}")).collect();
    store
        .set_many(keys.iter().map(|key| (key, 1)))
        .await
        .unwrap();
    store
        .set_many(others.iter().map(|key| (key, 1)))
        .await
        .unwrap();
    let proxy = Proxy::to(redis.address());
    let store = kv(proxy.url(&redis.url())).unwrap().prefix("many:");
    assert!(store.has("1").await.unwrap());

    let before = proxy.counts().requests;
    let short: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(store.get_many::<u32>(&short).await.unwrap().len(), 100);
    assert_eq!(proxy.counts().requests - before, 1);

    let before = proxy.counts().requests;
    assert_eq!(store.keys().await.unwrap().len(), 5000);
    assert_eq!(store.values::<u32>().await.unwrap().len(), 5000);
    let requests = proxy.counts().requests - before;
    assert!(requests < 50, "{requests} requests for listings");
    assert_eq!(stats("keys"), 0);

    let before = proxy.counts().requests;
    store.clear().await.unwrap();
    let requests = proxy.counts().requests - before;
    assert!(requests < 50, "{requests} requests to clear");
    assert_eq!(stats("flushdb") + stats("flushall"), 0);
    assert_eq!(redis.command(&["DBSIZE"]), "2000");
}

#[tokio::test]
async fn a_listing_gives_no_key_twice_while_the_server_reorders_them() {
    let Some(redis) = Redis::start() else { return };
    let store = open(&redis);
    let stay: Vec<String> = (0..4000).map(|n| format!("stay {n}")).collect();
    store
        .set_many(stay.iter().map(|key| (key, 1)))
        .await
        .unwrap();
    let mut stream = store.stream::<u32>();
    let mut seen = HashSet::new();
    let mut round = 0;
    while let Some((key, _)) = stream.try_next().await.unwrap() {
        assert!(seen.insert(key.clone()), "{key} came twice");
        if seen.len() % 500 == 0 {
            // The table grows, then shrinks again.
            round += 1;
            let more: Vec<String> = (0..8000).map(|n| format!("more {round} {n}")).collect();
            store
                .set_many(more.iter().map(|key| (key, 1)))
                .await
                .unwrap();
            if round % 2 == 0 {
                store.prefix("more").clear().await.unwrap();
            }
            if round > 6 {
                break;
            }
        }
    }
    let mut rest = stream;
    while let Some((key, _)) = rest.try_next().await.unwrap() {
        assert!(seen.insert(key.clone()), "{key} came twice");
    }
    assert!(stay.iter().all(|key| seen.contains(key)));
}

#[tokio::test]
async fn large_values_are_listed_a_few_at_a_time() {
    let Some(redis) = Redis::start() else { return };
    let store = open(&redis);
    let large = "x".repeat(300_000);
    for n in 0..60 {
        store.set(&n.to_string(), &large).await.unwrap();
    }
    let proxy = Proxy::to(redis.address());
    let store = kv(proxy.url(&redis.url())).unwrap();
    let mut stream = store.stream::<String>();
    let mut listed = 0;
    let mut most = 0;
    let mut before = proxy.counts().reply_bytes;
    while let Some((_, value)) = stream.try_next().await.unwrap() {
        listed += 1;
        assert_eq!(value.len(), large.len());
        let now = proxy.counts().reply_bytes;
        // The first request cannot know how large they are.
        if listed > 33 {
            most = most.max(now - before);
        }
        before = now;
    }
    assert_eq!(listed, 60);
    assert!(most < 6_000_000, "{most} bytes in one reply");
}

#[tokio::test]
async fn a_cluster_is_one_store() {
    let Some(cluster) = RedisCluster::start() else {
        return;
    };
    let store = kv(cluster.url()).unwrap();
    let entries: Vec<(String, u32)> = (0..3000).map(|n| (format!("k:{n}"), n)).collect();
    store
        .set_many(entries.iter().map(|(k, n)| (k, n)))
        .await
        .unwrap();
    store
        .set_many((0..500).map(|n| (format!("other:{n}"), n)))
        .await
        .unwrap();
    for node in &cluster.nodes()[..3] {
        let size: u32 = node.command(&["DBSIZE"]).parse().unwrap();
        assert!(size > 500, "{size} keys on a master");
    }
    let sub = store.prefix("k:");
    let all = sub.all::<u32>().await.unwrap();
    assert_eq!(all.len(), 3000);
    assert!(all.iter().all(|(key, n)| *key == n.to_string()));
    let keys: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(sub.get_many::<u32>(&keys).await.unwrap().len(), 1000);
    let mut streamed = sub.stream::<u32>().take(2500).collect::<Vec<_>>().await;
    assert_eq!(streamed.drain(..).filter(Result::is_ok).count(), 2500);
    assert!(!sub.insert("1", &0).await.unwrap());
    assert!(sub.insert("new", &0).expires("1h").await.unwrap());
    assert!(sub.touch("new", Expires::NEVER).await.unwrap());
    let seen = sub.entry("new").await.unwrap().unwrap();
    assert_eq!(seen.expiry(), Expiry::Never);
    assert!(store.backend().evict("k:new", &seen).await.unwrap());
    sub.clear().await.unwrap();
    assert_eq!(store.keys().await.unwrap().len(), 500);

    let error = kv(format!("redis://{}", cluster.nodes()[0].address())).unwrap();
    let keys: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let error = error
        .set_many(keys.iter().map(|key| (key, 1)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.to_string().contains("redis-cluster://"), "{error}");
}

#[test]
fn a_store_outlives_the_runtime_that_it_was_used_on() {
    let Some(redis) = Redis::start() else { return };
    goes_from_runtime_to_runtime(&open(&redis));
}

#[test]
fn a_cluster_outlives_the_runtime_that_it_was_used_on() {
    let Some(cluster) = RedisCluster::start() else {
        return;
    };
    goes_from_runtime_to_runtime(&kv(cluster.url()).unwrap());
}

fn goes_from_runtime_to_runtime(store: &Store) {
    for round in 0..4 {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1 + round % 2)
            .enable_all()
            .build()
            .unwrap();
        let store = store.clone();
        runtime.block_on(async move {
            // Nothing of it was sent to a connection that has ended with the last runtime.
            assert!(store.insert(&format!("in {round}"), &1).await.unwrap());
            store.set("round", &round).await.unwrap();
            assert_eq!(store.get("round").await.unwrap(), Some(round));
            assert_eq!(store.keys().await.unwrap().len(), 2 + round);
        });
    }
}

#[test]
fn without_a_runtime_everything_is_a_usage_error() {
    let store = kv("redis://127.0.0.1:1").unwrap();
    futures_executor::block_on(async {
        assert!(store.get::<u32>("a").await.unwrap_err().is_usage());
        assert!(store.set("a", &1).await.unwrap_err().is_usage());
        assert!(store.keys().await.unwrap_err().is_usage());
        assert!(store.clear().await.unwrap_err().is_usage());
        assert!(store.capabilities().await.unwrap_err().is_usage());
        store.close().await.unwrap();
    });
}

#[cfg(feature = "redis-1")]
#[tokio::test]
async fn a_client_that_the_program_has_is_a_store() {
    let Some(redis) = Redis::with(&["requirepass hunter2"]) else {
        return;
    };
    let client = redis::Client::open(redis.database_url(2)).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let manager = client.get_connection_manager().await.unwrap();
    let of_client = kv(client).unwrap();
    let of_manager = kv(manager).unwrap();
    let of_connection = kv(connection).unwrap();
    of_client.set("a", &1).await.unwrap();
    for store in [&of_manager, &of_connection] {
        assert_eq!(store.get("a").await.unwrap(), Some(1));
        assert_eq!(store.keys().await.unwrap(), ["a"]);
        store.set("b", &2).await.unwrap();
        store.prefix("b").clear().await.unwrap();
    }
    assert_eq!(
        kv(redis.url()).unwrap().get::<u32>("a").await.unwrap(),
        None
    );

    redis.kill();
    redis.start_again();
    assert_eq!(of_client.get("a").await.unwrap(), Some(1));
    assert_eq!(of_manager.get("a").await.unwrap(), Some(1));
    let error = of_connection.get::<u32>("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(!error.is_retryable());
}

#[cfg(feature = "redis-1")]
#[tokio::test]
async fn a_cluster_client_that_the_program_has_is_a_store() {
    let Some(cluster) = RedisCluster::start() else {
        return;
    };
    let nodes = cluster.nodes().iter().map(Redis::url);
    let client = redis::cluster::ClusterClient::new(nodes).unwrap();
    let store = kv(client).unwrap();
    let entries: Vec<(String, u32)> = (0..300).map(|n| (n.to_string(), n)).collect();
    store
        .set_many(entries.iter().map(|(k, n)| (k, n)))
        .await
        .unwrap();
    assert_eq!(store.all::<u32>().await.unwrap().len(), 300);
    store.clear().await.unwrap();
    assert_eq!(store.keys().await.unwrap(), [""; 0]);
}
