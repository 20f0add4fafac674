//! A page that has the store's module.

use std::time::Duration;

use polystore_servers::browser::Browser;
use polystore_servers::{Pages, modules};
use serde_json::Value;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a page begins with: `Kv`, and `named`, which gives what a promise does or the name of its error.
const BEGINNING: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>A store</title>
<link rel="icon" href="data:,">
<script>
  const named = async (doing) => {
    try { return await (typeof doing === "function" ? doing() : doing) } catch (error) { return error.name }
  };
  const until = async (holds) => {
    const deadline = Date.now() + 30000;
    for (;;) {
      const found = await holds();
      if (found) return found;
      if (Date.now() > deadline) throw new Error(`never: ${holds}`);
      await new Promise((done) => setTimeout(done, 10));
    }
  };
</script>
"#;

const LOADING: &str = r#"<script type="module">
  import init, { Kv } from "/modules/store/store.js";
  await init();
  window.Kv = Kv;
</script>"#;

/// A browser on a page of a site of its own.
pub(crate) struct World {
    pub(crate) browser: Browser,
    pub(crate) port: String,
}

impl World {
    /// On an empty page at `path`, which is also at `/`; `pages` adds others.
    pub(crate) async fn open(path: &str, pages: impl FnOnce(Pages) -> Pages) -> Option<Self> {
        let modules = modules("store")?;
        let empty = format!("{BEGINNING}{LOADING}");
        let served = Pages::new().folder("/modules", modules);
        let origin = pages(served.page(path, &empty).page("/", &empty)).serve();
        let port = origin.rsplit(':').next().unwrap_or_default().to_owned();
        let browser = Browser::open().await?;
        let world = Self { browser, port };
        world.go("127.0.0.1", path).await;
        Some(world)
    }

    /// Opens a page by the name of a host; everything that ends in `.test` is here.
    pub(crate) async fn go(&self, host: &str, path: &str) {
        let url = format!("http://{host}:{}{path}", self.port);
        self.browser.go(&url).await;
        self.browser.until("window.Kv").await;
    }

    /// What the body of an asynchronous function answers in the page.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let answer = self.browser.call(script, &[], PATIENCE).await;
        answer.unwrap_or_else(|error| panic!("{error}\nin {script}"))
    }

    pub(crate) async fn end(self) {
        self.browser.end().await;
    }
}

/// A page that does `script` with the module but has no way to load it: all is in the page itself.
pub(crate) fn sealed(script: &str) -> Option<String> {
    let folder = modules("store")?.join("store");
    let module = std::fs::read_to_string(folder.join("store.js")).expect("it was built");
    let binary = std::fs::read(folder.join("store_bg.wasm")).expect("it was built");
    let hex: String = binary.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!(
        "{BEGINNING}<script type=\"module\">{module}
         const bytes = new Uint8Array(\"{hex}\".match(/../g).map((byte) => parseInt(byte, 16)));
         initSync({{ module: bytes }});
         {script}
         </script>"
    ))
}
