//! Only if absent.

use std::time::Duration;

use polystore_kv::{ErrorKind, Expires};
use serde_json::{Value, json};

use crate::property::{Need, Property, property};
use crate::runtime;
use crate::subject::Subject;
use crate::verdict::{Stop, Verdict, fails, holds, same, same_for, some};

const RACERS: u32 = 50;

pub(super) fn all() -> Vec<Property> {
    let with = |property: Property| property.needs(&[Need::Insert]);
    vec![
        with(property(insert_puts_what_is_absent)),
        with(property(insert_leaves_what_is_there)),
        with(property(insert_leaves_the_expiry_of_what_is_there)).needs(&[Need::Ttl]),
        with(property(insert_after_a_deletion_puts)),
        with(property(insert_takes_over_an_expired_key)),
        with(property(insert_takes_over_a_key_when_its_time_has_come)),
        with(property(insert_keeps_its_expiry)).needs(&[Need::Ttl]),
        with(property(insert_has_one_winner_of_50)),
        with(property(insert_over_an_expired_key_has_one_winner_of_50)),
        with(property(insert_with_an_expiry_that_is_over_leaves_nothing)),
        with(property(insert_of_null_is_refused_and_changes_nothing)),
        property(insert_is_unsupported).needs(&[Need::NoInsert]),
    ]
}

async fn insert_puts_what_is_absent(t: Subject) -> Verdict {
    same(t.store.insert("a", "value").await?, true)?;
    same(t.store.get::<String>("a").await?.as_deref(), Some("value"))?;
    same(t.store.insert("b", "value").await?, true)?;
    same(t.store.prefix("a").insert("", "value").await?, false)?;
    same(t.store.keys().await?.len(), 2)
}

async fn insert_leaves_what_is_there(t: Subject) -> Verdict {
    t.store.set("a", "first").await?;
    same(t.store.insert("a", "second").await?, false)?;
    same(t.store.get::<String>("a").await?.as_deref(), Some("first"))?;
    t.store.set("b", "first").expires("1h").await?;
    same(t.store.insert("b", "second").await?, false)?;
    same(t.store.get::<String>("b").await?.as_deref(), Some("first"))?;
    for falsy in [json!(0), json!(""), json!(false), json!([])] {
        t.store.set("c", &falsy).await?;
        same_for(&falsy, t.store.insert("c", "second").await?, false)?;
    }
    Ok(())
}

async fn insert_leaves_the_expiry_of_what_is_there(t: Subject) -> Verdict {
    t.store.set("a", "first").await?;
    same(t.store.insert("a", "second").expires("1h").await?, false)?;
    same(t.store.ttl("a").await?, Some(Expires::NEVER))?;
    t.store.set("b", "first").expires("1h").await?;
    let before = some(t.store.entry("b").await?)?;
    same(t.store.insert("b", "second").await?, false)?;
    t.same_entry(&some(t.store.entry("b").await?)?, &before)
}

async fn insert_after_a_deletion_puts(t: Subject) -> Verdict {
    t.store.set("a", "first").await?;
    t.store.del("a").await?;
    same(t.store.insert("a", "second").await?, true)?;
    same(t.store.get::<String>("a").await?.as_deref(), Some("second"))
}

async fn insert_takes_over_an_expired_key(t: Subject) -> Verdict {
    t.plant_expired("a").await?;
    same(t.store.insert("a", "new").await?, true)?;
    same(t.store.get::<String>("a").await?.as_deref(), Some("new"))?;
    same(t.store.insert("a", "newer").await?, false)?;
    same(
        t.store.entries::<String>().await?,
        [("a".to_owned(), "new".to_owned())],
    )
}

async fn insert_takes_over_a_key_when_its_time_has_come(t: Subject) -> Verdict {
    t.store.set("a", "old").expires("50ms").await?;
    t.wait_until_gone("a").await?;
    same(t.store.insert("a", "new").await?, true)?;
    // The expiry of the old value is not the new one's.
    runtime::sleep(Duration::from_millis(60)).await;
    same(t.store.get::<String>("a").await?.as_deref(), Some("new"))
}

async fn insert_keeps_its_expiry(t: Subject) -> Verdict {
    same(t.store.insert("a", "value").expires("1h").await?, true)?;
    let left = t.store.ttl("a").await?.and_then(Expires::as_duration);
    holds(
        left > Some(Duration::from_secs(3500)),
        format_args!("{left:?} are left of an hour"),
    )?;
    same(
        t.store
            .expires("1h")
            .insert("b", "value")
            .expires("never")
            .await?,
        true,
    )?;
    same(t.store.ttl("b").await?, Some(Expires::NEVER))
}

async fn insert_has_one_winner_of_50(t: Subject) -> Verdict {
    for round in 0..5 {
        one_wins(&t, &format!("key {round}")).await?;
    }
    Ok(())
}

async fn insert_over_an_expired_key_has_one_winner_of_50(t: Subject) -> Verdict {
    for round in 0..5 {
        let key = format!("key {round}");
        t.plant_expired(&key).await?;
        one_wins(&t, &key).await?;
    }
    Ok(())
}

async fn one_wins(t: &Subject, key: &str) -> Verdict {
    let tasks: Vec<_> = (0..RACERS)
        .map(|racer| {
            let (store, key) = (t.store.clone(), key.to_owned());
            runtime::spawn(async move {
                let won = store.insert(&key, &racer).await?;
                Ok::<_, Stop>(won.then_some(racer))
            })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await?);
    }
    same_for("the winners", winners.len(), 1)?;
    same(t.store.get(key).await?, Some(winners[0]))
}

async fn insert_with_an_expiry_that_is_over_leaves_nothing(t: Subject) -> Verdict {
    t.store.insert("a", "value").expires(0).await?;
    same(t.store.get::<Value>("a").await?, None)?;
    t.store.set("b", "first").await?;
    same(t.store.insert("b", "second").expires(-1).await?, false)?;
    same(
        t.store.entries::<String>().await?,
        [("b".to_owned(), "first".to_owned())],
    )
}

async fn insert_of_null_is_refused_and_changes_nothing(t: Subject) -> Verdict {
    fails(
        t.store.insert("a", &None::<u32>).await,
        ErrorKind::InvalidValue,
    )?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn insert_is_unsupported(t: Subject) -> Verdict {
    t.store.set("b", "first").await?;
    for key in ["a", "b"] {
        let error = fails(t.store.insert(key, "second").await, ErrorKind::Unsupported)?;
        same(error.is_usage(), true)?;
        same(error.backend(), Some(&*t.store.kind()))?;
        same(error.operation(), Some("insert"))?;
        same(error.key(), Some(&t.full(key)[..]))?;
    }
    same(
        t.store.entries::<String>().await?,
        [("b".to_owned(), "first".to_owned())],
    )
}
