//! The commands about everything in a store or substore. Listings print as they read:
//! memory stays the same however much there is.

use std::io::{self, IsTerminal, Write};

use polystore_kv::{Scan, Store};

use crate::exit::{Answer, Failure, Outcome, say};
use crate::ndjson;
use crate::output::{Output, compact, quote};

pub(crate) async fn keys(store: &Store, out: &mut Output) -> Outcome {
    let mut entries = store.scan(Scan::new().values(false).expiries(false));
    while let Some((key, _)) = entries.try_next().await? {
        out.text(&key)?;
    }
    Ok(Answer::Yes)
}

pub(crate) async fn values(store: &Store, out: &mut Output) -> Outcome {
    let mut entries = store.scan(Scan::new().expiries(false));
    while let Some((_, entry)) = entries.try_next().await? {
        out.json_line(entry.json().as_bytes())?;
    }
    Ok(Answer::Yes)
}

pub(crate) async fn entries(store: &Store, out: &mut Output) -> Outcome {
    let mut entries = store.scan(Scan::new());
    while let Some((key, entry)) = entries.try_next().await? {
        out.write(&ndjson::line(&key, &entry))?;
    }
    Ok(Answer::Yes)
}

pub(crate) async fn all(store: &Store, out: &mut Output) -> Outcome {
    let mut entries = store.scan(Scan::new().expiries(false));
    let mut before = "{";
    while let Some((key, entry)) = entries.try_next().await? {
        out.write(before.as_bytes())?;
        out.write(quote(&key).as_bytes())?;
        out.write(b":")?;
        out.write(&compact(entry.json().as_bytes()))?;
        before = ",";
    }
    out.line(if before == "{" { b"{}" } else { b"}" })?;
    Ok(Answer::Yes)
}

pub(crate) async fn prune(store: &Store, out: &mut Output) -> Outcome {
    let pruned = store.prune().await?;
    out.line(pruned.to_string().as_bytes())?;
    Ok(Answer::Yes)
}

/// `all` says that no prefix narrows it down: then somebody has to agree.
pub(crate) async fn clear(store: &Store, all: bool, yes: bool) -> Outcome {
    if all && !yes && !is_agreed(store).await? {
        say("polystore: nothing was removed");
        return Ok(Answer::No);
    }
    store.clear().await?;
    Ok(Answer::Yes)
}

async fn is_agreed(store: &Store) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(
            "clear would remove everything: say --yes if it should, or which part with \
             --prefix",
        ));
    }
    let mut count = 0_u64;
    let mut entries = store.scan(Scan::new().values(false).expiries(false));
    while entries.try_next().await?.is_some() {
        count += 1;
    }
    let kind = store.kind();
    let entries = if count == 1 { "entry" } else { "entries" };
    let question = format!("Remove all {count} {entries} of this {kind} store? [y/N] ");
    // On a thread of its own, so that Ctrl-C is heard meanwhile.
    let asked = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        io::stderr().write_all(question.as_bytes())?;
        io::stdin().read_line(&mut answer)?;
        Ok(answer)
    });
    let answer = match asked.await {
        Ok(answer) => answer.map_err(|error| Failure::io("ask", &error))?,
        Err(_) => return Ok(false),
    };
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
