//! Entries as objects of JavaScript: `{expires, value}`, as the npm package stores them.
//!
//! Where JavaScript's numbers would change the value's JSON, its exact text is kept as `json` in the same object.
//! Others do not look at that, and the text counts only as long as it still says what `value` is.

use web_sys::js_sys::{Array, Date, JSON, Object, Reflect};
use web_sys::wasm_bindgen::{JsCast, JsValue};

use super::failure::foreign;
use crate::entry::{Entry, Expiry, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::json::javascript::keeps_numbers;

/// What every entry needs, made once.
struct Known {
    expires: JsValue,
    value: JsValue,
    json: JsValue,
    /// The prototype of objects that are nothing else.
    plain: Object,
}

thread_local! {
    static KNOWN: Known = Known {
        expires: "expires".into(),
        value: "value".into(),
        json: "json".into(),
        plain: Object::get_prototype_of(&Object::new()),
    };
}

/// The object for an entry.
pub(super) fn object_of(entry: &Entry) -> Result<JsValue> {
    let object = JSON::parse(&entry.to_envelope())
        .map_err(|_| Error::new(ErrorKind::Encode, "the value is not JSON"))?;
    if keeps_numbers(entry.json()) {
        return Ok(object);
    }
    KNOWN.with(|known| {
        let value = property(&object, &known.value);
        if text_of(&value).as_deref() != Some(entry.json()) {
            set(&object, &known.json, &entry.json().into());
        }
    });
    Ok(object)
}

/// The entry that an object is, without its value if that is not wanted.
pub(super) fn entry_of(object: &JsValue, wants_value: bool) -> Result<Entry> {
    KNOWN
        .with(|known| read(known, object, wants_value))
        .ok_or_else(foreign)
}

/// The same object with another expiry.
pub(super) fn renewed(object: &JsValue, expiry: Expiry) -> JsValue {
    let copy = Object::assign(&Object::new(), object.unchecked_ref());
    #[expect(clippy::cast_precision_loss, reason = "every instant of Date is exact")]
    let expires = expiry
        .as_millis()
        .map_or(JsValue::NULL, |millis| (millis as f64).into());
    KNOWN.with(|known| set(&copy, &known.expires, &expires));
    copy.into()
}

fn read(known: &Known, object: &JsValue, wants_value: bool) -> Option<Entry> {
    if !object.is_object() {
        return None;
    }
    let expires = property(object, &known.expires);
    let expiry = match expires.as_f64() {
        Some(millis) if !millis.is_nan() => Expiry::At(Timestamp::from_fractional_millis(millis)),
        None if expires.is_null() => Expiry::Never,
        _ => return None,
    };
    let value = property(object, &known.value);
    if !has_json(known, &value) {
        return None;
    }
    if !wants_value {
        return Some(Entry::without_value(expiry));
    }
    let text = text_of(&value)?;
    let exact = property(object, &known.json).as_string().filter(|exact| {
        let said = JSON::parse(exact).ok().as_ref().and_then(text_of);
        said.as_ref() == Some(&text)
    });
    Some(Entry::from_stored(exact.unwrap_or(text), expiry))
}

/// Whether it is a value of JSON, or a date, which has a text there. What is inside of it is not looked at.
fn has_json(known: &Known, value: &JsValue) -> bool {
    if value.is_object() {
        return *Object::get_prototype_of(value) == *known.plain
            || Array::is_array(value)
            || value.is_instance_of::<Date>();
    }
    !value.is_undefined() && !value.is_bigint()
}

/// The JSON text, if it has one.
pub(super) fn text_of(value: &JsValue) -> Option<String> {
    JSON::stringify(value).ok()?.as_string()
}

fn property(object: &JsValue, name: &JsValue) -> JsValue {
    Reflect::get(object, name).unwrap_or_default()
}

fn set(object: &JsValue, name: &JsValue, value: &JsValue) {
    // It is a plain object of ours: nothing refuses.
    let _ = Reflect::set(object, name, value);
}
