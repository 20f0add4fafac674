//! Copy, export and import: whole stores in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::pin::pin;

use futures_util::stream::{FuturesUnordered, Stream, StreamExt, poll_fn};
use polystore_kv::{Entry, Expires, Scan, Store};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::exit::Failure;
use crate::ndjson;
use crate::output::Output;
use crate::progress::Progress;
use crate::replace::Replacement;

/// So many writes are under way: stores that send together what waits are fast then.
const IN_FLIGHT: usize = 128;

/// So many entries are read ahead.
const READ_AHEAD: usize = 256;

pub(crate) async fn copy(
    from: &Store,
    to: &Store,
    expires: Option<Expires>,
    progress: &Progress,
) -> Result<(), Failure> {
    let entries = from.scan(Scan::new()).map(|entry| Ok(entry?));
    let copied = pour(entries, to, expires, progress).await;
    copied.map_err(|failure| failure.with_notes(progress.what_stays()))
}

pub(crate) async fn import(
    file: &Path,
    to: &Store,
    expires: Option<Expires>,
    progress: &Progress,
) -> Result<(), Failure> {
    let imported = match read(file) {
        Ok(entries) => pour(entries, to, expires, progress).await,
        Err(failure) => Err(failure),
    };
    imported.map_err(|failure| failure.with_notes(progress.what_stays()))
}

pub(crate) async fn export(
    from: &Store,
    file: &Path,
    out: &mut Output,
    progress: &Progress,
) -> Result<(), Failure> {
    if is_standard(file) {
        write_to(from, out, progress).await?;
    } else {
        let failed = |error| Failure::io(&format!("write {}", file.display()), &error);
        let replacement = Replacement::of(file).map_err(failed)?;
        let mut to = Output::to(replacement.writer().map_err(failed)?);
        write_to(from, &mut to, progress).await?;
        drop(to);
        replacement.commit().map_err(failed)?;
    }
    Ok(())
}

async fn write_to(from: &Store, to: &mut Output, progress: &Progress) -> Result<(), Failure> {
    let mut entries = from.scan(Scan::new());
    while let Some((key, entry)) = entries.try_next().await? {
        to.write(&ndjson::line(&key, &entry))?;
        progress.one();
    }
    to.finish()
}

/// `-` is standard input or output.
pub(crate) fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// Puts the entries into `to`, many at a time. After a failure nothing more is read, and
/// what was begun is finished, so that the count is right.
async fn pour(
    entries: impl Stream<Item = Result<(String, Entry), Failure>>,
    to: &Store,
    expires: Option<Expires>,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut entries = pin!(entries);
    let mut writes = FuturesUnordered::new();
    let mut reading = true;
    let mut failed = None;
    loop {
        tokio::select! {
            biased;
            next = entries.next(), if reading && writes.len() < IN_FLIGHT => match next {
                Some(Ok((_, entry))) if expires.is_none() && entry.is_expired() => {
                    progress.one_expired();
                }
                Some(Ok((key, entry))) => writes.push(put(to, key, entry, expires)),
                Some(Err(failure)) => {
                    reading = false;
                    failed = Some(failure);
                }
                None => reading = false,
            },
            Some(written) = writes.next(), if !writes.is_empty() => match written {
                Ok(()) => progress.one(),
                Err(failure) => {
                    reading = false;
                    failed.get_or_insert(failure);
                }
            },
            else => break,
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn put(
    to: &Store,
    key: String,
    entry: Entry,
    expires: Option<Expires>,
) -> Result<(), Failure> {
    match expires {
        None => to.put(&key, entry).await?,
        Some(expires) => {
            let value: Box<RawValue> = entry.decode()?;
            to.set(&key, &value).expires(expires).await?;
        }
    }
    Ok(())
}

/// The entries of a file. It is read by a thread of its own, which ends with the stream
/// or the process.
fn read(
    file: &Path,
) -> Result<impl Stream<Item = Result<(String, Entry), Failure>> + use<>, Failure> {
    let lines: Box<dyn BufRead + Send> = if is_standard(file) {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(file)
            .map_err(|error| Failure::io(&format!("open {}", file.display()), &error))?;
        Box::new(BufReader::with_capacity(1 << 16, file))
    };
    let (sender, mut receiver) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        for entry in parsed(lines) {
            let is_last = entry.is_err();
            if sender.blocking_send(entry).is_err() || is_last {
                break;
            }
        }
    });
    Ok(poll_fn(move |cx| receiver.poll_recv(cx)))
}

/// The entries in `lines`; empty lines are skipped.
fn parsed(mut lines: impl BufRead) -> impl Iterator<Item = Result<(String, Entry), Failure>> {
    let mut line = Vec::new();
    let mut number = 0_u64;
    std::iter::from_fn(move || {
        loop {
            line.clear();
            number += 1;
            match lines.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) if line.trim_ascii().is_empty() => {}
                Ok(_) => {
                    return Some(ndjson::parse(&line).map_err(|wrong| {
                        Failure::usage(format!("line {number} of the input: {wrong}"))
                    }));
                }
                Err(error) => return Some(Err(Failure::io("read the input", &error))),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use polystore_kv::{Expiry, Timestamp, kv};

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("runtime").block_on(future)
    }

    #[test]
    fn a_copy_has_the_same_entries_with_the_same_expiries() {
        run(async {
            let (from, to) = (kv("memory:").expect("a"), kv("memory:").expect("b"));
            let far = Expiry::At(Timestamp::from_millis(9_000_000_000_123));
            for n in 0..1000 {
                let expiry = if n % 2 == 0 { far } else { Expiry::Never };
                let entry = Entry::new(&n, expiry).expect("entry");
                from.put(&format!("key {n}"), entry).await.expect("put");
            }
            let progress = Progress::new("copied").into_store();
            copy(&from, &to, None, &progress).await.expect("copy");
            assert_eq!(
                progress.in_words(),
                "copied 1000 entries, left out 0 expired"
            );
            assert_eq!(
                to.entry("key 8")
                    .await
                    .expect("entry")
                    .expect("some")
                    .expiry(),
                far
            );
            let (a, b) = (from.all::<u32>().await, to.all::<u32>().await);
            assert_eq!(a.expect("all"), b.expect("all"));
        });
    }

    #[test]
    fn another_expiry_is_for_all_of_them_and_what_had_expired_is_left_out() {
        run(async {
            let to = kv("memory:").expect("store");
            let entries = || {
                let entry = |key: &str, expiry| {
                    let entry = Entry::from_stored("1", expiry);
                    Ok((key.to_owned(), entry))
                };
                futures_util::stream::iter([
                    entry("never", Expiry::Never),
                    entry("old", Expiry::At(Timestamp::from_millis(1))),
                ])
            };
            let progress = Progress::new("imported").into_store();
            pour(entries(), &to, None, &progress).await.expect("pour");
            assert_eq!(progress.in_words(), "imported 1 entry, left out 1 expired");
            let hour = Some(Expires::from(3600));
            pour(entries(), &to, hour, &progress).await.expect("pour");
            assert_eq!(to.keys().await.expect("keys"), ["never", "old"]);
            assert_ne!(to.ttl("never").await.expect("ttl"), Some(Expires::NEVER));
        });
    }

    #[test]
    fn of_two_lines_with_one_key_the_later_wins() {
        run(async {
            let to = kv("memory:").expect("store");
            let lines: Vec<_> = (0..1000)
                .map(|n| {
                    Ok((
                        "k".to_owned(),
                        Entry::from_stored(n.to_string(), Expiry::Never),
                    ))
                })
                .collect();
            let progress = Progress::new("imported").into_store();
            let lines = futures_util::stream::iter(lines);
            pour(lines, &to, None, &progress).await.expect("pour");
            assert_eq!(to.get("k").await.expect("get"), Some(999));
        });
    }
}
