//! Bodies of requests, in bounded memory.

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use polystore_kv::{Entry, Expiry};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::flow::TooSlow;
use crate::problem::{Outcome, Problem};

/// What a body is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Lines,
}

/// The form that a `POST` says its body is in. Without one a browser would send it for any page.
pub(crate) fn form(headers: &HeaderMap) -> Outcome<Form> {
    let value = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next();
    match essence
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "application/json" => Ok(Form::Json),
        "application/x-ndjson" => Ok(Form::Lines),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported",
            "say content-type: application/json (or application/x-ndjson where lines are read)",
        )),
    }
}

pub(crate) fn too_long(most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "invalid_value",
        format!("a body has at most {most} bytes here"),
    )
}

/// The whole body, of at most `most` bytes.
pub(crate) async fn whole(body: Body, most: usize) -> Outcome<Bytes> {
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_long(most)),
        Err(error) => Err(cut_off(&*error)),
    }
}

/// The body ended before its end.
pub(crate) fn cut_off(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    if causes.any(<dyn std::error::Error>::is::<TooSlow>) {
        return Problem::slow();
    }
    Problem::bad("the body was not sent to its end")
}

/// The JSON text of a value.
pub(crate) fn value(body: &Bytes) -> Outcome<Box<RawValue>> {
    let text =
        std::str::from_utf8(body).map_err(|_| Problem::bad_value("the body is not UTF-8"))?;
    // The text of an entry is checked as every store does.
    let entry = Entry::from_json(text, Expiry::Never)
        .map_err(|error| Problem::bad_value(format!("the body: {}", error.message())))?;
    entry
        .decode()
        .map_err(|error| Problem::bad_value(error.message()))
}

/// What the body says, in JSON.
pub(crate) fn parsed<T: DeserializeOwned>(body: &[u8], what: &str) -> Outcome<T> {
    serde_json::from_slice(body).map_err(|error| {
        let at = (error.line(), error.column());
        Problem::bad_value(format!(
            "the body is not {what} (line {}, column {})",
            at.0, at.1
        ))
    })
}
