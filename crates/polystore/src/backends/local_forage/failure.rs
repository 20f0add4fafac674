//! What becomes of the browser's exceptions.

use web_sys::js_sys::Reflect;
use web_sys::wasm_bindgen::JsValue;

use crate::error::{Error, ErrorKind};

/// The name of an exception, by which IndexedDB tells them apart.
pub(super) fn name_of(exception: &JsValue) -> String {
    let name = Reflect::get(exception, &"name".into()).ok();
    name.and_then(|name| name.as_string()).unwrap_or_default()
}

/// The error for an exception. Nothing was changed: a transaction in which one happens is rolled back.
pub(super) fn error_of(exception: &JsValue) -> Error {
    let name = name_of(exception);
    let (kind, message, passes) = match &name[..] {
        "QuotaExceededError" => (
            ErrorKind::Full,
            "the storage that the browser gives to this origin is used up",
            false,
        ),
        "SecurityError" | "NotAllowedError" => (
            ErrorKind::Denied,
            "the browser denies this page its IndexedDB",
            false,
        ),
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
        _ => {
            // Of the exception only its name: nobody knows what its message holds.
            let message = match name.is_empty() {
                true => "IndexedDB failed".to_owned(),
                false => format!("IndexedDB failed ({name})"),
            };
            return Error::new(ErrorKind::Unreachable, message);
        }
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
