//! `cookie:`.

use serde_json::{Value, json};

use crate::world::World;

async fn open() -> Option<World> {
    World::open("/", |pages| pages).await
}

/// What the browser has of the page's cookies, beyond what the page can see.
async fn cookies(world: &World) -> Vec<Value> {
    world.browser.cdp("Network.enable", json!({})).await;
    let got = world.browser.cdp("Network.getCookies", json!({})).await;
    got["cookies"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn cookies_are_written_as_the_npm_package_writes_them() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const written = [];
            const cookie = Object.getOwnPropertyDescriptor(Document.prototype, "cookie");
            Object.defineProperty(document, "cookie", {
              get: () => cookie.get.call(document),
              set: (text) => { written.push(text); cookie.set.call(document, text) },
              configurable: true,
            });
            const store = new Kv("cookie:");
            const now = Date.now();
            await store.set("user:1/é;=*!'()~", { a: "b; c" });
            await store.set("soon", 1, "90.5s");
            await store.set("late", 1, "20000y");
            await store.del("soon");
            delete document.cookie;
            const date = Date.parse(written[1].split("expires=")[1]);
            return [
              written[0], written[1].replace(/expires=.*/, ""), date >= now + 90500 && date < now + 92500,
              written[2], written[3], document.cookie,
            ];
            "#,
        )
        .await;
    let name = "user%3A1%2F%C3%A9%3B%3D*!'()~=%7B%22a%22%3A%22b%3B%20c%22%7D";
    let expected = json!([
        name,
        "soon=1; ",
        true,
        "late=1; expires=Fri, 31 Dec 9999 23:59:59 GMT",
        "soon=%22%22; expires=Thu, 01 Jan 1970 00:00:00 GMT",
        format!("{name}; late=1"),
    ]);
    assert_eq!(found, expected);
    world.end().await;
}

#[tokio::test]
async fn options_are_the_cookies_attributes() {
    let Some(world) = World::open("/app/page", |pages| pages).await else {
        return;
    };
    world.go("www.shop.example.test", "/app/page").await;
    world
        .run(
            r#"
            await new Kv("cookie:").set("plain", 1);
            await new Kv("cookie:?path=/&samesite=Strict").set("strict", 1);
            await new Kv("cookie:?path=/app/page&domain=.Example.test&samesite=lax").set("domain", 1);
            "#,
        )
        .await;
    world.go("127.0.0.1", "/app/page").await;
    let found = world
        .run(
            r#"
            await new Kv("cookie:?secure&samesite=none").set("none", 1);
            await new Kv("cookie:?secure&partitioned&path=/").set("partitioned", 1);
            return await new Kv("cookie:").all();
            "#,
        )
        .await;
    assert_eq!(found, json!({"none": 1, "partitioned": 1}));
    let mut all = cookies(&world).await;
    world.go("www.shop.example.test", "/app/page").await;
    all.extend(cookies(&world).await);
    let mut said: Vec<_> = all
        .iter()
        .map(|cookie| {
            let text = |name: &str| cookie[name].as_str().unwrap_or("-").to_owned();
            let partition = !cookie["partitionKey"].is_null();
            let line = [text("name"), text("domain"), text("path"), text("sameSite")].join(" ");
            format!("{line} {} {partition}", cookie["secure"])
        })
        .collect();
    said.sort();
    let expected = [
        "domain .example.test /app/page Lax false false",
        "none 127.0.0.1 /app None true false",
        "partitioned 127.0.0.1 / - true true",
        "plain www.shop.example.test /app - false false",
        "strict www.shop.example.test / Strict false false",
    ];
    assert_eq!(said, expected);
    world.end().await;
}

#[tokio::test]
async fn options_that_mean_nothing_are_usage_errors() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const queries = [
              "path=app", "path=/a%3B%20domain=b.test", "path=/%0d%0a", "path=/a b", "path=", "domain=a%3Bsecure",
              "domain=", "domain=a/b", "samesite=maybe", "samesite=none", "partitioned", "secure=perhaps",
              "httponly", "expires=1",
            ];
            const answers = queries.map((query) => named(() => new Kv(`cookie:?${query}`)));
            return [...await Promise.all(answers), await named(() => new Kv("cookie:a"))];
            "#,
        )
        .await;
    assert_eq!(found, json!(vec!["InvalidOption"; 15]));
    let found = world
        .run(
            r#"return [await named(new Kv("cookie:?domain=example.test").set("a", 1)), new Kv("cookie").kind()];"#,
        )
        .await;
    assert_eq!(found, json!(["InvalidOption", "cookie"]));
    world.end().await;
}

#[tokio::test]
async fn what_the_browser_refuses_is_an_error() {
    let Some(world) = open().await else { return };
    world.go("www.example.test", "/").await;
    let found = world
        .run(
            r#"
            const plain = new Kv("cookie:");
            await plain.set("a", "old");
            const refused = [
              // Secure, where there is no https.
              await named(new Kv("cookie:?secure").set("a", 1)),
              // Everybody's under that name.
              await named(new Kv("cookie:?domain=test").set("a", 2)),
              await named(plain.set("__Host-a", 1)), await named(plain.set("__Secure-a", 1)),
            ];
            return [...refused, await plain.get("a"), await plain.keys()];
            "#,
        )
        .await;
    let refused = ["InvalidOption", "Denied", "InvalidKey", "InvalidKey", "old"];
    let expected = json!(
        refused
            .map(Value::from)
            .into_iter()
            .chain([json!(["a"])])
            .collect::<Vec<_>>()
    );
    assert_eq!(found, expected);
    // The server's own, which no page can see.
    let url = format!("http://www.example.test:{}/", world.port);
    let own = json!({"name": "session", "value": "1", "url": url, "httpOnly": true});
    world.browser.cdp("Network.setCookie", own).await;
    let found = world
        .run(r#"return await named(new Kv("cookie:").set("session", 2))"#)
        .await;
    assert_eq!(found, json!("Denied"));
    world.end().await;
}

#[tokio::test]
async fn secure_cookies_are_for_pages_that_are_trusted() {
    let Some(world) = open().await else { return };
    // This machine's own address is.
    let found = world
        .run(
            r#"
            const store = new Kv("cookie:?secure");
            await store.set("a", 1);
            return [await store.get("a"), isSecureContext];
            "#,
        )
        .await;
    assert_eq!(found, json!([1, true]));
    world.end().await;
}

#[tokio::test]
async fn a_page_whose_cookies_are_disabled_hears_so() {
    let Some(world) = open().await else { return };
    let disabled = json!({"disabled": true});
    world
        .browser
        .cdp("Emulation.setDocumentCookieDisabled", disabled)
        .await;
    let found = world
        .run(r#"return await named(new Kv("cookie:").set("a", 1))"#)
        .await;
    assert_eq!(found, json!("Denied"));
    world.end().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_beforehand() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const store = new Kv("cookie:");
            await store.set("a", "old");
            const [name, value] = ["é".repeat(170) + "k", "é".repeat(511)];
            await store.set(name, value);
            const all = [await store.get(name) === value];
            // What fits is taken, whatever it would be in other characters.
            await store.set("k".repeat(1023), "v".repeat(3060));
            all.push((await store.get("k".repeat(1023))).length);
            await store.clear();
            await store.set("a", "old");
            for (const [key, value] of [
              ["k".repeat(1024), 1], ["é".repeat(171), 1], ["a", "v".repeat(4090)], ["a", "é".repeat(682)],
              ["", 1],
            ]) all.push(await named(store.set(key, value)), await named(store.setMany([["b", 1], [key, value]])));
            await store.set("a", "v".repeat(4089));
            return [...all, (await store.get("a")).length, await store.keys()];
            "#,
        )
        .await;
    let (key, value) = ("InvalidKey", "InvalidValue");
    let expected = json!([
        true,
        3060,
        key,
        key,
        key,
        key,
        value,
        value,
        value,
        value,
        key,
        key,
        4089,
        ["a"]
    ]);
    assert_eq!(found, expected);
    world.end().await;
}

#[tokio::test]
async fn no_cookie_is_lost_for_want_of_room() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            document.cookie = "theirs=dark";
            const store = new Kv("cookie:");
            for (let at = 0; at < 149; at++) await store.set(`key ${at}`, at);
            const full = [
              await named(store.set("more", 1)), await named(store.add(1)),
              await named(store.setMany([["key 1", "new"], ["more", 1]])),
            ];
            await store.set("key 0", "changed");
            await store.del("key 2");
            await store.set("other", 1);
            const keys = await store.keys();
            return [
              ...full, keys.length, keys.includes("more"), await store.get("key 0"), document.cookie.startsWith("theirs=dark"),
            ];
            "#,
        )
        .await;
    assert_eq!(
        found,
        json!(["Full", "Full", "Full", 149, false, "changed", true])
    );
    world.end().await;
}

#[tokio::test]
async fn a_browser_that_removes_cookies_for_a_new_one_is_an_error() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const store = new Kv("cookie:");
            for (let at = 0; at < 20; at++) await store.set(`key ${at}`, at);
            return await store.keys();
            "#,
        )
        .await;
    assert_eq!(found.as_array().map(Vec::len), Some(20));
    // Those that no page sees count too.
    for at in 0..160 {
        let url = format!("http://127.0.0.1:{}/", world.port);
        let own = json!({"name": format!("own {at}"), "value": "1", "url": url, "httpOnly": true});
        world.browser.cdp("Network.setCookie", own).await;
    }
    let found = world
        .run(r#"return await named(new Kv("cookie:").set("one more", 1))"#)
        .await;
    assert_eq!(found, json!("Full"));
    world.end().await;
}

#[tokio::test]
async fn cookies_of_others_are_left_alone() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const theirs = ["_ga=GA1.1.2.3", "bad=%zz", "utf=%ff", "%ff=1", "theme=dark", "half=%7B%22a", "empty="];
            for (const cookie of theirs) document.cookie = cookie;
            // This one decodes as ours.
            document.cookie = "num:ber=5";
            const store = new Kv("cookie:");
            await store.set("ours", 1);
            const read = [
              await store.all(), await named(store.get("theme")), await named(store.get("utf")),
              await named(store.get("bad")), await store.get("num:ber"),
            ];
            await store.set("num:ber", 6);
            read.push(await store.get("num:ber"), document.cookie.split("; ").length);
            await store.clear();
            return [...read, document.cookie === theirs.join("; ")];
            "#,
        )
        .await;
    let ours = json!({"ours": 1, "num:ber": 5});
    let expected = json!([ours, "Corrupt", "Corrupt", "Corrupt", 5, 6, 9, true]);
    assert_eq!(found, expected);
    world.end().await;
}

#[tokio::test]
async fn of_several_under_a_key_the_browsers_first_counts_and_all_are_removed() {
    let Some(world) = World::open("/app/page", |pages| pages).await else {
        return;
    };
    world.go("www.example.test", "/app/page").await;
    let found = world
        .run(
            r#"
            document.cookie = "a=1; path=/; domain=example.test";
            document.cookie = "a=2; path=/";
            document.cookie = "a=3; path=/app/page";
            const store = new Kv("cookie:");
            const read = [await store.get("a"), await store.all(), await store.keys()];
            // It would be behind the one of the longer path.
            read.push(await named(store.set("a", 4)), await store.get("a"));
            await store.del("a");
            return [...read, await store.get("a"), document.cookie];
            "#,
        )
        .await;
    let expected = json!([3, {"a": 3}, ["a"], "Denied", 3, null, ""]);
    assert_eq!(found, expected);
    world.end().await;
}

#[tokio::test]
async fn what_expires_goes_by_the_browser_and_the_rest_survives_a_reload() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const store = new Kv("cookie:");
            const begun = Date.now();
            await store.set("soon", 1, "100ms");
            await store.set("stays", 2);
            await store.set("for an hour", 3, "1h");
            const there = Date.now() - begun < 100 ? await store.get("soon") : 1;
            await until(async () => await store.get("soon") === null);
            const took = Date.now() - begun;
            return [there, took >= 100 && took < 5000, document.cookie.includes("soon"), await named(store.ttl("stays"))];
            "#,
        )
        .await;
    assert_eq!(found, json!([1, true, false, "Unsupported"]));
    world.browser.reload().await;
    world.browser.until("window.Kv").await;
    let found = world.run(r#"return await new Kv("cookie:").all()"#).await;
    assert_eq!(found, json!({"stays": 2, "for an hour": 3}));
    let kept = cookies(&world).await;
    let session = kept
        .iter()
        .filter(|cookie| cookie["session"] == json!(true));
    assert_eq!(session.count(), 1);
    world.end().await;
}

#[tokio::test]
async fn many_writes_at_once_are_done_in_their_order() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const store = new Kv("cookie:");
            const writes = [];
            for (let at = 0; at < 100; at++) {
              writes.push(store.set(`key ${at % 10}`, at));
              if (at % 10 === 9) writes.push(store.del("key 3"));
            }
            writes.push(named(store.set("k".repeat(2000), 1)));
            const done = await Promise.all(writes);
            return [await store.all(), done.at(-1)];
            "#,
        )
        .await;
    let left = (90..100).filter(|at| *at != 93);
    let all: serde_json::Map<_, _> = left
        .map(|at| (format!("key {}", at % 10), at.into()))
        .collect();
    assert_eq!(found, json!([all, "InvalidKey"]));
    world.end().await;
}
