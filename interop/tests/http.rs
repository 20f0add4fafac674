//! The npm package on top of `polystore-server`, beside this crate on the same store.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use polystore_interop::{Both, Npm, Served, Written, entries, expected, keys, node, npm_is_there};
use polystore_kv::{Store, kv};
use polystore_server::{Server, Tokens};
use polystore_servers::skip;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A store that is served: the npm package comes by HTTP, this crate directly.
struct Place {
    name: &'static str,
    both: Both,
    served: Served,
    _folder: TempDir,
    #[cfg(unix)]
    _redis: Option<polystore_servers::Redis>,
}

impl Place {
    fn new(name: &'static str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let path = folder.path().display();
        #[cfg(unix)]
        let mut redis = None;
        let (rust, served) = match name {
            "memory" => {
                let store = kv("memory:").unwrap();
                (store.clone(), store)
            }
            _ => {
                let url = match name {
                    "sqlite" => format!("sqlite:{path}/store.db"),
                    "folder" => format!("file://{path}/store/"),
                    #[cfg(unix)]
                    "redis" => {
                        redis = Some(polystore_servers::Redis::start()?);
                        redis.as_ref()?.url()
                    }
                    _ => {
                        skip(&format!("there is no {name} on this system"));
                        return None;
                    }
                };
                (kv(&url).unwrap(), kv(&url).unwrap())
            }
        };
        let served = Served::with(Server::new(served));
        Some(Self {
            name,
            both: Both::new(Npm::new(served.url()), rust),
            served,
            _folder: folder,
            #[cfg(unix)]
            _redis: redis,
        })
    }

    /// Each of the stores, empty.
    fn each() -> impl Iterator<Item = Self> {
        let names = npm_is_there().then_some(["memory", "sqlite", "folder", "redis"]);
        names.into_iter().flatten().filter_map(Self::new)
    }

    fn npm(&self) -> &Npm {
        &self.both.npm
    }

    fn rust(&self) -> &Store {
        &self.both.rust
    }

    async fn ttl(&self, key: &str) -> Option<Duration> {
        let left = self.rust().ttl(key).await.unwrap();
        let left = left.unwrap_or_else(|| panic!("{}: no {key:?}", self.name));
        left.as_duration()
    }

    /// All entries with their expiries to a second.
    async fn all(&self) -> BTreeMap<String, (Value, Option<u64>)> {
        let mut all = BTreeMap::new();
        for (key, value) in self.rust().all::<Value>().await.unwrap() {
            let left = self.ttl(&key).await.map(|left| left.as_secs() / 1000);
            all.insert(key, (value, left));
        }
        all
    }
}

/// What a path cannot carry, so that the npm package cannot say it.
const IMPOSSIBLE: [&str; 4] = ["", ".", "..", "ping"];

#[tokio::test]
async fn each_side_reads_lists_and_deletes_what_the_other_wrote() {
    let mut all = entries();
    all.retain(|entry| !IMPOSSIBLE.contains(&&entry.key[..]));
    assert_eq!(all.len(), 196);
    for place in Place::each() {
        println!("{}", place.name);
        place.both.share(&all).await;
        place.both.expire().await;
    }
}

#[tokio::test]
async fn every_method_does_over_http_what_its_documentation_says() {
    for place in Place::each() {
        let call = |method: &str, args: Value| json!({"method": method, "args": args});
        let below = |mut call: Value| {
            call["prefix"] = json!(["a:", "b:"]);
            call
        };
        let calls = [
            call("set", json!(["k", {"n": 1}])),
            call("get", json!(["k"])),
            call("has", json!(["k"])),
            call("get", json!(["missing"])),
            call("has", json!(["missing"])),
            call("del", json!(["missing"])),
            below(call("set", json!(["k", "below", {"expires": "1h"}]))),
            below(call("get", json!(["k"]))),
            below(call("has", json!(["k"]))),
            below(call("has", json!(["a:b:k"]))),
            below(call("keys", json!([]))),
            below(call("values", json!([]))),
            below(call("entries", json!([]))),
            below(call("all", json!([]))),
            below(call("iterate", json!([]))),
            call("set", json!(["elsewhere", 2, {"prefix": "a:b:"}])),
            call("set", json!(["gone", 1])),
            call("set", json!(["gone", null])),
            call("set", json!(["expired", 1])),
            call("set", json!(["expired", 2, {"expires": 0}])),
            call("prune", json!([])),
            call("all", json!([])),
            below(call("del", json!(["k"]))),
            below(call("clear", json!([]))),
            call("keys", json!([])),
            call("close", json!([])),
        ];
        let results = place.npm().call(&calls);
        let expected = [
            json!("k"),
            json!({"n": 1}),
            json!(true),
            json!(null),
            json!(false),
            json!("missing"),
            json!("k"),
            json!("below"),
            json!(true),
            json!(false),
            json!(["k"]),
            json!(["below"]),
            json!([["k", "below"]]),
            json!({"k": "below"}),
            json!([["k", "below"]]),
            json!("elsewhere"),
            json!("gone"),
            json!("gone"),
            json!("expired"),
            json!("expired"),
            json!(null),
            json!({"k": {"n": 1}, "a:b:k": "below", "a:b:elsewhere": 2}),
            json!("k"),
            json!(null),
            json!(["k"]),
            json!(null),
        ];
        for ((call, result), expected) in calls.iter().zip(&results).zip(&expected) {
            assert_eq!(result, expected, "{}: {call}", place.name);
        }
        assert_eq!(results.len(), expected.len());

        let mut add = below(call("add", json!([["added"]])));
        add["expires"] = json!("10min");
        let added = place.npm().call(&[add]);
        let key = added[0].as_str().unwrap();
        assert_eq!(key.len(), 24);
        let key = format!("a:b:{key}");
        let value = place.rust().get::<Value>(&key).await.unwrap();
        assert_eq!(value, Some(json!(["added"])));
        let left = place.ttl(&key).await.unwrap();
        assert!(left <= Duration::from_secs(600) && left > Duration::from_secs(60));

        // All of it, in as many requests as there are keys.
        let left = place
            .npm()
            .call(&[call("clear", json!([])), call("keys", json!([]))]);
        assert_eq!(left, [json!(null), json!([])]);
        assert_eq!(place.rust().keys().await.unwrap(), [""; 0]);
    }
}

/// What JSON cannot say, JavaScript has turned into something else, or refused, before it is sent.
#[tokio::test]
async fn every_kind_of_value_comes_back() {
    const SOURCE: &str = r#"
        import assert from "node:assert/strict";
        import kv from "polystore";
        const store = kv(process.env.STORE);
        let deep = [];
        for (let i = 0; i < 100; i++) deep = [deep];
        const values = [
          "", "text", "é e\u0301 😀 \u2028 \0 \" \\", "x".repeat(1_000_000), "null", "{}",
          0, 1, -1, 1.5, 1e-7, 5e-324, 1.7976931348623157e308, 2 ** 53, -(2 ** 53), 0.1 + 0.2,
          true, false, [], {}, [null], [[], {}, "", 0, false, null], deep,
          { a: null, "": 1, "é": { "b c": [1, { d: 2 }] }, 10: "ten", 9: "nine" },
          JSON.parse('{"__proto__": {"x": 1}, "constructor": 2, "toString": 3}'),
        ];
        for (const [n, value] of values.entries()) await store.set(`v${n}`, value);
        for (const [n, value] of values.entries()) {
          assert.deepEqual(await store.get(`v${n}`), value);
          assert.equal(await store.has(`v${n}`), true);
        }
        assert.deepEqual(await store.all(), Object.fromEntries(values.map((v, n) => [`v${n}`, v])));
        await store.clear();

        await store.set("date", new Date(0));
        await store.set("minus zero", -0);
        await store.set("holes", [undefined, NaN, Infinity, () => 1]);
        await store.set("members", { left: undefined, kept: 1, not: () => 1 });
        for (const key of ["nan", "undefined", "bigint"]) await store.set(key, "before");
        await store.set("nan", NaN);
        await store.set("undefined", undefined);
        await assert.rejects(store.set("bigint", 1n), TypeError);
        await assert.rejects(store.set("\ud800", 1), URIError);
    "#;
    for place in Place::each() {
        println!("{}", place.name);
        assert_eq!(node(SOURCE, &[("STORE", &place.served.url())]), "");
        let expected = json!({
            "date": "1970-01-01T00:00:00.000Z",
            "minus zero": 0,
            "holes": [null, null, null, null],
            "members": {"kept": 1},
            "undefined": "before",
            "bigint": "before",
        });
        let all = place.rust().all::<Value>().await.unwrap();
        assert_eq!(json!(all), expected, "{}", place.name);
    }
}

#[tokio::test]
async fn expiries_are_those_that_were_said() {
    // What is said, and the seconds that it is.
    let said = [
        (json!(60), 60.0),
        (json!(0.5), 0.5),
        (json!(0.001), 0.001),
        (json!(1e-7), 0.001),
        (json!(100.25), 100.25),
        (json!("90s"), 90.0),
        (json!("1h"), 3600.0),
        (json!("0.5s"), 0.5),
        (json!("250ms"), 0.25),
        (json!("2 minutes"), 120.0),
        (json!("1_000"), 1000.0),
        (json!("1y"), 31_557_600.0),
        (json!(1e9), 1e9),
    ];
    for place in Place::each() {
        let set = |key: &str, expires: &Value| json!({"method": "set", "args": [key, 1, {"expires": expires}]});
        let key = |number: usize| format!("k{number}");
        let sets: Vec<Value> = (said.iter().enumerate())
            .map(|(number, (expires, _))| set(&key(number), expires))
            .collect();
        place.npm().call(&sets);
        for (number, (expires, seconds)) in said.iter().enumerate() {
            let key = key(number);
            // What is shorter than Node takes to end may be gone already.
            if *seconds >= 60.0 {
                let left = place.ttl(&key).await.unwrap().as_secs_f64();
                assert!(left <= seconds + 0.001, "{}: {expires}: {left}", place.name);
                assert!(left > seconds - 50.0, "{}: {expires}: {left}", place.name);
                place.rust().del(&key).await.unwrap();
            } else {
                let begun = Instant::now();
                while place.rust().has(&key).await.unwrap() {
                    assert!(begun.elapsed().as_secs() < 30, "{}: {expires}", place.name);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }

        // Not gone before its time, by the clock of the side that asked.
        let lasts = node(
            r#"import kv from "polystore";
               const store = kv(process.env.STORE);
               const begun = performance.now();
               await store.set("half", 1, { expires: 0.5 });
               while (await store.has("half")) {}
               console.log(performance.now() - begun);"#,
            &[("STORE", &place.served.url())],
        );
        let lasts: f64 = lasts.trim().parse().unwrap();
        assert!(lasts >= 499.0, "{}: {lasts}", place.name);

        // The default of a store, what overrides it, and what takes it off.
        let results = place.npm().call(&[
            json!({"method": "set", "args": ["default", 1], "expires": "1h"}),
            json!({"method": "set", "args": ["own", 1, {"expires": 60}], "expires": "1h"}),
            json!({"method": "set", "args": ["never", 1, {"expires": null}], "expires": "1h"}),
            json!({"method": "set", "args": ["again", 1, {"expires": 60}]}),
            json!({"method": "set", "args": ["again", 2]}),
            json!({"method": "set", "args": ["words", 1, {"expires": "soon"}]}),
            set("zero", &json!(60)),
            set("zero", &json!(0)),
            set("negative", &json!(60)),
            set("negative", &json!(-1)),
            set("words below zero", &json!(60)),
            set("words below zero", &json!("-1h")),
        ]);
        assert_eq!(results[0], json!("default"));
        let hour = place.ttl("default").await.unwrap();
        assert!(hour <= Duration::from_secs(3600) && hour > Duration::from_secs(3000));
        assert!(place.ttl("own").await.unwrap() <= Duration::from_secs(60));
        assert_eq!(place.ttl("never").await, None);
        assert_eq!(place.ttl("again").await, None);
        // To the npm package, words that it does not know are never.
        assert_eq!(place.ttl("words").await, None);
        let kept = ["again", "default", "never", "own", "words"];
        let mut left = place.rust().keys().await.unwrap();
        left.sort();
        assert_eq!(left, kept, "{}", place.name);
    }
}

/// The npm package does not check what it sends, nor tell of a refusal.
#[tokio::test]
async fn an_expiry_that_is_no_time_changes_nothing() {
    for place in Place::each() {
        place
            .rust()
            .set("k", &"before")
            .expires(5500)
            .await
            .unwrap();
        let before = place.all().await;
        node(
            r#"import kv from "polystore";
               const store = kv(process.env.STORE);
               for (const expires of [NaN, Infinity, 1e21, 1e15, Number.MAX_VALUE]) {
                 await store.set("k", "after", { expires });
               }"#,
            &[("STORE", &place.served.url())],
        );
        assert_eq!(place.all().await, before, "{}", place.name);
    }
}

#[tokio::test]
async fn a_prefix_holds_exactly_what_begins_with_it() {
    let prefixes = [
        "a",
        "a%",
        "a%41",
        "aA",
        "a_",
        "ab",
        "a*",
        "a?",
        "a[b]",
        "a/",
        "a/b/",
        "a//",
        "../",
        "./",
        ".",
        "..",
        "ping",
        "pin",
        "_/",
        "/",
        "?",
        "#",
        "&",
        "=",
        "a&b=c",
        "+",
        " ",
        "a b",
        "a+b",
        "\\",
        "'",
        "\"",
        ";",
        "\n",
        "\0",
        "é",
        "e",
        "e\u{301}",
        "E",
        "É",
        "😀",
        "\u{10ffff}",
        "\u{feff}",
        "toString",
        "__proto__",
        "0",
        "null",
        ":",
        "a:",
    ];
    for place in Place::each() {
        let sets = prefixes
            .map(|prefix| json!({"method": "set", "args": ["k", prefix], "prefix": [prefix]}));
        place.npm().call(&sets);
        let written: BTreeMap<String, Value> = prefixes
            .iter()
            .map(|prefix| (format!("{prefix}k"), json!(prefix)))
            .collect();
        assert_eq!(written.len(), prefixes.len());
        assert_eq!(
            place.rust().all::<Value>().await.unwrap(),
            written,
            "{}",
            place.name
        );

        let alls = prefixes.map(|prefix| json!({"method": "all", "prefix": [prefix]}));
        for (prefix, all) in prefixes.iter().zip(place.npm().call(&alls)) {
            let below: BTreeMap<&str, &Value> = written
                .iter()
                .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value)))
                .collect();
            assert_eq!(all, json!(below), "{}: {prefix:?}", place.name);
        }

        let mut left = written;
        for prefix in ["a%", "a_", "a*", "..", "\\", "e", "a/"] {
            place
                .npm()
                .call(&[json!({"method": "clear", "prefix": [prefix]})]);
            left.retain(|key, _| !key.starts_with(prefix));
            let all = place.rust().all::<Value>().await.unwrap();
            assert_eq!(all, left, "{}: {prefix:?}", place.name);
        }
    }
}

#[tokio::test]
async fn a_thousand_keys_are_written_listed_and_cleared() {
    let all: Vec<Written> = (0..1000)
        .map(|number| Written {
            key: format!("user:{number}"),
            value: json!({"number": number, "text": "é".repeat(number % 100)}),
            expires: (number % 2 == 0).then_some(3600.0),
        })
        .collect();
    for place in Place::each() {
        place.rust().set("other", &1).await.unwrap();
        place.npm().write(&all);
        let users = place.npm().entries("user:");
        let unprefixed: BTreeMap<String, Value> = expected(&all)
            .into_iter()
            .map(|(key, value)| (key["user:".len()..].to_owned(), value))
            .collect();
        assert_eq!(BTreeMap::from_iter(users), unprefixed, "{}", place.name);
        let values: Vec<Value> = all.iter().map(|entry| entry.value.clone()).collect();
        assert_eq!(place.npm().get(&keys(&all)), values);
        assert_eq!(place.npm().keys().len(), 1001);
        assert!(place.ttl("user:0").await.is_some());
        assert_eq!(place.ttl("user:1").await, None);

        // It sends the removals all at once, and a refusal would go unnoticed.
        place
            .npm()
            .call(&[json!({"method": "clear", "prefix": ["user:"]})]);
        assert_eq!(
            place.rust().keys().await.unwrap(),
            ["other"],
            "{}",
            place.name
        );
        place.npm().write(&all[..10]);
        place.npm().clear();
        assert_eq!(place.rust().keys().await.unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn keys_that_a_path_cannot_carry_are_refused_and_nothing_else_is_touched() {
    for place in Place::each() {
        let mut all = entries();
        all.truncate(100);
        for entry in &all {
            let set = place.rust().set(&entry.key, &entry.value);
            match entry.expires {
                Some(seconds) => set.expires(seconds).await.unwrap(),
                None => set.await.unwrap(),
            }
        }
        let before = place.all().await;
        for key in IMPOSSIBLE {
            assert!(before.contains_key(key));
            let calls = [
                json!({"method": "get", "args": [key]}),
                json!({"method": "has", "args": [key]}),
                json!({"method": "set", "args": [key, "theirs"]}),
                json!({"method": "set", "args": [key, "theirs", {"expires": 60}]}),
                json!({"method": "set", "args": [key, "theirs", {"expires": 0}]}),
                json!({"method": "set", "args": [key, null]}),
                json!({"method": "del", "args": [key]}),
            ];
            let answers = place.npm().call(&calls);
            assert_eq!(answers[0], Value::Null, "{}: {key:?}", place.name);
            assert_eq!(answers[1], json!(false), "{}: {key:?}", place.name);
            assert_eq!(place.all().await, before, "{}: {key:?}", place.name);
        }
        // It is the whole key that matters.
        let calls = [
            json!({"method": "set", "args": ["ng", "theirs"], "prefix": ["pi"]}),
            json!({"method": "del", "args": ["."], "prefix": ["."]}),
        ];
        place.npm().call(&calls);
        assert_eq!(place.all().await, before, "{}", place.name);
        place
            .npm()
            .call(&[json!({"method": "set", "args": ["", 1], "prefix": ["p:"]})]);
        assert_eq!(place.rust().get::<i32>("p:").await.unwrap(), Some(1));
    }
}

/// The npm package sends no header of its own, so its token stands in the path.
#[tokio::test]
async fn a_token_in_the_path_opens_what_it_is_for_and_nothing_else() {
    if !npm_is_there() {
        return;
    }
    let tokens = "for-everything-there-is read-write\nfor-reading-the-users read-only user:\n";
    let tokens: Tokens = tokens.parse().unwrap();
    let store = kv("memory:").unwrap();
    let served = Served::with(Server::new(store.clone()).tokens(tokens).path_tokens());
    let npm = |token: &str| Npm::new(format!("{}_/t/{token}/", served.url()));

    let mut all = entries();
    all.retain(|entry| !IMPOSSIBLE.contains(&&entry.key[..]));
    let both = Both::new(npm("for-everything-there-is"), store);
    both.share(&all).await;

    both.rust.set("user:1", &"Ada").await.unwrap();
    both.rust.set("other", &1).await.unwrap();
    for key in IMPOSSIBLE {
        both.rust.set(key, &"kept").await.unwrap();
    }
    let before = both.rust.all::<Value>().await.unwrap();
    let reads = |npm: &Npm| npm.get(&["user:1".to_owned(), "other".to_owned()]);
    let writes = |npm: &Npm| {
        npm.call(&[
            json!({"method": "set", "args": ["user:1", "theirs"]}),
            json!({"method": "del", "args": ["user:1"]}),
            json!({"method": "clear", "prefix": ["user:"]}),
        ]);
    };
    let reader = npm("for-reading-the-users");
    assert_eq!(reads(&reader), [json!("Ada"), Value::Null]);
    assert_eq!(reader.entries("user:"), [("1".to_owned(), json!("Ada"))]);
    assert_eq!(reader.entries(""), []);
    writes(&reader);
    // `..` goes up in a path, here to where a token would stand.
    let impossible = IMPOSSIBLE.map(|key| json!({"method": "set", "args": [key, "theirs"]}));
    both.npm.call(&impossible);
    both.npm.del(&IMPOSSIBLE.map(ToOwned::to_owned));
    for stranger in [npm("for-everything-there-was"), Npm::new(served.url())] {
        assert_eq!(reads(&stranger), [Value::Null, Value::Null]);
        assert_eq!(stranger.entries(""), []);
        writes(&stranger);
    }
    assert_eq!(both.rust.all::<Value>().await.unwrap(), before);
}
