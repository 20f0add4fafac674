//! What errors tell, and what they keep to themselves.

use std::collections::HashMap;
use std::error::Error as _;

use polystore_kv::{Entry, Error, ErrorKind, Expiry};

use crate::property::{Property, property};
use crate::subject::Subject;
use crate::verdict::{Verdict, fails, holds, same};

/// No error may show this.
const SECRET: &str = "hunter2-is-secret";

pub(super) fn all() -> Vec<Property> {
    vec![
        property(errors_name_backend_operation_and_key),
        property(errors_of_reads_never_show_a_value),
        property(errors_of_writes_never_show_a_value),
        property(usage_and_data_errors_are_not_retryable),
    ]
}

#[track_caller]
fn tells(t: &Subject, error: &Error, operation: &str, key: Option<&str>) -> Verdict {
    same(error.backend(), Some(&*t.store.kind()))?;
    same(error.operation(), Some(operation))?;
    let full = key.map(|key| t.full(key));
    same(error.key(), full.as_deref())?;
    let line = error.to_string();
    holds(
        !line.contains('\n'),
        format_args!("{line:?} has more than one line"),
    )?;
    for part in [&*t.store.kind(), operation] {
        holds(
            line.contains(part),
            format_args!("{line:?} does not name {part:?}"),
        )?;
    }
    if let Some(full) = full {
        holds(
            line.contains(&full),
            format_args!("{line:?} does not name {full:?}"),
        )?;
    }
    Ok(())
}

#[track_caller]
fn keeps_the_secret(error: &Error) -> Verdict {
    let mut shown = format!("{error} {error:?} {error:#?} {}", error.message());
    let mut cause = error.source();
    while let Some(error) = cause {
        shown += &format!(" {error} {error:?}");
        cause = error.source();
    }
    holds(
        !shown.contains(SECRET),
        format_args!("a value shows in {shown}"),
    )
}

async fn errors_name_backend_operation_and_key(t: Subject) -> Verdict {
    use ErrorKind::{Decode, Encode, InvalidOption, InvalidValue};
    t.store.set("a", "text").await?;
    tells(
        &t,
        &fails(t.store.get::<u32>("a").await, Decode)?,
        "get",
        Some("a"),
    )?;
    let sub = t.under("s:");
    sub.store.set("a", "text").await?;
    tells(
        &sub,
        &fails(sub.store.get::<u32>("a").await, Decode)?,
        "get",
        Some("a"),
    )?;
    tells(
        &sub,
        &fails(sub.store.get_many::<u32>(["a"]).await, Decode)?,
        "get_many",
        Some("a"),
    )?;
    tells(
        &sub,
        &fails(sub.store.values::<u32>().await, Decode)?,
        "values",
        Some("a"),
    )?;
    tells(
        &sub,
        &fails(sub.store.entries::<u32>().await, Decode)?,
        "entries",
        Some("a"),
    )?;
    tells(
        &sub,
        &fails(sub.store.all::<u32>().await, Decode)?,
        "all",
        Some("a"),
    )?;
    let next = sub.store.stream::<u32>().try_next().await;
    tells(&sub, &fails(next, Decode)?, "stream", Some("a"))?;
    tells(
        &t,
        &fails(t.store.set("b", &f64::NAN).await, Encode)?,
        "set",
        Some("b"),
    )?;
    let many = t.store.set_many([("a", 1.0), ("b", f64::NAN)]).await;
    tells(&t, &fails(many, Encode)?, "set_many", Some("b"))?;
    let set = t.store.set("b", &1).expires("soon").await;
    let error = fails(set, InvalidOption)?;
    same(error.backend(), Some(&*t.store.kind()))?;
    same(error.operation(), Some("set"))?;
    tells(
        &t,
        &fails(t.store.insert("b", &()).await, InvalidValue)?,
        "insert",
        Some("b"),
    )?;
    tells(
        &t,
        &fails(t.store.replace("b", &()).await, InvalidValue)?,
        "replace",
        Some("b"),
    )?;
    let touch = t.store.touch("b", "soon").await;
    tells(&t, &fails(touch, InvalidOption)?, "touch", Some("b"))?;
    let unread = Entry::new(&1, Expiry::Unread)?;
    tells(
        &t,
        &fails(t.store.put("b", unread).await, InvalidOption)?,
        "put",
        Some("b"),
    )
}

async fn errors_of_reads_never_show_a_value(t: Subject) -> Verdict {
    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only its decoding is tried")]
    enum Known {
        A,
        B { a: u32 },
    }
    t.store.set("text", SECRET).await?;
    t.store.set("list", &[SECRET]).await?;
    t.store.set("object", &HashMap::from([(SECRET, 1)])).await?;
    t.store
        .set(
            "field",
            &HashMap::from([("B", HashMap::from([("a", SECRET)]))]),
        )
        .await?;
    for key in ["text", "list", "object", "field"] {
        for error in [
            fails(t.store.get::<u32>(key).await, ErrorKind::Decode)?,
            fails(t.store.get::<Known>(key).await, ErrorKind::Decode)?,
            fails(
                t.store.get::<HashMap<String, bool>>(key).await,
                ErrorKind::Decode,
            )?,
            fails(t.store.get_many::<Known>([key]).await, ErrorKind::Decode)?,
            fails(
                t.store.prefix(key).values::<Known>().await,
                ErrorKind::Decode,
            )?,
        ] {
            keeps_the_secret(&error)?;
        }
    }
    Ok(())
}

async fn errors_of_writes_never_show_a_value(t: Subject) -> Verdict {
    let tuples = HashMap::from([((SECRET, 1), SECRET)]);
    keeps_the_secret(&fails(t.store.set("a", &tuples).await, ErrorKind::Encode)?)?;
    keeps_the_secret(&fails(
        t.store.set("a", &(SECRET, f64::NAN)).await,
        ErrorKind::Encode,
    )?)?;
    keeps_the_secret(&fails(
        t.store.set("a", SECRET).expires("soon").await,
        ErrorKind::InvalidOption,
    )?)?;
    let corrupt = Entry::from_stored(format!("{{{SECRET}"), Expiry::Never);
    keeps_the_secret(&fails(t.store.put("a", corrupt).await, ErrorKind::Corrupt)?)?;
    let unread = Entry::new(SECRET, Expiry::Unread)?;
    keeps_the_secret(&fails(
        t.store.put("a", unread).await,
        ErrorKind::InvalidOption,
    )?)?;
    if !t.can.insert {
        keeps_the_secret(&fails(
            t.store.insert("a", SECRET).await,
            ErrorKind::Unsupported,
        )?)?;
    }
    if !t.can.replace {
        keeps_the_secret(&fails(
            t.store.replace("a", SECRET).await,
            ErrorKind::Unsupported,
        )?)?;
    }
    for key in &t.can.refused_keys {
        let whole = polystore_kv::kv(std::sync::Arc::clone(t.store.backend()))?;
        keeps_the_secret(&fails(whole.set(key, SECRET).await, ErrorKind::InvalidKey)?)?;
    }
    same(t.store.keys().await?.is_empty(), true)
}

async fn usage_and_data_errors_are_not_retryable(t: Subject) -> Verdict {
    t.store.set("a", "text").await?;
    for error in [
        fails(t.store.get::<u32>("a").await, ErrorKind::Decode)?,
        fails(t.store.set("a", &f64::NAN).await, ErrorKind::Encode)?,
        fails(
            t.store.set("a", &1).expires("soon").await,
            ErrorKind::InvalidOption,
        )?,
    ] {
        same(error.is_retryable(), false)?;
        same(error.is_maybe_applied(), false)?;
        same(error.is_connection(), false)?;
    }
    Ok(())
}
