//! What has expired shows nowhere, and leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join;
use polystore_kv::{Entry, ErrorKind, Expiry, Scan, Timestamp};
use serde_json::Value;

use crate::property::{Need, Property, property};
use crate::runtime::{self, Instant, Signal};
use crate::subject::Subject;
use crate::verdict::{Stop, Verdict, fails, holds, same, same_for, some};

pub(super) fn all() -> Vec<Property> {
    let prune = |property: Property| property.needs(&[Need::Prune]);
    vec![
        property(single_reads_show_nothing_expired),
        property(get_many_shows_nothing_expired),
        property(keys_show_nothing_expired),
        property(values_entries_and_all_show_nothing_expired),
        property(streams_and_scans_show_nothing_expired),
        property(a_limit_counts_nothing_expired),
        property(set_over_what_has_expired_is_there),
        property(reading_never_takes_what_is_renewed_meanwhile),
        prune(property(prune_removes_physically)),
        prune(property(prune_leaves_what_is_live)),
        prune(property(prune_stays_within_its_prefix)),
        prune(property(prune_never_takes_what_is_renewed_meanwhile)),
        prune(property(prune_removes_physically)).at_root(),
        prune(property(evict_removes_what_is_unchanged)).needs(&[Need::Ttl]),
        prune(property(evict_leaves_what_was_overwritten)).needs(&[Need::Ttl]),
        prune(property(evict_leaves_what_has_another_expiry)).needs(&[Need::Ttl]),
        prune(property(evict_of_a_missing_key_is_false)),
        prune(property(what_has_expired_leaves_by_itself)),
        property(prune_is_unsupported).needs(&[Need::NoPrune]),
    ]
}

/// Live `a c e`, and `b d` which have expired: one was never live, one was.
async fn mixed(t: &Subject) -> Verdict {
    t.store.set("d", "expired").expires("20ms").await?;
    t.plant_expired("b").await?;
    t.store.set("a", "live").await?;
    t.store.set("c", "live").expires("1h").await?;
    t.store.set_many([("e", "live")]).await?;
    t.wait_until_gone("d").await
}

fn live() -> BTreeMap<String, String> {
    ["a", "c", "e"]
        .map(|key| (key.to_owned(), "live".to_owned()))
        .into()
}

async fn single_reads_show_nothing_expired(t: Subject) -> Verdict {
    mixed(&t).await?;
    for key in ["b", "d"] {
        same_for(key, t.store.get::<Value>(key).await?, None)?;
        same_for(key, t.store.has(key).await?, false)?;
        same_for(key, t.store.entry(key).await?, None)?;
        same_for(key, t.store.ttl(key).await?, None)?;
    }
    for key in ["a", "c", "e"] {
        same_for(
            key,
            t.store.get::<String>(key).await?.as_deref(),
            Some("live"),
        )?;
    }
    Ok(())
}

async fn get_many_shows_nothing_expired(t: Subject) -> Verdict {
    mixed(&t).await?;
    same(t.store.get_many(["a", "b", "c", "d", "e"]).await?, live())
}

async fn keys_show_nothing_expired(t: Subject) -> Verdict {
    mixed(&t).await?;
    let mut keys = t.store.keys().await?;
    keys.sort();
    same(keys, ["a", "c", "e"])?;
    same(t.store.prefix("b").keys().await?.is_empty(), true)
}

async fn values_entries_and_all_show_nothing_expired(t: Subject) -> Verdict {
    mixed(&t).await?;
    same(t.store.values::<String>().await?, ["live"; 3])?;
    same(
        BTreeMap::from_iter(t.store.entries::<String>().await?),
        live(),
    )?;
    same(t.store.all::<String>().await?, live())
}

async fn streams_and_scans_show_nothing_expired(t: Subject) -> Verdict {
    mixed(&t).await?;
    let mut found = BTreeMap::new();
    let mut stream = t.store.stream::<String>();
    while let Some((key, value)) = stream.try_next().await? {
        found.insert(key, value);
    }
    same(found, live())?;
    for (values, expiries) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut scan = t.store.scan(Scan::new().values(values).expiries(expiries));
        let mut keys = Vec::new();
        while let Some((key, _)) = scan.try_next().await? {
            keys.push(key);
        }
        keys.sort();
        same_for((values, expiries), keys, ["a", "c", "e"])?;
    }
    Ok(())
}

async fn a_limit_counts_nothing_expired(t: Subject) -> Verdict {
    for number in 0..12 {
        let key = format!("{number:02}");
        if number % 3 == 2 {
            t.store.set(&key, &number).await?;
        } else {
            t.plant_expired(&key).await?;
        }
    }
    let mut scan = t.store.scan(Scan::new().limit(3));
    for expected in ["02", "05", "08"] {
        same(some(scan.try_next().await?)?.0, expected)?;
    }
    same(scan.try_next().await?, None)?;
    let mut scan = t.store.scan(
        Scan::new()
            .after("05")
            .limit(2)
            .values(false)
            .expiries(false),
    );
    for expected in ["08", "11"] {
        same(some(scan.try_next().await?)?.0, expected)?;
    }
    same(scan.try_next().await?, None)
}

async fn set_over_what_has_expired_is_there(t: Subject) -> Verdict {
    t.plant_expired("a").await?;
    t.plant_expired("b").await?;
    t.store.set("a", &1).await?;
    t.store.set("b", &2).expires("1h").await?;
    same(t.store.get("a").await?, Some(1))?;
    same(t.store.get("b").await?, Some(2))?;
    same(t.store.keys().await?.len(), 2)
}

/// Stores that remove an expired entry when they meet one may meet it as it is renewed.
async fn reading_never_takes_what_is_renewed_meanwhile(t: Subject) -> Verdict {
    for round in 0..25 {
        let key = format!("key {round}");
        t.plant_expired(&key).await?;
        let begun = Signal::default();
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (store, key, begun) = (t.store.clone(), key.clone(), begun.clone());
                runtime::spawn(async move {
                    begun.give();
                    store.get::<u32>(&key).await?;
                    store.has(&key).await?;
                    store.get_many::<u32>([&key]).await?;
                    store.keys().await?;
                    Ok::<_, Stop>(())
                })
            })
            .collect();
        begun.wait().await;
        t.store.set(&key, &round).await?;
        for reader in readers {
            reader.await?;
        }
        same(t.store.get(&key).await?, Some(round))?;
    }
    same(t.store.keys().await?.len(), 25)
}

async fn prune_removes_physically(t: Subject) -> Verdict {
    for number in 0..30 {
        t.plant_expired(&format!("expired {number}")).await?;
    }
    t.store.set("live", &1).await?;
    // The store may have removed some by itself already.
    let pruned = t.store.prune().await?;
    holds(pruned <= 30, format_args!("{pruned} went of 30"))?;
    same(t.physical_keys().await?, ["live"])?;
    same(t.store.prune().await?, 0)
}

async fn prune_leaves_what_is_live(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    t.store.set("b", &2).expires("1h").await?;
    same(t.store.prune().await?, 0)?;
    same(t.store.all::<u32>().await?.len(), 2)
}

async fn prune_stays_within_its_prefix(t: Subject) -> Verdict {
    let (left, right) = (t.under("a"), t.under("b"));
    for number in 0..5 {
        left.plant_expired(&format!("{number}")).await?;
        right.plant_expired(&format!("{number}")).await?;
    }
    let pruned = left.store.prune().await?;
    holds(pruned <= 5, format_args!("{pruned} went of 5"))?;
    same(left.physical_keys().await?.is_empty(), true)?;
    let pruned = right.store.prune().await?;
    holds(pruned <= 5, format_args!("{pruned} went of 5"))?;
    same(right.physical_keys().await?.is_empty(), true)
}

async fn prune_never_takes_what_is_renewed_meanwhile(t: Subject) -> Verdict {
    for round in 0..15 {
        let keys: Vec<String> = (0..10).map(|number| format!("{round}:{number}")).collect();
        for key in &keys {
            t.plant_expired(key).await?;
        }
        let begun = Signal::default();
        let pruner = {
            let (store, begun) = (t.store.clone(), begun.clone());
            runtime::spawn(async move {
                begun.give();
                store.prune().await
            })
        };
        begun.wait().await;
        let renewals = keys
            .iter()
            .map(|key| t.store.set(key, &round).expires("1h"));
        let renewed = futures_util::future::try_join_all(renewals);
        let (renewed, pruned) = join(renewed, pruner).await;
        renewed?;
        pruned?;
        same(t.store.get_many::<u32>(&keys).await?.len(), keys.len())?;
    }
    Ok(())
}

async fn evict_removes_what_is_unchanged(t: Subject) -> Verdict {
    t.store.set("a", &1).expires("1h").await?;
    let seen = some(t.store.entry("a").await?)?;
    let backend = t.store.backend();
    same(backend.evict(&t.full("a"), &seen).await?, true)?;
    same(t.store.has("a").await?, false)?;
    same(t.physical_keys().await?.is_empty(), true)?;
    same(backend.evict(&t.full("a"), &seen).await?, false)
}

async fn evict_leaves_what_was_overwritten(t: Subject) -> Verdict {
    let past = Expiry::At(Timestamp::from_millis(Timestamp::now().as_millis() - 1000));
    t.plant_expired("a").await?;
    let seen = Entry::new("expired", past)?;
    t.store.set("a", &2).await?;
    same(t.store.backend().evict(&t.full("a"), &seen).await?, false)?;
    t.store.set("b", &1).expires("1h").await?;
    let seen = some(t.store.entry("b").await?)?;
    t.store.put("b", Entry::new(&2, seen.expiry())?).await?;
    same(t.store.backend().evict(&t.full("b"), &seen).await?, false)?;
    same(t.store.get("a").await?, Some(2))?;
    same(t.store.get("b").await?, Some(2))
}

async fn evict_leaves_what_has_another_expiry(t: Subject) -> Verdict {
    t.store.set("a", &1).expires("1h").await?;
    let seen = some(t.store.entry("a").await?)?;
    t.store.set("a", &1).expires("2h").await?;
    same(t.store.backend().evict(&t.full("a"), &seen).await?, false)?;
    t.store.set("a", &1).await?;
    same(t.store.backend().evict(&t.full("a"), &seen).await?, false)?;
    same(t.store.get("a").await?, Some(1))
}

async fn evict_of_a_missing_key_is_false(t: Subject) -> Verdict {
    let seen = Entry::new(&1, Expiry::Never)?;
    same(t.store.backend().evict(&t.full("a"), &seen).await?, false)
}

/// Without `prune`, as long as the store is used.
async fn what_has_expired_leaves_by_itself(t: Subject) -> Verdict {
    for number in 0..20 {
        t.store
            .set(&format!("short {number}"), &number)
            .expires("30ms")
            .await?;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        t.store.set("live", &1).expires("1h").await?;
        t.store.get::<u32>("live").await?;
        let left = t.physical_keys().await?.len() - 1;
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Stop::failed(format_args!(
                "{left} of 20 are still there after 30 s"
            )));
        }
        runtime::sleep(Duration::from_millis(20)).await;
    }
}

async fn prune_is_unsupported(t: Subject) -> Verdict {
    t.store.set("live", &1).await?;
    let seen = some(t.store.backend().get(&t.full("live")).await?)?;
    let evict = t.store.backend().evict(&t.full("live"), &seen).await;
    fails(evict, ErrorKind::Unsupported)?;
    t.plant_expired("expired").await?;
    if t.physical_keys().await?.len() < 2 {
        return Err(Stop::Skipped("it keeps nothing that could be pruned"));
    }
    let error = fails(t.store.prune().await, ErrorKind::Unsupported)?;
    same(error.backend(), Some(&*t.store.kind()))?;
    same(error.operation(), Some("prune"))?;
    same(t.store.keys().await?, ["live"])
}
