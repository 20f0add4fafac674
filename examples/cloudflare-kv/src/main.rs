//! Redirects in Cloudflare KV, kept in a file and brought there by the REST API: from a laptop, or from CI.
//!
//! ```sh
//! export CLOUDFLARE_API_TOKEN=…                        # with "Workers KV Storage", "Edit"
//! export REDIRECTS=cloudflare://ACCOUNT/NAMESPACE      # the ids of both
//! alias redirects='cargo run -q -p cloudflare-kv --'
//! redirects push redirects.txt     # makes the namespace what the file says, and changes no more than that
//! redirects add /sale https://shop.example/summer "2 weeks"
//! redirects list
//! redirects rm /sale
//! redirects clear                  # removes all of them: an empty file does not, which is more often a mistake
//! ```
//!
//! A line of the file is `/from https://to`; those that are empty or begin with `#` are for people. The namespace may hold
//! other things too: all of these keys begin with `redirect:`. What is there is plain JSON, so a Worker needs
//! no more than `await env.NAME.get("redirect:" + url.pathname, "json")`, and one in Rust takes the binding as a
//! store (see examples/worker).
//!
//! What KV is not: nothing here is atomic, and the world sees a change within a minute and not at
//! once. So one at a time may push, and what must be taken once (a name, a lock) belongs
//! elsewhere: `insert` is an "unsupported" error here.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use polystore_kv::{Expires, Expiry, Scan, TypedStore, kv};
use serde::{Deserialize, Serialize};

type Failure = Box<dyn std::error::Error>;

const USAGE: &str = "usage: cloudflare-kv list | push FILE | add FROM TO [TIME] | rm FROM… | clear";

/// Where a path leads.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Redirect {
    to: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloudflare-kv: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// Whether whoever reads what is printed has had enough, such as `head`.
fn is_closed_pipe(error: &Failure) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

async fn run() -> Result<(), Failure> {
    let url = std::env::var("REDIRECTS")
        .map_err(|_| "set REDIRECTS to the namespace: cloudflare://ACCOUNT/NAMESPACE")?;
    let redirects = kv(url)?.prefix("redirect:").typed();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => {
            for (from, Redirect { to }) in redirects.all().await? {
                writeln!(io::stdout(), "{from} {to}")?;
            }
        }
        ["push", file] => {
            let lines = std::fs::read_to_string(file);
            let lines = lines.map_err(|error| format!("{file}: {error}"))?;
            push(&redirects, &lines).await?;
        }
        ["add", from, to] => add(&redirects, from, to, Expires::NEVER).await?,
        ["add", from, to, time] => add(&redirects, from, to, time.parse()?).await?,
        ["rm", ref from @ ..] if !from.is_empty() => redirects.del_many(from).await?,
        ["clear"] => redirects.clear().await?,
        _ => return Err(USAGE.into()),
    }
    // What was written is there when its await returned; this lets go of the connection.
    redirects.close().await?;
    Ok(())
}

async fn add(
    redirects: &TypedStore<Redirect>,
    from: &str,
    to: &str,
    expires: Expires,
) -> Result<(), Failure> {
    let (from, redirect) = parse(&format!("{from} {to}"))?;
    redirects.set(&from, &redirect).expires(expires).await?;
    Ok(())
}

/// Makes the namespace what the file says. Cloudflare allows so many requests and writes: what is the same already is
/// not written again, and the rest goes ten thousand to a request.
async fn push(redirects: &TypedStore<Redirect>, file: &str) -> Result<(), Failure> {
    let lines = file.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let mut wanted = BTreeMap::new();
    for (number, line) in lines {
        let number = number + 1;
        let (from, redirect) = parse(line).map_err(|error| format!("line {number}: {error}"))?;
        if wanted.insert(from, redirect).is_some() {
            return Err(format!("line {number}: that path is there twice").into());
        }
    }
    if wanted.is_empty() {
        return Err("there is no redirect in the file; to remove all of them: clear".into());
    }
    let mut there = BTreeMap::new();
    let mut entries = redirects.store().scan(Scan::new());
    while let Some((from, entry)) = entries.try_next().await? {
        // What ends some time, or is no redirect, is not what the file says.
        let is_for_good = entry.expiry() == Expiry::Never;
        let redirect = entry.decode::<Redirect>().ok().filter(|_| is_for_good);
        there.insert(from, redirect);
    }
    let new = wanted
        .iter()
        .filter(|(from, redirect)| there.get(*from).and_then(Option::as_ref) != Some(redirect));
    let new: Vec<(&String, &Redirect)> = new.collect();
    let gone: Vec<&String> = there
        .keys()
        .filter(|from| !wanted.contains_key(*from))
        .collect();
    writeln!(
        io::stdout(),
        "{} to write, {} to remove, of {}",
        new.len(),
        gone.len(),
        wanted.len()
    )?;
    // In this order: if it fails half way, no path that should lead somewhere leads nowhere, and it can be done again.
    redirects.set_many(new).await?;
    redirects.del_many(gone).await?;
    Ok(())
}

/// What a line says.
fn parse(line: &str) -> Result<(String, Redirect), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [from, to] if from.starts_with('/') && to.starts_with("https://") => {
            Ok((from.to_owned(), Redirect { to: to.to_owned() }))
        }
        _ => Err(format!("{line:?} is not /from https://to")),
    }
}
