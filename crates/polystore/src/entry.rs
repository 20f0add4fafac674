//! What a store keeps under a key: JSON text and an instant.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};
use crate::{decimal, json};

/// An instant in whole milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last instant that every store can keep, in the year 275760: the last one of
    /// JavaScript's `Date` (ECMA-262, "Time Values and Time Range").
    pub const MAX: Self = Self(8_640_000_000_000_000);

    /// The millisecond that the clock of this machine is in.
    #[must_use]
    pub fn now() -> Self {
        Self(i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX))
    }

    /// The instant `millis` milliseconds after 1970 began.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// A fraction of a millisecond rounds up, so that nothing expires early; what is
    /// past [`Timestamp::MAX`] is cut to it.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    pub fn from_fractional_millis(millis: f64) -> Self {
        Self((millis.ceil() as i64).min(Self::MAX.0))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The first whole millisecond at or after `duration` from now, unless it is past
    /// [`Timestamp::MAX`].
    pub(crate) fn after(duration: Duration) -> Option<Self> {
        let nanos = latest_since_1970().checked_add(duration)?.as_nanos();
        let at = Self(i64::try_from(nanos.div_ceil(1_000_000)).ok()?);
        (at <= Self::MAX).then_some(at)
    }

    /// The time from now until this instant, or zero if it has passed.
    ///
    /// In whole milliseconds, rounded down, so that it is never more than what was asked
    /// for when the instant was rounded up; the last fraction of one is exact.
    #[must_use]
    pub fn duration_from_now(self) -> Duration {
        let at = Duration::from_millis(u64::try_from(self.0).unwrap_or_default());
        let left = at.saturating_sub(latest_since_1970());
        match u64::try_from(left.as_millis()) {
            Ok(0) => left,
            Ok(millis) => Duration::from_millis(millis),
            Err(_) => Duration::MAX,
        }
    }
}

impl From<SystemTime> for Timestamp {
    /// The first whole millisecond at or after `time`; what is before 1970 or past
    /// [`Timestamp::MAX`] is cut to that.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since.as_nanos().div_ceil(1_000_000));
        Self(millis.unwrap_or(i64::MAX)).min(Self::MAX)
    }
}

/// The clock of this machine: the only place that asks it for the date.
fn since_1970() -> Duration {
    // Rust's own stands still in browsers and Workers.
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use web_time::{SystemTime, UNIX_EPOCH};
    // A clock set before 1970 makes everything live.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// As late as it can be by that clock. In browsers and Workers it shows whole milliseconds, of the present one
/// the beginning (ECMA-262, "Time Values and Time Range"): what is to last has to count from its end.
fn latest_since_1970() -> Duration {
    match cfg!(all(target_family = "wasm", target_os = "unknown")) {
        true => since_1970().saturating_add(Duration::from_millis(1)),
        false => since_1970(),
    }
}

/// When an entry expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expiry {
    /// It does not.
    Never,
    /// At this instant it is gone.
    At(Timestamp),
    /// The store says that the entry is live; the instant was not asked for.
    Unread,
}

impl Expiry {
    /// Whether the instant has come.
    #[must_use]
    pub fn is_over(self) -> bool {
        // Most entries do not expire, and asking for the time takes as long as reading one.
        matches!(self, Self::At(_)) && self.is_over_at(Timestamp::now())
    }

    /// Whether the instant has come at `now`.
    #[must_use]
    pub fn is_over_at(self, now: Timestamp) -> bool {
        matches!(self, Self::At(at) if at <= now)
    }

    /// Milliseconds since 1970, or `None` for never.
    #[must_use]
    pub fn as_millis(self) -> Option<i64> {
        match self {
            Self::At(at) => Some(at.as_millis()),
            Self::Never | Self::Unread => None,
        }
    }
}

/// What a store keeps under a key: the JSON text of a value, and when it expires.
///
/// It is how values go from one store to another without being decoded: see
/// [`Store::entry`](crate::Store::entry), [`put`](crate::Store::put) and
/// [`scan`](crate::Store::scan).
///
/// ```
/// use polystore_kv::{Entry, Expiry};
///
/// let entry = Entry::new(&[1, 2, 3], Expiry::Never)?;
/// assert_eq!(entry.to_envelope(), r#"{"expires":null,"value":[1,2,3]}"#);
/// assert_eq!(Entry::from_envelope(entry.to_envelope())?, entry);
/// # Ok::<(), polystore_kv::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    json: Arc<str>,
    expiry: Expiry,
}

impl Entry {
    /// An entry of `value`.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] if `value` has no JSON form: NaN and infinities, maps with
    /// keys that are no text, nesting of more than 127 levels.
    pub fn new<T: Serialize + ?Sized>(value: &T, expiry: Expiry) -> Result<Self> {
        let json = json::encode(value)?;
        Ok(Self { json, expiry })
    }

    /// An entry of the JSON text `json`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is not one JSON value.
    pub fn from_json(json: impl Into<Arc<str>>, expiry: Expiry) -> Result<Self> {
        let json = json.into();
        let value = json::value_in(json.as_bytes())?;
        let json = if value.len() == json.len() {
            json
        } else {
            Arc::from(value)
        };
        Ok(Self { json, expiry })
    }

    /// An entry as a backend found it. The text is looked at when it is decoded, once.
    #[must_use]
    pub fn from_stored(json: impl Into<Arc<str>>, expiry: Expiry) -> Self {
        let json = json.into();
        Self { json, expiry }
    }

    /// As [`from_stored`](Self::from_stored), of bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if they are not UTF-8.
    pub fn from_stored_bytes(json: &[u8], expiry: Expiry) -> Result<Self> {
        json::text_in(json).map(|json| Self::from_stored(json, expiry))
    }

    /// An entry whose value was not asked for ([`Scan::values`](crate::Scan::values)).
    #[must_use]
    pub fn without_value(expiry: Expiry) -> Self {
        Self::from_stored("null", expiry)
    }

    /// An entry from the wrapper `{"expires": milliseconds or null, "value": …}` of the
    /// npm package. The value is not decoded.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is anything else.
    pub fn from_envelope(text: impl AsRef<[u8]>) -> Result<Self> {
        let text = json::text_in(text.as_ref())?;
        let Some((expires, value)) = envelope_in(text) else {
            let not_json = json::value_in(text.as_bytes()).err();
            return Err(not_json.unwrap_or_else(not_an_envelope));
        };
        let expiry = match expires.get() {
            "null" => Expiry::Never,
            number => match decimal::parse(number) {
                Some(millis) => Expiry::At(Timestamp::from_fractional_millis(millis)),
                None => return Err(not_an_envelope()),
            },
        };
        Ok(Self::from_stored(value.get(), expiry))
    }

    /// The wrapper `{"expires": milliseconds or null, "value": …}`. An expiry that was
    /// not read is written as never.
    #[must_use]
    pub fn to_envelope(&self) -> String {
        let mut text = String::with_capacity(self.json.len() + 40);
        self.write_envelope(&mut text);
        text
    }

    /// Appends the wrapper to `text`.
    pub(crate) fn write_envelope(&self, text: &mut String) {
        text.push_str("{\"expires\":");
        match self.expiry.as_millis() {
            Some(millis) => text.push_str(&millis.to_string()),
            None => text.push_str("null"),
        }
        text.push_str(",\"value\":");
        text.push_str(&self.json);
        text.push('}');
    }

    /// The JSON text.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The JSON text, taken out.
    #[must_use]
    pub fn into_json(self) -> Arc<str> {
        self.json
    }

    /// The value.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] if it is no `T`; [`ErrorKind::Corrupt`] if it is not JSON.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        json::decode(&self.json)
    }

    /// When it expires.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        self.expiry
    }

    /// The same value with another expiry.
    #[must_use]
    pub fn with_expiry(self, expiry: Expiry) -> Self {
        Self { expiry, ..self }
    }

    /// Whether it has expired by the clock of this machine.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.expiry.is_over()
    }

    /// Whether the value is `null`, which no store keeps: writing it deletes.
    #[must_use]
    pub fn is_null(&self) -> bool {
        &*self.json == "null"
    }

    /// Fails unless the text is JSON.
    pub(crate) fn check(&self) -> Result<()> {
        json::value_in(self.json.as_bytes()).map(drop)
    }
}

impl fmt::Debug for Entry {
    /// Without the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("json_bytes", &self.json.len())
            .field("expiry", &self.expiry)
            .finish()
    }
}

/// What JSON takes for white space.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What the envelope `text` has as `expires` and as `value`; `None` if it is none.
///
/// Not by `Deserialize`: for what it says of a number in place of the object, it brings all that reads and writes
/// floating-point numbers into a module of WebAssembly.
fn envelope_in(text: &str) -> Option<(&RawValue, &RawValue)> {
    let (mut expires, mut value) = (None, None);
    let mut rest = after(text, '{')?;
    loop {
        let key;
        (key, rest) = json::value_before(rest)?;
        let found;
        (found, rest) = json::value_before(after(rest, ':')?)?;
        match key.get() {
            "\"expires\"" => expires = Some(found),
            "\"value\"" => value = Some(found),
            other if other.starts_with('"') => {}
            _ => return None,
        }
        match after(rest, ',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    let is_all = after(rest, '}')?.trim_start_matches(SPACE).is_empty();
    Some((expires?, value?)).filter(|_| is_all)
}

/// What comes after `sign`, which is the next one but white space.
fn after(text: &str, sign: char) -> Option<&str> {
    text.trim_start_matches(SPACE).strip_prefix(sign)
}

fn not_an_envelope() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "what is stored is not {\"expires\":…,\"value\":…}: something else wrote it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_of_both_packages_read_alike() {
        for (text, expiry, value) in [
            (r#"{"expires":null,"value":"b"}"#, Expiry::Never, r#""b""#),
            (
                "{\n  \"expires\": 1700000000000.25,\n  \"value\": {\n    \"a\": 1\n  }\n}",
                Expiry::At(Timestamp::from_millis(1_700_000_000_001)),
                "{\n    \"a\": 1\n  }",
            ),
            (
                r#"{"value":0,"expires":-1e3,"more":[]}"#,
                Expiry::At(Timestamp::from_millis(-1000)),
                "0",
            ),
            (
                r#"{"value":0,"expires":1e300}"#,
                Expiry::At(Timestamp::MAX),
                "0",
            ),
        ] {
            let entry = Entry::from_envelope(text).unwrap();
            assert_eq!(entry.expiry(), expiry);
            assert_eq!(entry.json(), value);
            assert_eq!(Entry::from_envelope(entry.to_envelope()).unwrap(), entry);
        }
    }

    #[test]
    fn what_is_no_envelope_is_corrupt() {
        for text in [
            "",
            "[]",
            "5",
            "null",
            "{}",
            "{",
            r#"{"value":1}"#,
            r#"{"expires":null}"#,
            r#"{"expires":"soon","value":1}"#,
            r#"{"expires":true,"value":1}"#,
            r#"{"expires":null,"value":1}}"#,
            r#"{"expires":null,"value":}"#,
            "[null,5]",
        ] {
            let error = Entry::from_envelope(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let entry = Entry::new("hunter2", Expiry::Never).unwrap();
        assert_eq!(
            format!("{entry:?}"),
            "Entry { json_bytes: 9, expiry: Never }"
        );
    }

    #[test]
    fn an_entry_expires_with_its_millisecond_and_not_before() {
        let at = Timestamp::from_millis(1000);
        assert!(!Expiry::At(at).is_over_at(Timestamp::from_millis(999)));
        assert!(Expiry::At(at).is_over_at(at));
        for millis in [1, 250, 3_600_000] {
            let duration = Duration::from_millis(millis);
            let left = Timestamp::after(duration).unwrap().duration_from_now();
            assert!(left <= duration, "{left:?}");
        }
        assert_eq!(Timestamp::after(Duration::MAX), None);
    }
}
