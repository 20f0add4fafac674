//! What etcd, and the connection to it, say when they fail, in this crate's words: the one
//! place for it.

use std::error::Error as StdError;
use std::io;

use tonic::{Code, ConnectError, Status};

use crate::error::{Error, ErrorKind};

/// Why a request failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) cause: Cause,
    /// If it was a write, it may have been done all the same.
    pub(super) is_unclear: bool,
}

/// What can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The connection, or the member at its end: another one may serve.
    Connection,
    /// A lease that is not there any more: take another.
    Lease,
    /// More operations in one request than this server takes.
    TooManyOps,
    /// One of several operations may be all that is wrong.
    OneOfMany,
    /// No room for what is put; what removes is still done.
    Full,
    /// The revision that was asked for is gone: ask for the newest.
    Compacted,
    /// The reply is larger than was allowed for: ask for less.
    LargeReply,
    /// There is nothing to authenticate for.
    NoAuth,
    /// Nothing.
    Other,
}

impl Failure {
    fn new(kind: ErrorKind, message: &'static str) -> Self {
        Self {
            error: Error::new(kind, message),
            cause: Cause::Other,
            is_unclear: false,
        }
    }

    fn cause(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    fn transient(mut self) -> Self {
        self.error = self.error.retryable(true);
        self
    }

    fn unclear(self) -> Self {
        Self {
            is_unclear: true,
            ..self
        }
    }

    /// The error of a write that failed so.
    pub(super) fn of_write(self) -> Error {
        if self.is_unclear {
            self.error.with_maybe_applied()
        } else {
            self.error
        }
    }

    /// Of what came before a write, which was not even sent then.
    pub(super) fn before(self) -> Self {
        Self {
            is_unclear: false,
            ..self
        }
    }

    /// A member that has not answered, where others may.
    pub(super) fn silence() -> Self {
        let message = "a member of the etcd cluster has not answered";
        Self::new(ErrorKind::Timeout, message)
            .cause(Cause::Connection)
            .unclear()
    }

    /// A server that says no, and then that nothing was wrong.
    pub(super) fn contradiction() -> Self {
        Self::new(ErrorKind::Unreachable, "etcd contradicts itself")
    }

    /// A member that knows of no leader.
    pub(super) fn no_leader() -> Self {
        let message = "the etcd cluster has no leader: more than half of its members must be up and reach each other";
        Self::new(ErrorKind::Unreachable, message)
            .transient()
            .cause(Cause::Connection)
    }
}

/// What could not be connected to.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            cause: Cause::Other,
            is_unclear: false,
        }
    }
}

impl From<Status> for Failure {
    fn from(mut status: Status) -> Self {
        let failure = of_status(&status);
        // Headers have no place in an error.
        status.metadata_mut().clear();
        Self {
            error: failure.error.with_source(status),
            ..failure
        }
    }
}

/// etcd's texts are those of `api/v3rpc/rpctypes/error.go`, the same from 3.4 on. They are fixed: none
/// quotes a key, a value or a user.
fn of_status(status: &Status) -> Failure {
    let says = |text: &str| status.message().contains(text);
    if says("message length too large") {
        return Failure::new(ErrorKind::Unreachable, "the reply is too large")
            .cause(Cause::LargeReply);
    }
    if says("Service was not ready") {
        // Nothing was sent: the runtime that had the connection has ended, for one.
        return Failure::new(ErrorKind::Unreachable, "the connection to etcd is closed")
            .transient()
            .cause(Cause::Connection);
    }
    if says("proposal dropped") {
        return Failure::no_leader();
    }
    let is_from_etcd = ["etcdserver:", "auth:", "grpc:"].into_iter().any(says);
    if !is_from_etcd {
        return match status.code() {
            Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded => of_connection(status),
            Code::Unimplemented => Failure::new(
                ErrorKind::Unreachable,
                "the server does not speak etcd's v3 API",
            ),
            _ => Failure::new(ErrorKind::Unreachable, "etcd refused the request"),
        };
    }
    let denied = |message| Failure::new(ErrorKind::Denied, message);
    if says("no leader") || says("not leader") {
        Failure::no_leader()
    } else if says("timed out") {
        Failure::new(
            ErrorKind::Timeout,
            "etcd could not finish the request in time: its cluster may have no leader, or a slow disk",
        )
        .cause(Cause::Connection)
        .unclear()
    } else if says("leader changed") {
        Failure::new(
            ErrorKind::Unreachable,
            "the etcd cluster changed its leader",
        )
        .transient()
        .unclear()
    } else if says("too many requests") {
        Failure::new(ErrorKind::Throttled, "etcd has too many requests to do")
    } else if says("database space exceeded") {
        Failure::new(
            ErrorKind::Full,
            "etcd has reached its quota (--quota-backend-bytes): compact, defragment, then disarm its alarm",
        )
        .cause(Cause::Full)
        // The write that goes over it is done all the same.
        .unclear()
    } else if says("too large") || says("larger than max") {
        Failure::new(
            ErrorKind::InvalidValue,
            "the entry is larger than this etcd takes (--max-request-bytes)",
        )
        .cause(Cause::OneOfMany)
    } else if says("too many operations") {
        Failure::new(
            ErrorKind::Unreachable,
            "etcd takes fewer operations at a time (--max-txn-ops)",
        )
        .transient()
        .cause(Cause::TooManyOps)
    } else if says("lease not found") {
        Failure::new(ErrorKind::Unreachable, "the lease of the entry was revoked")
            .transient()
            .cause(Cause::Lease)
    } else if says("compacted") || says("future revision") {
        Failure::new(ErrorKind::Unreachable, "etcd has compacted what was read")
            .cause(Cause::Compacted)
    } else if says("authentication is not enabled") {
        denied("etcd has no users: authentication is not enabled").cause(Cause::NoAuth)
    } else if says("permission denied") {
        denied("etcd does not let this user do that").cause(Cause::OneOfMany)
    } else if says("authentication failed") {
        denied("etcd does not know this user, or the password is wrong")
    } else if says("user name is empty") {
        // Authentication may have been enabled since this connection was made.
        denied("etcd wants to know the user: etcd://USER:PASSWORD@HOST").cause(Cause::Connection)
    } else if says("invalid auth token") || says("auth store is old") {
        Failure::new(ErrorKind::Unreachable, "etcd has forgotten this login")
            .transient()
            .cause(Cause::Connection)
    } else if status.code() == Code::Unavailable {
        Failure::new(ErrorKind::Unreachable, "etcd cannot serve now")
            .transient()
            .cause(Cause::Connection)
            .unclear()
    } else {
        Failure::new(ErrorKind::Unreachable, "etcd refused the request")
    }
}

/// Of what happened on the way.
fn of_connection(error: &(dyn StdError + 'static)) -> Failure {
    let mut was_sent = true;
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(failure) = of_tls(cause) {
            return failure.cause(Cause::Connection);
        }
        was_sent &= !cause.is::<ConnectError>();
        next = cause.source();
    }
    let failure = if was_sent {
        Failure::new(ErrorKind::Unreachable, "the connection to etcd was lost").unclear()
    } else {
        Failure::new(ErrorKind::Unreachable, "could not connect to etcd")
    };
    failure.transient().cause(Cause::Connection)
}

fn of_tls(cause: &(dyn StdError + 'static)) -> Option<Failure> {
    let inner = cause
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner.or_else(|| cause.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(_)) => Some(Failure::new(
            ErrorKind::Unreachable,
            "the server's certificate is not to be trusted: see the option tls_ca",
        )),
        Some(rustls::Error::AlertReceived(_)) => Some(refused_by_tls()),
        Some(_) => Some(Failure::new(
            ErrorKind::Unreachable,
            "the server speaks no TLS, or none that is understood here",
        )),
        // With TLS 1.3 it comes after the handshake, and HTTP/2 keeps no more than the words.
        None if cause.to_string().contains("received fatal alert") => Some(refused_by_tls()),
        None => None,
    }
}

fn refused_by_tls() -> Failure {
    Failure::new(
        ErrorKind::Denied,
        "the server refused the TLS connection: it may want a client's certificate (tls_cert, tls_key)",
    )
}

/// Of the first request on a connection with TLS, if it is lost. Whether a server that wants a certificate
/// gets to say so is a matter of luck: with TLS 1.3 it cuts the connection after the handshake.
pub(super) fn after_handshake(failure: Failure) -> Failure {
    if !failure.is_unclear {
        return failure;
    }
    let message =
        "etcd closed the new connection: it may want a client's certificate (tls_cert, tls_key)";
    let error = Error::new(ErrorKind::Unreachable, message).with_source(failure.error);
    Failure {
        error: error.retryable(true),
        ..failure
    }
}

/// Of a connection that could not be made.
pub(super) fn of_connecting(error: tonic::transport::Error) -> Failure {
    let failure = of_connection(&error);
    let failure = if failure.is_unclear {
        Failure::new(ErrorKind::Unreachable, "could not connect to etcd").transient()
    } else {
        failure
    };
    Failure {
        error: failure.error.with_source(error),
        ..failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_says_becomes_the_kind_that_callers_act_on() {
        use ErrorKind::{Denied, Full, InvalidValue, Throttled, Timeout, Unreachable};
        for (code, message, kind, retryable, unclear) in [
            (
                Code::Unavailable,
                "etcdserver: no leader",
                Unreachable,
                true,
                false,
            ),
            (
                Code::Unavailable,
                "etcdserver: leader changed",
                Unreachable,
                true,
                true,
            ),
            (
                Code::Unavailable,
                "etcdserver: request timed out",
                Timeout,
                true,
                true,
            ),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
                Timeout,
                true,
                true,
            ),
            (
                Code::Unavailable,
                "etcdserver: server stopped",
                Unreachable,
                true,
                true,
            ),
            (
                Code::Unknown,
                "raft proposal dropped",
                Unreachable,
                true,
                false,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: too many requests",
                Throttled,
                true,
                false,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                Full,
                false,
                true,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: request is too large",
                InvalidValue,
                false,
                false,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request",
                Unreachable,
                true,
                false,
            ),
            (
                Code::NotFound,
                "etcdserver: requested lease not found",
                Unreachable,
                true,
                false,
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                Denied,
                false,
                false,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                Denied,
                false,
                false,
            ),
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                Unreachable,
                true,
                false,
            ),
            (Code::Unknown, "transport error", Unreachable, true, true),
            (
                Code::Unknown,
                "Service was not ready: closed",
                Unreachable,
                true,
                false,
            ),
            (
                Code::Unimplemented,
                "unknown service",
                Unreachable,
                false,
                false,
            ),
        ] {
            let failure = Failure::from(Status::new(code, message));
            let error = &failure.error;
            assert_eq!(
                (error.kind(), error.is_retryable(), failure.is_unclear),
                (kind, retryable, unclear),
                "{message}"
            );
            assert_eq!(failure.of_write().is_maybe_applied(), unclear, "{message}");
        }
    }
}
