//! Requests about many keys, and those that no path of a key can carry.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use polystore_kv::{Entry, Expires, Expiry, Store, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::{self, Form};
use crate::call::Call;
use crate::listing::line;
use crate::problem::{Outcome, Problem};
use crate::respond::{JSON, LINES, json, reply, text};
use crate::target;

/// How many entries of a body in lines are put at a time.
const BATCH: usize = 500;
/// And about how many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// How far the time that is left of an entry may be off, if it is told apart by that.
const TOLERANCE_MILLIS: i64 = 2000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    value: Box<RawValue>,
    #[serde(default)]
    expires: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    key: String,
    value: Box<RawValue>,
    #[serde(default)]
    ttl: Option<f64>,
}

fn keys(call: &Call<'_>, body: &Bytes) -> Outcome<Vec<String>> {
    let Keys { keys } = body::parsed(body, r#"{"keys":["…"]}"#)?;
    keys.iter().try_for_each(|key| call.access.check(key))?;
    Ok(keys)
}

/// `POST /_/get`
pub(crate) async fn get(
    call: &Call<'_>,
    body: &Bytes,
    lines: bool,
    values: bool,
) -> Outcome<Response> {
    let keys = keys(call, body)?;
    let mut found: BTreeMap<String, Box<RawValue>> = call.store.get_many(&keys).await?;
    let mut out = Vec::new();
    if lines {
        for key in keys {
            if let Some(raw) = found.remove(&key) {
                let entry = Entry::from_stored(raw.get(), Expiry::Unread);
                line(&mut out, &key, values.then_some(&entry), None);
            }
        }
        return Ok(reply(http::StatusCode::OK, LINES, out));
    }
    out.push(b'{');
    for (at, (key, raw)) in found.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&text(key));
        out.push(b':');
        out.extend_from_slice(raw.get().as_bytes());
    }
    out.push(b'}');
    Ok(reply(http::StatusCode::OK, JSON, out))
}

/// `POST /_/del`
pub(crate) async fn del(call: &Call<'_>, body: &Bytes) -> Outcome<Response> {
    let keys = keys(call, body)?;
    call.store.del_many(&keys).await?;
    Ok(json(format!("{{\"del\":{}}}", keys.len())))
}

/// `POST /_/prune`
pub(crate) async fn prune(store: &Store) -> Outcome<Response> {
    Ok(json(format!("{{\"pruned\":{}}}", store.prune().await?)))
}

/// `POST /_/evict`: `seen` is told by what is left, so it is the store's own entry that is
/// removed if unchanged.
pub(crate) async fn evict(call: &Call<'_>, body: &Bytes) -> Outcome<Response> {
    let Seen { key, value, ttl } = body::parsed(body, r#"{"key":"…","value":…,"ttl":seconds}"#)?;
    call.access.check(&key)?;
    let store = &call.store;
    let is_evicted = match store.entry(&key).await? {
        Some(entry) if is_seen(&entry, &value, ttl) => store.evict(&key, &entry).await?,
        _ => false,
    };
    Ok(json(format!("{{\"evicted\":{is_evicted}}}")))
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn is_seen(entry: &Entry, value: &RawValue, ttl: Option<f64>) -> bool {
    if entry.json() != value.get() {
        return false;
    }
    match (entry.expiry(), ttl) {
        (Expiry::Never, None) => true,
        (Expiry::At(at), Some(seconds)) => {
            let left = at.as_millis() - Timestamp::now().as_millis();
            left.abs_diff((seconds * 1000.0) as i64) <= TOLERANCE_MILLIS.unsigned_abs()
        }
        _ => false,
    }
}

/// `POST /_/set`
pub(crate) async fn set(call: &Call<'_>, form: Form, body: Body) -> Outcome<Response> {
    let (most, expires) = (call.limits.body, call.address.params.expires);
    let count = match form {
        Form::Json => {
            let body = body::whole(body, most).await?;
            let entries: BTreeMap<String, Box<RawValue>> =
                body::parsed(&body, "one object of keys and values")?;
            entries.keys().try_for_each(|key| call.access.check(key))?;
            let count = entries.len() as u64;
            let set = call.store.set_many(&entries);
            match expires {
                Some(expires) => set.expires(expires).await?,
                None => set.await?,
            }
            count
        }
        Form::Lines => set_lines(call, expires, body, most).await?,
    };
    Ok(json(format!("{{\"set\":{count}}}")))
}

async fn set_lines(
    call: &Call<'_>,
    expires: Option<Expires>,
    mut body: Body,
    most: usize,
) -> Outcome<u64> {
    let store = &call.store;
    let default = match expires {
        Some(expires) => expires,
        None => store.default_expires()?,
    };
    let mut buffer = BytesMut::new();
    let (mut batch, mut bytes, mut count) = (Vec::new(), 0, 0);
    loop {
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let text = buffer.split_to(end);
            buffer.advance(1);
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            bytes += text.len();
            let entry = entry_in(&text, default, count + batch.len() as u64)?;
            call.access.check(&entry.0)?;
            batch.push(entry);
            if batch.len() >= BATCH || bytes >= BATCH_BYTES {
                count += put(store, std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
        if buffer.len() > most {
            return Err(body::too_long(most));
        }
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    buffer.extend_from_slice(&data);
                }
            }
            Some(Err(error)) => return Err(body::cut_off(&error)),
            None => break,
        }
    }
    if !buffer.iter().all(u8::is_ascii_whitespace) {
        let entry = entry_in(&buffer, default, count + batch.len() as u64)?;
        call.access.check(&entry.0)?;
        batch.push(entry);
    }
    Ok(count + put(store, batch).await?)
}

fn entry_in(text: &[u8], default: Expires, before: u64) -> Outcome<(String, Entry)> {
    let what = format!(
        r#"{{"key":"…","value":…,"expires":…}} in line {}"#,
        before + 1
    );
    let line: Line = body::parsed(text, &what)?;
    let expires = match line.expires {
        None => default,
        Some(serde_json::Value::String(words)) => target::expires(&words)?,
        Some(serde_json::Value::Number(number)) => target::expires(&number.to_string())?,
        Some(serde_json::Value::Null) => Expires::NEVER,
        Some(_) => return Err(Problem::bad("expires is a number of seconds or words")),
    };
    let entry = match expires.to_expiry()? {
        Some(expiry) => Entry::from_json(line.value.get(), expiry)?,
        None => Entry::from_json("null", Expiry::Never)?,
    };
    Ok((line.key, entry))
}

async fn put(store: &Store, batch: Vec<(String, Entry)>) -> Outcome<u64> {
    let count = batch.len() as u64;
    store.put_many(batch).await?;
    Ok(count)
}
