//! A page with the module that has every feature.

use std::time::Duration;

use polystore_servers::browser::Browser;
use polystore_servers::{Pages, modules};
use serde_json::Value;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>Every store</title>
<link rel="icon" href="data:,">
<script type="module">
  import init, { Kv, abandon, withToken } from "/modules/conformance/conformance.js";
  await init();
  /** The kind and the words of what it throws. */
  const failure = async (work) => {
    try {
      return ["nothing", `gave ${JSON.stringify(await work())}`];
    } catch (error) {
      return [error.name, error.message];
    }
  };
  Object.assign(window, { Kv, abandon, withToken, failure });
</script>"#;

pub(crate) struct Page {
    pub(crate) origin: String,
    pub(crate) browser: Browser,
}

impl Page {
    /// A new browser with it; nothing where there is none, or no module.
    pub(crate) async fn open() -> Option<Self> {
        let modules = modules("conformance")?;
        let browser = Browser::open().await?;
        let pages = Pages::new().folder("/modules", modules).page("/", PAGE);
        let origin = pages.serve();
        browser.go(&format!("{origin}/")).await;
        browser.until("window.failure").await;
        Some(Self { origin, browser })
    }

    /// What the body of an asynchronous function gives.
    pub(crate) async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        let ran = self.browser.call(script, arguments, PATIENCE).await;
        ran.unwrap_or_else(|error| panic!("in the page: {error}"))
    }

    /// The kind and the words of what the body of an asynchronous function throws; `given` are its arguments.
    pub(crate) async fn fails(&self, script: &str, arguments: &[Value]) -> (String, String) {
        let script = format!("const given = arguments; return failure(async () => {{ {script} }})");
        let failure = self.run(&script, arguments);
        serde_json::from_value(failure.await).unwrap()
    }
}
