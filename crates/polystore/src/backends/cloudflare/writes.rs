//! Writes that wait go in one request: one for what is put, and one for what is removed.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join;

use super::api::{Api, Written};
use super::failure;
use crate::cloudflare_kv::{Api as _, Cause, Failure, Kept, in_parts};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::gather::Trip;
use crate::json;

/// How many keys Cloudflare takes at a time.
pub(super) const MOST_CHANGES: usize = 10_000;

/// It takes 100 MB at a time; an entry has half of that at most, in JSON.
const MOST_BYTES: usize = 96_000_000;

/// What is to become of a key.
pub(super) struct Change {
    key: String,
    /// As a bulk write has it; nothing if it is removed.
    pair: Option<String>,
}

impl Change {
    pub(super) fn put(key: &str, entry: &Entry) -> Self {
        let mut pair = format!(
            r#"{{"key":{},"value":{}"#,
            json::string(key),
            json::string(entry.json())
        );
        if let Some(kept) = Kept::of(entry.expiry()) {
            pair.push_str(&format!(r#","metadata":{{"expires":{}}}"#, kept.expires));
            if let Some(seconds) = kept.ttl {
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
        let mut parts = in_parts(changes, MOST_CHANGES, MOST_BYTES, |change| change.weight());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Expiry;

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
}
