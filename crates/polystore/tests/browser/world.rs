//! A page with the module of stores, and what a script in it needs.

use std::time::Duration;

use polystore_servers::browser::Browser;
use polystore_servers::{Pages, modules};
use serde_json::{Value, json};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>Stores</title>
<link rel="icon" href="data:,">
<script type="module">
  import init, { Kv } from "/modules/store/store.js";
  await init();
  window.Kv = Kv;
  window.same = (found, expected) => {
    const [a, b] = [found, expected].map((it) => JSON.stringify(it));
    if (a !== b) throw new Error(`${a} instead of ${b}`);
  };
  /** The name of what it throws. */
  window.failure = (promise) => promise.then((it) => `nothing, but gave ${it}`, (error) => error.name);
  window.until = async (holds) => {
    const deadline = Date.now() + 20_000;
    while (!(await holds())) {
      if (Date.now() > deadline) throw new Error(`never: ${holds}`);
      await new Promise((done) => setTimeout(done, 10));
    }
  };
</script>"#;

pub(crate) struct Page {
    pub(crate) origin: String,
    pub(crate) browser: Browser,
}

impl Page {
    /// A new browser with it; nothing where there is none, or no module.
    pub(crate) async fn open() -> Option<Self> {
        let modules = modules("store")?;
        let browser = Browser::open().await?;
        let origin = Pages::new()
            .folder("/modules", modules)
            .page("/", PAGE)
            .serve();
        browser.go(&format!("{origin}/")).await;
        browser.until("window.until").await;
        Some(Self { origin, browser })
    }

    /// What the body of an asynchronous function gives.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let ran = self.browser.call(script, &[], PATIENCE).await;
        ran.unwrap_or_else(|error| panic!("in the page: {error}"))
    }

    /// Gives the origin so much storage, in bytes.
    pub(crate) async fn override_quota(&self, bytes: u64) {
        let quota = json!({"origin": self.origin, "quotaSize": bytes});
        self.browser
            .cdp("Storage.overrideQuotaForOrigin", quota)
            .await;
    }
}

/// Runs each of these in a page of its own, which nobody has used before.
macro_rules! in_pages {
    ($($(#[$attribute:meta])* $name:ident: $script:expr;)*) => {$(
        $(#[$attribute])*
        #[tokio::test]
        async fn $name() {
            let Some(page) = $crate::world::Page::open().await else { return };
            page.run(&format!("{PRELUDE}\n{}", $script)).await;
            page.browser.end().await;
        }
    )*};
}
pub(crate) use in_pages;
