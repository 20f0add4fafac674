//! Any text is a key, and no key is taken for another.

use std::collections::{BTreeMap, BTreeSet};

use polystore_kv::{Entry, ErrorKind, Expiry, Result, Scan};

use super::hostile;
use crate::property::{Need, Property, property};
use crate::subject::Subject;
use crate::verdict::{Cases, Verdict, fails, holds, same, same_for};

const ROOM: Need = Need::Entries(1000);

pub(super) fn all() -> Vec<Property> {
    let twice = |make: fn() -> Property| [make(), make().at_root()];
    let mut all = Vec::new();
    all.extend(twice(|| property(hostile_keys_are_written_and_read)));
    all.extend(twice(|| {
        property(hostile_keys_are_listed_once_by_everything).needs(&[ROOM])
    }));
    all.extend(twice(|| {
        property(hostile_keys_are_deleted_alone).needs(&[ROOM])
    }));
    all.extend(twice(|| {
        property(hostile_keys_go_in_batches).needs(&[ROOM])
    }));
    all.extend(twice(|| {
        property(hostile_prefixes_list_their_own).needs(&[ROOM])
    }));
    all.extend(twice(|| {
        property(hostile_prefixes_clear_their_own).needs(&[ROOM])
    }));
    all.extend(twice(|| {
        property(hostile_prefixes_prune_their_own).needs(&[ROOM, Need::Prune])
    }));
    all.extend(twice(|| property(upper_and_lower_case_differ)));
    all.extend(twice(|| property(composed_and_decomposed_differ)));
    all.extend(twice(|| {
        property(hostile_keys_are_inserted_and_touched).needs(&[Need::Insert, Need::Touch])
    }));
    all.extend(twice(|| {
        property(hostile_keys_are_replaced).needs(&[Need::Replace])
    }));
    all.push(property(keys_that_the_store_refuses_change_nothing).needs(&[Need::RefusesKeys]));
    all
}

/// Writes each key with itself as the value, so that whatever is mixed up shows.
async fn write_all(t: &Subject, keys: &BTreeSet<String>) -> Result<()> {
    let entries: Vec<_> = keys.iter().map(|key| (key.clone(), key.clone())).collect();
    t.fill(&entries).await
}

async fn listing(t: &Subject) -> Result<BTreeMap<String, String>> {
    t.store.all().await
}

fn named_like_themselves(keys: &BTreeSet<String>) -> BTreeMap<String, String> {
    keys.iter().map(|key| (key.clone(), key.clone())).collect()
}

/// Says what is too much and what is missing, which tells more than both as a whole.
#[track_caller]
fn same_keys<'k>(
    found: impl IntoIterator<Item = &'k String>,
    expected: &BTreeSet<String>,
) -> Verdict {
    let found: Vec<&String> = found.into_iter().collect();
    let distinct: BTreeSet<&String> = found.iter().copied().collect();
    let extra: Vec<_> = distinct
        .iter()
        .filter(|key| !expected.contains(**key))
        .collect();
    let missing: Vec<_> = expected
        .iter()
        .filter(|key| !distinct.contains(key))
        .collect();
    holds(
        extra.is_empty() && missing.is_empty(),
        format_args!(
            "{} are missing: {missing:?}; {} are too much: {extra:?}",
            missing.len(),
            extra.len()
        ),
    )?;
    holds(found.len() == distinct.len(), "a key came twice")
}

async fn hostile_keys_are_written_and_read(t: Subject) -> Verdict {
    let mut cases = Cases::default();
    let keys = hostile::keys(&t);
    for part in keys.chunks(t.room_for(keys.len())) {
        for key in part {
            let one = async {
                t.store.set(key, key).await?;
                same(t.store.get::<String>(key).await?.as_ref(), Some(key))?;
                same(t.store.has(key).await?, true)?;
                same(t.store.entry(key).await?.is_some(), true)
            };
            cases.add(key, one.await)?;
        }
        // None was written over another.
        for key in part {
            let found = t.store.get::<String>(key).await?;
            cases.add(key, same(found.as_ref(), Some(key)))?;
        }
        if part.len() < keys.len() {
            t.store.clear().await?;
        }
    }
    cases.end()
}

async fn hostile_keys_are_listed_once_by_everything(t: Subject) -> Verdict {
    let keys = hostile::with_neighbours(&t);
    write_all(&t, &keys).await?;
    same_keys(&t.store.keys().await?, &keys)?;
    same_keys(&t.store.values::<String>().await?, &keys)?;
    let entries: Vec<(String, String)> = t.store.entries().await?;
    same_keys(entries.iter().map(|(key, _)| key), &keys)?;
    for (key, value) in &entries {
        same(value, key)?;
    }
    same(listing(&t).await? == named_like_themselves(&keys), true)?;
    let mut streamed = Vec::new();
    let mut stream = t.store.stream::<String>();
    while let Some((key, value)) = stream.try_next().await? {
        same(&value, &key)?;
        streamed.push(key);
    }
    same_keys(&streamed, &keys)?;
    let mut scanned = Vec::new();
    let mut scan = t.store.scan(Scan::new().limit(keys.len() + 1));
    while let Some((key, entry)) = scan.try_next().await? {
        same(entry.decode::<String>()?, key.clone())?;
        scanned.push(key);
    }
    // With a limit they are in the order of their bytes, as a set of strings is.
    same_keys(&scanned, &keys)?;
    same(scanned.iter().eq(&keys), true)
}

async fn hostile_keys_are_deleted_alone(t: Subject) -> Verdict {
    let keys = hostile::with_neighbours(&t);
    write_all(&t, &keys).await?;
    let mut cases = Cases::default();
    for key in hostile::keys(&t) {
        let one = async {
            t.store.del(&key).await?;
            same(t.store.get::<String>(&key).await?, None)?;
            let near = hostile::neighbours(&t, &key);
            let found = t.store.get_many::<String>(&near).await?;
            for near in near {
                same(found.get(&near), Some(&near))?;
            }
            Ok(())
        };
        cases.add(&key, one.await)?;
        t.store.set(&key, &key).await?;
    }
    cases.end()?;
    for key in hostile::keys(&t) {
        t.store.del(&key).await?;
    }
    let gone: BTreeSet<String> = hostile::keys(&t).into_iter().collect();
    let left: BTreeSet<String> = keys.difference(&gone).cloned().collect();
    same_keys(&t.store.keys().await?, &left)
}

async fn hostile_keys_go_in_batches(t: Subject) -> Verdict {
    let keys = hostile::with_neighbours(&t);
    write_all(&t, &keys).await?;
    let expected = named_like_themselves(&keys);
    same(t.store.get_many::<String>(&keys).await? == expected, true)?;
    let gone = hostile::keys(&t);
    t.store.del_many(&gone).await?;
    let gone: BTreeSet<String> = gone.into_iter().collect();
    let left: BTreeSet<String> = keys.difference(&gone).cloned().collect();
    same_keys(&t.store.keys().await?, &left)?;
    same_keys(t.store.get_many::<String>(&keys).await?.keys(), &left)
}

/// What begins with `prefix`, without it.
fn under(keys: &BTreeSet<String>, prefix: &str) -> BTreeSet<String> {
    let stripped = keys.iter().filter_map(|key| key.strip_prefix(prefix));
    stripped.map(ToOwned::to_owned).collect()
}

async fn hostile_prefixes_list_their_own(t: Subject) -> Verdict {
    let keys = hostile::with_neighbours(&t);
    write_all(&t, &keys).await?;
    let mut cases = Cases::default();
    for prefix in hostile::keys(&t) {
        let one = async {
            let (sub, expected) = (t.store.prefix(&prefix), under(&keys, &prefix));
            same_keys(&sub.keys().await?, &expected)?;
            for (key, value) in sub.entries::<String>().await? {
                same(value, format!("{prefix}{key}"))?;
            }
            let mut scanned = Vec::new();
            let mut scan = t
                .store
                .scan(Scan::new().prefix(&prefix).limit(10).values(false));
            while let Some((key, _)) = scan.try_next().await? {
                scanned.push(key);
            }
            let first = expected.iter().take(10).map(|key| format!("{prefix}{key}"));
            same(scanned, first.collect::<Vec<_>>())
        };
        cases.add(&prefix, one.await)?;
    }
    cases.end()
}

async fn hostile_prefixes_clear_their_own(t: Subject) -> Verdict {
    let keys = hostile::with_neighbours(&t);
    write_all(&t, &keys).await?;
    let mut cases = Cases::default();
    for prefix in hostile::keys(&t)
        .into_iter()
        .filter(|prefix| !prefix.is_empty())
    {
        t.store.prefix(&prefix).clear().await?;
        let (gone, left): (BTreeSet<_>, BTreeSet<_>) = keys
            .iter()
            .cloned()
            .partition(|key| key.starts_with(&prefix));
        let found = t.store.keys().await?;
        cases.add(&prefix, same_keys(&found, &left))?;
        let missing: BTreeSet<String> = if found.len() == left.len() {
            gone
        } else {
            keys.clone()
        };
        write_all(&t, &missing).await?;
    }
    cases.end()
}

async fn hostile_prefixes_prune_their_own(t: Subject) -> Verdict {
    let keys = hostile::keys(&t);
    for prefix in &keys {
        let sub = t.under(prefix);
        if !sub.accepts("expired") || !sub.accepts("live") {
            continue;
        }
        sub.plant_expired("expired").await?;
        sub.store.set("live", &1).await?;
        sub.store.prune().await?;
        same_for(prefix, sub.store.has("live").await?, true)?;
        let left = sub.physical_keys().await?;
        same_for(prefix, left.iter().any(|key| key == "expired"), false)?;
    }
    Ok(())
}

async fn upper_and_lower_case_differ(t: Subject) -> Verdict {
    let keys = [
        "key", "Key", "KEY", "ß", "SS", "ss", "é", "É", "ς", "Σ", "σ",
    ];
    let keys = keys.into_iter().filter(|key| t.accepts(key));
    let mut keys: BTreeSet<String> = keys.map(String::from).collect();
    write_all(&t, &keys).await?;
    same(listing(&t).await?, named_like_themselves(&keys))?;
    same_keys(&t.store.prefix("k").keys().await?, &under(&keys, "k"))?;
    same_keys(&t.store.prefix("K").keys().await?, &under(&keys, "K"))?;
    t.store.prefix("k").clear().await?;
    t.store.del("É").await?;
    keys.retain(|key| key != "key" && key != "É");
    same_keys(&t.store.keys().await?, &keys)
}

async fn composed_and_decomposed_differ(t: Subject) -> Verdict {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let keys: BTreeSet<String> = [composed, decomposed, "cafe"].map(String::from).into();
    write_all(&t, &keys).await?;
    same(listing(&t).await?, named_like_themselves(&keys))?;
    same_keys(&t.store.prefix("cafe").keys().await?, &under(&keys, "cafe"))?;
    t.store.prefix(composed).clear().await?;
    same(t.store.has(composed).await?, false)?;
    same(t.store.has(decomposed).await?, true)?;
    t.store.del(decomposed).await?;
    same(t.store.keys().await?, ["cafe"])
}

async fn hostile_keys_are_inserted_and_touched(t: Subject) -> Verdict {
    let mut cases = Cases::default();
    let keys = hostile::keys(&t);
    for key in &keys {
        let one = async {
            same(t.store.touch(key, "1h").await?, false)?;
            same(t.store.insert(key, key).await?, true)?;
            same(t.store.insert(key, "again").await?, false)?;
            same(t.store.touch(key, "1h").await?, true)?;
            same(t.store.get::<String>(key).await?.as_ref(), Some(key))
        };
        cases.add(key, one.await)?;
    }
    cases.end()?;
    same_keys(&t.store.keys().await?, &keys.into_iter().collect())
}

async fn hostile_keys_are_replaced(t: Subject) -> Verdict {
    let mut cases = Cases::default();
    let keys = hostile::keys(&t);
    // Each one is replaced while all others are there, and later while none is.
    t.store
        .set_many(keys.iter().map(|key| (key, "old")))
        .await?;
    for key in &keys {
        cases.add(key, replaced(&t, key, true).await)?;
    }
    t.store.clear().await?;
    for key in &keys {
        cases.add(key, replaced(&t, key, false).await)?;
    }
    cases.end()?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn replaced(t: &Subject, key: &str, is_there: bool) -> Verdict {
    same(t.store.replace(key, key).await?, is_there)?;
    same(
        t.store.get::<String>(key).await?.as_deref(),
        is_there.then_some(key),
    )
}

async fn keys_that_the_store_refuses_change_nothing(t: Subject) -> Verdict {
    t.store.set("a", "first").await?;
    let mut refused: Vec<String> = t
        .can
        .refused_chars
        .iter()
        .flat_map(|c| [format!("a{c}b"), c.to_string()])
        .collect();
    if let Some(most) = t.can.max_key_bytes {
        let room = most - t.prefix.len();
        let fits = "k".repeat(room);
        t.store.set(&fits, &1).await?;
        same(t.store.get(&fits).await?, Some(1))?;
        t.store.del(&fits).await?;
        refused.push("k".repeat(10 * most));
        // A store that encodes keys may have room for more of some characters.
        for longer in [fits + "k", "é".repeat(room / 2 + 1)] {
            if t.store.set(&longer, &1).await.is_err() {
                refused.push(longer);
                continue;
            }
            same(t.store.get(&longer).await?, Some(1))?;
            same(t.store.keys().await?.contains(&longer), true)?;
            t.store.del(&longer).await?;
        }
    }
    for key in &refused {
        refuses(&t, key).await?;
    }
    // These are refused as they are: a prefix would make other keys of them.
    let whole = polystore_kv::kv(std::sync::Arc::clone(t.store.backend()))?;
    let whole = Subject {
        store: whole,
        prefix: String::new(),
        can: t.can.clone(),
    };
    for key in &t.can.refused_keys {
        refuses(&whole, key).await?;
    }
    same(
        t.store
            .all::<String>()
            .await?
            .into_iter()
            .collect::<Vec<_>>(),
        [("a".into(), "first".into())],
    )
}

async fn refuses(t: &Subject, key: &str) -> Verdict {
    let error = fails(t.store.set(key, &1).await, ErrorKind::InvalidKey)?;
    holds(error.is_usage(), "it is not a usage error")?;
    let entry = Entry::new(&1, Expiry::Never)?;
    fails(t.store.put(key, entry).await, ErrorKind::InvalidKey)?;
    fails(t.store.set_many([(key, 1)]).await, ErrorKind::InvalidKey)?;
    if t.can.insert {
        fails(t.store.insert(key, &1).await, ErrorKind::InvalidKey)?;
    }
    if t.can.replace {
        // Nothing can be there.
        match t.store.replace(key, &1).await {
            Ok(replaced) => same_for(key, replaced, false)?,
            Err(error) => same_for(key, error.kind(), ErrorKind::InvalidKey)?,
        }
    }
    // A read may say so too, or that there is nothing.
    match t.store.get::<u32>(key).await {
        Ok(found) => same_for(key, found, None),
        Err(error) => same_for(key, error.kind(), ErrorKind::InvalidKey),
    }
}
