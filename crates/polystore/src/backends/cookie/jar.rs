//! `document.cookie`, and what its text means.

use std::collections::HashSet;
use std::sync::OnceLock;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use send_wrapper::SendWrapper;
use web_sys::HtmlDocument;
use web_sys::wasm_bindgen::JsCast;

use crate::browser::failed;
use crate::entry::{Entry, Expiry};
use crate::error::{Error, ErrorKind, Result};

/// All but what `encodeURIComponent` leaves as it is (ECMA-262, "encodeURIComponent").
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The cookies of the page.
#[derive(Clone, Default)]
pub(super) struct Jar(OnceLock<SendWrapper<HtmlDocument>>);

impl Jar {
    fn document(&self) -> Result<&HtmlDocument> {
        if let Some(document) = self.0.get() {
            return Ok(document);
        }
        let Some(document) = web_sys::window().and_then(|window| window.document()) else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "there are no cookies but in a page: workers have none",
            ));
        };
        // Whatever its form, a document has cookies.
        let document = SendWrapper::new(document.unchecked_into());
        Ok(self.0.get_or_init(|| document))
    }

    /// `name=value; name=value`.
    pub(super) fn read(&self) -> Result<String> {
        let read = self.document()?.cookie();
        read.map_err(|thrown| failed("read the cookies", &thrown))
    }

    pub(super) fn write(&self, cookie: &str) -> Result<()> {
        let written = self.document()?.set_cookie(cookie);
        written.map_err(|thrown| failed("write the cookie", &thrown))
    }
}

/// As `encodeURIComponent` does it.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// As `decodeURIComponent` does it: nothing where that fails.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut after_percents = text.split('%').skip(1);
    let is_encoded = after_percents.all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.ok().filter(|_| is_encoded)?;
    Some(decoded.into_owned())
}

/// The names and values, in the order of the browser. A cookie without a name has an empty one.
pub(super) fn pairs(cookies: &str) -> impl Iterator<Item = (&str, &str)> {
    let all = cookies.split(';').map(str::trim);
    all.filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or(("", pair)))
}

/// Whether a cookie of this name is of the key, which is `encoded` as we write it. Others may encode more or less.
pub(super) fn is_of(name: &str, key: &str, encoded: &str) -> bool {
    if name == encoded || !name.contains('%') {
        return !name.is_empty() && (name == encoded || name == key);
    }
    decode(name).as_deref() == Some(key)
}

/// The value of the first cookie of a key.
pub(super) fn find<'c>(cookies: &'c str, key: &str, encoded: &str) -> Option<&'c str> {
    let mut pairs = pairs(cookies);
    let found = pairs.find(|(name, _)| is_of(name, key, encoded));
    found.map(|(_, value)| value)
}

/// Every cookie that decodes as an entry, each key once. The others are somebody else's.
pub(super) fn entries(cookies: &str) -> Vec<(String, Entry)> {
    let mut seen = HashSet::new();
    let mut entries = Vec::new();
    let mut skipped = 0;
    for (name, value) in pairs(cookies) {
        let key = decode(name).filter(|key| !key.is_empty());
        let Some(key) = key.filter(|key| !seen.contains(key)) else {
            skipped += 1;
            continue;
        };
        seen.insert(key.clone());
        let entry = decode(value).map(|json| Entry::from_stored(json, Expiry::Unread));
        match entry.filter(|entry| entry.check().is_ok()) {
            Some(entry) => entries.push((key, entry)),
            None => skipped += 1,
        }
    }
    if skipped > 0 {
        // Most pages have such cookies.
        tracing::debug!(
            backend = "cookie",
            skipped,
            "a listing left out cookies of others"
        );
    }
    entries
}
