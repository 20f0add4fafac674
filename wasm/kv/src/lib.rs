//! The stores of browsers, with every method, as a class of JavaScript.
//!
//! Values come and go as JSON text.

#![cfg(target_family = "wasm")]

use js_sys::{Array, JSON};
use polystore_kv::{Error, Store, kv};
use serde_json::value::RawValue;
use wasm_bindgen::prelude::*;

type Json = Box<RawValue>;
type Answer<T = JsValue> = Result<T, JsValue>;

/// A store.
#[wasm_bindgen]
pub struct Kv(Store);

#[wasm_bindgen]
impl Kv {
    /// The store at a URL.
    #[wasm_bindgen(constructor)]
    pub fn new(url: &str) -> Answer<Self> {
        kv(url).map(Self).map_err(thrown)
    }

    /// The store in a storage that the page has.
    pub fn of(storage: web_sys::Storage) -> Answer<Self> {
        kv(storage).map(Self).map_err(thrown)
    }

    pub fn kind(&self) -> String {
        self.0.kind().into_owned()
    }

    pub async fn get(&self, key: String) -> Answer {
        optional(self.0.get::<Json>(&key).await.map_err(thrown)?)
    }

    pub async fn set(&self, key: String, value: JsValue, expires: Option<String>) -> Answer<()> {
        let value = text(&value)?;
        let write = self.0.set(&key, &value);
        let done = match expires {
            Some(expires) => write.expires(expires).await,
            None => write.await,
        };
        done.map_err(thrown)
    }

    pub async fn add(&self, value: JsValue, expires: Option<String>) -> Answer<String> {
        let value = text(&value)?;
        let write = self.0.add(&value);
        let done = match expires {
            Some(expires) => write.expires(expires).await,
            None => write.await,
        };
        done.map_err(thrown)
    }

    pub async fn insert(&self, key: String, value: JsValue) -> Answer<bool> {
        let value = text(&value)?;
        self.0.insert(&key, &value).await.map_err(thrown)
    }

    pub async fn has(&self, key: String) -> Answer<bool> {
        self.0.has(&key).await.map_err(thrown)
    }

    pub async fn del(&self, key: String) -> Answer<()> {
        self.0.del(&key).await.map_err(thrown)
    }

    /// Milliseconds, `Infinity` for never, or null.
    pub async fn ttl(&self, key: String) -> Answer {
        let left = self.0.ttl(&key).await.map_err(thrown)?;
        Ok(match left {
            None => JsValue::NULL,
            Some(left) => match left.as_duration() {
                Some(left) => (left.as_secs_f64() * 1000.0).into(),
                None => f64::INFINITY.into(),
            },
        })
    }

    pub async fn touch(&self, key: String, expires: String) -> Answer<bool> {
        self.0.touch(&key, expires).await.map_err(thrown)
    }

    #[wasm_bindgen(js_name = getMany)]
    pub async fn get_many(&self, keys: Vec<String>) -> Answer<js_sys::Map> {
        let found = js_sys::Map::new();
        for (key, json) in self.0.get_many::<Json>(&keys).await.map_err(thrown)? {
            found.set(&key.into(), &value(&json)?);
        }
        Ok(found)
    }

    /// Of pairs.
    #[wasm_bindgen(js_name = setMany)]
    pub async fn set_many(&self, entries: Array) -> Answer<()> {
        let pairs = entries.iter().map(|pair| {
            let pair = Array::from(&pair);
            let key = pair.get(0).as_string().unwrap_or_default();
            Ok((key, text(&pair.get(1))?))
        });
        let pairs = pairs.collect::<Answer<Vec<_>>>()?;
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (&key[..], value)).collect();
        self.0.set_many(pairs).await.map_err(thrown)
    }

    #[wasm_bindgen(js_name = delMany)]
    pub async fn del_many(&self, keys: Vec<String>) -> Answer<()> {
        self.0.del_many(&keys).await.map_err(thrown)
    }

    pub async fn keys(&self) -> Answer<Vec<String>> {
        self.0.keys().await.map_err(thrown)
    }

    pub async fn values(&self) -> Answer<Array> {
        let values = self.0.values::<Json>().await.map_err(thrown)?;
        values.iter().map(value).collect()
    }

    /// Pairs.
    pub async fn entries(&self) -> Answer<Array> {
        let entries = self.0.entries::<Json>().await.map_err(thrown)?;
        entries.into_iter().map(pair).collect()
    }

    pub async fn all(&self) -> Answer {
        // Not set one by one: that would take the key `__proto__` for the prototype.
        Ok(js_sys::Object::from_entries(&self.entries().await?.into())?.into())
    }

    /// Calls `each` with pairs.
    pub async fn stream(&self, each: js_sys::Function) -> Answer<()> {
        let mut stream = self.0.stream::<Json>();
        while let Some(entry) = stream.try_next().await.map_err(thrown)? {
            each.call1(&JsValue::NULL, &pair(entry)?)?;
        }
        Ok(())
    }

    pub async fn clear(&self) -> Answer<()> {
        self.0.clear().await.map_err(thrown)
    }

    /// How many went.
    pub async fn prune(&self) -> Answer<f64> {
        let pruned = self.0.prune().await.map_err(thrown)?;
        Ok(pruned as f64)
    }

    pub fn prefix(&self, prefix: &str) -> Self {
        Self(self.0.prefix(prefix))
    }

    pub fn expires(&self, expires: &str) -> Self {
        Self(self.0.expires(expires))
    }

    /// What the store can do, as Rust prints it.
    pub async fn capabilities(&self) -> Answer<String> {
        let can = self.0.capabilities().await.map_err(thrown)?;
        Ok(format!("{can:?}"))
    }

    pub async fn close(&self) -> Answer<()> {
        self.0.close().await.map_err(thrown)
    }
}

impl From<Store> for Kv {
    fn from(store: Store) -> Self {
        Self(store)
    }
}

/// A JavaScript `Error` of the same words, whose name is the kind.
fn thrown(error: Error) -> JsValue {
    let thrown = js_sys::Error::new(&error.to_string());
    thrown.set_name(&format!("{:?}", error.kind()));
    thrown.into()
}

fn text(value: &JsValue) -> Answer<Json> {
    let text = JSON::stringify(value)?.as_string();
    let text = text.unwrap_or_else(|| "null".to_owned());
    RawValue::from_string(text).map_err(|error| js_sys::Error::new(&error.to_string()).into())
}

fn value(json: &Json) -> Answer {
    JSON::parse(json.get())
}

fn optional(json: Option<Json>) -> Answer {
    json.as_ref().map_or(Ok(JsValue::NULL), value)
}

fn pair((key, json): (String, Json)) -> Answer {
    Ok(Array::of2(&key.into(), &value(&json)?).into())
}
