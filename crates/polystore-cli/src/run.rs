//! From the command line to the stores and back.

use std::io;
use std::panic::resume_unwind;
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::Shell;
use polystore_kv::Store;
use tokio::runtime;
use tokio::time::timeout;

use crate::args::{Cli, Command};
use crate::exit::{Answer, Failure, Outcome, say};
use crate::output::Output;
use crate::progress::Progress;
use crate::{groups, items, location, serve, transfer};

/// How long a command that was stopped may take to clean up.
const CLEAN_UP: Duration = Duration::from_secs(1);

pub(crate) fn run(cli: Cli) -> Outcome {
    match &cli.command {
        Command::Serve(serving) => serve::log_to_standard_error(serving, cli.json),
        _ => log_to_standard_error(),
    }
    let runtime = runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("start", &error))?;
    let outcome = runtime.block_on(until_interrupted(cli));
    // A thread that waits for standard input would be waited for.
    runtime.shutdown_background();
    outcome
}

/// What the library has to tell, such as the entries that a listing left out.
fn log_to_standard_error() {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_target(false)
        .without_time()
        .init();
}

async fn until_interrupted(cli: Cli) -> Outcome {
    let job = Job::new(cli)?;
    let (stores, progress) = ([job.store.clone(), job.to.clone()], job.progress.clone());
    // A server ends by itself.
    let ends_itself = matches!(job.command, Command::Serve(_));
    // A task of its own, so that Ctrl-C is heard even while standard output is stuck.
    let mut task = tokio::spawn(job.run());
    let mut outcome = tokio::select! {
        done = &mut task => done.unwrap_or_else(|panic| resume_unwind(panic.into_panic())),
        () = interrupted(), if !ends_itself => {
            task.abort();
            let _ = timeout(CLEAN_UP, task).await;
            Err(Failure::interrupted().with_notes(progress.what_stays()))
        }
    };
    progress.hide();
    for store in stores {
        let closed = store.close().await;
        if outcome.is_ok() {
            closed?;
        } else if let Err(error) = closed {
            outcome = outcome.map_err(|failure| failure.with_notes([error.to_string()]));
        }
    }
    outcome
}

/// Returns at Ctrl-C. The next one ends the process at once: stores stay whole then too.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::spawn(async {
        let _ = tokio::signal::ctrl_c().await;
        std::process::exit(130);
    });
}

/// A command with what it works on.
struct Job {
    command: Command,
    /// Narrowed down by --prefix, as `to` is.
    store: Store,
    /// Where a copy goes; for every other command the same as `store`.
    to: Store,
    is_whole: bool,
    out: Output,
    progress: Progress,
}

impl Job {
    fn new(cli: Cli) -> Result<Self, Failure> {
        let (store, to) = match &cli.command {
            Command::Copy { from, to, .. } if location::is_same(from, to) => {
                return Err(Failure::usage("both stores are the same"));
            }
            Command::Export { file } if location::is_at(&cli.store, file) => {
                return Err(Failure::usage(
                    "the store itself is in the file to export to",
                ));
            }
            Command::Copy { from, to, .. } => (location::to_take(from)?, location::to_write(to)?),
            command => {
                let store = match command {
                    Command::Export { .. } => location::to_take(&cli.store)?,
                    Command::Set { .. }
                    | Command::Add { .. }
                    | Command::Insert { .. }
                    | Command::Serve(_)
                    | Command::Import { .. } => location::to_write(&cli.store)?,
                    _ => location::to_read(&cli.store)?,
                };
                (store.clone(), store)
            }
        };
        Ok(Self {
            store: store.prefix(&cli.prefix),
            to: to.prefix(&cli.prefix),
            is_whole: cli.prefix.is_empty(),
            out: Output::stdout(cli.json),
            progress: match cli.command {
                Command::Copy { .. } => Progress::new("copied").into_store(),
                Command::Export { .. } => Progress::new("exported"),
                Command::Import { .. } => Progress::new("imported").into_store(),
                _ => Progress::hidden(),
            },
            command: cli.command,
        })
    }

    async fn run(mut self) -> Outcome {
        let (store, out) = (&self.store, &mut self.out);
        let answer = match &self.command {
            Command::Get { key, raw } => items::get(store, key, *raw, out).await,
            Command::Set {
                key,
                value,
                expires,
            } => items::set(store, key, value, expires).await,
            Command::Add { value, expires } => items::add(store, value, expires, out).await,
            Command::Insert {
                key,
                value,
                expires,
            } => items::insert(store, key, value, expires, out).await,
            Command::Replace {
                key,
                value,
                expires,
            } => items::replace(store, key, value, expires, out).await,
            Command::Has { key } => items::has(store, key, out).await,
            Command::Del { keys } => items::del(store, keys).await,
            Command::Ttl { key } => items::ttl(store, key, out).await,
            Command::Touch { key, expires } => items::touch(store, key, *expires, out).await,
            Command::Keys => groups::keys(store, out).await,
            Command::Values => groups::values(store, out).await,
            Command::Entries => groups::entries(store, out).await,
            Command::All => groups::all(store, out).await,
            Command::Clear { yes } => groups::clear(store, self.is_whole, *yes).await,
            Command::Prune => groups::prune(store, out).await,
            Command::Copy { .. } | Command::Export { .. } | Command::Import { .. } => {
                self.transfer().await
            }
            Command::Serve(serving) => serve::serve(store, serving, out.json).await,
            Command::Completions { shell } => completions(*shell, out),
        }?;
        self.out.finish()?;
        Ok(answer)
    }

    async fn transfer(&mut self) -> Outcome {
        let progress = &self.progress;
        let mut to_stdout = false;
        match &self.command {
            Command::Copy { expires, .. } => {
                transfer::copy(&self.store, &self.to, expires.expires, progress).await?;
            }
            Command::Import { file, expires } => {
                transfer::import(file, &self.to, expires.expires, progress).await?;
            }
            Command::Export { file } => {
                to_stdout = transfer::is_standard(file);
                transfer::export(&self.store, file, &mut self.out, progress).await?;
            }
            _ => {}
        }
        progress.hide();
        // Where the entries go, the report does not.
        match (self.out.json, to_stdout) {
            (true, false) => self.out.line(progress.in_json().as_bytes())?,
            (true, true) => say(&progress.in_json()),
            (false, _) => say(&progress.in_words()),
        }
        Ok(Answer::Yes)
    }
}

fn completions(shell: Shell, out: &mut Output) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "polystore", &mut script);
    out.write(&script)?;
    Ok(Answer::Yes)
}
