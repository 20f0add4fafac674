//! What a server says when it fails, and what is wrong with its replies, in this crate's words: the one
//! place for it.

use reqwest::StatusCode;
use serde::Deserialize;

use crate::error::{Error, ErrorKind};
use crate::remote::web::{Reply, retry_after};

/// As much of what a server says as goes into a message.
const SHOWN_CHARS: usize = 300;

/// What a server that speaks the protocol says of an error (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    kind: String,
    detail: String,
    status: u16,
    retryable: Option<bool>,
    maybe_applied: Option<bool>,
}

impl Problem {
    /// The error that it is, of a reply with this status.
    pub(super) fn into_error(self, status: Option<StatusCode>) -> Error {
        use ErrorKind as Kind;
        let number = status.map_or(self.status, |status| status.as_u16());
        let kind = match &self.kind[..] {
            "invalid_key" => Kind::InvalidKey,
            "invalid_value" => Kind::InvalidValue,
            "invalid_option" => Kind::InvalidOption,
            "encode" if number == 400 => Kind::InvalidValue,
            "denied" => Kind::Denied,
            "read_only" => Kind::ReadOnly,
            "unsupported" => Kind::Unsupported,
            "throttled" => Kind::Throttled,
            "timeout" => Kind::Timeout,
            "full" => Kind::Full,
            "corrupt" => Kind::Corrupt,
            "decode" => Kind::Decode,
            "encode" => Kind::Encode,
            // It is the server that closes, not this store.
            "closed" | "unreachable" => Kind::Unreachable,
            _ => kind_of(number),
        };
        let detail: String = self.detail.chars().take(SHOWN_CHARS).collect();
        let detail = detail.replace(char::is_control, " ");
        let message = match detail.is_empty() {
            true => format!("the server replied {number}"),
            false => format!("the server replied {number}: {detail}"),
        };
        let closes = self.kind == "closed";
        let error = Error::new(kind, message)
            .retryable(closes || self.retryable.unwrap_or(may_pass(number)));
        match self.maybe_applied.unwrap_or(may_have_been_done(number)) {
            true => error.with_maybe_applied(),
            false => error,
        }
    }
}

/// The error of a reply that is one. Only what a store's server says of it `is_ours`; what a proxy or
/// another server says may be anything, and is not quoted.
pub(super) fn of_reply(reply: &Reply, is_ours: bool) -> Error {
    let problem = match is_ours {
        true => serde_json::from_slice(&reply.body).unwrap_or_default(),
        false => Problem::default(),
    };
    let error = problem.into_error(Some(reply.status));
    match retry_after(&reply.headers) {
        Some(wait) if error.is_retryable() => error.with_retry_after(wait),
        _ => error,
    }
}

fn kind_of(status: u16) -> ErrorKind {
    match status {
        401 | 403 | 407 => ErrorKind::Denied,
        400 => ErrorKind::InvalidOption,
        408 | 504 => ErrorKind::Timeout,
        405 | 406 | 415 | 501 => ErrorKind::Unsupported,
        413 => ErrorKind::InvalidValue,
        414 | 431 => ErrorKind::InvalidKey,
        429 => ErrorKind::Throttled,
        507 => ErrorKind::Full,
        _ => ErrorKind::Unreachable,
    }
}

fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 502 | 503 | 504)
}

/// Whether a write that was answered so may have been done. A proxy may say any of these of a server that
/// has done it.
fn may_have_been_done(status: u16) -> bool {
    (500..600).contains(&status) && !matches!(status, 501 | 505 | 507)
}

/// Whether what failed so may be the fault of one of several things that went in one request.
pub(super) fn may_be_of_one(error: &Error) -> bool {
    use ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::InvalidKey
            | Kind::InvalidValue
            | Kind::InvalidOption
            | Kind::Corrupt
            | Kind::Decode
            | Kind::Encode
            | Kind::Denied
            | Kind::Full
    )
}

/// A reply that is not JSON, where that is due.
pub(super) fn not_json() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "the server's reply is not JSON: is this the URL of a store?",
    )
}

/// A reply that the protocol does not have.
pub(super) fn not_the_protocol(what: &'static str) -> Error {
    Error::new(
        ErrorKind::Unreachable,
        format!("the server has sent what its protocol does not have: {what}"),
    )
}

/// A reply in which the server is not the one that it was. One that speaks the npm package's protocol has
/// done what it was asked for, if it says so.
pub(super) fn not_the_server(status: StatusCode) -> Error {
    let number = status.as_u16();
    let error = Error::new(
        ErrorKind::Unreachable,
        format!(
            "something else than the store's server replied {number}: is there a proxy, or another server now?"
        ),
    )
    .retryable(may_pass(number));
    match status.is_success() {
        true => error.with_maybe_applied(),
        false => error,
    }
}

/// A reply in a version of the protocol that nobody knows here.
pub(super) fn another_version() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "the server speaks another version of the protocol than 1",
    )
    .with_maybe_applied()
}

/// A reply that ended before it was whole.
pub(super) fn cut_short() -> Error {
    Error::new(ErrorKind::Unreachable, "the server's reply was cut short").retryable(true)
}

/// A reply of which nobody can say whether it is whole.
pub(super) fn no_length(status: StatusCode) -> Error {
    let number = status.as_u16();
    Error::new(
        ErrorKind::Unreachable,
        format!("the server replied {number} without saying how long its reply is"),
    )
    .with_maybe_applied()
}

/// A reply that is longer than was allowed.
pub(super) fn too_long(most: usize) -> Error {
    Error::new(
        ErrorKind::Unreachable,
        format!(
            "the server's reply is longer than {most} bytes: allow for more with ?polystore.max_reply="
        ),
    )
    .with_maybe_applied()
}

/// What comes after something that failed, and was not sent therefore.
pub(super) fn not_sent(before: &Error) -> Error {
    Error::new(
        before.kind(),
        "not sent: what had to come before it has failed",
    )
    .retryable(before.is_retryable())
    .with_source(before.clone())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

    use super::*;

    fn reply(status: u16, body: &'static str) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn a_status_alone_is_an_error_of_the_right_kind_that_names_it() {
        use ErrorKind as Kind;
        for (status, kind, retryable, maybe_applied) in [
            (400, Kind::InvalidOption, false, false),
            (401, Kind::Denied, false, false),
            (403, Kind::Denied, false, false),
            (404, Kind::Unreachable, false, false),
            (405, Kind::Unsupported, false, false),
            (413, Kind::InvalidValue, false, false),
            (414, Kind::InvalidKey, false, false),
            (418, Kind::Unreachable, false, false),
            (429, Kind::Throttled, true, false),
            (500, Kind::Unreachable, false, true),
            (501, Kind::Unsupported, false, false),
            (502, Kind::Unreachable, true, true),
            (503, Kind::Unreachable, true, true),
            (504, Kind::Timeout, true, true),
            (507, Kind::Full, false, false),
        ] {
            let error = of_reply(&reply(status, "hunter2"), false);
            assert_eq!(error.kind(), kind, "{status}");
            assert_eq!(error.is_retryable(), retryable, "{status}");
            assert_eq!(error.is_maybe_applied(), maybe_applied, "{status}");
            assert_eq!(error.retry_after().is_some(), retryable, "{status}");
            assert!(error.message().contains(&status.to_string()), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn a_problem_gives_back_the_error_that_the_server_had() {
        let body = r#"{"title":"x","status":502,"kind":"timeout","detail":"a\nb","retryable":true,"maybe_applied":false}"#;
        let error = of_reply(&reply(502, body), true);
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.is_retryable() && !error.is_maybe_applied());
        assert_eq!(error.message(), "the server replied 502: a b");
        // The store is not closed: its server is.
        let closed = of_reply(&reply(503, r#"{"kind":"closed"}"#), true);
        assert_eq!(closed.kind(), ErrorKind::Unreachable);
        assert!(closed.is_retryable());
        let broken = of_reply(&reply(503, "{"), true);
        assert_eq!(broken.kind(), ErrorKind::Unreachable);
    }
}
