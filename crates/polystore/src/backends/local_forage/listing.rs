//! Pages of a range of keys, each as of its own moment.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use futures_core::stream::BoxStream;
use send_wrapper::SendWrapper;
use web_sys::js_sys::{Array, ArrayBuffer, JsString};
use web_sys::wasm_bindgen::{JsCast, JsValue};
use web_sys::{IdbKeyRange, IdbObjectStore, IdbRequest, IdbTransactionMode};

use super::database::Database;
use super::failure::error_of;
use super::value::{entry_of, text_of};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::pages::{self, Page};
use crate::runtime::persist;

const FIRST_COUNT: usize = 32;
const MOST_COUNT: usize = 512;

/// What a page is to have.
const PAGE_BYTES: usize = 1 << 20;

/// Code units that become a string at a time.
const UNITS: usize = 4096;

/// What a listing shows. `expired` hears of keys that are to go.
pub(super) fn list(
    database: &Arc<Database>,
    prefix: &str,
    wants_values: bool,
    expired: impl Fn(Vec<String>) + Send + Sync + 'static,
) -> BoxStream<'static, Result<(String, Entry)>> {
    let pages = SendWrapper::new(Pages::new(database, prefix));
    let expired = Arc::new(expired);
    pages::list(pages, None, usize::MAX, move |mut pages, _| {
        let expired = Arc::clone(&expired);
        SendWrapper::new(async move {
            let mut page = Page::default();
            let mut over = Vec::new();
            for item in pages.next(wants_values).await? {
                match item {
                    None => page.skipped += 1,
                    Some((key, entry)) if entry.is_expired() => over.push(key),
                    Some(live) => page.entries.push(live),
                }
            }
            if !over.is_empty() {
                expired(over);
            }
            page.next = (!pages.is_over).then_some(pages);
            Ok(page)
        })
    })
}

/// Removes those that `is_meant`, and says how many.
pub(super) async fn sweep(
    database: &Arc<Database>,
    prefix: &str,
    is_meant: fn(&Entry) -> bool,
) -> Result<u64> {
    let mut pages = Pages::new(database, prefix);
    let mut gone = 0;
    while !pages.is_over {
        let swept = pages.sweep(is_meant).await;
        gone += swept.map_err(|error| match gone {
            0 => error,
            _ => error.with_maybe_applied(),
        })?;
    }
    Ok(gone)
}

/// A walk through the keys that begin with a prefix, in the order of their UTF-16.
struct Pages {
    database: Arc<Database>,
    start: JsValue,
    /// The first key is the one after it.
    is_after: bool,
    end: JsValue,
    count: usize,
    is_over: bool,
}

/// What a page has: keys and objects.
type Items = (Array, Array);

impl Pages {
    fn new(database: &Arc<Database>, prefix: &str) -> Self {
        Self {
            database: Arc::clone(database),
            start: prefix.into(),
            is_after: false,
            end: end_of(prefix),
            count: FIRST_COUNT,
            is_over: false,
        }
    }

    /// What the next page has; nothing in place of what is not ours.
    async fn next(&mut self, wants_values: bool) -> Result<Vec<Option<(String, Entry)>>> {
        let read = persist(self.database.timeout, Database::is_transient, || {
            self.read()
        });
        let (keys, objects) = read.await?;
        let items = keys.iter().zip(objects.iter());
        let items: Vec<_> = items
            .map(|(key, object)| Some((text_in(&key)?, entry_of(&object, wants_values).ok()?)))
            .collect();
        let bytes = wants_values.then(|| {
            let entries = items.iter().flatten();
            entries
                .map(|(key, entry)| key.len() + entry.json().len())
                .sum()
        });
        self.advance(&(keys, objects), bytes);
        Ok(items)
    }

    async fn read(&self) -> Result<Items> {
        let transaction = self.database.begin(IdbTransactionMode::Readonly).await?;
        let asked = self.ask(transaction.store());
        let (keys, objects) = asked.map_err(|exception| error_of(&exception))?;
        transaction.read(&objects).await?;
        items(&keys, &objects).map_err(|exception| error_of(&exception))
    }

    /// Removes what is meant of the next page.
    async fn sweep(&mut self, is_meant: fn(&Entry) -> bool) -> Result<u64> {
        let swept = persist(self.database.timeout, Database::is_transient, || {
            self.sweep_page(is_meant)
        });
        let (items, gone) = swept.await?;
        self.advance(&items, None);
        Ok(gone)
    }

    async fn sweep_page(&self, is_meant: fn(&Entry) -> bool) -> Result<(Items, u64)> {
        let mut transaction = self.database.begin(IdbTransactionMode::Readwrite).await?;
        let asked = self.ask(transaction.store());
        let (keys, objects) = asked.map_err(|exception| error_of(&exception))?;
        let swept = Rc::new(RefCell::new(None));
        let (store, last, tell) = (
            transaction.store().clone(),
            objects.clone(),
            Rc::clone(&swept),
        );
        transaction.after(last, move || {
            let found = items(&keys, &objects)?;
            let gone = remove(&store, &found, is_meant)?;
            *tell.borrow_mut() = Some((found, gone));
            Ok(())
        });
        transaction.complete().await?;
        let swept = swept.take();
        swept.ok_or_else(|| error_of(&JsValue::UNDEFINED))
    }

    fn ask(&self, store: &IdbObjectStore) -> Result<(IdbRequest, IdbRequest), JsValue> {
        let (start, end) = (&self.start, &self.end);
        let range =
            IdbKeyRange::bound_with_lower_open_and_upper_open(start, end, self.is_after, true)?;
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        Ok((
            store.get_all_keys_with_key_and_limit(&range, count)?,
            store.get_all_with_key_and_limit(&range, count)?,
        ))
    }

    /// The next page begins after these, of so many bytes if that is known.
    fn advance(&mut self, (keys, objects): &Items, bytes: Option<usize>) {
        let length = keys.length();
        let Some(last) = length.checked_sub(1) else {
            self.is_over = true;
            return;
        };
        self.start = keys.get(last);
        self.is_after = true;
        let length = length as usize;
        self.is_over = length < self.count;
        // To know what they all take would be to read them all: one stands for them.
        let bytes = bytes
            .unwrap_or_else(|| length * text_of(&objects.get(last)).map_or(0, |text| text.len()));
        let fitting = PAGE_BYTES * length / bytes.max(1);
        self.count = fitting.clamp(1, MOST_COUNT).min(self.count * 4);
    }
}

fn items(keys: &IdbRequest, objects: &IdbRequest) -> Result<Items, JsValue> {
    Ok((
        keys.result()?.unchecked_into(),
        objects.result()?.unchecked_into(),
    ))
}

/// Removes those that are meant, and says how many.
fn remove(
    store: &IdbObjectStore,
    (keys, objects): &Items,
    is_meant: fn(&Entry) -> bool,
) -> Result<u64, JsValue> {
    let meant = keys.iter().zip(objects.iter()).filter(|(key, object)| {
        text_in(key).is_some() && entry_of(object, false).is_ok_and(|entry| is_meant(&entry))
    });
    let meant: Vec<JsValue> = meant.map(|(key, _)| key).collect();
    match &meant[..] {
        // All of them, and nothing else is between them.
        [first, .., last] if meant.len() == keys.length() as usize => {
            store.delete(IdbKeyRange::bound(first, last)?.as_ref())?;
        }
        some => {
            for key in some {
                store.delete(key)?;
            }
        }
    }
    Ok(meant.len() as u64)
}

/// The key, if it is one of ours: a string that UTF-8 has too.
fn text_in(key: &JsValue) -> Option<String> {
    let text = key.as_string()?;
    // What half of a surrogate pair becomes.
    let is_doubtful = text.contains(char::REPLACEMENT_CHARACTER);
    let is_ours = !is_doubtful || key.unchecked_ref::<JsString>().is_valid_utf16();
    is_ours.then_some(text)
}

/// What comes after all keys that begin with `prefix`.
fn end_of(prefix: &str) -> JsValue {
    let mut units: Vec<u16> = prefix.encode_utf16().collect();
    while let Some(last) = units.pop() {
        if let Some(next) = last.checked_add(1) {
            units.push(next);
            // A function takes only so many arguments.
            let parts = units.chunks(UNITS).map(JsString::from_char_code);
            return parts.collect::<Array>().join("").into();
        }
    }
    // After all strings come bytes (Indexed Database API, "compare two keys").
    ArrayBuffer::new(0).into()
}
