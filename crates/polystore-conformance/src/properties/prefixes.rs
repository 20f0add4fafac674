//! Substores.

use std::collections::BTreeMap;

use polystore_kv::{Store, kv};

use crate::property::{Property, property};
use crate::subject::Subject;
use crate::verdict::{Verdict, same};

pub(super) fn all() -> Vec<Property> {
    vec![
        property(prefixes_stack),
        property(prefixes_overlap),
        property(an_empty_prefix_is_the_same_store),
        property(an_empty_key_is_the_prefix_itself),
        property(a_prefix_without_entries_lists_nothing),
        property(clear_of_a_prefix_leaves_the_rest),
        property(clear_removes_what_has_expired_too),
        property(clear_of_nothing_is_fine),
        property(clear_leaves_the_store_usable),
        property(clear_removes_a_thousand).needs(&[crate::property::Need::Entries(1000)]),
        property(an_empty_store_lists_nothing).at_root(),
        property(clear_of_everything_removes_everything).at_root(),
        property(a_listing_shows_what_was_written_and_nothing_else).at_root(),
        property(prefixes_overlap).at_root(),
    ]
}

async fn keys(store: &Store) -> Verdict<Vec<String>> {
    let mut keys = store.keys().await?;
    keys.sort();
    Ok(keys)
}

async fn prefixes_stack(t: Subject) -> Verdict {
    let sub = t.store.prefix("a").prefix("b").prefix("c");
    sub.set("d", "value").await?;
    for (prefix, key) in [
        ("", "abcd"),
        ("a", "bcd"),
        ("ab", "cd"),
        ("abc", "d"),
        ("abcd", ""),
    ] {
        let store = t.store.prefix(prefix);
        same(store.keys().await?, [key])?;
        same(store.get::<String>(key).await?.as_deref(), Some("value"))?;
        same(
            store.entries::<String>().await?,
            [(key.to_owned(), "value".to_owned())],
        )?;
    }
    sub.del("d").await?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn prefixes_overlap(t: Subject) -> Verdict {
    t.store
        .set_many(["a", "aa", "ab", "a:", "a:b", "abc", "b", "A"].map(|key| (key, key)))
        .await?;
    same(
        keys(&t.store.prefix("a")).await?,
        ["", ":", ":b", "a", "b", "bc"],
    )?;
    same(keys(&t.store.prefix("ab")).await?, ["", "c"])?;
    same(keys(&t.store.prefix("a:")).await?, ["", "b"])?;
    same(keys(&t.store.prefix("a:b")).await?, [""])?;
    t.store.prefix("a:").clear().await?;
    same(keys(&t.store).await?, ["A", "a", "aa", "ab", "abc", "b"])?;
    t.store.prefix("ab").clear().await?;
    same(keys(&t.store).await?, ["A", "a", "aa", "b"])?;
    t.store.prefix("a").clear().await?;
    same(keys(&t.store).await?, ["A", "b"])
}

async fn an_empty_prefix_is_the_same_store(t: Subject) -> Verdict {
    let same_store = t.store.prefix("");
    same_store.set("a", &1).await?;
    same(t.store.get("a").await?, Some(1))?;
    same(same_store.keys().await?, ["a"])?;
    same_store.clear().await?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn an_empty_key_is_the_prefix_itself(t: Subject) -> Verdict {
    let sub = t.store.prefix("a:");
    sub.set("", "empty").await?;
    same(sub.get::<String>("").await?.as_deref(), Some("empty"))?;
    same(sub.has("").await?, true)?;
    same(sub.keys().await?, [""])?;
    same(t.store.keys().await?, ["a:"])?;
    sub.del("").await?;
    same(sub.keys().await?.is_empty(), true)
}

async fn a_prefix_without_entries_lists_nothing(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("c", 2)]).await?;
    let sub = t.store.prefix("b");
    same(sub.keys().await?.is_empty(), true)?;
    same(sub.values::<u32>().await?.is_empty(), true)?;
    same(sub.entries::<u32>().await?.is_empty(), true)?;
    same(sub.all::<u32>().await?.is_empty(), true)?;
    same(sub.stream::<u32>().try_next().await?, None)
}

async fn clear_of_a_prefix_leaves_the_rest(t: Subject) -> Verdict {
    let (left, right) = (t.store.prefix("left:"), t.store.prefix("right:"));
    for store in [&t.store, &left, &right] {
        store.set_many([("a", 1), ("b", 2)]).await?;
    }
    left.clear().await?;
    same(left.keys().await?.is_empty(), true)?;
    same(keys(&right).await?, ["a", "b"])?;
    same(keys(&t.store).await?, ["a", "b", "right:a", "right:b"])
}

async fn clear_removes_what_has_expired_too(t: Subject) -> Verdict {
    t.plant_expired("a").await?;
    t.store.set("b", &1).await?;
    t.store.clear().await?;
    // A store with a clock of its own may still be about to remove what expired.
    let left = t.physical_keys().await?;
    same(left.iter().any(|key| key == "b"), false)?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn clear_of_nothing_is_fine(t: Subject) -> Verdict {
    t.store.clear().await?;
    t.store.prefix("a").clear().await?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn clear_leaves_the_store_usable(t: Subject) -> Verdict {
    for round in 0..3 {
        t.store.set("a", &round).await?;
        same(t.store.get("a").await?, Some(round))?;
        t.store.clear().await?;
        same(t.store.get::<u32>("a").await?, None)?;
    }
    Ok(())
}

async fn clear_removes_a_thousand(t: Subject) -> Verdict {
    let sub = t.under("sub:");
    let entries: Vec<_> = (0..990)
        .map(|number| (format!("{number}"), number))
        .collect();
    sub.fill(&entries).await?;
    t.store.set("neighbour", &1).await?;
    sub.store.clear().await?;
    same(t.store.keys().await?, ["neighbour"])?;
    same(t.physical_keys().await?, ["neighbour"])
}

async fn an_empty_store_lists_nothing(t: Subject) -> Verdict {
    same(t.store.keys().await?.is_empty(), true)?;
    same(t.physical_keys().await?.is_empty(), true)?;
    same(t.store.stream::<u32>().try_next().await?, None)?;
    same(t.store.all::<u32>().await?.is_empty(), true)
}

async fn clear_of_everything_removes_everything(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("b:c", 2), ("é", 3)]).await?;
    t.plant_expired("expired").await?;
    t.store.clear().await?;
    same(t.store.keys().await?.is_empty(), true)?;
    t.store.set("a", &4).await?;
    same(t.store.entries::<u32>().await?, [("a".to_owned(), 4)])
}

async fn a_listing_shows_what_was_written_and_nothing_else(t: Subject) -> Verdict {
    let entries = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
    t.store.set_many(&entries).await?;
    t.store.set("c", &3).expires("1h").await?;
    t.store.del("c").await?;
    same(t.store.all::<u32>().await?, entries.clone())?;
    // As another handle on the same store sees it.
    same(kv(&t.store)?.all::<u32>().await?, entries)
}
