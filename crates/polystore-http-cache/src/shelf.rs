//! What is in the store under a URL: one reply, or several by what a request says.

use std::time::{Duration, SystemTime};

use polystore_kv::{Error, ErrorKind, Result, Store};

use crate::changes::{Changes, Since, Void, Waiting, ended};
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
pub(crate) async fn find(
    store: &Store,
    changes: &Changes,
    since: &Since,
    asked: Asked<'_>,
) -> Found {
    if let Some(void) = &since.void {
        // It could not be removed before: perhaps it can be now, for other programs too.
        if changes.older(void).is_empty() {
            remove(&void.store, changes, vec![void.clone()]).await;
        }
        return Found::Nothing(Forward::UriMiss);
    }
    match look(store, &since.place.key, asked).await {
        Ok(found) => found,
        Err(error) => {
            tell("read", error);
            Found::Nothing(Forward::UriMiss)
        }
    }
}

async fn look(store: &Store, key: &str, asked: Asked<'_>) -> Result<Found> {
    let variants = match read(store, key).await? {
        None => return Ok(Found::Nothing(Forward::UriMiss)),
        Some(Record::Reply(stored)) => return Ok(Found::Reply(stored)),
        Some(Record::Variants(variants)) => variants,
    };
    let key = key::of_variant(key, &variants.vary, asked);
    Ok(match read(store, &key).await? {
        Some(Record::Reply(stored)) if stored.generation == variants.generation => {
            Found::Reply(stored)
        }
        _ => Found::Nothing(Forward::VaryMiss),
    })
}

/// What is there, if it is a record.
async fn read(store: &Store, key: &str) -> Result<Option<Record>> {
    match store.get(key).await {
        Err(error) if error.is_data() => {
            tell("read", error);
            Ok(None)
        }
        read => read,
    }
}

/// A reply to be kept.
pub(crate) struct Keeping {
    pub(crate) store: Store,
    /// If its URL has several.
    pub(crate) variant: Option<Variant>,
    pub(crate) stored: Stored,
    /// How long it is of use, from `now` on.
    pub(crate) useful: Duration,
    pub(crate) now: SystemTime,
    /// One that was asked for before its URL changed may tell what was: it is not kept.
    pub(crate) since: Since,
}

/// How one of several replies is found.
pub(crate) struct Variant {
    /// The headers of a request that decide.
    pub(crate) names: Vec<String>,
    pub(crate) key: String,
}

impl Keeping {
    /// Puts the reply in place of what is there, or beside others of its URL. It goes on without who waits for it.
    pub(crate) fn begin(self, changes: &Changes) -> Waiting {
        changes.run(self.done())
    }

    async fn done(self) {
        let key = match &self.variant {
            Some(variant) => &variant.key,
            None => &self.since.place.key,
        };
        let Some(writing) = self.since.begin(key, self.stored.date()) else {
            return;
        };
        match self.write(writing.is_void).await {
            Ok(()) => writing.is_kept(),
            Err(error) => tell("kept", error),
        }
    }

    async fn write(mut self, is_void: bool) -> Result<()> {
        let (store, useful, key) = (self.store, self.useful, self.since.place.key);
        let Some(variant) = self.variant else {
            self.stored.generation.clear();
            let record = Record::Reply(self.stored);
            return store.set(&key, &record).expires(useful).await;
        };
        let until = millis(self.now.checked_add(useful).unwrap_or(self.now));
        // As it is now: somebody may have made all others void meanwhile.
        let there = match is_void {
            true => None,
            false => read(&store, &key).await?,
        };
        let (generation, is_there) = match there {
            Some(Record::Variants(there)) if there.vary == variant.names => {
                (there.generation, there.until >= until)
            }
            _ => (new_generation()?, false),
        };
        self.stored.generation.clone_from(&generation);
        if !is_there {
            let record = Record::Variants(Variants {
                generation,
                vary: variant.names,
                until,
            });
            store.set(&key, &record).expires(useful).await?;
        }
        let record = Record::Reply(self.stored);
        store.set(&variant.key, &record).expires(useful).await
    }
}

fn new_generation() -> Result<String> {
    key::generation().map_err(|error| {
        Error::new(ErrorKind::Unreachable, "the OS gave no randomness").with_source(error)
    })
}

/// Forgets all replies of the URLs that these keys are of: at once for this process, and for others when what is
/// returned is ready. It goes on without who waits for it.
pub(crate) fn forget(store: &Store, changes: &Changes, keys: Vec<String>) -> Waiting {
    let void = keys.into_iter().map(|key| changes.make_void(store, key));
    let void: Vec<Void> = void.collect();
    let (store, of_work) = (store.clone(), changes.clone());
    changes.run(async move { remove(&store, &of_work, void).await })
}

/// Removes from `store` what is `void` there. What cannot be removed stays void.
async fn remove(store: &Store, changes: &Changes, void: Vec<Void>) {
    // Those that are on their way now: they may come after the removal.
    let older: Vec<_> = void.iter().map(|void| changes.older(void)).collect();
    let removed = match &*void {
        [only] => store.del(&only.place.key).await,
        all => store.del_many(all.iter().map(|void| &void.place.key)).await,
    };
    if let Err(error) = removed {
        return tell("forgotten", error);
    }
    for (void, older) in void.into_iter().zip(older) {
        if older.is_empty() {
            changes.is_removed(&void);
            continue;
        }
        // Nobody waits for a write that may hang: here it is void until then.
        let of_work = changes.clone();
        drop(changes.run(async move {
            for write in older {
                ended(write).await;
            }
            if !of_work.is_void(&void) {
                return;
            }
            match void.store.del(&void.place.key).await {
                Ok(()) => of_work.is_removed(&void),
                Err(error) => tell("forgotten", error),
            }
        }));
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
