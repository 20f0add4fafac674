//! Only if present.

use std::time::Duration;

use polystore_kv::{ErrorKind, Expires};
use serde_json::{Value, json};

use crate::property::{Need, Property, property};
use crate::runtime::{self, Signal};
use crate::subject::Subject;
use crate::verdict::{Stop, Verdict, fails, holds, same, same_for};

pub(super) fn all() -> Vec<Property> {
    let with = |property: Property| property.needs(&[Need::Replace]);
    vec![
        with(property(replace_puts_what_is_new)),
        with(property(replace_of_a_missing_key_is_false_and_makes_none)),
        with(property(
            replace_of_an_expired_key_is_false_and_revives_nothing,
        )),
        with(property(replace_gives_its_own_expiry)).needs(&[Need::Ttl]),
        with(property(replace_can_make_it_expire)),
        with(property(replace_with_an_expiry_that_is_over_deletes)),
        with(property(replace_of_null_is_refused_and_changes_nothing)),
        with(property(replace_brings_nothing_back)),
        with(property(replace_counts_as_there_what_insert_put)).needs(&[Need::Insert]),
        property(replace_is_unsupported).needs(&[Need::NoReplace]),
    ]
}

async fn replace_puts_what_is_new(t: Subject) -> Verdict {
    for old in [json!("first"), json!(0), json!(""), json!(false), json!([])] {
        t.store.set("a", &old).await?;
        same_for(&old, t.store.replace("a", "second").await?, true)?;
        let found = t.store.get::<String>("a").await?;
        same_for(&old, found.as_deref(), Some("second"))?;
    }
    let long = "é".repeat(10_000);
    same(t.store.prefix("a").replace("", &long).await?, true)?;
    same(t.store.get("a").await?, Some(long))?;
    same(t.store.keys().await?, ["a"])
}

async fn replace_of_a_missing_key_is_false_and_makes_none(t: Subject) -> Verdict {
    t.store.set("deleted", &1).await?;
    t.store.del("deleted").await?;
    t.store.set("other", &1).await?;
    for key in ["missing", "deleted", "othe", "other2"] {
        for expires in ["1h", "never", "-1s"] {
            let replaced = t.store.replace(key, &2).expires(expires).await?;
            same_for(key, replaced, false)?;
        }
    }
    same(t.store.get("other").await?, Some(1))?;
    same(t.physical_keys().await?.len(), 1)
}

async fn replace_of_an_expired_key_is_false_and_revives_nothing(t: Subject) -> Verdict {
    t.plant_expired("a").await?;
    t.store.set("b", &1).expires("30ms").await?;
    t.wait_until_gone("b").await?;
    for key in ["a", "b"] {
        for expires in ["1h", "never"] {
            let replaced = t.store.replace(key, &2).expires(expires).await?;
            same_for(key, replaced, false)?;
            same_for(key, t.store.get::<Value>(key).await?, None)?;
        }
    }
    same(t.store.keys().await?.is_empty(), true)
}

/// Neither what it replaces nor anything but the write and the store has a say in it.
async fn replace_gives_its_own_expiry(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    same(t.store.replace("a", &2).expires("1h").await?, true)?;
    let left = t.store.ttl("a").await?.and_then(Expires::as_duration);
    holds(
        left > Some(Duration::from_secs(3500)),
        format_args!("{left:?} are left of an hour"),
    )?;
    same(t.store.expires("2h").replace("a", &3).await?, true)?;
    let left = t.store.ttl("a").await?.and_then(Expires::as_duration);
    holds(
        left > Some(Duration::from_secs(7000)),
        format_args!("{left:?} are left of 2 h"),
    )?;
    same(t.store.replace("a", &4).await?, true)?;
    same(t.store.ttl("a").await?, Some(Expires::NEVER))?;
    same(t.store.get("a").await?, Some(4))
}

async fn replace_can_make_it_expire(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    same(t.store.replace("a", &2).expires("30ms").await?, true)?;
    t.wait_until_gone("a").await?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn replace_with_an_expiry_that_is_over_deletes(t: Subject) -> Verdict {
    for expires in [Expires::from(0), Expires::from(-5)] {
        t.store.set("a", &1).await?;
        same(t.store.replace("a", &2).expires(expires).await?, true)?;
        same(t.store.get::<Value>("a").await?, None)?;
        same(t.store.has("a").await?, false)?;
        same(t.store.keys().await?.is_empty(), true)?;
        same(t.store.replace("a", &3).await?, false)?;
    }
    Ok(())
}

async fn replace_of_null_is_refused_and_changes_nothing(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    for key in ["a", "b"] {
        let replaced = t.store.replace(key, &None::<u32>).await;
        fails(replaced, ErrorKind::InvalidValue)?;
    }
    same(t.store.entries::<u32>().await?, [("a".to_owned(), 1)])
}

/// One that looks and writes in two steps would bring back what was deleted in between.
async fn replace_brings_nothing_back(t: Subject) -> Verdict {
    for round in 1..=20 {
        t.store.set("a", &0).await?;
        let begun = Signal::default();
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (store, begun) = (t.store.clone(), begun.clone());
                runtime::spawn(async move {
                    begun.give();
                    let mut there = true;
                    for attempt in 0..5 {
                        let replaced = store.replace("a", &attempt).await?;
                        holds(there || !replaced, "what was gone was replaced")?;
                        there = replaced;
                    }
                    Ok::<_, Stop>(())
                })
            })
            .collect();
        begun.wait().await;
        // The deletion meets their beginning, or the midst of them.
        if round % 2 == 0 {
            runtime::sleep(Duration::from_millis(1)).await;
        }
        t.store.del("a").await?;
        for task in tasks {
            task.await?;
        }
        same_for(round, t.store.get::<Value>("a").await?, None)?;
    }
    Ok(())
}

/// Whatever is there, one of the two writes and the other does not.
async fn replace_counts_as_there_what_insert_put(t: Subject) -> Verdict {
    for expires in ["1h", "never"] {
        same(t.store.replace("a", &0).await?, false)?;
        same(t.store.insert("a", &1).expires(expires).await?, true)?;
        same(t.store.replace("a", &2).expires(expires).await?, true)?;
        same(t.store.insert("a", &3).await?, false)?;
        same(t.store.get("a").await?, Some(2))?;
        t.store.del("a").await?;
    }
    Ok(())
}

async fn replace_is_unsupported(t: Subject) -> Verdict {
    t.store.set("b", "first").await?;
    for key in ["a", "b"] {
        let error = fails(t.store.replace(key, "second").await, ErrorKind::Unsupported)?;
        same(error.is_usage(), true)?;
        same(error.backend(), Some(&*t.store.kind()))?;
        same(error.operation(), Some("replace"))?;
        same(error.key(), Some(&t.full(key)[..]))?;
    }
    same(
        t.store.entries::<String>().await?,
        [("b".to_owned(), "first".to_owned())],
    )
}
