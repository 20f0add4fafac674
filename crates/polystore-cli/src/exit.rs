//! How the program ends: exit codes, and errors as people read them.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::iter;
use std::process::ExitCode;

/// What a command that went well has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    /// Not found, already there, or declined.
    No,
}

impl Answer {
    pub(crate) fn is(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

pub(crate) type Outcome = Result<Answer, Failure>;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    /// Nothing is printed without one.
    message: Option<String>,
    /// The causes, and what may help.
    notes: Vec<String>,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
            notes: Vec::new(),
        }
    }

    /// The command line or the input is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(2, message)
    }

    /// The store is not what it should be.
    pub(crate) fn store(message: impl Into<String>) -> Self {
        Self::new(3, message)
    }

    /// Doing `what` failed. Nobody is told that a pipe was closed: who closed it knows.
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                code: 0,
                message: None,
                notes: Vec::new(),
            };
        }
        Self::new(3, format!("could not {what}")).with_notes(causes(Some(error)))
    }

    /// Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self::new(130, "stopped")
    }

    /// The same with lines that say what now.
    pub(crate) fn with_notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// The message and what belongs to it, a line each.
    pub(crate) fn report(&self) -> Option<String> {
        let mut report = format!("polystore: {}\n", self.message.as_ref()?);
        for note in &self.notes {
            let _ = writeln!(report, "  {note}");
        }
        Some(report)
    }
}

impl From<polystore_kv::Error> for Failure {
    fn from(error: polystore_kv::Error) -> Self {
        let code = if error.is_usage() { 2 } else { 3 };
        let mut failure = Self::new(code, error.to_string()).with_notes(causes(error.source()));
        if error.is_maybe_applied() {
            let note = "the write may have been applied all the same";
            failure.notes.push(note.to_owned());
        }
        if error.is_retryable() {
            failure.notes.push("trying again may help".to_owned());
        }
        failure
    }
}

/// The causes from `first` down, each once.
fn causes<'e>(first: Option<&'e (dyn Error + 'static)>) -> impl Iterator<Item = String> + 'e {
    iter::successors(first, |&error| error.source()).map(|error| format!("caused by: {error}"))
}

/// Says what is wrong with the command line. Words in the wrong place are quoted there, and a URL among
/// them may have a password.
pub(crate) fn wrong_words(
    error: &clap::Error,
    words: impl IntoIterator<Item = OsString>,
) -> ExitCode {
    let report = error.to_string();
    let mut hidden = report.clone();
    for word in words {
        let word = word.to_string_lossy();
        if let Some((_, rest)) = word.split_once("://")
            && let Some((user, _)) = rest.rsplit_once('@')
            && !user.is_empty()
        {
            hidden = hidden.replace(user, "…");
        }
    }
    if hidden == report {
        error.exit();
    }
    let _ = io::stderr().write_all(hidden.as_bytes());
    ExitCode::from(2)
}

/// Says something on standard error; if that is closed, nobody is there to be told.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints what is to be said about the outcome, and gives its exit code.
pub(crate) fn code(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(failure) => {
            if let Some(report) = failure.report() {
                let _ = io::stderr().write_all(report.as_bytes());
            }
            ExitCode::from(failure.code)
        }
    }
}
