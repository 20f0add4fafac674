//! What a file of the store holds, and its text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::backend::Scan;
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::json;
use crate::scan::PAGE;

/// What the file holds.
#[derive(Clone, Default)]
pub(super) struct Content {
    pub(super) items: BTreeMap<Arc<str>, Item>,
    /// JavaScript has strings that are not Unicode (lone surrogates). What is under such
    /// a key cannot be asked for here, and is kept as it is: the JSON of key and value.
    unnameable: Vec<(String, Arc<str>)>,
    pub(super) changed: bool,
}

#[derive(Clone)]
pub(super) enum Item {
    Entry(Entry),
    /// Something else wrote it. It is kept as it is.
    Foreign(Arc<str>),
}

impl Item {
    pub(super) fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Foreign(_) => None,
        }
    }
}

impl Content {
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let parsed: Parsed = serde_json::from_slice(text).map_err(|error| {
            if error.is_data() {
                return Error::new(
                    ErrorKind::Corrupt,
                    "the file is not a JSON object: it is no store's, and stays as it is",
                );
            }
            json::not_json(&error)
        })?;
        Ok(parsed.0)
    }

    fn add(&mut self, key: Vec<u8>, raw: &RawValue) {
        match String::from_utf8(key) {
            Ok(key) => {
                let item = match Entry::from_envelope(raw.get()) {
                    // The npm package writes one for NaN, and takes it for no value too.
                    Ok(entry) if entry.is_null() => return,
                    Ok(entry) => Item::Entry(entry),
                    Err(_) => Item::Foreign(Arc::from(raw.get())),
                };
                self.items.insert(Arc::from(key), item);
            }
            Err(not_unicode) => {
                let key = json::string_of_wtf8(not_unicode.as_bytes());
                self.unnameable.push((key, Arc::from(raw.get())));
            }
        }
    }

    /// One line an entry, for people and their version control.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.items.len() * 100);
        let mut before = "{\n";
        for (key, item) in &self.items {
            text.push_str(before);
            text.push_str(&json::string(key));
            text.push_str(": ");
            match item {
                Item::Entry(entry) => entry.write_envelope(&mut text),
                Item::Foreign(raw) => text.push_str(raw),
            }
            before = ",\n";
        }
        for (key, raw) in &self.unnameable {
            text.push_str(before);
            text.push_str(key);
            text.push_str(": ");
            text.push_str(raw);
            before = ",\n";
        }
        text.push_str(if before == ",\n" { "\n}\n" } else { "{}\n" });
        text
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Entry>> {
        match self.items.get(key) {
            None => Ok(None),
            Some(Item::Entry(entry)) => Ok(Some(entry.clone())),
            Some(Item::Foreign(_)) => Err(Error::new(
                ErrorKind::Corrupt,
                "what the file has there is not {\"expires\":…,\"value\":…}",
            )),
        }
    }

    pub(super) fn live(&self, key: &str) -> Option<&Entry> {
        let entry = self.items.get(key)?.entry()?;
        (!entry.is_expired()).then_some(entry)
    }

    pub(super) fn set(&mut self, key: &str, entry: Entry) {
        self.items.insert(Arc::from(key), Item::Entry(entry));
        self.changed = true;
    }

    pub(super) fn del(&mut self, key: &str) {
        self.changed |= self.items.remove(key).is_some();
    }

    /// Removes the entries that `gone` says so of, and gives how many. What is foreign
    /// stays.
    pub(super) fn remove_if(&mut self, mut gone: impl FnMut(&str, &Entry) -> bool) -> u64 {
        let before = self.items.len();
        self.items
            .retain(|key, item| !item.entry().is_some_and(|entry| gone(key, entry)));
        let removed = before - self.items.len();
        self.changed |= removed > 0;
        removed as u64
    }

    pub(super) fn first_expiry(&self) -> Option<Timestamp> {
        let expiries = self.items.values().filter_map(|item| item.entry());
        let instants = expiries.filter_map(|entry| match entry.expiry() {
            Expiry::At(at) => Some(at),
            _ => None,
        });
        instants.min()
    }

    /// Up to a page of what `scan` asks for after `after`, and where the next begins.
    pub(super) fn page(
        &self,
        scan: &Scan,
        after: Option<&str>,
    ) -> (Vec<(String, Entry)>, Option<Arc<str>>) {
        let range = self.items.range::<str, _>(scan.range_after(after));
        let wanted = range.take_while(|(key, _)| key.starts_with(&scan.prefix));
        let page: Vec<_> = wanted.take(PAGE).collect();
        let next = page.last().filter(|_| page.len() == PAGE);
        let next = next.map(|(key, _)| Arc::clone(key));
        let entries = page
            .into_iter()
            .filter_map(|(key, item)| Some((String::from(&**key), item.entry()?.clone())));
        (entries.collect(), next)
    }
}

/// The content as it is read: keys as bytes, since they may not be Unicode.
struct Parsed(Content);

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key(Vec<u8>);
        impl<'de> Deserialize<'de> for Key {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_bytes(KeyVisitor)
            }
        }
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_bytes<E>(self, key: &[u8]) -> Result<Key, E> {
                Ok(Key(key.to_vec()))
            }
        }
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Parsed;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed, A::Error> {
                let mut content = Content::default();
                while let Some((Key(key), raw)) = map.next_entry::<Key, &RawValue>()? {
                    content.add(key, raw);
                }
                Ok(Parsed(content))
            }
        }
        deserializer.deserialize_map(Items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str) -> String {
        let content = Content::parse(text.as_bytes()).unwrap();
        content.to_text()
    }

    #[test]
    fn the_text_is_the_npm_packages_and_one_line_an_entry() {
        assert_eq!(rewritten("{}"), "{}\n");
        let theirs = "{\n  \"b\": {\n    \"expires\": null,\n    \"value\": 1\n  },\n  \
                      \"a\\n\": {\"value\":[],\"expires\":1.5}\n}";
        let ours = "{\n\"a\\n\": {\"expires\":2,\"value\":[]},\n\
                    \"b\": {\"expires\":null,\"value\":1}\n}\n";
        assert_eq!(rewritten(theirs), ours);
        assert_eq!(rewritten(ours), ours);
    }

    #[test]
    fn what_is_not_ours_in_the_file_stays_in_it() {
        let text = r#"{"a":5,"b":{"value":1},"\ud800x\"\udfff":{"expires":null,"value":"\ud800"}}"#;
        let kept = rewritten(text);
        assert_eq!(rewritten(&kept), kept);
        for part in [
            r#""a": 5"#,
            r#""b": {"value":1}"#,
            r#""\ud800x\"\udfff": {"expires""#,
        ] {
            assert!(kept.contains(part), "{kept}");
        }
        let content = Content::parse(text.as_bytes()).unwrap();
        assert_eq!(content.get("a").unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(content.page(&Scan::new(), None).0, []);
    }

    #[test]
    fn of_two_under_one_key_the_last_wins_as_in_javascript() {
        let text = r#"{"a":{"expires":null,"value":1},"a":{"expires":null,"value":2}}"#;
        let content = Content::parse(text.as_bytes()).unwrap();
        assert_eq!(content.get("a").unwrap().unwrap().json(), "2");
    }

    #[test]
    fn what_is_no_object_is_corrupt() {
        for text in [
            "",
            " ",
            "[]",
            "null",
            "5",
            "{",
            r#"{"a":"#,
            "{}x",
            "\u{feff}{}",
            "{'a':1}",
        ] {
            let error = Content::parse(text.as_bytes()).err().expect(text);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{text:?}");
        }
    }
}
