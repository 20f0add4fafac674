//! Errors as replies: `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
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
    /// The methods that there are, for one that is not.
    pub(crate) allow: Option<&'static str>,
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
            allow: None,
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

    pub(crate) fn not_found(detail: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(crate) fn method(allowed: &'static str) -> Self {
        let detail = format!("here are only: {allowed}");
        Self {
            allow: Some(allowed),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "unsupported", detail)
        }
    }

    /// The same, of a request of which some was done before.
    pub(crate) fn of_some(self, is_begun: bool) -> Self {
        Self {
            maybe_applied: self.maybe_applied || is_begun,
            ..self
        }
    }

    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The same, saying where.
    pub(crate) fn within(self, place: &str) -> Self {
        Self {
            detail: format!("{place}: {}", self.detail),
            ..self
        }
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

/// The status of a kind, its name, and what is said of it. What only whoever runs the server can act on is in
/// its log: an error's own message may name files and hosts.
fn told(kind: ErrorKind) -> (StatusCode, &'static str, Option<&'static str>) {
    use ErrorKind as Kind;
    match kind {
        Kind::InvalidKey => (StatusCode::BAD_REQUEST, "invalid_key", None),
        Kind::InvalidValue => (StatusCode::BAD_REQUEST, "invalid_value", None),
        Kind::InvalidOption => (StatusCode::BAD_REQUEST, "invalid_option", None),
        Kind::Encode => (StatusCode::BAD_REQUEST, "encode", None),
        Kind::Unsupported => (StatusCode::NOT_IMPLEMENTED, "unsupported", None),
        Kind::Closed => (StatusCode::SERVICE_UNAVAILABLE, "closed", None),
        Kind::ReadOnly => (
            StatusCode::FORBIDDEN,
            "read_only",
            Some("the store can be read but not written"),
        ),
        Kind::Denied => (
            StatusCode::BAD_GATEWAY,
            "unreachable",
            Some("the store refuses the server"),
        ),
        Kind::Unreachable => (
            StatusCode::BAD_GATEWAY,
            "unreachable",
            Some("the store behind the server cannot be reached"),
        ),
        Kind::Timeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            Some("the store behind the server did not answer in time"),
        ),
        Kind::Throttled => (
            StatusCode::TOO_MANY_REQUESTS,
            "throttled",
            Some("the store asks for fewer requests"),
        ),
        Kind::Full => (
            StatusCode::INSUFFICIENT_STORAGE,
            "full",
            Some("the store is full"),
        ),
        Kind::Decode => (StatusCode::INTERNAL_SERVER_ERROR, "decode", None),
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "corrupt",
            Some("what is stored is not a value of this store"),
        ),
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, kind, detail) = told(error.kind());
        Self {
            retryable: error.is_retryable(),
            retry_after: error
                .retry_after()
                .or((error.kind() == ErrorKind::Throttled).then_some(WAIT)),
            maybe_applied: error.is_maybe_applied(),
            ..Self::new(status, kind, detail.unwrap_or(error.message()))
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_json()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, json);
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}
