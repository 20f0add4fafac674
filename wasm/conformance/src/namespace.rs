//! Namespaces of Cloudflare KV, inside a Worker.

use polystore_kv::{Error, Result, Scan, Store, kv};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use worker::kv::KvStore;

/// As `examine`, on the namespace that `env` has by the name `binding`.
#[wasm_bindgen(js_name = examineNamespace)]
pub async fn examine_namespace(env: JsValue, binding: String, property: String) -> String {
    match KvStore::from_this(&env, &binding) {
        Ok(namespace) => super::outcome(property, move || Ok(namespace.clone())).await,
        Err(error) => format!("failed: {error}"),
    }
}

/// Does what `orders` say, arrays in JSON of a method and its arguments, with the namespace that `env` has by the name
/// `binding`. Gives an array of what came of each: `{"ok": …}` or `{"kind": …, "error": …}`.
#[wasm_bindgen]
pub async fn perform(env: JsValue, binding: String, orders: String) -> Result<String, String> {
    let namespace = KvStore::from_this(&env, &binding).map_err(|error| error.to_string())?;
    let store = kv(namespace).map_err(|error| error.to_string())?;
    let orders: Vec<Value> = serde_json::from_str(&orders).map_err(|error| error.to_string())?;
    let mut results = Vec::with_capacity(orders.len());
    for order in orders {
        results.push(match obey(&store, &order).await {
            Ok(value) => json!({ "ok": value }),
            Err(error) => json!({
                "kind": format!("{:?}", error.kind()),
                "error": format!("{error} {error:?}"),
                "retryable": error.is_retryable(),
                "unclear": error.is_maybe_applied(),
            }),
        });
    }
    Ok(Value::from(results).to_string())
}

async fn obey(store: &Store, order: &Value) -> Result<Value> {
    let text = |at: usize| order[at].as_str().unwrap_or_default();
    let texts = |at: usize| -> Vec<&str> {
        let texts = order[at].as_array().into_iter().flatten();
        texts.filter_map(Value::as_str).collect()
    };
    Ok(match text(0) {
        "get" => json!(store.get::<Value>(text(1)).await?),
        "expires" => {
            let entry = store.entry(text(1)).await?;
            json!(entry.map(|entry| entry.expiry().as_millis()))
        }
        "set" => {
            let write = store.set(text(1), &order[2]);
            match order[3].as_str() {
                Some(expires) => write.expires(expires).await?,
                None => write.await?,
            }
            Value::Null
        }
        "del" => {
            store.del(text(1)).await?;
            Value::Null
        }
        "has" => json!(store.has(text(1)).await?),
        "get_many" => json!(store.get_many::<Value>(&texts(1)).await?),
        // Many keys that begin so, each with its number.
        "set_numbers" => {
            let numbers = 0..order[2].as_u64().unwrap_or_default();
            let pairs: Vec<_> = numbers.map(|n| (format!("{}{n:05}", text(1)), n)).collect();
            let pairs = pairs.iter().map(|(key, number)| (&key[..], number));
            store.set_many(pairs).await?;
            Value::Null
        }
        // A text of so many bytes.
        "set_large" => {
            let bytes = order[2]
                .as_u64()
                .and_then(|bytes| usize::try_from(bytes).ok());
            let value = "x".repeat(bytes.unwrap_or_default());
            store.set(text(1), &value).await?;
            Value::Null
        }
        "length" => {
            let value = store.get::<String>(text(1)).await?;
            json!(value.map(|value| value.len()))
        }
        "keys" => json!(store.prefix(text(1)).keys().await?),
        "all" => json!(store.prefix(text(1)).all::<Value>().await?),
        "page" => {
            let limit = usize::try_from(order[2].as_u64().unwrap_or(1)).unwrap_or(1);
            let mut page = store.scan(Scan::new().prefix(text(1)).limit(limit));
            let mut entries = Vec::new();
            while let Some((key, entry)) = page.try_next().await? {
                entries.push(json!([key, entry.expiry().as_millis()]));
            }
            json!(entries)
        }
        "clear" => {
            store.prefix(text(1)).clear().await?;
            Value::Null
        }
        "capabilities" => json!(format!("{:?}", store.capabilities().await?)),
        "insert" => json!(store.insert(text(1), &order[2]).await?),
        "touch" => json!(store.touch(text(1), text(2)).await?),
        "prune" => json!(store.prune().await?),
        other => {
            return Err(Error::new(
                polystore_kv::ErrorKind::InvalidOption,
                format!("there is no order {other:?}"),
            ));
        }
    })
}
