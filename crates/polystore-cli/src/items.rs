//! The commands about one key.

use polystore_kv::{Expires, Store};
use serde_json::value::RawValue;

use crate::args::{Expiring, Value};
use crate::exit::{Answer, Failure, Outcome, say};
use crate::input;
use crate::output::{Output, unquote};

/// The store whose writes expire as the command line says.
fn expiring(store: &Store, expires: &Expiring) -> Store {
    match expires.expires {
        Some(expires) => store.expires(expires),
        None => store.clone(),
    }
}

pub(crate) async fn get(store: &Store, key: &str, raw: bool, out: &mut Output) -> Outcome {
    let Some(value) = store.get::<Box<RawValue>>(key).await? else {
        return not_found(key, out);
    };
    if raw {
        out.line(&unquote(&value))?;
    } else {
        out.json_line(value.get().as_bytes())?;
    }
    Ok(Answer::Yes)
}

pub(crate) async fn set(store: &Store, key: &str, value: &Value, expires: &Expiring) -> Outcome {
    let value = input::value(value)?;
    expiring(store, expires).set(key, &value).await?;
    Ok(Answer::Yes)
}

pub(crate) async fn add(
    store: &Store,
    value: &Value,
    expires: &Expiring,
    out: &mut Output,
) -> Outcome {
    let value = input::value(value)?;
    let key = expiring(store, expires).add(&value).await?;
    out.text(&key)?;
    Ok(Answer::Yes)
}

pub(crate) async fn insert(
    store: &Store,
    key: &str,
    value: &Value,
    expires: &Expiring,
    out: &mut Output,
) -> Outcome {
    let value = input::value(value)?;
    yes_or_no(expiring(store, expires).insert(key, &value).await?, out)
}

pub(crate) async fn replace(
    store: &Store,
    key: &str,
    value: &Value,
    expires: &Expiring,
    out: &mut Output,
) -> Outcome {
    let value = input::value(value)?;
    yes_or_no(expiring(store, expires).replace(key, &value).await?, out)
}

pub(crate) async fn has(store: &Store, key: &str, out: &mut Output) -> Outcome {
    yes_or_no(store.has(key).await?, out)
}

pub(crate) async fn del(store: &Store, keys: &[String]) -> Outcome {
    match keys {
        [key] => store.del(key).await?,
        keys => store.del_many(keys).await?,
    }
    Ok(Answer::Yes)
}

pub(crate) async fn ttl(store: &Store, key: &str, out: &mut Output) -> Outcome {
    let Some(left) = store.ttl(key).await? else {
        return not_found(key, out);
    };
    match left.as_duration() {
        None => out.text("never")?,
        Some(left) => {
            let millis = left.as_millis();
            out.line(format!("{}.{:03}", millis / 1000, millis % 1000).as_bytes())?;
        }
    }
    Ok(Answer::Yes)
}

pub(crate) async fn touch(store: &Store, key: &str, expires: Expires, out: &mut Output) -> Outcome {
    yes_or_no(store.touch(key, expires).await?, out)
}

fn yes_or_no(yes: bool, out: &mut Output) -> Outcome {
    out.line(if yes { b"true" } else { b"false" })?;
    Ok(Answer::is(yes))
}

/// Programs get `null`, which is never a value; people are told.
fn not_found(key: &str, out: &mut Output) -> Result<Answer, Failure> {
    if out.json {
        out.line(b"null")?;
    } else {
        say(&format!("polystore: there is nothing under {key:?}"));
    }
    Ok(Answer::No)
}
