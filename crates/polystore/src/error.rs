//! The one error of this crate.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What the fallible functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as finely as a caller would act on it.
///
/// Each kind belongs to one of three categories, asked with
/// [`Error::is_connection`], [`Error::is_data`] and [`Error::is_usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Connection: the store cannot be reached or opened, or failed while at work.
    Unreachable,
    /// Connection: the store did not answer, or a lock was not free, in time.
    Timeout,
    /// Connection: the store asks for fewer requests.
    Throttled,
    /// Connection: the disk, the quota or the memory given to the store is used up.
    Full,
    /// Connection: the store can be read but not written.
    ReadOnly,
    /// Connection: the store refuses this user or process.
    Denied,

    /// Data: what is stored is JSON, but not of the type that was asked for.
    Decode,
    /// Data: the value cannot be written as JSON.
    Encode,
    /// Data: what is stored is not what this store keeps (broken, or somebody else's).
    Corrupt,
    /// Data: the value that [`get_or_set`](crate::Store::get_or_set) was to compute could not be. The
    /// [source](StdError::source) is what the computation failed with.
    Compute,

    /// Usage: the store cannot hold this key.
    InvalidKey,
    /// Usage: the store cannot hold this value (`null` where one is needed, or too large).
    InvalidValue,
    /// Usage: a URL, an option or an expiry that means nothing.
    InvalidOption,
    /// Usage: this store cannot do that.
    Unsupported,
    /// Usage: the store was closed.
    Closed,
}

impl ErrorKind {
    fn category(self) -> Category {
        match self {
            Self::Unreachable
            | Self::Timeout
            | Self::Throttled
            | Self::Full
            | Self::ReadOnly
            | Self::Denied => Category::Connection,
            Self::Decode | Self::Encode | Self::Corrupt | Self::Compute => Category::Data,
            Self::InvalidKey
            | Self::InvalidValue
            | Self::InvalidOption
            | Self::Unsupported
            | Self::Closed => Category::Usage,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Category {
    Connection,
    Data,
    Usage,
}

/// What failed, where, and whether trying again may help.
///
/// An error is cheap to clone: the tasks that shared one request share its error.
/// Its one-line [`Display`](fmt::Display) names the backend, the operation and the
/// key; the causes below it are in [`source`](StdError::source), and `{:?}` prints
/// them all. Neither ever shows a stored value or a password.
///
/// ```
/// use polystore_kv::{kv, ErrorKind};
///
/// let error = kv("sqlight:app.db").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidOption);
/// assert!(error.is_usage() && !error.is_retryable());
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    backend: Option<Cow<'static, str>>,
    operation: Option<&'static str>,
    key: Option<Box<str>>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    retryable: bool,
    retry_after: Option<Duration>,
    maybe_applied: bool,
}

impl Error {
    /// An error of `kind`; `message` says what was wrong and what to do.
    ///
    /// For authors of backends. Backend, operation and key are filled in by
    /// [`Store`](crate::Store); neither a value nor a secret belongs in the message.
    /// Timeouts and throttling count as retryable, everything else has to
    /// [say so](Error::retryable).
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            backend: None,
            operation: None,
            key: None,
            source: None,
            retryable: matches!(kind, ErrorKind::Timeout | ErrorKind::Throttled),
            retry_after: None,
            maybe_applied: false,
        }))
    }

    /// A usage error: the store of this backend cannot do `what`.
    pub fn unsupported(what: &'static str) -> Self {
        Self::new(ErrorKind::Unsupported, format!("this store cannot {what}"))
    }

    /// The error of an operation after [`Store::close`](crate::Store::close).
    pub fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the store was closed")
    }

    /// The error for `error`, which came of doing `what` ("open the file").
    ///
    /// ```
    /// use polystore_kv::{Error, ErrorKind};
    /// let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    /// assert_eq!(Error::from_io("read the file", denied).kind(), ErrorKind::Denied);
    /// ```
    pub fn from_io(what: &str, error: io::Error) -> Self {
        use io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::PermissionDenied => ErrorKind::Denied,
            Io::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::Full,
            Io::TimedOut | Io::WouldBlock => ErrorKind::Timeout,
            _ => ErrorKind::Unreachable,
        };
        Self::new(kind, format!("could not {what}"))
            .retryable(matches!(
                error.kind(),
                Io::Interrupted | Io::TimedOut | Io::WouldBlock
            ))
            .with_source(error)
    }

    fn edit(mut self, edit: impl FnOnce(&mut Inner)) -> Self {
        edit(Arc::make_mut(&mut self.0));
        self
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.edit(|inner| inner.source = Some(Arc::new(source)))
    }

    pub(crate) fn with_boxed_source(self, source: Box<dyn StdError + Send + Sync>) -> Self {
        self.edit(|inner| inner.source = Some(Arc::from(source)))
    }

    /// The same error for `key`.
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        self.edit(|inner| inner.key = Some(key.into()))
    }

    /// The same error without its key, for keys that are secrets.
    #[must_use]
    pub fn without_key(self) -> Self {
        self.edit(|inner| inner.key = None)
    }

    /// The same error, saying whether trying again may help.
    #[must_use]
    pub fn retryable(self, retryable: bool) -> Self {
        self.edit(|inner| inner.retryable = retryable)
    }

    /// The same error, retryable, with the wait that the store asked for.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        self.edit(|inner| {
            inner.retryable = true;
            inner.retry_after = Some(wait);
        })
    }

    /// The same error of a write that may have been applied all the same.
    #[must_use]
    pub fn with_maybe_applied(self) -> Self {
        self.edit(|inner| inner.maybe_applied = true)
    }

    /// The same error of what cannot have changed anything.
    pub(crate) fn not_applied(self) -> Self {
        self.edit(|inner| inner.maybe_applied = false)
    }

    /// The same error, saying which file or folder it is about.
    pub(crate) fn with_path(self, path: &std::path::Path) -> Self {
        self.edit(|inner| {
            let message = format!("{} ({})", inner.message, path.display());
            inner.message = message.into();
        })
    }

    /// The same error of a write of many: some of them may have been applied, unless the
    /// store could not even begin.
    pub(crate) fn of_many(self) -> Self {
        match self.kind() {
            ErrorKind::Closed
            | ErrorKind::Unsupported
            | ErrorKind::ReadOnly
            | ErrorKind::Denied => self,
            _ => self.with_maybe_applied(),
        }
    }

    /// Fills in what an inner layer left open.
    pub(crate) fn at(
        self,
        backend: Cow<'static, str>,
        operation: &'static str,
        key: Option<&str>,
    ) -> Self {
        self.edit(|inner| {
            inner.backend.get_or_insert(backend);
            inner.operation.get_or_insert(operation);
            if inner.key.is_none() {
                inner.key = key.map(Box::from);
            }
        })
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the store could not be reached, or could not serve: it is down, slow,
    /// full, read-only or refuses this user. The program and its data are fine.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        self.0.kind.category() == Category::Connection
    }

    /// Whether a value could not be computed, written as JSON or read back as what was asked for.
    #[must_use]
    pub fn is_data(&self) -> bool {
        self.0.kind.category() == Category::Data
    }

    /// Whether the call itself was wrong and would be on every try.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.0.kind.category() == Category::Usage
    }

    /// Whether the same call may succeed later, nothing else changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// How long the store asked to wait before the next try.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether a write that failed may have been applied all the same: the request
    /// was sent and its answer lost. `false` means that nothing was changed.
    #[must_use]
    pub fn is_maybe_applied(&self) -> bool {
        self.0.maybe_applied
    }

    /// The [kind](crate::Store::kind) of the store, such as `"sqlite"`.
    #[must_use]
    pub fn backend(&self) -> Option<&str> {
        self.0.backend.as_deref()
    }

    /// The method that failed, such as `"get"`.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        self.0.operation
    }

    /// The key at fault with its prefix, as the store has it.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// What was wrong, without backend, operation and key.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

/// As much of a key as fits a line.
const SHOWN_KEY_CHARS: usize = 80;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(backend) = &inner.backend {
            write!(f, "{backend}: ")?;
        }
        if let Some(operation) = inner.operation {
            f.write_str(operation)?;
            if let Some(key) = &inner.key {
                match key.char_indices().nth(SHOWN_KEY_CHARS) {
                    Some((end, _)) => write!(f, " {:?}…", &key[..end])?,
                    None => write!(f, " {key:?}")?,
                }
            }
            f.write_str(": ")?;
        }
        f.write_str(&inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:?}", self.0.kind)?;
        if self.0.retryable {
            f.write_str(", retryable")?;
        }
        if let Some(wait) = self.0.retry_after {
            write!(f, " after {wait:?}")?;
        }
        if self.0.maybe_applied {
            f.write_str(", may have been applied")?;
        }
        f.write_str(")")?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_exactly_one_category() {
        for kind in [
            ErrorKind::Unreachable,
            ErrorKind::Timeout,
            ErrorKind::Throttled,
            ErrorKind::Full,
            ErrorKind::ReadOnly,
            ErrorKind::Denied,
            ErrorKind::Decode,
            ErrorKind::Encode,
            ErrorKind::Corrupt,
            ErrorKind::Compute,
            ErrorKind::InvalidKey,
            ErrorKind::InvalidValue,
            ErrorKind::InvalidOption,
            ErrorKind::Unsupported,
            ErrorKind::Closed,
        ] {
            let error = Error::new(kind, "x");
            let categories = [error.is_connection(), error.is_data(), error.is_usage()];
            assert_eq!(categories.iter().filter(|is| **is).count(), 1, "{kind:?}");
        }
    }

    #[test]
    fn display_is_one_line_and_debug_a_report() {
        let error = Error::from_io("open the file", io::Error::other("disk on fire"))
            .at("file".into(), "get", Some("a\nb"))
            .at("other".into(), "other", Some("other"));
        assert_eq!(
            error.to_string(),
            r#"file: get "a\nb": could not open the file"#
        );
        assert_eq!(
            format!("{error:?}"),
            "file: get \"a\\nb\": could not open the file (Unreachable)\n  caused by: disk on fire"
        );
        let long = Error::closed().at("file".into(), "get", Some(&"é".repeat(1000)));
        assert!(long.to_string().len() < 250);
    }

    #[test]
    fn is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
