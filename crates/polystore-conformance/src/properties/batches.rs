//! Many keys at once.

use std::collections::BTreeMap;

use polystore_kv::Expires;
use serde_json::{Value, json};

use crate::property::{Need, Property, property};
use crate::subject::Subject;
use crate::verdict::{Verdict, same};

pub(super) fn all() -> Vec<Property> {
    vec![
        property(set_many_sets_each),
        property(set_many_keeps_the_last_of_duplicates),
        property(set_many_of_null_deletes),
        property(set_many_with_an_expiry_that_is_over_deletes),
        property(set_many_takes_an_expiry).needs(&[Need::Ttl]),
        property(set_many_replaces_longer_values),
        property(get_many_leaves_out_what_is_missing),
        property(get_many_takes_duplicates),
        property(get_many_gives_each_key_its_own_value).needs(&[Need::Entries(500)]),
        property(del_many_deletes_each_and_nothing_else),
        property(del_many_takes_duplicates_and_missing_keys),
        property(empty_batches_are_fine),
        property(batches_under_a_prefix_stay_there),
        property(batches_of_a_thousand_work).needs(&[Need::Entries(1000)]),
    ]
}

fn numbers<const N: usize>(entries: [(&str, u32); N]) -> BTreeMap<String, u32> {
    entries.map(|(key, value)| (key.to_owned(), value)).into()
}

async fn set_many_sets_each(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("b", 2), ("c", 3)]).await?;
    same(
        t.store.all::<u32>().await?,
        numbers([("a", 1), ("b", 2), ("c", 3)]),
    )?;
    for (key, value) in [("a", 1), ("b", 2), ("c", 3)] {
        same(t.store.get(key).await?, Some(value))?;
    }
    Ok(())
}

async fn set_many_keeps_the_last_of_duplicates(t: Subject) -> Verdict {
    t.store
        .set_many([("a", 1), ("b", 2), ("a", 3), ("b", 4), ("a", 5)])
        .await?;
    same(t.store.all::<u32>().await?, numbers([("a", 5), ("b", 4)]))?;
    same(t.store.keys().await?.len(), 2)
}

async fn set_many_of_null_deletes(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("b", 1), ("c", 1)]).await?;
    let mixed = [
        ("a", json!(null)),
        ("d", json!(4)),
        ("missing", json!(null)),
        ("b", json!(2)),
    ];
    t.store.set_many(mixed).await?;
    same(
        t.store.all::<u32>().await?,
        numbers([("b", 2), ("c", 1), ("d", 4)]),
    )?;
    // The last of duplicates counts here too.
    t.store
        .set_many([("b", json!(null)), ("b", json!(3))])
        .await?;
    t.store
        .set_many([("c", json!(3)), ("c", json!(null))])
        .await?;
    same(t.store.all::<u32>().await?, numbers([("b", 3), ("d", 4)]))
}

async fn set_many_with_an_expiry_that_is_over_deletes(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("b", 1)]).await?;
    t.store.set_many([("a", 2), ("c", 2)]).expires(0).await?;
    same(t.store.all::<u32>().await?, numbers([("b", 1)]))
}

async fn set_many_takes_an_expiry(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("b", 2)]).expires("1h").await?;
    for key in ["a", "b"] {
        let left = t.store.ttl(key).await?.and_then(Expires::as_duration);
        same(left.is_some(), true)?;
    }
    t.store.set_many([("a", 1)]).await?;
    same(t.store.ttl("a").await?, Some(Expires::NEVER))
}

async fn set_many_replaces_longer_values(t: Subject) -> Verdict {
    let long = "long ".repeat(500);
    t.store.set_many([("a", &long), ("b", &long)]).await?;
    t.store.set_many([("a", 1), ("b", 2)]).await?;
    same(t.store.all::<u32>().await?, numbers([("a", 1), ("b", 2)]))
}

async fn get_many_leaves_out_what_is_missing(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("c", 3)]).await?;
    same(
        t.store.get_many(["missing", "c", "b", "a"]).await?,
        numbers([("a", 1), ("c", 3)]),
    )?;
    same(t.store.get_many::<u32>(["x", "y"]).await?, BTreeMap::new())
}

async fn get_many_takes_duplicates(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("b", 2)]).await?;
    same(
        t.store
            .get_many(["a", "b", "a", "a", "missing", "missing"])
            .await?,
        numbers([("a", 1), ("b", 2)]),
    )
}

async fn get_many_gives_each_key_its_own_value(t: Subject) -> Verdict {
    let entries: Vec<(String, u32)> = (0..500)
        .map(|number| (format!("{number}"), number))
        .collect();
    t.fill(&entries).await?;
    let wanted: Vec<&String> = entries.iter().rev().map(|(key, _)| key).collect();
    let found = t.store.get_many::<u32>(wanted).await?;
    same(found == entries.into_iter().collect(), true)
}

async fn del_many_deletes_each_and_nothing_else(t: Subject) -> Verdict {
    t.store
        .set_many([("a", 1), ("b", 2), ("c", 3), ("ab", 4)])
        .await?;
    t.store.del_many(["a", "c"]).await?;
    same(t.store.all::<u32>().await?, numbers([("ab", 4), ("b", 2)]))
}

async fn del_many_takes_duplicates_and_missing_keys(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("b", 2)]).await?;
    t.store.del_many(["missing", "a", "a", "missing"]).await?;
    same(t.store.all::<u32>().await?, numbers([("b", 2)]))?;
    t.store.del_many(["a"]).await?;
    same(t.store.all::<u32>().await?, numbers([("b", 2)]))
}

async fn empty_batches_are_fine(t: Subject) -> Verdict {
    let none: [&str; 0] = [];
    t.store.set("a", &1).await?;
    t.store.set_many(none.map(|key| (key, 1))).await?;
    t.store.del_many(none).await?;
    same(t.store.get_many::<Value>(none).await?, BTreeMap::new())?;
    same(t.store.all::<u32>().await?, numbers([("a", 1)]))
}

async fn batches_under_a_prefix_stay_there(t: Subject) -> Verdict {
    let sub = t.store.prefix("sub:");
    t.store.set("a", &0).await?;
    sub.set_many([("a", 1), ("b", 2)]).await?;
    same(
        t.store.all::<u32>().await?,
        numbers([("a", 0), ("sub:a", 1), ("sub:b", 2)]),
    )?;
    same(
        sub.get_many(["a", "b", "sub:a"]).await?,
        numbers([("a", 1), ("b", 2)]),
    )?;
    sub.del_many(["a", "b"]).await?;
    same(t.store.all::<u32>().await?, numbers([("a", 0)]))
}

async fn batches_of_a_thousand_work(t: Subject) -> Verdict {
    let entries: BTreeMap<String, u32> = (0..1000).map(|n| (format!("{n}"), n)).collect();
    t.store.set_many(&entries).await?;
    same(
        t.store.get_many::<u32>(entries.keys()).await? == entries,
        true,
    )?;
    t.store.del_many(entries.keys()).await?;
    same(t.store.keys().await?.is_empty(), true)
}
