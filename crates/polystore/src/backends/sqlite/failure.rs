//! What SQLite says when it fails, in this crate's words: the one place for it.

use rusqlite::ErrorCode;

use crate::error::{Error, ErrorKind};

/// Why a step of an operation failed.
#[derive(Debug)]
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    Known(Error),
}

pub(super) type Attempt<T> = Result<T, Failure>;

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Known(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Known(error) => error,
            Failure::Sqlite(error) => explain(error),
        }
    }
}

impl Failure {
    /// Whether somebody else holds the database, or a part of it.
    pub(super) fn is_busy(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::FileLockingProtocolFailed
            )
        )
    }

    pub(super) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code(),
            Self::Known(_) => None,
        }
    }

    /// The error of writes that failed so, in or before their commit. Whatever else goes
    /// wrong there undoes them; after a failed sync nobody knows.
    pub(super) fn of_commit(self) -> Error {
        let unclear = self.code() == Some(ErrorCode::SystemIoFailure);
        let error = Error::from(self);
        if unclear {
            error.with_maybe_applied()
        } else {
            error
        }
    }
}

/// SQLite's own messages name tables, columns and files, and never hold a value.
fn explain(error: rusqlite::Error) -> Error {
    let (kind, message) = match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed,
        ) => (ErrorKind::Timeout, "the database stayed locked"),
        Some(ErrorCode::DiskFull) => (ErrorKind::Full, "the disk or the database is full"),
        Some(ErrorCode::ReadOnly) => (ErrorKind::ReadOnly, "the database cannot be written"),
        Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            (ErrorKind::Denied, "the database may not be used")
        }
        Some(ErrorCode::NotADatabase) => (ErrorKind::Corrupt, "the file is not an SQLite database"),
        Some(ErrorCode::DatabaseCorrupt) => (ErrorKind::Corrupt, "the database is damaged"),
        Some(ErrorCode::TooBig) => (
            ErrorKind::InvalidValue,
            "the key and the value are larger than SQLite can hold",
        ),
        Some(ErrorCode::ConstraintViolation) => (
            ErrorKind::Corrupt,
            "the table has rules of its own that refuse this entry",
        ),
        // "No such table", for one: somebody changed it under this store.
        Some(ErrorCode::Unknown | ErrorCode::SchemaChanged | ErrorCode::TypeMismatch) => {
            (ErrorKind::Corrupt, "the table is not as it was")
        }
        Some(ErrorCode::CannotOpen) => (ErrorKind::Unreachable, "could not open the database"),
        _ => (ErrorKind::Unreachable, "the database failed"),
    };
    Error::new(kind, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn codes_become_the_kinds_that_callers_act_on() {
        for (code, kind, retryable) in [
            (ffi::SQLITE_BUSY, ErrorKind::Timeout, true),
            (ffi::SQLITE_BUSY_SNAPSHOT, ErrorKind::Timeout, true),
            (ffi::SQLITE_LOCKED, ErrorKind::Timeout, true),
            (ffi::SQLITE_PROTOCOL, ErrorKind::Timeout, true),
            (ffi::SQLITE_FULL, ErrorKind::Full, false),
            (ffi::SQLITE_READONLY, ErrorKind::ReadOnly, false),
            (ffi::SQLITE_PERM, ErrorKind::Denied, false),
            (ffi::SQLITE_AUTH, ErrorKind::Denied, false),
            (ffi::SQLITE_NOTADB, ErrorKind::Corrupt, false),
            (ffi::SQLITE_CORRUPT, ErrorKind::Corrupt, false),
            (ffi::SQLITE_IOERR, ErrorKind::Unreachable, false),
            (ffi::SQLITE_CANTOPEN, ErrorKind::Unreachable, false),
            (ffi::SQLITE_TOOBIG, ErrorKind::InvalidValue, false),
        ] {
            let failure =
                || Failure::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            let error = Error::from(failure());
            assert_eq!(
                (error.kind(), error.is_retryable()),
                (kind, retryable),
                "{code}"
            );
            assert!(!error.is_maybe_applied());
            let unclear = code == ffi::SQLITE_IOERR;
            assert_eq!(failure().of_commit().is_maybe_applied(), unclear, "{code}");
        }
    }
}
