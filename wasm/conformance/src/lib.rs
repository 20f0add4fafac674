//! The conformance suite, for hosts of WebAssembly to run: a page, a Worker.
//!
//! What `cargo test` shows of it is in `crates/polystore/tests/conformance.rs`.

#![cfg(target_family = "wasm")]

mod namespace;

use std::future::ready;
use std::panic;

use polystore_conformance::{Outcome, Suite, properties};
use polystore_kv::{IntoStore, Store, kv};
use wasm_bindgen::prelude::*;

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
