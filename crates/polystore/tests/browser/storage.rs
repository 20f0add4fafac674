//! `localstorage:` and `sessionstorage:`.

use serde_json::json;

use crate::world::{World, sealed};

async fn open() -> Option<World> {
    World::open("/", |pages| pages).await
}

#[tokio::test]
async fn what_is_kept_is_what_the_npm_package_keeps() {
    let Some(world) = open().await else { return };
    let kept = world
        .run(
            r#"
            const before = Date.now();
            await new Kv("localstorage:").set("a", [1]);
            await new Kv("sessionstorage:").set("b:é", { c: "d" }, "1h");
            const wrapped = JSON.parse(sessionStorage.getItem("b:é"));
            const left = wrapped.expires - before;
            await new Kv("localstorage:").set("gone", 1);
            localStorage.setItem("theirs", JSON.stringify({ expires: before + 60000.5, value: "é" }, null, 2));
            return [
              localStorage.getItem("a"), wrapped.value, left >= 3600000 && left < 3660000,
              await new Kv("localstorage:").get("theirs"), await new Kv("sessionstorage:").get("a"),
            ];
            "#,
        )
        .await;
    let expected = json!([r#"{"expires":null,"value":[1]}"#, {"c": "d"}, true, "é", null]);
    assert_eq!(kept, expected);
    world.end().await;
}

#[tokio::test]
async fn a_storage_that_the_program_has_is_a_store() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const [local, session] = [Kv.of(localStorage), Kv.of(sessionStorage)];
            await local.set("a", 1);
            await session.set("a", 2);
            return [
              local.kind(), session.kind(), await new Kv("localstorage:").get("a"),
              await new Kv("sessionstorage:").get("a"), await named(local.insert("b", 1)),
              await named(session.insert("b", 1)),
            ];
            "#,
        )
        .await;
    let expected = json!(["localstorage", "sessionstorage", 1, 2, "Unsupported", true]);
    assert_eq!(found, expected);
    world.end().await;
}

#[tokio::test]
async fn a_full_storage_is_an_error_and_changes_nothing() {
    let Some(world) = open().await else { return };
    for url in ["localstorage:", "sessionstorage:"] {
        let script = format!(
            r#"
            const store = new Kv("{url}");
            const storage = store.kind() === "localstorage" ? localStorage : sessionStorage;
            await store.set("a", "old");
            for (let size = 1 << 22; size > 0; size >>= 1) {{
              try {{ storage.setItem(`filler ${{size}}`, "x".repeat(size)) }} catch {{}}
            }}
            const kept = storage.getItem("a");
            const more = "y".repeat(1000);
            return [
              await named(store.set("a", more)), await named(store.set("b", more)), await named(store.add(more)),
              await named(store.setMany([["a", more], ["b", more]])),
              storage.getItem("a") === kept, await store.keys(), await store.get("a"),
            ];
            "#
        );
        let found = world.run(&script).await;
        let full = json!(["Full", "Full", "Full", "Full", true, ["a"], "old"]);
        assert_eq!(found, full, "{url}");
    }
    world.end().await;
}

#[tokio::test]
async fn what_has_expired_makes_room() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const store = new Kv("localstorage:");
            const old = JSON.stringify({ expires: 1, value: "x".repeat(1 << 20) });
            localStorage.setItem("expired", old);
            for (let size = 1 << 22; size > 0; size >>= 1) {
              try { localStorage.setItem(`filler ${size}`, "x".repeat(size)) } catch {}
            }
            await store.set("a", "y".repeat(1 << 19));
            return [localStorage.getItem("expired"), (await store.get("a")).length];
            "#,
        )
        .await;
    assert_eq!(found, json!([null, 1 << 19]));
    world.end().await;
}

#[tokio::test]
async fn what_others_keep_there_is_left_alone() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const store = new Kv("localstorage:");
            const foreign = { theme: "dark", number: "5", list: "[1]", "": "", "x": "{\"value\":1}" };
            for (const [key, text] of Object.entries(foreign)) localStorage.setItem(key, text);
            // Half of a character is no key here, and reads as another in Rust.
            const entry = '{"expires":null,"value":1}';
            localStorage.setItem("\ud800", entry);
            localStorage.setItem("\ud801", entry);
            await store.set("\ufffd", 2);
            await store.set("ours", 3);
            const read = [await named(store.get("theme")), await named(store.get("")), await store.keys(),
              await store.prefix("t").keys(), await named(store.getMany(["theme"]))];
            await store.clear();
            await store.prune();
            const left = Object.entries(foreign).every(([key, text]) => localStorage.getItem(key) === text);
            return [...read, left, localStorage.getItem("\ud800") === entry, localStorage.length,
              (await store.keys()).length];
            "#,
        )
        .await;
    let keys = ["ours", "\u{fffd}"];
    let expected = json!(["Corrupt", "Corrupt", keys, [], "Corrupt", true, true, 7, 0]);
    assert_eq!(found, expected);
    world.end().await;
}

#[tokio::test]
async fn what_has_expired_goes_when_it_is_met() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const store = new Kv("localstorage:");
            const meetings = {
              get: () => store.get("a"),
              has: () => store.has("a"),
              getMany: () => store.getMany(["a"]),
              keys: () => store.keys(),
              entries: () => store.entries(),
              clear: () => store.clear(),
              prune: () => store.prune(),
            };
            const left = [];
            for (const [name, meet] of Object.entries(meetings)) {
              localStorage.setItem("a", JSON.stringify({ expires: Date.now() - 1, value: 1 }, null, 2));
              await meet();
              if (localStorage.getItem("a") !== null) left.push(name);
            }
            localStorage.setItem("a", JSON.stringify({ expires: 1, value: 1 }));
            await store.prefix("b").keys();
            return [left, localStorage.getItem("a") !== null, await store.prune()];
            "#,
        )
        .await;
    assert_eq!(found, json!([[], true, 1]));
    world.end().await;
}

#[tokio::test]
async fn a_listing_reads_only_what_has_the_prefix() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const store = new Kv("localstorage:");
            await store.setMany([["a:1", 1], ["a:2", 2], ["b:1", 3], ["a", 4]]);
            const read = [];
            const { getItem } = Storage.prototype;
            Storage.prototype.getItem = function (key) { read.push(key); return getItem.call(this, key) };
            const keys = await store.prefix("a:").keys();
            await store.prefix("b:").clear();
            Storage.prototype.getItem = getItem;
            return [keys, read.sort()];
            "#,
        )
        .await;
    assert_eq!(found, json!([["1", "2"], ["a:1", "a:2", "b:1"]]));
    world.end().await;
}

/// Answers, in a tab of its own, what is written into the other.
const ECHO: &str = r#"<!doctype html>
<script type="module">
  import init, { Kv } from "/modules/store/store.js";
  await init();
  const store = new Kv("localstorage:");
  for (;;) {
    const asked = await store.get("asked");
    if (asked !== null) await store.set("answered", asked + 1);
    await new Promise((done) => setTimeout(done, 5));
  }
</script>"#;

#[tokio::test]
async fn tabs_see_what_the_others_write() {
    let Some(world) = World::open("/", |pages| pages.page("/echo", ECHO)).await else {
        return;
    };
    let found = world
        .run(
            r#"
            const store = new Kv("localstorage:");
            window.open("/echo", "_blank", "noopener");
            for (const round of [1, 10, 100]) {
              await store.set("asked", round);
              await until(async () => await store.get("answered") === round + 1);
            }
            await store.del("answered");
            return await until(async () => await store.get("answered"));
            "#,
        )
        .await;
    assert_eq!(found, json!(101));
    world.end().await;
}

#[tokio::test]
async fn what_is_kept_is_there_after_the_page_was_loaded_again() {
    let Some(world) = open().await else { return };
    world
        .run(
            r#"
            for (const url of ["localstorage:", "sessionstorage:"]) {
              const store = new Kv(url);
              await store.set("stays", 1);
              await store.set("for an hour", 2, "1h");
            }
            "#,
        )
        .await;
    world.browser.reload().await;
    world.browser.until("window.Kv").await;
    let found = world
        .run(
            r#"
            const found = [];
            for (const url of ["localstorage:", "sessionstorage:"]) {
              const store = new Kv(url);
              found.push(await store.all(), await store.ttl("for an hour") <= 3600000);
            }
            return found;
            "#,
        )
        .await;
    let all = json!({"stays": 1, "for an hour": 2});
    assert_eq!(found, json!([all, true, all, true]));
    world.end().await;
}

#[tokio::test]
async fn a_page_that_is_denied_its_storage_hears_so() {
    let script = r#"
      const found = [];
      for (const url of ["localstorage:", "sessionstorage:", "cookie:"]) {
        const store = new Kv(url);
        for (const doing of [
          () => store.get("a"), () => store.set("a", 1), () => store.del("a"), () => store.keys(),
          () => store.clear(), () => store.capabilities(),
        ]) found.push(await named(doing));
      }
      parent.postMessage(found, "*");
    "#;
    let Some(page) = sealed(script) else { return };
    let Some(world) = World::open("/", |pages| pages.page("/sealed", &page)).await else {
        return;
    };
    // A frame without an origin of its own.
    let found = world
        .run(
            r#"
            const frame = document.createElement("iframe");
            frame.sandbox = "allow-scripts";
            frame.src = "/sealed";
            const said = new Promise((heard) => addEventListener("message", (event) => heard(event.data)));
            document.body.append(frame);
            return await said;
            "#,
        )
        .await;
    assert_eq!(found, json!(vec!["Denied"; 18]));
    world.end().await;
}

#[tokio::test]
async fn addresses_with_more_than_a_scheme_are_usage_errors() {
    let Some(world) = open().await else { return };
    let found = world
        .run(
            r#"
            const urls = ["localstorage:a", "sessionstorage://x", "localstorage:?timeout=5s"];
            return await Promise.all(urls.map((url) => named(() => new Kv(url))));
            "#,
        )
        .await;
    assert_eq!(found, json!(vec!["InvalidOption"; 3]));
    world.end().await;
}
