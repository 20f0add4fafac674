//! Requests about many keys, and those that no path of a key can carry.

use std::collections::{BTreeMap, HashSet};

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use http_body_util::BodyExt;
use polystore_kv::{Entry, Error, Expires, Expiry, Store, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::{self, Items, Words};
use crate::call::Limits;
use crate::listing::{self, Form};
use crate::problem::{Outcome, Problem};
use crate::respond::json;

/// How many entries of a body in lines are put at a time, and how many are got.
const BATCH: usize = 500;
/// And about how many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// How far the time that is left of an entry may be off, if it is told apart by that.
const TOLERANCE_MILLIS: u64 = 2000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    keys: Items<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    key: String,
    #[serde(borrow)]
    value: &'a RawValue,
    /// Listings say `ttl`: what they give can be sent as it is.
    #[serde(default, alias = "ttl")]
    expires: Option<Words>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen<'a> {
    key: String,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default)]
    ttl: Option<f64>,
}

/// A store with the limits of the request to it.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) store: &'a Store,
    pub(crate) prefix: &'a str,
    pub(crate) limits: Limits,
}

impl Group<'_> {
    fn check(&self, key: &str) -> Outcome<()> {
        self.limits.check_key(self.prefix, key)
    }

    fn keys(&self, body: &Bytes) -> Outcome<Vec<String>> {
        let Keys { keys } = body::object(body, r#"{"keys":["…"]}"#)?;
        keys.0.iter().try_for_each(|key| self.check(key))?;
        Ok(keys.0)
    }

    /// `POST /_/get`
    pub(crate) async fn get(&self, body: &Bytes, form: Form) -> Outcome<Response> {
        let mut keys = self.keys(body)?;
        let mut seen = HashSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        drop(seen);
        let (store, keys) = (self.store.clone(), keys.into_iter());
        let batches = stream::try_unfold((store, keys), |(store, mut keys)| async move {
            let batch: Vec<String> = keys.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok::<_, Error>(None);
            }
            let mut found: BTreeMap<String, Box<RawValue>> = store.get_many(&batch).await?;
            let entries = batch.into_iter().filter_map(move |key| {
                let json = String::from(Box::<str>::from(found.remove(&key)?));
                Some(Ok((key, Entry::from_stored(json, Expiry::Unread))))
            });
            Ok(Some((stream::iter(entries), (store, keys))))
        });
        listing::send(batches.try_flatten().boxed(), form).await
    }

    /// `POST /_/del`
    pub(crate) async fn del(&self, body: &Bytes) -> Outcome<Response> {
        let keys = self.keys(body)?;
        self.store.del_many(&keys).await?;
        Ok(json(format!("{{\"del\":{}}}", keys.len())))
    }

    /// `POST /_/prune`
    pub(crate) async fn prune(&self) -> Outcome<Response> {
        let pruned = self.store.prune().await?;
        Ok(json(format!("{{\"pruned\":{pruned}}}")))
    }

    /// `POST /_/evict`: an entry is told by the time that it has left, so it is the store's own entry that is
    /// removed if unchanged.
    pub(crate) async fn evict(&self, body: &Bytes) -> Outcome<Response> {
        let Seen { key, value, ttl } =
            body::object(body, r#"{"key":"…","value":…,"ttl":seconds}"#)?;
        self.check(&key)?;
        let is_evicted = match self.store.entry(&key).await? {
            Some(entry) if is_seen(&entry, value, ttl) => self.store.evict(&key, &entry).await?,
            _ => false,
        };
        Ok(json(format!("{{\"evicted\":{is_evicted}}}")))
    }

    /// `POST /_/set` of an object
    pub(crate) async fn set(&self, expires: Option<Expires>, body: &Bytes) -> Outcome<Response> {
        let members: Items<(String, &RawValue)> =
            body::object(body, "one object of keys and values")?;
        let expires = self.expires(expires)?;
        let mut batch = Vec::with_capacity(members.0.len());
        for (key, value) in members.0 {
            self.check(&key)?;
            batch.push((key, entry_of(value, expires)?));
        }
        let count = batch.len();
        self.store.put_many(batch).await?;
        Ok(json(format!("{{\"set\":{count}}}")))
    }

    /// `POST /_/set` of lines, which are put as they come.
    pub(crate) async fn set_lines(
        &self,
        expires: Option<Expires>,
        mut body: Body,
    ) -> Outcome<Response> {
        let mut lines = Lines {
            group: *self,
            expires: self.expires(expires)?,
            batch: Vec::new(),
            bytes: 0,
            line: 0,
            put: 0,
        };
        // What has come of the line that is under way, and how much of it was looked through.
        let (mut buffer, mut seen) = (BytesMut::new(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(body::cut_off().of_some(lines.put > 0));
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            buffer.extend_from_slice(&data);
            while let Some(end) = buffer[seen..].iter().position(|byte| *byte == b'\n') {
                let text = buffer.split_to(seen + end);
                buffer.advance(1);
                seen = 0;
                lines.take(&text).await?;
            }
            seen = buffer.len();
            if seen > self.limits.body {
                return lines.stop(body::too_long(self.limits.body)).await;
            }
        }
        if !buffer.is_empty() {
            lines.take(&buffer).await?;
        }
        lines.flush().await?;
        Ok(json(format!("{{\"set\":{}}}", lines.put)))
    }

    fn expires(&self, given: Option<Expires>) -> Outcome<Expires> {
        match given {
            Some(expires) => Ok(expires),
            None => Ok(self.store.default_expires()?),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn is_seen(entry: &Entry, value: &RawValue, ttl: Option<f64>) -> bool {
    if entry.json().trim() != value.get() {
        return false;
    }
    match (entry.expiry(), ttl) {
        (Expiry::Never, None) => true,
        (Expiry::At(at), Some(seconds)) => {
            let left = at.as_millis().saturating_sub(Timestamp::now().as_millis());
            left.abs_diff((seconds * 1000.0) as i64) <= TOLERANCE_MILLIS
        }
        _ => false,
    }
}

/// What is put for `value`, which is JSON as it was read.
fn entry_of(value: &RawValue, expires: Expires) -> Outcome<Entry> {
    Ok(match expires.to_expiry()? {
        Some(expiry) => Entry::from_stored(value.get(), expiry),
        // A null deletes.
        None => Entry::from_stored("null", Expiry::Never),
    })
}

/// Lines on their way into the store.
struct Lines<'a> {
    group: Group<'a>,
    expires: Expires,
    batch: Vec<(String, Entry)>,
    bytes: usize,
    /// How many lines were taken, and how many entries were put.
    line: u64,
    put: u64,
}

impl Lines<'_> {
    async fn take(&mut self, text: &[u8]) -> Outcome<()> {
        self.line += 1;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        match self.entry_in(text) {
            Ok(found) => self.batch.push(found),
            Err(problem) => return self.stop(problem).await,
        }
        self.bytes += text.len();
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    fn entry_in(&self, text: &[u8]) -> Outcome<(String, Entry)> {
        let limits = self.group.limits;
        if text.len() > limits.body {
            return Err(body::too_long(limits.body));
        }
        let line: Line<'_> =
            body::object(text, r#"{"key":"…","value":…,"expires":…} in each line"#)?;
        self.group.check(&line.key)?;
        let expires = line.expires.map_or(self.expires, |words| words.0);
        Ok((line.key, entry_of(line.value, expires)?))
    }

    /// Puts all that came before the line that is wrong, so that it is known how far it went.
    async fn stop<T>(&mut self, problem: Problem) -> Outcome<T> {
        self.flush().await?;
        let place = match self.put {
            0 => format!("line {}", self.line.max(1)),
            put => format!("line {} (the {put} entries before it are put)", self.line),
        };
        Err(problem.within(&place).of_some(self.put > 0))
    }

    async fn flush(&mut self) -> Outcome<()> {
        let batch = std::mem::take(&mut self.batch);
        let count = batch.len() as u64;
        self.bytes = 0;
        if let Err(error) = self.group.store.put_many(batch).await {
            let place = format!("the {count} entries up to line {}", self.line);
            let problem = Problem::from(error).within(&place);
            return Err(problem.of_some(self.put > 0));
        }
        self.put += count;
        Ok(())
    }
}
