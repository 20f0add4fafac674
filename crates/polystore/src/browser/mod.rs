//! What the stores of browsers share.

#[cfg(feature = "web_storage")]
pub(crate) mod storage;

use web_sys::js_sys::Reflect;
use web_sys::wasm_bindgen::JsValue;

use crate::error::{Error, ErrorKind};

/// The error for what a browser has thrown when it was to do `what` ("write the entry").
///
/// Of the exception only its name is taken: its message may quote keys and values.
pub(crate) fn failed(what: &str, thrown: &JsValue) -> Error {
    let name = Reflect::get(thrown, &"name".into()).unwrap_or_default();
    let name = name.as_string().unwrap_or_default();
    let (kind, why) = match &name[..] {
        // The second is what older versions of Firefox say.
        "QuotaExceededError" | "NS_ERROR_DOM_QUOTA_REACHED" => {
            (ErrorKind::Full, "the browser's room for this site is full")
        }
        "SecurityError" | "NotAllowedError" => {
            (ErrorKind::Denied, "the browser denies this page its store")
        }
        _ => (ErrorKind::Unreachable, "the browser failed"),
    };
    Error::new(kind, format!("could not {what}: {why} ({name})"))
}
