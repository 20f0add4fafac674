//! Streams and pages.

use std::collections::{BTreeMap, BTreeSet};

use polystore_kv::{Entry, Expiry, Scan, Store};

use crate::property::{Need, Property, property};
use crate::runtime;
use crate::subject::Subject;
use crate::verdict::{Stop, Verdict, holds, same, same_for, some};

/// In the order of their bytes. That of UTF-16 would put the third last before the second last.
const IN_ORDER: [&str; 12] = [
    "",
    "\u{0}",
    "\n",
    " ",
    "A",
    "a",
    "a\u{0}",
    "aa",
    "b",
    "é",
    "\u{ffff}",
    "\u{10000}",
];

pub(super) fn all() -> Vec<Property> {
    vec![
        property(ten_thousand_entries_stream_once_each).needs(&[Need::Entries(200)]),
        property(pages_put_together_are_the_whole).needs(&[Need::Entries(200)]),
        property(pages_come_in_the_order_of_bytes),
        property(a_page_begins_after_a_key_that_need_not_exist),
        property(a_page_stays_within_its_prefix),
        property(a_limit_of_nothing_and_of_too_much),
        property(a_page_follows_what_is_written_before_it),
        property(a_scan_gives_exact_entries).needs(&[Need::Ttl]),
        property(ordered_stores_list_in_the_order_of_bytes).needs(&[Need::Ordered]),
        property(a_stream_runs_on_another_task).needs(&[Need::Entries(100)]),
        property(a_stream_outlives_its_substore).needs(&[Need::Entries(100)]),
        property(a_stream_can_be_dropped_halfway).needs(&[Need::Entries(200)]),
        property(two_streams_run_side_by_side).needs(&[Need::Entries(100)]),
        property(what_stays_shows_once_while_others_are_written).needs(&[Need::Entries(1500)]),
        property(what_is_overwritten_meanwhile_shows_once).needs(&[Need::Entries(500)]),
        property(a_value_of_another_type_does_not_end_a_stream),
    ]
}

fn numbered(count: usize) -> Vec<(String, usize)> {
    (0..count)
        .map(|number| (format!("{number:05}"), number))
        .collect()
}

async fn page(store: &Store, scan: Scan) -> Verdict<Vec<String>> {
    let mut entries = store.scan(scan);
    let mut keys = Vec::new();
    while let Some((key, _)) = entries.try_next().await? {
        keys.push(key);
    }
    Ok(keys)
}

/// Each of `count` numbered entries, once.
#[track_caller]
fn all_of(found: &[(String, usize)], count: usize) -> Verdict {
    let distinct: BTreeMap<&String, usize> = found.iter().map(|(k, v)| (k, *v)).collect();
    same_for("how many", found.len(), count)?;
    same_for("how many different", distinct.len(), count)?;
    let wrong = distinct
        .iter()
        .find(|(key, value)| ***key != format!("{value:05}"));
    same(wrong, None)
}

async fn read<T: serde::de::DeserializeOwned>(
    mut stream: polystore_kv::Entries<T>,
) -> Verdict<Vec<(String, T)>> {
    let mut found = Vec::new();
    while let Some(entry) = stream.try_next().await? {
        found.push(entry);
    }
    Ok(found)
}

async fn ten_thousand_entries_stream_once_each(t: Subject) -> Verdict {
    let count = t.room_for(10_000);
    t.fill(&numbered(count)).await?;
    all_of(&read(t.store.stream()).await?, count)?;
    same(t.store.keys().await?.len(), count)?;
    let tenth = read(t.store.prefix("000").stream::<usize>()).await?;
    same(tenth.len(), count.min(100))
}

async fn pages_put_together_are_the_whole(t: Subject) -> Verdict {
    let count = t.room_for(200);
    // Not in order, and with expired ones between.
    let mut entries = numbered(count);
    entries.reverse();
    t.fill(&entries[..count / 2]).await?;
    t.plant_expired("00077x").await?;
    t.fill(&entries[count / 2..]).await?;
    let whole: Vec<String> = numbered(count).into_iter().map(|(key, _)| key).collect();
    for size in [1, 7, 64, count, count + 1] {
        let mut together: Vec<String> = Vec::new();
        loop {
            let mut scan = Scan::new().limit(size);
            scan.after = together.last().cloned();
            let page = page(&t.store, scan).await?;
            holds(
                page.len() <= size,
                format_args!("{} came of {size}", page.len()),
            )?;
            if page.is_empty() {
                break;
            }
            together.extend(page);
            holds(together.len() <= count, "the pages do not end")?;
        }
        same_for(size, together, whole.clone())?;
    }
    Ok(())
}

async fn pages_come_in_the_order_of_bytes(t: Subject) -> Verdict {
    let sub = t.under("sub");
    let expected: Vec<&str> = IN_ORDER
        .into_iter()
        .filter(|key| sub.accepts(key))
        .collect();
    for key in expected.iter().rev() {
        sub.store.set(key, key).await?;
    }
    t.store.set("neighbour", &1).await?;
    same(
        page(&sub.store, Scan::new().limit(100)).await?,
        expected.clone(),
    )?;
    for place in 0..expected.len() {
        let scan = Scan::new().after(expected[place]).limit(2);
        let next: Vec<&str> = expected[place + 1..].iter().take(2).copied().collect();
        same_for(expected[place], page(&sub.store, scan).await?, next)?;
    }
    Ok(())
}

async fn a_page_begins_after_a_key_that_need_not_exist(t: Subject) -> Verdict {
    t.store.set_many([("b", 1), ("d", 2), ("f", 3)]).await?;
    for (after, expected) in [
        ("a", &["b", "d", "f"][..]),
        ("b", &["d", "f"]),
        ("bb", &["d", "f"]),
        ("c", &["d", "f"]),
        ("e\u{10ffff}", &["f"]),
        ("f", &[]),
        ("z", &[]),
        ("", &["b", "d", "f"]),
    ] {
        same_for(
            after,
            page(&t.store, Scan::new().after(after).limit(10)).await?,
            expected,
        )?;
        let mut all = page(&t.store, Scan::new().after(after)).await?;
        all.sort();
        same_for(after, all, expected)?;
    }
    Ok(())
}

async fn a_page_stays_within_its_prefix(t: Subject) -> Verdict {
    t.store
        .set_many(["a", "b", "b1", "b2", "b3", "c", "B1"].map(|key| (key, 1)))
        .await?;
    let scan = || Scan::new().prefix("b");
    same(
        page(&t.store, scan().limit(10)).await?,
        ["b", "b1", "b2", "b3"],
    )?;
    same(page(&t.store, scan().limit(2)).await?, ["b", "b1"])?;
    same(
        page(&t.store, scan().limit(2).after("b1")).await?,
        ["b2", "b3"],
    )?;
    same(
        page(&t.store, scan().limit(2).after("a")).await?,
        ["b", "b1"],
    )?;
    same(
        page(&t.store, scan().limit(2).after("b3"))
            .await?
            .is_empty(),
        true,
    )?;
    same(
        page(&t.store, scan().limit(2).after("c")).await?.is_empty(),
        true,
    )?;
    let sub = t.store.prefix("b");
    same(page(&sub, Scan::new().limit(2)).await?, ["", "1"])?;
    same(
        page(&sub, Scan::new().limit(9).after("1")).await?,
        ["2", "3"],
    )?;
    same(page(&sub, Scan::new().prefix("2").limit(9)).await?, ["2"])
}

async fn a_limit_of_nothing_and_of_too_much(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("b", 2)]).await?;
    same(page(&t.store, Scan::new().limit(0)).await?.is_empty(), true)?;
    same(page(&t.store, Scan::new().limit(2)).await?, ["a", "b"])?;
    same(
        page(&t.store, Scan::new().limit(usize::MAX)).await?,
        ["a", "b"],
    )
}

async fn a_page_follows_what_is_written_before_it(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("b", 2), ("c", 3)]).await?;
    same(page(&t.store, Scan::new().limit(1)).await?, ["a"])?;
    t.store.del("b").await?;
    t.store.set("aa", &4).await?;
    same(
        page(&t.store, Scan::new().after("a").limit(2)).await?,
        ["aa", "c"],
    )
}

async fn a_scan_gives_exact_entries(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    t.store.set("b", &[2]).expires("1h").await?;
    for key in ["a", "b"] {
        let mut scan = t.store.scan(Scan::new().prefix(key).limit(1));
        let (found, entry) = some(scan.try_next().await?)?;
        same(&found[..], key)?;
        t.same_entry(&entry, &some(t.store.entry(key).await?)?)?;
    }
    let mut scan = t.store.scan(Scan::new().expiries(false).limit(1));
    let (_, entry) = some(scan.try_next().await?)?;
    same(entry.decode::<u32>()?, 1)?;
    holds(
        matches!(entry.expiry(), Expiry::Never | Expiry::Unread),
        "it expires",
    )
}

async fn ordered_stores_list_in_the_order_of_bytes(t: Subject) -> Verdict {
    let expected: Vec<&str> = IN_ORDER.into_iter().filter(|key| t.accepts(key)).collect();
    for key in expected.iter().rev() {
        t.store.set(key, key).await?;
    }
    same(t.store.keys().await?, expected.clone())?;
    same(t.store.values::<String>().await?, expected.clone())?;
    let entries = t.store.entries::<String>().await?;
    same(entries.iter().map(|(key, _)| key).eq(&expected), true)?;
    let streamed = read(t.store.stream::<String>()).await?;
    same(streamed, entries)
}

async fn a_stream_runs_on_another_task(t: Subject) -> Verdict {
    t.fill(&numbered(100)).await?;
    let found = runtime::spawn(read(t.store.stream::<usize>())).await?;
    all_of(&found, 100)
}

async fn a_stream_outlives_its_substore(t: Subject) -> Verdict {
    let sub = t.under("sub:");
    sub.fill(&numbered(100)).await?;
    t.store.set("neighbour", &1).await?;
    let stream = {
        let temporary = t.store.prefix("sub:");
        temporary.stream::<usize>()
    };
    all_of(&read(stream).await?, 100)
}

async fn a_stream_can_be_dropped_halfway(t: Subject) -> Verdict {
    t.fill(&numbered(200)).await?;
    for _ in 0..20 {
        let mut stream = t.store.stream::<usize>();
        for _ in 0..10 {
            some(stream.try_next().await?)?;
        }
    }
    // Nothing is held by those: writes go on.
    t.store.set("00000", &0).await?;
    t.store.clear().await?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn two_streams_run_side_by_side(t: Subject) -> Verdict {
    t.fill(&numbered(100)).await?;
    let (mut one, mut other) = (t.store.stream::<usize>(), t.store.stream::<usize>());
    let (mut from_one, mut from_other) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        from_one.push(some(one.try_next().await?)?);
        from_other.push(some(other.try_next().await?)?);
        // Reading and writing within a listing must not lock up.
        t.store.get::<usize>("00001").await?;
    }
    t.store.set("00001", &1).await?;
    same(one.try_next().await?, None)?;
    all_of(&from_one, 100)?;
    all_of(&from_other, 100)
}

async fn what_stays_shows_once_while_others_are_written(t: Subject) -> Verdict {
    let stays: BTreeSet<String> = (0..600)
        .map(|number| format!("{number:03} stays"))
        .collect();
    let goes: Vec<String> = (0..300)
        .map(|number| format!("{:03} goes", number * 2))
        .collect();
    let comes: Vec<String> = (0..300)
        .map(|number| format!("{:03} comes", number * 2))
        .collect();
    let entries: Vec<(String, u32)> = stays
        .iter()
        .chain(&goes)
        .map(|key| (key.clone(), 1))
        .collect();
    t.fill(&entries).await?;
    let mut stream = t.store.stream::<u32>();
    let mut found = vec![some(stream.try_next().await?)?.0];
    let store = t.store.clone();
    let writer = runtime::spawn(async move {
        for (goes, comes) in goes.chunks(10).zip(comes.chunks(10)) {
            store.del_many(goes).await?;
            store.set_many(comes.iter().map(|key| (key, 1))).await?;
        }
        Ok::<_, Stop>(())
    });
    while let Some((key, _)) = stream.try_next().await? {
        found.push(key);
        if found.len() % 50 == 0 {
            runtime::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    writer.await?;
    let distinct: BTreeSet<String> = found.iter().cloned().collect();
    same_for("keys that came twice", found.len() - distinct.len(), 0)?;
    let missing: Vec<_> = stays.difference(&distinct).collect();
    holds(missing.is_empty(), format_args!("{missing:?} did not show"))
}

async fn what_is_overwritten_meanwhile_shows_once(t: Subject) -> Verdict {
    t.fill(&numbered(500)).await?;
    let mut stream = t.store.stream::<usize>();
    let mut found = vec![some(stream.try_next().await?)?];
    let store = t.store.clone();
    let writer = runtime::spawn(async move {
        for part in numbered(500).chunks(25) {
            store
                .set_many(part.iter().map(|(k, v)| (k, v)))
                .expires("1h")
                .await?;
        }
        Ok::<_, Stop>(())
    });
    while let Some(entry) = stream.try_next().await? {
        found.push(entry);
    }
    writer.await?;
    all_of(&found, 500)
}

async fn a_value_of_another_type_does_not_end_a_stream(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("c", 3)]).await?;
    t.store.put("b", Entry::new("text", Expiry::Never)?).await?;
    let mut stream = t.store.stream::<u32>();
    let (mut found, mut errors) = (BTreeSet::new(), 0);
    loop {
        match stream.try_next().await {
            Ok(Some((key, _))) => drop(found.insert(key)),
            Ok(None) => break,
            Err(error) => {
                same(error.key(), Some(&t.full("b")[..]))?;
                errors += 1;
            }
        }
    }
    same(errors, 1)?;
    same(found, BTreeSet::from(["a", "c"].map(String::from)))
}
