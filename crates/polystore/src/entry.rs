//! What a store keeps under a key: JSON text and an instant.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};
use crate::json;

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
        let now = SystemTime::now();
        let millis = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        Self(millis)
    }

    /// The instant `millis` milliseconds after 1970 began.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// A fraction of a millisecond rounds up, so that nothing expires early; what is
    /// past [`Timestamp::MAX`] is cut to it.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "`as` saturates, and MAX is below 2^53"
    )]
    pub fn from_fractional_millis(millis: f64) -> Self {
        Self((millis.ceil() as i64).min(Self::MAX.0))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The first whole millisecond at or after `time`, unless it is past [`Timestamp::MAX`].
    #[must_use]
    pub fn from_system_time(time: SystemTime) -> Option<Self> {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = since.as_nanos().div_ceil(1_000_000);
        let at = Self(i64::try_from(millis).ok()?);
        (at <= Self::MAX).then_some(at)
    }

    /// The time from now until this instant, or zero if it has passed.
    #[must_use]
    pub fn duration_from_now(self) -> Duration {
        let millis = self.0.saturating_sub(Self::now().0);
        Duration::from_millis(u64::try_from(millis).unwrap_or_default())
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
        self.is_over_at(Timestamp::now())
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
/// assert_eq!(entry.to_envelope(), br#"{"expires":null,"value":[1,2,3]}"#);
/// assert_eq!(Entry::from_envelope(entry.to_envelope())?, entry);
/// # Ok::<(), polystore_kv::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    json: Bytes,
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
    pub fn from_json(json: impl Into<Bytes>, expiry: Expiry) -> Result<Self> {
        let json = json.into();
        json::check(&json)?;
        Ok(Self { json, expiry })
    }

    /// An entry as a backend found it. The text is looked at when it is decoded, once.
    #[must_use]
    pub fn from_stored(json: impl Into<Bytes>, expiry: Expiry) -> Self {
        let json = json.into();
        Self { json, expiry }
    }

    /// An entry whose value was not asked for ([`Scan::values`](crate::Scan::values)).
    #[must_use]
    pub fn without_value(expiry: Expiry) -> Self {
        Self::from_stored(Bytes::from_static(b"null"), expiry)
    }

    /// An entry from the wrapper `{"expires": milliseconds or null, "value": …}` of the
    /// npm package, whose value it shares and does not copy.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is anything else.
    pub fn from_envelope(text: impl Into<Bytes>) -> Result<Self> {
        let text = text.into();
        let envelope: Envelope<'_> = serde_json::from_slice(&text).map_err(|error| {
            if error.is_data() {
                not_an_envelope()
            } else {
                json::not_json(&error)
            }
        })?;
        let expiry = match envelope.expires.get() {
            "null" => Expiry::Never,
            number => match number.parse() {
                Ok(millis) => Expiry::At(Timestamp::from_fractional_millis(millis)),
                Err(_) => return Err(not_an_envelope()),
            },
        };
        let json = text.slice_ref(envelope.value.get().as_bytes());
        Ok(Self { json, expiry })
    }

    /// The wrapper `{"expires": milliseconds or null, "value": …}`. An expiry that was
    /// not read is written as never.
    #[must_use]
    pub fn to_envelope(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.json.len() + 40);
        self.write_envelope(&mut text);
        text
    }

    /// Appends the wrapper to `text`.
    pub(crate) fn write_envelope(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(b"{\"expires\":");
        match self.expiry.as_millis() {
            Some(millis) => text.extend_from_slice(millis.to_string().as_bytes()),
            None => text.extend_from_slice(b"null"),
        }
        text.extend_from_slice(b",\"value\":");
        text.extend_from_slice(&self.json);
        text.push(b'}');
    }

    /// The JSON text.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The JSON text, taken out.
    #[must_use]
    pub fn into_json(self) -> Bytes {
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
        &self.json[..] == b"null"
    }

    /// Fails unless the text is JSON.
    pub(crate) fn check(&self) -> Result<()> {
        json::check(&self.json)
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

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    expires: &'a RawValue,
    #[serde(borrow)]
    value: &'a RawValue,
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
            assert_eq!(&entry.json()[..], value.as_bytes());
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
        let time = UNIX_EPOCH + Duration::from_nanos(999_000_001);
        assert_eq!(Timestamp::from_system_time(time), Some(at));
    }
}
