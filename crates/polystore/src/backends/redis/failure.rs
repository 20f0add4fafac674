//! What the server and the driver say when they fail, in this crate's words: the one place
//! for it.
//!
//! Of what they say, only what cannot hold a key, a value or a password is kept as the
//! source: a server that does not know a command, for one, repeats its arguments.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind as Kind, RedisError, ServerError};

use crate::error::{Error, ErrorKind};

/// The error of a request that has not been answered, and of an attempt to connect.
pub(super) fn of_connection(error: &RedisError) -> Error {
    if let Some(code) = error.code() {
        return in_words(code, error.detail().unwrap_or_default());
    }
    match error.kind() {
        Kind::AuthenticationFailed => Error::new(
            ErrorKind::Denied,
            "the server refuses this user or password",
        ),
        // Cut in the middle of a reply. What else its words say may hold a value.
        Kind::Parse if detail_says(error, "end of input") => lost(),
        Kind::Parse => Error::new(
            ErrorKind::Unreachable,
            "what answers does not speak as Redis does",
        ),
        Kind::InvalidClientConfig => Error::new(
            ErrorKind::InvalidOption,
            "the driver cannot work with these settings",
        ),
        Kind::MasterNameNotFoundBySentinel => Error::new(
            ErrorKind::Unreachable,
            "no Sentinel knows a master of that name that answers",
        )
        .retryable(true),
        Kind::ClusterConnectionNotFound => Error::new(
            ErrorKind::Unreachable,
            "the server of this part of the cluster is not connected",
        )
        .retryable(true),
        Kind::Io => of_io(error),
        _ => Error::new(ErrorKind::Unreachable, "the driver failed"),
    }
}

/// The error of one command that the server has refused: it was not applied.
pub(super) fn of_command(error: &ServerError) -> Error {
    in_words(error.code(), error.details().unwrap_or_default())
}

/// What the driver should not have been given, or should not have given.
pub(super) fn unexpected() -> Error {
    Error::new(
        ErrorKind::Unreachable,
        "the server answered what was not asked for",
    )
}

/// What holds another Redis type.
pub(super) fn other_type() -> Error {
    in_words("WRONGTYPE", "")
}

fn detail_says(error: &RedisError, words: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(words))
}

fn lost() -> Error {
    Error::new(
        ErrorKind::Unreachable,
        "there is no connection to the server",
    )
    .retryable(true)
}

fn of_io(error: &RedisError) -> Error {
    // The driver's own words hold those of others, which may hold a password.
    let detail = error.detail().unwrap_or_default();
    for (words, code) in [
        ("authentication failed", "WRONGPASS"),
        ("NOAUTH", "NOAUTH"),
        ("Authentication required", "NOAUTH"),
        ("WRONGPASS", "WRONGPASS"),
        ("NOPERM", "NOPERM"),
        ("NoPerm", "NOPERM"),
        ("LOADING", "LOADING"),
        ("CLUSTERDOWN", "CLUSTERDOWN"),
    ] {
        if detail.contains(words) {
            return in_words(code, "");
        }
    }
    if detail.contains("cluster support disabled") {
        return in_words("ERR", detail);
    }
    let Some(cause) = io_cause(error) else {
        return lost();
    };
    if let Some(tls) = cause
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        let (kind, message) = match tls {
            rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired) => (
                ErrorKind::Denied,
                "the server wants a client's certificate: give tls_cert and tls_key",
            ),
            rustls::Error::AlertReceived(_) => {
                (ErrorKind::Denied, "the server refuses this client's TLS")
            }
            rustls::Error::InvalidCertificate(_) => (
                ErrorKind::Unreachable,
                "the server's certificate is not trusted",
            ),
            _ => (ErrorKind::Unreachable, "TLS with the server failed"),
        };
        return Error::new(kind, message).with_source(tls.clone());
    }
    let (kind, message) = match cause.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            (ErrorKind::Timeout, "the server has not answered in time")
        }
        io::ErrorKind::PermissionDenied => (ErrorKind::Denied, "the socket may not be used"),
        // In the words of the standard library; the system's own follow.
        _ if cause.to_string().starts_with("failed to lookup address") => (
            ErrorKind::Unreachable,
            "the name of the server's host could not be looked up",
        ),
        _ => (
            ErrorKind::Unreachable,
            "there is no connection to the server",
        ),
    };
    let error = Error::new(kind, message).retryable(kind != ErrorKind::Denied);
    match cause.raw_os_error() {
        Some(code) => error.with_source(io::Error::from_raw_os_error(code)),
        None => error,
    }
}

/// The driver hides it in an `Arc`.
fn io_cause(error: &RedisError) -> Option<&io::Error> {
    let source = error.source()?;
    source.downcast_ref().or_else(|| {
        let shared: &Arc<dyn StdError + Send + Sync> = source.downcast_ref()?;
        shared.downcast_ref()
    })
}

fn in_words(code: &str, detail: &str) -> Error {
    let says = |words: &str| detail.contains(words);
    let (kind, retryable, message) = match code {
        "WRONGTYPE" => (
            ErrorKind::Corrupt,
            false,
            "what is stored is of another Redis type than a string: something else wrote it",
        ),
        "LOADING" => (ErrorKind::Unreachable, true, "the server is still loading"),
        "BUSY" => (
            ErrorKind::Unreachable,
            true,
            "the server runs a long script",
        ),
        "CLUSTERDOWN" | "MASTERDOWN" | "TRYAGAIN" => (
            ErrorKind::Unreachable,
            true,
            "a part of the cluster is down or changing places",
        ),
        "MOVED" | "ASK" => (
            ErrorKind::InvalidOption,
            false,
            "the server is a part of a cluster: use redis-cluster:// with some of its hosts",
        ),
        "READONLY" => (
            ErrorKind::ReadOnly,
            false,
            "the server is a replica, which cannot be written",
        ),
        "MISCONF" => (
            ErrorKind::ReadOnly,
            false,
            "the server cannot save to its disk, and so refuses writes",
        ),
        "NOREPLICAS" => (
            ErrorKind::ReadOnly,
            true,
            "the server has too few replicas, and so refuses writes",
        ),
        "OOM" => (ErrorKind::Full, false, "the server's memory is used up"),
        "NOAUTH" => (ErrorKind::Denied, false, "the server wants a password"),
        "WRONGPASS" => (
            ErrorKind::Denied,
            false,
            "the server refuses this user or password",
        ),
        "NOPERM" => (
            ErrorKind::Denied,
            false,
            "this user may not do that, or not with this key",
        ),
        "DENIED" => (
            ErrorKind::Denied,
            false,
            "the server is in protected mode, which refuses other machines",
        ),
        _ if says("max number of clients") => (
            ErrorKind::Throttled,
            true,
            "the server has as many connections as it takes",
        ),
        _ if says("Authentication required") => {
            (ErrorKind::Denied, false, "the server wants a password")
        }
        _ if says("no permissions") => (
            ErrorKind::Denied,
            false,
            "this user may not use this database",
        ),
        _ if says("DB index") => (
            ErrorKind::InvalidOption,
            false,
            "the server has no database of that number",
        ),
        _ if says("SELECT is not allowed") => (
            ErrorKind::InvalidOption,
            false,
            "the server is a part of a cluster: use redis-cluster://, without a database number",
        ),
        _ if says("cluster support disabled") => (
            ErrorKind::InvalidOption,
            false,
            "the server is no cluster: use redis://",
        ),
        _ if says("maximum allowed size") || says("invalid bulk length") => (
            ErrorKind::InvalidValue,
            false,
            "the value is larger than the server takes",
        ),
        _ if says("unknown command") || says("syntax error") => (
            ErrorKind::Unsupported,
            false,
            "the server does not know a command that is needed: Redis 6 and later do",
        ),
        _ => (ErrorKind::Unreachable, false, "the server refused"),
    };
    let source = Refusal(code.to_owned());
    Error::new(kind, message)
        .retryable(retryable)
        .with_source(source)
}

/// What the server's answer begins with, without the rest of it.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is no code may be anything.
        let is_code = self.0.len() <= 20 && self.0.bytes().all(|byte| byte.is_ascii_uppercase());
        match is_code {
            true => write!(f, "the server answered {}", self.0),
            false => f.write_str("the server answered an error"),
        }
    }
}

impl StdError for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> Error {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        let redis::Value::ServerError(error) = value else {
            panic!("it is an error");
        };
        let of_command = of_command(&error);
        let of_connection = of_connection(&RedisError::from(error));
        assert_eq!(format!("{of_command:?}"), format!("{of_connection:?}"));
        of_command
    }

    #[test]
    fn answers_become_the_kinds_that_callers_act_on() {
        for (line, kind, retryable) in [
            (
                "WRONGTYPE Operation against a key",
                ErrorKind::Corrupt,
                false,
            ),
            ("LOADING Redis is loading", ErrorKind::Unreachable, true),
            (
                "BUSY Redis is busy running a script.",
                ErrorKind::Unreachable,
                true,
            ),
            (
                "CLUSTERDOWN The cluster is down",
                ErrorKind::Unreachable,
                true,
            ),
            ("MOVED 3999 127.0.0.1:6381", ErrorKind::InvalidOption, false),
            ("READONLY You can't write", ErrorKind::ReadOnly, false),
            (
                "MISCONF Redis is configured to save",
                ErrorKind::ReadOnly,
                false,
            ),
            ("OOM command not allowed", ErrorKind::Full, false),
            ("NOAUTH Authentication required.", ErrorKind::Denied, false),
            ("WRONGPASS invalid username", ErrorKind::Denied, false),
            (
                "NOPERM User ada has no permissions",
                ErrorKind::Denied,
                false,
            ),
            (
                "ERR max number of clients reached",
                ErrorKind::Throttled,
                true,
            ),
            (
                "ERR DB index is out of range",
                ErrorKind::InvalidOption,
                false,
            ),
            ("ERR unknown command 'GET'", ErrorKind::Unsupported, false),
            ("ERR something new", ErrorKind::Unreachable, false),
        ] {
            let error = refused(line);
            assert_eq!(
                (error.kind(), error.is_retryable()),
                (kind, retryable),
                "{line}"
            );
        }
    }

    #[test]
    fn what_a_server_repeats_is_not_shown() {
        for line in [
            "ERR unknown command 'SET', with args beginning with: 'secret' 'secret'",
            "secret is what I say",
            "NOPERM User secret has no permissions to run the 'get' command",
        ] {
            assert!(!format!("{:?}", refused(line)).contains("secret"), "{line}");
        }
        let detail = "ERR unknown command 'AUTH', with args beginning with: 'secret'".to_owned();
        let error = RedisError::from((Kind::Io, "Failed to create initial connections", detail));
        assert!(!format!("{:?}", of_connection(&error)).contains("secret"));
    }
}
