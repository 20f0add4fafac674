//! What Cloudflare, and the connection to it, say when they fail, in this crate's words: the one place for it.

use std::time::Duration;

use reqwest::StatusCode;

use crate::cloudflare_kv::{Cause, Failure};
use crate::error::{Error, ErrorKind};

/// Codes of Cloudflare's API. Its texts are not shown: they may quote what was sent.
mod code {
    /// The token is not one, has ended, or may not do that.
    pub(super) const DENIED: [i64; 6] = [6003, 6111, 9103, 9106, 9109, 10000];
    /// An account or a path that is not there.
    pub(super) const NO_ROUTE: [i64; 2] = [7000, 7003];
    pub(super) const NO_KEY: i64 = 10009;
    pub(super) const NO_NAMESPACE: [i64; 2] = [10011, 10013];
    /// What the account may do in a day without paying.
    pub(super) const DAILY_LIMIT: i64 = 10048;
}

/// Of a reply with this status, which named these codes and asked to wait so long.
pub(super) fn refused(status: StatusCode, codes: &[i64], wait: Option<Duration>) -> Failure {
    let says = |known: &[i64]| codes.iter().any(|code| known.contains(code));
    let is_denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let of = |kind, what: &str| {
        let mut message = format!("{what} (status {}", status.as_u16());
        for code in codes {
            message.push_str(&format!(", code {code}"));
        }
        message.push(')');
        Failure::from(Error::new(kind, message))
    };
    let asked = |failure: Failure| match wait {
        Some(wait) => failure.map(|error| error.with_retry_after(wait)),
        None => failure,
    };
    if is_denied || says(&code::DENIED) {
        of(
            ErrorKind::Denied,
            "Cloudflare refuses the token: it needs the permission Workers KV Storage, Read or \
             Edit, for this account",
        )
    } else if says(&[code::DAILY_LIMIT]) {
        of(
            ErrorKind::Full,
            "the account has used up what it may do in a day without paying",
        )
    } else if status == StatusCode::TOO_MANY_REQUESTS {
        asked(of(
            ErrorKind::Throttled,
            "Cloudflare asks for fewer requests, or for fewer writes of one key",
        ))
    } else if says(&[code::NO_KEY]) {
        Failure {
            cause: Cause::NoKey,
            ..of(ErrorKind::Unreachable, "there is no such key")
        }
    } else if says(&code::NO_NAMESPACE) || says(&code::NO_ROUTE) {
        of(
            ErrorKind::Unreachable,
            "Cloudflare has no such namespace: cloudflare://ACCOUNT/NAMESPACE has their ids, not \
             their names",
        )
    } else if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        let failure = of(ErrorKind::Unreachable, "Cloudflare failed at the request");
        asked(failure.map(|error| error.retryable(true).with_maybe_applied()))
    } else if matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::URI_TOO_LONG
    ) {
        Failure {
            cause: Cause::OneOfMany,
            ..of(
                ErrorKind::InvalidValue,
                "Cloudflare does not take this request",
            )
        }
    } else {
        of(
            ErrorKind::Unreachable,
            "this is not the answer of Cloudflare's API: look at the option base, if it is given",
        )
    }
}

/// Of a reply that says nothing of use.
pub(super) fn not_understood() -> Failure {
    let message = "this is not the answer of Cloudflare's API: what came is not what it promises";
    Error::new(ErrorKind::Unreachable, message)
        .with_maybe_applied()
        .into()
}

/// Of a reply of more than so many bytes.
pub(super) fn too_long(most: usize) -> Failure {
    let message = format!("Cloudflare's reply is longer than {most} bytes");
    let error = Error::new(ErrorKind::Unreachable, message).with_maybe_applied();
    Failure {
        error,
        cause: Cause::TooLong,
    }
}

/// Of keys that Cloudflare says it has not written, and should be asked again for.
pub(super) fn left_out() -> Error {
    Error::new(
        ErrorKind::Unreachable,
        "Cloudflare has not written all of the keys",
    )
    .retryable(true)
    .with_maybe_applied()
}

/// Of an entry that was changed while it was read in parts.
pub(super) fn changed_meanwhile() -> Failure {
    let message = "the entry was changed while it was read";
    Error::new(ErrorKind::Unreachable, message)
        .retryable(true)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cloudflare_says_becomes_the_kind_that_callers_act_on() {
        use ErrorKind::{Denied, Full, InvalidValue, Throttled, Unreachable};
        for (status, codes, kind, retryable, unclear) in [
            (401, &[10000][..], Denied, false, false),
            (403, &[], Denied, false, false),
            (400, &[6003, 6111], Denied, false, false),
            (404, &[10013], Unreachable, false, false),
            (404, &[7003], Unreachable, false, false),
            (429, &[971], Throttled, true, false),
            (429, &[], Throttled, true, false),
            (429, &[10048], Full, false, false),
            (500, &[10001], Unreachable, true, true),
            (502, &[], Unreachable, true, true),
            (400, &[10033], InvalidValue, false, false),
            (413, &[], InvalidValue, false, false),
            (302, &[], Unreachable, false, false),
            (404, &[], Unreachable, false, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = refused(status, codes, None).error;
            let said = (error.kind(), error.is_retryable(), error.is_maybe_applied());
            assert_eq!(said, (kind, retryable, unclear), "{status} {codes:?}");
            let message = error.to_string();
            assert!(message.contains(status.as_str()), "{message}");
            let has = |code: &i64| message.contains(&code.to_string());
            assert!(codes.iter().all(has), "{message}");
        }
        let wait = Duration::from_secs(7);
        let throttled = refused(StatusCode::TOO_MANY_REQUESTS, &[], Some(wait)).error;
        assert_eq!(throttled.retry_after(), Some(wait));
    }
}
