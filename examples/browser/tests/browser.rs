//! The page, clicked through in Chromium. It is compiled by `cargo xtask browser build`.

#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use polystore_servers::browser::{Browser, ENTER, RIGHT, TAB};
use polystore_servers::{Pages, modules};
use serde_json::json;

struct World {
    browser: Browser,
    origin: String,
}

impl World {
    async fn open() -> Option<Self> {
        let program = modules("browser-notes")?.join("browser-notes");
        let browser = Browser::open().await?;
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        let pages = Pages::new().folder("/program", program).folder("/", page);
        let origin = pages.serve();
        let world = Self { browser, origin };
        world.browser.go(&format!("{}/", world.origin)).await;
        world.is_ready().await;
        Some(world)
    }

    async fn is_ready(&self) {
        let about = "document.querySelector('#about').textContent";
        self.browser
            .until(&format!("!/^(Loading|Opening)…$/.test({about})"))
            .await;
    }

    async fn choose(&self, url: &str) {
        self.browser
            .click(&format!("#stores label:has([value='{url}'])"))
            .await;
        self.is_ready().await;
    }

    async fn reload(&self) {
        self.browser.js("window.isOld = true").await;
        self.browser.click("#reload").await;
        self.browser.until("!window.isOld").await;
        self.is_ready().await;
    }

    async fn write(&self, title: &str, text: &str, expires: &str) {
        self.browser.fill("#title", title).await;
        self.browser.fill("#text", text).await;
        self.browser.fill("#expires", expires).await;
        self.browser.click("#note .primary").await;
    }

    /// The note is shown, and the fields are ready for the next one.
    async fn saved(&self, title: &str) {
        self.browser.says("#notes", title).await;
        self.browser
            .until("document.querySelector('#title').value === ''")
            .await;
    }

    async fn count(&self) -> i64 {
        let count = "return document.querySelectorAll('#notes li').length";
        self.browser.js(count).await.as_i64().unwrap()
    }

    async fn is_no_wider_than_the_window(&self) {
        let wide = "return document.documentElement.scrollWidth > innerWidth";
        assert_eq!(self.browser.js(wide).await, json!(false));
    }
}

/// Writes, edits, deletes, lets expire, and sees what a reload leaves.
async fn keeps(url: &str, survives: bool, tells_time: bool) {
    let Some(world) = World::open().await else {
        return;
    };
    let browser = &world.browser;
    world.choose(url).await;
    assert_eq!(world.count().await, 0);

    world
        .write("Plan: größer", "first line\nsecond <b>line</b>", "never")
        .await;
    world.saved("Plan: größer").await;
    browser.says("#notes p", "second <b>line</b>").await;
    world.write("Soon gone", "", "2s").await;
    world.saved("Soon gone").await;
    world.write("Later", "in a while", "1h 30m").await;
    world.saved("Later").await;
    browser.says("#count", "notes").await;
    if tells_time {
        browser.says("#notes", "stays").await;
        browser.says("#notes", "1 h 29 min left").await;
    } else {
        browser.says("#about", "does not tell how long").await;
    }
    // It goes from the page, and from the store, when its time is over.
    browser
        .until("!document.querySelector('#notes').innerText.includes('Soon gone')")
        .await;
    browser.says("#count", "2 notes").await;

    browser.click("[data-edit='Later']").await;
    browser.focused("#text").await;
    browser.fill("#text", "changed").await;
    browser.click("[data-expires='never']").await;
    browser.click("#note .primary").await;
    browser.says("#notes", "changed").await;
    assert_eq!(world.count().await, 2);

    world.reload().await;
    let chosen = format!("document.querySelector('#stores :checked').value === '{url}'");
    browser.until(&chosen).await;
    if survives {
        browser.says("#count", "2 notes").await;
        browser.says("#notes", "changed").await;
        browser.click("[data-delete='Later']").await;
        browser.says("#count", "1 note").await;
        browser.focused("#count").await;
        browser.click("#clear").await;
    }
    browser.says("#count", "No notes").await;

    // What means nothing is said in words, and nothing is lost from the fields.
    world.write("Kept here", "text", "5 fortnights").await;
    browser.says("#error", "This means nothing").await;
    browser.says("#error", "fortnights").await;
    assert_eq!(
        browser
            .js("return document.querySelector('#title').value")
            .await,
        json!("Kept here")
    );
    browser.click("#error button").await;
    browser
        .until("document.querySelector('#error').hidden")
        .await;
    world.browser.close(&world.origin).await;
}

#[tokio::test]
async fn memory_in_a_browser_ends_with_the_page() {
    keeps("memory:", false, true).await;
}

#[tokio::test]
async fn local_storage_in_a_browser_survives() {
    keeps("localstorage:", true, true).await;
}

#[tokio::test]
async fn session_storage_in_a_browser_survives_a_reload() {
    keeps("sessionstorage:", true, true).await;
}

#[tokio::test]
async fn indexed_db_in_a_browser_survives() {
    keeps("localforage:", true, true).await;
}

#[tokio::test]
async fn cookies_in_a_browser_survive_and_refuse_what_is_too_large() {
    keeps("cookie:", true, false).await;

    let Some(world) = World::open().await else {
        return;
    };
    let browser = &world.browser;
    world.choose("cookie:").await;
    world.write("Too large", &"long ".repeat(1000), "1h").await;
    browser.says("#error", "too large for this store").await;
    browser.says("#count", "No notes").await;
    world.browser.close(&world.origin).await;
}

#[tokio::test]
async fn each_store_has_its_own_notes_and_tabs_see_each_others() {
    let Some(world) = World::open().await else {
        return;
    };
    let browser = &world.browser;
    for url in [
        "localstorage:",
        "sessionstorage:",
        "cookie:",
        "localforage:",
    ] {
        world.choose(url).await;
        browser.says("#count", "No notes").await;
        world.write(&format!("In {url}"), "", "never").await;
        world.saved(&format!("In {url}")).await;
    }
    world.choose("localstorage:").await;
    browser.says("#count", "1 note").await;
    browser.says("#notes", "In localstorage:").await;

    // As another tab does it; and what is not a note stays what it is.
    let note = r#"localStorage.setItem("note:Elsewhere", '{"expires":null,"value":{"text":"hello"}}');
        localStorage.setItem("note:Strange", "not ours");
        window.dispatchEvent(new Event("storage"));"#;
    browser.js(note).await;
    browser.says("#notes", "Elsewhere").await;
    browser.says("#count", "2 notes").await;
    browser.click("#clear").await;
    browser.says("#count", "No notes").await;
    assert_eq!(
        browser
            .js("return localStorage.getItem('note:Strange')")
            .await,
        json!("not ours")
    );
    world.browser.close(&world.origin).await;
}

#[tokio::test]
async fn a_browser_without_room_says_so_and_keeps_what_it_has() {
    let Some(world) = World::open().await else {
        return;
    };
    let browser = &world.browser;
    world.choose("localstorage:").await;
    world.write("Small", "one", "never").await;
    world.saved("Small").await;
    browser
        .js("localStorage.setItem('filler', 'x'.repeat(5 * 1024 * 1024 - 3000))")
        .await;
    let large = "document.querySelector('#text').value = 'y'.repeat(10000)";
    browser.fill("#title", "Large").await;
    browser.js(large).await;
    browser.click("#note .primary").await;
    browser.says("#error", "There is no room left").await;
    browser.screenshot("browser-full").await;
    browser.says("#count", "1 note").await;
    browser.js("localStorage.removeItem('filler')").await;
    browser.click("#note .primary").await;
    browser.says("#count", "2 notes").await;
    browser
        .until("document.querySelector('#error').hidden")
        .await;
    world.browser.close(&world.origin).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_in_words() {
    let Some(world) = World::open().await else {
        return;
    };
    let browser = &world.browser;
    browser.click("#stores label:has([value='http:'])").await;
    browser.fill("#url", "gopher://nowhere").await;
    browser.press(ENTER).await;
    browser.says("#error", "This means nothing").await;
    browser.says("#about", "cannot be used").await;
    world.choose("memory:").await;
    browser
        .until("document.querySelector('#error').hidden")
        .await;
    browser
        .until("document.querySelector('#server').hidden")
        .await;
    world.browser.close(&world.origin).await;
}

#[tokio::test]
async fn the_page_in_a_browser_works_by_keyboard_and_on_a_phone() {
    let Some(world) = World::open().await else {
        return;
    };
    let browser = &world.browser;
    // By keys alone: to the stores, along them, and through the form.
    browser.press(TAB).await;
    browser.focused("[value='localstorage:']").await;
    browser.press(RIGHT).await;
    browser.focused("[value='sessionstorage:']").await;
    world.is_ready().await;
    browser.says("#about", "this tab").await;
    browser
        .press(&format!("{TAB}Shopping{TAB}Milk, bread{TAB}"))
        .await;
    browser.focused("#expires").await;
    browser.press(ENTER).await;
    world.saved("Shopping").await;
    browser.focused("#title").await;

    world.write("A title that has a great many words, and one-that-is-too-long-for-any-phone-to-show-on-a-line-of-its-own", "", "1h").await;
    world.saved("A title").await;
    world
        .write("Call the plumber", "555 0199\nbefore noon", "9s")
        .await;
    world.saved("Call").await;
    browser.fill("#title", "Tea").await;
    browser.fill("#expires", "5 fortnights").await;
    browser.press(ENTER).await;
    browser.says("#error", "fortnights").await;

    let unlabelled = "return [...document.querySelectorAll('input, textarea')].filter((it) => !it.labels.length).length";
    assert_eq!(browser.js(unlabelled).await, json!(0));
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        browser.resize(1280, 900).await;
        world.is_no_wider_than_the_window().await;
        browser.screenshot(&format!("browser-{scheme}")).await;
        browser.resize(360, 780).await;
        world.is_no_wider_than_the_window().await;
        browser.screenshot(&format!("browser-phone-{scheme}")).await;
        browser.js("scrollTo(0, 9999)").await;
        browser
            .screenshot(&format!("browser-phone-end-{scheme}"))
            .await;
        browser.js("scrollTo(0, 0)").await;
    }
    world.browser.close(&world.origin).await;
}
