//! What the store behind the server can do.

use axum::response::Response;
use polystore_kv::{Capabilities, Store};
use serde::Serialize;

use crate::problem::Outcome;
use crate::respond::json;

#[derive(Serialize)]
struct Info<'a> {
    kind: &'a str,
    insert: bool,
    replace: bool,
    touch: bool,
    prune: bool,
    native_expiry_ms: Option<u64>,
    ttl: bool,
    max_key_bytes: Option<usize>,
    refused_keys: &'a [std::borrow::Cow<'static, str>],
    refused_chars: &'a [char],
    max_value_bytes: Option<usize>,
    max_entries: Option<usize>,
    max_total_bytes: Option<usize>,
    ordered: bool,
    persistent: bool,
}

/// `GET /_/store`
pub(crate) async fn store(store: &Store, most_key: usize, most_body: usize) -> Outcome<Response> {
    let can: Capabilities = store.capabilities().await?;
    let kind = store.kind();
    let tighter = |limit: Option<usize>, most| Some(limit.map_or(most, |limit| limit.min(most)));
    let info = Info {
        kind: &kind,
        insert: can.insert,
        replace: can.replace,
        touch: can.touch,
        prune: can.prune,
        native_expiry_ms: can
            .native_expiry
            .map(|exact| u64::try_from(exact.as_millis()).unwrap_or(u64::MAX)),
        ttl: can.ttl,
        max_key_bytes: tighter(can.max_key_bytes, most_key),
        refused_keys: &can.refused_keys,
        refused_chars: &can.refused_chars,
        max_value_bytes: tighter(can.max_value_bytes, most_body),
        max_entries: can.max_entries,
        max_total_bytes: can.max_total_bytes,
        ordered: can.ordered,
        persistent: can.persistent,
    };
    // Texts and numbers are always JSON.
    Ok(json(serde_json::to_vec(&info).unwrap_or_default()))
}
