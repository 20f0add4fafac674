//! What a person does with entries.

use std::time::{Duration, Instant};

use polystore_kv::backend::{Backend, BoxStream, Info, Scan, async_trait};
use polystore_kv::{Entry, Result, kv};
use serde_json::json;

use crate::world::World;
use polystore_servers::browser::{Browser, CONTROL, DELETE, DOWN, ENTER, ESCAPE, RIGHT, TAB};

/// Whether a row of this key is listed.
fn listed(key: &str) -> String {
    format!(
        "[...document.querySelectorAll('[role=option] .key')].some(it => it.textContent === {})",
        json!(key)
    )
}

/// Clicks the row of this key.
async fn open(browser: &Browser, key: &str) {
    let key = json!(key);
    browser
        .click_what(&format!(
            "[...document.querySelectorAll('[role=option]')].find(it => it.querySelector('.key').textContent === {key})"
        ))
        .await;
    browser
        .until(&format!(
            "document.querySelector('#key').textContent === {key}"
        ))
        .await;
}

const NO_DIALOG: &str = "!document.querySelector('dialog[open]')";

#[tokio::test]
async fn a_newcomer_is_told_how_to_put_a_first_entry_and_adds_one() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    browser.go(&world.page()).await;
    browser.says("#empty", "Nothing here yet").await;
    let curl = format!("curl -X PUT '{}/kv/hello' -d '\"world\"'", world.origin);
    assert_eq!(browser.text("#curl").await, curl);
    browser.says("#kind", "memory").await;
    browser.screenshot("empty").await;

    browser.click("#first").await;
    browser.focused("#editor-key").await;
    browser.fill("#editor-key", "user:1").await;
    browser
        .fill("#editor-value", "{\"name\": \"Ada\",\n  \"age\": 36,}")
        .await;
    browser.fill("#editor-expires", "1h").await;
    browser.click("#save").await;
    browser
        .says(
            "#mistake",
            "Line 2, column 13: there is a comma too many before this }",
        )
        .await;
    browser.screenshot("dialog").await;
    assert_eq!(world.json("user:1").await, None);
    browser
        .fill("#editor-value", "{\"name\": \"Ada\",\n  \"age\": 36}")
        .await;
    browser
        .until("document.querySelector('#mistake').hidden")
        .await;
    browser.click("#save").await;
    browser.until(NO_DIALOG).await;
    browser.until(&listed("user:1")).await;
    browser.says("#value", "\"age\": 36").await;
    browser.says("#expires", "in 59 min").await;
    assert_eq!(
        world.json("user:1").await.unwrap(),
        "{\"name\":\"Ada\",\"age\":36}"
    );

    browser.click("#new").await;
    browser.fill("#editor-key", "null").await;
    browser.fill("#editor-value", "null").await;
    browser.click("#save").await;
    browser.says("#mistake", "null stands for no entry").await;
    browser.click("#editor .switch label:last-child").await;
    browser
        .fill("#editor-value", "a \"text\"\nof two lines")
        .await;
    browser.click("#save").await;
    browser.until(&listed("null")).await;
    assert_eq!(
        world.json("null").await.unwrap(),
        "\"a \\\"text\\\"\\nof two lines\""
    );
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn adding_never_overwrites_unless_told_to_and_the_server_makes_keys() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    world.store.set("a", &1).await.unwrap();
    browser.go(&world.page()).await;
    browser.click("#new").await;
    browser.fill("#editor-key", "a").await;
    browser.fill("#editor-value", "2").await;
    browser.click("#save").await;
    browser
        .says("#editor .notice", "There is an entry “a” already")
        .await;
    assert_eq!(world.json("a").await.unwrap(), "1");
    browser.click("#editor .notice button").await;
    browser.until(NO_DIALOG).await;
    browser.says("#value", "2").await;
    assert_eq!(world.json("a").await.unwrap(), "2");

    browser.click("#new").await;
    browser.click("#generate").await;
    browser.fill("#editor-value", "[3]").await;
    browser.click("#save").await;
    browser.says("#toast", "Saved as").await;
    browser
        .until("document.querySelector('#key').textContent.length === 24")
        .await;
    let key = browser.text("#key").await;
    assert_eq!(world.json(&key).await.unwrap(), "[3]");

    browser.until(NO_DIALOG).await;
    browser.click("#new").await;
    browser.fill("#editor-value", "0").await;
    browser.click("#save").await;
    browser.says("#editor .notice", "There is no key").await;
    browser.click("#editor .notice button").await;
    browser.until(NO_DIALOG).await;
    browser.says("#key", "the empty key").await;
    assert_eq!(world.json("").await.unwrap(), "0");
    browser.close(&world.origin).await;
}

/// The least that a store is: it has neither insert nor touch.
#[derive(Default)]
struct Shelf(std::sync::Mutex<std::collections::BTreeMap<String, Entry>>);

#[async_trait]
impl Backend for Shelf {
    fn info(&self) -> Info {
        Info::new("shelf")
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }
    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        self.0.lock().unwrap().insert(key.to_owned(), entry);
        Ok(())
    }
    async fn del(&self, key: &str) -> Result<()> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }
    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        scan.select(self.0.lock().unwrap().clone())
    }
}

#[tokio::test]
async fn what_a_store_cannot_do_at_once_is_done_in_steps_which_is_said() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::of(kv(Shelf::default()).unwrap(), |server| server).await;
    browser.go(&world.page()).await;
    for (value, says) in [("1", "This store has no insert"), ("2", "already")] {
        browser.click("#new").await;
        browser.fill("#editor-key", "a").await;
        browser.fill("#editor-value", value).await;
        browser.click("#save").await;
        browser.until(&format!("document.querySelector('#toast.is-shown, #editor[open] .notice')?.textContent.includes({})", json!(says))).await;
    }
    browser.press(ESCAPE).await;
    browser.click("#touch").await;
    browser.fill("#toucher-expires", "1h").await;
    browser.click("#toucher .primary").await;
    browser.says("#toast", "This store has no touch").await;
    browser.says("#expires", "in 59 min").await;
    assert_eq!(world.json("a").await.unwrap(), "1");
    browser.close(&world.origin).await;
}

const NUMBERS: &str = r#"{"id":12345678901234567890,"price":1.10,"huge":1E400,"tiny":-0.0,"id":2,"list":[[],{},[1]]}"#;

#[tokio::test]
async fn numbers_are_shown_and_kept_as_they_are_stored() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    let raw: Box<serde_json::value::RawValue> = serde_json::from_str(NUMBERS).unwrap();
    world.store.set("n", &raw).expires("1h").await.unwrap();
    browser.go(&world.page()).await;
    open(&browser, "n").await;
    let shown = "{\n  \"id\": 12345678901234567890,\n  \"price\": 1.10,\n  \"huge\": 1E400,\n  \"tiny\": -0.0,\n  \"id\": 2,\n  \"list\": [\n    [],\n    {},\n    [\n      1\n    ]\n  ]\n}";
    assert_eq!(browser.text("#value").await, shown);
    browser.click("#edit").await;
    browser
        .until(&format!(
            "document.querySelector('#editor-value').value === {}",
            json!(shown)
        ))
        .await;
    browser
        .js("document.querySelector('#editor-value').setRangeText(' ', 1, 1)")
        .await;
    browser.click("#save").await;
    browser.until(NO_DIALOG).await;
    assert_eq!(world.json("n").await.unwrap(), NUMBERS);
    let ttl = world.store.ttl("n").await.unwrap();
    let left = format!("{ttl:?}");
    assert!(left.contains("59"), "its expiry is kept: {left}");
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn editing_what_vanished_or_was_changed_asks() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    world.store.set("a", &1).await.unwrap();
    browser.go(&world.page()).await;
    open(&browser, "a").await;
    browser.click("#edit").await;
    browser.fill("#editor-value", "2").await;
    world.store.set("a", "other").await.unwrap();
    browser.click("#save").await;
    browser.says("#editor .notice", "changed meanwhile").await;
    assert_eq!(world.json("a").await.unwrap(), "\"other\"");
    browser.click("#editor .notice button:last-child").await;
    browser
        .until("document.querySelector('#editor-value').value === '\"other\"'")
        .await;
    browser.fill("#editor-value", "3").await;
    world.store.del("a").await.unwrap();
    browser.click("#save").await;
    browser.says("#editor .notice", "This entry is gone").await;
    assert_eq!(world.json("a").await, None);
    browser.click("#editor .notice button").await;
    browser.until(NO_DIALOG).await;
    assert_eq!(world.json("a").await.unwrap(), "3");

    open(&browser, "a").await;
    world.store.del("a").await.unwrap();
    browser.click("#touch").await;
    browser.fill("#toucher-expires", "1h").await;
    browser.press(ENTER).await;
    browser.says("#toucher .notice", "This entry is gone").await;
    browser.press(ESCAPE).await;
    browser.click("#refresh").await;
    browser.says("#gone", "no longer there").await;
    browser
        .until("document.querySelector('#edit').disabled")
        .await;
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn the_time_left_counts_down_and_at_zero_the_entry_is_gone() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    world.store.set("kept", &1).await.unwrap();
    browser.go(&world.page()).await;
    browser.until(&listed("kept")).await;
    let brief = Duration::from_secs(8);
    world.store.set("brief", &1).expires(brief).await.unwrap();
    browser.click("#refresh").await;
    open(&browser, "brief").await;
    let note = "window.seen = new Set(); new MutationObserver(() => window.seen.add(document.querySelector('#expires').textContent)).observe(document.querySelector('#expires'), {childList: true})";
    browser.js(note).await;
    browser.until(&format!("!{}", listed("brief"))).await;
    browser.says("#gone", "has expired").await;
    browser.says("#range", "1–1 of 1").await;
    let seen = browser
        .js("return [...window.seen].map(it => parseInt(it.slice(3)) || 0)")
        .await;
    let seen: Vec<u64> = serde_json::from_value(seen).unwrap();
    assert!(
        seen.len() > 2 && seen.is_sorted_by(|a, b| a > b),
        "{seen:?}"
    );
    browser
        .until("document.querySelector('#touch').disabled")
        .await;
    browser.until(&listed("kept")).await;
    assert_eq!(world.json("brief").await, None);
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn an_expiry_is_set_by_words_seconds_and_never() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    world.store.set("a", &1).await.unwrap();
    browser.go(&world.page()).await;
    open(&browser, "a").await;
    browser.says("#expires", "never").await;
    for (said, shown) in [
        ("2 days 4h", "in 2 d 3 h"),
        ("90.5", "in 1 min 30 s"),
        ("never", "never"),
    ] {
        browser.click("#touch").await;
        browser.fill("#toucher-expires", said).await;
        browser.press(ENTER).await;
        browser.says("#expires", shown).await;
        browser.until(NO_DIALOG).await;
    }
    browser.click("#touch").await;
    for (said, refused) in [
        ("0", "longer than zero"),
        ("0 min", "longer than zero"),
        ("-1", "longer than zero"),
        ("soon", "soon"),
        ("", "Say when"),
    ] {
        browser.fill("#toucher-expires", said).await;
        browser.click("#toucher .primary").await;
        browser.says("#toucher .notice", refused).await;
    }
    browser.click("#toucher .picks button").await;
    browser.press(ENTER).await;
    browser.says("#expires", "in 9 min 5").await;
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn deleting_asks_first() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    world.store.set("a", &1).await.unwrap();
    world.store.set("b", &1).await.unwrap();
    browser.go(&world.page()).await;
    open(&browser, "a").await;
    browser.click("#delete").await;
    browser.says("#deleter", "Delete this entry?").await;
    // Who presses Enter by habit deletes nothing.
    browser.focused("#deleter [value=cancel]").await;
    browser.screenshot("delete").await;
    browser.press(ENTER).await;
    browser.until(NO_DIALOG).await;
    browser.click("#delete").await;
    browser.press(ESCAPE).await;
    browser.until(NO_DIALOG).await;
    assert_eq!(world.json("a").await.unwrap(), "1");
    browser.click("#delete").await;
    browser.click("#deleter .danger").await;
    browser.until(&format!("!{}", listed("a"))).await;
    assert_eq!(world.json("a").await, None);
    assert_eq!(world.json("b").await.unwrap(), "1");
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn five_hundred_keys_are_paged_through_and_found_by_prefix() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    let keys = (0..500).map(|number| {
        (
            format!("{}:{number:03}", ["user", "cart"][number % 2]),
            number,
        )
    });
    world.store.set_many(keys).await.unwrap();
    browser.go(&world.page()).await;
    let mut seen: Vec<String> = Vec::new();
    for page in 0..10 {
        browser
            .says("#range", &format!("{}–{}", page * 50 + 1, page * 50 + 50))
            .await;
        let keys = browser.js("return [...document.querySelectorAll('[role=option] .key')].map(it => it.textContent)").await;
        seen.extend(
            keys.as_array()
                .unwrap()
                .iter()
                .map(|key| key.as_str().unwrap().to_owned()),
        );
        if page < 9 {
            browser.click("#next").await;
        }
    }
    assert_eq!(seen, world.store.keys().await.unwrap());
    browser
        .until("document.querySelector('#next').disabled")
        .await;
    browser.click("#previous").await;
    browser.says("#range", "401–450").await;

    browser.fill("#find", "user:1").await;
    browser.says("#range", "1–50 of 50").await;
    browser.until(&listed("user:100")).await;
    let folder = tempfile::tempdir().unwrap();
    let allow = json!({"behavior": "allow", "downloadPath": folder.path()});
    browser.cdp("Browser.setDownloadBehavior", allow).await;
    browser.click("#export").await;
    let file = folder.path().join("polystore.ndjson");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !file.exists() {
        assert!(Instant::now() < deadline, "no file was saved");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lines = std::fs::read_to_string(file).unwrap();
    assert_eq!(lines.lines().count(), 50);
    assert_eq!(lines.lines().next().unwrap(), r#"{"key":"00","value":100}"#);
    // It is still there after a reload.
    browser.reload().await;
    browser.until(&listed("user:198")).await;
    browser.click("#new").await;
    browser
        .until("document.querySelector('#editor-key').value === 'user:1'")
        .await;
    browser.press(ESCAPE).await;
    browser.fill("#find", "user:2/").await;
    browser.says("#none", "No key begins with user:2/").await;
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn keys_and_values_are_copied() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    world.store.set("a key", &vec![1, 2]).await.unwrap();
    browser.go(&world.page()).await;
    open(&browser, "a key").await;
    for (button, copied) in [("#copy-key", "a key"), ("#copy-value", "[1,2]")] {
        browser.click(button).await;
        browser.says("#toast", "copied").await;
        browser.fill("#find", "").await;
        browser.click("#find").await;
        browser.press(&format!("{CONTROL}v")).await;
        browser
            .until(&format!(
                "document.querySelector('#find').value === {}",
                json!(copied)
            ))
            .await;
        // As where the browser has no clipboard for the page.
        browser.js("Object.defineProperty(navigator, 'clipboard', {value: undefined}); document.querySelector('#toast').textContent = ''").await;
        browser.js("document.querySelector('#find').value = ''; document.querySelector('#find').blur()").await;
        browser.click(button).await;
        browser.says("#toast", "copied").await;
        browser.click("#find").await;
        browser.press(&format!("{CONTROL}v")).await;
        browser
            .until(&format!(
                "document.querySelector('#find').value === {}",
                json!(copied)
            ))
            .await;
        browser.reload().await;
        browser.fill("#find", "a").await;
        open(&browser, "a key").await;
    }
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn all_of_it_is_done_by_keyboard() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    let keys = (0..60).map(|number| (format!("k{number:02}"), number));
    world.store.set_many(keys).await.unwrap();
    browser.go(&world.page()).await;
    browser.until(&listed("k00")).await;
    browser.press("n").await;
    browser.focused("#editor-key").await;
    browser.press(&format!("j{TAB}{TAB}{TAB}")).await;
    browser.focused("#editor-value").await;
    browser.press("true").await;
    browser.press(&format!("{CONTROL}{ENTER}")).await;
    browser.until(NO_DIALOG).await;
    browser.until(&listed("j")).await;
    browser.press("/").await;
    browser.focused("#find").await;
    browser.press("k").await;
    browser.says("#range", "1–50").await;
    browser.until(&format!("!{}", listed("j"))).await;
    browser.press(DOWN).await;
    browser.focused("[role=option]").await;
    browser.press(DOWN).await;
    browser
        .until("document.activeElement.querySelector('.key')?.textContent === 'k01'")
        .await;
    browser.press(ENTER).await;
    browser.says("#key", "k01").await;
    browser.press("x").await;
    browser.focused("#toucher-expires").await;
    browser.press(&format!("1h{ENTER}")).await;
    browser.says("#expires", "in 59 min").await;
    browser.until(NO_DIALOG).await;
    browser.press("e").await;
    browser.focused("#editor-value").await;
    browser.press(&format!("4{CONTROL}{ENTER}")).await;
    browser.until(NO_DIALOG).await;
    browser.says("#value", "41").await;
    browser.press(DELETE).await;
    browser.focused("#deleter [value=cancel]").await;
    browser.press(&format!("{TAB}{ENTER}")).await;
    browser.until(&format!("!{}", listed("k01"))).await;
    browser
        .until("document.activeElement.querySelector('.key')?.textContent === 'k02'")
        .await;
    browser.press(RIGHT).await;
    browser.says("#range", "51–59").await;
    browser.press("?").await;
    browser.says("#keys", "Move in the list").await;
    browser.press(ESCAPE).await;
    browser.until(NO_DIALOG).await;
    assert_eq!(world.json("k01").await, None);
    assert_eq!(world.json("j").await.unwrap(), "true");
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn hostile_keys_are_shown_and_work() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    let long = "long/".repeat(200);
    let keys = [
        ("", "the empty key"),
        (".", "."),
        ("..", ".."),
        ("ping", "ping"),
        (
            "<script>document.title='x'</script>",
            "<script>document.title='x'</script>",
        ),
        ("a\u{202e}b\u{200b}", "a\\u202eb\\u200b"),
        ("line\nbreak\t\u{0}", "line\\nbreak\\t\\u0000"),
        (" spaces  ", "␣spaces␣␣"),
        ("é%2F?&=#+", "é%2F?&=#+"),
        (&long[..], &long[..]),
    ];
    let value = "</pre><img src=x onerror=alert(1)>\u{202e}";
    for (key, _) in keys {
        world.store.set(key, value).await.unwrap();
    }
    browser.go(&world.page()).await;
    browser
        .until("document.querySelectorAll('[role=option]').length === 10")
        .await;
    browser.screenshot("hostile").await;
    for (key, shown) in keys {
        open(&browser, shown).await;
        assert_eq!(
            browser.text("#value").await,
            "\"</pre><img src=x onerror=alert(1)>\\u202e\""
        );
        browser.click("#edit").await;
        browser.fill("#editor-value", "[]").await;
        browser.click("#save").await;
        browser.until(NO_DIALOG).await;
        assert_eq!(world.json(key).await.unwrap(), "[]", "{key:?}");
        browser.says("#value", "[]").await;
        browser.click("#delete").await;
        browser.click("#deleter .danger").await;
        browser.until(&format!("!{}", listed(shown))).await;
        assert_eq!(world.json(key).await, None, "{key:?}");
    }
    browser.says("#empty", "Nothing here yet").await;
    browser.close(&world.origin).await;
}

#[tokio::test]
async fn long_values_are_shown_in_part_until_asked_for() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    let long: Vec<u32> = (0..400_000).collect();
    for key in ["a", "b", "c"] {
        world.store.set(key, &long).await.unwrap();
    }
    browser.go(&world.page()).await;
    browser
        .until("document.querySelectorAll('[role=option]').length === 3")
        .await;
    browser
        .says("[role=option]:last-child", "a long value")
        .await;
    open(&browser, "c").await;
    browser.says("#size", "2.69 MB").await;
    assert!(
        browser
            .js("return document.querySelector('#value').textContent.length")
            .await
            .as_u64()
            .unwrap()
            <= 20_001
    );
    browser.click("#all").await;
    browser
        .until("document.querySelector('#value').textContent.endsWith('399999\\n]')")
        .await;
    browser.close(&world.origin).await;
}

/// Breaks texts at random (from a seed), and compares with what the browser says of them.
const BREAK: &str = r#"
return import("./text.js").then((text) => {
  const texts = [
    '{"a": [1, -0.5e+7, true, {"b": null}], "c\\u00e9": "x\\n\\"y", "": {}}',
    ' [ [], {}, "", 0, "\\\\", [[1], 2] ]\n', '"text"', '-12.0E-3', 'false', '{"a":{"a":{"a":[]}}}',
  ];
  const pieces = ['"', "\\", "{", "}", "[", "]", ",", ":", " ", "\n", "0", "1", "-", ".", "e", "+", "true", "null", "a", "\u0001", "é", ""];
  let seed = 7;
  const below = (most) => (seed = (seed * 48271) % 2147483647) % most;
  let valid = 0;
  for (let round = 0; round < 30000; round += 1) {
    let given = texts[below(texts.length)];
    for (let times = below(3); times >= 0; times -= 1) {
      const at = below(given.length + 1);
      given = given.slice(0, at) + pieces[below(pieces.length)] + given.slice(at + below(3));
    }
    let value, ours, pretty;
    try { value = JSON.stringify(JSON.parse(given)); } catch { value = null; }
    try { ours = JSON.stringify(JSON.parse(text.compact(given))); } catch (error) {
      if (!(error instanceof text.Mistake) || error.index > given.length || error.line < 1 || error.column < 1) return `${given}: ${error}`;
      ours = null;
    }
    if (value !== ours) return `${given}: ${value} is taken for ${ours}`;
    if (value === null) continue;
    valid += 1;
    if (JSON.stringify(JSON.parse(text.formatted(given))) !== value) return `${given} is shown as ${text.formatted(given)}`;
  }
  return valid > 2000 ? "all the same" : `${valid} of the texts were JSON`;
});"#;

#[tokio::test]
async fn json_is_told_from_what_is_none_as_the_browser_itself_does() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let world = World::memory().await;
    browser.go(&world.page()).await;
    assert_eq!(browser.js(BREAK).await, json!("all the same"));
    browser.close(&world.origin).await;
}
