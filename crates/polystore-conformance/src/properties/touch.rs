//! Another expiry for what is there.

use std::time::Duration;

use polystore_kv::{ErrorKind, Expires};
use serde_json::Value;

use crate::property::{Need, Property, property};
use crate::runtime::{self, Instant, Signal};
use crate::subject::Subject;
use crate::verdict::{Stop, Verdict, fails, holds, same, same_for, some};

pub(super) fn all() -> Vec<Property> {
    let with = |property: Property| property.needs(&[Need::Touch]);
    vec![
        with(property(touch_renews)),
        with(property(touch_leaves_the_value)).needs(&[Need::Ttl]),
        with(property(touch_can_shorten)),
        with(property(touch_can_make_it_stay)).needs(&[Need::Ttl]),
        with(property(touch_of_a_missing_key_is_false_and_makes_none)),
        with(property(
            touch_of_an_expired_key_is_false_and_revives_nothing,
        )),
        with(property(touch_with_an_expiry_that_is_over_deletes)),
        with(property(touch_brings_no_old_value_back)),
        property(touch_is_unsupported).needs(&[Need::NoTouch]),
    ]
}

async fn touch_renews(t: Subject) -> Verdict {
    // A slow store gets more time.
    for time in [80, 1000, 10_000].map(Duration::from_millis) {
        let begun = Instant::now();
        t.store.set("a", &1).expires(time).await?;
        t.store.set("b", &1).expires(time).await?;
        let touched = t.store.touch("a", "1h").await?;
        if begun.elapsed() >= time {
            continue;
        }
        same(touched, true)?;
        t.wait_until_gone("b").await?;
        runtime::sleep(t.granularity() + Duration::from_millis(5)).await;
        same(t.store.get("a").await?, Some(1))?;
        return same(t.store.keys().await?, ["a"]);
    }
    Err(Stop::failed("two writes took more than 10 s"))
}

async fn touch_leaves_the_value(t: Subject) -> Verdict {
    let value = vec!["é".repeat(1000), "null".to_owned()];
    t.store.set("a", &value).expires("1h").await?;
    let before = some(t.store.entry("a").await?)?;
    same(t.store.touch("a", "2h").await?, true)?;
    let after = some(t.store.entry("a").await?)?;
    same(after.json(), before.json())?;
    let left = t.store.ttl("a").await?.and_then(Expires::as_duration);
    holds(
        left > Some(Duration::from_secs(7000)),
        format_args!("{left:?} are left of 2 h"),
    )?;
    same(t.store.get("a").await?, Some(value))
}

async fn touch_can_shorten(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    same(t.store.touch("a", "30ms").await?, true)?;
    t.wait_until_gone("a").await?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn touch_can_make_it_stay(t: Subject) -> Verdict {
    t.store.set("a", &1).expires("1h").await?;
    same(t.store.touch("a", Expires::NEVER).await?, true)?;
    same(t.store.ttl("a").await?, Some(Expires::NEVER))
}

async fn touch_of_a_missing_key_is_false_and_makes_none(t: Subject) -> Verdict {
    for expires in ["1h", "never", "-1s"] {
        same(t.store.touch("missing", expires).await?, false)?;
    }
    same(t.physical_keys().await?.is_empty(), true)
}

async fn touch_of_an_expired_key_is_false_and_revives_nothing(t: Subject) -> Verdict {
    t.plant_expired("a").await?;
    t.store.set("b", &1).expires("30ms").await?;
    t.wait_until_gone("b").await?;
    for key in ["a", "b"] {
        for expires in ["1h", "never"] {
            same_for(key, t.store.touch(key, expires).await?, false)?;
            same_for(key, t.store.get::<Value>(key).await?, None)?;
        }
    }
    same(t.store.keys().await?.is_empty(), true)
}

async fn touch_with_an_expiry_that_is_over_deletes(t: Subject) -> Verdict {
    for expires in [Expires::from(0), Expires::from(-5)] {
        t.store.set("a", &1).await?;
        same(t.store.touch("a", expires).await?, true)?;
        same(t.store.get::<Value>("a").await?, None)?;
        same(t.store.has("a").await?, false)?;
        same(t.store.keys().await?.is_empty(), true)?;
    }
    Ok(())
}

/// A touch that reads and writes in two steps would lose what was written in between.
async fn touch_brings_no_old_value_back(t: Subject) -> Verdict {
    t.store.set("a", &0).await?;
    for round in 1..=20 {
        let begun = Signal::default();
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (store, begun) = (t.store.clone(), begun.clone());
                runtime::spawn(async move {
                    begun.give();
                    for _ in 0..5 {
                        same(store.touch("a", "1h").await?, true)?;
                    }
                    Ok::<_, Stop>(())
                })
            })
            .collect();
        begun.wait().await;
        // The write meets their beginning, or the midst of them.
        if round % 2 == 0 {
            runtime::sleep(Duration::from_millis(1)).await;
        }
        t.store.set("a", &round).await?;
        for task in tasks {
            task.await?;
        }
        same(t.store.get("a").await?, Some(round))?;
    }
    Ok(())
}

async fn touch_is_unsupported(t: Subject) -> Verdict {
    t.store.set("b", "first").await?;
    for key in ["a", "b"] {
        let error = fails(t.store.touch(key, "1h").await, ErrorKind::Unsupported)?;
        same(error.backend(), Some(&*t.store.kind()))?;
        same(error.operation(), Some("touch"))?;
        same(error.key(), Some(&t.full(key)[..]))?;
    }
    same(
        t.store.entries::<String>().await?,
        [("b".to_owned(), "first".to_owned())],
    )
}
