//! Keys of one's own making: a journal whose ids are in the order of time, and which overwrites nothing.
//!
//! ```sh
//! alias journal='cargo run -q -p custom-ids --'
//! journal add "the pump was replaced"    # prints the id
//! journal list                           # the oldest first
//! journal list 2                         # a page of two …
//! journal list 2 019a2f6e-…              # … and the next one, after that id
//! journal since 1h
//! ```
//!
//! It is in `journal.db` in this folder, or in the store whose URL is in `JOURNAL`.
//!
//! [`Store::add`] makes random keys, which nobody can guess and which come in no order. Ids of the kind `UUIDv7`
//! (RFC 9562) begin with the millisecond in which they were made: in a store that is
//! [ordered](polystore_kv::Capabilities::ordered) a listing is in the order of time, and a page or "since
//! then" reads no more than it gives. They tell everybody when they were made, and are
//! no secret: for sessions and the like keep to `add`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polystore_kv::{Expires, Result, Scan, Store, kv};
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

type Failure = Box<dyn std::error::Error>;

const USAGE: &str = "usage: custom-ids add TEXT | list [COUNT [AFTER]] | since TIME";

#[derive(Serialize, Deserialize)]
struct Event {
    text: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("custom-ids: {error}");
            if let Some(cause) = error.source() {
                eprintln!("  because: {cause}");
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
    let url = std::env::var("JOURNAL").unwrap_or_else(|_| "sqlite:journal.db".to_owned());
    let store = kv(url)?;
    let journal = store.prefix("event:");
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["add", text] => {
            let text = text.to_owned();
            let id = add(&journal, &Event { text }).await?;
            writeln!(io::stdout(), "{id}")?;
        }
        ["list"] => print(&journal, Scan::new()).await?,
        ["list", count] => print(&journal, Scan::new().limit(number(count)?)).await?,
        ["list", count, after] => {
            let after: Uuid = after
                .parse()
                .map_err(|_| format!("{after:?} is not an id of the journal"))?;
            let scan = Scan::new().limit(number(count)?).after(after.to_string());
            print(&journal, scan).await?;
        }
        ["since", time] => {
            let age = time.parse::<Expires>()?.as_duration();
            let from = age.and_then(|age| SystemTime::now().checked_sub(age));
            let first = first_of(from.unwrap_or(UNIX_EPOCH));
            print(&journal, Scan::new().after(first.to_string())).await?;
        }
        _ => return Err(USAGE.into()),
    }
    store.close().await?;
    Ok(())
}

fn number(word: &str) -> std::result::Result<usize, Failure> {
    word.parse()
        .map_err(|_| format!("COUNT is a number, not {word:?}").into())
}

/// Keeps `event` under a new id, and gives that.
///
/// Two processes can make one id, if rarely. `set` would then overwrite what is there: `insert` says that it is taken.
async fn add(journal: &Store, event: &Event) -> Result<Uuid> {
    loop {
        // Of one process each is greater than the one before, also within a millisecond and when the clock goes back.
        let id = Uuid::now_v7();
        let key = id.to_string();
        match journal.insert(&key, event).await {
            Ok(true) => return Ok(id),
            Ok(false) => {}
            // Sent, and the answer was lost. Under another id it could be there twice.
            Err(error) if error.is_maybe_applied() && journal.has(&key).await? => return Ok(id),
            Err(error) => return Err(error),
        }
    }
}

/// The smallest id of that moment: all that were made then or later are greater.
fn first_of(moment: SystemTime) -> Uuid {
    let age = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

/// How long ago an id was made, by its own telling.
fn age(id: &str) -> Option<Duration> {
    let (seconds, nanos) = id.parse::<Uuid>().ok()?.get_timestamp()?.to_unix();
    let made = UNIX_EPOCH + Duration::new(seconds, nanos);
    SystemTime::now().duration_since(made).ok()
}

async fn print(journal: &Store, scan: Scan) -> Result<(), Failure> {
    if !journal.capabilities().await?.ordered {
        let kind = journal.kind();
        return Err(format!("a {kind} store lists in no order; take one that does").into());
    }
    let mut entries = journal.scan(scan);
    while let Some((id, entry)) = entries.try_next().await? {
        let age = age(&id).unwrap_or_default().as_secs();
        let text = entry.decode::<Event>()?.text;
        writeln!(io::stdout(), "{id} ({age} s ago) {text}")?;
    }
    Ok(())
}
