//! The connection to the server or the cluster, made when it is needed and replaced when lost.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{Cmd, Value};

use super::source::Source;
use super::wire::{Answer, Ask, Commands, Lost, Node, Wire};
use super::{command, failure};
use crate::error::{Error, ErrorKind, Result};
use crate::link::Link;
use crate::runtime::{self, persist, timed_out, timeout};

/// How long a connection may rest before it is asked whether it is still there.
const RESTS: Duration = Duration::from_secs(1);

pub(super) struct Server {
    source: Arc<Source>,
    link: Link<Wire>,
    timeout: Duration,
    /// When something last came back.
    heard: Mutex<Instant>,
}

impl Server {
    pub(super) fn new(source: Source, timeout: Duration) -> Self {
        Self {
            source: Arc::new(source),
            link: Link::default(),
            timeout,
            heard: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.source.is_cluster()
    }

    pub(super) async fn wire(&self) -> Result<Arc<Wire>> {
        runtime::current()?;
        if let Some(wire) = self.link.now()
            && wire.is_abandoned()
        {
            self.link.lose(&wire);
        }
        let (source, limit) = (Arc::clone(&self.source), self.timeout);
        let connect = || async move { source.connect(limit).await };
        self.link.get(connect).await
    }

    /// Makes sure of a connection that has rested: the server, or what stands before it, may
    /// have closed it meanwhile, and what must not be sent twice would be the one to find out.
    pub(super) async fn wake(&self) {
        if self.is_cluster() || self.heard().elapsed() < RESTS {
            return;
        }
        if let Some(wire) = self.link.now() {
            // A lost connection is let go by this, and replaced by what comes next.
            let _ = self.ask_node(&wire, None, &redis::cmd("PING")).await;
        }
    }

    fn heard(&self) -> MutexGuard<'_, Instant> {
        // Nothing panics while it is held.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends all of it, and gives what came back for each. Of `writes`, what may have been done
    /// without an answer is said to be so.
    pub(super) async fn ask(&self, asks: Vec<Ask<'_>>, writes: bool) -> Vec<Result<Value>> {
        let both = asks.iter().enumerate();
        let both = both.filter_map(|(place, ask)| match ask.commands {
            Commands::Both(names) => Some((place, ask.key, names)),
            Commands::One(_) => None,
        });
        let mut both: Vec<_> = both.collect();
        let singles = asks
            .iter()
            .rposition(|ask| matches!(ask.commands, Commands::One(_)));
        if writes && let Some(last) = singles {
            // What comes after a later write would undo it.
            both.retain(|(place, ..)| *place > last);
        }
        let mut answers = self.ask_once(asks, writes).await;
        let is_full = |answer: &Result<Value>| {
            let error = answer.as_ref().err();
            error.is_some_and(|error| error.kind() == ErrorKind::Full)
        };
        let refused = both.into_iter();
        let refused = refused.filter(|(place, ..)| is_full(&answers[*place]));
        let (places, again): (Vec<_>, Vec<_>) = refused
            .map(|(place, key, names)| (place, Ask::one(key, command::both_by_script(key, names))))
            .unzip();
        if !again.is_empty() {
            for (place, answer) in places.into_iter().zip(self.ask_once(again, writes).await) {
                // A user may be denied scripts: then the memory is still what is wrong.
                let is_of_scripts = |error: &Error| {
                    matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unsupported)
                };
                if !answer.as_ref().is_err_and(is_of_scripts) {
                    answers[place] = answer;
                }
            }
        }
        answers
    }

    async fn ask_once(&self, asks: Vec<Ask<'_>>, writes: bool) -> Vec<Result<Value>> {
        let count = asks.len();
        let unclear = |error: Error| match writes {
            true => error.with_maybe_applied(),
            false => error,
        };
        let wire = match self.wire().await {
            Ok(wire) => wire,
            Err(error) => return vec![Err(error); count],
        };
        match wire.ask(asks).await {
            Ok(answers) => {
                *self.heard() = Instant::now();
                let answers = answers.into_iter().map(|answer| match answer {
                    Answer::Value(value) => Ok(value),
                    Answer::Refused(error) => Err(self.judge(&wire, error)),
                    Answer::Unclear(error) => {
                        if error.kind() == ErrorKind::Timeout {
                            self.link.lose(&wire);
                        }
                        Err(unclear(error))
                    }
                });
                answers.collect()
            }
            Err(lost) => {
                let error = self.note_loss(&wire, lost);
                vec![Err(unclear(error)); count]
            }
        }
    }

    /// Sends a command that is about no key once, to `node` if this is a cluster.
    pub(super) async fn ask_node(
        &self,
        wire: &Arc<Wire>,
        node: Option<&Node>,
        command: &Cmd,
    ) -> Result<Value> {
        let asked = wire.ask_node(node, command).await;
        asked.map_err(|lost| self.note_loss(wire, lost))
    }

    /// Tries what changes nothing until it works or its time is over.
    pub(super) async fn persist<T, F>(&self, attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let done = persist(self.timeout, |error| self.is_transient(error), attempt).await;
        if let Err(error) = &done
            && error.kind() == ErrorKind::Timeout
        {
            self.drop_connection();
        }
        done
    }

    /// Fails if it takes too long.
    pub(super) async fn within_time<T>(
        &self,
        attempt: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match timeout(self.timeout, attempt).await {
            Ok(done) => done,
            Err(_) => {
                self.drop_connection();
                Err(timed_out(self.timeout))
            }
        }
    }

    pub(super) fn is_transient(&self, error: &Error) -> bool {
        // A wrong address is told at once.
        error.is_retryable() && self.link.was_connected()
    }

    pub(super) fn drop_connection(&self) {
        self.link.drop_connection();
    }

    pub(super) async fn close(&self) {
        self.link.close().await;
    }

    fn note_loss(&self, wire: &Arc<Wire>, lost: Lost) -> Error {
        if lost.for_good {
            self.link.lose(wire);
        }
        let error = self.judge(wire, lost.error);
        if lost.for_good && !self.source.can_reconnect() {
            return error.retryable(false);
        }
        error
    }

    /// What a refusal says of the server that gave it.
    fn judge(&self, wire: &Arc<Wire>, error: Error) -> Error {
        match error.kind() {
            // It was the master, perhaps, and another one is now.
            ErrorKind::ReadOnly | ErrorKind::Denied => {
                self.link.lose(wire);
                let passes = error.kind() == ErrorKind::ReadOnly && self.source.fails_over();
                let retryable = error.is_retryable() || passes;
                error.retryable(retryable)
            }
            // It has closed this connection at once.
            ErrorKind::Throttled => {
                self.link.lose(wire);
                error
            }
            _ => error,
        }
    }
}

/// What stands in a reply where nothing else may.
pub(super) fn unexpected<T>() -> Result<T> {
    Err(failure::unexpected())
}
