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
        self.browser.click("#reload").await;
        // The page that was is another one.
        self.browser.reload().await;
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

    async fn is_wide_as_the_window(&self) {
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
