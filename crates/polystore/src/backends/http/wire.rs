//! What goes over the wire, as text: bodies, lines, what is left of a time. Nothing here sends.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::failure::{self, Problem};
use crate::backend::Info;
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::Result;
use crate::json;

/// The form of bodies with an entry in each line.
pub(super) const LINES: &str = "application/x-ndjson";
pub(super) const JSON: &str = "application/json";

/// How exact the expiry of a server is that does not say so.
const GRANULARITY: Duration = Duration::from_millis(1);
/// The same of one that speaks the npm package's protocol: behind it may be a Redis, to which that
/// package gives whole seconds.
const NPM_GRANULARITY: Duration = Duration::from_secs(1);

/// The last instant whose distance from now can be sent.
fn last_instant() -> Timestamp {
    Timestamp::from_millis(Timestamp::MAX.as_millis() - 900)
}

/// What is left until `expiry` in seconds, or `None` if it never comes.
pub(super) fn seconds_until(expiry: Expiry) -> Option<String> {
    let Expiry::At(at) = expiry else { return None };
    // The last instant that there is would be past on a clock that is a little ahead.
    let left = at.min(last_instant()).duration_from_now();
    let text = format!("{}.{:09}", left.as_secs(), left.subsec_nanos());
    let text = text.trim_end_matches('0').trim_end_matches('.');
    Some(text.to_owned())
}

/// The expiry of what stays for `seconds`.
fn expiry_in(seconds: f64) -> Option<Expiry> {
    // Not max, by which what is no number would be zero.
    let left = match seconds < 0.0 && seconds.is_finite() {
        true => Duration::ZERO,
        false => Duration::try_from_secs_f64(seconds).ok()?,
    };
    let at = Timestamp::after(left).unwrap_or(Timestamp::MAX);
    Some(Expiry::At(at))
}

/// The expiry that the header `polystore-ttl` tells.
pub(super) fn expiry_of_header(text: Option<&str>) -> Result<Expiry> {
    let expiry = match text.map(str::trim) {
        None => Some(Expiry::Unread),
        Some("never") => Some(Expiry::Never),
        Some(seconds) => seconds.parse().ok().and_then(expiry_in),
    };
    expiry.ok_or_else(|| failure::not_the_protocol("a polystore-ttl that is no time"))
}

/// `{"keys":[…]}`
pub(super) fn keys_body<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    let mut body = String::from("{\"keys\":[");
    for (at, key) in keys.enumerate() {
        if at > 0 {
            body.push(',');
        }
        body.push_str(&json::string(key));
    }
    body.push_str("]}");
    body
}

/// A line that puts `entry` under `key`, or removes what is there.
pub(super) fn write_line(body: &mut String, key: &str, entry: Option<&Entry>) {
    body.push_str("{\"key\":");
    body.push_str(&json::string(key));
    body.push_str(",\"value\":");
    body.push_str(entry.map_or("null", Entry::json));
    if let Some(seconds) = entry.and_then(|entry| seconds_until(entry.expiry())) {
        body.push_str(",\"expires\":");
        body.push_str(&seconds);
    }
    body.push_str("}\n");
}

/// `{"key":…,"value":…,"ttl":…}`
pub(super) fn seen_body(key: &str, seen: &Entry) -> String {
    let mut body = format!("{{\"key\":{},\"value\":{}", json::string(key), seen.json());
    if let Some(seconds) = seconds_until(seen.expiry()) {
        body.push_str(",\"ttl\":");
        body.push_str(&seconds);
    }
    body.push('}');
    body
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    /// Also a `null`, which somebody else may have stored, is one.
    #[serde(borrow, default, deserialize_with = "there")]
    value: Option<&'a RawValue>,
    #[serde(default)]
    ttl: Option<f64>,
    #[serde(default)]
    error: Option<Problem>,
}

fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// What lines are expected to hold.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) values: bool,
    pub(super) expiries: bool,
}

/// The key and the entry in a line, or the error that ends a listing.
pub(super) fn read_line(text: &[u8], wanted: Wanted) -> Result<(String, Entry)> {
    let broken = || failure::not_the_protocol("a line that is no entry");
    let line: Line<'_> = serde_json::from_slice(text).map_err(|_| broken())?;
    if let Some(problem) = line.error {
        return Err(problem.into_error(None).not_applied());
    }
    let key = line.key.ok_or_else(broken)?.into_owned();
    let expiry = match line.ttl {
        Some(seconds) => expiry_in(seconds).ok_or_else(broken)?,
        None if wanted.expiries => Expiry::Never,
        None => Expiry::Unread,
    };
    let entry = match line.value {
        Some(value) => Entry::from_stored(value.get(), expiry),
        None if wanted.values => return Err(broken()),
        None => Entry::without_value(expiry),
    };
    Ok((key, entry))
}

/// The entries in one object: what an npm server lists.
pub(super) fn read_object(text: &[u8]) -> Result<BTreeMap<String, Entry>> {
    let values: BTreeMap<String, &RawValue> = parsed(text)?;
    let entries = values.into_iter();
    Ok(entries
        .map(|(key, value)| (key, Entry::from_stored(value.get(), Expiry::Unread)))
        .collect())
}

/// The JSON text of a reply that is a value.
pub(super) fn value_in(text: &[u8]) -> Result<&str> {
    json::value_in(text).map_err(|_| failure::not_json())
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|_| failure::not_json())
}

#[derive(Deserialize)]
struct Counts {
    set: Option<u64>,
    del: Option<u64>,
    pruned: Option<u64>,
    evicted: Option<bool>,
}

fn counts(text: &[u8]) -> Result<Counts> {
    parsed(text)
}

fn told<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| failure::not_the_protocol("a reply without a count"))
}

/// Whether the server did all of them.
pub(super) fn check_count(text: &[u8], expected: usize) -> Result<()> {
    let counts = counts(text)?;
    let done = told(counts.set.or(counts.del))?;
    if done == expected as u64 {
        return Ok(());
    }
    Err(
        failure::not_the_protocol("a reply about fewer keys than it was asked for")
            .with_maybe_applied(),
    )
}

pub(super) fn pruned(text: &[u8]) -> Result<u64> {
    told(counts(text)?.pruned)
}

pub(super) fn was_evicted(text: &[u8]) -> Result<bool> {
    told(counts(text)?.evicted)
}

/// What the server says of the store behind it.
#[derive(Deserialize)]
#[serde(default)]
struct Said {
    insert: bool,
    replace: bool,
    touch: bool,
    prune: bool,
    native_expiry_ms: Option<u64>,
    ttl: bool,
    max_key_bytes: Option<usize>,
    refused_keys: Vec<String>,
    refused_chars: Vec<char>,
    max_value_bytes: Option<usize>,
    max_entries: Option<usize>,
    max_total_bytes: Option<usize>,
    ordered: bool,
    persistent: bool,
}

impl Default for Said {
    /// As [`Capabilities`](crate::Capabilities) by default.
    fn default() -> Self {
        Self {
            insert: false,
            replace: false,
            touch: false,
            prune: false,
            native_expiry_ms: None,
            ttl: true,
            max_key_bytes: None,
            refused_keys: Vec::new(),
            refused_chars: Vec::new(),
            max_value_bytes: None,
            max_entries: None,
            max_total_bytes: None,
            ordered: false,
            persistent: false,
        }
    }
}

/// What a store can do of which the server says this. Its clock judges, whatever it keeps.
pub(super) fn info_in(text: &[u8]) -> Result<Info> {
    let said: Said = parsed(text)?;
    Ok(info().with(|can| {
        can.insert = said.insert;
        can.replace = said.replace;
        can.touch = said.touch;
        can.prune = said.prune;
        if let Some(millis) = said.native_expiry_ms {
            can.native_expiry = Some(Duration::from_millis(millis).max(GRANULARITY));
        }
        can.ttl = said.ttl;
        can.max_key_bytes = said.max_key_bytes;
        can.refused_keys = said.refused_keys.into_iter().map(Cow::Owned).collect();
        can.refused_chars = said.refused_chars;
        can.max_value_bytes = said.max_value_bytes;
        can.max_entries = said.max_entries;
        can.max_total_bytes = said.max_total_bytes;
        can.ordered = said.ordered;
        can.persistent = said.persistent;
    }))
}

/// What is known before the server was asked.
pub(super) fn info() -> Info {
    Info::new("http").with(|can| can.native_expiry = Some(GRANULARITY))
}

/// What a server can do that speaks the npm package's protocol only.
pub(super) fn npm_info() -> Info {
    info().with(|can| {
        can.native_expiry = Some(NPM_GRANULARITY);
        can.ttl = false;
        can.refused_keys = super::base::PATHLESS.map(Cow::Borrowed).to_vec();
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const ALL: Wanted = Wanted {
        values: true,
        expiries: true,
    };

    fn at(millis_from_now: i64) -> Expiry {
        Expiry::At(Timestamp::from_millis(
            Timestamp::now().as_millis() + millis_from_now,
        ))
    }

    #[test]
    fn what_is_left_is_in_seconds_and_never_more_than_it_is() {
        assert_eq!(seconds_until(Expiry::Never), None);
        assert_eq!(seconds_until(at(-5)).as_deref(), Some("0"));
        let left: f64 = seconds_until(at(90_000)).unwrap().parse().unwrap();
        assert!((89.0..=90.0).contains(&left), "{left}");
        let far = seconds_until(Expiry::At(Timestamp::MAX)).unwrap();
        assert!(far.starts_with("86") && far.len() <= 17, "{far}");
    }

    #[test]
    fn headers_and_lines_tell_an_expiry() {
        assert_eq!(expiry_of_header(None).unwrap(), Expiry::Unread);
        assert_eq!(expiry_of_header(Some("never")).unwrap(), Expiry::Never);
        assert!(matches!(
            expiry_of_header(Some("1.5")).unwrap(),
            Expiry::At(_)
        ));
        assert!(expiry_of_header(Some("soon")).is_err());
        assert!(expiry_of_header(Some("1e999")).is_err());

        let line = br#"{"key":"a\u00e9","value":{"b": [1]},"ttl":60.25}"#;
        let (key, entry) = read_line(line, ALL).unwrap();
        assert_eq!((&key[..], entry.json()), ("aé", r#"{"b": [1]}"#));
        assert!(matches!(entry.expiry(), Expiry::At(_)));
        let (_, entry) = read_line(br#"{"key":"a","value":1}"#, ALL).unwrap();
        assert_eq!(entry.expiry(), Expiry::Never);
        let keys = Wanted {
            values: false,
            expiries: false,
        };
        let (_, entry) = read_line(br#"{"key":"a"}"#, keys).unwrap();
        assert_eq!(entry.expiry(), Expiry::Unread);
    }

    #[test]
    fn what_is_no_line_is_an_error() {
        for text in [
            "",
            "1",
            "{}",
            "{\"key\":1}",
            r#"{"key":"a"}"#,
            r#"{"key":"a","value":1"#,
        ] {
            let error = read_line(text.as_bytes(), ALL).unwrap_err();
            assert!(error.is_connection(), "{text}: {error:?}");
        }
        let line = br#"{"error":{"status":429,"kind":"throttled","detail":"x","retryable":true,"maybe_applied":true}}"#;
        let error = read_line(line, ALL).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Throttled);
        assert!(error.is_retryable() && !error.is_maybe_applied());
    }

    #[test]
    fn bodies_are_what_the_page_says() {
        assert_eq!(
            keys_body(["a", "\"\n"].into_iter()),
            r#"{"keys":["a","\"\n"]}"#
        );
        let mut body = String::new();
        write_line(
            &mut body,
            "a",
            Some(&Entry::from_stored("[1]", Expiry::Never)),
        );
        write_line(&mut body, "b", None);
        write_line(&mut body, "c", Some(&Entry::from_stored("1", at(-1))));
        assert_eq!(
            body,
            "{\"key\":\"a\",\"value\":[1]}\n{\"key\":\"b\",\"value\":null}\n{\"key\":\"c\",\"value\":1,\"expires\":0}\n"
        );
        assert_eq!(
            seen_body("k", &Entry::from_stored("1", Expiry::Never)),
            r#"{"key":"k","value":1}"#
        );
        check_count(br#"{"set":2}"#, 2).unwrap();
        assert!(
            check_count(br#"{"set":1}"#, 2)
                .unwrap_err()
                .is_maybe_applied()
        );
        assert!(check_count(b"{}", 0).is_err());
        assert!(was_evicted(br#"{"evicted":true}"#).unwrap());
        assert_eq!(pruned(br#"{"pruned":3}"#).unwrap(), 3);
    }

    #[test]
    fn the_servers_word_on_its_store_is_taken_and_its_clock_judges() {
        let info = info_in(br#"{"kind":"memory","insert":true,"max_key_bytes":10,"refused_chars":["\u0000"],"more":1}"#).unwrap();
        let can = info.capabilities;
        assert!(can.insert && !can.touch && can.ttl);
        assert_eq!(can.native_expiry, Some(GRANULARITY));
        assert!(!can.accepts_key("\0") && !can.accepts_key("12345678901"));
        assert!(info_in(b"<html>").is_err());
    }
}
