//! What the runtime throws, in this crate's words: the one place for it.

use worker::js_sys;
use worker::kv::KvError;
use worker::wasm_bindgen::JsCast;

use crate::cloudflare_kv::{Cause, Failure};
use crate::error::{Error, ErrorKind};

/// Of what a method of the binding threw. Its text is not shown: it may quote what was sent.
pub(super) fn thrown(error: &KvError) -> Failure {
    let KvError::JavaScript(value) = error else {
        return not_understood();
    };
    let Some(error) = value.dyn_ref::<js_sys::Error>() else {
        return not_understood();
    };
    let text = String::from(error.message());
    match status(&text) {
        Some(status) => refused(status),
        // What worker 0.8 does where nothing is under one of several keys.
        None if value.is_instance_of::<js_sys::TypeError>() => Failure {
            cause: Cause::OneOfMany,
            ..not_understood()
        },
        None if is_serde(&text) => not_understood(),
        None => said(&text),
    }
}

/// What the driver throws itself, of a listing that is none.
fn is_serde(text: &str) -> bool {
    ["missing field ", "invalid type: ", "invalid value: "]
        .iter()
        .any(|start| text.starts_with(start))
}

/// `429` of "KV PUT failed: 429 Too Many Requests".
fn status(text: &str) -> Option<u16> {
    let (_, said) = text.split_once(" failed: ")?;
    said.get(..3)?.parse().ok()
}

fn refused(status: u16) -> Failure {
    let of = |kind, what: &str| Error::new(kind, format!("{what} (status {status})"));
    match status {
        429 => of(
            ErrorKind::Throttled,
            "Cloudflare asks for fewer requests, or for fewer writes of one key",
        )
        .into(),
        401 | 403 => of(ErrorKind::Denied, "Cloudflare refuses the binding").into(),
        400 | 413 | 414 => Failure {
            error: of(
                ErrorKind::InvalidValue,
                "Cloudflare does not take this request",
            ),
            cause: Cause::OneOfMany,
        },
        _ => of(ErrorKind::Unreachable, "Cloudflare failed at the request")
            .retryable(status >= 500 || status == 408)
            .with_maybe_applied()
            .into(),
    }
}

/// Of a text without a status.
fn said(text: &str) -> Failure {
    // "KV put() limit exceeded for the day.", "Too many API requests by single worker invocation."
    if text.contains("limit exceeded for the day") {
        let message = "the account has used up what it may do in a day without paying";
        return Error::new(ErrorKind::Full, message).into();
    }
    if text.contains("Too many") && text.contains("invocation") {
        let message =
            "this request has used up the operations that Cloudflare gives to one of a Worker";
        return Error::new(ErrorKind::Full, message).into();
    }
    // "Cannot perform I/O on behalf of a different request."
    if text.contains("different request") {
        let message = "this store was made in another request: make one in each, by kv(env.kv(…))";
        return Error::new(ErrorKind::Unsupported, message).into();
    }
    Error::new(
        ErrorKind::Unreachable,
        "the connection to Cloudflare's KV failed",
    )
    .retryable(true)
    .with_maybe_applied()
    .into()
}

/// Of what nothing can be made of: it would be no better another time.
pub(super) fn not_understood() -> Failure {
    Error::new(
        ErrorKind::Unreachable,
        "what came from the binding is not what a namespace of Cloudflare KV gives",
    )
    .with_maybe_applied()
    .into()
}

/// Of an entry that was changed while it was read in parts.
pub(super) fn changed_meanwhile() -> Error {
    Error::new(
        ErrorKind::Unreachable,
        "the entry was changed while it was read",
    )
    .retryable(true)
}
