//! Of several processes, one does the job: a lock with a lease, an owner and a heartbeat.
//!
//! Numbers invoices without gaps, which two at a time would get wrong:
//!
//! ```sh
//! cargo run -p job-lock -- sqlite:target/locks.db target/invoices 10 &
//! cargo run -p job-lock -- sqlite:target/locks.db target/invoices 10
//! ```
//!
//! Any store does that all of them reach and that has `insert` and `touch` (`redis://host` with the
//! feature `redis`, say). The lock is in `lock.rs`, with what it promises and what it cannot.
//!
//! Environment: `LEASE` (words such as `10s`, the default) after which the lock of a process that died is free,
//! and `WORK` (`5ms`), how long an invoice takes.

mod lock;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use polystore_kv::{Expires, kv};
use tokio::time::sleep;

use self::lock::{Held, Locks};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("job-lock: {error}");
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
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [store, journal, count] = &words[..] else {
        return Err("usage: job-lock STORE JOURNAL COUNT".into());
    };
    let count: u32 = count
        .parse()
        .map_err(|_| format!("COUNT is a number, not {count:?}"))?;
    let work = duration("WORK", "5ms")?;

    let store = kv(store)?;
    let locks = Locks::new(&store, duration("LEASE", "10s")?)?;
    for _ in 0..count {
        let held = locks.acquire("invoices").await?;
        let number = write_invoice(&held, Path::new(journal), work).await;
        // Also if that failed: the others need not wait until the lease is over.
        held.release().await?;
        writeln!(io::stdout(), "invoice {}", number?)?;
    }
    store.close().await?;
    Ok(())
}

/// Reads the last number, thinks, and writes the next one: right for one at a time only.
async fn write_invoice(held: &Held, journal: &Path, work: Duration) -> Result<u64, Failure> {
    let mut file = OpenOptions::new();
    let mut file = file.create(true).append(true).open(journal)?;
    let next = number_after(&std::fs::read_to_string(journal)?)?;
    // The work is done whether or not anybody listens.
    let _ = writeln!(io::stdout(), "working");
    sleep(work).await;
    // Right before what others can see.
    held.check()?;
    file.write_all(format!("{next} {}\n", std::process::id()).as_bytes())?;
    Ok(next)
}

/// The number that comes after those in `journal`.
fn number_after(journal: &str) -> Result<u64, Failure> {
    let Some(line) = journal.lines().last() else {
        return Ok(1);
    };
    // A full disk or a crash leaves half a line, and of a number perhaps half its digits.
    if !journal.ends_with('\n') {
        return Err("the journal ends within a line: mend it first".into());
    }
    let last = line.split(' ').next().and_then(|word| word.parse().ok());
    let next = last.and_then(|last: u64| last.checked_add(1));
    next.ok_or_else(|| format!("the journal ends with {line:?}, which has no number").into())
}

/// A length of time in the words that stores take too.
fn duration(variable: &str, default: &str) -> Result<Duration, Failure> {
    let words = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    let length = words.parse::<Expires>()?.as_duration();
    length.ok_or_else(|| format!("{variable} has to end some time").into())
}
