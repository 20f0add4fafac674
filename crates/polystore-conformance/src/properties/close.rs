//! After the end.

use std::fmt::Debug;

use polystore_kv::{Entry, ErrorKind, Expiry, Result, Scan, Store};

use crate::property::{Need, Property, property};
use crate::runtime;
use crate::subject::Subject;
use crate::verdict::{Cases, Stop, Verdict, fails, same};

pub(super) fn all() -> Vec<Property> {
    vec![
        property(after_close_every_method_is_a_usage_error),
        property(after_close_clones_and_substores_are_closed),
        property(after_close_a_running_stream_is_closed).needs(&[Need::Entries(300)]),
        property(after_close_a_waiting_builder_is_closed),
        property(closing_twice_is_fine),
        property(closing_before_the_first_use_is_fine),
        property(tasks_that_write_while_it_closes_get_a_usage_error),
    ]
}

/// Nothing is left of these properties: what is closed cannot be tidied up.
async fn closed<T: Debug>(
    cases: &mut Cases,
    operation: &'static str,
    result: Result<T>,
) -> Verdict {
    let verdict = match fails(result, ErrorKind::Closed) {
        Ok(error) => {
            same(error.operation(), Some(operation)).and_then(|()| same(error.is_usage(), true))
        }
        Err(stop) => Err(stop),
    };
    cases.add(operation, verdict)
}

async fn every_method_is_closed(store: &Store) -> Verdict {
    let mut cases = Cases::default();
    let all = &mut cases;
    closed(all, "get", store.get::<u32>("a").await).await?;
    closed(all, "set", store.set("a", &1).await).await?;
    closed(all, "set", store.set("a", &()).await).await?;
    closed(all, "add", store.add(&1).await).await?;
    closed(all, "insert", store.insert("a", &1).await).await?;
    closed(all, "replace", store.replace("a", &1).await).await?;
    closed(all, "has", store.has("a").await).await?;
    closed(all, "del", store.del("a").await).await?;
    closed(all, "ttl", store.ttl("a").await).await?;
    closed(all, "touch", store.touch("a", "1h").await).await?;
    closed(all, "get_many", store.get_many::<u32>(["a"]).await).await?;
    closed(all, "set_many", store.set_many([("a", 1)]).await).await?;
    closed(all, "del_many", store.del_many(["a"]).await).await?;
    let none: [&str; 0] = [];
    closed(all, "get_many", store.get_many::<u32>(none).await).await?;
    closed(all, "del_many", store.del_many(none).await).await?;
    closed(all, "keys", store.keys().await).await?;
    closed(all, "values", store.values::<u32>().await).await?;
    closed(all, "entries", store.entries::<u32>().await).await?;
    closed(all, "all", store.all::<u32>().await).await?;
    closed(all, "stream", store.stream::<u32>().try_next().await).await?;
    closed(all, "scan", store.scan(Scan::new()).try_next().await).await?;
    closed(all, "entry", store.entry("a").await).await?;
    let entry = Entry::new(&1, Expiry::Never)?;
    closed(all, "put", store.put("a", entry).await).await?;
    closed(all, "clear", store.clear().await).await?;
    closed(all, "prune", store.prune().await).await?;
    closed(all, "capabilities", store.capabilities().await).await?;
    cases.end()
}

async fn after_close_every_method_is_a_usage_error(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    t.store.del("a").await?;
    t.store.close().await?;
    every_method_is_closed(&t.store).await?;
    // What does not reach the store still works.
    same(t.store.kind().is_empty(), false)
}

async fn after_close_clones_and_substores_are_closed(t: Subject) -> Verdict {
    let (clone, sub) = (t.store.clone(), t.store.prefix("sub:").expires("1h"));
    let typed = t.store.typed::<u32>();
    sub.close().await?;
    every_method_is_closed(&t.store).await?;
    every_method_is_closed(&clone).await?;
    every_method_is_closed(&sub.prefix("deeper:")).await?;
    fails(typed.get("a").await, ErrorKind::Closed)?;
    Ok(())
}

async fn after_close_a_running_stream_is_closed(t: Subject) -> Verdict {
    // They expire by themselves.
    let entries = (0..300).map(|number| (format!("{number:03}"), number));
    t.store.set_many(entries).expires("20s").await?;
    let (mut stream, mut scan) = (t.store.stream::<u32>(), t.store.scan(Scan::new()));
    for _ in 0..5 {
        same(stream.try_next().await?.is_some(), true)?;
        same(scan.try_next().await?.is_some(), true)?;
    }
    t.store.close().await?;
    let error = fails(stream.try_next().await, ErrorKind::Closed)?;
    same(error.operation(), Some("stream"))?;
    fails(scan.try_next().await, ErrorKind::Closed)?;
    // And then it has ended.
    same(stream.try_next().await?, None)?;
    same(scan.try_next().await?, None)
}

async fn after_close_a_waiting_builder_is_closed(t: Subject) -> Verdict {
    let (set, add) = (t.store.set("a", &1), t.store.add(&1));
    let del = t.store.del("a");
    t.store.close().await?;
    fails(set.await, ErrorKind::Closed)?;
    fails(add.await, ErrorKind::Closed)?;
    fails(del.await, ErrorKind::Closed)?;
    Ok(())
}

async fn closing_twice_is_fine(t: Subject) -> Verdict {
    let other = t.store.prefix("sub:");
    t.store.close().await?;
    t.store.close().await?;
    other.close().await?;
    let (one, two) = futures_util::future::join(t.store.close(), other.close()).await;
    one?;
    Ok(two?)
}

async fn closing_before_the_first_use_is_fine(t: Subject) -> Verdict {
    t.store.close().await?;
    fails(t.store.get::<u32>("a").await, ErrorKind::Closed)?;
    Ok(())
}

async fn tasks_that_write_while_it_closes_get_a_usage_error(t: Subject) -> Verdict {
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let store = t.store.clone();
            runtime::spawn(async move {
                let mut written = 0_u32;
                loop {
                    let key = format!("{task}:{written}");
                    match store.set(&key, &written).expires("20s").await {
                        Ok(()) => written += 1,
                        Err(error) if error.kind() == ErrorKind::Closed => return Ok(()),
                        Err(error) => return Err(Stop::from(error)),
                    }
                    if written.is_multiple_of(4) {
                        runtime::sleep(std::time::Duration::from_micros(100)).await;
                    }
                }
            })
        })
        .collect();
    runtime::sleep(std::time::Duration::from_millis(10)).await;
    t.store.close().await?;
    for task in tasks {
        task.await?;
    }
    Ok(())
}
