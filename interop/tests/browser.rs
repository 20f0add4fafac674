//! One page in Chromium that has this crate, the npm package and localForage: what each writes the others read,
//! list and delete. What is to hold is in `interop/browser`.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use polystore_interop::{npm_folder, npm_is_there};
use polystore_servers::browser::Browser;
use polystore_servers::{Pages, modules};
use serde_json::{Value, json};

const STORAGES: [&str; 2] = ["localStorage", "sessionStorage"];
const FORAGES: [&str; 2] = ["IndexedDB", "localForage's localStorage"];
const COOKIE: &str = "cookie";

/// Longer than the page waits for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser, and the page of both in it.
struct Both {
    browser: Browser,
    origin: &'static str,
}

impl Both {
    async fn open() -> Option<Self> {
        static ORIGIN: LazyLock<Option<String>> = LazyLock::new(serve);
        let origin = ORIGIN.as_deref()?;
        let browser = Browser::open().await?;
        Some(Self { browser, origin })
    }

    /// Loads the page anew, which empties all its stores, and runs the body of a function there.
    async fn holds(&self, script: &str, arguments: &[Value]) {
        self.browser.go(&format!("{}/", self.origin)).await;
        self.browser.until("window.both").await;
        let answer = self.browser.call(script, arguments, PATIENCE).await;
        if let Err(error) = answer {
            panic!("{arguments:?}: {error}");
        }
    }
}

fn serve() -> Option<String> {
    if !npm_is_there() {
        return None;
    }
    let modules = modules("store")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let page = std::fs::read_to_string(folder.join("page.html")).unwrap();
    let pages = Pages::new()
        .folder("/modules", modules)
        .folder("/npm", npm_folder().join("node_modules"))
        .folder("/both", folder)
        .page("/", &page);
    Some(pages.serve())
}

/// A property of `properties.mjs` holds of each of `stores`.
async fn of_stores(property: &str, stores: &[&str]) {
    let Some(both) = Both::open().await else {
        return;
    };
    for store in stores {
        let arguments = [json!(property), json!(store)];
        let script = "await both[arguments[0]](both.stores[arguments[1]])";
        both.holds(script, &arguments).await;
    }
    both.browser.end().await;
}

/// A property of `forage.mjs` holds with each of `arguments`.
async fn beside_local_forage(property: &str, arguments: &[&str]) {
    let Some(both) = Both::open().await else {
        return;
    };
    for argument in arguments {
        let arguments = [json!(property), json!(argument)];
        let script = "await both.forage[arguments[0]](arguments[1])";
        both.holds(script, &arguments).await;
    }
    both.browser.end().await;
}

fn all() -> Vec<&'static str> {
    [&wrapped()[..], &[COOKIE]].concat()
}

fn wrapped() -> Vec<&'static str> {
    [STORAGES, FORAGES].concat()
}

#[tokio::test]
async fn each_reads_lists_and_deletes_in_storages_what_the_other_wrote() {
    of_stores("share", &STORAGES).await;
}

#[tokio::test]
async fn each_reads_lists_and_deletes_in_cookies_what_the_other_wrote() {
    of_stores("share", &[COOKIE]).await;
}

#[tokio::test]
async fn each_reads_lists_and_deletes_in_local_forage_what_the_other_wrote() {
    of_stores("share", &FORAGES).await;
}

#[tokio::test]
async fn keys_that_the_npm_package_does_not_list_are_shared_too() {
    of_stores("odd", &all()).await;
}

#[tokio::test]
async fn both_keep_the_layout_that_is_written_down() {
    of_stores("layout", &all()).await;
}

#[tokio::test]
async fn what_either_lets_expire_is_gone_for_both_and_not_before() {
    of_stores("expire", &all()).await;
}

#[tokio::test]
async fn an_entry_lives_as_long_as_the_last_of_both_said() {
    of_stores("renew", &all()).await;
}

#[tokio::test]
async fn the_time_that_npm_gave_an_entry_is_told_and_renewed() {
    of_stores("time", &wrapped()).await;
}

#[tokio::test]
async fn what_has_expired_is_pruned_whoever_wrote_it() {
    of_stores("prune", &wrapped()).await;
}

#[tokio::test]
async fn what_neither_wrote_stays_and_is_not_listed() {
    let Some(both) = Both::open().await else {
        return;
    };
    let objects = [
        json!(["f:number", 5]),
        json!(["f:text", "text"]),
        json!(["f:list", [1]]),
        json!(["f:object", {"a": 1}]),
        json!(["f:half", {"value": 1}]),
        json!(["f:expiry", {"expires": null}]),
    ];
    // The npm package takes what is not JSON for a failure of the whole listing: here only this crate lists.
    let texts = objects
        .iter()
        .map(|pair| json!([pair[0], pair[1].to_string()]));
    let odd = ["", "not JSON", "{", "undefined", "%"];
    let odd = odd.iter().map(|text| json!([format!("f:{text}"), text]));
    let texts: Vec<Value> = texts.chain(odd).collect();
    let script = "await both.foreign(both.stores[arguments[0]], arguments[1])";
    for (store, entries) in [
        ("localStorage", json!(texts)),
        ("sessionStorage", json!(texts)),
        ("IndexedDB", json!(objects)),
        ("localForage's localStorage", json!(objects)),
        // Any other text would do as a value.
        (
            COOKIE,
            json!([
                ["session", "abc"],
                ["n", "1.2.3"],
                ["half", "%7B"],
                ["odd", "%"],
                ["bad%", "1"]
            ]),
        ),
    ] {
        both.holds(script, &[json!(store), entries]).await;
    }
    both.browser.end().await;
}

#[tokio::test]
async fn local_forage_may_be_opened_before_or_after() {
    beside_local_forage("after", &FORAGES).await;
    beside_local_forage("before", &FORAGES).await;
}

#[tokio::test]
async fn all_may_write_at_the_same_time() {
    beside_local_forage("together", &FORAGES).await;
}

#[tokio::test]
async fn all_see_what_another_tab_writes() {
    beside_local_forage("tabs", &FORAGES).await;
}

#[tokio::test]
async fn each_lets_the_others_add_a_store_to_the_database() {
    beside_local_forage("versions", &[""]).await;
}

#[tokio::test]
async fn a_dropped_database_is_made_anew() {
    beside_local_forage("dropped", &[""]).await;
}

#[tokio::test]
async fn integers_are_exact_and_ordinary_to_the_others() {
    beside_local_forage("exact", &all()).await;
}

#[tokio::test]
async fn what_only_a_structured_clone_can_hold_breaks_no_listing() {
    beside_local_forage("clones", &[""]).await;
}
