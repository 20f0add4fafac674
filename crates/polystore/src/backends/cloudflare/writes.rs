//! Writes that wait go in one request: one for what is put, and one for what is removed.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;

use super::api::{Api, Written};
use super::failure::{self, Cause, Failure};
use crate::entry::{Entry, Expiry};
use crate::error::{Error, Result};
use crate::gather::Trip;
use crate::json;

/// How many keys Cloudflare takes at a time.
pub(super) const MOST_CHANGES: usize = 10_000;

/// It takes 100 MB at a time; an entry has half of that at most, in JSON.
const MOST_BYTES: usize = 96_000_000;

/// The shortest time that Cloudflare keeps an entry for.
const LEAST_SECONDS: u64 = 60;

/// What expires later, fifty years from now, Cloudflare is not told of: Workers count in 32 bits.
const MOST_SECONDS: u64 = 50 * 365 * 86_400;

/// What is to become of a key.
pub(super) struct Change {
    key: String,
    /// As a bulk write has it; nothing if it is removed.
    pair: Option<String>,
}

impl Change {
    /// The value as it is; in the metadata the instant to the millisecond, by which it is read; and beside it the time
    /// after which Cloudflare removes it, by its own clock and not before that.
    pub(super) fn put(key: &str, entry: &Entry) -> Self {
        let mut pair = format!(
            r#"{{"key":{},"value":{}"#,
            json::string(key),
            json::string(entry.json())
        );
        if let Expiry::At(at) = entry.expiry() {
            pair.push_str(&format!(r#","metadata":{{"expires":{}}}"#, at.as_millis()));
            let seconds = seconds_to_keep(at.duration_from_now());
            if seconds <= MOST_SECONDS {
                pair.push_str(&format!(r#","expiration_ttl":{seconds}"#));
            }
        }
        pair.push('}');
        Self {
            key: key.to_owned(),
            pair: Some(pair),
        }
    }

    pub(super) fn del(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            pair: None,
        }
    }

    pub(super) fn weight(&self) -> usize {
        self.pair.as_ref().map_or(self.key.len(), String::len) + 1
    }
}

/// Cloudflare counts from the second that it is in, which has begun already.
fn seconds_to_keep(left: Duration) -> u64 {
    let seconds = left
        .as_secs()
        .saturating_add(u64::from(left.subsec_nanos() > 0));
    seconds.saturating_add(1).max(LEAST_SECONDS)
}

pub(super) struct Writes(pub(super) Arc<Api>);

/// What has failed, by its key.
type Failed<'a> = HashMap<&'a str, Error>;

impl Trip for Writes {
    type Op = Vec<Change>;
    type Reply = ();
    const UNDER_WAY: usize = 1;
    const BATCH: usize = MOST_CHANGES;
    /// So much goes over a slow line in the time that an operation has.
    const BYTES: usize = 16 << 20;

    async fn send(&self, ops: &[&Vec<Change>]) -> Vec<Result<()>> {
        // Of several writes of one key the last is enough.
        let changes = ops.iter().flat_map(|op| op.iter());
        let last: HashMap<&str, &Change> = changes
            .map(|change| (change.key.as_str(), change))
            .collect();
        let (puts, dels): (Vec<_>, Vec<_>) =
            last.into_values().partition(|change| change.pair.is_some());
        let (mut failed, unremoved) = join(self.write(puts), self.write(dels)).await;
        failed.extend(unremoved);
        let of_op = |op: &&Vec<Change>| {
            let failed = op
                .iter()
                .find_map(|change| failed.get_key_value(change.key.as_str()));
            match failed {
                None => Ok(()),
                Some((key, error)) => Err(error.clone().with_key(key)),
            }
        };
        ops.iter().map(of_op).collect()
    }

    fn is_transient(&self, error: &Error) -> bool {
        error.is_retryable()
    }

    fn may_repeat(_: &Vec<Change>) -> bool {
        true
    }

    /// One alone has shared its request with the later one, and its fate.
    fn is_overtaken(op: &Vec<Change>, later: &Vec<Change>) -> bool {
        op.len() > 1
            && op
                .iter()
                .any(|change| later.iter().any(|other| other.key == change.key))
    }

    fn weight(changes: &Vec<Change>) -> usize {
        changes.iter().map(Change::weight).sum()
    }

    fn gave_up(&self) {
        self.0.give_up();
    }
}

impl Writes {
    /// Puts all of them, or removes all of them. No key is in there twice.
    async fn write<'a>(&self, changes: Vec<&'a Change>) -> Failed<'a> {
        let mut failed = Failed::new();
        let mut parts = in_parts(changes, MOST_CHANGES, MOST_BYTES);
        while let Some(mut part) = parts.pop() {
            match self.request(&part).await {
                Ok(written) => {
                    let left = left_out(&part, &written);
                    let error = failure::left_out();
                    failed.extend(left.map(|key| (key, error.clone())));
                }
                // Where they are refused together, each half is tried alone.
                Err(failure) if failure.cause == Cause::OneOfMany && part.len() > 1 => {
                    let half = part.split_off(part.len() / 2);
                    parts.extend([part, half]);
                }
                Err(failure) if failure.cause == Cause::OneOfMany => {
                    failed.extend(
                        part.iter()
                            .map(|one| (one.key.as_str(), failure.error.clone())),
                    );
                }
                // It is no better for the others.
                Err(failure) => {
                    let left = parts.drain(..).flatten().chain(part);
                    failed.extend(left.map(|one| (one.key.as_str(), failure.error.clone())));
                }
            }
        }
        failed
    }

    async fn request(&self, changes: &[&Change]) -> Result<Written, Failure> {
        let mut body = Vec::with_capacity(changes.iter().map(|one| one.weight() + 2).sum());
        for change in changes {
            body.push(if body.is_empty() { b'[' } else { b',' });
            match &change.pair {
                Some(pair) => body.extend_from_slice(pair.as_bytes()),
                None => body.extend_from_slice(json::string(&change.key).as_bytes()),
            }
        }
        body.push(b']');
        match changes.first() {
            Some(Change { pair: Some(_), .. }) => self.0.put(body).await,
            Some(_) => self.0.remove(body).await,
            None => Ok(Written::default()),
        }
    }
}

/// The keys that were not written. Where it is not clear which these are, any of them may be one.
fn left_out<'a>(part: &[&'a Change], written: &Written) -> impl Iterator<Item = &'a str> {
    let unsuccessful = &written.unsuccessful_keys;
    let keys = part.iter().map(|change| change.key.as_str());
    let mut left: Vec<&str> = keys.filter(|key| unsuccessful.contains(*key)).collect();
    let done = part.len() - left.len();
    let is_clear = left.len() == unsuccessful.len()
        && written
            .successful_key_count
            .is_none_or(|count| count >= done);
    if !is_clear {
        left = part.iter().map(|change| change.key.as_str()).collect();
    }
    left.into_iter()
}

/// Parts of at most so many changes and bytes, if they are of more than one.
pub(super) fn in_parts<C: Borrow<Change>>(
    changes: Vec<C>,
    most: usize,
    most_bytes: usize,
) -> Vec<Vec<C>> {
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), 0);
    for change in changes {
        let weight = change.borrow().weight();
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
    fn pairs_hold_the_value_as_it_is_and_the_instant_beside_it() {
        let pair = |expiry| {
            let entry = Entry::from_stored(r#"{"a":"\"é"}"#, expiry);
            Change::put("k\"\n", &entry).pair.unwrap()
        };
        assert_eq!(
            pair(Expiry::Never),
            r#"{"key":"k\"\n","value":"{\"a\":\"\\\"é\"}"}"#
        );
        let past = crate::Timestamp::from_millis(5);
        assert_eq!(
            pair(Expiry::At(past)),
            r#"{"key":"k\"\n","value":"{\"a\":\"\\\"é\"}","metadata":{"expires":5},"expiration_ttl":60}"#
        );
        let far = pair(Expiry::At(crate::Timestamp::MAX));
        assert!(
            far.ends_with(r#""metadata":{"expires":8640000000000000}}"#),
            "{far}"
        );
    }

    #[test]
    fn parts_are_of_so_many_and_so_large_but_never_empty() {
        let sizes = |weights: &[usize]| {
            let changes = weights
                .iter()
                .map(|weight| Change::del(&"k".repeat(weight - 1)));
            let parts = in_parts(changes.collect(), 3, 10).into_iter();
            parts.map(|part| part.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[1, 1, 1, 1]), [3, 1]);
        assert_eq!(sizes(&[5, 5, 1]), [2, 1]);
        assert_eq!(sizes(&[20, 20]), [1, 1]);
    }
}
