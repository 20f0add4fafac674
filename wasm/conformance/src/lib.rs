//! The conformance suite, for hosts of WebAssembly to run: a page, a Worker.
//!
//! It also has the class of the stores of browsers, here with every feature.
//!
//! What `cargo test` shows of it is in `crates/polystore/tests/conformance.rs`.

#![cfg(target_family = "wasm")]

mod namespace;

use std::future::{Future, poll_fn, ready};
use std::panic;
use std::pin::pin;
use std::task::Poll;

use polystore_conformance::{Outcome, Suite, properties};
use polystore_kv::{HttpStore, IntoStore, Store, kv};
pub use polystore_wasm_kv::Kv;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// A panic ends the module: the console is the last that hears of it.
#[wasm_bindgen(start)]
pub fn start() {
    panic::set_hook(Box::new(|panic| {
        web_sys::console::error_1(&panic.to_string().into());
    }));
}

/// The names of all properties.
#[wasm_bindgen]
pub fn names() -> Vec<String> {
    properties()
}

/// Tries a property on the store at a URL, which nobody else uses and is empty. Gives `passed`,
/// `skipped: ` and why, or `failed: ` and what was found.
#[wasm_bindgen]
pub async fn examine(url: String, property: String) -> String {
    outcome(property, move || kv(&url)).await
}

/// The store over HTTP at a URL, asked with a token.
#[wasm_bindgen(js_name = withToken)]
pub fn with_token(url: &str, token: &str) -> Result<Kv, JsValue> {
    let store = kv(HttpStore::new(url).token(token));
    let store = store.map_err(|error| js_sys::Error::new(&error.to_string()))?;
    Ok(store.into())
}

/// Begins to read a key, and drops that when `until` is done. Whether it was under way still.
#[wasm_bindgen]
pub async fn abandon(url: String, key: String, until: js_sys::Promise) -> bool {
    let Ok(store) = kv(&url) else { return false };
    let mut read = pin!(store.has(&key));
    let mut until = pin!(JsFuture::from(until));
    poll_fn(|context| match read.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(false),
        Poll::Pending => until.as_mut().poll(context).map(|_| true),
    })
    .await
}

async fn outcome<S: IntoStore>(
    property: String,
    open: impl Fn() -> Result<S, polystore_kv::Error> + Send + Sync + 'static,
) -> String {
    let open = move || ready(open().and_then(IntoStore::into_store) as Result<Store, _>);
    let suite = Suite::new().disposable_store("it", open);
    match suite.examine("it", &property).await {
        Some(Outcome::Passed) => "passed".to_owned(),
        Some(Outcome::Skipped(why)) => format!("skipped: {why}"),
        Some(Outcome::Failed(why)) => format!("failed: {why}"),
        other => format!("failed: {property:?} gave {other:?}"),
    }
}
