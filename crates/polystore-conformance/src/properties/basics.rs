//! Single keys: set, get, has, del, and null.

use std::collections::HashMap;

use polystore_kv::{Entry, ErrorKind, Expiry};
use serde_json::{Value, json};

use crate::property::{Property, property};
use crate::subject::Subject;
use crate::verdict::{Verdict, fails, holds, same, same_for};

pub(super) fn all() -> Vec<Property> {
    vec![
        property(get_of_a_missing_key_is_none),
        property(has_of_a_missing_key_is_false),
        property(del_of_a_missing_key_is_fine),
        property(set_makes_a_key_that_is_there),
        property(set_overwrites),
        property(del_removes),
        property(del_removes_nothing_else),
        property(a_deleted_key_can_be_set_again),
        property(null_deletes),
        property(null_deletes_under_a_prefix),
        property(null_of_a_missing_key_is_fine),
        property(every_write_is_read_at_once),
        property(another_type_is_a_decode_error),
        property(another_shape_is_a_decode_error_in_listings_too),
        property(clones_and_substores_share_the_data),
        property(kind_and_capabilities_do_not_change),
    ]
}

async fn get_of_a_missing_key_is_none(t: Subject) -> Verdict {
    same(t.store.get::<Value>("missing").await?, None)?;
    t.store.set("missing!", &1).await?;
    same(t.store.get::<Value>("missing").await?, None)
}

async fn has_of_a_missing_key_is_false(t: Subject) -> Verdict {
    same(t.store.has("missing").await?, false)
}

async fn del_of_a_missing_key_is_fine(t: Subject) -> Verdict {
    t.store.del("missing").await?;
    t.store.del("missing").await?;
    same(t.store.has("missing").await?, false)
}

async fn set_makes_a_key_that_is_there(t: Subject) -> Verdict {
    t.store.set("a", "value").await?;
    same(t.store.get::<String>("a").await?.as_deref(), Some("value"))?;
    same(t.store.has("a").await?, true)?;
    same(t.store.keys().await?, ["a"])?;
    same(t.store.entry("a").await?.is_some(), true)
}

async fn set_overwrites(t: Subject) -> Verdict {
    // The second is shorter and of another type: nothing of the first may be left.
    t.store.set("a", &vec!["a long first value"; 50]).await?;
    t.store.set("a", &2).await?;
    same(t.store.get("a").await?, Some(2))?;
    same(t.store.entries::<u32>().await?, [("a".to_owned(), 2)])
}

async fn del_removes(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    t.store.del("a").await?;
    same(t.store.get::<Value>("a").await?, None)?;
    same(t.store.has("a").await?, false)?;
    same(t.store.keys().await?.is_empty(), true)?;
    same(t.physical_keys().await?.is_empty(), true)
}

async fn del_removes_nothing_else(t: Subject) -> Verdict {
    t.store
        .set_many([("a", 1), ("ab", 2), ("A", 3), ("b", 4)])
        .await?;
    t.store.del("a").await?;
    same(
        t.everything().await?.into_iter().collect::<Vec<_>>(),
        [
            ("A".to_owned(), json!(3)),
            ("ab".to_owned(), json!(2)),
            ("b".to_owned(), json!(4)),
        ],
    )
}

async fn a_deleted_key_can_be_set_again(t: Subject) -> Verdict {
    for round in 0..3 {
        t.store.set("a", &round).await?;
        same(t.store.get("a").await?, Some(round))?;
        t.store.del("a").await?;
        same(t.store.get::<u32>("a").await?, None)?;
    }
    t.store.set("a", "again").await?;
    same(t.store.keys().await?, ["a"])
}

async fn null_deletes(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    t.store.set("a", &Value::Null).await?;
    same(t.store.has("a").await?, false)?;
    t.store.set("b", &1).await?;
    t.store.set("b", &None::<u32>).await?;
    same(t.store.get::<u32>("b").await?, None)?;
    t.store.set("c", &1).await?;
    t.store.set("c", &()).expires("1h").await?;
    same(t.store.has("c").await?, false)?;
    same(t.physical_keys().await?.is_empty(), true)
}

async fn null_deletes_under_a_prefix(t: Subject) -> Verdict {
    let sub = t.store.prefix("sub:").prefix("sub:");
    t.store.set("a", &1).await?;
    sub.set("a", &2).await?;
    sub.set("a", &Value::Null).await?;
    same(sub.has("a").await?, false)?;
    same(t.store.keys().await?, ["a"])
}

async fn null_of_a_missing_key_is_fine(t: Subject) -> Verdict {
    t.store.set("missing", &Value::Null).await?;
    same(t.store.keys().await?.is_empty(), true)
}

async fn every_write_is_read_at_once(t: Subject) -> Verdict {
    for round in 0..30 {
        t.store.set("a", &round).await?;
        same(t.store.get("a").await?, Some(round))?;
        t.store.set("b", &round).await?;
        same(t.store.keys().await?.len(), 2)?;
        t.store.del("b").await?;
        same(t.store.has("b").await?, false)?;
        same(t.store.keys().await?.len(), 1)?;
    }
    Ok(())
}

async fn another_type_is_a_decode_error(t: Subject) -> Verdict {
    t.store.set("a", "text").await?;
    let error = fails(t.store.get::<u32>("a").await, ErrorKind::Decode)?;
    holds(error.is_data(), "it is not a data error")?;
    // The value is still there for whoever asks for what it is.
    same(t.store.get::<String>("a").await?.as_deref(), Some("text"))
}

/// JSON parsers take some of these for broken JSON, which a listing leaves out.
async fn another_shape_is_a_decode_error_in_listings_too(t: Subject) -> Verdict {
    #[derive(Debug, serde::Deserialize)]
    enum Known {}
    type Numbered = HashMap<u32, u32>;
    t.store.set("a", &[1]).await?;
    fails(t.store.get::<Known>("a").await, ErrorKind::Decode)?;
    fails(t.store.values::<Known>().await, ErrorKind::Decode)?;
    t.store.set("a", &json!({"b": 1})).await?;
    fails(t.store.get::<Numbered>("a").await, ErrorKind::Decode)?;
    fails(t.store.entries::<Numbered>().await, ErrorKind::Decode)?;
    t.store
        .put("a", Entry::from_json(r#""\ud800""#, Expiry::Never)?)
        .await?;
    fails(t.store.get::<String>("a").await, ErrorKind::Decode)?;
    fails(t.store.all::<String>().await, ErrorKind::Decode)?;
    Ok(())
}

async fn clones_and_substores_share_the_data(t: Subject) -> Verdict {
    let (clone, sub) = (t.store.clone(), t.store.prefix("a"));
    t.store.set("ab", &1).await?;
    same(clone.get("ab").await?, Some(1))?;
    same(sub.get("b").await?, Some(1))?;
    sub.set("b", &2).await?;
    same(t.store.get("ab").await?, Some(2))
}

async fn kind_and_capabilities_do_not_change(t: Subject) -> Verdict {
    holds(!t.store.kind().is_empty(), "its kind has no name")?;
    for use_between in [false, true] {
        if use_between {
            t.store.set("a", &1).await?;
        }
        same_for(
            "a substore",
            t.store.prefix("x").capabilities().await?,
            t.can.clone(),
        )?;
        same(t.store.prefix("x").kind(), t.store.kind())?;
    }
    Ok(())
}
