//! What Cloudflare KV keeps and how it is read, whether by its REST API or by the binding of a Worker: both see the
//! same bytes.
//!
//! A value is its JSON. Beside it stand `{"expires": milliseconds}` as metadata, by which it is read, and Cloudflare's
//! own expiry, which removes it some time later.

mod listing;
mod reads;

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Deserialize;

pub(crate) use self::listing::{Keys, scan};
pub(crate) use self::reads::Reads;
use crate::backend::Info;
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::gather::Lane;

pub(crate) const MOST_KEY_BYTES: usize = 512;
pub(crate) const MOST_VALUE_BYTES: usize = 25 << 20;
const REFUSED_KEYS: [&str; 3] = ["", ".", ".."];

/// How many keys a bulk read takes.
const MOST_KEYS: usize = 100;

/// How many reads for the keys of one `get_many` wait at a time.
const GROUP: usize = 8;

/// The shortest time that Cloudflare keeps an entry for.
const LEAST_SECONDS: u64 = 60;

/// What expires later, fifty years from now, Cloudflare is not told of: Workers count in 32 bits.
const MOST_SECONDS: u64 = 50 * 365 * 86_400;

/// A namespace, as far as it is read.
pub(crate) trait Api: Send + Sync + 'static {
    /// How many bulk reads are under way.
    const UNDER_WAY: usize;

    /// How long an operation may take.
    fn timeout(&self) -> Duration;

    /// What is there under up to [`MOST_KEYS`] keys, none of them twice. Its expiry may be [`Expiry::Unread`].
    fn read(
        &self,
        keys: &[&str],
    ) -> impl Future<Output = Result<HashMap<String, Entry>, Failure>> + Send;

    /// What is under a key that a bulk read does not give: it is too large for that, or no text.
    fn read_alone(&self, key: &str) -> impl Future<Output = Result<Option<Entry>, Failure>> + Send;

    /// Some of the keys that begin with `prefix`, at most `limit`, in the order of their bytes.
    fn list(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Listed, Failure>> + Send;

    /// The connections may be dead.
    fn give_up(&self) {}
}

/// A page of keys.
pub(crate) struct Listed {
    /// There may be none of them, and more on the next page.
    pub(crate) keys: Vec<(String, Expiry)>,
    /// Where the next page is, if there is one.
    pub(crate) cursor: Option<String>,
}

/// Why a request failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) cause: Cause,
}

/// What can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// There is nothing by this name.
    #[allow(
        dead_code,
        reason = "a Worker's binding does not take it for a failure"
    )]
    NoKey,
    /// One of several keys may be all that is wrong, or they are too much together: ask for fewer.
    OneOfMany,
    /// The reply is longer than is read.
    #[allow(dead_code, reason = "a Worker's binding has no limit of ours")]
    TooLong,
    /// Nothing.
    Other,
}

/// Of a request without a whole reply, or that could not be made.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            cause: Cause::Other,
        }
    }
}

impl Failure {
    #[allow(dead_code, reason = "a Worker's binding says all at once")]
    pub(crate) fn map(self, change: impl FnOnce(Error) -> Error) -> Self {
        Self {
            error: change(self.error),
            ..self
        }
    }

    /// What becomes of a reply about several keys, which are less each by itself.
    #[allow(dead_code, reason = "a Worker's binding has no limit of ours")]
    pub(crate) fn of_many(self) -> Self {
        match self.cause {
            Cause::TooLong => Self {
                cause: Cause::OneOfMany,
                ..self
            },
            Cause::NoKey | Cause::OneOfMany | Cause::Other => self,
        }
    }

    /// The error of what has only read.
    pub(crate) fn of_read(self) -> Error {
        self.error.not_applied()
    }
}

/// What such a store can do.
pub(crate) fn info(kind: &'static str) -> Info {
    Info::new(kind).with(|can| {
        can.ordered = true;
        can.persistent = true;
        can.max_key_bytes = Some(MOST_KEY_BYTES);
        can.max_value_bytes = Some(MOST_VALUE_BYTES);
        can.refused_keys = REFUSED_KEYS.map(Into::into).into();
    })
}

pub(crate) fn check_key(key: &str) -> Result<()> {
    if key.len() > MOST_KEY_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidKey,
            format!("a key in Cloudflare KV has at most {MOST_KEY_BYTES} bytes"),
        ));
    }
    if REFUSED_KEYS.contains(&key) {
        return Err(Error::new(
            ErrorKind::InvalidKey,
            "Cloudflare KV has no empty key, and none that is . or ..",
        ));
    }
    Ok(())
}

pub(crate) fn check(key: &str, entry: &Entry) -> Result<()> {
    check_key(key)?;
    if entry.json().len() > MOST_VALUE_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidValue,
            format!("a value in Cloudflare KV has at most {MOST_VALUE_BYTES} bytes of JSON"),
        ));
    }
    Ok(())
}

/// What stands beside the value of an entry that expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// `expires` in the metadata: the instant to the millisecond, by which it is read.
    pub(crate) expires: i64,
    /// After so many seconds Cloudflare removes it, by its own clock and not before that.
    pub(crate) ttl: Option<u64>,
}

impl Kept {
    /// Nothing for what never expires.
    pub(crate) fn of(expiry: Expiry) -> Option<Self> {
        let Expiry::At(at) = expiry else {
            return None;
        };
        let seconds = seconds_to_keep(at.duration_from_now());
        Some(Self {
            expires: at.as_millis(),
            ttl: (seconds <= MOST_SECONDS).then_some(seconds),
        })
    }
}

/// Cloudflare counts from the second that it is in, which has begun already.
fn seconds_to_keep(left: Duration) -> u64 {
    let seconds = left
        .as_secs()
        .saturating_add(u64::from(left.subsec_nanos() > 0));
    seconds.saturating_add(1).max(LEAST_SECONDS)
}

/// The metadata as it is kept.
#[derive(Deserialize)]
struct Metadata {
    expires: f64,
}

/// When an entry expires by our metadata, a JSON text, if it is ours.
pub(crate) fn own_expiry(metadata: Option<&str>) -> Option<Expiry> {
    // To serde an array would be one, too.
    let object = metadata.filter(|text| text.starts_with('{'))?;
    let Metadata { expires } = serde_json::from_str(object).ok()?;
    Some(Expiry::At(Timestamp::from_fractional_millis(expires)))
}

/// When an entry expires, by our metadata, or by Cloudflare's own expiry in seconds if others wrote it.
pub(crate) fn expiry_of(metadata: Option<&str>, expiration: Option<f64>) -> Expiry {
    let theirs = || {
        let millis = expiration? * 1000.0;
        Some(Expiry::At(Timestamp::from_fractional_millis(millis)))
    };
    own_expiry(metadata)
        .or_else(theirs)
        .unwrap_or(Expiry::Never)
}

/// What is under each key.
pub(crate) async fn get_many<A: Api>(
    reads: &Lane<Reads<A>>,
    keys: &[String],
) -> Result<Vec<Option<Entry>>> {
    for key in keys {
        check_key(key).map_err(|error| error.with_key(key))?;
    }
    let mut entries = Vec::with_capacity(keys.len());
    for group in keys.chunks(GROUP * MOST_KEYS) {
        let parts = group.chunks(MOST_KEYS).map(|keys| reads.ask(keys.to_vec()));
        entries.extend(try_join_all(parts).await?.into_iter().flatten());
    }
    Ok(entries)
}

/// Parts of at most so many changes and bytes, if they are of more than one.
pub(crate) fn in_parts<C>(
    changes: Vec<C>,
    most: usize,
    most_bytes: usize,
    weight: impl Fn(&C) -> usize,
) -> Vec<Vec<C>> {
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), 0);
    for change in changes {
        let weight = weight(&change);
        if !part.is_empty() && (part.len() == most || bytes + weight > most_bytes) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += weight;
        part.push(change);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloudflare_keeps_an_entry_for_longer_than_it_lives_and_for_a_minute_at_least() {
        for (millis, seconds) in [
            (0, 60),
            (58_001, 60),
            (59_000, 60),
            (59_001, 61),
            (60_000, 61),
            (3_600_000, 3601),
            (3_600_001, 3602),
        ] {
            let left = Duration::from_millis(millis);
            assert_eq!(seconds_to_keep(left), seconds, "{millis}");
        }
        assert_eq!(seconds_to_keep(Duration::MAX), u64::MAX);
    }

    #[test]
    fn our_metadata_counts_before_cloudflares_seconds_and_that_of_others_does_not() {
        let expiry =
            |metadata: Option<&str>, expiration| expiry_of(metadata, expiration).as_millis();
        assert_eq!(expiry(None, None), None);
        assert_eq!(expiry(None, Some(7.0)), Some(7000));
        assert_eq!(expiry(Some(r#"{"expires":6500}"#), Some(7.0)), Some(6500));
        assert_eq!(expiry(Some(r#"{"expires":6500.5}"#), None), Some(6501));
        for other in [
            r#"{"a":1}"#,
            "[]",
            "[5]",
            "5",
            r#""x""#,
            r#"{"expires":"soon"}"#,
        ] {
            assert_eq!(expiry(Some(other), Some(7.0)), Some(7000), "{other}");
            assert_eq!(expiry(Some(other), None), None, "{other}");
        }
    }

    #[test]
    fn parts_are_of_so_many_and_so_large_but_never_empty() {
        let sizes = |weights: &[usize]| {
            let parts = in_parts(weights.to_vec(), 3, 10, |weight| *weight);
            parts.into_iter().map(|part| part.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[1, 1, 1, 1]), [3, 1]);
        assert_eq!(sizes(&[5, 5, 1]), [2, 1]);
        assert_eq!(sizes(&[20, 20]), [1, 1]);
    }
}
