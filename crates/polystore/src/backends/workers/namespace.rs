//! What is asked of the binding, one function each.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use send_wrapper::SendWrapper;
use serde_json::{Value, json};
use worker::kv::KvStore;

use super::failure::{changed_meanwhile, not_understood, thrown};
use crate::cloudflare_kv::{Api, Cause, Failure, Kept, Listed, expiry_of, own_expiry};
use crate::entry::{Entry, Expiry};
use crate::error::Result;
use crate::runtime::TIMEOUT;

/// So many keys are read one by one, side by side, which gives their bytes, and what is not there for nothing.
const FEW: usize = 3;

/// What stands for bytes that are no text.
const REPLACEMENT: char = '\u{fffd}';

/// A namespace as a Worker has it.
pub(super) struct Namespace(KvStore);

impl Namespace {
    pub(super) fn new(binding: KvStore) -> Self {
        Self(binding)
    }

    pub(super) async fn put(&self, key: &str, entry: &Entry) -> Result<(), Failure> {
        let put = async {
            let mut put = self.0.put_bytes(key, entry.json().as_bytes())?;
            if let Some(kept) = Kept::of(entry.expiry()) {
                put = put.metadata(json!({ "expires": kept.expires }))?;
                if let Some(seconds) = kept.ttl {
                    put = put.expiration_ttl(seconds);
                }
            }
            put.execute().await
        };
        SendWrapper::new(put).await.map_err(|error| thrown(&error))
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), Failure> {
        let delete = SendWrapper::new(self.0.delete(key));
        delete.await.map_err(|error| thrown(&error))
    }

    /// What is under a key, with its expiry, which only a listing has of what others wrote.
    pub(super) async fn whole(&self, key: &str) -> Result<Option<Entry>> {
        let listed = self.expiry(key).await.map_err(Failure::of_read)?;
        let entry = self.read_alone(key).await.map_err(Failure::of_read)?;
        match (entry, listed) {
            (None, _) => Ok(None),
            (Some(entry), _) if entry.expiry() != Expiry::Unread => Ok(Some(entry)),
            // A value and the expiry of another would be an entry that nobody has written.
            (Some(entry), listed)
                if listed == self.expiry(key).await.map_err(Failure::of_read)? =>
            {
                // What no listing shows yet has no expiry that could be read.
                Ok(Some(entry.with_expiry(listed.unwrap_or(Expiry::Never))))
            }
            _ => Err(changed_meanwhile()),
        }
    }

    /// The expiry that a listing has of a key.
    async fn expiry(&self, key: &str) -> Result<Option<Expiry>, Failure> {
        let mut cursor: Option<String> = None;
        loop {
            // In order, the first key that begins with a key is that key.
            let page = self.list(key, cursor.as_deref(), 10).await?;
            for (name, expiry) in page.keys {
                if name == key {
                    return Ok(Some(expiry));
                }
            }
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(None);
            }
        }
    }

    /// What is under keys that are all there. It fails if one of them is not.
    async fn read_there(&self, keys: &[&str]) -> Result<Answered, Failure> {
        let read = SendWrapper::new(self.0.get_bulk(keys).text_with_metadata::<Value>());
        let found = read.await.map_err(|error| thrown(&error))?;
        let left = not_in(&found, keys);
        let entries = found
            .into_iter()
            .filter_map(|(key, (value, metadata))| Some((key, entry(value?, metadata.as_ref()))));
        Ok(Answered {
            found: entries.collect(),
            left,
        })
    }

    /// What is under many keys.
    async fn read_many(&self, keys: &[&str]) -> Result<Answered, Failure> {
        let failure = match self.read_there(keys).await {
            Ok(found) => return Ok(found),
            Err(failure) => failure,
        };
        // Of what is missing, a bulk read with metadata has no object that metadata could be in, and fails.
        if failure.cause != Cause::OneOfMany {
            return Err(failure);
        }
        let values = SendWrapper::new(self.0.get_bulk(keys).text());
        let values = values.await.map_err(|error| thrown(&error))?;
        // On one machine what is empty has no object either. It is no JSON anyway.
        let (empty, there): (Vec<_>, Vec<_>) = keys
            .iter()
            .filter_map(|key| Some((*key, values.get(*key)?.as_deref()?)))
            .partition(|(_, value)| value.is_empty());
        let there: Vec<&str> = there.into_iter().map(|(key, _)| key).collect();
        let mut answered = match &there[..] {
            [] => Answered::default(),
            there => self.read_there(there).await?,
        };
        for (key, _) in empty {
            let empty = entry(String::new(), None);
            answered.found.insert(key.to_owned(), empty);
        }
        answered.left.extend(not_in(&values, keys));
        Ok(answered)
    }
}

/// What came of a bulk read.
#[derive(Default)]
struct Answered {
    found: HashMap<String, Entry>,
    /// Keys of which it said nothing.
    left: Vec<String>,
}

/// Of names that are something else to JavaScript, such as `0` and `__proto__`, a bulk read says nothing.
fn not_in<V>(answered: &HashMap<String, V>, keys: &[&str]) -> Vec<String> {
    let left = keys.iter().filter(|key| !answered.contains_key(**key));
    left.map(|key| (*key).to_owned()).collect()
}

/// What a binding has of a value beside it is metadata alone.
fn entry(value: String, metadata: Option<&Value>) -> Entry {
    Entry::from_stored(
        value,
        own_expiry(text(metadata).as_deref()).unwrap_or(Expiry::Unread),
    )
}

fn text(metadata: Option<&Value>) -> Option<String> {
    metadata.map(Value::to_string)
}

impl Api for Namespace {
    const UNDER_WAY: usize = 4;

    fn timeout(&self) -> Duration {
        TIMEOUT
    }

    async fn read(&self, keys: &[&str]) -> Result<HashMap<String, Entry>, Failure> {
        if keys.len() <= FEW {
            let mut reads = Vec::with_capacity(keys.len());
            for key in keys {
                reads.push(self.read_alone(key));
            }
            let read = try_join_all(reads).await?;
            let found = keys.iter().zip(read);
            let found = found.filter_map(|(key, entry)| Some(((*key).to_owned(), entry?)));
            return Ok(found.collect());
        }
        let Answered { mut found, left } = self.read_many(keys).await?;
        // Bytes that are no text come as text nevertheless.
        let is_doubtful = |entry: &Entry| entry.json().contains(REPLACEMENT);
        let doubtful = found.iter().filter(|(_, entry)| is_doubtful(entry));
        let doubtful: Vec<String> = doubtful.map(|(key, _)| key.clone()).collect();
        for key in left.into_iter().chain(doubtful) {
            match self.read_alone(&key).await? {
                Some(entry) => found.insert(key, entry),
                None => found.remove(&key),
            };
        }
        Ok(found)
    }

    async fn read_alone(&self, key: &str) -> Result<Option<Entry>, Failure> {
        let read = async { self.0.get(key).bytes_with_metadata::<Value>().await };
        let read = SendWrapper::new(read).await;
        let (value, metadata) = read.map_err(|error| thrown(&error))?;
        let expiry = own_expiry(text(metadata.as_ref()).as_deref()).unwrap_or(Expiry::Unread);
        let entry = value.map(|value| Entry::from_stored_bytes(&value, expiry));
        // Of several keys, this one is all that is wrong.
        entry.transpose().map_err(|error| Failure {
            error,
            cause: Cause::OneOfMany,
        })
    }

    async fn list(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Listed, Failure> {
        let list = async {
            let mut list = self.0.list().limit(limit as u64);
            if !prefix.is_empty() {
                list = list.prefix(prefix.to_owned());
            }
            if let Some(cursor) = cursor {
                list = list.cursor(cursor.to_owned());
            }
            list.execute().await
        };
        let page = SendWrapper::new(list)
            .await
            .map_err(|error| thrown(&error))?;
        #[expect(clippy::cast_precision_loss, reason = "seconds of any date fit")]
        let keys = page.keys.into_iter().map(|key| {
            let expiration = key.expiration.map(|seconds| seconds as f64);
            let expiry = expiry_of(text(key.metadata.as_ref()).as_deref(), expiration);
            (key.name, expiry)
        });
        let next = page.cursor.filter(|_| !page.list_complete);
        // It would go on for ever.
        if next.is_some() && next.as_deref() == cursor {
            return Err(not_understood());
        }
        Ok(Listed {
            keys: keys.collect(),
            cursor: next,
        })
    }
}
