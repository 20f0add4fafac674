//! Writes that wait, in their order: of several to one key the last, and some keys side by side.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::namespace::Namespace;
use crate::cloudflare_kv;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::gather::Trip;

/// How many writes are under way: a Worker waits for six answers at a time, and the others would wait there.
/// <https://developers.cloudflare.com/workers/platform/limits/#simultaneous-open-connections>
const SIDE_BY_SIDE: usize = 6;

/// How many of many keys share the time of an operation.
pub(super) const PART: usize = 30;

/// What is to become of a key.
pub(super) struct Change {
    key: String,
    /// Nothing if it is removed.
    entry: Option<Entry>,
}

impl Change {
    pub(super) fn put(key: String, entry: Entry) -> Result<Self> {
        cloudflare_kv::check(&key, &entry).map_err(|error| error.with_key(&key))?;
        Ok(Self {
            key,
            entry: Some(entry),
        })
    }

    pub(super) fn del(key: &str) -> Result<Self> {
        cloudflare_kv::check_key(key).map_err(|error| error.with_key(key))?;
        Ok(Self {
            key: key.to_owned(),
            entry: None,
        })
    }

    pub(super) fn weight(&self) -> usize {
        self.key.len() + self.entry.as_ref().map_or(0, |entry| entry.json().len())
    }
}

pub(super) struct Writes(pub(super) Arc<Namespace>);

impl Trip for Writes {
    type Op = Vec<Change>;
    type Reply = ();
    const UNDER_WAY: usize = 1;
    const BATCH: usize = PART;
    /// A Worker has 128 MB, and each value is there twice while it is written.
    const BYTES: usize = 16 << 20;

    async fn send(&self, ops: &[&Vec<Change>]) -> Vec<Result<()>> {
        // Of several writes of one key the last is enough.
        let changes = ops.iter().flat_map(|op| op.iter());
        let last: HashMap<&str, &Change> = changes
            .map(|change| (change.key.as_str(), change))
            .collect();
        // Not a closure: what borrows could not be sent.
        let mut writes = Vec::with_capacity(last.len());
        for change in last.into_values() {
            writes.push(self.write(change));
        }
        let mut written = stream::iter(writes).buffer_unordered(SIDE_BY_SIDE);
        let mut failed: HashMap<&str, Error> = HashMap::new();
        while let Some((key, result)) = written.next().await {
            if let Err(error) = result {
                failed.insert(key, error);
            }
        }
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

    fn is_write(_: &Vec<Change>) -> bool {
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

    fn gave_up(&self) {}
}

impl Writes {
    async fn write<'a>(&self, change: &'a Change) -> (&'a str, Result<()>) {
        let done = match &change.entry {
            Some(entry) => self.0.put(&change.key, entry).await,
            None => self.0.delete(&change.key).await,
        };
        (&change.key, done.map_err(|failure| failure.error))
    }
}
