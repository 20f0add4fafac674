//! How a property says what it found.

use std::fmt::{self, Debug, Display};
use std::panic::Location;

use polystore_kv::{Error, ErrorKind, Result};

/// What a property gives: `Ok` if it holds.
pub(crate) type Verdict<T = ()> = std::result::Result<T, Stop>;

/// Why a property ended before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It does not hold.
    Failed(String),
    /// It says nothing about this store.
    Skipped(&'static str),
}

/// As much of a value as a message shows.
const SHOWN: usize = 600;

impl Stop {
    #[track_caller]
    pub(crate) fn failed(what: impl Display) -> Self {
        Self::Failed(format!("{what}\n  at {}", Location::caller()))
    }
}

/// An operation failed that has to work.
impl From<Error> for Stop {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::failed(format_args!("an operation failed: {error:?}"))
    }
}

/// `found` is what it has to be.
#[track_caller]
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers pass what an operation just gave"
)]
pub(crate) fn same<A: PartialEq<B> + Debug, B: Debug>(found: A, expected: B) -> Verdict {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (short(&found), short(&expected));
    Err(Stop::failed(format_args!(
        "found     {found}\n  expected  {expected}"
    )))
}

/// As [`same`], for one of many: `what` says which.
#[track_caller]
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers pass what an operation just gave"
)]
pub(crate) fn same_for<A: PartialEq<B> + Debug, B: Debug>(
    what: impl Debug,
    found: A,
    expected: B,
) -> Verdict {
    if found == expected {
        return Ok(());
    }
    let (what, found, expected) = (short(&what), short(&found), short(&expected));
    Err(Stop::failed(format_args!(
        "for       {what}\n  found     {found}\n  expected  {expected}"
    )))
}

/// `condition` holds; `what` says what is wrong if it does not.
#[track_caller]
pub(crate) fn holds(condition: bool, what: impl Display) -> Verdict {
    if condition {
        Ok(())
    } else {
        Err(Stop::failed(what))
    }
}

/// The operation failed with an error of `kind`, which this gives.
#[track_caller]
pub(crate) fn fails<T: Debug>(result: Result<T>, kind: ErrorKind) -> Verdict<Error> {
    match result {
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => Err(Stop::failed(format_args!(
            "failed with {error:?}, not with {kind:?}"
        ))),
        Ok(value) => Err(Stop::failed(format_args!(
            "gave {} and did not fail with {kind:?}",
            short(&value)
        ))),
    }
}

/// There is something.
#[track_caller]
pub(crate) fn some<T>(found: Option<T>) -> Verdict<T> {
    found.ok_or_else(|| Stop::failed("found nothing"))
}

/// Collects what fails for some of many cases, so that one does not hide the others.
#[derive(Default)]
pub(crate) struct Cases {
    failed: Vec<String>,
}

impl Cases {
    pub(crate) fn add(&mut self, case: impl Debug, verdict: Verdict) -> Verdict {
        match verdict {
            Ok(()) => Ok(()),
            Err(Stop::Failed(why)) => {
                self.failed.push(format!("{}: {why}", short(&case)));
                Ok(())
            }
            Err(skipped) => Err(skipped),
        }
    }

    pub(crate) fn end(self) -> Verdict {
        if self.failed.is_empty() {
            return Ok(());
        }
        let shown = self.failed[..self.failed.len().min(10)].join("\n");
        let count = self.failed.len();
        Err(Stop::Failed(format!("{count} cases failed:\n{shown}")))
    }
}

fn short(value: &impl Debug) -> String {
    let mut text = Cut(String::new());
    // It fails when it is full, which ends the formatting.
    let _ = fmt::write(&mut text, format_args!("{value:?}"));
    text.0
}

struct Cut(String);

impl fmt::Write for Cut {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for character in more.chars() {
            if self.0.len() >= SHOWN {
                self.0.push('…');
                return Err(fmt::Error);
            }
            self.0.push(character);
        }
        Ok(())
    }
}
