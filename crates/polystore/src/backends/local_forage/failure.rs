//! What becomes of the browser's exceptions.

use web_sys::js_sys::Reflect;
use web_sys::wasm_bindgen::JsValue;

use crate::browser::failed;
use crate::error::{Error, ErrorKind};

/// The name of an exception, by which IndexedDB tells them apart.
pub(super) fn name_of(exception: &JsValue) -> String {
    let name = Reflect::get(exception, &"name".into()).ok();
    name.and_then(|name| name.as_string()).unwrap_or_default()
}

/// The error for an exception. Nothing was changed: a transaction in which one happens is rolled back.
pub(super) fn error_of(exception: &JsValue) -> Error {
    let (kind, message, passes) = match &name_of(exception)[..] {
        // The connection was closed, the database deleted, the transaction ended by the browser.
        "AbortError" | "InvalidStateError" | "NotFoundError" | "TransactionInactiveError" => {
            (ErrorKind::Unreachable, "the database was closed", true)
        }
        "DataError" => (
            ErrorKind::Corrupt,
            "the object store has keys of its own, and is not localForage's",
            false,
        ),
        "NotReadableError" | "EncodingError" => (
            ErrorKind::Corrupt,
            "the browser cannot read what is stored",
            false,
        ),
        "DataCloneError" => (
            ErrorKind::InvalidValue,
            "the browser cannot store this value",
            false,
        ),
        _ => return failed("use IndexedDB", exception),
    };
    Error::new(kind, message).retryable(passes)
}

/// What is stored is somebody else's.
pub(super) fn foreign() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "what is stored is not an object of expires and value",
    )
}
