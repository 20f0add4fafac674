//! The stores of browsers, in headless Chromium: a page there examines one property after the other.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polystore_conformance::{Outcome, Suite};
use polystore_servers::browser::Browser;
use polystore_servers::{Pages, modules};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// A name, and a URL in which `{n}` is another number each time.
const STORES: &[(&str, &str)] = &[
    ("memory in a browser", "memory:"),
    ("localforage in a browser", "localforage:?name=ps{n}"),
    (
        "localforage on localstorage in a browser",
        "localforage:?driver=localstorage&name=ps{n}",
    ),
    ("localstorage in a browser", "localstorage:"),
    ("sessionstorage in a browser", "sessionstorage:"),
    ("cookie in a browser", "cookie:"),
];

/// Longer than the suite waits for a property.
const PATIENCE: Duration = Duration::from_secs(150);

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>Conformance</title>
<link rel="icon" href="data:,">
<script type="module">
  import init, * as suite from "/modules/conformance/conformance.js";
  await init();
  window.suite = suite;
</script>"#;

/// Leaves nothing of what was there before.
const EXAMINE: &str = r#"
  localStorage.clear();
  sessionStorage.clear();
  for (const pair of document.cookie.split("; ")) {
    document.cookie = `${pair.split("=")[0]}=; expires=Thu, 01 Jan 1970 00:00:00 GMT`;
  }
  return await suite.examine(arguments[0], arguments[1]);
"#;

pub(super) fn with_pages(mut suite: Suite) -> Suite {
    let Some(modules) = modules("conformance") else {
        return suite;
    };
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let pages = Arc::new(OpenPages::new(&modules));
    for (name, url) in STORES.iter().copied() {
        let pages = Arc::clone(&pages);
        suite = suite.store_elsewhere(name, move |property| {
            let n = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
            pages.examine(&url.replace("{n}", &n), property)
        });
    }
    #[cfg(feature = "http")]
    let suite = with_servers(suite, &pages);
    suite
}

/// For each property a server of its own, at another origin than the page's.
#[cfg(feature = "http")]
fn with_servers(mut suite: Suite, pages: &Arc<OpenPages>) -> Suite {
    use crate::http::{npm_only, runtime, serve_pages};

    let servers = runtime();
    for (name, change) in [
        ("http in a browser", (|router| router) as fn(_) -> _),
        ("http that speaks npm only in a browser", npm_only),
    ] {
        let (pages, servers) = (Arc::clone(pages), servers.clone());
        suite = suite.store_elsewhere(name, move |property| {
            // Of this protocol each is a request, for which the browser asks for leave first: that takes minutes.
            if name.contains("npm only") && property.contains("ten_thousand") {
                return Outcome::Skipped("it is asked for natively".to_owned());
            }
            let served = serve_pages(servers.clone(), &pages.origin, change);
            match servers.block_on(served) {
                Ok(url) => pages.examine(&format!("{url}?polystore.timeout=60s"), property),
                Err(error) => Outcome::Failed(error.to_string()),
            }
        });
    }
    suite
}

/// Pages that nobody uses at the moment, each in a browser of its own.
struct OpenPages {
    origin: String,
    free: Mutex<Vec<Page>>,
}

struct Page {
    runtime: Runtime,
    browser: Browser,
}

impl OpenPages {
    fn new(modules: &Path) -> Self {
        let pages = Pages::new().folder("/modules", modules).page("/", PAGE);
        Self {
            origin: pages.serve(),
            free: Mutex::default(),
        }
    }

    fn examine(&self, url: &str, property: &str) -> Outcome {
        let free = self.free().pop();
        let Some(page) = free.or_else(|| Page::open(&self.origin)) else {
            return Outcome::Skipped("there is no Chromium".to_owned());
        };
        let outcome = page.examine(url, property);
        if matches!(outcome, Outcome::Failed(_)) {
            // A panic has ended the module.
            page.load(&self.origin);
        }
        self.free().push(page);
        outcome
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Page>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    fn open(origin: &str) -> Option<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let browser = runtime.block_on(Browser::open())?;
        let page = Self { runtime, browser };
        page.load(origin);
        Some(page)
    }

    fn load(&self, origin: &str) {
        self.runtime.block_on(async {
            self.browser.go(&format!("{origin}/")).await;
            self.browser.until("window.suite").await;
        });
    }

    fn examine(&self, url: &str, property: &str) -> Outcome {
        let arguments = [json!(url), json!(property)];
        let asked = self.browser.call(EXAMINE, &arguments, PATIENCE);
        match self.runtime.block_on(asked) {
            Ok(Value::String(said)) => match said.split_once(": ") {
                Some(("skipped", why)) => Outcome::Skipped(why.to_owned()),
                Some((_, why)) => Outcome::Failed(why.to_owned()),
                None => Outcome::Passed,
            },
            Ok(other) => Outcome::Failed(other.to_string()),
            Err(error) => Outcome::Failed(error),
        }
    }
}
