//! Gets and sets of the stores of browsers, as a program in Rust does them: `benches/src/browser.rs` times them
//! beside the npm package in the same page.

#![cfg(target_family = "wasm")]

use std::cell::Cell;
use std::rc::Rc;

use js_sys::{Array, Promise};
use polystore_kv::{Error, Store, kv};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// About 55 bytes of JSON, the same on both sides.
#[derive(Serialize, Deserialize)]
struct User {
    id: u32,
    name: String,
    email: String,
}

impl User {
    fn new(id: u32) -> Self {
        Self {
            id,
            name: "Ada Lovelace".to_owned(),
            email: "ada@ex.org".to_owned(),
        }
    }
}

/// A store with some users in it.
#[wasm_bindgen]
pub struct Users {
    store: Store,
    keys: Rc<[String]>,
}

#[wasm_bindgen]
impl Users {
    /// The store at a URL.
    #[wasm_bindgen(constructor)]
    pub fn new(url: &str, count: u32) -> Result<Self, JsValue> {
        let store = kv(url).map_err(thrown)?;
        let keys = (0..count).map(|id| format!("user:{id}")).collect();
        Ok(Self { store, keys })
    }

    /// Operations a second that `tasks` do together for so many milliseconds, over all users in turn.
    pub async fn run(&self, operation: &str, tasks: u32, millis: f64) -> Result<f64, JsValue> {
        let begun = now();
        let run = Rc::new(Run {
            store: self.store.clone(),
            keys: Rc::clone(&self.keys),
            next: Cell::new(0),
            end: begun + millis,
            is_over: Cell::new(false),
        });
        let is_get = operation == "get";
        let tasks = (0..tasks).map(|_| {
            let run = Rc::clone(&run);
            future_to_promise(async move {
                match is_get {
                    true => run.get().await.map_err(thrown)?,
                    false => run.set().await.map_err(thrown)?,
                }
                Ok(JsValue::UNDEFINED)
            })
        });
        let tasks: Array = tasks.collect();
        JsFuture::from(Promise::all(&tasks)).await?;
        Ok(f64::from(run.next.get()) / (now() - begun) * 1000.0)
    }
}

struct Run {
    store: Store,
    keys: Rc<[String]>,
    next: Cell<u32>,
    end: f64,
    is_over: Cell<bool>,
}

impl Run {
    async fn get(&self) -> Result<(), Error> {
        while let Some((_, key)) = self.turn() {
            let user: Option<User> = self.store.get(key).await?;
            assert!(user.is_some_and(|user| user.email.len() == 10));
        }
        Ok(())
    }

    async fn set(&self) -> Result<(), Error> {
        while let Some((number, key)) = self.turn() {
            self.store.set(key, &User::new(number)).await?;
        }
        Ok(())
    }

    /// What is next, until it is over.
    fn turn(&self) -> Option<(u32, &str)> {
        let number = self.next.get();
        // Now and then, as the npm package's side does.
        if number % 16 == 0 && number > 0 && now() >= self.end {
            self.is_over.set(true);
        }
        if self.is_over.get() {
            return None;
        }
        self.next.set(number + 1);
        let index = number as usize % self.keys.len();
        Some((number, &self.keys[index]))
    }
}

fn thrown(error: Error) -> JsValue {
    js_sys::Error::new(&error.to_string()).into()
}
