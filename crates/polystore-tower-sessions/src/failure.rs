//! A store's errors, as tower-sessions has them.

use std::error::Error as _;

use polystore_kv::{Error, ErrorKind};
use tower_sessions_core::session_store;

/// The error with its causes, of which tower-sessions keeps only a text, and without the session's `id`, by which whoever
/// reads the log could take it over.
pub(crate) fn failure(error: Error, id: &str) -> session_store::Error {
    let hide = |text: String| text.replace(id, "…");
    // No store of Polystore's names a key in a cause; somebody else's may.
    map(error, hide)
}

/// As [`failure`], of what is about no session.
pub(crate) fn general_failure(error: Error) -> session_store::Error {
    map(error, |text| text)
}

fn map(error: Error, hide: impl FnOnce(String) -> String) -> session_store::Error {
    let kind = error.kind();
    let error = error.without_key();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    let text = hide(text);
    match kind {
        ErrorKind::Decode | ErrorKind::Corrupt => session_store::Error::Decode(text),
        ErrorKind::Encode => session_store::Error::Encode(text),
        _ => session_store::Error::Backend(text),
    }
}
