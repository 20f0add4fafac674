//! A store of one's own: a plain map of the program, with everything that `kv()` gives to any store.
//!
//! `cargo run -p custom-store` uses it; the store is `src/lib.rs`, and `cargo test -p custom-store` tries it
//! with the tests that every store has to pass. More of it, step by step: docs/creating-a-store.md.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use custom_store::MapStore;
use polystore_kv::kv;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads what is printed has had enough, such as `head`.
        Err(error) if is_closed_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("custom-store: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    let map = Arc::new(MapStore::default());
    let store = kv(Arc::clone(&map))?;

    // Types, batches, substores and expiry come from outside of the map.
    let ages = store.prefix("age:").typed::<u32>();
    ages.set_many([("ada", &36), ("grace", &85)]).await?;
    writeln!(out, "{:?}", ages.all().await?)?;

    let codes = store.prefix("code:").expires(Duration::from_millis(20));
    let code = codes.add("ada").await?;
    writeln!(out, "a code of {} characters", code.len())?;
    while codes.has(&code).await? {
        std::thread::yield_now();
    }
    writeln!(
        out,
        "it has expired: {} keys, {} in the map",
        store.keys().await?.len(),
        map.len()
    )?;
    writeln!(out, "{} pruned", store.prune().await?)?;

    // So do tasks that race: one of them gets it.
    let lock = store.prefix("lock:").expires("1min");
    writeln!(
        out,
        "{} {}",
        lock.insert("report", "a").await?,
        lock.insert("report", "b").await?
    )?;
    Ok(())
}

fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
