//! How long values stay.

use std::time::Duration;

use polystore_kv::{Entry, ErrorKind, Expires, Expiry, Store, Timestamp};
use serde_json::{Value, json};

use crate::property::{Need, Property, property};
use crate::runtime::{self, Instant};
use crate::subject::Subject;
use crate::verdict::{Cases, Stop, Verdict, fails, holds, same, same_for, some};

pub(super) fn all() -> Vec<Property> {
    let timed = |property: Property| property.needs(&[Need::Ttl]);
    vec![
        property(nothing_expires_early),
        property(what_has_expired_is_gone_and_stays_gone),
        property(the_shortest_expiry_is_taken),
        timed(property(
            an_expiry_is_a_number_a_fraction_a_duration_or_words,
        )),
        timed(property(an_expiry_of_never_stays)),
        property(an_expiry_that_is_not_in_the_future_deletes),
        property(an_expiry_that_means_nothing_is_refused_and_changes_nothing),
        property(an_expiry_too_far_is_refused_and_changes_nothing),
        timed(property(the_furthest_expiry_is_kept)),
        timed(property(set_overwrites_an_expiry)),
        property(a_value_set_without_expiry_outlives_the_one_before),
        timed(property(a_substore_has_a_default_expiry)),
        timed(property(a_write_overrides_the_default_expiry)),
        property(a_default_expiry_that_means_nothing_fails_each_write_and_no_read),
        property(a_default_expiry_that_is_over_deletes),
        timed(property(the_instant_of_expiry_is_exact)),
        property(put_of_what_has_expired_deletes),
        property(put_of_null_deletes),
        property(put_of_an_unread_expiry_is_refused_and_changes_nothing),
        timed(property(put_ignores_the_default_expiry)),
        timed(property(ttl_of_a_missing_key_is_none)),
        timed(property(ttl_of_what_stays_is_never)),
        timed(property(ttl_counts_down)),
        property(ttl_is_unsupported).needs(&[Need::NoTtl]),
    ]
}

/// What is written now under `key` with an expiry of `duration` says so.
async fn expires_in(
    t: &Subject,
    store: &Store,
    key: &str,
    duration: Duration,
    before: Timestamp,
) -> Verdict {
    let entry = some(store.entry(key).await?)?;
    let Expiry::At(at) = entry.expiry() else {
        return Err(Stop::failed(format_args!(
            "{key:?} has the expiry {:?}",
            entry.expiry()
        )));
    };
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let off = millis(t.clocks_differ_by());
    let earliest = before.as_millis() + millis(duration) - off;
    let latest = Timestamp::now().as_millis() + millis(duration + t.granularity()) + 2 + off;
    holds(
        (earliest..=latest).contains(&at.as_millis()),
        format_args!("{key:?} expires at {at:?}, not from {earliest} to {latest}"),
    )
}

async fn nothing_expires_early(t: Subject) -> Verdict {
    for millis in [30, 120, 400] {
        let time = Duration::from_millis(millis);
        let begun = Instant::now();
        t.store.set("a", &millis).expires(time).await?;
        loop {
            let found = t.store.get::<u64>("a").await?;
            let listed = t.store.keys().await?.len();
            let elapsed = begun.elapsed();
            if elapsed >= time {
                break;
            }
            // It was read before it may go, so it has to be there.
            same_for(elapsed, found, Some(millis))?;
            same_for(elapsed, listed, 1)?;
            runtime::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(())
}

async fn what_has_expired_is_gone_and_stays_gone(t: Subject) -> Verdict {
    t.store.set("a", &1).expires("40ms").await?;
    t.store.set("b", &1).expires("1h").await?;
    t.wait_until_gone("a").await?;
    for _ in 0..20 {
        same(t.store.get::<Value>("a").await?, None)?;
        same(t.store.has("a").await?, false)?;
        same(t.store.keys().await?, ["b"])?;
        runtime::sleep(Duration::from_millis(2)).await;
    }
    t.store.set("a", &2).await?;
    same(t.store.get("a").await?, Some(2))
}

async fn the_shortest_expiry_is_taken(t: Subject) -> Verdict {
    for short in [
        Duration::from_nanos(1),
        Duration::from_micros(300),
        Duration::from_millis(1),
    ] {
        t.store.set("a", &1).expires(short).await?;
        t.wait_until_gone("a").await?;
        same(t.store.keys().await?.is_empty(), true)?;
    }
    Ok(())
}

async fn an_expiry_is_a_number_a_fraction_a_duration_or_words(t: Subject) -> Verdict {
    let cases: Vec<(&str, Expires, u64)> = vec![
        ("number", Expires::from(90), 90_000),
        ("fraction", Expires::try_from(90.25)?, 90_250),
        ("duration", Duration::from_millis(90_001).into(), 90_001),
        ("seconds", "90".parse()?, 90_000),
        ("words", "1.5 hours".parse()?, 5_400_000),
        ("parts", "1h 30m".parse()?, 5_400_000),
        ("commas", "3,600s".parse()?, 3_600_000),
        ("long", "2 years".parse()?, 63_115_200_000),
    ];
    for (key, expires, millis) in cases {
        let before = Timestamp::now();
        t.store.set(key, &1).expires(expires).await?;
        expires_in(&t, &t.store, key, Duration::from_millis(millis), before).await?;
    }
    // As a caller writes them.
    let before = Timestamp::now();
    t.store.set("a", &1).expires(60).await?;
    t.store.set("b", &1).expires(60.0).await?;
    t.store.set("c", &1).expires("1 minute").await?;
    t.store
        .set("d", &1)
        .expires(Duration::from_secs(60))
        .await?;
    for key in ["a", "b", "c", "d"] {
        expires_in(&t, &t.store, key, Duration::from_secs(60), before).await?;
    }
    Ok(())
}

async fn an_expiry_of_never_stays(t: Subject) -> Verdict {
    t.store.set("a", &1).expires("never").await?;
    t.store.set("b", &1).expires(Expires::NEVER).await?;
    for key in ["a", "b"] {
        same(t.store.ttl(key).await?, Some(Expires::NEVER))?;
        same(some(t.store.entry(key).await?)?.expiry(), Expiry::Never)?;
    }
    Ok(())
}

async fn an_expiry_that_is_not_in_the_future_deletes(t: Subject) -> Verdict {
    let over: [Expires; 5] = [
        0.into(),
        (-5).into(),
        "-5s".parse()?,
        Duration::ZERO.into(),
        Expires::try_from(-0.1)?,
    ];
    for expires in over {
        t.store.set("a", &1).await?;
        t.store.set("a", &2).expires(expires).await?;
        same_for(expires, t.store.get::<Value>("a").await?, None)?;
        t.store.set("b", &1).expires(expires).await?;
        same_for(expires, t.store.has("b").await?, false)?;
    }
    same(t.physical_keys().await?.is_empty(), true)
}

async fn an_expiry_that_means_nothing_is_refused_and_changes_nothing(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    for words in ["abc", "", "5 fortnights", "1,5h", "5µs", "NaN"] {
        let error = fails(
            t.store.set("a", &2).expires(words).await,
            ErrorKind::InvalidOption,
        )?;
        holds(error.is_usage(), "it is not a usage error")?;
        fails(
            t.store.set("b", &2).expires(words).await,
            ErrorKind::InvalidOption,
        )?;
        fails(
            t.store.add(&2).expires(words).await,
            ErrorKind::InvalidOption,
        )?;
        fails(
            t.store.insert("b", &2).expires(words).await,
            ErrorKind::InvalidOption,
        )?;
        let batch = t.store.set_many([("a", 2)]).expires(words).await;
        fails(batch, ErrorKind::InvalidOption)?;
        fails(t.store.touch("a", words).await, ErrorKind::InvalidOption)?;
    }
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        fails(
            t.store.set("a", &2).expires(number).await,
            ErrorKind::InvalidOption,
        )?;
    }
    same(
        t.store.entries::<Value>().await?,
        [("a".to_owned(), json!(1))],
    )
}

async fn an_expiry_too_far_is_refused_and_changes_nothing(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    for far in [
        Duration::MAX.into(),
        Expires::from(u64::MAX),
        Expires::from(i64::MAX),
    ] {
        fails(
            t.store.set("a", &2).expires(far).await,
            ErrorKind::InvalidOption,
        )?;
        let batch = t.store.set_many([("b", 2)]).expires(far).await;
        fails(batch, ErrorKind::InvalidOption)?;
    }
    same(
        t.store.entries::<Value>().await?,
        [("a".to_owned(), json!(1))],
    )
}

async fn the_furthest_expiry_is_kept(t: Subject) -> Verdict {
    // Exact to the millisecond where a float of seconds or a 32-bit number is not.
    for at in [Timestamp::MAX, Timestamp::from_millis(4_294_967_296_001)] {
        let entry = Entry::new("far", Expiry::At(at))?;
        t.store.put("a", entry.clone()).await?;
        let found = some(t.store.entry("a").await?)?;
        let Expiry::At(found) = found.expiry() else {
            return Err(Stop::failed(format_args!(
                "{at:?} became {:?}",
                found.expiry()
            )));
        };
        let late = found.as_millis() - at.as_millis();
        holds(
            late == 0 || t.can.native_expiry.is_some() && late.abs() < 1000,
            late,
        )?;
        same(t.store.get::<String>("a").await?.as_deref(), Some("far"))?;
    }
    Ok(())
}

async fn set_overwrites_an_expiry(t: Subject) -> Verdict {
    t.store.set("a", &1).expires("1h").await?;
    t.store.set("a", &2).await?;
    same(t.store.ttl("a").await?, Some(Expires::NEVER))?;
    let before = Timestamp::now();
    t.store.set("a", &3).expires("2h").await?;
    expires_in(&t, &t.store, "a", Duration::from_secs(7200), before).await?;
    t.store.set_many([("a", 4)]).await?;
    same(t.store.ttl("a").await?, Some(Expires::NEVER))
}

async fn a_value_set_without_expiry_outlives_the_one_before(t: Subject) -> Verdict {
    t.store.set("a", &1).expires("60ms").await?;
    t.store.set("b", &1).expires("60ms").await?;
    t.store.set("a", &2).await?;
    t.wait_until_gone("b").await?;
    runtime::sleep(t.granularity() + Duration::from_millis(60)).await;
    same(t.store.get("a").await?, Some(2))?;
    same(t.store.keys().await?, ["a"])
}

async fn a_substore_has_a_default_expiry(t: Subject) -> Verdict {
    let hourly = t.store.prefix("sub:").expires("1h");
    let hour = Duration::from_secs(3600);
    let before = Timestamp::now();
    hourly.set("a", &1).await?;
    hourly.prefix("deeper:").set("a", &1).await?;
    hourly.set_many([("b", 1), ("c", 2)]).await?;
    hourly.typed::<u32>().set("d", &1).await?;
    for key in ["a", "deeper:a", "b", "c", "d"] {
        expires_in(&t, &hourly, key, hour, before).await?;
    }
    // The last one counts, and the store it was made of has none.
    hourly.expires("2h").set("a", &1).await?;
    expires_in(&t, &hourly, "a", 2 * hour, before).await?;
    t.store.set("plain", &1).await?;
    same(t.store.ttl("plain").await?, Some(Expires::NEVER))
}

async fn a_write_overrides_the_default_expiry(t: Subject) -> Verdict {
    let hourly = t.store.expires("1h");
    hourly.set("a", &1).expires("never").await?;
    same(t.store.ttl("a").await?, Some(Expires::NEVER))?;
    let before = Timestamp::now();
    hourly.set("b", &1).expires("2h").await?;
    hourly.set_many([("c", 1)]).expires("2h").await?;
    for key in ["b", "c"] {
        expires_in(&t, &t.store, key, Duration::from_secs(7200), before).await?;
    }
    hourly.set("b", &1).expires(0).await?;
    same(t.store.has("b").await?, false)
}

async fn a_default_expiry_that_means_nothing_fails_each_write_and_no_read(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    let broken = t.store.expires("whenever");
    fails(broken.set("a", &2).await, ErrorKind::InvalidOption)?;
    fails(broken.add(&2).await, ErrorKind::InvalidOption)?;
    fails(broken.insert("b", &2).await, ErrorKind::InvalidOption)?;
    fails(broken.set_many([("a", 2)]).await, ErrorKind::InvalidOption)?;
    fails(
        broken.prefix("x").set("a", &2).await,
        ErrorKind::InvalidOption,
    )?;
    same(broken.get("a").await?, Some(1))?;
    same(broken.keys().await?, ["a"])?;
    broken.set("b", &3).expires("1h").await?;
    same(broken.get("b").await?, Some(3))?;
    broken.del("a").await?;
    same(t.store.keys().await?, ["b"])
}

async fn a_default_expiry_that_is_over_deletes(t: Subject) -> Verdict {
    t.store.set_many([("a", 1), ("b", 1)]).await?;
    let over = t.store.expires(-1);
    over.set("a", &2).await?;
    over.set_many([("b", 2), ("c", 2)]).await?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn the_instant_of_expiry_is_exact(t: Subject) -> Verdict {
    let soon = Timestamp::now().as_millis() + 3_600_000;
    let mut cases = Cases::default();
    for offset in [0, 1, 7, 499, 500, 999] {
        let at = Timestamp::from_millis(soon + offset);
        let entry = Entry::new(&offset, Expiry::At(at))?;
        t.store.put("a", entry.clone()).await?;
        let found = some(t.store.entry("a").await?)?;
        let mut scan = t.store.scan(polystore_kv::Scan::new());
        let (_, listed) = some(scan.try_next().await?)?;
        same(found.json(), entry.json())?;
        for found in [found.expiry(), listed.expiry()] {
            let late = match found {
                Expiry::At(found) => found.as_millis() - at.as_millis(),
                _ => -1,
            };
            // What a store cannot keep it rounds up.
            let most = t.granularity() + t.clocks_differ_by();
            let most = i64::try_from(most.as_millis()).unwrap_or(i64::MAX);
            let exact = holds(
                late == 0 || (0..most).contains(&late),
                format_args!("it became {found:?}"),
            );
            cases.add(at, exact)?;
        }
    }
    cases.end()
}

async fn put_of_what_has_expired_deletes(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    let past = Expiry::At(Timestamp::from_millis(Timestamp::now().as_millis() - 1));
    for expiry in [past, Expiry::At(Timestamp::from_millis(-5))] {
        for key in ["a", "missing"] {
            t.store.put(key, Entry::new(&2, expiry)?).await?;
            same(t.store.get::<Value>(key).await?, None)?;
        }
    }
    same(t.physical_keys().await?.is_empty(), true)
}

async fn put_of_null_deletes(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    for key in ["a", "missing"] {
        t.store
            .put(key, Entry::from_json("null", Expiry::Never)?)
            .await?;
        same(t.store.has(key).await?, false)?;
    }
    same(t.physical_keys().await?.is_empty(), true)
}

async fn put_of_an_unread_expiry_is_refused_and_changes_nothing(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    for key in ["a", "b"] {
        let entry = Entry::new(&2, Expiry::Unread)?;
        fails(t.store.put(key, entry).await, ErrorKind::InvalidOption)?;
    }
    same(t.store.entries::<u32>().await?, [("a".to_owned(), 1)])
}

async fn put_ignores_the_default_expiry(t: Subject) -> Verdict {
    let hourly = t.store.expires("1h");
    hourly.put("a", Entry::new(&1, Expiry::Never)?).await?;
    same(t.store.ttl("a").await?, Some(Expires::NEVER))
}

async fn ttl_of_a_missing_key_is_none(t: Subject) -> Verdict {
    same(t.store.ttl("missing").await?, None)?;
    t.plant_expired("expired").await?;
    same(t.store.ttl("expired").await?, None)
}

async fn ttl_of_what_stays_is_never(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    same(t.store.ttl("a").await?, Some(Expires::NEVER))
}

async fn ttl_counts_down(t: Subject) -> Verdict {
    // What a store with a clock of its own adds, and whole milliseconds do.
    let slack = if t.can.native_expiry.is_some() {
        2000
    } else {
        2
    };
    let slack = t.granularity() + Duration::from_millis(slack);
    let hour = Duration::from_secs(3600);
    let begun = Instant::now();
    t.store.set("a", &1).expires(hour).await?;
    let left = |ttl: Option<Expires>| some(ttl.and_then(Expires::as_duration));
    let first = left(t.store.ttl("a").await?)?;
    holds(
        first <= hour + slack,
        format_args!("{first:?} are left of {hour:?}"),
    )?;
    holds(
        first + begun.elapsed() + slack >= hour,
        format_args!("only {first:?} are left of {hour:?}"),
    )?;
    let pause = Duration::from_millis(30);
    runtime::sleep(pause).await;
    let second = left(t.store.ttl("a").await?)?;
    holds(
        second + pause <= first + slack,
        format_args!("{second:?} are left {pause:?} after {first:?} were"),
    )
}

async fn ttl_is_unsupported(t: Subject) -> Verdict {
    t.store.set("a", &1).expires("1h").await?;
    let error = fails(t.store.ttl("a").await, ErrorKind::Unsupported)?;
    same(error.backend(), Some(&*t.store.kind()))?;
    same(error.operation(), Some("ttl"))?;
    same(t.store.ttl("missing").await?, None)
}
