//! Polystore in one short program: the countries of the world in an embedded store.
//!
//! `cargo run -p quickstart` works in `target/quickstart`; `cargo run -p quickstart -- DIR`
//! in a folder of your choice. Run it as often as you like.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use polystore_kv::{Expires, Scan, kv};
use serde::{Deserialize, Serialize};

/// What data/README.md tells about the file stands here as a type. Anything that serde
/// turns into JSON can be stored.
#[derive(Debug, Serialize, Deserialize)]
struct Country {
    alpha2: String,
    alpha3: String,
    numeric: String,
    name: String,
    continent: String,
    capital: Option<String>,
    currencies: Vec<String>,
    languages: Vec<String>,
}

const COUNTRIES: &str = include_str!("../data/countries.json");

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads what is printed has had enough, such as `head`.
        Err(error) if is_closed_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            if let Some(cause) = error.source() {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    let folder = enter_folder()?;
    writeln!(out, "Everything is in {}\n", folder.display())?;

    // Open a store. Nothing happens yet: the file is opened by the first operation. Any
    // other URL works as well, such as "memory:" or "file:countries.json".
    let store = kv("sqlite:countries.db")?;
    // What an earlier run left there goes.
    store.clear().await?;

    // Import the countries, all with one write. A substore adds its prefix to each key,
    // so that the key of France is "country:EU:FR".
    let list: Vec<Country> = serde_json::from_str(COUNTRIES)?;
    let countries = store.prefix("country:");
    let began = Instant::now();
    countries
        .set_many(list.iter().map(|country| (key_of(country), country)))
        .await?;
    writeln!(
        out,
        "imported {} countries in {:?}",
        list.len(),
        began.elapsed()
    )?;

    // Read one back. It is None if it was never set, was deleted or has expired.
    let france: Option<Country> = countries.get("EU:FR").await?;
    let france = france.ok_or("France was imported, but is not there")?;
    writeln!(out, "country:EU:FR is {}", describe(&france))?;

    // Read several in one round trip; what is missing is left out.
    let europe = countries.prefix("EU:");
    let nordic: BTreeMap<String, Country> = europe
        .get_many(["DK", "FI", "IS", "NO", "SE", "XX"])
        .await?;
    let names: Vec<&str> = nordic.values().map(|country| &country.name[..]).collect();
    writeln!(out, "the Nordic countries are {}", names.join(", "))?;

    // List by prefix. Substores stack; their keys come without the prefix.
    let keys = europe.keys().await?;
    writeln!(
        out,
        "{} keys begin with country:EU: from {} to {}",
        keys.len(),
        keys[0],
        keys[keys.len() - 1]
    )?;

    // Go through all of them, however many there are: a stream holds a few at a time.
    let mut users = 0;
    let mut stream = countries.stream::<Country>();
    while let Some((_key, country)) = stream.try_next().await? {
        users += usize::from(country.currencies.iter().any(|currency| currency == "EUR"));
    }
    writeln!(out, "{users} of them use the euro")?;

    // Let a value expire. "1h", "2 weeks", 60 (seconds) or a Duration would do as well.
    let set = Instant::now();
    store.set("weather", "sunny").expires("250ms").await?;
    let left = store.ttl("weather").await?.and_then(Expires::as_duration);
    writeln!(
        out,
        "the weather is kept for {:?} …",
        left.unwrap_or_default()
    )?;
    while store.has("weather").await? {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    writeln!(out, "… and was gone after {:?}", set.elapsed())?;

    // Add a value under a key that the store makes up.
    let id = store.prefix("visit:").add(&("FR", 2026)).await?;
    writeln!(out, "a visit is kept as visit:{id}")?;

    // Take a lock: of any number of tasks and processes that try, one gets it. It
    // expires, in case its holder never comes back.
    let locks = store.prefix("lock:").expires("30s");
    for worker in ["worker 1", "worker 2"] {
        let got_it = locks.insert("report", worker).await?;
        writeln!(
            out,
            "{worker} {} the lock",
            if got_it { "takes" } else { "does not get" }
        )?;
    }

    // Copy everything to another kind of store, expiries included, without decoding it.
    let copy = kv("file:copy/")?;
    copy.clear().await?;
    let mut entries = store.scan(Scan::new());
    let mut copied = 0;
    while let Some((key, entry)) = entries.try_next().await? {
        copy.put(&key, entry).await?;
        copied += 1;
    }
    writeln!(
        out,
        "copied {copied} entries to {}, a file each",
        folder.join("copy").display()
    )?;

    // Finish what was begun and let go of the files.
    copy.close().await?;
    store.close().await?;
    Ok(())
}

fn key_of(country: &Country) -> String {
    format!("{}:{}", country.continent, country.alpha2)
}

fn describe(country: &Country) -> String {
    let capital = country.capital.as_deref().unwrap_or("none");
    let Country {
        name,
        alpha3,
        numeric,
        ..
    } = country;
    format!("{name} ({alpha3}, {numeric}), capital {capital}")
}

/// Makes the folder to work in and goes there, so that URLs can be short.
fn enter_folder() -> Result<PathBuf, Box<dyn Error>> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/quickstart");
    let folder = std::env::args_os().nth(1);
    // An option or the URL of a store would become a folder of that name.
    let text = folder.as_deref().unwrap_or_default().to_string_lossy();
    if text.starts_with('-') || text.contains("://") {
        return Err(format!("{text:?} is no folder\nusage: quickstart [DIR]").into());
    }
    let folder = folder.map_or_else(default, PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    std::env::set_current_dir(&folder)?;
    Ok(std::env::current_dir()?)
}

fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
