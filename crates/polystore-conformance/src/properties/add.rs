//! Keys that the store makes.

use std::collections::BTreeSet;

use polystore_kv::{ErrorKind, Expires};
use serde_json::Value;

use crate::property::{Need, Property, property};
use crate::subject::Subject;
use crate::verdict::{Stop, Verdict, fails, holds, same};

const MANY: usize = 1000;

pub(super) fn all() -> Vec<Property> {
    vec![
        property(add_gives_a_key_that_reads_back),
        property(add_makes_keys_of_24_letters_and_digits),
        property(a_thousand_added_keys_differ).needs(&[Need::Entries(MANY)]),
        property(keys_added_at_once_differ).needs(&[Need::Entries(100)]),
        property(add_under_a_prefix_gives_the_key_without_it),
        property(add_takes_an_expiry).needs(&[Need::Ttl]),
        property(add_takes_the_default_expiry).needs(&[Need::Ttl]),
        property(add_with_an_expiry_that_is_over_leaves_nothing),
        property(add_of_null_is_refused_and_adds_nothing),
    ]
}

async fn add_gives_a_key_that_reads_back(t: Subject) -> Verdict {
    let key = t.store.add("value").await?;
    same(t.store.get::<String>(&key).await?.as_deref(), Some("value"))?;
    same(t.store.keys().await?, [key])
}

async fn add_makes_keys_of_24_letters_and_digits(t: Subject) -> Verdict {
    for _ in 0..20 {
        let key = t.store.add(&1).await?;
        if key.len() != 24 {
            return Err(Stop::Skipped("it makes keys of its own"));
        }
        let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        holds(plain, format_args!("{key:?} has other characters"))?;
    }
    Ok(())
}

async fn a_thousand_added_keys_differ(t: Subject) -> Verdict {
    let mut keys = BTreeSet::new();
    // By turns, so that stores which wait for a disk can gather them.
    for _ in 0..MANY / 50 {
        let writes: Vec<_> = (0..50).map(|number| t.store.add(&number)).collect();
        keys.extend(futures_util::future::try_join_all(writes).await?);
    }
    same(keys.len(), MANY)?;
    let listed: BTreeSet<String> = t.store.keys().await?.into_iter().collect();
    same(listed == keys, true)
}

async fn keys_added_at_once_differ(t: Subject) -> Verdict {
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let store = t.store.clone();
            crate::runtime::spawn(async move {
                let key = store.add(&number).await?;
                Ok::<_, Stop>((key, number))
            })
        })
        .collect();
    let mut keys = BTreeSet::new();
    for task in tasks {
        let (key, number) = task.await?;
        same(t.store.get(&key).await?, Some(number))?;
        keys.insert(key);
    }
    same(keys.len(), 100)
}

async fn add_under_a_prefix_gives_the_key_without_it(t: Subject) -> Verdict {
    let sub = t.store.prefix("a:").prefix("b:");
    let key = sub.add("value").await?;
    same(sub.keys().await?, [key.clone()])?;
    same(t.store.keys().await?, [format!("a:b:{key}")])?;
    same(sub.get::<String>(&key).await?.as_deref(), Some("value"))
}

async fn add_takes_an_expiry(t: Subject) -> Verdict {
    let key = t.store.add("value").expires("1h").await?;
    let left = t.store.ttl(&key).await?.and_then(Expires::as_duration);
    holds(left.is_some(), "it does not expire")?;
    let key = t.store.add("value").await?;
    same(t.store.ttl(&key).await?, Some(Expires::NEVER))
}

async fn add_takes_the_default_expiry(t: Subject) -> Verdict {
    let sub = t.store.expires("1h");
    let key = sub.add("value").await?;
    let left = t.store.ttl(&key).await?.and_then(Expires::as_duration);
    holds(left.is_some(), "it does not expire")?;
    let key = sub.add("value").expires("never").await?;
    same(t.store.ttl(&key).await?, Some(Expires::NEVER))
}

async fn add_with_an_expiry_that_is_over_leaves_nothing(t: Subject) -> Verdict {
    let key = t.store.add("value").expires(0).await?;
    same(t.store.get::<Value>(&key).await?, None)?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn add_of_null_is_refused_and_adds_nothing(t: Subject) -> Verdict {
    fails(t.store.add(&None::<u32>).await, ErrorKind::InvalidValue)?;
    same(t.store.keys().await?.is_empty(), true)
}
