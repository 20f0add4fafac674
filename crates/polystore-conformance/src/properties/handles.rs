//! Stores made of stores, and stores of one type.

use std::collections::BTreeMap;
use std::sync::Arc;

use polystore_kv::{ErrorKind, Expires, Store, kv};
use serde::{Deserialize, Serialize};

use crate::property::{Need, Property, property};
use crate::subject::Subject;
use crate::verdict::{Verdict, fails, same};

pub(super) fn all() -> Vec<Property> {
    vec![
        property(a_store_of_a_store_is_that_store),
        property(a_store_of_a_substore_keeps_its_prefix),
        property(a_store_of_a_store_keeps_its_expiry).needs(&[Need::Ttl]),
        property(a_store_of_a_backend_shares_the_data),
        property(a_store_of_a_store_is_closed_with_it),
        property(a_typed_store_does_the_same),
        property(a_typed_store_keeps_prefix_and_expiry).needs(&[Need::Ttl]),
        property(a_store_shows_no_data_in_its_debug),
    ]
}

async fn a_store_of_a_store_is_that_store(t: Subject) -> Verdict {
    let (by_value, by_reference) = (kv(kv(t.store.clone())?)?, kv(&t.store)?);
    by_value.set("a", &1).await?;
    same(by_reference.get("a").await?, Some(1))?;
    same(t.store.get("a").await?, Some(1))?;
    t.store.del("a").await?;
    same(by_value.has("a").await?, false)?;
    same(by_value.kind(), t.store.kind())
}

async fn a_store_of_a_substore_keeps_its_prefix(t: Subject) -> Verdict {
    let sub = kv(t.store.prefix("sub:"))?;
    sub.set("a", &1).await?;
    same(t.store.keys().await?, ["sub:a"])?;
    same(sub.keys().await?, ["a"])?;
    same(kv(sub.prefix("b:"))?.keys().await?.is_empty(), true)?;
    sub.clear().await?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn a_store_of_a_store_keeps_its_expiry(t: Subject) -> Verdict {
    let hourly = kv(t.store.expires("1h"))?;
    hourly.set("a", &1).await?;
    same(
        t.store
            .ttl("a")
            .await?
            .and_then(Expires::as_duration)
            .is_some(),
        true,
    )?;
    let broken = kv(t.store.expires("whenever"))?;
    fails(broken.set("a", &1).await, ErrorKind::InvalidOption)?;
    Ok(())
}

async fn a_store_of_a_backend_shares_the_data(t: Subject) -> Verdict {
    let other = kv(Arc::clone(t.store.backend()))?.prefix(&t.prefix);
    other.set("a", &1).await?;
    same(t.store.get("a").await?, Some(1))?;
    same(other.capabilities().await?, t.can.clone())?;
    t.store.set("b", &2).await?;
    same(other.all::<u32>().await?, t.store.all::<u32>().await?)
}

async fn a_store_of_a_store_is_closed_with_it(t: Subject) -> Verdict {
    let other = kv(kv(&t.store)?.prefix("sub:"))?;
    t.store.close().await?;
    fails(other.keys().await, ErrorKind::Closed)?;
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    age: u8,
}

fn user(name: &str) -> User {
    User {
        name: name.to_owned(),
        age: 36,
    }
}

async fn a_typed_store_does_the_same(t: Subject) -> Verdict {
    let users = t.store.typed::<User>();
    let (ada, bob) = (user("Ada"), user("Bob"));
    users.set("ada", &ada).await?;
    same(users.get("ada").await?, Some(ada.clone()))?;
    same(t.store.get("ada").await?, Some(ada.clone()))?;
    same(users.has("ada").await?, true)?;
    let key = users.add(&bob).await?;
    same(users.get(&key).await?, Some(bob.clone()))?;
    users.del(&key).await?;
    users
        .set_many([("bob", &bob), ("ada", &bob), ("ada", &ada)])
        .await?;
    let all = BTreeMap::from([
        ("ada".to_owned(), ada.clone()),
        ("bob".to_owned(), bob.clone()),
    ]);
    same(users.all().await?, all.clone())?;
    same(BTreeMap::from_iter(users.entries().await?), all.clone())?;
    same(users.get_many(["ada", "bob", "eve"]).await?, all.clone())?;
    same(users.values().await?.len(), 2)?;
    same(users.keys().await?.len(), 2)?;
    let mut stream = users.stream();
    let mut streamed = BTreeMap::new();
    while let Some((key, user)) = stream.try_next().await? {
        streamed.insert(key, user);
    }
    same(streamed, all)?;
    if t.can.insert {
        same(users.insert("ada", &bob).await?, false)?;
        same(users.insert("eve", &bob).await?, true)?;
    }
    if t.can.replace {
        same(users.replace("ada", &bob).await?, true)?;
        same(users.replace("nobody", &bob).await?, false)?;
    }
    if t.can.touch {
        same(users.touch("ada", "1h").await?, true)?;
    }
    if t.can.prune {
        same(users.prune().await?, 0)?;
    }
    t.store.set("number", &1).await?;
    fails(users.get("number").await, ErrorKind::Decode)?;
    users.del_many(["ada"]).await?;
    users.clear().await?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn a_typed_store_keeps_prefix_and_expiry(t: Subject) -> Verdict {
    let lasts = |store: &Store| {
        let store = store.clone();
        async move {
            Verdict::Ok(
                store
                    .ttl("user:a")
                    .await?
                    .and_then(Expires::as_duration)
                    .is_some(),
            )
        }
    };
    for users in [
        t.store.prefix("user:").expires("1h").typed::<User>(),
        t.store.typed::<User>().prefix("user:").expires("1h"),
        kv(t.store.prefix("user:").expires("1h"))?.typed().clone(),
    ] {
        users.set("a", &user("Ada")).await?;
        same(t.store.keys().await?, ["user:a"])?;
        same(lasts(&t.store).await?, true)?;
        same(
            users
                .ttl("a")
                .await?
                .and_then(Expires::as_duration)
                .is_some(),
            true,
        )?;
        users.clear().await?;
    }
    Ok(())
}

async fn a_store_shows_no_data_in_its_debug(t: Subject) -> Verdict {
    t.store.set("a", "hunter2").await?;
    let write = t.store.set("a", "hunter2");
    let entry = t.store.entry("a").await?;
    let shown = format!(
        "{:?} {:?} {write:?} {entry:?}",
        t.store,
        t.store.typed::<User>()
    );
    drop(write);
    same(shown.contains("hunter2"), false)?;
    same(shown.contains(&*t.store.kind()), true)
}
