//! What the server and the driver say when something fails, in this crate's words: the one
//! place for it.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::error::{Error, ErrorKind};

/// What a server said, without what may hold a key or a value: neither the detail ("Failing row
/// contains …") nor the message of an error that is about data.
#[derive(Debug)]
struct ServerError {
    severity: String,
    code: String,
    message: Option<String>,
    constraint: Option<String>,
}

impl ServerError {
    fn of(error: &DbError) -> Self {
        let code = error.code().code();
        // Data, and rules of the table: their messages may quote data.
        let is_about_data = ["21", "22", "23", "2F", "38", "39", "44", "P0"]
            .iter()
            .any(|class| code.starts_with(class));
        // And so may what a trigger raises, under any code that it likes.
        let is_about_data = is_about_data || is_raised(error);
        Self {
            severity: error.severity().to_owned(),
            code: code.to_owned(),
            message: (!is_about_data).then(|| error.message().to_owned()),
            constraint: error.constraint().map(str::to_owned),
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.severity, self.code)?;
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        if let Some(constraint) = &self.constraint {
            write!(f, " (constraint {constraint:?})")?;
        }
        Ok(())
    }
}

impl StdError for ServerError {}

/// What is to be done about a failure, beside telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing.
    None,
    /// The connection is no good any more.
    Reconnect,
    /// What the server had prepared is not there, or not right any more.
    PrepareAgain,
    /// The table is not as it was.
    LookAgain,
}

/// A failure of the driver, and where it stood.
#[derive(Debug)]
pub(super) struct Failure {
    error: tokio_postgres::Error,
    /// The statement may have been done all the same.
    pub(super) is_unclear: bool,
}

impl Failure {
    /// Of what changes nothing, or was not sent yet.
    pub(super) fn before(error: tokio_postgres::Error) -> Self {
        Self {
            error,
            is_unclear: false,
        }
    }

    /// Of a statement that was sent. An error that leaves the session alive has undone it.
    pub(super) fn after(error: tokio_postgres::Error) -> Self {
        let is_unclear = !error.as_db_error().is_some_and(is_survived);
        Self { error, is_unclear }
    }

    /// The same of what changes nothing.
    pub(super) fn of_a_read(self) -> Self {
        Self::before(self.error)
    }

    pub(super) fn remedy(&self) -> Remedy {
        let Some(db) = self.error.as_db_error() else {
            return Remedy::Reconnect;
        };
        match db.code() {
            code if *code == SqlState::INVALID_SQL_STATEMENT_NAME => Remedy::PrepareAgain,
            code if *code == SqlState::FEATURE_NOT_SUPPORTED
                && db.routine() == Some("RevalidateCachedQuery") =>
            {
                Remedy::PrepareAgain
            }
            code if is_about_the_table(code) => Remedy::LookAgain,
            _ if is_survived(db) => Remedy::None,
            _ => Remedy::Reconnect,
        }
    }

    /// Whether the server is there to be read only.
    pub(super) fn is_read_only(&self) -> bool {
        self.error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Whether somebody else has just made what was to be made.
    pub(super) fn is_made_already(&self) -> bool {
        self.error.as_db_error().is_some_and(|db| {
            matches!(
                *db.code(),
                SqlState::UNIQUE_VIOLATION | SqlState::DUPLICATE_TABLE | SqlState::DUPLICATE_OBJECT
            ) || db.message().contains("concurrently updated")
        })
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let is_unclear = failure.is_unclear;
        let error = match failure.error.as_db_error() {
            Some(db) => of_server(db),
            None => of_driver(failure.error),
        };
        if is_unclear {
            error.with_maybe_applied()
        } else {
            error
        }
    }
}

/// Whether a function of somebody's was at work, as one of a trigger.
fn is_raised(db: &DbError) -> bool {
    db.where_().is_some()
}

fn is_survived(db: &DbError) -> bool {
    db.parsed_severity() == Some(Severity::Error)
}

fn is_about_the_table(code: &SqlState) -> bool {
    matches!(
        *code,
        SqlState::UNDEFINED_TABLE
            | SqlState::UNDEFINED_COLUMN
            | SqlState::DATATYPE_MISMATCH
            | SqlState::INVALID_COLUMN_REFERENCE
            | SqlState::WRONG_OBJECT_TYPE
            | SqlState::UNDEFINED_FUNCTION
    )
}

fn of_server(db: &DbError) -> Error {
    let code = db.code();
    let (kind, retryable, message) = match *code {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => (
            ErrorKind::Denied,
            false,
            "the server refuses this user: look at the user, the password and its pg_hba.conf",
        ),
        SqlState::INSUFFICIENT_PRIVILEGE => (ErrorKind::Denied, false, "this user may not do that"),
        SqlState::INVALID_CATALOG_NAME => (
            ErrorKind::Unreachable,
            false,
            "the server has no database of this name",
        ),
        SqlState::INVALID_SCHEMA_NAME => (
            ErrorKind::InvalidOption,
            false,
            "the database has no schema for the table: make it, or name another one in the option table",
        ),
        SqlState::READ_ONLY_SQL_TRANSACTION => (
            ErrorKind::ReadOnly,
            false,
            "the server can only be read: it is a standby, or set so",
        ),
        SqlState::TOO_MANY_CONNECTIONS | SqlState::CONFIGURATION_LIMIT_EXCEEDED => (
            ErrorKind::Throttled,
            true,
            "the server has no connection left",
        ),
        SqlState::DISK_FULL | SqlState::OUT_OF_MEMORY => (
            ErrorKind::Full,
            false,
            "the server's disk or memory is full",
        ),
        SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::LOCK_NOT_AVAILABLE => (
            ErrorKind::Timeout,
            true,
            "others held the rows for too long",
        ),
        SqlState::QUERY_CANCELED => (
            ErrorKind::Timeout,
            true,
            "the server has not done it in time, and gave it up",
        ),
        SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CANNOT_CONNECT_NOW => {
            (ErrorKind::Unreachable, true, "the server starts or stops")
        }
        SqlState::PROGRAM_LIMIT_EXCEEDED => (
            ErrorKind::InvalidValue,
            false,
            "the key or the value is larger than the server can hold",
        ),
        _ if is_about_the_table(code) => (ErrorKind::Corrupt, true, "the table is not as it was"),
        _ => match &code.code()[..2] {
            "08" => (ErrorKind::Unreachable, true, "the connection was lost"),
            "28" => (ErrorKind::Denied, false, "the server refuses this user"),
            "53" => (
                ErrorKind::Throttled,
                true,
                "the server is short of resources",
            ),
            "21" | "22" | "23" | "27" | "2F" | "38" | "39" | "44" | "P0" => (
                ErrorKind::Corrupt,
                false,
                "the table has rules of its own that refuse this entry",
            ),
            _ if !is_survived(db) => (
                ErrorKind::Unreachable,
                true,
                "the server has ended the connection",
            ),
            class if is_raised(db) && class != "XX" => (
                ErrorKind::Corrupt,
                false,
                "the table has rules of its own that refuse this entry",
            ),
            _ => (ErrorKind::Unreachable, false, "the server failed"),
        },
    };
    Error::new(kind, message)
        .retryable(retryable)
        .with_source(ServerError::of(db))
}

/// Whether the driver said so itself: it has no kinds to ask for.
fn says(error: &tokio_postgres::Error, text: &str) -> bool {
    let cause = error.source().map(ToString::to_string);
    cause.is_some_and(|cause| cause.contains(text))
}

/// The driver's own errors tell of sockets and certificates, and hold neither a password nor a value.
fn of_driver(error: tokio_postgres::Error) -> Error {
    let io = error
        .source()
        .and_then(<dyn StdError>::downcast_ref::<io::Error>);
    let tls = io
        .and_then(io::Error::get_ref)
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let io = io.map(io::Error::kind);
    let (kind, retryable, message) = match (tls, io) {
        (Some(rustls::Error::InvalidCertificate(_)), _) => (
            ErrorKind::Unreachable,
            false,
            "the server's certificate is not trusted, or not for this host: name its authority in sslrootcert",
        ),
        (Some(rustls::Error::AlertReceived(_)), _) => (
            ErrorKind::Denied,
            false,
            "the server ended TLS: it may want a certificate (sslcert and sslkey)",
        ),
        (Some(_), _) => (ErrorKind::Unreachable, false, "TLS with the server failed"),
        (None, Some(io::ErrorKind::PermissionDenied)) if says(&error, "database") => (
            ErrorKind::ReadOnly,
            false,
            "no server is as target_session_attrs asks",
        ),
        (None, Some(io::ErrorKind::PermissionDenied)) => {
            (ErrorKind::Denied, false, "this process may not connect")
        }
        (None, Some(io::ErrorKind::TimedOut)) => (
            ErrorKind::Timeout,
            true,
            "the server did not answer in time",
        ),
        (None, Some(_)) => (ErrorKind::Unreachable, true, "the server cannot be reached"),
        _ if error.is_closed() => (ErrorKind::Unreachable, true, "the connection was lost"),
        _ if says(&error, "does not support TLS") => (
            ErrorKind::Unreachable,
            false,
            "the server has no TLS, and sslmode asks for it",
        ),
        _ if says(&error, "password missing") => (
            ErrorKind::Denied,
            false,
            "the server asks for a password, and the URL has none",
        ),
        _ if error.to_string() == "invalid configuration" => (
            ErrorKind::InvalidOption,
            false,
            "the configuration does not say where the server is",
        ),
        _ if error.to_string() == "authentication error" => (
            ErrorKind::Denied,
            false,
            "the server's way to ask who this is failed",
        ),
        _ => (ErrorKind::Unreachable, false, "the driver failed"),
    };
    Error::new(kind, message)
        .retryable(retryable)
        .with_source(error)
}
