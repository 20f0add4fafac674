//! `localforage:` where the browser has no more room for the site.

use serde_json::json;

use crate::world::World;

/// Chromium asks how much room there is at the first use of a site's IndexedDB, and then not for half a minute:
/// the room is made small before that.
#[tokio::test]
async fn what_does_not_fit_is_an_error_and_changes_nothing() {
    let Some(world) = World::open("/", |pages| pages).await else {
        return;
    };
    let origin = format!("http://127.0.0.1:{}", world.port);
    let room = json!({"origin": origin, "quotaSize": 2_000_000});
    let browser = &world.browser;
    browser.cdp("Storage.overrideQuotaForOrigin", room).await;
    let said = world.run(TOO_MUCH).await;
    assert_eq!(said, json!("the errors quote nothing"));
    world.end().await;
}

const TOO_MUCH: &str = r#"
const same = (found, expected) => {
  const [a, b] = [found, expected].map((it) => JSON.stringify(it));
  if (a !== b) throw new Error(`${a} instead of ${b}`);
};
const said = [];
const failure = (promise) => promise.then((it) => `gave ${it}`, (error) => {
  said.push(error.message);
  return error.name;
});
const kv = new Kv("localforage:");
await kv.set("old", "kept");
// Chromium compresses what it stores.
const bytes = new Uint8Array(49_152);
let large = "";
while (large.length < 5_000_000) {
  crypto.getRandomValues(bytes);
  large += btoa(String.fromCharCode(...bytes));
}
same(await failure(kv.set("a", large)), "Full");
same(await failure(kv.set("old", large)), "Full");
same(await failure(kv.insert("b", large)), "Full");
// Up to 4 MB are put as a whole.
const half = large.slice(0, 1_900_000);
same(await failure(kv.setMany([["c", 1], ["d", half], ["e", half]])), "Full");
same(await kv.entries(), [["old", "kept"]]);
// Of what goes together only what does not fit fails.
const writes = [1, large, 3, 4].map((value, n) => failure(kv.set(`e${n}`, value)));
same(await Promise.all(writes), ["gave undefined", "Full", "gave undefined", "gave undefined"]);
same((await kv.keys()).sort(), ["e0", "e2", "e3", "old"]);
same(await kv.touch("old", "1h"), true);
await kv.clear();
same(await kv.keys(), []);
const quotes = said.filter((words) => words.includes(large.slice(0, 20)) || !words.includes("full"));
return quotes[0] ?? "the errors quote nothing";
"#;
