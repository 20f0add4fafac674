//! Errors as replies: `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use polystore_kv::{Error, ErrorKind};
use serde::Serialize;

/// How long a client that came at a bad time is asked to wait.
const WAIT: Duration = Duration::from_secs(1);

/// What is answered instead of what was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    kind: &'static str,
    detail: String,
    retryable: bool,
    retry_after: Option<Duration>,
    maybe_applied: bool,
}

#[derive(Serialize)]
struct Fields<'a> {
    title: &'static str,
    status: u16,
    detail: &'a str,
    kind: &'static str,
    retryable: bool,
    maybe_applied: bool,
}

/// Goes with the reply, for what is told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind(pub(crate) &'static str);

pub(crate) type Outcome<T> = Result<T, Problem>;

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            retryable: false,
            retry_after: None,
            maybe_applied: false,
        }
    }

    /// The request means nothing.
    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_option", detail)
    }

    /// No key can be that.
    pub(crate) fn bad_key(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_key", detail)
    }

    /// The body is not what it should be.
    pub(crate) fn bad_value(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_value", detail)
    }

    /// The path of a key that no path can carry.
    pub(crate) fn unnamed(key: &str) -> Self {
        Self::bad_key(format!("a path cannot carry the key {key:?}: use ?key="))
    }

    /// There is no room for more now.
    pub(crate) fn throttled() -> Self {
        Self {
            retryable: true,
            retry_after: Some(WAIT),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "throttled",
                "too many requests are under way: try again",
            )
        }
    }

    /// The store takes too long for the server.
    pub(crate) fn late(writes: bool) -> Self {
        Self {
            retryable: true,
            maybe_applied: writes,
            ..Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                "the store did not answer within the time that the server gives it",
            )
        }
    }

    /// The body does not come.
    pub(crate) fn slow() -> Self {
        Self {
            retryable: true,
            ..Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the body was not sent in time",
            )
        }
    }

    /// The kind in problems for a kind of errors.
    pub(crate) fn kind_of(kind: ErrorKind) -> &'static str {
        status_and_kind(kind).1
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing")
    }

    pub(crate) fn method(allowed: &'static str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "unsupported",
            format!("here are only: {allowed}"),
        )
    }

    /// The object that describes it.
    pub(crate) fn to_json(&self) -> String {
        let fields = Fields {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            kind: self.kind,
            retryable: self.retryable,
            maybe_applied: self.maybe_applied,
        };
        // Texts, numbers and booleans are always JSON.
        serde_json::to_string(&fields).unwrap_or_default()
    }
}

fn status_and_kind(kind: ErrorKind) -> (StatusCode, &'static str) {
    use ErrorKind as Kind;
    match kind {
        Kind::InvalidKey => (StatusCode::BAD_REQUEST, "invalid_key"),
        Kind::InvalidValue => (StatusCode::BAD_REQUEST, "invalid_value"),
        Kind::InvalidOption => (StatusCode::BAD_REQUEST, "invalid_option"),
        Kind::Encode => (StatusCode::BAD_REQUEST, "encode"),
        Kind::Unsupported => (StatusCode::NOT_IMPLEMENTED, "unsupported"),
        Kind::Closed => (StatusCode::SERVICE_UNAVAILABLE, "closed"),
        Kind::ReadOnly => (StatusCode::FORBIDDEN, "read_only"),
        // The store refuses the server, not the server this client.
        Kind::Denied | Kind::Unreachable => (StatusCode::BAD_GATEWAY, "unreachable"),
        Kind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        Kind::Throttled => (StatusCode::TOO_MANY_REQUESTS, "throttled"),
        Kind::Full => (StatusCode::INSUFFICIENT_STORAGE, "full"),
        Kind::Decode => (StatusCode::INTERNAL_SERVER_ERROR, "decode"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "corrupt"),
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, kind) = status_and_kind(error.kind());
        Self {
            status,
            kind,
            detail: error.message().to_owned(),
            retryable: error.is_retryable(),
            retry_after: error
                .retry_after()
                .or((kind == "throttled").then_some(WAIT)),
            maybe_applied: error.is_maybe_applied(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_json()));
        *response.status_mut() = self.status;
        response.extensions_mut().insert(Kind(self.kind));
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, json);
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
