//! Many tasks at once.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use polystore_kv::{Expires, Result};

use crate::property::{Need, Property, property};
use crate::runtime;
use crate::subject::Subject;
use crate::verdict::{Stop, Verdict, holds, same, same_for, some};

const TASKS: usize = 64;

pub(super) fn all() -> Vec<Property> {
    vec![
        property(tasks_read_what_they_wrote).needs(&[Need::Entries(TASKS * 3)]),
        property(tasks_that_share_keys_lose_no_write).needs(&[Need::Entries(TASKS)]),
        property(no_reader_sees_half_a_value),
        property(value_and_expiry_change_together).needs(&[Need::Ttl]),
        property(writes_to_one_key_keep_their_order),
        property(hundreds_of_builders_join).needs(&[Need::Entries(300)]),
        property(builders_run_on_other_tasks),
        property(a_builder_dropped_before_it_is_polled_writes_nothing),
        property(a_write_dropped_underway_leaves_the_old_or_the_new),
        property(substores_work_at_once).needs(&[Need::Entries(400)]),
    ]
}

async fn each_task<F, Fut>(count: usize, work: F) -> Verdict
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Verdict> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|task| runtime::spawn(work(task))).collect();
    for task in tasks {
        task.await?;
    }
    Ok(())
}

async fn tasks_read_what_they_wrote(t: Subject) -> Verdict {
    let store = t.store.clone();
    each_task(TASKS, |task| {
        let store = store.clone();
        async move {
            let keys = [0, 1, 2].map(|number| format!("task {task} key {number}"));
            for round in 0..6_usize {
                for key in &keys {
                    store.set(key, &(task, round)).await?;
                    same(store.get(key).await?, Some((task, round)))?;
                }
                store.del(&keys[round % 3]).await?;
                same(store.has(&keys[round % 3]).await?, false)?;
            }
            store
                .set_many(keys.iter().map(|key| (key, (task, 9))))
                .await?;
            Ok(())
        }
    })
    .await?;
    let all = t.store.all::<(usize, usize)>().await?;
    same(all.len(), TASKS * 3)?;
    same(all.values().all(|(_, round)| *round == 9), true)
}

async fn tasks_that_share_keys_lose_no_write(t: Subject) -> Verdict {
    let store = t.store.clone();
    each_task(TASKS, |task| {
        let store = store.clone();
        async move {
            for round in 0..4 {
                store.set("shared", &(task, round)).await?;
                some(store.get::<(usize, u32)>("shared").await?)?;
                store.set(&format!("own {task}"), &round).await?;
                store.keys().await?;
            }
            Ok(())
        }
    })
    .await?;
    // The last write to the shared key was some task's last one.
    let (_, round) = some(t.store.get::<(usize, u32)>("shared").await?)?;
    same(round, 3)?;
    let own = t.store.prefix("own ").all::<u32>().await?;
    same(own.len(), TASKS)?;
    same(own.values().all(|round| *round == 3), true)
}

async fn no_reader_sees_half_a_value(t: Subject) -> Verdict {
    // Four bytes a number are more than it takes.
    let room = t.can.max_value_bytes.map_or(usize::MAX, |most| most / 4);
    let length = room.saturating_sub(30).min(2000);
    let value = move |round: usize| vec![round; length + round];
    t.store.set("a", &value(0)).await?;
    let store = t.store.clone();
    let writer = runtime::spawn(async move {
        for round in 1..=30 {
            store.set("a", &value(round)).await?;
        }
        Ok::<_, Stop>(())
    });
    for _ in 0..60 {
        let found = some(t.store.get::<Vec<usize>>("a").await?)?;
        same(found == value(found[0]), true)?;
        let listed = t.store.values::<Vec<usize>>().await?;
        same(listed.len(), 1)?;
        same(listed[0] == value(listed[0][0]), true)?;
    }
    writer.await?;
    same(t.store.get("a").await? == Some(value(30)), true)
}

async fn value_and_expiry_change_together(t: Subject) -> Verdict {
    t.store.set("a", "stays").await?;
    let store = t.store.clone();
    let writer = runtime::spawn(async move {
        for _ in 0..40 {
            store.set("a", "goes").expires("1h").await?;
            store.set("a", "stays").await?;
        }
        Ok::<_, Stop>(())
    });
    for _ in 0..80 {
        let entry = some(t.store.entry("a").await?)?;
        let stays = entry.expiry().as_millis().is_none();
        same(
            &entry.decode::<String>()?[..],
            if stays { "stays" } else { "goes" },
        )?;
    }
    writer.await?;
    same(t.store.ttl("a").await?, Some(Expires::NEVER))
}

/// That in which they were first polled, which is that of the list.
async fn writes_to_one_key_keep_their_order(t: Subject) -> Verdict {
    for round in 0..5 {
        let writes = (0..60).map(|number| t.store.set("a", &(round * 100 + number)));
        try_join_all(writes).await?;
        same(t.store.get("a").await?, Some(round * 100 + 59))?;
    }
    let (set, del, last) = (t.store.set("a", &1), t.store.del("a"), t.store.set("a", &2));
    let (set, del, last) = futures_util::future::join3(set, del, last).await;
    set?;
    del?;
    last?;
    same(t.store.get("a").await?, Some(2))?;
    let (set, del) = futures_util::future::join(t.store.set("a", &3), t.store.del("a")).await;
    set?;
    del?;
    same(t.store.get::<u32>("a").await?, None)
}

async fn hundreds_of_builders_join(t: Subject) -> Verdict {
    let keys: Vec<String> = (0..300).map(|number| format!("{number}")).collect();
    let writes = keys
        .iter()
        .enumerate()
        .map(|(number, key)| t.store.set(key, &number).expires("1h"));
    join_all(writes)
        .await
        .into_iter()
        .collect::<Result<Vec<()>>>()?;
    let reads = keys.iter().map(|key| t.store.get::<usize>(key));
    let found = try_join_all(reads).await?;
    same(found == (0..300).map(Some).collect::<Vec<_>>(), true)?;
    try_join_all(keys.iter().map(|key| t.store.del(key))).await?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn builders_run_on_other_tasks(t: Subject) -> Verdict {
    let store = t.store.clone();
    let added = runtime::spawn(async move {
        store.set("a", &1).expires("1h").await?;
        store.set_many([("b", 2)]).await?;
        store.add(&3).await
    });
    let key = added.await?;
    same(t.store.get(&key).await?, Some(3))?;
    same(t.store.get("a").await?, Some(1))?;
    same(t.store.get("b").await?, Some(2))
}

async fn a_builder_dropped_before_it_is_polled_writes_nothing(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    drop(t.store.set("a", &2));
    drop(t.store.set("b", &2).expires("1h"));
    drop(t.store.add(&2));
    drop(t.store.insert("b", &2));
    drop(t.store.set_many([("a", 2), ("b", 2)]));
    drop(t.store.touch("a", 0));
    drop(t.store.del("a"));
    drop(t.store.clear());
    runtime::sleep(Duration::from_millis(10)).await;
    same(t.store.entries::<u32>().await?, [("a".to_owned(), 1)])
}

async fn a_write_dropped_underway_leaves_the_old_or_the_new(t: Subject) -> Verdict {
    let (old, new) = ("old".repeat(1000), "new".repeat(1500));
    for polls in 1..8 {
        t.store.set("a", &old).await?;
        {
            let mut write = pin!(t.store.set("a", &new));
            for _ in 0..polls {
                let done = poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_ready())).await;
                if done {
                    break;
                }
                runtime::sleep(Duration::from_micros(100)).await;
            }
        }
        let found = some(t.store.get::<String>("a").await?)?;
        holds(
            found == old || found == new,
            "it is neither the old nor the new value",
        )?;
        // What was first polled earlier does not come back over what is written later.
        t.store.set("a", &polls).await?;
        same_for(polls, t.store.get("a").await?, Some(polls))?;
        runtime::sleep(Duration::from_millis(5)).await;
        same_for(polls, t.store.get("a").await?, Some(polls))?;
    }
    Ok(())
}

async fn substores_work_at_once(t: Subject) -> Verdict {
    let store = t.store.clone();
    each_task(20, |task| {
        let sub = store.prefix(format!("{task}:"));
        async move {
            for round in 0..3 {
                sub.set_many((0..20).map(|number| (format!("{number}"), round)))
                    .await?;
                same(sub.keys().await?.len(), 20)?;
                sub.clear().await?;
                same(sub.keys().await?.is_empty(), true)?;
            }
            sub.set("done", &task).await?;
            Ok(())
        }
    })
    .await?;
    same(t.store.values::<usize>().await?.len(), 20)
}
