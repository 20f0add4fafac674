//! What is in the store under a URL: one reply, or several by what a request says.

use std::time::{Duration, SystemTime};

use polystore_kv::{Error, ErrorKind, Store};

use crate::changes::Since;
use crate::key;
use crate::record::{Record, Stored, Variants, millis};
use crate::reply::Forward;
use crate::request::Asked;

/// What was found for a request.
pub(crate) enum Found {
    Reply(Stored),
    Nothing(Forward),
}

/// What fits the request. A store that fails has nothing.
pub(crate) async fn find(store: &Store, key: &str, asked: Asked<'_>) -> Found {
    match read(store, key).await {
        None => Found::Nothing(Forward::UriMiss),
        Some(Record::Reply(stored)) => Found::Reply(stored),
        Some(Record::Variants(variants)) => {
            let key = key::of_variant(key, &variants.generation, &variants.vary, asked);
            match read(store, &key).await {
                Some(Record::Reply(stored)) => Found::Reply(stored),
                _ => Found::Nothing(Forward::VaryMiss),
            }
        }
    }
}

async fn read(store: &Store, key: &str) -> Option<Record> {
    match store.get(key).await {
        Ok(record) => record,
        Err(error) => {
            tell("read", error);
            None
        }
    }
}

/// Puts a reply in place of what is there, or beside others of its URL if it has `vary`. One that was asked for before its
/// URL changed may tell what was: it is not kept.
pub(crate) async fn keep(
    store: &Store,
    key: &str,
    vary: Option<Variant>,
    stored: Stored,
    useful: Duration,
    now: SystemTime,
    since: &Since,
) {
    if since.is_over() {
        return;
    }
    let kept = async {
        let Some(Variant { names, key: key_of }) = vary else {
            return store.set(key, &Record::Reply(stored)).expires(useful).await;
        };
        let until = millis(now.checked_add(useful).unwrap_or(now));
        // As it is now: somebody may have made all others void meanwhile.
        let (generation, is_there) = match read(store, key).await {
            Some(Record::Variants(there)) if there.vary == names => {
                (there.generation, there.until >= until)
            }
            _ => (new_generation()?, false),
        };
        let key_of = key_of(&generation);
        if !is_there {
            let vary = names;
            let variants = Variants {
                generation,
                vary,
                until,
            };
            let record = Record::Variants(variants);
            store.set(key, &record).expires(useful).await?;
        }
        store
            .set(&key_of, &Record::Reply(stored))
            .expires(useful)
            .await
    };
    if let Err(error) = kept.await {
        tell("kept", error);
    }
    // It may have come too late to be among what the change made void.
    if since.is_over() {
        forget(store, key).await;
    }
}

/// How one of several replies is found.
pub(crate) struct Variant {
    /// The headers of a request that decide.
    pub(crate) names: Vec<String>,
    /// Its key, of the generation.
    pub(crate) key: Box<dyn FnOnce(&str) -> String + Send>,
}

fn new_generation() -> Result<String, Error> {
    key::generation().map_err(|error| {
        Error::new(ErrorKind::Unreachable, "the OS gave no randomness").with_source(error)
    })
}

/// Forgets all replies of a URL.
pub(crate) async fn forget(store: &Store, key: &str) {
    if let Err(error) = store.del(key).await {
        tell("forgotten", error);
    }
}

/// The request goes on all the same: a cache is not what makes it fail.
fn tell(what: &'static str, error: Error) {
    let kind = error.kind();
    let error = error.without_key();
    if kind == ErrorKind::InvalidValue {
        tracing::debug!(
            ?error,
            "a reply is too large for the store of the HTTP cache"
        );
    } else if error.is_data() {
        tracing::warn!(?error, "the store of the HTTP cache has what is no reply");
    } else {
        tracing::warn!(?error, "a reply could not be {what} by the HTTP cache");
    }
}
